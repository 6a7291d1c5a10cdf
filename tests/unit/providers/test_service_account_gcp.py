"""What ``service_account`` on Google Cloud plans, and how it deals with the base credential that the broker holds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker.context import Context, HttpResponse
from credbroker.credentials import AccessToken, Credential, DatabaseCredentials, GCSCredentials
from credbroker.errors import ConfigurationError, IssueDenied, MalformedResponse
from credbroker.location import Location
from credbroker.profile import CatalogProfile, CredentialSettings, Profile, StorageProfile, SubjectToken
from credbroker.providers import Grant
from credbroker.providers.service_account import ServiceAccountProvider
from credbroker.request import Access, CredentialRequest
from credbroker.testing import FakeHttp, ManualClock
from credbroker.vending import gcs

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
SALES = Location.parse("gs://lake/sales/")
ASKED = CredentialRequest("storage", "lake", (SALES,), Access.READ)
METADATA = CredentialSettings(mode="service_account", credential_source="metadata")
LAKE = StorageProfile(name="lake", type="gcs", credentials=METADATA, locations=(SALES,), access=Access.READ_WRITE)


def _answer(status: int, body: object) -> HttpResponse:
    return HttpResponse(status, {"metadata-flavor": "Google"}, json.dumps(body).encode(), NOW, NOW)


def _narrowed(life: int | None) -> HttpResponse:
    body: dict[str, Any] = {"access_token": "ya29.narrow", "token_type": "Bearer"}
    return _answer(200, body if life is None else {**body, "expires_in": life})


def _issue(*answers: HttpResponse, drops: bool = True, base: Credential | None = None) -> tuple[Credential, list[str]]:
    """What is issued where the base token ends in ten minutes; and which ones were dropped."""
    dropped: list[str] = []
    held = base or AccessToken(SecretStr("ya29.base"), expires_at=NOW + timedelta(minutes=10))

    def drop(name: str, value: Credential) -> bool:
        assert value is held
        dropped.append(name)
        return drops

    context = Context(http=FakeHttp(*answers), clock=ManualClock(NOW), profile=LAKE, base=lambda _: held, drop=drop)
    return ServiceAccountProvider().issue(ASKED, context), dropped


@pytest.mark.parametrize("access", list(Access))
def test_storage_is_planned_as_the_boundary_and_a_token_as_nothing(access: Access) -> None:
    provider = ServiceAccountProvider()
    asked = CredentialRequest("storage", "lake", (SALES,), access)
    assert provider.plan(asked, LAKE) == Grant(gcs.access_boundary((SALES,), access), (SALES,), access)
    assert provider.plan(CredentialRequest("storage", "lake", base="token"), LAKE) == Grant()
    block = CredentialSettings(mode="service_account", credential_source="metadata", platform="gcp")
    catalog = CatalogProfile(name="biglake", uri="https://biglake.googleapis.com/iceberg", credentials=block)
    assert provider.plan(CredentialRequest("catalog", "biglake"), catalog) == Grant()


@pytest.mark.parametrize(("stated", "minutes"), [(60, 1), (599, 9.983), (600, 10), (3599, 10), (None, 10)])
def test_a_narrowed_token_ends_with_its_source_at_the_latest(stated: int | None, minutes: float) -> None:
    value, _ = _issue(_narrowed(stated))
    assert isinstance(value, GCSCredentials)
    assert value.expires_at == NOW + timedelta(seconds=round(minutes * 60))
    assert (value.locations, value.access) == ((SALES,), Access.READ)


def test_a_refused_source_is_dropped_and_exchanged_anew_once() -> None:
    refusal = _answer(400, {"error": "invalid_grant"})
    value, dropped = _issue(refusal, _narrowed(60))
    assert isinstance(value, GCSCredentials)
    assert dropped == ["token"]
    with pytest.raises(IssueDenied) as caught:
        _issue(refusal, refusal)
    assert not caught.value.grant_denied


def test_a_source_that_the_broker_keeps_is_not_shown_again() -> None:
    with pytest.raises(IssueDenied, match="the base identity's own token is not accepted"):
        _issue(_answer(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}}), drops=False)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_any_other_refusal_drops_nothing(status: int) -> None:
    dropped: list[str] = []
    context = Context(
        http=FakeHttp(_answer(status, {"error": "invalid_request"})),
        clock=ManualClock(NOW),
        profile=LAKE,
        base=lambda _: AccessToken(SecretStr("ya29.base"), expires_at=NOW + timedelta(minutes=10)),
        drop=lambda name, _: bool(dropped.append(name)),
    )
    with pytest.raises(Exception, match=r"sts\.googleapis\.com"):
        ServiceAccountProvider().issue(ASKED, context)
    assert dropped == []


def test_a_reply_without_a_token_is_no_grant() -> None:
    with pytest.raises(MalformedResponse):
        _issue(_answer(200, {"expires_in": 60}))


@pytest.mark.parametrize(
    "base", [AccessToken(SecretStr("x")), DatabaseCredentials("u", password=SecretStr("x"))], ids=["endless", "no token"]
)
def test_what_is_no_token_with_an_end_is_not_exchanged(base: Credential) -> None:
    with pytest.raises(ConfigurationError, match="no token with an end"):
        _issue(base=base)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (StorageProfile(name="lake", type="s3", credentials=METADATA), "serves 'gcs' and 'azure'"),
        (CatalogProfile(name="lake", credentials=METADATA), r"credentials\.platform is missing"),
    ],
)
def test_whose_account_it_is_must_be_said(profile: Profile, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        ServiceAccountProvider().plan(ASKED, profile)


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (
            SubjectToken(
                url="http://169.254.169.254/latest/meta-data/iam/security-credentials/web", field="SecretAccessKey"
            ),
            r"credentials\.subject_token\.url is a metadata service's.*subject_token\.aws",
        ),
        (
            SubjectToken(url="https://ci.example/token", headers={"Host": "other.example"}),
            r"credentials\.subject_token\.headers has 'Host', .*leave it out",
        ),
    ],
)
def test_a_subjects_url_and_headers_are_refused_before_anything_is_asked(subject: SubjectToken, words: str) -> None:
    pool = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pods/providers/cluster"
    block = CredentialSettings(
        mode="service_account", credential_source="web_identity", audience=pool, subject_token=subject
    )
    with pytest.raises(ConfigurationError, match=words) as caught:
        ServiceAccountProvider().plan(ASKED, replace(LAKE, credentials=block))
    assert "other.example" not in str(caught.value)
