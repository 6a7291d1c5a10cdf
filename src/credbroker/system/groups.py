"""Groups of this machine, by name."""

from __future__ import annotations

from credbroker.errors import ConfigurationError


def group_id(group: int | str) -> int:
    """The number of a group. Raises ``ConfigurationError`` for a name that this machine does not have."""
    if isinstance(group, int):
        return group
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        pass
    raise ConfigurationError(
        f"sidecar.readers.group: there is no group {group!r} here: write its number, which is the same in every container"
    )
