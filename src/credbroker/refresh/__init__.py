"""The refresh engine: how long a value serves, who replaces it, and what happens when that fails.

``policy`` computes, ``slot`` holds, ``rules`` move a slot from state to state, ``flight`` is one issue for all who wait,
``waiting`` waits for it, ``workers`` run it, ``store`` bounds what is held, ``refresher`` wakes in time, and ``engine`` puts
them together. Nothing here knows what a profile or a provider is.
"""
