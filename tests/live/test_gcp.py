"""``service_account`` on Google Cloud, through the public API, against a server that checks each as Google states it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest
from tests.servers.google import Google
from tests.servers.google_cloud import SCOPE
from tests.servers.google_world import PREFIXES, World, google_world, over
from tests.servers.strict import Answer

from credbroker import Broker, SecretReference
from credbroker.context import Context
from credbroker.credentials import AccessToken, GCSCredentials
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)
from credbroker.secrets.gcp import SecretManagerBackend
from credbroker.secrets.resolver import Resolver
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.system.environment import SystemEnvironment
from credbroker.testing import ManualClock, tick

STS, IAM, KEYS, METADATA = (
    "sts.googleapis.com",
    "iamcredentials.googleapis.com",
    "oauth2.googleapis.com",
    "169.254.169.254",
)
TYPED = ("file", "secret", "url", "field", "profile")
SOURCES = ("key", "metadata", "aws", *TYPED)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with google_world(tmp_path, ManualClock(datetime.now(UTC)), monkeypatch) as made:
        yield made


def _lake(broker: Broker, prefix: str = PREFIXES[0], access: Any = "read") -> Any:
    return broker.storage("lake", prefix, access=access)


def _refused(kind: type[CredbrokerError], act: Callable[[], Any]) -> CredbrokerError:
    with pytest.raises(CredbrokerError) as caught:
        act()
    assert type(caught.value) is kind, repr(caught.value)
    return caught.value


def _settled(broker: Broker) -> None:
    """Wait until nothing is being issued: a clock that is moved by hand would run on under it."""
    patience, poll = monotonic() + 10, Event()
    while broker._brokerage.engine._running:
        assert monotonic() < patience
        poll.wait(0.001)


def _sources_requests(source: str) -> tuple[str, ...]:
    """Which of Google's hosts are asked for the identity's own token."""
    return {"key": (KEYS,), "metadata": (METADATA,)}.get(source, (STS,))


# ----------------------------------------------------------------------------------------------- every source x storage


@pytest.mark.parametrize("impersonating", [False, True], ids=["itself", "impersonating"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_prefix_gets_exactly_its_boundary_by_every_identity(world: World, source: str, impersonating: bool) -> None:
    more = {"service_account": world.google.email} if impersonating else {}
    with world.broker(world.settings(source, **more)) as broker:
        handle = _lake(broker, access="read_write")
        planned = handle.explain()
        value = handle.get()
    assert isinstance(value, GCSCredentials)
    assert world.google.boundaries == [planned.policy]
    issued = world.of(value.access_token.get_secret_value())
    assert issued.boundary == planned.policy
    whom = {"key": world.google.email, "metadata": world.google.attached}
    expected = world.google.email if impersonating else whom.get(source, f"principal:{world.google.audience}")
    assert issued.principal.startswith(expected)
    assert (value.locations, value.access) == (planned.locations, planned.access)
    assert value.expires_at is not None
    assert timedelta(minutes=59) < value.expires_at - world.clock.now() <= timedelta(hours=1)
    hosts = [*_sources_requests(source), *([IAM] if impersonating else []), STS]
    assert [call.split("/")[1] for call in world.google.calls] == hosts


@pytest.mark.parametrize("source", ["key", "metadata", "file"])
def test_three_prefixes_cost_one_source_token_and_three_exchanges(world: World, source: str) -> None:
    with world.broker(world.settings(source)) as broker:
        values = {_lake(broker, prefix).get().access_token.get_secret_value() for prefix in PREFIXES}
        for prefix in PREFIXES:
            _lake(broker, prefix).get()
    assert len(values) == 3
    assert len(world.google.calls) == 1 + 3
    assert len({json.dumps(boundary) for boundary in world.google.boundaries}) == 3


def test_each_refresh_renews_what_is_due_and_the_file_is_read_afresh(world: World) -> None:
    with world.broker(world.settings("file")) as broker:
        handles = [_lake(broker, prefix) for prefix in PREFIXES]
        first = {handle.get().fingerprint for handle in handles}
        assert len(world.google.calls) == 1 + 3
        world.clock.advance(3590)  # past the end of all of them
        world.write(world.google.pod_token(sub="system:serviceaccount:data:other"))
        second = [handle.get() for handle in handles]
        assert len(world.google.calls) == 2 * (1 + 3)
        assert not first & {value.fingerprint for value in second}
        assert {world.of(value.access_token.get_secret_value()).principal.rpartition("/")[2] for value in second} == {
            "system:serviceaccount:data:other"
        }


def test_in_the_refresh_window_the_held_values_serve_while_both_are_renewed(world: World) -> None:
    with world.broker(world.settings("key")) as broker:
        handle = _lake(broker)
        before = handle.get()
        world.clock.advance(2700)
        handle.get(wait=True)  # of the source that is still good, which is renewed meanwhile
        _settled(broker)
        world.clock.advance(750)
        after = handle.get(wait=True)
        assert after.expires_at is not None
        assert before.expires_at is not None
        assert after.expires_at - before.expires_at > timedelta(minutes=40)
    assert world.google.to(KEYS) == 2
    assert world.google.to(STS) == 3


def test_a_narrowed_token_without_a_stated_life_ends_with_its_source(world: World) -> None:
    world.google.states_life = False
    with world.broker(world.settings("metadata")) as broker:
        first = _lake(broker).get()
        world.clock.advance(600)
        second = _lake(broker, PREFIXES[1]).get()
    assert first.expires_at == second.expires_at


def test_a_source_that_was_revoked_is_replaced_once(world: World) -> None:
    with world.broker(world.settings("key")) as broker:
        _lake(broker).get()
        world.google.revoke()
        value = _lake(broker, PREFIXES[1]).get()
        assert world.of(value.access_token.get_secret_value()).principal == world.google.email
        assert [call.split("/")[1] for call in world.google.calls] == [KEYS, STS, STS, KEYS, STS]
        # The next prefix finds the new one.
        _lake(broker, PREFIXES[2]).get()
        assert len(world.google.calls) == 6


def test_a_source_whose_replacement_is_refused_too_is_an_error_and_no_storm(world: World) -> None:
    world.google.sticky = True
    with world.broker(world.settings("metadata")) as broker:
        _lake(broker).get()
        world.google.instead[STS] = Answer(400, {"error": "invalid_grant", "error_description": "canary"})
        error = _refused(IssueDenied, _lake(broker, PREFIXES[1]).get)
        assert isinstance(error, IssueDenied)
        assert not error.grant_denied
        assert "the base identity's own token is not accepted" in str(error)
        assert len(world.google.calls) == 2 + 3  # refused, asked for another one, refused
        for _ in range(50):
            _refused(IssueDenied, _lake(broker, PREFIXES[1]).get)
        assert len(world.google.calls) == 5
        _refused(IssueDenied, _lake(broker, PREFIXES[2]).get)
        assert len(world.google.calls) == 6  # the source was replaced a moment ago


# --------------------------------------------------------------------------------------------------- catalogs and compute


@pytest.mark.parametrize("source", SOURCES)
def test_a_catalog_and_compute_get_a_token_of_the_same_identity(world: World, source: str) -> None:
    with world.broker(world.settings(source)) as broker:
        for value in (broker.catalog("biglake").get(), broker.compute("bigquery").get()):
            assert isinstance(value, AccessToken)
            issued = world.of(value.value.get_secret_value())
            assert (issued.scope, issued.boundary) == (SCOPE, None)
    assert len(world.google.calls) == 2


@pytest.mark.parametrize("source", ["key", "metadata", "file"])
@pytest.mark.parametrize("impersonating", [False, True])
def test_the_scope_that_is_configured_is_the_one_that_is_asked_for(world: World, source: str, impersonating: bool) -> None:
    scope = "https://www.googleapis.com/auth/bigquery https://www.googleapis.com/auth/devstorage.read_only"
    more = {"service_account": world.google.email} if impersonating else {}
    with world.broker(world.settings(source, scope=scope, **more)) as broker:
        value = broker.compute("bigquery").get()
    assert isinstance(value, AccessToken)
    assert world.of(value.value.get_secret_value()).scope == scope
    if impersonating:
        assert {issued.scope for issued in world.google.tokens.values()} == {SCOPE, scope}


# ---------------------------------------------------------------------------------------------------------- impersonation


def test_the_chain_of_delegates_and_the_life_that_is_asked_for(world: World) -> None:
    chain = ["a@lab.iam.gserviceaccount.com", "b@lab.iam.gserviceaccount.com"]
    world.google.may_impersonate = {(*chain, world.google.email)}
    block = world.settings("metadata", service_account=world.google.email, delegates=chain)
    with world.broker(block, max_ttl="20m") as broker:
        value = _lake(broker).get()
    (asked,) = [asked for asked in world.google.asked if asked.url.path.endswith(":generateAccessToken")]
    assert json.loads(asked.body) == {
        "scope": [SCOPE],
        "lifetime": "1200s",
        "delegates": [f"projects/-/serviceAccounts/{one}" for one in chain],
    }
    assert value.expires_at is not None
    assert timedelta(minutes=19) < value.expires_at - world.clock.now() <= timedelta(minutes=20)


def test_more_than_an_hour_is_never_asked_for(world: World) -> None:
    with world.broker(world.settings("metadata", service_account=world.google.email), max_ttl="8h") as broker:
        _lake(broker).get()
    (asked,) = [asked for asked in world.google.asked if asked.url.path.endswith(":generateAccessToken")]
    assert json.loads(asked.body)["lifetime"] == "3600s"


def test_who_may_not_impersonate_is_told_which_role_on_which_account(world: World) -> None:
    world.google.may_impersonate = set()
    with world.broker(world.settings("file", service_account=world.google.email)) as broker:
        error = _refused(IssueDenied, _lake(broker).get)
        assert isinstance(error, IssueDenied)
        assert error.grant_denied
        for _ in range(20):
            _refused(IssueDenied, _lake(broker).get)
    for words in ("roles/iam.serviceAccountTokenCreator", "credentials.service_account", world.google.email):
        assert words in str(error)
    assert (world.google.to(STS), world.google.to(IAM)) == (1, 1)  # and the base identity's own token is used for nothing


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(429, {"error": {"status": "RESOURCE_EXHAUSTED"}}, {"Retry-After": "7"}), IssuerUnavailable, "429"),
        (Answer(503, b"<html>"), IssuerUnavailable, "503"),
        (Answer(404, {"error": {"status": "NOT_FOUND"}}), IssueDenied, "credentials.service_account"),
        (Answer(400, {"error": {"status": "INVALID_ARGUMENT"}}), ConfigurationError, "credentials.scope"),
        (Answer(401, {"error": {"status": "UNAUTHENTICATED"}}), IssueDenied, "credential_source"),
        (
            Answer(403, {"error": {"status": "PERMISSION_DENIED", "details": [{"reason": "SERVICE_DISABLED"}]}}),
            IssueDenied,
            "enable the API iamcredentials.googleapis.com",
        ),
        (Answer(403, b"<html>canary</html>"), MalformedResponse, "what stands between"),
        (Answer(200, {"accessToken": "x"}), MalformedResponse, "without a token and its end"),
        (Answer(200, {"accessToken": "x", "expireTime": "soon"}), MalformedResponse, "without a token and its end"),
        (Answer(200, {"accessToken": "x", "expireTime": "2020-01-01T00:00:00Z"}), InsufficientLifetime, "clock"),
    ],
)
def test_what_impersonation_answers_has_its_class_and_its_remedy(
    world: World, answer: Answer, kind: type[CredbrokerError], words: str
) -> None:
    world.google.instead[IAM] = answer
    with world.broker(world.settings("metadata", service_account=world.google.email)) as broker:
        error = _refused(kind, _lake(broker).get)
    assert words in str(error)
    assert "canary" not in str(error)
    assert (world.google.to(METADATA), world.google.to(IAM), world.google.to(STS)) == (1, 1, 0)


# ------------------------------------------------------------------------------------------------------------- federation


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda world: setattr(world.google, "pool_disabled", True), "invalid_target: look at credentials.audience"),
        (lambda world: world.write(world.google.pod_token(aud="another")), "its audience ('aud') one that the provider"),
        (
            lambda world: world.write(world.google.pod_token(iss="https://other.example")),
            "its issuer must be the provider's",
        ),
    ],
    ids=["no such pool", "another audience", "another issuer"],
)
def test_a_pool_that_refuses_is_asked_once_and_no_other_identity_is_tried(
    world: World, spoil: Callable[[World], None], words: str
) -> None:
    block = world.settings("file")
    spoil(world)
    with world.broker(block) as broker:
        for _ in range(20):
            error = _refused(IssueDenied, _lake(broker).get)
    assert isinstance(error, IssueDenied)
    assert not error.grant_denied
    assert words in str(error)
    assert [call.split("/")[1] for call in world.google.calls] == [STS]


def test_a_condition_that_rejects_the_subject_judges_the_grant(world: World) -> None:
    world.google.condition_rejects = True
    with world.broker(world.settings("file")) as broker:
        error = _refused(IssueDenied, _lake(broker).get)
    assert isinstance(error, IssueDenied)
    assert error.grant_denied
    assert "attribute condition" in str(error)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (None, SecretNotFound, "could not be read"),
        ("", SecretNotFound, "is empty"),
        (lambda token: token[:60], SecretNotFound, "holds no whole JWT"),
        (lambda token: token[: token.index(".") + 20], SecretNotFound, "holds no whole JWT"),
        (lambda token: token.replace(".", "\n", 1), SecretNotFound, "visible ASCII"),
    ],
    ids=["absent", "empty", "cut in the header", "cut in the claims", "broken"],
)
def test_a_half_written_file_is_named_and_never_sent(
    world: World, text: Any, kind: type[CredbrokerError], words: str
) -> None:
    block = world.settings("file")
    if text is None:
        (world.folder / "token").unlink()
    else:
        world.write(text(world.google.pod_token()) if callable(text) else text)
    with world.broker(block) as broker:
        error = _refused(kind, _lake(broker).get)
        assert words in str(error)
        assert "credentials.subject_token" in str(error)
        assert world.google.calls == []
        # What is whole again is used, as soon as the file is read again.
        world.write(world.google.pod_token())
        world.clock.advance(2)
        assert _lake(broker).get()


def test_an_expired_file_is_not_sent(world: World) -> None:
    block = world.settings("file")
    world.write(world.google.pod_token(exp=int(world.clock.now().timestamp()) - 60))
    with world.broker(block) as broker:
        assert "nothing has replaced it" in str(_refused(InsufficientLifetime, _lake(broker).get))
    assert world.google.calls == []


def test_another_profiles_token_that_the_pool_refuses_is_replaced_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = world.settings("profile")
    monkeypatch.setenv("POD_TOKEN", world.google.pod_token(aud="another"))
    with world.broker(block) as broker:
        broker.compute("other").get()
        monkeypatch.setenv("POD_TOKEN", world.google.pod_token())
        assert _lake(broker).get()
    assert len(world.google.calls) == 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404, b""), CredentialUnavailable),
        (Answer(401, b""), IssueDenied),
        (Answer(503, b""), IssuerUnavailable),
        (Answer(418, b"canary"), MalformedResponse),
        (Answer(200, {"other": "canary"}), MalformedResponse),
        (Answer(200, b"canary canary"), MalformedResponse),
    ],
)
def test_a_url_that_has_no_token_has_its_class_and_nothing_goes_to_google(
    world: World, answer: Answer, kind: type[CredbrokerError]
) -> None:
    world.url.next.append(answer)
    with world.broker(world.settings("url")) as broker:
        error = _refused(kind, _lake(broker).get)
    assert "credentials.subject_token" in str(error)
    assert "canary" not in str(error)
    assert world.google.calls == []
    assert len(world.url.calls) == 1


def test_absent_aws_keys_are_no_reason_to_try_anything_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with world.broker(world.settings("aws")) as broker:
        assert "AWS_ACCESS_KEY_ID" in str(_refused(CredentialUnavailable, _lake(broker).get))
    assert world.google.calls == []


def test_wrong_aws_keys_are_refused_by_google(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with world.broker(world.settings("aws")) as broker:
        assert "invalid_grant" in str(_refused(IssueDenied, _lake(broker).get))
    assert len(world.google.calls) == 1


# ------------------------------------------------------------------------------------------------------------- metadata


def test_the_metadata_server_is_asked_past_the_proxy_with_the_scopes_in_the_query(world: World) -> None:
    with world.broker(world.settings("metadata")) as broker:
        _lake(broker).get()
    asked, exchange = world.http.asked
    assert asked.link_local
    assert not exchange.link_local
    assert asked.url == f"http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token?scopes={SCOPE}"
    assert asked.headers == {"metadata-flavor": "Google"}


@pytest.mark.parametrize("flavor", [None, "AWS"])
def test_an_answer_without_googles_flavor_is_not_googles(world: World, flavor: str | None) -> None:
    world.google.flavor = flavor
    with world.broker(world.settings("metadata")) as broker:
        for _ in range(20):
            error = _refused(CredentialUnavailable, _lake(broker).get)
    assert "is not Google's metadata server" in str(error)
    assert len(world.google.calls) == 1


def test_a_machine_without_an_account_is_told_to_attach_one(world: World) -> None:
    world.google.has_account = False
    with world.broker(world.settings("metadata")) as broker:
        assert "attach one" in str(_refused(CredentialUnavailable, _lake(broker).get))
    assert len(world.google.calls) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(403, IssueDenied), (500, IssuerUnavailable), (429, IssuerUnavailable), (418, MalformedResponse)]
)
def test_what_the_metadata_server_answers_has_its_class(world: World, status: int, kind: type[CredbrokerError]) -> None:
    world.google.next.append(Answer(status, b"canary", {"Metadata-Flavor": "Google"}))
    with world.broker(world.settings("metadata")) as broker:
        error = _refused(kind, _lake(broker).get)
    assert "credential_source: metadata" in str(error)
    assert "canary" not in str(error)
    assert len(world.google.calls) == 1


def test_a_metadata_server_that_is_not_there_is_asked_once_and_named(world: World, free_port: Callable[[], int]) -> None:
    world.http.origins["http://169.254.169.254"] = f"http://127.0.0.1:{free_port()}"
    with world.broker(world.settings("metadata")) as broker:
        for _ in range(20):
            error = _refused(IssuerUnavailable, _lake(broker).get)
    assert "credential_source: metadata" in str(error)
    assert "is this a machine of Google Cloud?" in str(error)
    assert len(world.http.asked) == 1


def test_a_metadata_server_with_nothing_but_its_dying_token_sees_no_storm(world: World) -> None:
    world.google.sticky = True
    with world.broker(world.settings("metadata")) as broker:
        handle = _lake(broker)
        for _ in range(3500):
            handle.get(wait=True)
            tick(broker)
            _settled(broker)
            world.clock.advance(1)
        # One, and in the last quarter of an hour one in 15 to 30 s. The real server has another token before the last of it.
        assert 20 <= world.google.to(METADATA) <= 75
        assert world.google.to(STS) <= 4
        world.clock.advance(120)
        assert handle.get()


# ---------------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("source", "change", "field", "words"),
    [
        ("key", {"credential_source": None}, "credential_source", "is missing: use 'key', 'web_identity' or 'metadata'"),
        ("key", {"credential_source": "imds"}, "credential_source", "which Google Cloud has not"),
        ("key", {"credential_source": "default_chain"}, "credential_source", "which Google Cloud has not"),
        ("key", {"key": None}, "key", "is missing"),
        ("key", {"audience": "x"}, "audience", "is not used with credential_source 'key' here: leave it out"),
        ("key", {"subject_token": {"file": "/x"}}, "subject_token", "is not used with"),
        ("key", {"client_id": "x"}, "client_id", "is not used with"),
        ("key", {"role_arn": "x"}, "role_arn", "is not used with"),
        ("key", {"tenant_id": "x"}, "tenant_id", "is not used with"),
        ("key", {"source_profile": "other"}, "source_profile", "is not used with"),
        ("metadata", {"key": {"secret_ref": "gcp-key"}}, "key", "is not used with"),
        ("metadata", {"audience": "x"}, "audience", "is not used with"),
        ("file", {"key": {"secret_ref": "gcp-key"}}, "key", "is not used with"),
        ("file", {"audience": None}, "audience", "is missing"),
        ("file", {"audience": "https://iam.googleapis.com/projects/1/x"}, "audience", "is no provider"),
        ("file", {"subject_token": None}, "subject_token", "is missing"),
        ("file", {"subject_token": {"file": "/x", "aws": "environment"}}, "subject_token", "must name exactly one"),
        ("file", {"subject_token": {"file": "/x", "field": "y"}}, "subject_token.field", "goes with url only"),
        ("file", {"subject_token": {"url": "http://example.com/x"}}, "subject_token.url", "plain http"),
        ("file", {"subject_token": {"aws": "web_identity"}}, "subject_token.aws", "web_identity"),
        ("file", {"subject_token_type": "urn:x"}, "subject_token_type", "is none that a pool takes"),
        ("aws", {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "subject_token_type", "leave it out"),
        ("key", {"delegates": ["a@lab.iam.gserviceaccount.com"]}, "delegates", "name that"),
        ("key", {"service_account": "../projects/x"}, "service_account", "e-mail address"),
        (
            "key",
            {"service_account": "a@lab.iam.gserviceaccount.com", "delegates": ["b/c"]},
            "delegates",
            "e-mail address",
        ),
    ],
)
def test_settings_that_name_no_identity_or_two_are_refused_by_the_field(
    world: World, source: str, change: dict[str, Any], field: str, words: str
) -> None:
    block = {name: value for name, value in {**world.settings(source), **change}.items() if value is not None}
    with world.broker(block) as broker:
        error = _refused(ConfigurationError, lambda: _lake(broker))
    assert re.search(rf"storage\.lake\.credentials\.{re.escape(field)} ", str(error)), str(error)
    assert words in str(error)
    assert world.google.calls == []


def test_a_link_local_url_may_be_plain_http_and_is_asked_past_the_proxy(world: World) -> None:
    path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://pool"  # a machine of Azure's
    subject = {"url": f"http://169.254.169.254{path}", "headers": {"Metadata": "true"}, "field": "id_token"}
    block = world.settings("field", subject_token=subject)
    world.url.expected = (path, "metadata", "true")
    world.http.origins["http://169.254.169.254"] = world.url.uri
    with world.broker(block) as broker:
        assert _lake(broker).get()
    assert [asked.link_local for asked in world.http.asked] == [True, False, False]


# --------------------------------------------------------------------------------------------- logins of Secret Manager


@pytest.mark.parametrize("method", ["metadata", "web_identity"])
def test_secret_manager_is_logged_in_to_without_a_key(world: World, method: str) -> None:
    world.settings("file")
    more = {"path": str(world.folder / "token"), "audience": world.google.audience} if method == "web_identity" else {}
    with Google() as manager:
        manager.elsewhere = world.google.tokens.__contains__
        manager.add("polaris", "correct horse")
        login = BackendLogin(method=method, **more)
        settings = BackendSettings(type="gcp", project=manager.project, endpoint=manager.uri, auth=login)
        context = Context(http=world.http, clock=world.clock, environment=SystemEnvironment())
        resolver = Resolver([SecretManagerBackend(settings)], context)
        for _ in range(3):
            assert resolver.resolve(SecretReference(secret_ref="polaris")).get_secret_value() == "correct horse"
        assert len(manager.calls) == 3
    assert len(world.google.calls) == 1
    backend = {"type": "gcp", "project": "lab", "auth": {"method": method, **more}}
    with Broker.from_config({"secret_backends": [backend]}) as broker:
        assert broker.status() is not None


def test_a_login_without_its_pool_is_refused_when_it_is_made() -> None:
    login = BackendLogin(method="web_identity", path="/x", audience="my-pool")
    with pytest.raises(ConfigurationError, match=r"secret_backends: auth\.audience is no provider"):
        SecretManagerBackend(BackendSettings(type="gcp", project="lab", auth=login))


# ------------------------------------------------------------------------------------------------------- what is loaded


_PROGRAM = """
import json, sys
from credbroker import Broker
from credbroker.context import Context
from credbroker.secrets.resolver import Resolver, default_backends
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp
from tests.servers.rerouted import Rerouted
config, origins = json.loads(sys.argv[1])
environment = SystemEnvironment()
secrets = Resolver(default_backends(), Context(environment=environment))
context = Context(http=Rerouted(SystemHttp(), origins), environment=environment, secrets=secrets)
with Broker.from_config(config, context=context) as broker:
    broker.storage("lake", "gs://lake/sales/", access="read").get()
print(*{name.partition(".")[0] for name in sys.modules} & {"google", "botocore", "boto3", "azure", "msal"})
"""


@pytest.mark.parametrize(
    ("source", "loaded"), [("key", {"google"}), ("metadata", set()), ("file", set()), ("aws", {"botocore"})]
)
def test_no_sdk_is_loaded_that_the_identity_does_not_need(world: World, source: str, loaded: set[str]) -> None:
    config = world.config(world.settings(source))
    arguments = [sys.executable, "-c", _PROGRAM, json.dumps([config, world.google.origins])]
    ran = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60)
    assert set(ran.stdout.split()) == loaded


# ---------------------------------------------------------------------------------------------------- the SDK's own cost


def test_the_sdk_asks_for_a_source_token_with_every_narrowed_one(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Three prefixes: four requests here, six by ``google.auth.downscoped``, which refreshes its source each time."""
    from google.auth import downscoped
    from google.oauth2 import service_account

    with world.broker(world.settings("key"), real_time=True) as broker:
        plans = [_lake(broker, prefix).explain().policy for prefix in PREFIXES]
        for prefix in PREFIXES:
            _lake(broker, prefix).get()
    ours = len(world.google.calls)
    world.google.asked.clear()
    source = service_account.Credentials.from_service_account_info(json.loads(world.google.key), scopes=[SCOPE])
    for plan in plans:
        rules = [
            downscoped.AccessBoundaryRule(
                rule["availableResource"],
                rule["availablePermissions"],
                downscoped.AvailabilityCondition(rule["availabilityCondition"]["expression"]),
            )
            for rule in plan["accessBoundary"]["accessBoundaryRules"]
        ]
        downscoped.Credentials(source, downscoped.CredentialAccessBoundary(rules)).refresh(over(world.http))
    theirs = len(world.google.calls)
    assert world.google.boundaries[:3] == world.google.boundaries[3:] == plans
    assert (ours, theirs) == (4, 6)
