"""One secret planted in every source, then every surface searched for it, in every coding a leak could take."""

from __future__ import annotations

import base64
import copy
import gc
import io
import json
import logging
import pickle
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import Broker, SecretReference
from credbroker.cli import main
from credbroker.cli.command import Command
from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import DelegationKey
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, MalformedResponse
from credbroker.system import log_filter
from credbroker.system.environment import SystemEnvironment
from credbroker.testing import FakeHttp, ManualClock
from tests.security.canary import NOW, SECRET, TOKEN, answered, assert_clean, everything_about, locals_of

CONFIG: dict[str, Any] = {
    "environment": "local",
    "principal": "svc",
    "catalogs": {
        "production": {
            "uri": "https://catalog.example/api",
            "credentials": {"mode": "oauth2", "client_id": "pipeline", "client_secret": {"secret_ref": "pipeline"}},
        }
    },
    "storage": {
        "fixed": {
            "locations": ["s3://lake/x/"],
            "allow_unscoped": True,
            "credentials": {"mode": "static", "secret_ref": "keys"},
        }
    },
}


class Secrets:
    def resolve(self, reference: SecretReference) -> SecretStr:
        return SecretStr({"pipeline": SECRET, "keys": f"AKIAEXAMPLE:{SECRET}:{TOKEN}"}[reference.secret_ref])


GOOD = answered(200, json.dumps({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600}).encode())


def broker_with(
    *answers: HttpResponse | CredbrokerError | Callable[[HttpRequest], HttpResponse],
) -> tuple[Broker, ManualClock]:
    clock = ManualClock(NOW)
    context = Context(clock=clock, http=FakeHttp(*answers), secrets=Secrets(), environment=SystemEnvironment())
    return Broker.from_config(CONFIG, context=context), clock


def test_what_is_held_shows_nowhere(logged: io.StringIO) -> None:
    broker, _ = broker_with(GOOD)
    with broker:
        token, keys = broker.catalog("production"), broker.storage("fixed")
        values = (token.get(), keys.get())
        assert values[0].value.get_secret_value() == TOKEN
        for thing in (*values, token, keys, broker, broker.status(), broker._brokerage.engine.slots()):
            assert_clean(f"{thing!r} {thing}")
        for thing in (token, keys, broker):
            assert_clean(repr(pickle.dumps(thing)))
            assert_clean(repr(vars(thing)) if hasattr(thing, "__dict__") else "")
        for value in values:
            for carry in (pickle.dumps, copy.deepcopy, json.dumps):
                with pytest.raises(TypeError) as caught:
                    carry(value)  # type: ignore[operator]
                assert_clean(everything_about(caught.value))
        slot = token._slot
        assert_clean(repr(slot) + repr(slot.instants) + repr(slot.asked) + repr(slot.key))
    assert_clean(logged.getvalue())
    assert "issued" in logged.getvalue()


ECHO = json.dumps({"error": "invalid_client", "error_description": f"{SECRET} {TOKEN}"}).encode()


@pytest.mark.parametrize(
    "answers",
    [
        (answered(401, ECHO), answered(401, ECHO)),
        (answered(500, SECRET.encode()),),
        (answered(400, f"<html>{SECRET}</html>".encode()),),
        (answered(200, f'{{"access_token": "{TOKEN}", "expires_in": "{SECRET}"}}'.encode()),),
        (answered(200, f'{{"access_token": "{TOKEN}", "expires_in": 0}}'.encode()),),
        (answered(200, f'{{"access_token": "{TOKEN}"'.encode()),),
        (answered(200, f'{{"access_token": "{TOKEN}\\n"}}'.encode()),),
        (answered(200, f'{{"access_token": "{TOKEN}", "token_type": 7, "scope": "{SECRET}"}}'.encode()),),
        (answered(429, SECRET.encode(), **{"retry-after": SECRET}),),
        (MalformedResponse("a redirect"),),
    ],
)
def test_no_error_of_an_issue_shows_what_was_sent_or_received(answers: tuple[Any, ...], logged: io.StringIO) -> None:
    broker, clock = broker_with(*answers)
    with broker:
        source = broker.catalog("production")
        for _ in range(2):
            with pytest.raises(CredbrokerError) as caught:
                source.get()
            assert_clean(everything_about(caught.value))
        clock.advance(100)
        assert_clean(repr(broker.status()))
    assert_clean(logged.getvalue())


def test_a_provider_that_bursts_with_a_secret_in_its_text_tells_only_its_class(logged: io.StringIO) -> None:
    def burst(request: HttpRequest) -> HttpResponse:
        raise ValueError(f"{SECRET} {request.headers}")

    broker, _ = broker_with(burst)
    with broker, pytest.raises(CredbrokerError) as caught:
        broker.catalog("production").get()
    assert_clean(everything_about(caught.value))
    assert_clean(logged.getvalue())


def test_no_error_lives_on_with_a_secret_in_its_frames() -> None:
    """After a failed issue no frame, error or record that is still alive holds the request that carried the secret."""
    broker, _ = broker_with(answered(401, ECHO), answered(401, ECHO))
    with broker:
        with pytest.raises(IssueDenied):
            broker.catalog("production").get()
        gc.collect()
        remembered = [thing for thing in gc.get_objects() if isinstance(thing, CredbrokerError) and thing.__traceback__]
        for error in remembered:
            assert_clean(locals_of(error.__traceback__))


LAKE = {
    "region": "eu-west-1",
    "locations": ["s3://lake/wh/"],
    "credentials": {
        "mode": "iam_role",
        "role_arn": "arn:aws:iam::123456789012:role/Pipe",
        "credential_source": "environment",
        "sts_endpoint": "https://sts.example",
    },
}
KEYS = {
    "s3.access-key-id": "ASIAEXAMPLE",
    "s3.secret-access-key": TOKEN,
    "s3.session-token": TOKEN,
    "s3.session-token-expires-at-ms": str(int((NOW + timedelta(hours=1)).timestamp() * 1000)),
}
VENDED = {
    "metadata": {"location": "s3://lake/wh/sales/orders"},
    "storage-credentials": [{"prefix": "s3://lake/wh/sales/orders", "config": KEYS}],
}
ASSUMED = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>{TOKEN}</SecretAccessKey><SessionToken>{TOKEN}</SessionToken>
<Expiration>2026-01-01T01:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
REFUSED = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{SECRET} {TOKEN}</Message></Error></ErrorResponse>"


class BaseIdentity(SystemEnvironment):
    def variable(self, name: str) -> str | None:
        return {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}.get(name)


@pytest.mark.parametrize(
    ("answers", "issued"),
    [
        ((answered(200, ASSUMED.encode()),), True),
        ((answered(403, REFUSED.encode()),), False),
        ((answered(200, SECRET.encode()),), False),
        ((GOOD, answered(200, b"{}"), answered(200, json.dumps(VENDED).encode())), True),
        ((GOOD, answered(200, b"{}"), answered(200, json.dumps(VENDED).replace("ASIAEXAMPLE", "").encode())), False),
        ((GOOD, answered(200, b"{}"), answered(403, f'{{"error": {{"message": "{TOKEN}"}}}}'.encode())), False),
    ],
)
def test_keys_that_sts_or_a_catalog_gives_show_nowhere(
    answers: tuple[HttpResponse, ...], issued: bool, logged: io.StringIO
) -> None:
    catalog = {**CONFIG["catalogs"]["production"], "storage": "lake"}
    context = Context(clock=ManualClock(NOW), http=FakeHttp(*answers), secrets=Secrets(), environment=BaseIdentity())
    config = {"environment": "local", "catalogs": {"production": catalog}, "storage": {"lake": LAKE}}
    with Broker.from_config(config, context=context) as broker:
        table = len(answers) > 1
        source: Any = broker.table("production", "sales.orders") if table else broker.storage("lake", "s3://lake/wh/x")
        if issued:
            assert_clean(repr(source.get()))
        else:
            with pytest.raises(CredbrokerError) as caught:
                source.get()
            assert_clean(everything_about(caught.value))
        assert_clean(repr(broker.status()) + repr(pickle.dumps(source)) + repr(source))
    assert_clean(logged.getvalue())


ACCOUNT = "abfss://data@account.dfs.core.windows.net"
SAS = f"sv=2020-12-06&sr=d&sdd=2&sp=rl&se=2026-01-01T01%3A00%3A00Z&sig={urllib.parse.quote(SECRET, safe='')}"
ENDING = KEYS["s3.session-token-expires-at-ms"]
OF_GCS = {"gcs.oauth2.token": TOKEN, "gcs.oauth2.token-expires-at": ENDING}
OF_ADLS = {"adls.sas-token.account": SAS}


@pytest.mark.parametrize(
    ("root", "config", "issued"),
    [
        ("gs://lake", OF_GCS, True),
        ("gs://lake", {**OF_GCS, "gcs.oauth2.token-expires-at": SECRET}, False),
        ("gs://lake", {"gcs.oauth2.token": f"{TOKEN} {SECRET}"}, False),
        ("gs://lake", {**OF_GCS, "gcs.oauth2.refresh-credentials-endpoint": f"https://{TOKEN}.example/{SECRET}"}, False),
        (f"gs://lake/{TOKEN}", OF_GCS, False),
        (ACCOUNT, OF_ADLS, True),
        (ACCOUNT, {"adls.sas-token.account": SAS.replace("sr=d", "sr=c")}, False),
        (ACCOUNT, {"adls.sas-token.account": f"{SAS}&{TOKEN}={TOKEN}"}, False),
        (ACCOUNT, {f"adls.sas-token.{TOKEN}": SAS}, False),
        (ACCOUNT, {"adls.sas-token.account": SAS.replace("sp=rl", f"sp={TOKEN}")}, False),
    ],
)
def test_a_token_or_a_sas_that_a_catalog_vends_shows_nowhere(
    root: str, config: dict[str, str], issued: bool, logged: io.StringIO
) -> None:
    table = f"{root}/sales/orders"
    reply = {"metadata": {"location": table}, "storage-credentials": [{"prefix": table, "config": config}]}
    bucket = root if "account" in root else "gs://lake"
    context = Context(
        clock=ManualClock(NOW),
        http=FakeHttp(GOOD, answered(200, b"{}"), answered(200, json.dumps(reply).encode())),
        secrets=Secrets(),
        environment=SystemEnvironment(),
    )
    catalog = {**CONFIG["catalogs"]["production"], "locations": [f"{bucket}/sales/"]}
    with Broker.from_config({"environment": "local", "catalogs": {"production": catalog}}, context=context) as broker:
        source = broker.table("production", "sales.orders")
        if issued:
            value = source.get()
            assert_clean(f"{value!r} {value.for_location(table)!r}")
        else:
            with pytest.raises(CredbrokerError) as caught:
                source.get()
            assert_clean(everything_about(caught.value))
        assert_clean(repr(broker.status()))
    assert_clean(logged.getvalue())


def test_a_delegation_key_shows_nowhere() -> None:
    value = base64.b64encode(SECRET.encode()).decode()
    key = DelegationKey("oid", "tid", NOW, NOW + timedelta(hours=1), "b", "2020-12-06", SecretStr(value))
    assert_clean(f"{key!r} {key}")
    for carry in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError) as caught:
            carry(key)
        assert_clean(everything_about(caught.value))
    with pytest.raises(MalformedResponse) as refused:
        replace(key, value=SecretStr(f"{SECRET} is no base64"))
    assert_clean(str(refused.value) + repr(refused.value))


def test_explaining_needs_no_secret_and_shows_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies in the environment and wherever the base identity is: nothing of it is looked at."""
    for name, secret in (("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("KEYS", SECRET)):
        monkeypatch.setenv(name, secret)
    path = tmp_path / "platform.yaml"
    storage = {"lake": LAKE, "fixed": CONFIG["storage"]["fixed"]}
    path.write_text(json.dumps({"environment": "local", "storage": storage}))
    for arguments, code in ((["lake", "s3://lake/wh/x"], 0), (["fixed"], 0), (["lake", "s3://other/y"], 77)):
        for more in ([], ["--json"]):
            assert main(["explain", *arguments, "--config", str(path), *more]) == code
            told = capsys.readouterr()
            assert_clean(told.out + told.err)


def test_the_command_line_tells_no_text_of_a_foreign_error(capsys: pytest.CaptureFixture[str]) -> None:
    def burst(_: object) -> Any:
        raise ValueError(f"{SECRET} {TOKEN}")

    command = Command("burst", "fails", lambda _: None, burst)
    for arguments in (["burst"], ["burst", "--json"]):
        assert main(arguments, commands=(command,)) != 0
        told = capsys.readouterr()
        assert "ValueError" in told.err
        assert_clean(told.out + told.err)


PLANTED: list[dict[str, Any]] = [
    {"catalogs": {"c": {"credentials": {"mode": "oauth2", "client_secret": SECRET}}}},
    {"catalogs": {"c": {"credentials": {"mode": "oauth2", "client_secret": {"secret_ref": SECRET}}}}},
    {"catalogs": {"c": {"credentials": {"mode": "oauth2", "client_secret": {"value": SECRET}}}}},
    {"catalogs": {"c": {"credentials": {"mode": "oauth2", "client_secret": {"secret_ref": "x", "field": SECRET}}}}},
    {"catalogs": {"c": {"credentials": {"mode": "oauth2", "timeout": SECRET}}}},
    {"catalogs": {"c": {"credentials": {"mode": "oauth2", "scopes": {SECRET: "x"}}}}},
    {"catalogs": {"c": {"credentials": {"mode": SECRET}}}},
    {"catalogs": {"c": {"credentials": SECRET}}},
    {"catalogs": {"c": SECRET}},
    {"catalogs": SECRET},
    {"storage": {"s": {"credentials": {"mode": "static", "secret_ref": SECRET}}}},
    {"storage": {"s": {"access": SECRET}}},
    {"storage": {"s": {"max_ttl": SECRET}}},
    {"audit": {"key": SECRET}},
    {"secret_backends": [{"type": "env", "token": SECRET}]},
    {"network": {"allowed_hosts": {"a": SECRET}}},
    {"version": SECRET},
]


@pytest.mark.parametrize("config", PLANTED, ids=str)
def test_a_literal_secret_in_the_configuration_is_refused_and_not_repeated(
    config: dict[str, Any], tmp_path: Path, logged: io.StringIO
) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(json.dumps(config))
    for load in (lambda: Broker.from_yaml(path), lambda: Broker.from_config(copy.deepcopy(config))):
        with pytest.raises(ConfigurationError) as caught:
            load()
        assert_clean(everything_about(caught.value))
    assert_clean(logged.getvalue())


def test_a_broken_file_is_not_quoted(tmp_path: Path, logged: io.StringIO) -> None:
    path = tmp_path / "platform.yaml"
    for text in (
        f"catalogs: {{c: {SECRET}",
        f"a: b: {SECRET}",
        f"!!python/object:{SECRET} x",
        f"? [{SECRET}",
        f"- &a *{SECRET}",
    ):
        path.write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            Broker.from_yaml(path)
        assert_clean(everything_about(caught.value))
        assert "platform.yaml" in str(caught.value)
    assert_clean(logged.getvalue())


@pytest.mark.parametrize(
    "name", ["botocore.parsers", "urllib3.connectionpool", "msal.token_cache", "s3fs", "aiobotocore.endpoint"]
)
def test_the_debug_records_of_sdks_are_emptied_while_a_broker_is_loaded(name: str, logged: io.StringIO) -> None:
    broker, _ = broker_with(GOOD)
    with broker:
        logging.getLogger(name).debug("Response body: %s", TOKEN)
        logging.getLogger(name).warning("a warning stays")
        assert_clean(logged.getvalue())
    assert "a warning stays" in logged.getvalue()


def test_the_records_of_others_are_theirs_again_after_the_last_broker() -> None:
    factory = logging.getLogRecordFactory()
    first, second = broker_with(GOOD)[0], broker_with(GOOD)[0]
    first.close()
    assert logging.getLogRecordFactory() is log_filter._emptied
    second.close()
    assert logging.getLogRecordFactory() is factory


def test_what_was_refused_by_limits_does_not_reach_the_log_as_a_second_line(logged: io.StringIO) -> None:
    broker, _ = broker_with(GOOD)
    with broker:
        forged = broker.with_context(actor='ana\n{"event":"issued"}')
        forged.catalog("production").get()
    records = [line for line in logged.getvalue().splitlines() if line.startswith("credbroker.audit")]
    assert all(json.loads(line.split(" ", 2)[2])["actor"] == 'ana\n{"event":"issued"}' for line in records)


def test_the_longest_life_of_a_token_is_that_of_its_profile() -> None:
    """Not a leak of text but of time: a token of ten years that somebody else's mistake made is ours for an hour."""
    long = replace(GOOD, body=GOOD.body.replace(b"3600", b"315360000"))
    broker, _ = broker_with(long)
    with broker:
        assert broker.catalog("production").get().expires_at == NOW + timedelta(hours=1)
