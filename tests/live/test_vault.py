"""A real OpenBao: every login, KV version 2, leases that log in to a real PostgreSQL, and what goes wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool
from tests.servers.openbao import KV, PREFIX, ROLE, OpenBao
from tests.servers.postgres import DATABASE, Postgres
from tests.servers.token_reviews import AUDIENCE

from credbroker import Broker, SecretReference
from credbroker.context import Context, Lease
from credbroker.errors import (
    ConfigurationError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.secrets.env import EnvBackend
from credbroker.secrets.files import FilesBackend
from credbroker.secrets.resolver import Resolver
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.secrets.vault import VaultBackend
from credbroker.system.clock import SystemClock
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp

METHODS = ("token", "approle", "jwt", "kubernetes")
REPORTS = SecretReference(secret_ref="reports", engine="dynamic")
READ = ("GET", f"/v1/{KV}/data/{PREFIX}")
LOGIN = ("POST", "/v1/auth/approle/login")


@pytest.fixture
def login(openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], BackendLogin]:
    """How each method is set up, with what it needs in place."""

    def make(method: str) -> BackendLogin:
        if method == "token":
            monkeypatch.setenv("VAULT_POLICY_TOKEN", openbao.token())
            return BackendLogin(method=method, token=SecretReference(secret_ref="vault-policy-token"))
        if method == "approle":
            monkeypatch.setenv("APPROLE_SECRET_ID", openbao.secret_id())
            secret_id = SecretReference(secret_ref="approle-secret-id")
            return BackendLogin(method=method, role_id=openbao.role_id, secret_id=secret_id)
        path = tmp_path / "token"
        path.write_text(openbao.web_token() if method == "jwt" else openbao.reviews.account_token())
        return BackendLogin(method=method, role=ROLE, path=str(path))

    return make


def _settings(openbao: OpenBao, auth: BackendLogin, **fields: Any) -> BackendSettings:
    return BackendSettings(
        **{"type": "vault", "address": openbao.address, "mount": KV, "prefix": PREFIX, "auth": auth, **fields}
    )


def _world() -> Context:
    return Context(clock=SystemClock(), http=SystemHttp(), environment=SystemEnvironment())


def _resolver(openbao: OpenBao, auth: BackendLogin, **fields: Any) -> Resolver:
    """The environment, then the vault, as a platform.yaml would list them."""
    before = (EnvBackend(),)
    return Resolver([*before, VaultBackend(_settings(openbao, auth, **fields), before)], _world())


def _value(resolver: Resolver, name: str, field: str | None = None) -> str:
    return resolver.resolve(SecretReference(secret_ref=name, field=field)).get_secret_value()


def _database_login(lease: Lease) -> tuple[str, str]:
    found = json.loads(lease.secret.get_secret_value())
    return found["username"], found["password"]


# ------------------------------------------------------------------------------------------------------------- the logins


@pytest.mark.parametrize("method", METHODS)
def test_every_login_reads_a_secret(openbao: OpenBao, login: Callable[[str], BackendLogin], method: str) -> None:
    openbao.put("every-login", value=f"by {method}")
    resolver = _resolver(openbao, login(method))
    openbao.seen.clear()
    assert _value(resolver, "every-login") == f"by {method}"
    first = list(openbao.seen)
    assert _value(resolver, "every-login") == f"by {method}"
    read = (READ[0], f"{READ[1]}every-login")
    # The cost in round trips: a login and a look, then a look each.
    assert first == [read] if method == "token" else [("POST", f"/v1/auth/{method}/login"), read]
    assert openbao.seen[len(first) :] == [read]
    assert openbao.reviews.faults == []


@pytest.mark.parametrize(
    ("method", "spoil"),
    [
        ("approle", "secret_id"),
        ("approle", "role_id"),
        ("jwt", "audience"),
        ("jwt", "end"),
        ("jwt", "role"),
        ("kubernetes", "audience"),
        ("kubernetes", "account"),
        ("kubernetes", "signature"),
    ],
)
def test_a_login_that_is_refused_says_what_to_check(
    openbao: OpenBao,
    login: Callable[[str], BackendLogin],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    spoil: str,
) -> None:
    auth = login(method)
    if method == "approle":
        monkeypatch.setenv("APPROLE_SECRET_ID", "canary" if spoil == "secret_id" else openbao.secret_id())
        auth = replace(auth, role_id="canary") if spoil == "role_id" else auth
    elif method == "jwt":
        audience, lifetime = ("other" if spoil == "audience" else AUDIENCE), timedelta(hours=-1 if spoil == "end" else 1)
        Path(str(auth.path)).write_text(openbao.web_token(audience=audience, lifetime=lifetime))
        auth = replace(auth, role="nobody") if spoil == "role" else auth
    else:
        token = openbao.reviews.account_token(
            audience="other" if spoil == "audience" else AUDIENCE,
            account="other" if spoil == "account" else "pipeline",
        )
        if spoil == "signature":
            token = token.rpartition(".")[0] + ".c2lnbmF0dXJl"
        Path(str(auth.path)).write_text(token)
    openbao.put("refused-login", value="x")
    with pytest.raises(IssueDenied, match=rf"refuses the login 'auth/{method}'.*: check ") as caught:
        _value(_resolver(openbao, auth), "refused-login")
    assert not caught.value.grant_denied
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("method", ["jwt", "kubernetes"])
def test_a_half_written_token_is_not_sent(openbao: OpenBao, login: Callable[[str], BackendLogin], method: str) -> None:
    auth = login(method)
    path = Path(str(auth.path))
    path.write_text(path.read_text()[:40])
    openbao.seen.clear()
    with pytest.raises(ConfigurationError, match=rf"the file '{path}' holds no whole JWT"):
        _value(_resolver(openbao, auth), "any")
    assert openbao.seen == []


def test_a_login_that_is_not_enabled_is_a_matter_of_settings(openbao: OpenBao, login: Callable[[str], BackendLogin]) -> None:
    # To who has no token yet, OpenBao does not say what is mounted.
    with pytest.raises(IssueDenied, match=r"'auth/nowhere' \(HTTP 403\).*enabled there \(auth\.mount, namespace\)"):
        _value(_resolver(openbao, replace(login("approle"), mount="nowhere")), "any")


# ------------------------------------------------------------------------------------------------------------ the secrets


def test_a_new_version_is_seen_at_the_next_look(openbao: OpenBao, login: Callable[[str], BackendLogin]) -> None:
    resolver = _resolver(openbao, login("approle"))
    for value in ("one", "two\n"):
        openbao.put("rotated", value=value)
        assert _value(resolver, "rotated") == value.strip()


def test_several_fields_are_picked_from_or_one_secret(openbao: OpenBao, login: Callable[[str], BackendLogin]) -> None:
    resolver = _resolver(openbao, login("approle"))
    openbao.put("several", a="1", b="2")
    openbao.put("pair", access_key_id="A", secret_access_key="S")
    assert _value(resolver, "several", "b") == "2"
    assert json.loads(_value(resolver, "pair")) == {"access_key_id": "A", "secret_access_key": "S"}
    with pytest.raises(SecretNotFound, match="it holds the fields a, b: pick one with 'field:'"):
        _value(resolver, "several")


def test_a_secret_that_is_deleted_is_looked_for_in_the_next_place(
    openbao: OpenBao, login: Callable[[str], BackendLogin], tmp_path: Path
) -> None:
    before = (EnvBackend(),)
    vault = VaultBackend(_settings(openbao, login("approle")), before)
    (tmp_path / "files").mkdir()
    resolver = Resolver([*before, vault, FilesBackend(str(tmp_path / "files"))], _world())
    openbao.put("deleted", value="from the vault")
    (tmp_path / "files" / "deleted").write_text("from the file")
    assert _value(resolver, "deleted") == "from the vault"
    openbao.delete("deleted")
    assert _value(resolver, "deleted") == "from the file"
    (tmp_path / "files" / "deleted").unlink()
    place = rf"mount 'kv', path '{PREFIX}deleted' \(its latest version was deleted\), then file"
    with pytest.raises(SecretNotFound, match=place):
        _value(resolver, "deleted")
    openbao.operate("PUT", f"{KV}/destroy/{PREFIX}deleted", {"versions": [1]})
    with pytest.raises(SecretNotFound, match="its latest version was destroyed"):
        _value(resolver, "deleted")
    with pytest.raises(SecretNotFound, match=rf"path '{PREFIX}never-there', then file"):
        _value(resolver, "never-there")


def test_what_the_policy_does_not_allow_is_denied_and_hides_nothing(
    openbao: OpenBao, login: Callable[[str], BackendLogin]
) -> None:
    for fields in ({"prefix": "elsewhere/"}, {"mount": "no-such-mount"}):
        with pytest.raises(IssueDenied, match="its policy has to allow that path") as caught:
            _value(_resolver(openbao, login("jwt"), **fields), "any")
        assert f"role '{ROLE}'" in str(caught.value)


def test_an_engine_that_is_not_kv_version_2_is_said(openbao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    openbao.operate("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    openbao.operate("POST", "old/data/here", {"value": "canary"})
    monkeypatch.setenv("ROOT_TOKEN", openbao.root)
    auth = BackendLogin(method="token", token=SecretReference(secret_ref="root-token"))
    with pytest.raises(MalformedResponse, match="no data of KV version 2"):
        _value(_resolver(openbao, auth, mount="old", prefix=""), "here")
    with pytest.raises(ConfigurationError, match="no KV engine at 'nowhere'"):
        _value(_resolver(openbao, auth, mount="nowhere"), "here")


def test_a_namespace_is_a_vault_of_its_own(openbao: OpenBao, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    openbao.operate("POST", "sys/namespaces/team", {})
    openbao.operate("POST", f"sys/mounts/{KV}", {"type": "kv", "options": {"version": "2"}}, namespace="team")
    openbao.settle(lambda: openbao.operate("POST", f"{KV}/data/of-team", {"data": {"value": "ours"}}, namespace="team"))
    openbao.lend(postgres, "reports", namespace="team")
    policy = 'path "*" { capabilities = ["read", "update"] }'
    openbao.operate("PUT", "sys/policies/acl/all", {"policy": policy}, namespace="team")
    created = openbao.operate("POST", "auth/token/create", {"policies": ["all"], "ttl": "5m"}, namespace="team")
    monkeypatch.setenv("TEAM_TOKEN", created["auth"]["client_token"])
    auth = BackendLogin(method="token", token=SecretReference(secret_ref="team-token"))
    resolver = _resolver(openbao, auth, prefix="", namespace="team")
    assert _value(resolver, "of-team") == "ours"
    lease = resolver.lease(REPORTS)
    assert postgres.admits(*_database_login(lease))
    with pytest.raises(ConfigurationError, match="not among secret_backends"):
        _resolver(openbao, auth).revoke(lease.name)  # the same vault without the namespace is another one
    resolver.revoke(lease.name)
    assert not postgres.admits(*_database_login(lease))


# ----------------------------------------------------------------------------------------------------------- what goes wrong


@contextmanager
def _sealed(openbao: OpenBao) -> Iterator[None]:
    openbao.seal()
    try:
        yield
    finally:
        openbao.unseal()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("held", [False, True])
def test_a_sealed_vault_says_who_has_to_unseal_it_and_works_after_that(
    openbao: OpenBao, login: Callable[[str], BackendLogin], method: str, held: bool
) -> None:
    openbao.put("sealed", value="x")
    resolver = _resolver(openbao, login(method))
    if held:
        assert _value(resolver, "sealed") == "x"
    with _sealed(openbao), pytest.raises(IssuerUnavailable, match="is sealed: an operator has to unseal it") as caught:
        _value(resolver, "sealed")
    assert caught.value.retryable
    assert _value(resolver, "sealed") == "x"


def test_a_vault_that_is_not_there_is_unavailable(
    openbao: OpenBao, login: Callable[[str], BackendLogin], free_port: Callable[[], int]
) -> None:
    resolver = _resolver(openbao, login("approle"), address=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(IssuerUnavailable):
        _value(resolver, "any")


def test_a_login_that_is_revoked_under_us_is_made_anew(openbao: OpenBao, login: Callable[[str], BackendLogin]) -> None:
    openbao.put("revoked-login", value="x")
    resolver = _resolver(openbao, login("approle"))
    assert _value(resolver, "revoked-login") == "x"
    openbao.revoke_logins()
    openbao.seen.clear()
    assert _value(resolver, "revoked-login") == "x"
    read = (READ[0], f"{READ[1]}revoked-login")
    assert openbao.seen == [read, LOGIN, read]


def test_a_given_token_that_is_revoked_is_denied_until_there_is_another(
    openbao: OpenBao, login: Callable[[str], BackendLogin], monkeypatch: pytest.MonkeyPatch
) -> None:
    openbao.put("revoked-token", value="x")
    token = openbao.token()
    resolver = _resolver(openbao, login("token"))
    monkeypatch.setenv("VAULT_POLICY_TOKEN", token)
    assert _value(resolver, "revoked-token") == "x"
    openbao.operate("POST", "auth/token/revoke", {"token": token})
    with pytest.raises(IssueDenied, match="not valid any more") as caught:
        _value(resolver, "revoked-token")
    assert not caught.value.grant_denied
    monkeypatch.setenv("VAULT_POLICY_TOKEN", openbao.token())
    assert _value(resolver, "revoked-token") == "x"


# ------------------------------------------------------------------------------------------------------------- the leases


def test_a_lease_logs_in_until_it_is_revoked(
    openbao: OpenBao, postgres: Postgres, login: Callable[[str], BackendLogin]
) -> None:
    resolver = _resolver(openbao, login("approle"))
    openbao.seen.clear()
    lease, other = resolver.lease(REPORTS), resolver.lease(REPORTS)
    assert openbao.seen == [LOGIN, *[("GET", "/v1/database/creds/reports")] * 2]
    assert lease.lifetime == timedelta(minutes=1)
    assert postgres.admits(*_database_login(lease))
    resolver.revoke(lease.name)
    assert not postgres.admits(*_database_login(lease))
    assert postgres.admits(*_database_login(other))
    resolver.revoke(other.name)


def test_a_lease_that_is_revoked_under_us_is_replaced(
    openbao: OpenBao, postgres: Postgres, login: Callable[[str], BackendLogin]
) -> None:
    resolver = _resolver(openbao, login("approle"))
    lease = resolver.lease(REPORTS)
    openbao.operate("PUT", "sys/leases/revoke-prefix/database/creds/reports", {"sync": True})
    assert not postgres.admits(*_database_login(lease))
    resolver.revoke(lease.name)  # it is over, which is all that was asked
    again = resolver.lease(REPORTS)
    assert postgres.admits(*_database_login(again))
    resolver.revoke(again.name)


def test_a_lease_that_ended_by_itself_is_revoked_too(
    openbao: OpenBao, postgres: Postgres, login: Callable[[str], BackendLogin]
) -> None:
    openbao.lend(postgres, "brief", lifetime=timedelta(seconds=2))
    resolver = _resolver(openbao, login("approle"))
    lease = resolver.lease(SecretReference(secret_ref="brief", engine="dynamic"))
    assert lease.lifetime == timedelta(seconds=2)
    assert postgres.admits(*_database_login(lease))
    assert openbao.settle(lambda: not postgres.admits(*_database_login(lease)))
    resolver.revoke(lease.name)


def test_a_lease_ends_with_the_login_that_asked_for_it(
    openbao: OpenBao, postgres: Postgres, login: Callable[[str], BackendLogin]
) -> None:
    openbao.operate("POST", f"auth/approle/role/{ROLE}", {"token_ttl": "20s"})
    try:
        resolver = _resolver(openbao, login("approle"))
        lease = resolver.lease(REPORTS)
        assert timedelta(seconds=20) <= lease.lifetime < timedelta(seconds=21)  # not the minute that the vault states
        openbao.revoke_logins()
        assert openbao.settle(lambda: not postgres.admits(*_database_login(lease)))
        assert postgres.admits(*_database_login(resolver.lease(REPORTS)))
    finally:
        openbao.operate("POST", f"auth/approle/role/{ROLE}", {"token_ttl": "10m"})


def test_an_unknown_role_is_not_found(openbao: OpenBao, login: Callable[[str], BackendLogin]) -> None:
    with pytest.raises(SecretNotFound, match=r"tried the vault at .*, role database/creds/nobody: create the role"):
        _resolver(openbao, login("approle")).lease(SecretReference(secret_ref="nobody", engine="dynamic"))


def test_a_vault_that_does_not_reach_the_database_is_unavailable(
    openbao: OpenBao, login: Callable[[str], BackendLogin]
) -> None:
    with Postgres() as gone:
        openbao.lend(gone, "short-lived")
        resolver = _resolver(openbao, login("approle"))
        reference = SecretReference(secret_ref="short-lived", engine="dynamic")
        lease = resolver.lease(reference)
        assert gone.admits(*_database_login(lease))
    with pytest.raises(IssuerUnavailable, match="HTTP 500"):
        resolver.lease(reference)
    with pytest.raises(IssuerUnavailable, match="could not end the lease"):
        resolver.revoke(lease.name)


# ---------------------------------------------------------------------------------------------------- through the public API


def _platform(openbao: OpenBao, **sections: Any) -> dict[str, Any]:
    auth = {"method": "approle", "role_id": openbao.role_id, "secret_id": {"secret_ref": "approle-secret-id"}}
    vault = {"type": "vault", "address": openbao.address, "mount": KV, "prefix": PREFIX, "auth": auth}
    return {"version": 1, "secret_backends": [{"type": "env"}, vault], **sections}


def test_a_broker_resolves_by_the_vault(openbao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPROLE_SECRET_ID", openbao.secret_id())
    openbao.put("by-broker", value="one")
    reference = SecretReference(secret_ref="by-broker")
    with Broker.from_config(_platform(openbao)) as broker:
        openbao.seen.clear()
        assert broker.resolve(reference).get_secret_value() == "one"
        openbao.put("by-broker", value="two")
        assert broker.resolve(reference).get_secret_value() == "two"
        read = (READ[0], f"{READ[1]}by-broker")
        assert openbao.seen == [LOGIN, read, read]
        with _sealed(openbao), pytest.raises(IssuerUnavailable, match="unseal"):
            broker.resolve(reference)


def test_a_compute_profile_logs_in_until_it_is_revoked(
    openbao: OpenBao, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROLE_SECRET_ID", openbao.secret_id())
    credentials = {"mode": "static", "secret_ref": {"secret_ref": "reports", "engine": "dynamic"}}
    compute = {"reporting": {"type": "postgres", "credentials": credentials}}
    with Broker.from_config(_platform(openbao, compute=compute)) as broker:
        source: Any = broker.compute("reporting")
        value = source.get()
        held = (value.username, value.password.get_secret_value())
        assert postgres.admits(*held)
        assert source.get() is value
        (entry,) = broker.revoke("reporting")
        assert (entry["profile"], entry["revoked"]) == ("reporting", True)
        assert not postgres.admits(*held)
        anew = source.get()
        assert postgres.admits(anew.username, anew.password.get_secret_value())
        broker.revoke("reporting")


def test_a_pool_asks_at_each_connection_and_outlives_a_login_that_is_revoked_under_it(
    openbao: OpenBao, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPROLE_SECRET_ID", openbao.secret_id())
    credentials = {"mode": "static", "secret_ref": {"secret_ref": "reports", "engine": "dynamic"}}
    compute = {"reporting": {"type": "postgres", "credentials": credentials}}
    with Broker.from_config(_platform(openbao, compute=compute)) as broker:
        reporting: Any = broker.compute("reporting")

        def login() -> dict[str, str]:
            value = reporting.get()
            return {"user": value.username, "password": value.password.get_secret_value()}

        where = f"host=127.0.0.1 port={postgres.port} dbname={DATABASE}"
        with ConnectionPool(where, kwargs=login, min_size=1, max_size=2, check=ConnectionPool.check_connection) as pool:
            with pool.connection() as one, pool.connection() as two:
                users = {connection.execute("SELECT current_user").fetchone() for connection in (one, two)}
            assert users == {(reporting.get().username,)}
            broker.revoke("reporting")
            with postgres.connect() as owner:  # as a restart of the database would
                owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            with pool.connection() as anew:
                assert anew.execute("SELECT current_user").fetchone() == (reporting.get().username,)
            assert {(reporting.get().username,)} != users
