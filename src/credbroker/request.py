"""What is asked: the frozen, hashable request. Equal requests are interchangeable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from credbroker.location import Location

Kind = Literal["catalog", "storage", "table", "compute"]


class Access(StrEnum):
    """What may be done with the objects below a location."""

    READ = "read"
    """Get and list."""
    WRITE = "write"
    """Put, delete, abort a multipart upload; list."""
    READ_WRITE = "read_write"
    """Both."""

    def covers(self, other: Access) -> bool:
        """Whether everything that ``other`` allows is allowed by this one."""
        return self is Access.READ_WRITE or self is other


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """One thing to be issued, by the profile of that name in the section that belongs to ``kind``.

    ``principal`` is who the configuration says we are, ``actor`` and ``run_id`` are what the calling code asserts.
    A ``table`` is its identifier, namespace levels first: ``("sales", "orders")``. ``base`` names what a provider asks for
    itself, by ``Context.base``: of what narrower credentials are made, held once for the profile. No caller can ask for it.
    """

    kind: Kind
    profile: str
    locations: tuple[Location, ...] = ()
    access: Access | None = None
    scopes: frozenset[str] = frozenset()
    audience: str | None = None
    table: tuple[str, ...] | None = None
    principal: str | None = None
    actor: str | None = None
    run_id: str | None = None
    base: str | None = None
