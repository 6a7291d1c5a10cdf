from __future__ import annotations

import copy
import json
import logging
import pickle
import queue
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from credbroker import AccessToken, Broker
from credbroker.context import Context, HttpRequest
from credbroker.errors import BrokerClosed, ConfigurationError, IssuerUnavailable
from credbroker.providers.oauth2 import OAuth2Provider
from credbroker.request import CredentialRequest
from credbroker.testing import ControlledProvider, FakeHttp, ManualClock

CONFIG: dict[str, Any] = {
    "environment": "local",
    "principal": "svc",
    "catalogs": {
        "a": {"uri": "https://a.example", "credentials": {"mode": "oauth2", "scope": "one two"}},
        "b": {"uri": "https://b.example", "credentials": {"mode": "oauth2", "scope": "one"}},
    },
}


def changed(*path: str, to: object) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    place = config
    for step in path[:-1]:
        place = place.setdefault(step, {})
    place[path[-1]] = to
    return config


def broker_of(config: dict[str, Any], provider: ControlledProvider, clock: ManualClock | None = None) -> Broker:
    return Broker.from_config(config, providers={"oauth2": provider}, context=Context(clock=clock or ManualClock()))


def text(token: AccessToken) -> str:
    return token.value.get_secret_value()


def test_a_profile_that_says_the_same_keeps_its_value_and_one_that_was_changed_gets_a_new_one() -> None:
    issuer = ControlledProvider()
    with broker_of(CONFIG, issuer) as broker:
        kept, replaced = broker.catalog("a"), broker.catalog("b")
        assert (text(kept.get()), text(replaced.get())) == ("token-1", "token-2")
        broker.reload(changed("catalogs", "b", "credentials", "scope", to="three"))
        assert (text(kept.get()), text(replaced.get())) == ("token-1", "token-3")
        assert issuer.calls == 3
        assert broker.profile("catalog", "b").credentials.scope == "three"  # type: ignore[union-attr]


def test_a_withdrawn_profile_drops_its_values_and_its_sources_say_so() -> None:
    issuer = ControlledProvider()
    with broker_of(CONFIG, issuer) as broker:
        source = broker.catalog("b")
        source.get()
        broker.reload({**CONFIG, "catalogs": {"a": CONFIG["catalogs"]["a"]}})
        assert broker.status() == []
        with pytest.raises(ConfigurationError, match="no profile 'b' under catalogs; there are: a"):
            source.get()
        with pytest.raises(ConfigurationError, match="no profile 'b'"):
            broker.catalog("b").get()


def test_narrower_limits_hold_for_sources_that_were_made_before() -> None:
    with broker_of(CONFIG, ControlledProvider()) as broker:
        wide = broker.catalog("a", scope="two")
        wide.get()
        broker.reload(changed("catalogs", "a", "credentials", "scope", to="one"))
        with pytest.raises(Exception, match="scope 'two' is not among the profile's") as caught:
            wide.get()
        assert type(caught.value).__name__ == "AccessDenied"


def test_another_principal_gets_credentials_of_its_own() -> None:
    issuer = ControlledProvider()
    with broker_of(CONFIG, issuer) as broker:
        broker.catalog("a").get()
        broker.reload(changed("principal", to="other"))
        broker.catalog("a").get()
        assert [request.principal for request in issuer.requests] == ["svc", "other"]


def test_a_profile_whose_subject_is_another_profiles_token_follows_that_one() -> None:
    exchange = {"mode": "oauth2", "grant_type": "token-exchange", "subject_token": {"profile": "a"}}
    config = changed("catalogs", "b", "credentials", to=exchange)
    issuer = ControlledProvider()
    with broker_of(config, issuer) as broker:
        source = broker.catalog("b")
        assert text(source.get()) == "token-1"
        other = copy.deepcopy(config)
        other["catalogs"]["a"]["credentials"]["scope"] = "one"
        broker.reload(other)
        assert text(source.get()) == "token-2"


def test_a_profile_whose_provider_holds_a_base_moves_to_a_mode_that_has_none() -> None:
    def made(number: int, request: CredentialRequest, context: Context) -> AccessToken:
        if request.base is None:
            context.base("source")
        return AccessToken(value=SecretStr(f"google-{number}"), expires_at=context.clock.now() + timedelta(hours=1))

    google = {"mode": "service_account", "credential_source": "metadata"}
    aws = {"mode": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/c", "credential_source": "environment"}
    before = {
        "environment": "local",
        "storage": {"lake": {"type": "gcs", "locations": ["gs://lake/"], "credentials": google}},
    }
    after = {
        "environment": "local",
        "storage": {"lake": {"region": "eu-west-1", "locations": ["s3://lake/"], "credentials": aws}},
    }
    providers = {"service_account": ControlledProvider(answer=made)}
    with Broker.from_config(before, providers=providers, context=Context(clock=ManualClock())) as broker:
        broker.storage("lake").get()
        assert [entry["base"] for entry in broker.status()].count("source") == 1
        broker.reload(after)
        assert broker.status() == []


def test_a_bad_configuration_changes_nothing_and_its_literal_is_in_no_traceback() -> None:
    issuer = ControlledProvider()
    with broker_of(CONFIG, issuer) as broker:
        source = broker.catalog("a")
        source.get()
        with pytest.raises(ConfigurationError) as caught:
            broker.reload(changed("catalogs", "a", "credentials", "client_secret", to="hunter2"))
        frames = [frame.frame.f_locals for frame in caught.traceback if "/credbroker/" in str(frame.path)]
        assert "hunter2" not in str(caught.value) + str(frames)
        source.get()
        assert issuer.calls == 1


OAUTH2: dict[str, Any] = {
    "mode": "oauth2",
    "client_id": "svc",
    "client_secret": {"secret_ref": "s"},
    "token_url": "https://issuer.example/token",
}


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ({**OAUTH2, "token_endpoint_auth_method": "private_key_jwt"}, "private_key is missing"),
        ({**OAUTH2, "token_url": "http://issuer.example/token"}, "plain http"),
        ({"mode": "oauth2"}, "client_id is missing"),
    ],
)
def test_a_profile_that_could_not_issue_any_more_is_refused_and_the_job_keeps_its_token(
    block: dict[str, Any], fault: str
) -> None:
    sent = 0

    class Issuing(OAuth2Provider):
        def issue(self, request: CredentialRequest, context: Context) -> AccessToken:
            nonlocal sent
            sent += 1
            return AccessToken(SecretStr(f"token-{sent}"), expires_at=context.clock.now() + timedelta(hours=1))

    with Broker.from_config(
        changed("catalogs", "a", "credentials", to=OAUTH2),
        providers={"oauth2": Issuing()},
        context=Context(clock=ManualClock()),
    ) as broker:
        source = broker.catalog("a")
        source.get()
        with pytest.raises(ConfigurationError, match=fault):
            broker.reload(changed("catalogs", "a", "credentials", to=block))
        assert text(source.get()) == "token-1"
        assert broker.profile("catalog", "a").credentials.client_id == "svc"  # type: ignore[union-attr]


def test_a_secret_backend_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(json.dumps({"environment": "local"}))
    with Broker.from_yaml(path) as broker:
        backends = [{"type": "env"}, {"type": "vault", "address": "https://vault.example"}]
        path.write_text(json.dumps({"environment": "local", "secret_backends": backends}))
        with pytest.raises(ConfigurationError, match="auth is missing: a backend of type 'vault' needs it"):
            broker.reload()
        backends[1]["auth"] = {"method": "token", "token": {"secret_ref": "t"}}  # type: ignore[assignment]
        path.write_text(json.dumps({"environment": "local", "secret_backends": backends}))
        broker.reload()
        assert len(broker._brokerage.platform.secret_backends) == 2


def test_what_went_wrong_before_is_forgotten() -> None:
    clock, issuer = ManualClock(), ControlledProvider()
    with broker_of(CONFIG, issuer, clock) as broker:
        issuer.fail_with(IssuerUnavailable("down"))
        source = broker.catalog("a")
        for _ in range(3):
            with pytest.raises(IssuerUnavailable):
                source.get()
        assert issuer.calls == 1
        issuer.fail_with(None)
        broker.reload(CONFIG)
        assert text(source.get()) == "token-2"


def test_an_issue_that_was_under_way_for_the_old_settings_is_never_held() -> None:
    issuer = ControlledProvider()
    with broker_of(CONFIG, issuer) as broker:
        source = broker.catalog("b")
        issuer.hold()
        got: list[str] = []
        waiting = threading.Thread(target=lambda: got.append(text(source.get())))
        waiting.start()
        issuer.wait_for_calls(1)
        broker.reload(changed("catalogs", "b", "credentials", "scope", to="three"))
        issuer.release()
        waiting.join(10)
        assert got == ["token-2"]


def test_a_flight_of_before_gets_and_sends_nothing_any_more() -> None:
    """Its old issuer, which is being replaced because it is not trusted, must not be sent what the new one gives."""
    reloaded, asked, ended = threading.Event(), threading.Event(), threading.Event()
    sent: list[str] = []

    class Old:
        def issue(self, request: CredentialRequest, context: Context) -> AccessToken:
            if request.profile == "a":
                return AccessToken(SecretStr("token-of-a"), expires_at=context.clock.now() + timedelta(hours=1))
            if not reloaded.is_set():
                asked.set()
                assert reloaded.wait(10)
                try:
                    sent.append("asked")
                    subject = context.get(CredentialRequest("catalog", "a"))
                    context.send(HttpRequest("POST", "https://old.example", {}, repr(subject).encode()))
                    sent.append("sent")
                finally:
                    ended.set()
            return AccessToken(SecretStr("new"), expires_at=context.clock.now() + timedelta(hours=1))

    http = FakeHttp()
    context = Context(clock=ManualClock(), http=http)
    with Broker.from_config(CONFIG, providers={"oauth2": Old()}, context=context) as broker:  # type: ignore[dict-item]
        source = broker.catalog("b")
        got: list[str] = []
        waiting = threading.Thread(target=lambda: got.append(text(source.get())))
        waiting.start()
        assert asked.wait(10)
        broker.reload(changed("catalogs", "b", "uri", to="https://other.example"))
        reloaded.set()
        waiting.join(10)
        assert ended.wait(10)  # in a thread of its own, for which nobody waits any more
    assert (got, sent, http.requests) == (["new"], ["asked"], [])


def test_a_listener_is_never_told_of_a_value_that_was_replaced_meanwhile() -> None:
    issuer = ControlledProvider()
    with broker_of(CONFIG, issuer) as broker:
        source = broker.catalog("b")
        told: queue.Queue[str] = queue.Queue()
        reloaded = threading.Event()

        def slow(value: AccessToken) -> None:
            if text(value) == "token-1":
                broker.reload(changed("catalogs", "b", "credentials", "scope", to="three"))
                reloaded.set()

        source.on_refresh(slow)
        source.on_refresh(lambda value: told.put(text(value)))
        source.get()
        assert reloaded.wait(10)
        source.get()
        assert told.get(timeout=10) == "token-2"
        assert told.empty()


def test_many_threads_and_many_reloads_never_serve_what_the_last_configuration_does_not_say() -> None:
    issuer = ControlledProvider(answer=None)
    configs = [changed("catalogs", "b", "credentials", "scope", to=scope) for scope in ("one", "three")]
    seen: list[BaseException] = []
    with broker_of(configs[0], issuer) as broker:
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                try:
                    broker.catalog("b").get()
                except BaseException as error:
                    seen.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(60):
            broker.reload(configs[number % 2])
        stop.set()
        for thread in threads:
            thread.join(10)
        assert seen == []
        # One key is left, of the configuration that came last: a slot of any other would be refreshed for ever.
        broker.catalog("b").get()
        keys = {slot.key for slot in broker._brokerage.engine.slots()}
        assert keys == {broker._brokerage.slot(broker.catalog("b").request).key}


def test_files_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(json.dumps({"environment": "local", "catalogs": {"a": {"credentials": {"secret_ref": "one"}}}}))
    with Broker.from_yaml(path) as broker:
        before = broker._brokerage.reference
        path.write_text("catalogs: [")
        with pytest.raises(ConfigurationError, match=r"platform\.yaml"):
            broker.reload()
        assert broker.profile("catalog", "a").credentials.secret_ref.secret_ref == "one"  # type: ignore[union-attr]
        path.write_text(json.dumps({"environment": "local", "catalogs": {"a": {"credentials": {"secret_ref": "two"}}}}))
        broker.reload()
        assert broker.profile("catalog", "a").credentials.secret_ref.secret_ref == "two"  # type: ignore[union-attr]
        after = broker._brokerage.reference
        assert after.fingerprint != before.fingerprint
        assert (after.token, after.paths) == (before.token, before.paths)
        assert pickle.loads(pickle.dumps(broker))._brokerage is broker._brokerage


def test_the_bindings_of_the_sidecar_are_reloaded_and_no_value_is_dropped_for_them() -> None:
    issuer = ControlledProvider()
    with broker_of(CONFIG, issuer) as broker:
        assert broker.sidecar is None
        source = broker.catalog("a")
        assert text(source.get()) == "token-1"
        fingerprint = broker._brokerage.reference.fingerprint
        binding = {"catalog": "a", "scope": "one", "protocols": ["oauth2-token"]}
        broker.reload(changed("sidecar", to={"bindings": {"a": binding}}))
        served = broker.sidecar
        assert served is not None
        assert served.bindings["a"].scope == "one"
        assert (text(source.get()), issuer.calls) == ("token-1", 1)
        assert broker._brokerage.reference.fingerprint == fingerprint
        with pytest.raises(ConfigurationError, match="goes beyond the profile's scope"):
            broker.reload(changed("sidecar", to={"bindings": {"a": {**binding, "scope": "three"}}}))
        assert broker.sidecar is served


def test_a_broker_of_no_file_must_be_told_what_to_reload() -> None:
    with broker_of(CONFIG, ControlledProvider()) as broker, pytest.raises(ConfigurationError, match="made from no file"):
        broker.reload()


def test_a_closed_broker_reloads_nothing() -> None:
    broker = broker_of(CONFIG, ControlledProvider())
    broker.close()
    with pytest.raises(BrokerClosed):
        broker.reload(CONFIG)


def test_the_audit_follows_the_new_configuration(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "credbroker.audit")
    with broker_of(changed("audit", to={"enabled": False}), ControlledProvider()) as broker:
        broker.catalog("a").get()
        assert caplog.records == []
        broker.reload(changed("audit", to={"enabled": True}))
        broker.catalog("b").get()
        assert [json.loads(record.getMessage())["event"] for record in caplog.records] == ["requested", "issued"]


def test_a_callback_goes_on_with_the_new_settings_and_ends_with_its_profile() -> None:
    issuer = ControlledProvider()
    with broker_of(CONFIG, issuer) as broker:
        told: list[str] = []
        source = broker.catalog("b")
        stop = source.on_refresh(lambda value: told.append(text(value)))
        source.get()
        broker.reload(changed("catalogs", "b", "credentials", "scope", to="three"))
        source.get()
        assert told == ["token-1", "token-2"]
        broker.reload({**CONFIG, "catalogs": {}})
        stop()
        assert broker.status() == []
