from __future__ import annotations

import asyncio
import json
import logging
import pickle
import queue
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import AccessToken, Broker, S3Credentials, TableCredentials
from credbroker.context import Context
from credbroker.credentials import Credential
from credbroker.errors import (
    AccessDenied,
    BrokerClosed,
    ConfigurationError,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.location import Location
from credbroker.request import Access, CredentialRequest
from credbroker.table_locations import check_table_location, storage_for
from credbroker.testing import ControlledProvider, ManualClock, tick

CANARY = "canary-9a2e"
ROLE = "arn:aws:iam::123456789012:role/Pipe"
CONFIG: dict[str, Any] = {
    "environment": "local",
    "principal": "data-platform-svc",
    "catalogs": {
        "production": {
            "uri": "https://catalog.example/api",
            "storage": ["lake", "deep"],
            "credentials": {
                "mode": "oauth2",
                "client_id": "pipeline",
                "client_secret": {"secret_ref": "pipeline"},
                "scope": "PRINCIPAL_ROLE:ENGINEER extra",
                "scopes": {"read": "PRINCIPAL_ROLE:ANALYST"},
            },
        }
    },
    "storage": {
        "lake": {
            "locations": ["s3://lake/sales/", "s3://lake/finance/"],
            "access": "read_write",
            "credentials": {"mode": "iam_role", "role_arn": ROLE},
        },
        "deep": {
            "locations": ["s3://lake/sales/deep/"],
            "credentials": {"mode": "iam_role", "role_arn": ROLE},
        },
        "none": {"credentials": {"mode": "iam_role", "role_arn": ROLE}},
        "files": {"type": "local"},
    },
}


def keys(number: int, request: CredentialRequest, context: Context) -> Credential:
    return S3Credentials(
        f"AKIA{number}",
        SecretStr(CANARY),
        SecretStr(CANARY),
        expires_at=context.clock.now() + timedelta(hours=1),
        locations=request.locations,
        access=request.access,
    )


@dataclass
class Desk:
    broker: Broker
    clock: ManualClock
    tokens: ControlledProvider
    storage: ControlledProvider


@pytest.fixture
def desk() -> Iterator[Desk]:
    clock, tokens, storage = ManualClock(), ControlledProvider(), ControlledProvider(answer=keys)
    broker = Broker.from_config(CONFIG, providers={"oauth2": tokens, "iam_role": storage}, context=Context(clock=clock))
    with broker:
        yield Desk(broker, clock, tokens, storage)


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, logger="credbroker.audit")
    return lambda: [json.loads(record.getMessage()) for record in caplog.records if record.name == "credbroker.audit"]


def test_a_handle_does_nothing_and_get_issues_once(desk: Desk) -> None:
    source = desk.broker.catalog("production")
    assert desk.tokens.calls == 0
    assert source.get().value.get_secret_value() == "token-1"
    assert desk.broker.catalog("production") is source
    assert source.get() is asyncio.run(source.aget())
    assert desk.tokens.calls == 1


def test_equal_requests_share_one_value_however_they_are_written(desk: Desk) -> None:
    first = desk.broker.storage("lake", "s3://lake/sales", access="read").get()
    again = desk.broker.storage("lake", "s3a://lake/sales/", access=Access.READ).get()
    assert first is again
    assert desk.storage.calls == 1


def test_one_location_is_meant_if_the_profile_has_one_and_asked_for_if_it_has_several(desk: Desk) -> None:
    assert desk.broker.storage("deep").get().locations == (Location.parse("s3://lake/sales/deep"),)
    with pytest.raises(ConfigurationError, match="s3://lake/sales/, s3://lake/finance/"):
        desk.broker.storage("lake")
    with pytest.raises(AccessDenied, match="no locations"):
        desk.broker.storage("none")


@pytest.mark.parametrize(
    "location", ["s3://lake/", "s3://lake/sales2", "s3://lake/hr", "s3://other/sales", "gs://lake/sales"]
)
def test_a_location_outside_the_profile_is_refused_before_any_issuer_and_on_record(
    desk: Desk, records: Any, location: str
) -> None:
    with pytest.raises(AccessDenied, match="outside"):
        desk.broker.storage("lake", location)
    with pytest.raises(AccessDenied, match="outside"):
        desk.broker.storage("lake", "s3://lake/sales", location)
    assert desk.storage.calls == 0
    assert [record["event"] for record in records()] == ["denied", "denied"]


def test_access_beyond_the_profile_is_refused(desk: Desk) -> None:
    with pytest.raises(AccessDenied, match="'read_write' of s3://lake/sales/deep/ was asked; the profile allows 'read'"):
        desk.broker.storage("deep", access="read_write")
    with pytest.raises(ConfigurationError, match="one of"):
        desk.broker.storage("deep", access="all")


def test_a_scope_may_be_narrowed_and_not_widened(desk: Desk) -> None:
    desk.broker.catalog("production", scope="extra").get()
    assert desk.tokens.requests[-1].scopes == {"extra"}
    with pytest.raises(AccessDenied, match="'admin' is not among"):
        desk.broker.catalog("production", scope="extra admin")


def test_a_token_by_access_is_shared_by_whoever_has_no_scope_of_their_own(desk: Desk) -> None:
    plain = desk.broker.catalog("production").get()
    assert desk.broker.catalog("production", access="read_write").get() is plain
    assert desk.broker.catalog("production", access="read").get() is not plain


def test_an_unknown_profile_says_where_the_name_does_exist(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="no profile 'lake' under catalogs; it exists under storage"):
        desk.broker.catalog("lake")
    with pytest.raises(ConfigurationError, match="there are: deep, files, lake, none"):
        desk.broker.storage("lak")
    with pytest.raises(ConfigurationError, match="local files need no credential"):
        desk.broker.storage("files", "s3://lake/x")


def test_the_storage_profile_of_a_catalog_is_chosen_by_containment_the_longest_first(desk: Desk) -> None:
    assert storage_for(desk.broker, "production", "s3://lake/sales/deep/t").request.profile == "deep"
    assert storage_for(desk.broker, "production", "s3://lake/sales/deeper/t").request.profile == "lake"
    with pytest.raises(AccessDenied, match="no storage profile"):
        storage_for(desk.broker, "production", "s3://lake/hr")


def test_two_actors_never_share_a_value_and_two_runs_do(desk: Desk, records: Any) -> None:
    ana, bob = (desk.broker.with_context(actor=actor) for actor in ("ana", "bob"))
    assert ana.catalog("production").get() is not bob.catalog("production").get()
    again = ana.with_context(run_id="43").catalog("production").get()
    assert again is ana.catalog("production").get()
    assert [record.get("actor") for record in records() if record["event"] == "issued"] == ["ana", "bob"]


def test_requested_is_on_record_before_the_issuer_is_called_and_issued_before_anyone_holds_the_value(
    desk: Desk, records: Any
) -> None:
    seen: list[list[str]] = []
    desk.storage._answer = lambda *asked: seen.append([record["event"] for record in records()]) or keys(*asked)  # type: ignore[func-returns-value]
    value = desk.broker.storage("lake", "s3://lake/sales").get()
    assert seen == [["requested"]]
    requested, issued = records()
    assert issued["event"] == "issued"
    assert issued["request_id"] == requested["request_id"]
    assert issued["fingerprint"] == value.fingerprint
    assert issued["access_key_id"] == "AKIA1"
    assert issued["principal"] == "data-platform-svc"
    assert CANARY not in json.dumps(records())


def test_a_record_that_cannot_be_written_means_no_credential_and_what_is_held_stays(desk: Desk) -> None:
    source = desk.broker.catalog("production")
    held = source.get()
    desk.broker._brokerage.trail._required = True

    class Full:
        def write(self, record: object) -> None:
            raise OSError("disk full")

    desk.broker._brokerage.trail._sink = Full()
    desk.clock.advance(2700)
    assert source.get() is held
    with pytest.raises(IssuerUnavailable, match="no record, no credential"):
        desk.broker.catalog("production", scope="extra").get()
    assert source.get() is held


def test_a_value_whose_issued_record_fails_is_discarded(desk: Desk) -> None:
    desk.broker._brokerage.trail._required = True
    written: list[str] = []

    class FullAfterOne:
        def write(self, record: dict[str, object]) -> None:
            written.append(str(record["event"]))
            if record["event"] == "issued":
                raise OSError("disk full")

    desk.broker._brokerage.trail._sink = FullAfterOne()  # type: ignore[assignment]
    with pytest.raises(IssuerUnavailable, match="no record, no credential"):
        desk.broker.catalog("production").get()
    assert written == ["requested", "issued"]
    assert desk.broker.status()[0]["state"] == "absent"


def test_a_denial_and_a_failure_are_on_record_with_their_reason(desk: Desk, records: Any) -> None:
    desk.tokens.fail_with(IssueDenied("invalid_client"))
    with pytest.raises(IssueDenied) as caught:
        desk.broker.catalog("production").get()
    assert (caught.value.profile, caught.value.provider) == ("production", "oauth2")
    assert records()[-1] | {"event": "denied", "reason": "IssueDenied"} == records()[-1]


@pytest.mark.parametrize(
    ("locations", "access"),
    [(("s3://lake/",), "read"), (("s3://lake/sales2",), "read"), (("s3://lake/sales",), "read_write")],
)
def test_a_grant_wider_than_asked_is_refused(desk: Desk, locations: tuple[str, ...], access: str) -> None:
    desk.storage._answer = lambda number, request, context: S3Credentials(
        "AKIA",
        SecretStr(CANARY),
        expires_at=context.clock.now() + timedelta(hours=1),
        locations=tuple(Location.parse(location) for location in locations),
        access=Access(access),
    )
    with pytest.raises(MalformedResponse, match="granted"):
        desk.broker.storage("lake", "s3://lake/sales", access="read").get()


@pytest.mark.parametrize("granted", ["PRINCIPAL_ROLE:ENGINEER extra admin", "admin", "PRINCIPAL_ROLE:ALL"])
def test_a_token_of_a_wider_scope_than_asked_is_refused(desk: Desk, granted: str) -> None:
    desk.tokens._answer = lambda number, request, context: AccessToken(
        SecretStr(CANARY), scopes=frozenset(granted.split()), expires_at=context.clock.now() + timedelta(hours=1)
    )
    with pytest.raises(MalformedResponse, match="more scope") as caught:
        desk.broker.catalog("production").get()
    assert granted not in str(caught.value)


def test_a_token_of_a_narrower_scope_than_asked_is_taken(desk: Desk) -> None:
    desk.tokens._answer = lambda number, request, context: AccessToken(
        SecretStr(CANARY), scopes=frozenset({"extra"}), expires_at=context.clock.now() + timedelta(hours=1)
    )
    assert desk.broker.catalog("production").get().scopes == {"extra"}


def test_each_of_a_tables_keys_ends_where_the_profile_says(desk: Desk) -> None:
    sales = Location.parse("s3://lake/sales")

    def vend(request: CredentialRequest, context: Context) -> Credential:
        end = context.clock.now() + timedelta(days=3)
        return TableCredentials(((sales, S3Credentials("AKIA", SecretStr(CANARY), expires_at=end)),))

    desk.storage._answer = lambda number, request, context: vend(request, context)
    desk.broker._brokerage._providers["catalog"] = desk.storage
    value = desk.broker.table("production", "sales.orders").get()
    assert value.for_location("s3://lake/sales/x").expires_at == value.expires_at == desk.clock.now() + timedelta(hours=1)


@pytest.mark.parametrize("table", [5, ("a", 5), "orders", ("a", ""), ()])
def test_a_table_is_named_with_its_namespace(desk: Desk, table: Any) -> None:
    with pytest.raises((ConfigurationError, TypeError)):
        desk.broker.table("production", table)


def test_what_lives_longer_than_was_asked_ends_there_for_us(desk: Desk) -> None:
    desk.tokens.lifetime = timedelta(days=30)
    value = desk.broker.catalog("production").get()
    assert value.expires_at == desk.clock.now() + timedelta(hours=1)
    with pytest.raises(InsufficientLifetime):
        desk.broker.catalog("production").get(min_ttl=timedelta(hours=2))


def test_a_provider_that_fails_with_an_error_of_its_own_tells_only_its_class(desk: Desk) -> None:
    def burst(number: int, request: CredentialRequest, context: Context) -> Credential:
        raise ValueError(CANARY)

    desk.tokens._answer = burst
    with pytest.raises(IssuerUnavailable, match="ValueError") as caught:
        desk.broker.catalog("production").get()
    assert CANARY not in repr(caught.value) + str(caught.value.__context__) + str(caught.value.__cause__)


def test_purge_status_and_close(desk: Desk) -> None:
    source = desk.broker.catalog("production")
    source.get()
    (entry,) = desk.broker.status()
    assert (entry["profile"], entry["state"], entry["fingerprint"]) == ("production", "fresh", source.get().fingerprint)
    assert desk.broker.purge("production") == 1
    assert desk.broker.status() == []
    assert source.get().value.get_secret_value() == "token-2"
    desk.broker.close()
    desk.broker.close()
    for use in (source.get, lambda: desk.broker.catalog("production", scope="extra")):
        with pytest.raises(BrokerClosed):
            use()


def test_the_usage_of_a_value_is_on_record_when_it_is_replaced(desk: Desk, records: Any) -> None:
    source = desk.broker.catalog("production")
    source.get()
    source.get()
    desk.broker.purge("production")
    assert records()[-1] | {"event": "usage", "used": True} == records()[-1]


def test_a_callback_is_given_each_new_value_though_nobody_gets(desk: Desk) -> None:
    pushed: queue.Queue[str] = queue.Queue()
    source = desk.broker.with_context(actor="ana").catalog("production")
    stop = source.on_refresh(lambda value: pushed.put(value.value.get_secret_value()))
    source.get()
    assert pushed.get(timeout=10) == "token-1"
    del source
    for number in (2, 3):
        desk.clock.advance(2700)
        tick(desk.broker)
        assert pushed.get(timeout=10) == f"token-{number}"
    desk.broker.purge("production")
    tick(desk.broker)
    assert pushed.get(timeout=10) == "token-4"
    stop()
    desk.clock.advance(2700)
    tick(desk.broker)
    assert desk.tokens.calls == 4
    assert not desk.broker._brokerage.engine._running


def test_a_callback_hears_of_what_comes_after_a_refusal_and_after_an_outage(desk: Desk) -> None:
    pushed: queue.Queue[str] = queue.Queue()
    source = desk.broker.catalog("production")
    source.on_refresh(lambda value: pushed.put(value.value.get_secret_value()))
    tick(desk.broker)
    assert desk.tokens.calls == 0
    value = source.get()
    assert pushed.get(timeout=10) == "token-1"
    source.invalidate(value)
    tick(desk.broker)
    assert pushed.get(timeout=10) == "token-2"
    desk.tokens.fail_with(IssuerUnavailable("down"))
    desk.clock.advance(4000)
    with pytest.raises(IssuerUnavailable):
        source.get()
    desk.tokens.fail_with(None)
    desk.clock.advance(31)
    tick(desk.broker)
    assert pushed.get(timeout=10) == "token-4"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"uri": "http://catalog.example/api"}, "plain http"),
        ({"type": "glue"}, "takes signed requests alone"),
        ({"type": "nessie"}, "not supported"),
        ({"type": "sql"}, "has no token"),
        ({"allow_insecure": True}, "refused in production"),
    ],
)
def test_what_a_profile_must_not_say_is_refused_when_the_handle_is_made_whatever_its_mode(
    changes: dict[str, Any], fault: str
) -> None:
    catalog = {**CONFIG["catalogs"]["production"], **changes}
    config = {**CONFIG, "environment": "production", "catalogs": {"production": catalog}}
    broker = Broker.from_config(config, providers={"oauth2": ControlledProvider()}, context=Context())
    with broker, pytest.raises(ConfigurationError, match=fault):
        broker.catalog("production")


def test_a_demand_beyond_max_ttl_calls_no_issuer(desk: Desk) -> None:
    source = desk.broker.storage("lake", "s3://lake/sales/x")
    with pytest.raises(InsufficientLifetime, match="min_ttl of 7200 s was demanded; the profile's max_ttl is 3600 s"):
        source.get(min_ttl=timedelta(hours=2))
    assert desk.storage.calls == 0
    assert source.get(min_ttl=timedelta(minutes=30)).access_key_id == "AKIA1"


def test_a_demand_that_is_no_duration_says_what_to_give(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="timedelta"):
        desk.broker.catalog("production").get(30)  # type: ignore[arg-type]


def test_a_location_that_no_storage_profile_contains_is_on_record(desk: Desk, records: Any) -> None:
    with pytest.raises(AccessDenied):
        storage_for(desk.broker, "production", "s3://lake/hr")
    assert [record["event"] for record in records()] == ["denied"]


def test_a_catalogs_own_locations_bound_the_storage_that_serves_it(records: Any) -> None:
    catalogs = {"production": {**CONFIG["catalogs"]["production"], "locations": ["s3://lake/sales/"]}}
    providers = {"iam_role": ControlledProvider(answer=keys)}
    with Broker.from_config({**CONFIG, "catalogs": catalogs}, providers=providers, context=Context()) as broker:
        assert storage_for(broker, "production", "s3://lake/sales/x").request.profile == "lake"
        with pytest.raises(AccessDenied, match=r"s3://lake/finance/x/, outside .*catalogs\.production\.locations"):
            storage_for(broker, "production", "s3://lake/finance/x")
        with pytest.raises(AccessDenied, match="outside"):
            check_table_location(broker, "production", "s3://lake/finance/x", "read_write")
    assert [(record["event"], record["access"], record["principal"]) for record in records()] == [
        ("denied", "read", "data-platform-svc"),
        ("denied", "read_write", "data-platform-svc"),
    ]


def test_a_table_is_on_record_with_what_its_keys_reach_and_not_with_where_they_are_used(desk: Desk, records: Any) -> None:
    prefix, root = Location.parse("s3://lake/sales/x"), Location.parse("s3://lake/sales")
    wide = S3Credentials("AKIA1", SecretStr(CANARY), SecretStr(CANARY), locations=(root,))
    unsaid = S3Credentials("AKIA2", SecretStr(CANARY), SecretStr(CANARY))
    vending = ControlledProvider(answer=lambda number, _request, _context: TableCredentials(((prefix, values[number - 1]),)))
    values = [replace(wide, locations=(prefix,)), unsaid]
    with Broker.from_config(CONFIG, providers={"catalog": vending}, context=Context(clock=ManualClock())) as broker:
        assert broker.table("production", "sales.x").get().prefixes == (prefix,)
        assert broker.table("production", "sales.y").get().locations is None
    issued = [record for record in records() if record["event"] == "issued"]
    assert [record.get("granted_locations") for record in issued] == [["s3://lake/sales/x/"], None]


def test_locations_in_a_list_and_too_many_of_them_are_faults_of_the_call(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="given one by one"):
        desk.broker.storage("lake", ["s3://lake/sales/x"])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a text or a tuple"):
        desk.broker.table("production", ["sales", "x"])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"101 locations .*no policy holds more than 100.*s3://lake/sales/0"):
        desk.broker.storage("lake", *(f"s3://lake/sales/{number}" for number in range(101)))


def test_profiles_that_need_each_other_are_an_error_and_no_deadlock(desk: Desk) -> None:
    storage = CredentialRequest("storage", "lake", locations=(Location.parse("s3://lake/sales"),), access=Access.READ)
    desk.storage._answer = lambda number, request, context: context.get(CredentialRequest("catalog", "production"))
    desk.tokens._answer = lambda number, request, context: context.get(storage)
    with pytest.raises(ConfigurationError, match="its own credential"):
        desk.broker.storage("lake", "s3://lake/sales").get()


def test_a_logger_that_is_disabled_means_no_credential_where_the_record_is_required(desk: Desk) -> None:
    desk.broker._brokerage.trail._required = True
    logger = logging.getLogger("credbroker.audit")
    logger.disabled = True
    try:
        with pytest.raises(IssuerUnavailable, match=r"set its level to INFO\): no record, no credential"):
            desk.broker.catalog("production").get()
    finally:
        logger.disabled = False


def test_a_provider_that_ends_the_thread_is_on_record_as_failed(desk: Desk, records: Any) -> None:
    def leave(number: int, request: CredentialRequest, context: Context) -> Credential:
        raise SystemExit(CANARY)

    desk.tokens._answer = leave
    with pytest.raises(IssuerUnavailable, match="SystemExit"):
        desk.broker.catalog("production").get()
    assert [record["event"] for record in records()] == ["requested", "failed"]


def test_an_error_of_a_plug_ins_own_class_keeps_its_meaning(desk: Desk) -> None:
    class OwnDenied(IssueDenied):
        def __init__(self, code: int, hint: str) -> None:
            super().__init__(f"{hint} ({code})")

    def deny(number: int, request: CredentialRequest, context: Context) -> Credential:
        raise OwnDenied(7, "no")

    desk.tokens._answer = deny
    with pytest.raises(IssueDenied, match=r"no \(7\)"):
        desk.broker.catalog("production").get()


def test_the_usage_record_says_whose_value_it_was(desk: Desk, records: Any) -> None:
    desk.broker.with_context(run_id="42").storage("deep").get()
    desk.broker.purge("deep")
    usage = records()[-1]
    assert usage["event"] == "usage"
    assert usage | {"principal": "data-platform-svc", "run_id": "42", "locations": ["s3://lake/sales/deep/"]} == usage


def test_a_nested_request_is_issued_by_the_same_store_limits_and_audit(desk: Desk, records: Any) -> None:
    def nested(number: int, request: CredentialRequest, context: Context) -> Credential:
        wanted = CredentialRequest("catalog", "production")
        token = context.get(wanted)
        assert context.invalidate(wanted, token)
        assert context.get(wanted) is not token
        with pytest.raises(AccessDenied):
            context.get(
                CredentialRequest("storage", "lake", locations=(Location.parse("s3://lake/hr"),), access=Access.READ)
            )
        return keys(number, request, context)

    desk.storage._answer = nested
    desk.broker.storage("lake", "s3://lake/sales").get()
    assert desk.tokens.calls == 2
    assert [record["event"] for record in records()].count("issued") == 3


def test_a_profile_that_needs_itself_is_an_error_and_no_deadlock(desk: Desk) -> None:
    desk.storage._answer = lambda number, request, context: context.get(request)
    with pytest.raises(ConfigurationError, match="its own credential"):
        desk.broker.storage("lake", "s3://lake/sales").get()


def test_a_broker_and_a_source_pickle_as_references_and_reattach(desk: Desk) -> None:
    source = desk.broker.with_context(actor="ana").storage("lake", "s3://lake/sales")
    value = source.get()
    raw = pickle.dumps(source)
    assert CANARY.encode() not in raw
    assert b"AKIA1" not in raw
    assert pickle.loads(raw).get() is value
    assert pickle.loads(pickle.dumps(desk.broker)).catalog("production").get() is desk.broker.catalog("production").get()


def test_another_process_loads_its_own_file_and_refuses_another_configuration(tmp_path: Path) -> None:
    config = tmp_path / "platform.yaml"
    profile = "{allow_unscoped: true, locations: [s3://lake/x/], credentials: {secret_ref: keys}}"
    text = f"environment: local\nstorage: {{s: {profile}}}\n"
    config.write_text(text)
    program = "import pickle, sys; source = pickle.load(sys.stdin.buffer); print(source.get().access_key_id)"

    def run(raw: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", program],
            input=raw,
            capture_output=True,
            env={"KEYS": f"AK:{CANARY}", **environment},
            check=False,
        )

    with Broker.from_yaml(config) as broker:
        raw = pickle.dumps(broker.storage("s"))
    assert run(raw).stdout.strip() == b"AK"
    assert run(raw, CREDBROKER_CONFIG=str(config)).stdout.strip() == b"AK"
    config.write_text(text.replace("lake/x", "lake/y"))
    changed = run(raw)
    assert changed.returncode != 0
    assert b"not the configuration" in changed.stderr
    assert CANARY.encode() not in changed.stderr


def test_a_broker_made_from_no_file_does_not_fall_to_another_identity_elsewhere(desk: Desk) -> None:
    raw = pickle.dumps(desk.broker)
    done = subprocess.run(
        [sys.executable, "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)"],
        input=raw,
        capture_output=True,
        env={},
        check=False,
    )
    assert b"CREDBROKER_CONFIG" in done.stderr


def test_one_broker_of_a_configuration_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "platform.yaml"
    config.write_text("environment: local\n")
    monkeypatch.setenv("CREDBROKER_CONFIG", str(config))
    with Broker.shared(config) as broker:
        assert Broker.shared()._brokerage is broker._brokerage
    with Broker.shared() as another:
        assert another._brokerage is not broker._brokerage


def test_relative_paths_are_found_from_another_folder_and_sixteen_unpicklings_make_one_broker(tmp_path: Path) -> None:
    (tmp_path / "platform.yaml").write_text("environment: local\n")
    (tmp_path / "elsewhere").mkdir()
    make = (
        "import pickle, sys; from credbroker import Broker\n"
        "sys.stdout.buffer.write(pickle.dumps(Broker.from_yaml('platform.yaml')))"
    )
    raw = subprocess.run([sys.executable, "-c", make], cwd=tmp_path, capture_output=True, env={}, check=True).stdout
    use = (
        "import pickle, sys; from concurrent.futures import ThreadPoolExecutor as Pool; raw = sys.stdin.buffer.read()\n"
        "with Pool(16) as pool: print(len({id(b._brokerage) for b in pool.map(pickle.loads, [raw] * 16)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", use], cwd=tmp_path / "elsewhere", input=raw, capture_output=True, env={}, check=False
    )
    assert (done.stdout, done.stderr) == (b"1\n", b"")


def test_a_required_record_goes_to_stderr_where_no_logging_is_configured(tmp_path: Path) -> None:
    (tmp_path / "platform.yaml").write_text(
        "environment: local\naudit: {required: true}\ncatalogs: {c: {credentials: {secret_ref: token}}}\n"
    )
    program = "from credbroker import Broker; Broker.from_yaml('platform.yaml').catalog('c').get()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, env={"TOKEN": CANARY}, check=True
    )
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["requested", "issued"]
    assert CANARY not in done.stderr


def test_from_env_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDBROKER_CONFIG", raising=False)
    with pytest.raises(ConfigurationError, match=r"\$CREDBROKER_CONFIG is not set"):
        Broker.from_env()
