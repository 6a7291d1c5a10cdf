from __future__ import annotations

import json
from typing import Any

import pytest
from google.auth import identity_pool
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from pydantic import SecretStr
from tests.unit.sidecar.protocol_server import ENDS, TOKEN, ProtocolServer, ask, place

from credbroker.credentials import AccessToken
from credbroker.sidecar.protocols.google_subject_token import PROTOCOL

JWT = AccessToken(SecretStr("eyJ.subject.token"), token_type="urn:ietf:params:oauth:token-type:jwt")


def _external_account(url: str, token: str) -> dict[str, Any]:
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/broker",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {
            "url": url,
            "headers": {"Authorization": f"Bearer {token}"},
            "format": {"type": "json", "subject_token_field_name": "access_token"},
        },
    }


def test_google_auth_takes_it_as_a_url_source() -> None:
    with ProtocolServer("google-subject-token", JWT) as server:
        url = server.place.url("google-subject-token")
        credentials = identity_pool.Credentials.from_info(_external_account(url, TOKEN))
        assert credentials.retrieve_subject_token(Request()) == "eyJ.subject.token"
        refused = identity_pool.Credentials.from_info(_external_account(url, "another"))
        with pytest.raises(RefreshError, match="Unable to retrieve Identity Pool subject token"):
            refused.retrieve_subject_token(Request())


def test_the_answer() -> None:
    (route,) = PROTOCOL.routes
    assert route.answer is not None
    assert json.loads(route.answer(ask(), JWT, ENDS).body) == {"access_token": "eyJ.subject.token", "expires_in": 3000}


def test_no_variable_leads_there() -> None:
    assert PROTOCOL.environment(place()) == {}
