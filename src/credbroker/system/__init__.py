"""The only code that touches the world: clock, http, environment. Everything else is handed these through a ``Context``."""
