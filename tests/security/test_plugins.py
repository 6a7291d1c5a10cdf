"""Plug-ins as third parties ship them, installed beside credbroker: what they are for, and what a bad one can do."""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import Broker, errors
from credbroker.context import Context
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.secrets.reference import SecretReference
from credbroker.testing import FakeHttp, ManualClock
from tests.plugins.building import DISTRIBUTIONS, HERE, installed, written
from tests.servers.acme import Acme

CANARY = "canary-key-0123456789"
Install = Callable[..., None]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both of Acme's distributions in it."""
    scratch = tmp_path_factory.mktemp("build")
    into = tmp_path_factory.mktemp("site")
    for distribution in DISTRIBUTIONS:
        installed(distribution, scratch, into)
    return into


def _forgotten(before: set[str]) -> None:
    for name in set(sys.modules) - before:
        if name.startswith(("acme_", "bad_")):
            del sys.modules[name]


@pytest.fixture
def acme_installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("ACME_VAULT_TOKEN", "canary-vault-0123456789")
    before = set(sys.modules)
    yield
    _forgotten(before)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def made(module: str, source: str, **about: str) -> None:
        written(tmp_path, module, source, **about)

    yield made
    _forgotten(before)


@pytest.fixture
def acme() -> Iterator[Acme]:
    with Acme() as server:
        yield server


def _config(acme: Acme, **changes: Any) -> dict[str, Any]:
    return {
        "plugins": ["acme_tokens", "acme_vault"],
        "secret_backends": [
            {"type": "env"},
            {
                "type": "acme_vault",
                "address": acme.uri,
                "shelf": "prod",
                "auth": {"method": "token", "token": {"secret_ref": "acme-vault-token"}},
            },
        ],
        "catalogs": {
            "lake": {
                "uri": "https://catalog.acme.example",
                "credentials": {
                    "mode": "acme_tokens",
                    "service": acme.uri,
                    "team": "data-platform",
                    "secret_ref": "acme-key",
                    "scope": "tables:read",
                },
            }
        },
        **changes,
    }


def _resolved(config: dict[str, Any]) -> None:
    """Look for a secret that only the plug-in's place could have."""
    with Broker.from_config(config) as broker:
        broker.resolve(SecretReference(secret_ref="acme-key"))


def _handle(config: dict[str, Any]) -> None:
    with Broker.from_config(config) as broker:
        broker.catalog("lake")


def _everything_about(error: BaseException) -> str:
    linked = [one for one in (error.__cause__, error.__context__) if one is not None]
    frames = [
        repr(frame.f_locals) for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename != __file__
    ]
    return "\n".join(
        [*traceback.format_exception(error), repr(error), repr(vars(error)), *frames, *map(_everything_about, linked)]
    )


# -------------------------------------------------------------------------------------------------------- Acme's plug-ins


@pytest.mark.usefixtures("acme_installed")
def test_a_token_is_issued_with_a_secret_of_the_plug_in_s_vault_refreshed_and_on_record(
    acme: Acme, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "credbroker.audit")
    acme.seconds = 4
    with Broker.from_config(_config(acme)) as broker:
        source = broker.catalog("lake")
        first = source.get()
        assert first.value.get_secret_value() == acme.issued[0]
        assert first.scopes == {"tables:read"}
        assert source.get() is first
        refreshed = queue.SimpleQueue[object]()
        source.on_refresh(refreshed.put)
        while refreshed.get(timeout=10) is first:
            assert len(acme.issued) == 1
        assert source.get().value.get_secret_value() == acme.issued[1]
    events = [json.loads(record.getMessage()) for record in caplog.records if record.name == "credbroker.audit"]
    issued = [event for event in events if event["event"] == "issued"]
    assert [event["event"] for event in events][:2] == ["requested", "issued"]
    assert {event["provider"] for event in issued} == {"acme_tokens"}
    assert {event["endpoint"] for event in issued} == {acme.uri.removeprefix("http://")}
    assert acme.seen[:2] == ["/shelves/prod/acme-key", "/v1/tokens"]
    assert "canary" not in caplog.text


@pytest.mark.usefixtures("acme_installed")
def test_a_secret_that_was_rotated_in_the_plug_in_s_vault_is_used_at_the_next_issue(acme: Acme) -> None:
    with Broker.from_config(_config(acme)) as broker:
        source = broker.catalog("lake")
        source.get()
        acme.secrets["acme-key"] = "canary-key-rotated"
        broker.purge("lake")
        assert source.get().value.get_secret_value() == acme.issued[1]


@pytest.mark.usefixtures("acme_installed")
def test_a_token_of_a_plug_in_is_revoked_by_it(acme: Acme) -> None:
    with Broker.from_config(_config(acme)) as broker:
        broker.catalog("lake").get()
        (report,) = broker.revoke("lake")
        assert report["revoked"] is True
    assert acme.revoked == acme.issued


@pytest.mark.usefixtures("acme_installed")
@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (lambda acme: setattr(acme, "down", True), IssuerUnavailable, "HTTP 503"),
        (lambda acme: acme.secrets.pop("acme-key"), SecretNotFound, "then Acme's vault at http://127.0.0.1"),
        (lambda acme: setattr(acme, "vault_token", "another"), IssueDenied, "look at the token that auth names"),
    ],
)
def test_what_acme_refuses_is_the_right_error_and_shows_no_secret(
    acme: Acme, caplog: pytest.LogCaptureFixture, spoil: Callable[[Acme], None], kind: type[CredbrokerError], said: str
) -> None:
    caplog.set_level(logging.DEBUG)
    spoil(acme)
    with Broker.from_config(_config(acme)) as broker, pytest.raises(kind, match=said) as caught:
        broker.catalog("lake").get()
    if kind is IssuerUnavailable:
        assert caught.value.retry_after == timedelta(seconds=7)
    assert "canary" not in _everything_about(caught.value) + caplog.text


@pytest.mark.usefixtures("acme_installed")
def test_settings_of_the_plug_in_s_own_are_its_to_check(acme: Acme) -> None:
    config = _config(acme)
    del config["catalogs"]["lake"]["credentials"]["team"]
    with pytest.raises(ConfigurationError, match=r"catalogs\.lake\.credentials\.team"):
        _handle(config)
    config = _config(acme)
    del config["secret_backends"][1]["shelf"]
    with pytest.raises(ConfigurationError, match="acme_vault needs an address, a shelf"):
        _resolved(config)


@pytest.mark.usefixtures("acme_installed")
def test_an_installed_plug_in_that_is_not_listed_is_not_imported(acme: Acme) -> None:
    with pytest.raises(ConfigurationError, match=r"catalogs\.lake\.credentials\.mode is an unknown mode"):
        Broker.from_config(_config(acme, plugins=["acme_vault"]))
    with pytest.raises(ConfigurationError, match=r"secret_backends\[1\]\.type is an unknown type"):
        Broker.from_config(_config(acme, plugins=["acme_tokens"]))
    # Listed, and not yet used: a provider is loaded with the first handle.
    with Broker.from_config(_config(acme)):
        assert "acme_provider" not in sys.modules
        assert "acme_backend" in sys.modules


def test_a_plug_in_that_is_listed_and_not_installed_says_so(acme: Acme) -> None:
    with pytest.raises(ConfigurationError, match="the plug-in 'acme_vault' is listed under 'plugins:' but no installed"):
        _resolved(_config(acme))
    with pytest.raises(ConfigurationError, match="the plug-in 'acme_tokens' is listed under 'plugins:' but no installed"):
        _handle(_config(acme))


@pytest.mark.parametrize(
    ("distribution", "test"), [("acme_provider", "test_acme_tokens"), ("acme_backend", "test_acme_vault")]
)
def test_the_third_party_s_own_tests_pass_where_it_is_installed(
    site: Path, tmp_path: Path, distribution: str, test: str
) -> None:
    (tmp_path / f"{test}.py").write_text((HERE / distribution / "tests" / f"{test}.py").read_text())
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), f"{test}.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout


# ------------------------------------------------------------------------------------------------------------ who is who


@pytest.mark.usefixtures("acme_installed")
def test_two_distributions_that_claim_one_name_are_both_named(acme: Acme, install: Install) -> None:
    install("bad_mode", "", name="acme_tokens", attribute="Mine")
    install("bad_vault", "", group="credbroker.secret_backends", name="acme_vault", attribute="Mine")
    with pytest.raises(ConfigurationError, match=r"claim the secret backend 'acme_vault' \(acme_.*, bad_vault:Mine\)"):
        _resolved(_config(acme))
    with pytest.raises(ConfigurationError, match=r"claim the mode 'acme_tokens' \(acme_provider:.*, bad_mode:Mine\)"):
        _handle(_config(acme))
    assert not {"bad_mode", "bad_vault"} & set(sys.modules)


@pytest.mark.parametrize("name", ["oauth2", "catalog", "env", "vault", "dynamodb_kms"])
def test_a_built_in_s_name_cannot_be_listed(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"plugins\[0\] is the built-in \w+ '{name}'"):
        Broker.from_config({"plugins": [name]})


def test_a_distribution_that_claims_a_built_in_s_name_is_not_imported(install: Install) -> None:
    install("bad_mode", "", name="static", attribute="Mine")
    install("bad_vault", "", group="credbroker.secret_backends", name="env", attribute="Mine")
    config = {
        "secret_backends": [{"type": "env"}],
        "catalogs": {"lake": {"uri": "https://c.example", "credentials": {"mode": "static", "secret_ref": "s"}}},
    }
    with pytest.raises(ConfigurationError, match="'bad_mode:Mine' claims the built-in mode 'static': uninstall it"):
        _handle(config)
    assert not {"bad_mode", "bad_vault"} & set(sys.modules)


# ----------------------------------------------------------------------------------------------------------- bad plug-ins

BAD_PROVIDER = """\
from datetime import datetime, timedelta
import os
from pydantic import SecretStr
from credbroker.credentials import AccessToken, S3Credentials
from credbroker.errors import IssueDenied
from credbroker.providers import Grant

class Bad:
    def plan(self, request, profile):
        return Grant()
    def issue(self, request, context):
        secret = context.secrets.resolve(context.profile.credentials.secret_ref).get_secret_value()
        {body}
"""


class _Vault:
    def resolve(self, reference: SecretReference) -> SecretStr:
        return SecretStr(CANARY)


def _bad_broker(**credentials: object) -> tuple[Broker, ManualClock]:
    config = {
        "plugins": ["bad"],
        "catalogs": {
            "lake": {"uri": "https://c.example", "credentials": {"mode": "bad", "secret_ref": "key", **credentials}}
        },
    }
    clock = ManualClock()
    return Broker.from_config(config, context=Context(clock=clock, http=FakeHttp(), secrets=_Vault())), clock


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise ValueError(secret)", IssuerUnavailable, "the provider 'bad' failed with ValueError"),
        ("raise KeyError(secret) from OSError(secret)", IssuerUnavailable, "failed with KeyError"),
        ("raise SystemExit(secret)", IssuerUnavailable, "failed with SystemExit"),
        ("raise type('Mine', (BaseException,), {})(secret)", IssuerUnavailable, "failed with Mine"),
        ("raise type('Mine', (IssueDenied,), {'held': secret})('no')", IssueDenied, "no"),
        ("return None", MalformedResponse, "returned NoneType, which is no credential"),
        ("return secret", MalformedResponse, "returned str, which is no credential"),
        ("return AccessToken(secret)", IssuerUnavailable, "failed with TypeError"),
        ("return AccessToken(SecretStr(secret), expires_at=datetime(2030, 1, 1))", IssuerUnavailable, "with ValueError"),
        ("return AccessToken(SecretStr(secret), expires_at=900)", IssuerUnavailable, "failed with ValueError"),
        ("return AccessToken(SecretStr(secret), scopes=None)", IssuerUnavailable, "failed with TypeError"),
        ("return AccessToken(SecretStr(secret), expires_at=context.clock.now())", errors.InsufficientLifetime, "over"),
    ],
)
def test_whatever_a_provider_raises_or_returns_is_an_error_of_ours_without_the_secret(
    install: Install, caplog: pytest.LogCaptureFixture, body: str, kind: type[CredbrokerError], said: str
) -> None:
    caplog.set_level(logging.DEBUG)
    install("bad_provider", BAD_PROVIDER.format(body=body), name="bad", attribute="Bad")
    broker, _ = _bad_broker()
    with broker, pytest.raises(kind, match=said) as caught:
        broker.catalog("lake").get()
    assert type(caught.value) is kind
    assert "canary" not in _everything_about(caught.value) + caplog.text
    records = [json.loads(record.getMessage()) for record in caplog.records if record.name == "credbroker.audit"]
    assert records[0]["event"] == "requested"
    assert [record["event"] for record in records].count("issued") == (kind is errors.InsufficientLifetime)


def test_a_value_that_a_provider_kept_is_not_handed_out_when_it_is_over(install: Install) -> None:
    body = (
        "self.kept = getattr(self, 'kept', None) or AccessToken(SecretStr(secret), "
        "expires_at=context.clock.now() + timedelta(minutes=15))\n        return self.kept"
    )
    install("bad_provider", BAD_PROVIDER.format(body=body), name="bad", attribute="Bad")
    broker, clock = _bad_broker()
    with broker:
        handle = broker.catalog("lake")
        handle.get()
        clock.advance(900)
        with pytest.raises(errors.InsufficientLifetime, match="over on arrival"):
            handle.get()


def test_a_provider_that_hangs_is_over_at_the_deadline(install: Install) -> None:
    source = "import threading\nGO = threading.Event()\n" + BAD_PROVIDER.format(body="GO.wait(60)")
    install("bad_provider", source, name="bad", attribute="Bad")
    credentials = {"mode": "bad", "secret_ref": "key", "timeout": "200ms"}
    config = {"plugins": ["bad"], "catalogs": {"lake": {"uri": "https://c.example", "credentials": credentials}}}
    with Broker.from_config(config, context=Context(secrets=_Vault())) as broker:
        handle = broker.catalog("lake")
        with pytest.raises(IssuerUnavailable, match="lake"):
            handle.get()
    sys.modules["bad_provider"].GO.set()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ValueError('canary')", "raised ValueError"),
        ("raise SystemExit('canary')", "raised SystemExit"),
        ("Bad = 'canary'", "raised TypeError"),
        ("def Bad(*_): return 'canary'", "is str, without issue()"),
        ("", "raised AttributeError"),
    ],
)
def test_a_provider_that_cannot_be_made_is_a_configuration_error(install: Install, source: str, said: str) -> None:
    install("bad_provider", source, name="bad", attribute="Bad")
    broker, _ = _bad_broker()
    with broker, pytest.raises(ConfigurationError) as caught:
        broker.catalog("lake")
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('canary')", "failed with ValueError"),
        ("raise SystemExit('canary')", "failed with SystemExit"),
        ("return 'canary'", "answered with str instead of a Grant"),
    ],
)
def test_a_plan_that_is_none_is_a_configuration_error(install: Install, body: str, said: str) -> None:
    source = f"class Bad:\n    def plan(self, request, profile):\n        {body}\n    def issue(self, *_): ...\n"
    install("bad_provider", source, name="bad", attribute="Bad")
    broker, _ = _bad_broker()
    with broker, pytest.raises(ConfigurationError) as caught:
        broker.catalog("lake")
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


BAD_BACKEND = """\
from credbroker.errors import IssuerUnavailable
from credbroker.secrets.backend import Lookup

class Bad:
    def __init__(self, settings, earlier):
        {made}
    def look(self, reference, context):
        secret = "canary-key-0123456789"
        {body}
"""


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise ValueError(secret)", IssuerUnavailable, "the secret backend 'bad' failed with ValueError"),
        ("raise SystemExit(secret)", IssuerUnavailable, "the secret backend 'bad' failed with SystemExit"),
        ("raise type('Mine', (IssuerUnavailable,), {'held': secret})('no answer')", IssuerUnavailable, "no answer"),
        ("return secret", MalformedResponse, "the secret backend 'bad' returned something else than a Lookup"),
        ("return None", MalformedResponse, "the secret backend 'bad' returned something else than a Lookup"),
        ("return Lookup('here', secret)", MalformedResponse, "returned something else than a Lookup with a SecretStr"),
        ("return Lookup('here')", SecretNotFound, "tried here"),
    ],
)
def test_whatever_a_backend_raises_or_returns_is_an_error_of_ours_without_the_secret(
    install: Install, caplog: pytest.LogCaptureFixture, body: str, kind: type[CredbrokerError], said: str
) -> None:
    caplog.set_level(logging.DEBUG)
    source = BAD_BACKEND.format(made="pass", body=body)
    install("bad_backend", source, group="credbroker.secret_backends", name="bad", attribute="Bad")
    with pytest.raises(kind, match=said) as caught:
        _resolved({"plugins": ["bad"], "secret_backends": [{"type": "bad"}]})
    assert type(caught.value) is kind
    assert "canary" not in _everything_about(caught.value) + caplog.text


@pytest.mark.parametrize("made", ["raise ValueError('canary')", "raise SystemExit('canary')"])
def test_a_backend_that_cannot_be_made_is_a_configuration_error(install: Install, made: str) -> None:
    source = BAD_BACKEND.format(made=made, body="return None")
    install("bad_backend", source, group="credbroker.secret_backends", name="bad", attribute="Bad")
    with pytest.raises(ConfigurationError, match="the secret backend 'bad' could not be loaded") as caught:
        _resolved({"plugins": ["bad"], "secret_backends": [{"type": "bad"}]})
    assert "canary" not in _everything_about(caught.value)
