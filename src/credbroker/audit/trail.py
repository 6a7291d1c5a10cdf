"""The trail: which records are written around one issue, in which order, and what happens when one cannot be written."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Collection, Mapping
from typing import Protocol

from credbroker.context import Clock, Connection
from credbroker.credentials import AccessToken, Credential, S3Credentials, TableCredentials
from credbroker.errors import AccessDenied, ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable
from credbroker.request import CredentialRequest, Lineage

logger = logging.getLogger("credbroker")

CATEGORIES = ("authentication", "authorization", "data_access", "schema_changes")
_CATEGORY = {"catalog": "authentication", "compute": "authentication", "storage": "data_access", "table": "data_access"}
_MOST_ASSETS = 50  # a step of dbt's makes hundreds, and each record of it would be of several pages


class Sink(Protocol):
    """Where records go. ``write`` returns once the record is as durable as this sink makes it, or raises."""

    def write(self, record: Mapping[str, object]) -> None: ...


class Issue:
    """The records of one issue: ``requested`` first, then exactly one of ``issued``, ``denied`` and ``failed``."""

    __slots__ = ("_common", "_request", "_trail", "connection")

    def __init__(self, trail: Trail, request: CredentialRequest, provider: str) -> None:
        self._trail = trail
        self._request = request
        self._common = {"request_id": os.urandom(16).hex(), **_asked(request), "provider": provider}
        self.connection: Connection | None = None
        trail.write("requested", request, self._common, needed=True)

    def connected(self, connection: Connection) -> None:
        self.connection = connection

    def issued(self, value: Credential) -> None:
        """Raises ``IssuerUnavailable`` where the record is required and cannot be written: the value is to be discarded."""
        self._trail.write("issued", self._request, {**self._common, **_given(value), **self._endpoint()}, needed=True)

    def ended(self, error: CredbrokerError) -> None:
        self._trail.write(_name(error), self._request, {**self._common, **_reason(error), **self._endpoint()}, needed=False)

    def _endpoint(self) -> dict[str, object]:
        if self.connection is None:
            return {}
        return {"endpoint": f"{self.connection.host}:{self.connection.port}", "address": self.connection.address}


class Trail:
    """Writes the records of one broker to one sink.

    ``required``: a record that cannot be written means no credential. ``include`` names the categories that are recorded.
    """

    def __init__(
        self,
        clock: Clock,
        sink: Sink | None,
        *,
        include: Collection[str] = CATEGORIES,
        required: bool = True,
        environment: str | None = None,
    ) -> None:
        self._clock = clock
        self._sink = sink
        self._include = frozenset(include)
        self._required = required
        self._environment = environment
        self._sequence = itertools.count(1)
        self._told = False

    def begin(self, request: CredentialRequest, provider: str) -> Issue:
        """Record ``requested``. Raises ``IssuerUnavailable`` where it must be and cannot: the issuer is not to be called."""
        return Issue(self, request, provider)

    def refused(self, request: CredentialRequest, error: AccessDenied) -> None:
        """Record that the profile's own limits refused a request, before any issuer."""
        self.write("denied", request, {**_asked(request), **_reason(error)}, needed=False)

    def usage(self, request: CredentialRequest, value: Credential, *, used: bool) -> None:
        """Record, when a value is replaced or dropped, whether anybody had used it."""
        self.write("usage", request, {**_asked(request), "fingerprint": value.fingerprint, "used": used}, needed=False)

    def delivered(self, request: CredentialRequest, value: Credential, delivery: Mapping[str, object]) -> None:
        """Record that a value is about to be handed to another process: to whom, and by which way (``delivery``).

        Raises ``IssuerUnavailable`` where the record is required and cannot be written: the value is not to be handed out.
        """
        self.write("delivered", request, {**_asked(request), "fingerprint": value.fingerprint, **delivery}, needed=True)

    def revoked(self, request: CredentialRequest, value: Credential, *, revoked: bool, reason: str) -> None:
        """Record that a value was to be taken back at its issuer, and whether it was."""
        fields = {**_asked(request), "fingerprint": value.fingerprint, "revoked": revoked, "reason": reason}
        self.write("revoked", request, fields, needed=False)

    def write(self, event: str, request: CredentialRequest, fields: Mapping[str, object], *, needed: bool) -> None:
        category = "authorization" if event == "denied" else _CATEGORY[request.kind]
        if self._sink is None or category not in self._include:
            return
        record = {
            "time": self._clock.now().isoformat(timespec="milliseconds"),
            "seq": next(self._sequence),
            "event": event,
            "category": category,
            "environment": self._environment,
            **fields,
        }
        try:
            self._sink.write({name: value for name, value in record.items() if value is not None})
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, the rule is one: no record, no credential
            # A handler's own text may hold anything.
            why = error.message if isinstance(error, CredbrokerError) else type(error).__name__
            if not self._told:
                self._told = True
                logger.warning("an audit record could not be written (%s)", why)
            if needed and self._required:
                raise IssuerUnavailable(
                    f"the audit record {event!r} could not be written ({why}): no record, no credential",
                    profile=request.profile,
                    retryable=not isinstance(error, ConfigurationError),
                ) from None


def _asked(request: CredentialRequest) -> dict[str, object]:
    return {
        "principal": request.principal,
        "actor": request.actor,
        "run_id": request.run_id,
        "kind": request.kind,
        "profile": request.profile,
        "locations": [str(location) for location in request.locations] or None,
        "access": request.access,
        "scopes": sorted(request.scopes) or None,
        "audience": request.audience,
        "table": list(request.table) if request.table else None,
        "base": request.base,
        **_lineage(request),
    }


def _lineage(request: CredentialRequest) -> dict[str, object]:
    lineage = request.lineage
    if lineage is None:
        return {}
    return {
        "job": lineage.job,
        "assets": list(lineage.assets[:_MOST_ASSETS]) or None,
        "assets_left_out": max(len(lineage.assets) - _MOST_ASSETS, 0) or None,
        "partition": lineage.partition,
        "parent": _parent(request.run_id, lineage),
    }


def _parent(run_id: str | None, lineage: Lineage) -> dict[str, object] | None:
    """OpenLineage's ParentRunFacet 1.0.0, which demands all three: whoever joins the records to lineage copies it."""
    if run_id is None or lineage.job is None or lineage.namespace is None:
        return None
    return {"run": {"runId": run_id}, "job": {"namespace": lineage.namespace, "name": lineage.job}}


def _given(value: Credential) -> dict[str, object]:
    given: dict[str, object] = {
        "fingerprint": value.fingerprint,
        "expires_at": value.expires_at.isoformat(timespec="seconds") if value.expires_at else None,
    }
    if isinstance(value, AccessToken):
        given["granted_scopes"] = sorted(value.scopes) or None
    if isinstance(value, S3Credentials):
        given["access_key_id"] = value.access_key_id  # the public half: what the store's own log knows the session by
    if isinstance(value, TableCredentials):
        keys = [inner.access_key_id for _, inner in value.by_location if isinstance(inner, S3Credentials)]
        given["access_key_ids"] = keys or None
    # Of a table too it is what the keys reach, not the prefixes that they are used for.
    locations = getattr(value, "locations", None)
    given["granted_locations"] = [str(location) for location in locations] if locations is not None else None
    given["granted_access"] = getattr(value, "access", None)
    return given


def _reason(error: CredbrokerError) -> dict[str, object]:
    return {"reason": type(error).__name__, "message": error.message}


def _name(error: CredbrokerError) -> str:
    return "denied" if isinstance(error, AccessDenied | IssueDenied) else "failed"
