from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
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

from credbroker.context import Context, HttpRequest
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendLogin
from credbroker.secrets.vault import VaultBackend
from credbroker.testing import FakeHttp, ManualClock

JWT = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (b'{"alg":"x"}', b'{"sub":"y"}', b"sig"))
OF_FILE = BackendLogin(method="jwt", role="pipelines", path="/token")
DEFAULT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def _logs_in(auth: BackendLogin, *, earlier: Place | None = None, **files: bytes | OSError) -> HttpRequest:
    http = FakeHttp(logged_in(), kv(value="x"))
    VaultBackend(settings(auth), [earlier or place()]).look(REFERENCE, world(http, **files))
    login, read = http.requests
    assert token_of(login) is None
    assert token_of(read) == "hvs.login"
    assert login.method == "POST"
    assert login.headers["content-type"] == "application/json"
    return login


def _failure(auth: BackendLogin, *answers: Any, earlier: Place | None = None, **files: bytes | OSError) -> CredbrokerError:
    with pytest.raises(CredbrokerError) as caught:
        VaultBackend(settings(auth), [earlier or place()]).look(REFERENCE, world(FakeHttp(*answers), **files))
    assert "canary" not in str(caught.value)
    return caught.value


# ------------------------------------------------------------------------------------------------------------- the logins


def test_approle_presents_its_role_id_and_secret_id() -> None:
    login = _logs_in(APPROLE)
    assert login.url == f"{ADDRESS}/v1/auth/approle/login"
    assert body_of(login) == {"role_id": "role-1", "secret_id": "sid-1"}


def test_the_role_id_may_stand_in_a_secret() -> None:
    auth = replace(APPROLE, role_id=SecretReference(secret_ref="role-id"))
    assert body_of(_logs_in(auth, earlier=Place(role_id="r2", secret_id="s2"))) == {"role_id": "r2", "secret_id": "s2"}


@pytest.mark.parametrize(("auth", "mount"), [(KUBERNETES, "kubernetes"), (OF_FILE, "jwt")])
def test_a_workload_presents_its_token_and_its_role(auth: BackendLogin, mount: str) -> None:
    login = _logs_in(auth, token=JWT.encode() + b"\n")
    assert login.url == f"{ADDRESS}/v1/auth/{mount}/login"
    assert body_of(login) == {"role": "pipelines", "jwt": JWT}


def test_a_login_may_be_mounted_elsewhere() -> None:
    assert _logs_in(replace(APPROLE, mount="team a/ci/")).url == f"{ADDRESS}/v1/auth/team%20a/ci/login"
    with pytest.raises(ConfigurationError, match=r"auth\.mount has "):
        _logs_in(replace(APPROLE, mount="../sys"))


def test_a_jwt_may_stand_in_a_secret() -> None:
    assert body_of(_logs_in(WEB, earlier=Place(web=JWT)))["jwt"] == JWT


def test_the_service_account_s_token_is_where_the_kubelet_puts_it() -> None:
    error = _failure(replace(KUBERNETES, path=None))
    assert isinstance(error, SecretNotFound)
    assert DEFAULT_PATH in str(error)


def test_the_namespace_and_the_header_against_forged_requests_are_in_a_login_too() -> None:
    http = FakeHttp(logged_in(), kv(value="x"))
    VaultBackend(settings(APPROLE, namespace="team"), [place()]).look(REFERENCE, world(http))
    assert all(request.headers["x-vault-namespace"] == "team" for request in http.requests)
    assert all(request.headers["x-vault-request"] == "true" for request in http.requests)


def test_the_token_is_read_afresh_at_each_login() -> None:
    clock = ManualClock()
    http = FakeHttp(logged_in(), kv(value="x"), logged_in(), kv(value="x"))
    context = world(http, clock=clock, token=JWT.encode())
    backend = VaultBackend(settings(KUBERNETES), [])
    backend.look(REFERENCE, context)
    clock.advance(401)  # two thirds of 600 s
    context.environment.files["/token"] = b"new." + JWT.encode().partition(b".")[2]  # type: ignore[attr-defined]
    backend.look(REFERENCE, context)
    assert [body_of(request)["jwt"] for request in http.requests if request.method == "POST"] == [
        JWT,
        "new." + JWT.partition(".")[2],
    ]


# -------------------------------------------------------------------------------------------------------- what is held


@pytest.mark.parametrize(("life", "after", "logins"), [(600, 399, 1), (600, 401, 2), (0, 10**9, 1)])
def test_a_login_is_held_for_two_thirds_of_its_life(life: int, after: float, logins: int) -> None:
    clock = ManualClock()
    http = FakeHttp(logged_in(lease_duration=life), kv(value="x"), *([logged_in()] * (logins - 1)), kv(value="x"))
    backend = VaultBackend(settings(APPROLE), [place()])
    backend.look(REFERENCE, world(http, clock=clock))
    clock.advance(after)
    backend.look(REFERENCE, world(http, clock=clock))
    assert sum(request.method == "POST" for request in http.requests) == logins


def test_a_given_token_is_looked_up_at_each_use() -> None:
    earlier = place()
    http = FakeHttp(kv(value="x"), kv(value="x"))
    backend = VaultBackend(settings(TOKEN), [earlier])
    backend.look(REFERENCE, world(http))
    earlier.secrets["vault-token"] = "hvs.rotated"
    backend.look(REFERENCE, world(http))
    assert [token_of(request) for request in http.requests] == ["hvs.given", "hvs.rotated"]


# ----------------------------------------------------------------------------------------------------------- the refusals


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    ("auth", "remedy"),
    [
        (APPROLE, "check auth.role_id and the secret that auth.secret_id names"),
        (KUBERNETES, "for role 'pipelines' .*bound to this service account.*'/token'"),
        (OF_FILE, "for role 'pipelines' .*issuer, audience, subject and end.*'/token'"),
    ],
)
def test_a_login_that_is_refused_says_what_to_check(auth: BackendLogin, remedy: str, status: int) -> None:
    error = _failure(auth, refused(status), token=JWT.encode())
    assert isinstance(error, IssueDenied)
    assert not error.grant_denied
    assert not error.retryable
    with pytest.raises(IssueDenied, match=remedy):
        raise error


def test_a_login_that_is_forbidden_may_not_be_enabled_at_all() -> None:
    assert "enabled there (auth.mount, namespace)" in str(_failure(APPROLE, refused(403)))
    assert "enabled there" not in str(_failure(APPROLE, refused(400)))


def test_a_login_that_is_not_enabled_is_a_matter_of_settings() -> None:
    error = _failure(APPROLE, answer(404, {"errors": ["no handler for route"]}))
    assert isinstance(error, ConfigurationError)
    assert "'auth/approle'" in str(error)


def test_a_sealed_vault_is_no_refusal_of_the_login() -> None:
    assert isinstance(_failure(APPROLE, answer(503, {"errors": ["Vault is sealed"]})), IssuerUnavailable)


@pytest.mark.parametrize(
    "auth",
    [
        None,
        "canary",
        {},
        {"client_token": "", "lease_duration": 600, "mfa_requirement": {"mfa_request_id": "canary"}},
        {"client_token": "can ary", "lease_duration": 600},
        {"client_token": "canary\n", "lease_duration": 600},
        {"client_token": "canary"},
        {"client_token": "canary", "lease_duration": "600"},
        {"client_token": "canary", "lease_duration": True},
        {"client_token": "canary", "lease_duration": -1},
        {"client_token": "canary", "lease_duration": 10**12},
    ],
)
def test_a_login_without_a_token_or_its_life_is_malformed(auth: object) -> None:
    assert isinstance(_failure(APPROLE, answer(body={"auth": auth})), MalformedResponse)


def test_a_login_with_no_body_is_malformed() -> None:
    assert isinstance(_failure(APPROLE, answer(204)), MalformedResponse)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (FileNotFoundError("/token"), "is not there: mount a projected service account token"),
        (PermissionError(13, "Permission denied"), r"cannot be read \(permission denied\)"),
        (b"\xff\xfe", "is no text"),
        (b"", "holds no whole JWT"),
        (JWT.encode()[:12], "holds no whole JWT"),
        (JWT.encode().rpartition(b".")[0] + b".", "holds no whole JWT"),
        (b"canary", "holds no whole JWT"),
    ],
)
@pytest.mark.parametrize("auth", [KUBERNETES, OF_FILE])
def test_a_token_that_is_not_whole_is_not_sent(auth: BackendLogin, content: bytes | OSError, why: str) -> None:
    error = _failure(auth, token=content)
    assert isinstance(error, SecretNotFound)
    with pytest.raises(SecretNotFound, match=f"'/token'.* {why}"):
        raise error


def test_a_secret_that_is_no_jwt_is_named() -> None:
    assert "the secret 'web' holds no whole JWT" in str(_failure(WEB, earlier=Place(web="canary")))


def test_a_given_token_that_no_header_can_carry_is_refused() -> None:
    error = _failure(TOKEN, earlier=Place(vault_token="canary canary"))
    assert isinstance(error, ConfigurationError)
    assert "auth.token" in str(error)


@pytest.mark.parametrize("auth", [APPROLE, TOKEN])
def test_what_the_login_needs_must_be_in_a_place_before_the_vault(auth: BackendLogin) -> None:
    error = _failure(auth, earlier=Place())
    assert isinstance(error, SecretNotFound)
    assert "tried place" in str(error)


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        (replace(TOKEN, token=None), "auth.token is missing"),
        (replace(APPROLE, secret_id=None), "auth.secret_id is missing"),
        (replace(APPROLE, role_id=None), "auth.role_id is missing"),
        (replace(OF_FILE, path=None), "auth needs either 'path' or 'jwt'"),
        (replace(OF_FILE, jwt=SecretReference(secret_ref="web")), "auth needs either 'path' or 'jwt'"),
        (BackendLogin(method="ldap"), "auth.method must be"),
    ],
)
def test_a_login_that_cannot_work_is_a_matter_of_settings(auth: BackendLogin, field: str) -> None:
    error = _failure(auth, token=JWT.encode())
    assert isinstance(error, ConfigurationError)
    assert str(error).startswith(f"p.yaml:3: secret_backends[1]: {field}")


def test_the_time_is_the_flight_s() -> None:
    told: list[float] = []

    class Http(FakeHttp):
        def send(self, request: HttpRequest, *, timeout: float, **options: Any) -> Any:
            told.append(timeout)
            return super().send(request, timeout=timeout, **options)

    context = Context(http=Http(logged_in(), kv(value="x")), clock=ManualClock(), remaining=lambda: 2.5)
    VaultBackend(settings(APPROLE), [place()]).look(REFERENCE, context)
    assert told == [2.4, 2.4]


def test_what_is_sent_can_be_any_text() -> None:
    body = _logs_in(APPROLE, earlier=Place(secret_id='s"\\ü')).body
    assert json.loads(body or b"")["secret_id"] == 's"\\ü'
