"""The form that asks for a token: its fields, their order, and what may not be said twice."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.providers.fake_issuer import REQUEST, SECRET, SETTINGS, Issuer, answer

from credbroker.errors import ConfigurationError, IssueDenied, MalformedResponse
from credbroker.granting import check_grant
from credbroker.profile import CatalogProfile
from credbroker.providers.catalog import CatalogProvider
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.providers.realm import realm_header
from credbroker.request import Access, CredentialRequest
from credbroker.secrets.reference import SecretReference


def _fault(**settings: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        OAuth2Provider().plan(REQUEST, Issuer(replace(SETTINGS, **settings)).profile)
    return str(caught.value)


def test_the_form_is_in_order_and_a_resource_stands_in_it_as_often_as_it_is_named() -> None:
    resources = ("https://b.example/", "https://a.example/x?y=1", "urn:lake:1")
    settings = replace(SETTINGS, audience="lake", resource=resources, parameters={"tenant": "t 1", "empty": ""})
    issuer = Issuer(settings)
    issuer.issue()
    assert issuer.forms() == [
        [
            ("grant_type", "client_credentials"),
            ("scope", "read"),
            ("audience", "lake"),
            *(("resource", resource) for resource in resources),
            ("tenant", "t 1"),
        ]
    ]


@pytest.mark.parametrize("resource", ["lake", "/lake", "https://lake.example/#x", "", "//lake", "http://[x/"])
def test_a_resource_that_is_no_absolute_uri_is_refused(resource: str) -> None:
    assert "credentials.resource must hold absolute URIs" in _fault(resource=("https://a.example", resource))


@pytest.mark.parametrize(
    "name",
    [
        "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "audience",
        "resource", "subject_token", "subject_token_type", "requested_token_type", "Scope", "actor_token", "assertion",
        "code", "password", "refresh_token",
    ],
)  # fmt: skip
def test_a_parameter_that_says_again_what_a_key_says_is_refused(name: str) -> None:
    assert f"credentials.parameters.{name} says again" in _fault(parameters={"tenant": "x", name: "y"})


def test_scopes_by_access_must_have_one_for_who_names_no_access() -> None:
    fault = _fault(scope=None, scopes={Access.WRITE: "writer"})
    assert "credentials.scope is missing: scopes has none for 'read'" in fault


@pytest.mark.parametrize(
    ("method", "name", "value", "uses"),
    [
        ("client_secret_basic", "private_key", SecretReference(secret_ref="key"), "private_key_jwt"),
        ("client_secret_post", "key_id", "k1", "private_key_jwt"),
        ("client_secret_basic", "signing_alg", "ES256", "client_secret_jwt or private_key_jwt"),
        ("client_secret_jwt", "certificate", "/c.pem", "tls_client_auth or self_signed_tls_client_auth"),
    ],
)
def test_a_key_that_the_method_does_not_use_is_refused_and_the_method_that_does_is_named(
    method: str, name: str, value: object, uses: str
) -> None:
    fault = _fault(token_endpoint_auth_method=method, **{name: value})
    assert f"credentials.{name} is set, and token_endpoint_auth_method '{method}' does not use it: set {uses}" in fault


@pytest.mark.parametrize("grant", ["authorization_code", "password", "", "refresh_token"])
def test_a_grant_that_is_not_known_names_those_that_are(grant: str) -> None:
    assert (
        "must be client_credentials, token-exchange (urn:ietf:params:oauth:grant-type:token-exchange) or jwt-bearer"
        in _fault(grant_type=grant)
    )


def test_a_client_without_a_proof_names_itself_in_the_form() -> None:
    issuer = Issuer(replace(SETTINGS, token_endpoint_auth_method="none", client_secret=None), {})
    issuer.issue()
    assert issuer.forms() == [[("grant_type", "client_credentials"), ("scope", "read"), ("client_id", "svc")]]
    assert "authorization" not in issuer.sent[0].headers


def test_without_a_proof_a_name_is_needed_to_be_given_a_token() -> None:
    assert "credentials.client_id is missing" in _fault(token_endpoint_auth_method="none", client_id=None)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_a_method_with_a_secret_says_that_it_lacks_one(method: str) -> None:
    fault = _fault(token_endpoint_auth_method=method, client_secret=None)
    assert f"credentials.client_secret is missing: mode 'oauth2' needs it for token_endpoint_auth_method '{method}'" in fault


def test_who_signs_nothing_loads_nothing_to_sign_with() -> None:
    text = """
import sys
from datetime import UTC, datetime
from credbroker.context import Context, HttpResponse
from credbroker.profile import CatalogProfile, CredentialSettings
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference
from pydantic import SecretStr

class World:
    def send(self, request, **options):
        return HttpResponse(200, {}, b'{"access_token": "t", "expires_in": 60}', datetime.now(UTC), datetime.now(UTC))
    def resolve(self, reference):
        return SecretStr("s")

reference = SecretReference(secret_ref="oauth")
settings = CredentialSettings(mode="oauth2", token_url="https://idp.example/", client_id="svc", client_secret=reference)
context = Context(http=World(), secrets=World(), profile=CatalogProfile(name="p", credentials=settings))
OAuth2Provider().issue(CredentialRequest(kind="catalog", profile="p"), context)
print(sorted({"joserfc", "cryptography", "authlib", "requests"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", text], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout == "[]\n"


# ----------------------------------------------------------------------------------------------------------- the realm


def test_the_realm_goes_along_as_a_header() -> None:
    issuer = Issuer(replace(SETTINGS, realm="tenant-1"))
    issuer.issue()
    assert issuer.sent[0].headers["Polaris-Realm"] == "tenant-1"
    Issuer().issue()
    assert realm_header(Issuer().profile) == realm_header(CatalogProfile(name="x")) == {}


@pytest.mark.parametrize("realm", ["a\r\nX: y", "a\n", " a", "a ", "ä", "\x7f", "x" * 257])
def test_a_realm_that_no_header_carries_is_refused_without_being_shown(realm: str) -> None:
    assert _fault(realm=realm).endswith("is no value of a header: at most 256 characters of visible ASCII")


def test_a_catalog_is_asked_in_its_realm() -> None:
    profile = replace(Issuer(replace(SETTINGS, realm="tenant-1")).profile, uri="https://polaris.example/api/catalog")
    issuer = Issuer(get=lambda request: Issuer().issue())
    context = replace(issuer.context(answer(404, {})), profile=profile)
    with pytest.raises(ConfigurationError, match="no Iceberg REST catalog"):
        CatalogProvider().issue(CredentialRequest(kind="table", profile="production", table=("sales", "orders")), context)
    assert issuer.sent[0].headers["Polaris-Realm"] == "tenant-1"


def test_a_catalog_with_an_impossible_realm_is_refused_before_it_is_asked() -> None:
    profile = replace(Issuer(replace(SETTINGS, realm="a\nb")).profile, uri="https://polaris.example/api/catalog")
    with pytest.raises(ConfigurationError, match=r"credentials\.realm"):
        CatalogProvider().plan(CredentialRequest(kind="table", profile="production", table=("sales", "orders")), profile)


# ----------------------------------------------------------------------------------------------------------- the grant


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_a_scope_that_is_wider_than_asked_is_refused(method: str) -> None:
    issuer = Issuer(replace(SETTINGS, token_endpoint_auth_method=method))
    token = issuer.issue(answer(body={"access_token": "tok", "expires_in": 60, "scope": "read write"}))
    with pytest.raises(MalformedResponse, match="granted 1 more scope"):
        check_grant(REQUEST, issuer.profile, token)


def test_a_server_that_wants_a_certificate_is_not_shown_another_secret() -> None:
    issuer = Issuer(secrets={"oauth": SECRET, "oauth-next": "other"})
    with pytest.raises(IssueDenied, match="wants a client certificate"):
        issuer.issue(IssueDenied("idp.example wants a client certificate"), answer())
    assert len(issuer.sent) == 1


def test_a_secret_in_the_form_is_in_no_repr() -> None:
    issuer = Issuer(replace(SETTINGS, token_endpoint_auth_method="client_secret_post"))
    issuer.issue()
    assert ("client_secret", SECRET) in issuer.forms()[0]
    assert SECRET not in repr(issuer.sent)
