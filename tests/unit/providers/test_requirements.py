from __future__ import annotations

from typing import Any

import pytest

from credbroker.errors import ConfigurationError
from credbroker.profile import CatalogProfile, ComputeProfile, CredentialSettings, Profile, StorageProfile
from credbroker.providers.requirements import check_profile, check_url
from credbroker.secrets.reference import SecretReference

STORAGE = StorageProfile(name="lake", where="platform.yaml:7")


def _fault(profile: Profile) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check_profile(profile)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://[",
        "https://[::1",
        "https://[canary]",
        "https://s3.example:99999",
        "https://s3.example:canary",
        "https://s3.example\\@canary",
        "https://s3.example\\canary",
        "https://s3.example/a b",
        " https://s3.example",
        "https://s3.example\n",
        "https://s3.\texample",
        "https://s3.example\u00a0",
        "https://ѕ3.example",  # noqa: RUF001 - a letter that is none of ASCII's
        "https://s3。example",
        "https://user:canary@s3.example",
        "https://s3.example/?x=canary",
        "https://s3.example/?",
        "https://s3.example/#canary",
        "https://",
        "https:s3.example",
        "s3.example",
        "ftp://s3.example",
        "http://s3.example",
        "",
    ],
)
def test_a_url_that_a_secret_may_not_be_sent_to_is_refused_by_its_field_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^platform\.yaml:7: storage\.lake\.endpoint ") as caught:
        check_url(STORAGE, "endpoint", url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://s3.example:8443/a%20b", "http://127.0.0.1:8333", "http://[::1]:1", "http://localhost"]
)
def test_https_and_loopback_are_taken(url: str) -> None:
    check_url(STORAGE, "endpoint", url)


def test_only_a_token_url_may_have_a_query() -> None:
    check_url(STORAGE, "credentials.token_url", "https://login.example/token?tenant=x")
    with pytest.raises(ConfigurationError, match=r"token_url has a query or fragment"):
        check_url(STORAGE, "credentials.token_url", "https://login.example/token#x")
    with pytest.raises(ConfigurationError, match=r"sts_endpoint has a query or fragment"):
        check_url(STORAGE, "credentials.sts_endpoint", "https://sts.example/?x")


@pytest.mark.parametrize("kind", [CatalogProfile, StorageProfile, ComputeProfile])
def test_allow_insecure_is_refused_in_production_for_every_profile(kind: type[Profile]) -> None:
    fault = _fault(kind(name="x", allow_insecure=True))
    assert "x.allow_insecure is refused in production (which an absent 'environment:' means)" in fault
    check_profile(kind(name="x", allow_insecure=True, production=False))


@pytest.mark.parametrize("kind", ["nessie", "hive", "other"])
def test_a_catalog_type_that_is_loaded_only_is_refused_in_the_same_words(kind: str) -> None:
    fault = _fault(CatalogProfile(name="c", type=kind, uri="http://plain.example"))
    assert fault == (
        f"catalogs.c.type {kind!r} is not supported by this version of credbroker: "
        "use one of rest, polaris, sql, glue, s3tables"
    )


@pytest.mark.parametrize("kind", ["glue", "s3tables"])
@pytest.mark.parametrize("mode", ["oauth2", "static", "service_account"])
def test_a_catalog_of_aws_takes_signed_requests_alone(kind: str, mode: str) -> None:
    fault = _fault(CatalogProfile(name="c", type=kind, credentials=CredentialSettings(mode=mode)))
    assert fault == (
        f"catalogs.c.credentials.mode is {mode!r}: a catalog of type {kind!r} takes signed requests alone, so use 'iam_role'"
    )
    signed = CatalogProfile(name="c", type=kind, uri="http://plain.example", credentials=CredentialSettings(mode="iam_role"))
    assert "catalogs.c.uri is plain http" in _fault(signed)


@pytest.mark.parametrize("kind", ["rest", "polaris"])
def test_the_uri_of_a_rest_catalog_is_checked(kind: str) -> None:
    assert "catalogs.c.uri is plain http" in _fault(CatalogProfile(name="c", type=kind, uri="http://plain.example"))


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "sql", "uri": "postgresql+psycopg2://user@db.internal/catalog?sslmode=require"},
        {"type": "sql", "uri": "sqlite:////tmp/catalog.db"},
        {"uri": SecretReference(secret_ref="catalog-uri")},
        {"uri": None},
        {"uri": "https://catalog.internal"},
    ],
)
def test_what_is_a_database_s_or_a_secret_or_absent_is_not_looked_at(settings: dict[str, Any]) -> None:
    check_profile(CatalogProfile(name="c", **settings))


def test_a_literal_endpoint_is_checked_whatever_the_profile_is_for() -> None:
    assert "storage.lake.endpoint is plain http" in _fault(StorageProfile(name="lake", endpoint="http://s3.example"))
    check_profile(StorageProfile(name="lake", endpoint=SecretReference(secret_ref="e")))
    check_profile(StorageProfile(name="lake", production=False, allow_insecure=True, endpoint="http://s3.example"))
