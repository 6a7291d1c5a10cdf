from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.secrets.vaults import (
    ADDRESS,
    APPROLE,
    KUBERNETES,
    REFERENCE,
    TOKEN,
    WEB,
    Place,
    answer,
    body_of,
    kv,
    logged_in,
    place,
    refused,
    settings,
    token_of,
    world,
)

from credbroker.context import HttpRequest, HttpResponse, Lease
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.secrets.backend import Lessor, Lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.secrets.vault import VaultBackend
from credbroker.testing import FakeHttp, ManualClock

DYNAMIC = SecretReference(secret_ref="reports", engine="dynamic")


def _look(response: HttpResponse, reference: SecretReference = REFERENCE, **fields: Any) -> tuple[Lookup, HttpRequest]:
    http = FakeHttp(response)
    found = VaultBackend(settings(**fields), [place()]).look(reference, world(http))
    return found, http.requests[0]


def _text(found: Lookup) -> str | None:
    return None if found.secret is None else found.secret.get_secret_value()


def _failure(*responses: HttpResponse, **fields: Any) -> CredbrokerError:
    with pytest.raises(CredbrokerError) as caught:
        VaultBackend(settings(**fields), [place()]).look(REFERENCE, world(FakeHttp(*responses)))
    return caught.value


def _lease(
    *responses: HttpResponse, reference: SecretReference = DYNAMIC, clock: ManualClock | None = None, **fields: Any
) -> tuple[Lease | None, FakeHttp]:
    http = FakeHttp(*responses)
    return VaultBackend(settings(**fields), [place()]).lease(reference, world(http, clock=clock)), http


def _leased(**changes: object) -> HttpResponse:
    body = {
        "lease_id": "database/creds/reports/abc",
        "lease_duration": 60,
        "data": {"username": "v-1", "password": "p-1"},
        **changes,
    }
    return answer(body=body)


# ------------------------------------------------------------------------------------------------------------ the request


def test_a_secret_is_read_by_its_mount_prefix_and_name() -> None:
    found, sent = _look(kv(value="s3cret"), prefix="prod/")
    assert _text(found) == "s3cret"
    assert (sent.method, sent.url, sent.body) == ("GET", f"{ADDRESS}/v1/kv/data/prod/lake-key", None)
    assert sent.headers == {"x-vault-request": "true", "accept": "application/json", "x-vault-token": "hvs.given"}


def test_the_mount_is_named_secret_where_none_is() -> None:
    assert _look(kv(value="x"), mount=None)[1].url == f"{ADDRESS}/v1/secret/data/lake-key"


def test_a_slash_around_a_mount_makes_no_difference() -> None:
    assert _look(kv(value="x"), mount="/kv/")[1].url == f"{ADDRESS}/v1/kv/data/lake-key"
    assert _lease(_leased(), dynamic_mount="db/")[1].requests[0].url == f"{ADDRESS}/v1/db/creds/reports"


def test_the_namespace_is_a_header() -> None:
    found, sent = _look(kv(value="x"), namespace="team/a")
    assert sent.headers["x-vault-namespace"] == "team/a"
    assert "namespace 'team/a'" in found.place


def test_a_path_of_the_address_stays_and_its_last_slash_goes() -> None:
    assert _look(kv(value="x"), address=f"{ADDRESS}/vault/")[1].url == f"{ADDRESS}/vault/v1/kv/data/lake-key"


def test_every_segment_of_a_path_is_quoted() -> None:
    assert _look(kv(value="x"), mount="team a/kv", prefix="%2e%2e/?x#")[1].url == (
        f"{ADDRESS}/v1/team%20a/kv/data/%252e%252e/%3Fx%23lake-key"
    )


@pytest.mark.parametrize("field", ["mount", "prefix", "dynamic_mount"])
@pytest.mark.parametrize("path", ["../sys/", "a/../b/", "./", "a//b/", "a\nb/"])
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_sent(field: str, path: str) -> None:
    http = FakeHttp()
    backend = VaultBackend(settings(**{field: path}), [place()])
    with pytest.raises(ConfigurationError, match=rf"^p\.yaml:3: secret_backends\[1\]: {field} has "):
        (backend.lease if field == "dynamic_mount" else backend.look)(REFERENCE, world(http))
    assert http.requests == []


@given(prefix=st.text(max_size=30))
def test_no_prefix_leads_out_of_the_mount(prefix: str) -> None:
    try:
        _, sent = _look(kv(value="x"), prefix=prefix)
    except ConfigurationError:
        return
    below = sent.url.removeprefix(f"{ADDRESS}/v1/kv/data/")
    assert below != sent.url
    assert below.isascii()
    assert not {".", "..", ""} & set(below.split("/"))
    assert not set("?#\\ ") & set(below)


@pytest.mark.parametrize(
    "address",
    [
        *("", "vault.internal", "ftp://vault.internal", "https://", "http://vault.internal:8200", "https://vault:port"),
        *("https://user:pw@vault.internal", "https://vault.internal?x=1", "https://vault.internal/#f", "https://a\\@b"),
        *("https://vault .internal", "http://127.0.0.1.evil.test"),
    ],
)
def test_an_address_that_secrets_may_not_go_to_is_refused_at_first_use(address: str) -> None:
    http = FakeHttp()
    backend = VaultBackend(settings(address=address), [place()])
    with pytest.raises(ConfigurationError, match=r"^p\.yaml:3: secret_backends\[1\]: address ") as caught:
        backend.look(REFERENCE, world(http))
    assert http.requests == []
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8200", "http://localhost:8200", "http://[::1]:8200"])
def test_plain_http_reaches_this_machine_only(address: str) -> None:
    assert _text(_look(kv(value="x"), address=address)[0]) == "x"


def test_a_namespace_that_is_no_header_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="namespace"):
        _look(kv(value="x"), namespace="a b")


# ------------------------------------------------------------------------------------------------------------- the secret


def test_field_picks_one_of_several() -> None:
    reference = SecretReference(secret_ref="lake-key", field="b")
    assert _text(_look(kv(a="1", b="2\n"), reference)[0]) == "2"


@pytest.mark.parametrize("value", [None, "", 7, ["x"], {"y": "z"}])
def test_a_field_that_is_no_text_is_none(value: object) -> None:
    found, _ = _look(kv(a=value, b="2"), SecretReference(secret_ref="lake-key", field="a"))
    assert (found.secret, found.reason) == (None, "it has no text under 'a'")


@pytest.mark.parametrize(
    "data",
    [
        {"access_key_id": "A", "secret_access_key": "S"},
        {"access_key_id": "A", "secret_access_key": "S", "session_token": "T"},
        {"username": "u", "password": "p"},
    ],
)
def test_fields_that_belong_together_are_one_secret(data: dict[str, str]) -> None:
    text = _text(_look(kv(**data))[0])
    assert text is not None
    assert json.loads(text) == data


def test_fields_that_belong_together_are_not_halved() -> None:
    found, _ = _look(kv(username="u", password=""))
    assert (found.secret, found.reason) == (None, "one of its fields password, username is no text, or empty")


def test_several_fields_have_to_be_chosen_from() -> None:
    found, _ = _look(kv(**{"b": "canary-1", "a": "canary-2", "x y": "canary-3"}))
    assert (found.secret, found.reason) == (None, "it holds the fields (no legal name), a, b: pick one with 'field:'")


def test_of_very_many_fields_some_are_named() -> None:
    found, _ = _look(kv(**{f"f{number:03}": "x" for number in range(500)}))
    assert found.reason is not None
    assert found.reason.endswith("f009, ...: pick one with 'field:'")


def test_an_empty_map_is_no_secret() -> None:
    assert _look(kv())[0].reason == "it is empty"


def test_the_place_names_address_mount_and_path() -> None:
    found, _ = _look(kv(value="canary"), prefix="prod/")
    assert found.place == f"the vault at {ADDRESS}, mount 'kv', path 'prod/lake-key'"
    assert "canary" not in f"{found}{found!r}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"errors": []}, None),
        ({"data": {"data": None, "metadata": {"deletion_time": "t", "destroyed": False}}}, "its latest version was deleted"),
        ({"data": {"data": None, "metadata": {"destroyed": True}}}, "its latest version was destroyed"),
    ],
)
def test_a_secret_that_is_not_there_lets_the_next_place_be_asked(body: object, reason: str | None) -> None:
    found, _ = _look(answer(404, body))
    assert (found.secret, found.reason) == (None, reason)


def test_a_mount_that_is_not_there_cannot_tell() -> None:
    error = _failure(answer(404, {"errors": ["no handler for route canary"]}))
    assert isinstance(error, ConfigurationError)
    assert "secret_backends.mount" in str(error)
    assert "canary" not in str(error)


# ----------------------------------------------------------------------------------------------------------- the refusals


def test_a_sealed_vault_says_who_has_to_unseal_it() -> None:
    error = _failure(answer(503, {"errors": ["Vault is sealed"]}, retry_after="7"))
    assert isinstance(error, IssuerUnavailable)
    assert str(error) == f"the vault at {ADDRESS} is sealed: an operator has to unseal it"
    assert error.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("status", [408, 412, 429, 472, 473, 500, 502, 503, 504])
def test_a_vault_that_cannot_answer_now_is_asked_again(status: int) -> None:
    error = _failure(answer(status, {"errors": ["canary"]}, retry_after="3"))
    assert isinstance(error, IssuerUnavailable)
    assert (error.retryable, error.retry_after) == (True, timedelta(seconds=3))
    assert f"HTTP {status}" in str(error)
    assert "canary" not in str(error)


@pytest.mark.parametrize(
    "response",
    [
        answer(200, b"<html>canary"),
        answer(403, b"<html>canary"),
        answer(404, b"canary"),
        answer(200, b""),
        answer(200, b"[" * 5000),
        answer(200, b"\xff"),
        answer(200, ["canary"]),
        answer(200, {}),
        answer(200, {"data": {"value": "canary"}}),
        answer(200, {"data": {"data": "canary"}}),
        answer(200, {"data": None}),
        answer(204),
        answer(400, {"errors": ["canary"]}),
        answer(301, {"errors": []}),
        answer(405, {"errors": []}),
        answer(404, {"message": "no Route matched"}),
        answer(403, {"message": "Forbidden"}),
    ],
)
def test_what_no_vault_says_is_malformed(response: HttpResponse) -> None:
    error = _failure(response)
    assert isinstance(error, MalformedResponse)
    assert "canary" not in str(error)


def test_a_given_token_that_is_refused_is_asked_with_once() -> None:
    http = FakeHttp(refused())
    with pytest.raises(IssueDenied, match=r"the token that auth.token names read kv/data/lake-key \(HTTP 403\)") as caught:
        VaultBackend(settings(), [place()]).look(REFERENCE, world(http))
    assert len(http.requests) == 1
    assert not caught.value.grant_denied
    assert "not valid any more" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_refusal_that_speaks_of_seals_is_a_refusal() -> None:
    assert isinstance(_failure(answer(403, {"errors": ["sealed wrappers are not for you"]})), IssueDenied)


def test_a_held_token_that_is_refused_is_replaced_once() -> None:
    http = FakeHttp(logged_in("one"), kv(value="a"), refused(), logged_in("two"), kv(value="b"), kv(value="c"))
    backend = VaultBackend(settings(APPROLE), [place()])
    found = [_text(backend.look(REFERENCE, world(http))) for _ in range(3)]
    assert found == ["a", "b", "c"]
    assert [token_of(request) for request in http.requests] == [None, "one", "one", None, "two", "two"]


def test_a_path_that_the_policy_does_not_allow_is_denied_after_one_more_login() -> None:
    http = FakeHttp(logged_in("one"), refused(), logged_in("two"), refused())
    auth = replace(APPROLE, role="pipelines")
    with pytest.raises(IssueDenied) as caught:
        VaultBackend(settings(auth), [place()]).look(REFERENCE, world(http))
    assert str(caught.value) == (
        f"the vault at {ADDRESS} does not let role 'pipelines' of the login 'auth/approle' read kv/data/lake-key (HTTP 403)"
        ": its policy has to allow that path"
    )
    assert not caught.value.grant_denied
    assert len(http.requests) == 4


# ------------------------------------------------------------------------------------------------------------- the leases


def test_it_gives_leases() -> None:
    assert isinstance(VaultBackend(settings(), []), Lessor)


def test_a_lease_is_the_login_of_a_role() -> None:
    lease, http = _lease(_leased())
    assert lease is not None
    assert json.loads(lease.secret.get_secret_value()) == {"username": "v-1", "password": "p-1"}
    assert lease.lifetime == timedelta(seconds=60)
    assert (http.requests[0].method, http.requests[0].url) == ("GET", f"{ADDRESS}/v1/database/creds/reports")


def test_a_lease_may_be_of_another_engine_and_of_one_field() -> None:
    reference = SecretReference(secret_ref="reports", engine="dynamic", field="password")
    lease, http = _lease(_leased(), reference=reference, dynamic_mount="team/db")
    assert lease is not None
    assert lease.secret.get_secret_value() == "p-1"
    assert http.requests[0].url == f"{ADDRESS}/v1/team/db/creds/reports"


def test_a_lease_lives_no_longer_than_the_login_that_it_ends_with() -> None:
    clock = ManualClock()
    http = FakeHttp(logged_in(lease_duration=90), _leased(), _leased())
    backend = VaultBackend(settings(APPROLE), [place()])
    first = backend.lease(DYNAMIC, world(http, clock=clock))
    clock.advance(59)  # the held token is used for two thirds of its 90 s
    second = backend.lease(DYNAMIC, world(http, clock=clock))
    assert first is not None
    assert second is not None
    assert (first.lifetime, second.lifetime) == (timedelta(seconds=60), timedelta(seconds=31))


def test_a_lease_by_a_login_without_an_end_has_its_own() -> None:
    lease, _ = _lease(logged_in(lease_duration=0), _leased(), auth=APPROLE)
    assert lease is not None
    assert lease.lifetime == timedelta(seconds=60)


@pytest.mark.parametrize("response", [answer(400, {"errors": ["unknown role"]}), answer(404, {"errors": []})])
def test_a_role_that_is_not_there_is_no_lease(response: HttpResponse) -> None:
    absent = _lease(response)[0]
    assert isinstance(absent, Lookup)
    assert absent.place.endswith("role database/creds/reports")


def test_a_lease_that_the_policy_does_not_allow_is_a_denied_grant() -> None:
    with pytest.raises(IssueDenied, match="database/creds/reports") as caught:
        _lease(logged_in(), refused(), logged_in(), refused(), auth=APPROLE)
    assert caught.value.grant_denied
    with pytest.raises(IssueDenied) as of_given:
        _lease(refused())
    assert not of_given.value.grant_denied  # the token may only have ended


@pytest.mark.parametrize(
    "changes",
    [
        {"lease_id": ""},
        {"lease_id": "a b"},
        {"lease_id": None},
        {"lease_duration": 0},
        {"lease_duration": -1},
        {"lease_duration": True},
        {"lease_duration": "60"},
        {"lease_duration": 10**12},
        {"data": None},
    ],
)
def test_what_is_no_lease_is_malformed(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedResponse, match="dynamic_mount"):
        _lease(_leased(**changes))


def test_a_lease_without_the_field_is_a_matter_of_settings() -> None:
    with pytest.raises(ConfigurationError, match="'nope'"):
        _lease(_leased(), reference=SecretReference(secret_ref="reports", engine="dynamic", field="nope"))


def _revoke(*responses: HttpResponse, lease: str | None = None) -> tuple[bool, FakeHttp]:
    http = FakeHttp(_leased(), *responses)
    backend = VaultBackend(settings(), [place()])
    given = backend.lease(DYNAMIC, world(http))
    assert given is not None
    return backend.revoke(lease or given.name, world(http)), http


@pytest.mark.parametrize("response", [answer(204), answer(200, {"warnings": None})])
def test_a_lease_is_revoked_by_its_name_and_waited_for(response: HttpResponse) -> None:
    revoked, http = _revoke(response)
    assert revoked
    assert (http.requests[1].method, http.requests[1].url) == ("PUT", f"{ADDRESS}/v1/sys/leases/revoke")
    assert body_of(http.requests[1]) == {"lease_id": "database/creds/reports/abc", "sync": True}


def _name(**fields: Any) -> str:
    lease, _ = _lease(_leased(), **fields)
    assert lease is not None
    return lease.name


@pytest.mark.parametrize(
    "other",
    [
        *({"address": "https://vault.internal:8201"}, {"address": "https://vault.internal:8200/b"}),
        *({"namespace": "team"}, {"address": "https://vault.internal"}),
    ],
)
def test_a_lease_of_another_vault_is_not_ours(other: dict[str, Any]) -> None:
    revoked, http = _revoke(lease=_name(**other))
    assert not revoked
    assert len(http.requests) == 1


def test_no_two_vaults_have_leases_of_one_name() -> None:
    assert _name(address="https://v/a", namespace="bc") != _name(address="https://v/ab", namespace="c")


def test_a_lease_that_could_not_be_ended_is_not_called_revoked() -> None:
    with pytest.raises(IssuerUnavailable, match="could not end the lease"):
        _revoke(answer(400, {"errors": ["failed to revoke entry"]}))
    with pytest.raises(IssueDenied, match="sys/leases/revoke"):
        _revoke(refused())


# -------------------------------------------------------------------------------------------------------------- no secret


def test_nothing_shows_a_secret() -> None:
    backend = VaultBackend(settings(APPROLE), [place()])
    http = FakeHttp(logged_in("canary"), _leased(data={"username": "u", "password": "canary"}))
    lease = backend.lease(DYNAMIC, world(http))
    held = backend._login._held._held
    assert held is not None
    assert "canary" not in f"{backend!r}{backend._login!r}{held!r}{lease!r}{http.requests!r}"


@pytest.mark.parametrize(
    "responses",
    [
        [IssuerUnavailable("down")],
        [refused()],
        [answer(503, {"errors": ["Vault is sealed"]})],
        [answer(200, {"auth": {"client_token": "canary", "lease_duration": "x"}})],
        [logged_in("canary"), IssuerUnavailable("down")],
        [logged_in("canary"), refused(), logged_in("canary"), refused()],
        [logged_in("canary"), answer(200, {"data": "canary"})],
    ],
)
@pytest.mark.parametrize("auth", [APPROLE, KUBERNETES, WEB])
@pytest.mark.parametrize("asks", ["look", "lease"])
def test_no_frame_of_an_error_shows_a_secret(responses: list[Any], auth: BackendLogin, asks: str) -> None:
    backend = VaultBackend(settings(auth), [Place(secret_id="canary", web="canary.canary.canary")])
    context = world(FakeHttp(*responses), token=b"canary.canary.canary")
    with pytest.raises(CredbrokerError) as caught:
        getattr(backend, asks)(DYNAMIC, context)
    assert "canary" not in _shown_by_our_frames(caught)


@pytest.mark.parametrize("auth", [APPROLE, TOKEN])
def test_no_frame_of_an_error_of_a_given_secret_shows_it(auth: BackendLogin) -> None:
    backend = VaultBackend(settings(auth), [Place(vault_token="canary canary", secret_id="canary")])
    with pytest.raises(CredbrokerError) as caught:
        backend.look(REFERENCE, world(FakeHttp(refused())))
    assert "canary" not in _shown_by_our_frames(caught)


def _shown_by_our_frames(caught: pytest.ExceptionInfo[CredbrokerError]) -> str:
    frames = [entry.frame for entry in caught.traceback if entry.frame.f_globals["__name__"].startswith("credbroker.")]
    assert frames
    return "".join(repr(frame.f_locals) for frame in frames)


def test_settings_without_an_address_say_so() -> None:
    with pytest.raises(ConfigurationError, match="address"):
        VaultBackend(BackendSettings(type="vault"), []).look(REFERENCE, world(FakeHttp()))
