"""Where the role is asked for again, and how. What a real STS answers is for ``tests/live/test_doctor.py``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import Broker
from credbroker.cli.doctor import assume_again
from credbroker.cli.fence import Attempt, Call, Outcome
from credbroker.credentials import S3Credentials
from credbroker.errors import ConfigurationError
from credbroker.integrations.endpoint import Endpoint

ROLE = "arn:aws:iam::123456789012:role/Pipe"
KEYS = S3Credentials("AKIAEXAMPLE", SecretStr("secret-key"), SecretStr("session-token"))
ASKED = {"RoleArn": ROLE, "RoleSessionName": "credbroker-doctor", "DurationSeconds": 900}


class Recording:
    """An STS client, and the service that makes it."""

    def __init__(self) -> None:
        self.places: list[Endpoint] = []
        self.asked: list[dict[str, Any]] = []

    def __call__(self, place: Endpoint) -> Recording:
        self.places.append(place)
        return self

    def assume_role(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {"Credentials": {"SecretAccessKey": "wider-secret"}}

    def attempt(self, what: str, keys: S3Credentials, call: Call, *, grant: str) -> Attempt:
        assert keys is KEYS
        assert call(self) is None
        return Attempt(what, Outcome.DONE, "allowed", grant)


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Recording:
    monkeypatch.setattr(assume_again, "TokenService", made := Recording())
    return made


def asked(network: dict[str, Any], **credentials: Any) -> Attempt:
    role = {"mode": "iam_role", "role_arn": ROLE, "credential_source": "environment", **credentials}
    lake = {"region": "eu-west-1", "locations": ["s3://lake/"], "credentials": role}
    config = {"version": 1, "environment": "test", "network": network, "storage": {"lake": lake}}
    with Broker.from_config(config) as broker:
        profile: Any = broker.profile("storage", "lake")
        return assume_again.assume_again("again", profile, KEYS, replace(broker.network, ca_file="/ca.pem"), grant="read")


def test_the_regional_sts_is_asked_without_a_policy(sts: Recording) -> None:
    assert asked({}) == Attempt("again", Outcome.DONE, "allowed", "read")
    url = "https://sts.eu-west-1.amazonaws.com/"
    assert sts.places == [Endpoint(url, "eu-west-1", virtual=False, proxy=None, ca_file="/ca.pem")]
    assert sts.asked == [ASKED]


def test_the_profiles_own_sts_is_asked_the_way_the_network_section_says(sts: Recording) -> None:
    network = {"proxy": "http://proxy:3128", "allowed_hosts": ["sts.us-east-2.amazonaws.com"]}
    asked(network, sts_endpoint="https://sts.us-east-2.amazonaws.com/", external_id="between-two")
    (place,) = sts.places
    assert (place.url, place.region) == ("https://sts.us-east-2.amazonaws.com/", "us-east-2")
    assert place.proxy == "http://proxy:3128"
    assert sts.asked == [{**ASKED, "ExternalId": "between-two"}]


def test_an_sts_that_is_not_among_the_allowed_hosts_is_not_asked(sts: Recording) -> None:
    with pytest.raises(ConfigurationError, match=r"'sts.eu-west-1.amazonaws.com' is not in network"):
        asked({"allowed_hosts": ["s3.eu-west-1.amazonaws.com"]})
    assert sts.places == []
