"""The identity endpoint of Azure App Service: what azure-identity, MSAL and object_store ask by two variables.

Source: Microsoft, "How to use managed identities for App Service and Azure Functions", REST endpoint reference. Its header
is a shared secret, so prefer it to ``azure-imds``.

delta-rs does not read ``IDENTITY_ENDPOINT``: give it ``storage_options={"msi_endpoint": <IDENTITY_ENDPOINT>}``. It sends
``IDENTITY_HEADER`` all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from credbroker.credentials import Credential
from credbroker.sidecar.authorization import visible
from credbroker.sidecar.azure_resource import asked_resource, resource_refused
from credbroker.sidecar.protocol import NO_STORE, Answer, Ask, Place, Protocol, Refusal, Route, Variables
from credbroker.wire.token_answers import app_service_token


def _token(headers: Mapping[str, str], form: Mapping[str, str]) -> str | None:
    return visible(headers.get("x-identity-header"))


def _answer(ask: Ask, value: Credential, ends: datetime | None) -> Answer:
    body = app_service_token(
        value,
        ask.left(ends),
        ask.now,
        resource=asked_resource(ask) or "",
        client_id=ask.query.get("client_id", ""),
    )
    return Answer(200, body, headers=(NO_STORE,))


def _refusal(refusal: Refusal) -> Answer:
    # MSAL shows these two.
    body = json.dumps({"statusCode": refusal.status, "message": f"{refusal.code}: {refusal.message}"}).encode()
    return Answer(refusal.status, body, headers=refusal.headers)


def _environment(place: Place) -> Variables:
    return {"IDENTITY_ENDPOINT": place.url("azure-app-service"), "IDENTITY_HEADER": place.token}


PROTOCOL = Protocol(
    name="azure-app-service",
    routes=(Route(path="", token=_token, check=resource_refused, answer=_answer),),
    refusal=_refusal,
    environment=_environment,
)
