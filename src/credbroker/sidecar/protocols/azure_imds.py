"""The token path of Azure's instance metadata service.

Source: Microsoft, "How to use managed identities on an Azure VM to acquire an access token". There is no place for a token,
so the kernel's word on the peer decides alone: prefer ``azure-app-service`` where the client can use it.
"""

from __future__ import annotations

import json
from datetime import datetime

from credbroker.credentials import Credential
from credbroker.sidecar.azure_resource import asked_resource, resource_refused
from credbroker.sidecar.protocol import NO_STORE, Answer, Ask, Place, Protocol, Refusal, Route, Variables
from credbroker.wire.token_answers import instance_token

_ERRORS = {"BadRequest": "invalid_request", "InvalidResource": "invalid_resource", "MissingHeader": "invalid_request"}


def _check(ask: Ask) -> Refusal | None:
    # No form and no redirect can set it: a server that is made to ask for a URL gets nothing.
    if ask.headers.get("metadata", "").lower() != "true":
        return Refusal(400, "MissingHeader", "the request needs the header Metadata: true")
    return resource_refused(ask)


def _answer(ask: Ask, value: Credential, ends: datetime | None) -> Answer:
    body = instance_token(
        value,
        ask.left(ends),
        ask.now,
        resource=asked_resource(ask) or "",
        client_id=ask.query.get("client_id", ""),
    )
    return Answer(200, body, headers=(NO_STORE,))


def _refusal(refusal: Refusal) -> Answer:
    told = {"error": _ERRORS.get(refusal.code, refusal.code), "error_description": refusal.message}
    return Answer(refusal.status, json.dumps(told).encode(), headers=refusal.headers)


def _environment(place: Place) -> Variables:
    return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": place.url("azure-imds")}


PROTOCOL = Protocol(
    name="azure-imds",
    routes=(Route(path="/metadata/identity/oauth2/token", token=None, check=_check, answer=_answer),),
    refusal=_refusal,
    environment=_environment,
)
