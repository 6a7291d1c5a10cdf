"""``oauth2`` against a certified server: every way to authenticate, what is asked for, and the cost of one issue there.

What goes wrong stands in ``test_oauth2_refusals``, what is replaced under us in ``test_oauth2_rotation``.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.servers.oidc.clients import EXCHANGE, SCOPES
from tests.servers.oidc.provider import RESOURCES, OidcProvider

from credbroker import Broker
from credbroker.credentials import AccessToken
from credbroker.errors import IssueDenied

ANALYST, ENGINEER, OWNER = SCOPES
CATALOG, WAREHOUSE, POLARIS = RESOURCES
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
DISCOVERY = "/.well-known/oauth-authorization-server"
AUTHENTICATIONS = ("basic", "awkward", "post", "secret-jwt", "rs256", "es256", "tls", "self-signed-tls")

Opened = Callable[..., Broker]


@pytest.fixture
def opened(oidc: OidcProvider, tmp_path: Path) -> Iterator[Opened]:
    """A broker whose catalogs have those ``credentials:``; the clients' secrets are mounted."""
    brokers: list[Broker] = []

    def make(**catalogs: Mapping[str, Any]) -> Broker:
        brokers.append(Broker.from_config(oidc.platform(tmp_path, **catalogs)))
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.close()


def shown(token: AccessToken) -> str:
    kind, _, value = token.authorization_header().partition(" ")
    assert kind == "Bearer"
    return value


def asked(oidc: OidcProvider) -> dict[str, str | list[str]]:
    """The form of the latest token request."""
    return oidc.requests("/token")[-1].form


# -- who we are ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AUTHENTICATIONS)
def test_each_authentication_gives_a_token_that_the_issuer_knows(name: str, oidc: OidcProvider, opened: Opened) -> None:
    client = oidc.client(name)
    token = opened(c=client.credentials()).catalog("c").get()
    known = oidc.introspect(shown(token))
    assert (known["active"], known["client_id"], known["scope"]) == (True, client.client_id, ANALYST)
    assert token.expires_at is not None
    assert abs(token.expires_at.timestamp() - known["exp"]) <= 2
    # RFC 8705 section 3: whoever steals the token of a certificate cannot use it.
    assert ("x5t#S256" in known.get("cnf", {})) == (client.identity is not None)


@pytest.mark.parametrize("name", AUTHENTICATIONS)
def test_each_authentication_gives_a_jwt_for_a_resource(name: str, oidc: OidcProvider, opened: Opened) -> None:
    client = oidc.client(name)
    token = opened(c=client.credentials(resource=[CATALOG])).catalog("c").get()
    claims = oidc.claims(shown(token), CATALOG)
    assert (claims["client_id"], claims["scope"]) == (client.client_id, ANALYST)


def test_what_proves_who_we_are_is_sent_once_and_nowhere_else(oidc: OidcProvider, opened: Opened) -> None:
    def proofs(name: str) -> set[str]:
        opened(c=oidc.client(name).credentials()).catalog("c").get()
        (request,) = oidc.requests("/token")
        oidc.reset()
        kinds = {"client_secret", "client_assertion", "client_assertion_type", "client_id"} & set(request.form)
        return kinds | ({"header"} if "authorization" in request.headers else set())

    by_assertion = {"client_id", "client_assertion", "client_assertion_type"}
    assert {name: proofs(name) for name in AUTHENTICATIONS} == {
        "basic": {"header"},
        "awkward": {"header"},
        "post": {"client_id", "client_secret"},
        "secret-jwt": by_assertion,
        "rs256": by_assertion,
        "es256": by_assertion,
        "tls": {"client_id"},
        "self-signed-tls": {"client_id"},
    }


@pytest.mark.parametrize("name", ["secret-jwt", "rs256", "es256"])
def test_no_assertion_is_used_twice_and_each_is_short(name: str, oidc: OidcProvider, opened: Opened) -> None:
    broker = opened(c=oidc.client(name).credentials())
    for _ in range(20):
        broker.catalog("c").get()
        broker.purge("c")
    heard = oidc.requests("/token")
    assert [request.error for request in heard] == [None] * 20
    claims = [json.loads(b64decode(str(one.form["client_assertion"]).split(".")[1] + "==", altchars=b"-_")) for one in heard]
    assert len({claim["jti"] for claim in claims}) == 20
    assert {claim["exp"] - claim["iat"] for claim in claims} == {60}


# -- what is asked for -----------------------------------------------------------------------------------------------------


def test_several_resources_are_sent_and_this_servers_refusal_names_them(oidc: OidcProvider, opened: Opened) -> None:
    # For client credentials oidc-provider gives a token for one resource alone.
    with pytest.raises(IssueDenied, match=r"invalid_target.*resource"):
        opened(c=oidc.client("basic").credentials(resource=[CATALOG, WAREHOUSE])).catalog("c").get()
    assert asked(oidc)["resource"] == [CATALOG, WAREHOUSE]


def test_an_exchange_for_several_resources_and_an_audience_is_good_at_each(oidc: OidcProvider, opened: Opened) -> None:
    block = oidc.client("post").credentials(
        grant_type=EXCHANGE, subject_token={"profile": "base"}, resource=[CATALOG, WAREHOUSE], audience=POLARIS
    )
    token = opened(base=oidc.client("basic").credentials(), c=block).catalog("c").get()
    for audience in RESOURCES:
        assert oidc.claims(shown(token), audience)["sub"] == "basic"


def test_audience_and_further_parameters_are_sent_with_the_scope(oidc: OidcProvider, opened: Opened) -> None:
    scopes = f"{ANALYST} {ENGINEER}"
    block = oidc.client("basic").credentials(scope=scopes, audience=POLARIS, parameters={"tenant": "a b&c=d"})
    token = opened(c=block).catalog("c", scope=ENGINEER).get()
    assert token.scopes == {ENGINEER}
    sent = {"grant_type": "client_credentials", "scope": ENGINEER, "audience": POLARIS, "tenant": "a b&c=d"}
    assert asked(oidc) == sent


def test_a_realm_is_a_header_of_the_token_request(oidc: OidcProvider, opened: Opened) -> None:
    opened(c=oidc.client("basic").credentials(realm="lake-eu")).catalog("c").get()
    assert oidc.requests("/token")[-1].headers["polaris-realm"] == "lake-eu"


# -- where the endpoints are -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["basic", "rs256", "tls"])
def test_the_issuer_says_where_its_endpoints_are(name: str, oidc: OidcProvider, opened: Opened) -> None:
    client = oidc.client(name)
    # Of a client with a certificate, the issuer's other endpoint (RFC 8705 section 5), over https alone.
    issuer = oidc.tls_issuer if client.identity else oidc.issuer
    token = opened(c=client.credentials(token_url=None, issuer=issuer)).catalog("c").get()
    assert oidc.introspect(shown(token))["client_id"] == client.client_id


# -- exchange --------------------------------------------------------------------------------------------------------------


def test_a_subject_from_a_file_is_read_at_each_issue(oidc: OidcProvider, opened: Opened, tmp_path: Path) -> None:
    file = tmp_path / "subject"
    block = oidc.client("basic").credentials(grant_type=EXCHANGE, subject_token={"file": str(file)}, scope=None)
    source = opened(c=block).catalog("c")
    file.write_text(oidc.subject(scope=f"{ANALYST} {ENGINEER}", resource=CATALOG) + "\n")
    first = source.get()
    assert oidc.introspect(shown(first))["sub"] == "post"
    assert first.scopes == {ANALYST, ENGINEER}
    file.write_text(oidc.subject(scope=OWNER, resource=CATALOG) + "\n")
    assert source.invalidate(first)
    assert source.get().scopes == {OWNER}


@pytest.mark.parametrize("name", ["basic", "es256", "tls", "public"])
def test_a_subject_from_a_secret_is_exchanged_for_less(
    name: str, oidc: OidcProvider, opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "subject").write_text(oidc.subject(scope=f"{ANALYST} {ENGINEER}"))
    block = oidc.client(name).credentials(
        grant_type=EXCHANGE, subject_token={"secret_ref": "subject"}, subject_token_type=ACCESS_TOKEN, scope=ANALYST
    )
    token = opened(c=block).catalog("c").get()
    known = oidc.introspect(shown(token))
    assert (known["client_id"], known["sub"], known["scope"]) == (oidc.client(name).client_id, "post", ANALYST)


def test_a_subject_that_its_issuer_has_revoked_is_issued_anew(oidc: OidcProvider, opened: Opened) -> None:
    base = oidc.client("basic").credentials(revocation_url=oidc.revocation_url)
    block = oidc.client("post").credentials(grant_type=EXCHANGE, subject_token={"profile": "base"}, scope=None)
    broker = opened(base=base, c=block)
    held = broker.catalog("base").get()
    oidc.revoke(shown(held), "basic")
    assert oidc.introspect(shown(broker.catalog("c").get()))["sub"] == "basic"
    assert broker.catalog("base").get() != held


# -- taking back -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AUTHENTICATIONS)
def test_a_revoked_token_is_dead_at_the_issuer(name: str, oidc: OidcProvider, opened: Opened) -> None:
    client = oidc.client(name)
    url = f"{oidc.mtls_url}/token/revocation" if client.identity else oidc.revocation_url
    broker = opened(c=client.credentials(revocation_url=url))
    token = broker.catalog("c").get()
    assert oidc.introspect(shown(token))["active"]
    (entry,) = broker.revoke("c")
    assert (entry["profile"], entry["revoked"], entry["runbook"]) == ("c", True, None)
    assert not oidc.introspect(shown(token))["active"]
    assert broker.catalog("c").get() != token


@pytest.mark.parametrize("name", ["basic", "es256", "tls"])
def test_where_a_token_is_revoked_is_the_issuers_to_say(name: str, oidc: OidcProvider, opened: Opened) -> None:
    client = oidc.client(name)
    issuer = oidc.tls_issuer if client.identity else oidc.issuer
    broker = opened(c=client.credentials(issuer=issuer))
    token = broker.catalog("c").get()
    assert [entry["revoked"] for entry in broker.revoke("c")] == [True]
    assert not oidc.introspect(shown(token))["active"]
    assert [request.path for request in oidc.requests()][1:3] == [DISCOVERY, "/token/revocation"]


def test_a_jwt_is_reported_as_irrevocable_with_what_a_human_can_do(oidc: OidcProvider, opened: Opened) -> None:
    broker = opened(c=oidc.client("basic").credentials(resource=[CATALOG], revocation_url=oidc.revocation_url))
    broker.catalog("c").get()
    (entry,) = broker.revoke("c")
    assert not entry["revoked"]
    assert "unsupported_token_type: it takes back no token of this kind (a JWT" in str(entry["reason"])
    assert "disable the client" in str(entry["runbook"])


# -- what it costs ---------------------------------------------------------------------------------------------------------


def test_the_round_trips_of_one_issue_as_the_server_counts_them(oidc: OidcProvider, opened: Opened, tmp_path: Path) -> None:
    def cost(**catalogs: Mapping[str, Any]) -> dict[str, int]:
        oidc.reset()
        opened(**catalogs).catalog("c").get()
        return dict(Counter(request.path for request in oidc.requests()))

    (tmp_path / "subject").write_text(oidc.subject())
    basic, tls = oidc.client("basic"), oidc.client("tls")
    exchange = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN}
    costs = {name: cost(c=oidc.client(name).credentials()) for name in AUTHENTICATIONS} | {
        "issuer": cost(c=basic.credentials(token_url=None, issuer=oidc.issuer)),
        "issuer and certificate": cost(c=tls.credentials(token_url=None, issuer=oidc.tls_issuer)),
        "exchange": cost(c=basic.credentials(**exchange, subject_token={"secret_ref": "subject"})),
        "exchange of another profile's": cost(
            c=basic.credentials(**exchange, subject_token={"profile": "base"}), base=oidc.client("post").credentials()
        ),
    }
    assert costs == {name: {"/token": 1} for name in AUTHENTICATIONS} | {
        "issuer": {DISCOVERY: 1, "/token": 1},
        "issuer and certificate": {DISCOVERY: 1, "/token": 1},
        "exchange": {"/token": 1},
        "exchange of another profile's": {"/token": 2},
    }
