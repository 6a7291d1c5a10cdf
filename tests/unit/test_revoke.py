from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import AccessToken, Broker, S3Credentials
from credbroker.context import Context
from credbroker.credentials import ADLSCredentials, Credential, GCSCredentials, TableCredentials
from credbroker.errors import ConfigurationError, IssuerUnavailable
from credbroker.location import Location
from credbroker.profile import StorageProfile
from credbroker.providers import Revocation
from credbroker.request import CredentialRequest
from credbroker.runbooks import irrevocable
from credbroker.testing import ControlledProvider, ManualClock

ROLE = "arn:aws:iam::123456789012:role/Pipe"
CONFIG: dict[str, Any] = {
    "environment": "local",
    "catalogs": {"lake": {"uri": "https://c.example", "credentials": {"mode": "oauth2"}}},
    "storage": {
        "lake": {
            "locations": ["s3://lake/"],
            "credentials": {"mode": "iam_role", "role_arn": ROLE, "credential_source": "environment"},
        }
    },
}
END = datetime(2026, 1, 1, 1, tzinfo=UTC)


class Revoking(ControlledProvider):
    """Takes its tokens back, or raises ``refusal``."""

    def __init__(self, refusal: BaseException | None = None) -> None:
        super().__init__()
        self.refusal = refusal
        self.taken_back: list[str] = []

    def revoke(self, value: Credential, request: CredentialRequest, context: Context) -> Revocation:
        assert isinstance(value, AccessToken)
        assert context.profile.name == "lake"
        assert 0 < context.remaining() <= 10
        if self.refusal is not None:
            raise self.refusal
        self.taken_back.append(value.value.get_secret_value())
        return Revocation(revoked=True, reason="the issuer took it back")


def s3(number: int, request: CredentialRequest, context: Context) -> S3Credentials:
    return S3Credentials(
        "ASIA", SecretStr("canary-secret"), SecretStr("canary-token"), expires_at=END, locations=request.locations
    )


def broker_of(tokens: ControlledProvider) -> Broker:
    providers = {"oauth2": tokens, "iam_role": ControlledProvider(answer=s3)}
    return Broker.from_config(CONFIG, providers=providers, context=Context(clock=ManualClock()))


def test_what_the_issuer_takes_back_is_revoked_and_the_rest_is_reported_with_a_runbook() -> None:
    tokens = Revoking()
    with broker_of(tokens) as broker:
        source = broker.catalog("lake")
        source.get()
        broker.storage("lake").get()
        assert broker.revoke("lake") == [
            {"profile": "lake", "revoked": True, "reason": "the issuer took it back", "runbook": None},
            {
                "profile": "lake",
                "revoked": False,
                "reason": "an STS session cannot be taken back: it lives until 2026-01-01 01:00:00 UTC",
                "runbook": (
                    f"in IAM, revoke the active sessions of {ROLE} (it attaches AWSRevokeOlderSessions: deny all where "
                    "aws:TokenIssueTime is before now; on SeaweedFS or Ceph take the right from the role), then let the "
                    "pipelines issue anew"
                ),
            },
        ]
        assert tokens.taken_back == ["token-1"]
        assert broker.status() == []
        assert source.get().value.get_secret_value() == "token-2"


def test_where_nothing_is_held_it_says_so_and_what_to_do() -> None:
    with broker_of(Revoking()) as broker:
        token, session = broker.revoke("lake")
        assert token["revoked"] is session["revoked"] is False
        assert "nothing is held here" in str(token["reason"])
        assert "disable the client" in str(token["runbook"])
        assert ROLE in str(session["runbook"])


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (IssuerUnavailable("it is down"), "the issuer could not be asked: it is down (the next revoke asks again)"),
        (ValueError("canary-value"), "the provider failed with ValueError (the next revoke asks again)"),
    ],
)
def test_an_issuer_that_cannot_be_asked_is_reported_and_the_value_is_dropped_all_the_same(
    refusal: BaseException, reason: str
) -> None:
    with broker_of(Revoking(refusal)) as broker:
        broker.catalog("lake").get()
        entry = broker.revoke("lake")[0]
        assert (entry["revoked"], entry["reason"]) == (False, reason)
        assert "disable the client" in str(entry["runbook"])
        assert broker.status() == []


def test_what_could_not_be_revoked_is_at_the_next_call_and_never_served_meanwhile() -> None:
    tokens = Revoking(IssuerUnavailable("it is down"))
    with broker_of(tokens) as broker:
        source = broker.catalog("lake")
        source.get()
        broker.revoke("lake")
        assert source.get().value.get_secret_value() == "token-2"
        tokens.refusal = None
        assert [entry["revoked"] for entry in broker.revoke("lake")] == [True, True, False]
        assert tokens.taken_back == ["token-1", "token-2"]
        assert [entry["revoked"] for entry in broker.revoke("lake")] == [False, False]


def test_what_is_issued_while_an_issuer_is_asked_is_not_overlooked() -> None:
    tokens = Revoking()
    with broker_of(tokens) as broker:
        source = broker.catalog("lake")
        source.get()

        taken = tokens.revoke

        def revoke(value: Credential, request: CredentialRequest, context: Context) -> Revocation:
            assert source.get().value.get_secret_value() == "token-2"
            return taken(value, request, context)

        tokens.revoke = revoke  # type: ignore[method-assign]
        broker.revoke("lake")
        assert tokens.taken_back == ["token-1"]
        assert source.get().value.get_secret_value() == "token-2"


def test_what_was_made_of_a_revoked_credential_is_dropped_and_reported_too() -> None:
    config: dict[str, Any] = {
        "environment": "local",
        "catalogs": {
            "lake": {"uri": "https://c.example", "credentials": {"mode": "oauth2"}},
            "made": {"credentials": {"mode": "oauth2", "subject_token": {"profile": "lake"}}},
            "twice": {"credentials": {"mode": "oauth2", "subject_token": {"profile": "made"}}},
            "beside": {"credentials": {"mode": "oauth2"}},
        },
    }
    tokens = ControlledProvider()
    with Broker.from_config(config, providers={"oauth2": tokens}, context=Context(clock=ManualClock())) as broker:
        for name in config["catalogs"]:
            broker.catalog(name).get()
        assert sorted(str(entry["profile"]) for entry in broker.revoke("lake")) == ["lake", "made", "twice"]
        assert [entry["profile"] for entry in broker.status()] == ["beside"]


def test_the_tables_of_a_revoked_storage_profile_are_dropped_too() -> None:
    config = {**CONFIG, "catalogs": {"prod": {"uri": "https://c.example", "storage": "lake", "credentials": {}}}}

    def table(number: int, request: CredentialRequest, context: Context) -> TableCredentials:
        return TableCredentials(((Location.parse("s3://lake/t"), s3(number, request, context)),))

    providers = {"catalog": ControlledProvider(answer=table), "iam_role": ControlledProvider(answer=s3)}
    with Broker.from_config(config, providers=providers, context=Context(clock=ManualClock())) as one:
        one.table("prod", "a.b").get()
        one.storage("lake").get()
        assert sorted(str(entry["profile"]) for entry in one.revoke("lake")) == ["lake", "prod"]
        assert one.status() == []


HUB = {"locations": [], "credentials": {"mode": "iam_role", "role_arn": f"{ROLE}-hub", "credential_source": "environment"}}
BELOW = {
    "source_profile": (
        {"source_profile": "hub"},
        {"storage": {"hub": HUB}},
        ("storage", "hub", "credentials", "external_id"),
    ),
    "subject_token": (
        {"credential_source": "web_identity", "subject_token": {"profile": "idp"}},
        {"catalogs": {"idp": {"credentials": {"mode": "oauth2"}}}},
        ("catalogs", "idp", "credentials", "client_id"),
    ),
}


@pytest.mark.parametrize("below", BELOW)
@pytest.mark.parametrize("act", ["revoke", "reload"])
def test_a_table_follows_what_its_storage_profile_is_made_of(below: str, act: str) -> None:
    credentials, more, path = BELOW[below]
    lake = {"locations": ["s3://lake/"], "credentials": {"mode": "iam_role", "role_arn": ROLE, **credentials}}
    config: dict[str, Any] = {
        "environment": "local",
        "catalogs": {"prod": {"uri": "https://c.example", "storage": "lake", "credentials": {}}, **more.get("catalogs", {})},
        "storage": {"lake": lake, **more.get("storage", {})},
    }

    def table(number: int, request: CredentialRequest, context: Context) -> TableCredentials:
        return TableCredentials(((Location.parse("s3://lake/t"), s3(number, request, context)),))

    providers = {"catalog": ControlledProvider(answer=table), "iam_role": ControlledProvider(answer=s3)}
    with Broker.from_config(config, providers=providers, context=Context(clock=ManualClock())) as one:
        source = one.table("prod", "a.b")
        source.get()
        if act == "revoke":
            assert [entry["profile"] for entry in one.revoke(path[1])] == ["prod"]
        else:
            changed = json.loads(json.dumps(config))
            changed[path[0]][path[1]][path[2]][path[3]] = "another"
            one.reload(changed)
        assert one.status() == []
        source.get()
        assert providers["catalog"].calls == 2


def test_an_issue_under_way_is_reported() -> None:
    tokens = Revoking()
    with broker_of(tokens) as broker:
        tokens.hold()
        source = broker.catalog("lake")
        waiting = threading.Thread(target=source.get)
        waiting.start()
        tokens.wait_for_calls(1)
        entry = broker.revoke("lake")[0]
        tokens.release()
        waiting.join(10)
        assert (entry["revoked"], str(entry["reason"])[:20]) == (False, "one was being issued")


def test_an_unknown_profile_is_an_error() -> None:
    with broker_of(Revoking()) as broker, pytest.raises(ConfigurationError, match="no profile 'lac'; there are: lake"):
        broker.revoke("lac")


def test_a_revocation_is_on_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "credbroker.audit")
    with broker_of(Revoking()) as broker:
        fingerprint = broker.catalog("lake").get().fingerprint
        caplog.clear()
        broker.revoke("lake")
        records = [json.loads(record.getMessage()) for record in caplog.records]
        revoked = next(record for record in records if record["event"] == "revoked")
        assert (revoked["revoked"], revoked["fingerprint"], revoked["profile"]) == (True, fingerprint, "lake")


SECRET = SecretStr("canary-secret")


@pytest.mark.parametrize(
    ("value", "reason", "runbook"),
    [
        (
            S3Credentials("AKIA", SECRET),
            "a key pair cannot be taken back: it lives until its owner withdraws it",
            "deactivate",
        ),
        (ADLSCredentials("acme", SECRET, END), "a SAS cannot be taken back: it lives until 2026-01-01 01:00", "--name acme"),
        (GCSCredentials(SECRET, END), "an access token of Google's", "gcloud iam service-accounts disable"),
        (
            TableCredentials(((Location.parse("s3://lake/t"), S3Credentials("A", SECRET, SECRET, expires_at=END)),)),
            "what a catalog vended lives until 2026-01-01 01:00:00 UTC",
            "revoke the active sessions of the role that the catalog assumes",
        ),
    ],
)
def test_every_kind_of_value_has_its_step(value: Credential, reason: str, runbook: str) -> None:
    outcome = irrevocable(StorageProfile(name="lake"), value)
    assert not outcome.revoked
    assert outcome.reason.startswith(reason)
    assert outcome.runbook is not None
    assert runbook in outcome.runbook
    assert "canary" not in str(outcome)
