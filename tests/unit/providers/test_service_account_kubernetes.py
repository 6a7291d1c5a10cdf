"""``service_account`` on Kubernetes: the token in the file is handed out until its end, and the wrong one never."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.servers.cluster import projected_token
from tests.unit.providers.fake_issuer import NOW, Files

from credbroker import Broker
from credbroker.context import Context
from credbroker.credentials import AccessToken
from credbroker.errors import ConfigurationError, CredbrokerError, InsufficientLifetime, SecretNotFound
from credbroker.profile import CatalogProfile, ComputeProfile, CredentialSettings, SubjectToken
from credbroker.providers.service_account import ServiceAccountProvider
from credbroker.request import CredentialRequest
from credbroker.testing import ManualClock

PATH = "/var/run/secrets/tokens/lakekeeper"
SETTINGS = CredentialSettings(
    mode="service_account", platform="kubernetes", subject_token=SubjectToken(file=PATH), audience="lakekeeper"
)
REQUEST = CredentialRequest(kind="catalog", profile="lake")
HOUR = timedelta(hours=1)


def issued(content: str | None, *, at: datetime = NOW, request: CredentialRequest = REQUEST, **settings: Any) -> AccessToken:
    files = Files({} if content is None else {PATH: content})
    profile = CatalogProfile(name="lake", credentials=replace(SETTINGS, **settings))
    value = ServiceAccountProvider().issue(request, Context(clock=ManualClock(at), environment=files, profile=profile))
    assert isinstance(value, AccessToken)
    return value


def fault(content: str | None, error: type[CredbrokerError], **how: Any) -> str:
    with pytest.raises(error) as caught:
        issued(content, **how)
    assert type(caught.value) is error
    assert PATH in str(caught.value) or "subject_token.file" in str(caught.value)
    for part in (content or "").strip().split("."):
        assert len(part) < 12 or part not in str(caught.value)
    return str(caught.value)


# -- what is handed out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_token_in_the_file_is_the_bearer_until_its_own_end(end: str) -> None:
    token = projected_token("lakekeeper", now=NOW)
    value = issued(token + end, at=NOW + timedelta(minutes=5))
    assert value.authorization_header() == f"Bearer {token}"
    assert value.expires_at == NOW + HOUR
    assert value.scopes == frozenset()


def test_a_profile_of_compute_has_it_too() -> None:
    files = Files({PATH: projected_token("lakekeeper", now=NOW)})
    profile = ComputeProfile(name="trino", type="trino", credentials=SETTINGS)
    context = Context(clock=ManualClock(NOW), environment=files, profile=profile)
    value = ServiceAccountProvider().issue(CredentialRequest(kind="compute", profile="trino"), context)
    assert value.expires_at == NOW + HOUR


@pytest.mark.parametrize("audience", ["lakekeeper", ["lakekeeper"], ["other", "lakekeeper"]])
def test_one_of_its_audiences_is_enough(audience: object) -> None:
    issued(projected_token("-", now=NOW, aud=audience))


def test_the_caller_may_name_the_audience_where_the_profile_does_not() -> None:
    issued(projected_token("lakekeeper", now=NOW), audience=None, request=replace(REQUEST, audience="lakekeeper"))


def test_its_life_is_never_longer_than_it_was_made_for() -> None:
    # The cluster's clock is half a minute ahead of ours, or ours behind: by it the token would live half a minute too long.
    value = issued(projected_token("lakekeeper", now=NOW), at=NOW - timedelta(seconds=30))
    assert value.expires_at == NOW - timedelta(seconds=30) + HOUR


def test_a_token_that_does_not_say_since_when_it_is_good_ends_all_the_same() -> None:
    assert issued(projected_token("lakekeeper", now=NOW, iat=None, nbf=None)).expires_at == NOW + HOUR


# -- what is not -----------------------------------------------------------------------------------------------------------


WHOLE = projected_token("lakekeeper", now=NOW)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "could not be read: no such file"),
        ("", "is empty"),
        ("\n", "is empty"),
        (WHOLE[:100], "holds no whole JWT"),
        (WHOLE.rpartition(".")[0], "holds no whole JWT"),
        (WHOLE.rpartition(".")[0] + ".", "holds no whole JWT"),
        (WHOLE.split(".")[0] + ".eyJhdWQiOlsi." + WHOLE.split(".")[2], "holds no whole JWT"),
        ("an-opaque-token", "holds no whole JWT"),
        (WHOLE + "\n" + WHOLE, "holds no token of visible ASCII"),
        ("\x00" * 40, "holds no token of visible ASCII"),
    ],
)
def test_a_file_without_a_whole_token_is_named(content: str | None, why: str) -> None:
    assert why in fault(content, SecretNotFound)


@pytest.mark.parametrize(
    ("late", "how_long"), [(timedelta(), "0 s"), (timedelta(seconds=90), "90 s"), (timedelta(hours=1), "60 min")]
)
def test_a_token_that_is_over_is_not_handed_out(late: timedelta, how_long: str) -> None:
    text = fault(WHOLE, InsufficientLifetime, at=NOW + HOUR + late)
    assert f"ended {how_long} ago by this machine's clock" in text
    assert "kubelet" in text
    assert "whether the clock is right" in text


def test_a_clock_an_hour_ahead_is_suspected() -> None:
    assert "60 min ago by this machine's clock" in fault(WHOLE, InsufficientLifetime, at=NOW + 2 * HOUR)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_clock_an_hour_behind_is_told_of(claim: str) -> None:
    other = {"iat": "nbf", "nbf": "iat"}[claim]
    text = fault(projected_token("lakekeeper", now=NOW, **{other: None}), InsufficientLifetime, at=NOW - HOUR)
    assert "begins in 60 min by this machine's clock, which must be behind the cluster's: correct it" in text


@pytest.mark.parametrize("how", [{"audience": "trino"}, {"audience": None, "request": replace(REQUEST, audience="trino")}])
def test_a_token_for_another_audience_is_the_volume_s_fault(how: dict[str, Any]) -> None:
    text = fault(projected_token("https://kubernetes.default.svc", now=NOW), ConfigurationError, **how)
    assert "is not for the audience 'trino' (a pod's default one is for the API server alone)" in text
    assert "set 'audience' of the pod's serviceAccountToken volume to it" in text


@pytest.mark.parametrize("end", [None, "never", True])
def test_a_token_that_never_ends_is_refused(end: object) -> None:
    assert "without an end" in fault(projected_token("lakekeeper", now=NOW, exp=end), ConfigurationError)


def test_an_encrypted_token_says_no_end() -> None:
    assert "without an end" in fault("e30.a.b.c.d", ConfigurationError)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), IsADirectoryError(21, "Is a directory")])
def test_a_file_that_may_not_be_read_says_why(error: OSError) -> None:
    class Closed(Files):
        def read(self, path: str, *, within: str | None = None) -> bytes:
            raise error

    profile = CatalogProfile(name="lake", credentials=SETTINGS)
    context = Context(clock=ManualClock(NOW), environment=Closed({}), profile=profile)
    with pytest.raises(SecretNotFound, match=f"could not be read: {(error.strerror or '').lower()}"):
        ServiceAccountProvider().issue(REQUEST, context)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"subject_token": None}, r"subject_token\.file is missing: name the file"),
        ({"subject_token": SubjectToken(profile=("catalog", "idp"))}, r"subject_token\.file is missing"),
        ({"subject_token": SubjectToken(file=PATH, profile=("catalog", "idp"))}, "exactly one of"),
        ({"subject_token": SubjectToken(file=PATH, url="http://169.254.169.254/")}, "exactly one of"),
        ({"audience": None}, r"credentials\.audience is missing: name whom the token is for, as 'audience' of the pod's"),
        ({"audience": ""}, r"credentials\.audience is missing"),
        ({"scope": "read"}, r"credentials\.scope is not used by platform 'kubernetes'"),
    ],
)
def test_settings_that_cannot_work_are_named_when_the_handle_is_made(settings: dict[str, Any], why: str) -> None:
    profile = CatalogProfile(name="lake", credentials=replace(SETTINGS, **settings))
    with pytest.raises(ConfigurationError, match=why):
        ServiceAccountProvider().plan(REQUEST, profile)


def test_an_empty_audience_of_the_caller_s_is_none() -> None:
    profile = CatalogProfile(name="lake", credentials=replace(SETTINGS, audience=None))
    with pytest.raises(ConfigurationError, match=r"credentials\.audience is missing"):
        ServiceAccountProvider().plan(replace(REQUEST, audience=""), profile)


# -- a day with the kubelet ------------------------------------------------------------------------------------------------


class Kubelet(Files):
    """A file that is replaced when 80 % of its token's life are over, and how often it was read."""

    def __init__(self, clock: ManualClock, *, stops_after: timedelta | None = None) -> None:
        super().__init__({})
        self.clock = clock
        self.reads = 0
        self.made = NOW
        self._token = projected_token("lakekeeper", now=NOW)
        self._last = None if stops_after is None else NOW + stops_after

    def read(self, path: str, *, within: str | None = None) -> bytes:
        self.reads += 1
        now = self.clock.now()
        while now >= self.made + 0.8 * HOUR and (self._last is None or self.made + 0.8 * HOUR <= self._last):
            self.made += 0.8 * HOUR
            self._token = projected_token("lakekeeper", now=self.made)
        return self._token.encode()


def broker_on(kubelet: Kubelet) -> Broker:
    block = {"mode": "service_account", "platform": "kubernetes", "subject_token": {"file": PATH}, "audience": "lakekeeper"}
    config = {"environment": "development", "catalogs": {"lake": {"uri": "https://lake.example", "credentials": block}}}
    return Broker.from_config(config, context=Context(clock=kubelet.clock, environment=kubelet))


def test_over_a_day_no_token_that_is_over_is_handed_out_and_none_is_asked_for_in_a_storm() -> None:
    clock = ManualClock(NOW)
    kubelet = Kubelet(clock)
    tokens: set[str] = set()
    with broker_on(kubelet) as broker:
        source = broker.catalog("lake")
        for _ in range(24 * 3600):
            value = source.get(wait=True)
            assert value.expires_at is not None
            assert value.expires_at > clock.now()
            tokens.add(value.fingerprint)
            clock.advance(1)
    # The engine asks from three quarters of a life on, the kubelet writes at four fifths: in between the same token comes,
    # and is asked for again at growing distances, half a minute at most.
    assert len(tokens) == 30
    assert kubelet.reads <= 30 * 20


def test_a_kubelet_that_stops_is_noticed_at_the_token_s_end_and_not_before() -> None:
    clock = ManualClock(NOW)
    kubelet = Kubelet(clock, stops_after=timedelta())
    with broker_on(kubelet) as broker:
        source = broker.catalog("lake")
        while clock.now() < NOW + HOUR - timedelta(seconds=20):
            source.get(wait=True)
            clock.advance(1)
        reads = kubelet.reads
        clock.advance(20)
        for _ in range(600):
            with pytest.raises(InsufficientLifetime, match=r"over on arrival|ended .* ago by this machine's clock"):
                source.get()
            clock.advance(1)
        assert reads <= 70
        assert kubelet.reads - reads <= 40
