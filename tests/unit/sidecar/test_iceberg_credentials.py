from __future__ import annotations

import json

import pytest
import requests
from pydantic import SecretStr
from pyiceberg.catalog.rest.response import ErrorResponse
from pyiceberg.catalog.rest.scan_planning import StorageCredential
from tests.unit.sidecar.protocol_server import BINDING, TOKEN, ProtocolServer, ask, place

from credbroker.credentials import GCSCredentials, S3Credentials, TableCredentials
from credbroker.location import Location
from credbroker.request import CredentialRequest
from credbroker.sidecar.protocol import UNENDING, Refusal
from credbroker.sidecar.protocols.iceberg_credentials import PROTOCOL
from credbroker.wire.iceberg import document, vended

ORDERS, ARCHIVE = Location.parse("s3://lake/orders/"), Location.parse("s3://cold/orders/")
KEYS = S3Credentials("ASIA1", SecretStr("s1"), SecretStr("t1"), region="eu-central-1")
OTHER = S3Credentials("ASIA2", SecretStr("s2"), SecretStr("t2"))


def test_pyiceberg_picks_the_set_of_the_prefix() -> None:
    with ProtocolServer("iceberg-credentials", TableCredentials(((ORDERS, KEYS), (ARCHIVE, OTHER)))) as server:
        reply = requests.get(
            server.place.url("iceberg-credentials"),
            headers={"Authorization": f"Bearer {TOKEN}"},
            params={"planId": "p", "referenced-by": "v"},
            timeout=10,
        )
        stranger = requests.get(f"{server.uri}/{BINDING}/iceberg-credentials", timeout=10)
    found = [StorageCredential.model_validate(one) for one in reply.json()["storage-credentials"]]
    assert {one.prefix: one.config["s3.access-key-id"] for one in found} == {str(ORDERS): "ASIA1", str(ARCHIVE): "ASIA2"}
    assert {keys.access_key_id for keys in vended(document(reply.content), None) if hasattr(keys, "access_key_id")} == {
        "ASIA1",
        "ASIA2",
    }
    assert stranger.status_code == 401
    assert ErrorResponse.model_validate_json(stranger.text).error.code == 401


def test_storage_without_a_stated_grant_is_told_for_what_was_asked() -> None:
    (route,) = PROTOCOL.routes
    assert route.answer is not None
    asked = ask(granted=CredentialRequest("storage", "lake", locations=(Location.parse("gs://lake/orders/"),)))
    told = json.loads(route.answer(asked, GCSCredentials(SecretStr("ya29")), None).body)
    ends = str(int((asked.now + UNENDING).timestamp() * 1000))
    assert told == {
        "storage-credentials": [
            {"prefix": "gs://lake/orders/", "config": {"gcs.oauth2.token": "ya29", "gcs.oauth2.token-expires-at": ends}}
        ]
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestException"),
        (401, "NotAuthorizedException"),
        (403, "NotAuthorizedException"),
        (429, "BadRequestException"),
        (500, "InternalServerError"),
        (503, "SlowDownException"),
    ],
)
def test_an_error_has_the_form_of_the_specification(status: int, kind: str) -> None:
    told = PROTOCOL.refusal(Refusal(status, "IssuerUnavailable", "no answer in time"))
    error = ErrorResponse.model_validate_json(told.body).error
    assert (error.code, error.type, error.message) == (status, kind, "IssuerUnavailable: no answer in time")


def test_no_variable_leads_there() -> None:
    assert PROTOCOL.environment(place()) == {}
