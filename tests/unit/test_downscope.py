"""What a handle says it would grant, and a handle for less made of it."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.oracles.iam import may, may_list

from credbroker import Broker, S3Credentials
from credbroker.context import Context
from credbroker.credentials import Credential
from credbroker.errors import AccessDenied, BrokerClosed, ConfigurationError
from credbroker.location import Location
from credbroker.profile import Profile
from credbroker.providers import Grant
from credbroker.providers.iam_role import IamRoleProvider
from credbroker.request import Access, CredentialRequest
from credbroker.testing import ControlledProvider, ManualClock

ROLE = {
    "mode": "iam_role",
    "role_arn": "arn:aws:iam::123456789012:role/Pipe",
    "sts_endpoint": "https://sts.eu-west-1.amazonaws.com",
    "credential_source": "environment",
}
CONFIG: dict[str, Any] = {
    "environment": "local",
    "principal": "svc",
    "catalogs": {
        "production": {
            "uri": "https://catalog.example/api",
            "storage": ["lake"],
            "credentials": {"mode": "oauth2", "client_id": "p", "client_secret": {"secret_ref": "p"}, "scope": "a b"},
        }
    },
    "storage": {
        "lake": {
            "region": "eu-west-1",
            "locations": ["s3://lake/sales/", "s3://lake/finance/"],
            "access": "read_write",
            "credentials": ROLE,
        },
        "keys": {
            "locations": ["s3://lake/sales/"],
            "allow_unscoped": True,
            "credentials": {"mode": "static", "secret_ref": "keys"},
        },
    },
}


class Role(ControlledProvider):
    """Plans as ``iam_role`` does, and issues what it planned, without an STS."""

    def __init__(self) -> None:
        super().__init__(answer=self._keys)

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        return IamRoleProvider().plan(request, profile)

    @staticmethod
    def _keys(number: int, request: CredentialRequest, context: Context) -> Credential:
        return S3Credentials(
            f"AKIA{number}",
            SecretStr("secret"),
            SecretStr("token"),
            expires_at=context.clock.now() + timedelta(hours=1),
            locations=request.locations,
            access=request.access,
        )


@dataclass
class Desk:
    broker: Broker
    role: Role


@pytest.fixture
def desk() -> Iterator[Desk]:
    role = Role()
    with Broker.from_config(CONFIG, providers={"iam_role": role}, context=Context(clock=ManualClock())) as broker:
        yield Desk(broker, role)


@pytest.fixture
def denials(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    caplog.set_level(logging.INFO, logger="credbroker.audit")

    def found() -> list[dict[str, Any]]:
        records = [json.loads(record.getMessage()) for record in caplog.records if record.name == "credbroker.audit"]
        return [record for record in records if record["event"] == "denied"]

    return found


def at(*uris: str) -> tuple[Location, ...]:
    return tuple(Location.parse(uri) for uri in uris)


# -- explain -----------------------------------------------------------------------------------------------------------


def test_a_handle_explains_what_it_would_grant_and_issues_nothing(desk: Desk) -> None:
    grant = desk.broker.storage("lake", "s3://lake/sales", access="read").explain()
    assert (grant.locations, grant.access) == (at("s3://lake/sales"), Access.READ)
    assert grant.policy is not None
    assert may(grant.policy, "s3:GetObject", "lake", "sales/x")
    assert not may(grant.policy, "s3:GetObject", "lake", "finance/x")
    assert not may(grant.policy, "s3:PutObject", "lake", "sales/x")
    assert desk.role.calls == 0


def test_what_is_explained_is_what_is_issued(desk: Desk) -> None:
    source = desk.broker.storage("lake", "s3://lake/sales", "s3://lake/finance", access="write")
    value, grant = source.get(), source.explain()
    assert (value.locations, value.access) == (grant.locations, grant.access)


def test_what_is_not_known_beforehand_is_none(desk: Desk) -> None:
    static = desk.broker.storage("keys").explain()
    assert static.policy is None
    table = desk.broker.table("production", "sales.orders").explain()
    assert (table.policy, table.access) == (None, None)
    assert table.locations == at("s3://lake/sales", "s3://lake/finance")


def test_a_provider_that_does_not_plan_is_said_so() -> None:
    class Silent:
        def issue(self, request: CredentialRequest, context: Context) -> Credential:
            raise AssertionError

    silent: Any = Silent()
    with (
        Broker.from_config(CONFIG, providers={"iam_role": silent}, context=Context(clock=ManualClock())) as broker,
        pytest.raises(ConfigurationError, match="lake: its provider does not say what it would grant"),
    ):
        broker.storage("lake", "s3://lake/sales").explain()


def test_after_close_nothing_is_explained_or_narrowed(desk: Desk) -> None:
    source = desk.broker.storage("lake", "s3://lake/sales")
    desk.broker.close()
    for use in (source.explain, lambda: source.downscope(access="read")):
        with pytest.raises(BrokerClosed):
            use()


# -- downscope ---------------------------------------------------------------------------------------------------------


def test_a_narrower_handle_gets_a_value_with_a_policy_of_its_own(desk: Desk) -> None:
    wide = desk.broker.storage("lake", "s3://lake/sales", "s3://lake/finance", access="read_write")
    narrow = wide.downscope("s3://lake/sales/2026", access="read")
    policy = narrow.explain().policy
    assert policy is not None
    assert may(policy, "s3:GetObject", "lake", "sales/2026/x")
    assert may_list(policy, "lake", "sales/2026/")
    for key in ("sales/x", "sales/20261/x", "finance/x"):
        assert not may(policy, "s3:GetObject", "lake", key)
        assert not may_list(policy, "lake", key)
    assert not may(policy, "s3:PutObject", "lake", "sales/2026/x")
    assert desk.role.calls == 0
    value = narrow.get()
    assert (value.locations, value.access) == (at("s3://lake/sales/2026"), Access.READ)
    assert wide.get() is not value
    assert wide.get().locations == at("s3://lake/finance", "s3://lake/sales")


def test_it_shares_its_value_with_whoever_asks_for_the_same(desk: Desk) -> None:
    narrow = desk.broker.storage("lake", "s3://lake/sales", access="read_write").downscope(
        "s3a://lake/sales/x/", access="read"
    )
    assert narrow.get() is desk.broker.storage("lake", "s3://lake/sales/x", access="read").get()


def test_what_is_not_named_stays_as_it_was(desk: Desk) -> None:
    wide = desk.broker.storage("lake", "s3://lake/sales", "s3://lake/finance", access="read_write")
    assert wide.downscope(access="write").request.locations == wide.request.locations
    assert wide.downscope("s3://lake/sales").request.access is Access.READ_WRITE
    assert wide.downscope().get() is wide.get()


@pytest.mark.parametrize(
    "location", ["s3://lake/", "s3://lake/sales2", "s3://lake/finance", "s3://pond/sales", "gs://lake/sales"]
)
def test_a_wider_or_another_location_is_refused_and_on_record(
    desk: Desk, denials: Callable[[], list[dict[str, Any]]], location: str
) -> None:
    """Also one that the profile allows: a handle is never more than it was."""
    source = desk.broker.storage("lake", "s3://lake/sales", access="read")
    with pytest.raises(AccessDenied, match=r"lies outside what the handle is for \(s3://lake/sales/\)"):
        source.downscope("s3://lake/sales/x", location)
    (record,) = denials()
    assert (record["profile"], record["reason"], record["principal"]) == ("lake", "AccessDenied", "svc")
    assert desk.role.calls == 0


@pytest.mark.parametrize(("held", "asked"), [("read", "write"), ("read", "read_write"), ("write", "read")])
def test_another_access_is_refused_and_on_record(
    desk: Desk, denials: Callable[[], list[dict[str, Any]]], held: str, asked: str
) -> None:
    with pytest.raises(AccessDenied, match=f"'{asked}' was asked of a handle for '{held}'"):
        desk.broker.storage("lake", "s3://lake/sales", access=held).downscope(access=asked)
    assert [record["access"] for record in denials()] == [held]


def test_a_handle_whose_access_was_not_said_reads_and_is_not_narrowed_to_more(desk: Desk) -> None:
    unsaid: Any = None
    source = desk.broker.storage("lake", "s3://lake/sales", access=unsaid)
    assert source.explain().access is Access.READ
    with pytest.raises(AccessDenied, match="'read_write' was asked of a handle for 'read'"):
        source.downscope(access="read_write")


def test_a_location_made_by_hand_is_read_as_a_text_is(desk: Desk) -> None:
    source = desk.broker.storage("lake", Location("s3", "lake", "sales"))
    for made in (Location("s3", "lake", "sales/../finance"), Location("s3", "lake", "sales/%2e%2e/x")):
        for ask in (source.downscope, lambda made: desk.broker.storage("lake", made)):
            with pytest.raises(ConfigurationError, match=r"'\.\.' segment"):
                ask(made)


def test_a_narrowed_handle_is_narrowed_again_and_never_widened(desk: Desk) -> None:
    narrow = desk.broker.storage("lake", "s3://lake/sales", access="read_write").downscope(
        "s3://lake/sales/a", access="read"
    )
    assert narrow.downscope("s3://lake/sales/a/b").get().locations == at("s3://lake/sales/a/b")
    for wider in ("s3://lake/sales", "s3://lake/sales/b"):
        with pytest.raises(AccessDenied, match="lies outside"):
            narrow.downscope(wider)
    with pytest.raises(AccessDenied, match="'read_write' was asked"):
        narrow.downscope(access="read_write")


def test_the_handle_of_the_profiles_only_location_is_narrowed_too() -> None:
    only = {**CONFIG["storage"]["lake"], "locations": ["s3://lake/sales/"]}
    config = {**CONFIG, "storage": {"lake": only}}
    with Broker.from_config(config, providers={"iam_role": Role()}, context=Context(clock=ManualClock())) as broker:
        assert broker.storage("lake").downscope("s3://lake/sales/x").get().locations == at("s3://lake/sales/x")
        with pytest.raises(AccessDenied, match="lies outside"):
            broker.storage("lake").downscope("s3://lake/other")


def test_what_nobody_would_enforce_is_no_downscoping(desk: Desk) -> None:
    """A check of our own is never called a grant: the keys would open as much as before."""
    static = desk.broker.storage("keys")
    table = desk.broker.table("production", "sales.orders")
    for source in (static, table):
        with pytest.raises(ConfigurationError, match="nobody would enforce that"):
            source.downscope("s3://lake/sales/x", access="read")
    with pytest.raises(ConfigurationError, match=r"broker\.catalog\(name, scope=\)"):
        desk.broker.catalog("production").downscope(access="read")


def test_a_container_is_not_narrowed_to_a_folder_that_no_sas_would_hold_it_to() -> None:
    root = "abfss://data@account.dfs.core.windows.net/"
    identity = {"mode": "service_account", "credential_source": "managed_identity"}
    flat = {"locations": [root], "allow_container_scope": True, "credentials": identity}
    with Broker.from_config({"environment": "local", "storage": {"flat": flat}}) as broker:
        handle = broker.storage("flat", f"{root}sales")
        assert handle.explain().locations == at(root)
        with pytest.raises(ConfigurationError, match="opens the whole container"):
            handle.downscope(f"{root}sales/x")


def test_a_location_that_breaks_a_rule_or_an_access_that_is_none_is_a_fault_of_the_call(desk: Desk) -> None:
    source = desk.broker.storage("lake", "s3://lake/sales")
    with pytest.raises(ConfigurationError, match=r"'\.\.' segment"):
        source.downscope("s3://lake/sales/../finance")
    with pytest.raises(ConfigurationError, match="characters, and STS takes 2048"):
        source.downscope(*(f"s3://lake/sales/a-rather-long-name-for-a-prefix/{number}" for number in range(40)))
    with pytest.raises(ConfigurationError, match="'read', 'write' and 'read_write'"):
        source.downscope(access="all")


def test_the_actor_and_the_run_stay_those_of_the_handle(desk: Desk) -> None:
    source = desk.broker.with_context(actor="ana", run_id="42").storage("lake", "s3://lake/sales", access="read_write")
    narrow = source.downscope(access="read")
    assert (narrow.request.actor, narrow.request.run_id) == ("ana", "42")
    assert narrow.get() is not desk.broker.storage("lake", "s3://lake/sales", access="read").get()


# -- as a reference ----------------------------------------------------------------------------------------------------


def test_a_narrowed_handle_pickles_as_a_reference_with_what_it_was_narrowed_to(desk: Desk) -> None:
    narrow = desk.broker.storage("lake", "s3://lake/sales", access="read_write").downscope(
        "s3://lake/sales/x", access="read"
    )
    value = narrow.get()
    raw = pickle.dumps(narrow)
    assert b"secret" not in raw
    again = pickle.loads(raw)
    assert (again.request, again.explain()) == (narrow.request, narrow.explain())
    assert again.get() is value
    assert again.downscope("s3://lake/sales/x/y").request.locations == at("s3://lake/sales/x/y")
    with pytest.raises(AccessDenied, match="lies outside"):
        again.downscope("s3://lake/sales")
