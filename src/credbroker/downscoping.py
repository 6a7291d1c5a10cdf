"""Downscoping: from a handle's request to one for less, where an issuer enforces it."""

from __future__ import annotations

from credbroker import limits
from credbroker.brokerage import Brokerage
from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.location import Location, covering
from credbroker.request import Access, CredentialRequest


def downscoped(
    brokerage: Brokerage, request: CredentialRequest, locations: tuple[Location, ...], access: Access | None
) -> CredentialRequest:
    """The request for ``locations`` and ``access`` alone.

    Raises ``AccessDenied``, on record, for anything beyond ``request``, and ``ConfigurationError`` where nobody would
    enforce it: a check in this process is no grant.
    """
    if request.kind == "catalog":
        raise ConfigurationError(
            "a catalog's token is narrowed when it is asked for: broker.catalog(name, scope=)", profile=request.profile
        )
    if request.kind == "table":
        raise ConfigurationError(
            "nobody would enforce that: a table's credentials are its catalog's to narrow (for a prefix: broker.storage())",
            profile=request.profile,
        )
    asked, _, _, grant = brokerage.admit(request)
    if grant is None or grant.policy is None:
        raise ConfigurationError(
            "nobody would enforce that: what is issued here has no policy of its own, and reaches what it reaches (use mode "
            "iam_role, or a catalog that vends)",
            profile=request.profile,
        )
    try:
        narrowed = limits.narrowed(asked, locations, access)
    except AccessDenied as error:
        brokerage.trail.refused(asked, error)
        raise error.fresh() from None
    opened = brokerage.explain(narrowed).locations
    if opened is None or any(covering(narrowed.locations, location) is None for location in opened):
        raise ConfigurationError(
            "nobody would enforce that: what is issued opens the whole container (allow_container_scope)",
            profile=request.profile,
        )
    return narrowed
