"""A setting that a method does not use, and an audience that it cannot ask for, are refused before anything is sent."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from typing import Any

import pytest

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.profile import CatalogProfile, ComputeProfile, CredentialSettings, Profile, StorageProfile, SubjectToken
from credbroker.providers import load
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference

ROLE = "arn:aws:iam::123456789012:role/Pipe"
POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pods/providers/cluster"
OF_ANY = {"mode", "timeout", "default_ttl", "reread_interval", "options"}
IN_SESSION = {"external_id", "source_identity", "session_tags", "transitive_tag_keys"}
OF_ROLE = {"role_arn", "sts_endpoint", "session_run"} | IN_SESSION
OF_GOOGLE = {"platform", "credential_source", "service_account", "delegates", "scope", "scopes"}
OF_CLIENT = {"platform", "credential_source", "tenant_id", "client_id"}
CANARY = "c4nary"


def store(kind: str, location: Location, **block: Any) -> StorageProfile:
    credentials = CredentialSettings(**block)
    return StorageProfile(name="lake", type=kind, region="eu-west-1", locations=(location,), credentials=credentials)


def s3(**block: Any) -> StorageProfile:
    return store("s3", Location("s3", "lake", "a"), mode="iam_role", **block)


def gcs(source: str, **block: Any) -> StorageProfile:
    return store("gcs", Location("gs", "lake", "a"), mode="service_account", credential_source=source, **block)


def azure(source: str, **block: Any) -> StorageProfile:
    place = Location("abfss", "data@acme.dfs.core.windows.net", "a")
    return store("azure", place, mode="service_account", credential_source=source, **block)


def catalog(**block: Any) -> CatalogProfile:
    return CatalogProfile(name="lake", uri="https://lake.example", credentials=CredentialSettings(**block))


def database(**block: Any) -> ComputeProfile:
    properties = {"host": "db.example.com", "user": "u"}
    credentials = CredentialSettings(mode="iam_role", credential_source="environment", **block)
    return ComputeProfile(name="lake", type="postgres", region="eu-west-1", properties=properties, credentials=credentials)


GLUE = CatalogProfile(
    name="lake",
    type="glue",
    region="eu-west-1",
    credentials=CredentialSettings(mode="iam_role", role_arn=ROLE, credential_source="environment"),
)
FILE = SubjectToken(file="/token")
POD = catalog(mode="service_account", platform="kubernetes", subject_token=FILE, audience="lakekeeper")
GOOGLE = catalog(mode="service_account", platform="gcp", credential_source="metadata")
SECRET = SecretReference(secret_ref=CANARY)
PROFILES: dict[str, tuple[Profile, set[str]]] = {
    "role, environment": (s3(role_arn=ROLE, credential_source="environment"), OF_ROLE | {"credential_source"}),
    "role, another profile": (s3(role_arn=ROLE, source_profile=("storage", "hub")), OF_ROLE | {"source_profile"}),
    "role, web identity": (
        s3(role_arn=ROLE, credential_source="web_identity"),
        OF_ROLE - IN_SESSION | {"credential_source", "subject_token"},
    ),
    "role, glue": (GLUE, OF_ROLE | {"credential_source"}),
    "login of a role": (database(role_arn=ROLE), OF_ROLE | {"credential_source"}),
    "login without a role": (database(), {"credential_source", "role_arn"}),
    "google, key": (gcs("key", key=SECRET), OF_GOOGLE | {"key"}),
    "google, metadata": (gcs("metadata"), OF_GOOGLE),
    "google, web identity": (
        gcs("web_identity", audience=POOL, subject_token=FILE),
        OF_GOOGLE | {"audience", "subject_token", "subject_token_type"},
    ),
    "google, catalog": (GOOGLE, OF_GOOGLE | {"realm"}),
    "azure, managed identity": (azure("managed_identity"), {"platform", "credential_source", "client_id"}),
    "azure, web identity": (azure("web_identity", tenant_id="t", client_id="c"), OF_CLIENT | {"subject_token"}),
    "azure, client secret": (
        azure("client_secret", tenant_id="t", client_id="c", client_secret=SECRET),
        OF_CLIENT | {"client_secret"},
    ),
    "pod": (POD, {"platform", "subject_token", "audience", "realm"}),
}
VALUES: dict[str, object] = {
    "scopes": {"read": CANARY},
    "subject_token": FILE,
    "client_assertion": FILE,
    "resource": (CANARY,),
    "parameters": {CANARY: CANARY},
    "source_profile": ("storage", "hub"),
    "session_tags": {CANARY: CANARY},
    "transitive_tag_keys": (CANARY,),
    "session_run": True,
    "delegates": (CANARY,),
}
DEFAULTS = {
    field.name: field.default_factory() if field.default_factory is not MISSING else field.default
    for field in fields(CredentialSettings)
}
REFUSED = [
    pytest.param(profile, name, id=f"{called}: {name}")
    for called, (profile, taken) in PROFILES.items()
    for name in DEFAULTS
    if name not in OF_ANY | taken and getattr(profile.credentials, name) == DEFAULTS[name]
]


def asked(profile: Profile, **how: Any) -> CredentialRequest:
    return CredentialRequest(kind=profile.kind, profile="lake", locations=profile.locations, **how)


def planned(profile: Profile, **how: Any) -> None:
    assert profile.credentials is not None
    load(profile.credentials.mode, ()).plan(asked(profile, **how), profile)


def stating(profile: Profile, name: str, value: object) -> Profile:
    assert profile.credentials is not None
    return replace(profile, credentials=replace(profile.credentials, **{name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("called", PROFILES)
def test_what_a_method_needs_is_enough(called: str) -> None:
    planned(PROFILES[called][0])


@pytest.mark.parametrize(("profile", "name"), REFUSED)
def test_a_setting_that_would_be_dropped_is_named_and_not_shown(profile: Profile, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\.lake\.credentials\..*\b{name}\b") as caught:
        planned(stating(profile, name, VALUES.get(name, CANARY)))
    assert name == "credential_source" or CANARY not in str(caught.value)


@pytest.mark.parametrize("name", [*sorted(OF_ROLE - {"role_arn"}), "subject_token", "audience", "client_secret"])
def test_a_login_without_a_role_drops_no_condition_on_one(name: str) -> None:
    text = rf"compute\.lake\.credentials\.{name} is not used without credentials\.role_arn: leave it out"
    with pytest.raises(ConfigurationError, match=text):
        planned(stating(database(), name, VALUES.get(name, CANARY)))


@pytest.mark.parametrize("profile", [POD, GOOGLE], ids=["pod", "google"])
def test_a_realm_is_sent_to_a_catalog_whoever_issues(profile: Profile) -> None:
    planned(stating(profile, "realm", "TEAM_A"))


@pytest.mark.parametrize(
    ("profile", "issuer"),
    [
        (GLUE, "AWS, whose keys and logins have none"),
        (database(), "AWS, whose keys and logins have none"),
        (database(role_arn=ROLE), "AWS, whose keys and logins have none"),
        (GOOGLE, "Google Cloud, whose scope names the API"),
        (
            catalog(
                mode="service_account", platform="azure", credential_source="managed_identity", scope="https://x/.default"
            ),
            "Entra, whose scope names the resource",
        ),
    ],
)
def test_an_audience_that_would_be_dropped_is_refused(profile: Profile, issuer: str) -> None:
    planned(profile)
    with pytest.raises(ConfigurationError) as caught:
        planned(profile, audience="https://only-this")
    assert str(caught.value) == f"lake: audience 'https://only-this' cannot be asked of {issuer}: leave it out"
