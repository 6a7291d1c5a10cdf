"""What is asked: the frozen, hashable request. Equal requests are interchangeable."""

from __future__ import annotations

from dataclasses import dataclass, field
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
class Lineage:
    """What of a pipeline a credential is asked for: it goes on record, and changes nothing of what is issued.

    ``job`` is the job that runs, in the ``namespace`` that OpenLineage knows it by. ``assets`` are what is being made, and
    ``partition`` is the part of them.
    """

    job: str | None = None
    namespace: str | None = None
    assets: tuple[str, ...] = ()
    partition: str | None = None


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """One thing to be issued, by the profile of that name in the section that belongs to ``kind``.

    ``principal`` is who the configuration says we are, ``actor`` and ``run_id`` are what the calling code asserts.
    A ``table`` is its identifier, namespace levels first: ``("sales", "orders")``. ``base`` names what a provider asks for
    itself, by ``Context.base``: of what narrower credentials are made, held once for the profile. No caller can ask for it.
    ``lineage`` is no part of the key: requests that differ in it alone are equal.
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
    lineage: Lineage | None = field(default=None, compare=False)
