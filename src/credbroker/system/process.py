"""What the process itself does to us: forking."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_forked_child(callback: Callable[[], None]) -> None:
    """Call ``callback`` in every child that is forked from now on, before any other code of ours runs there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=callback)
