"""The credentials of a table, for the clients that refresh what an Iceberg REST catalog vended.

Source: ``open-api/rest-catalog-open-api.yaml`` of Apache Iceberg, ``loadCredentials``. Java's FileIO asks where
``client.refresh-credentials-endpoint``, ``gcs.oauth2.refresh-credentials-endpoint`` or ``adls.refresh-credentials-endpoint``
says, with the ``token`` of its own properties, and wants one set of keys: bind one location, or one table.
"""

from __future__ import annotations

import json
from datetime import datetime

from credbroker.credentials import Credential
from credbroker.sidecar.authorization import bearer
from credbroker.sidecar.protocol import NO_STORE, UNENDING, Answer, Ask, Place, Protocol, Refusal, Route, Variables
from credbroker.wire.iceberg_answer import load_credentials

# As the specification's examples name them.
_TYPES = {400: "BadRequestException", 401: "NotAuthorizedException", 403: "NotAuthorizedException", 503: "SlowDownException"}


def _answer(ask: Ask, value: Credential, ends: datetime | None) -> Answer:
    # planId and referenced-by, which a catalog may have asked to be sent along, mean nothing here.
    locations = ask.granted.locations if ask.granted is not None else ()
    body = load_credentials(value, ask.now + UNENDING if ends is None else ends, locations)
    return Answer(200, body, headers=(NO_STORE,))


def _refusal(refusal: Refusal) -> Answer:
    kind = _TYPES.get(refusal.status, _TYPES[400] if refusal.status < 500 else "InternalServerError")
    error = {"message": f"{refusal.code}: {refusal.message}", "type": kind, "code": refusal.status}
    return Answer(refusal.status, json.dumps({"error": error}).encode(), headers=refusal.headers)


def _environment(place: Place) -> Variables:
    return {}


PROTOCOL = Protocol(
    name="iceberg-credentials",
    routes=(Route(path="", token=bearer, answer=_answer),),
    refusal=_refusal,
    environment=_environment,
)
