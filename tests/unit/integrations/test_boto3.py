from __future__ import annotations

import os
import pickle
import socket
import threading
import traceback
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.security.canary import locals_of
from tests.unit.integrations.conftest import CANARY, HOUR, Desk

from credbroker.errors import ConfigurationError, IssueDenied
from credbroker.integrations.boto3 import session

OBJECT = {"Bucket": "lake", "Key": "sales/f"}


@pytest.fixture
def s3(desk: Desk) -> Any:
    return session(desk.broker.storage("lake", "s3://lake/sales")).client("s3")


def test_each_request_is_signed_with_the_keys_that_are_current_then(desk: Desk, s3: Any) -> None:
    assert s3.get_object(**OBJECT)["Body"].read() == b"a\n1\n"
    s3.get_object(**OBJECT)
    desk.clock.advance(2 * HOUR.total_seconds())
    s3.get_object(**OBJECT)
    assert desk.store.key_ids == ["ASIA1", "ASIA1", "ASIA2"]
    assert desk.store.seen[0].path == "/lake/sales/f"
    assert desk.store.seen[0].region == "eu-west-1"
    assert desk.store.seen[2].token == f"{CANARY}-token-2"


def test_keys_that_live_for_15_minutes_are_not_asked_for_at_each_request(desk: Desk) -> None:
    desk.life = HOUR / 4
    s3 = session(desk.broker.storage("lake", "s3://lake/sales")).client("s3")
    for _ in range(20):
        s3.get_object(**OBJECT)
    assert desk.provider.calls == 1


def test_nothing_of_the_environment_is_used(desk: Desk, ambient: None) -> None:
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    assert made.region_name == "eu-west-1"
    made.client("s3").get_object(**OBJECT)
    made.resource("s3").Object("lake", "sales/f").get()
    assert desk.store.key_ids == ["ASIA1", "ASIA1"]
    assert {one.region for one in desk.store.seen} == {"eu-west-1"}


def test_what_monitors_botocore_is_told_no_session_token(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_CSM_ENABLED", "true")
        monkeypatch.setenv("AWS_CSM_PORT", str(listener.getsockname()[1]))
        session(desk.broker.storage("lake", "s3://lake/sales")).client("s3").get_object(**OBJECT)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(65536)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "InvalidToken"])
def test_keys_that_are_refused_are_replaced_and_the_request_sent_once_more(desk: Desk, s3: Any, code: str) -> None:
    desk.store.refused = {"ASIA1": code}
    assert s3.put_object(**OBJECT, Body=b"body")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert desk.store.key_ids == ["ASIA1", "ASIA2"]
    assert desk.provider.calls == 2


def test_it_is_sent_once_more_and_not_again(desk: Desk, s3: Any) -> None:
    desk.store.refused = {"ASIA1": "ExpiredToken", "ASIA2": "ExpiredToken"}
    for _ in range(2):  # and the issuer is not asked at every refusal
        with pytest.raises(ClientError, match="ExpiredToken"):
            s3.get_object(**OBJECT)
    assert desk.store.key_ids == ["ASIA1", "ASIA2", "ASIA2"]
    assert desk.provider.calls == 2


def test_a_right_that_is_missing_is_the_callers(desk: Desk, s3: Any) -> None:
    desk.store.refused = {"ASIA1": "AccessDenied"}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(**OBJECT)
    assert desk.store.key_ids == ["ASIA1"]


@pytest.mark.parametrize(
    "argument",
    [
        {"endpoint_url": "https://evil.example"},
        {"aws_access_key_id": "AKIA", "aws_secret_access_key": "x"},
        {"aws_session_token": "x"},
        {"verify": False},
        {"verify": "/ca.pem"},
        {"use_ssl": False},
        {"config": Config(proxies={"http": "http://evil.example"})},
    ],
)
def test_what_would_redirect_is_refused(desk: Desk, argument: dict[str, Any]) -> None:
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    with pytest.raises(ConfigurationError, match="is refused: where requests go"):
        made.client("s3", **argument)
    with pytest.raises(ConfigurationError, match="is refused: where requests go"):
        made.resource("s3", **argument)


def test_what_tunes_is_taken(desk: Desk) -> None:
    config = Config(read_timeout=7, retries={"total_max_attempts": 1}, s3={"payload_signing_enabled": True})
    made = session(desk.broker.storage("lake", "s3://lake/sales")).client("s3", region_name="eu-north-1", config=config)
    made.get_object(**OBJECT)
    assert made.meta.config.read_timeout == 7
    assert desk.store.seen[0].region == "eu-north-1"
    assert desk.store.seen[0].path == "/lake/sales/f"


def test_a_stores_keys_are_sent_to_that_store_alone(desk: Desk, s3: Any) -> None:
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    with pytest.raises(ConfigurationError, match=r"no client of 'sts' is sent them"):
        made.client("sts")
    s3.get_object(**OBJECT)
    desk.endpoint = "http://127.0.0.1:2"  # the profile has moved to another store
    desk.clock.advance(2 * HOUR.total_seconds())
    with pytest.raises(ConfigurationError, match=r"keys are for http://127\.0\.0\.1:2") as caught:
        s3.get_object(**OBJECT)
    assert desk.store.key_ids == ["ASIA1"]
    shown = locals_of(caught.value.__traceback__) + "".join(traceback.format_exception(caught.value))
    assert CANARY not in shown


def test_a_host_that_is_not_allowed_is_sent_nothing(desk: Desk) -> None:
    desk.network = {"allowed_hosts": ["s3.eu-west-1.amazonaws.com", "127.0.0.1"]}
    desk.endpoint = None
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    with pytest.raises(ConfigurationError, match=r"'lake\.s3\.eu-west-1\.amazonaws\.com' is not in network\.allowed_hosts"):
        made.client("s3").get_object(**OBJECT)
    with pytest.raises(ConfigurationError, match=r"'sts\.(eu-west-1\.)?amazonaws\.com' is not in network\.allowed_hosts"):
        made.client("sts").get_caller_identity()
    desk.endpoint = "https://store.example"
    desk.broker.purge("lake")
    with pytest.raises(ConfigurationError, match=r"'store\.example' is not in network\.allowed_hosts"):
        made.client("s3")


def test_a_reload_of_the_network_holds_for_clients_that_are_there(desk: Desk, s3: Any) -> None:
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    s3.get_object(**OBJECT)
    desk.broker.reload({**desk.config, "network": {"allowed_hosts": ["only.example"]}})
    desk.store.seen.clear()
    for use in (
        lambda: s3.get_object(**OBJECT),
        lambda: made.client("s3"),
        lambda: made.client("s3", region_name="eu-west-1"),
    ):
        with pytest.raises(ConfigurationError, match=r"'127\.0\.0\.1' is not in network\.allowed_hosts"):
            use()
    assert desk.store.seen == []
    desk.broker.reload({**desk.config, "network": {"allowed_hosts": ["127.0.0.1"], "proxy": "http://proxy.example:3128"}})
    s3.get_object(**OBJECT)
    assert len(desk.store.seen) == 1
    desk.endpoint = None
    desk.broker.purge("lake")
    assert made.client("s3").meta.config.proxies == dict.fromkeys(("http", "https"), "http://proxy.example:3128")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "regional"),
        ("AWS_S3_USE_ARN_REGION", "true"),
        ("AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS", "true"),
        ("AWS_SDK_UA_APP_ID", "ambient"),
    ],
)
def test_the_environment_says_neither_where_a_request_goes_nor_how(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    desk.endpoint, desk.region = None, "us-east-1"
    made = session(desk.broker.storage("lake", "s3://lake/sales"))

    def told() -> tuple[str, dict[str, Any]]:
        client = made.client("s3")

        def note(request: Any, **_: Any) -> None:
            raise LookupError(request.url)

        client.meta.events.register("before-send", note)
        with pytest.raises(LookupError) as sent:
            client.head_object(**OBJECT)
        return str(sent.value), vars(client.meta.config)

    before = told()
    monkeypatch.setenv(variable, value)
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    assert told() == before


def test_without_a_region_there_is_no_guess(desk: Desk) -> None:
    desk.endpoint = desk.region = None
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    with pytest.raises(ConfigurationError, match="no region is known"):
        made.client("s3")
    assert made.client("s3", region_name="eu-west-1").meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"


def test_a_table_with_one_set_of_keys(desk: Desk) -> None:
    source = desk.broker.table("polaris", "sales.orders")
    session(source).client("s3").get_object(**OBJECT)
    desk.store.refused = {"ASIA1": "ExpiredToken"}
    session(source).client("s3").get_object(**OBJECT)
    assert desk.store.key_ids == ["ASIA1", "ASIA1", "ASIA2"]


def test_a_table_with_several_says_what_reads_it(desk: Desk) -> None:
    desk.prefixes = ("s3://lake/sales/orders", "s3://pond/orders")
    with pytest.raises(ConfigurationError, match=r"2 sets of credentials.*integrations\.pyiceberg"):
        session(desk.broker.table("polaris", "sales.orders")).client("s3")


@pytest.mark.parametrize("kind", ["gcs", "catalog"])
def test_what_is_no_key_pair_signs_nothing(desk: Desk, kind: str) -> None:
    source: Any = desk.broker.storage("gcs") if kind == "gcs" else desk.broker.catalog("polaris")
    with pytest.raises(ConfigurationError, match=r"its credentials are (GCSCredentials|AccessToken)"):
        session(source).client("s3")


def test_what_the_issue_raises_is_raised(desk: Desk, s3: Any) -> None:
    desk.clock.advance(2 * HOUR.total_seconds())
    desk.provider.fail_with(IssueDenied("the role may not be assumed"))
    with pytest.raises(IssueDenied):
        s3.get_object(**OBJECT)
    assert desk.store.seen == []


def test_threads_share_one_client_and_one_issue(desk: Desk, s3: Any) -> None:
    desk.store.refused = {"ASIA1": "ExpiredToken"}
    failed: list[BaseException] = []

    def read() -> None:
        try:
            s3.get_object(**OBJECT)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert desk.provider.calls == 2


def test_it_pickles_as_a_reference_and_a_client_does_not(desk: Desk, s3: Any) -> None:
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    data = pickle.dumps(made)
    assert CANARY.encode() not in data
    pickle.loads(data).client("s3").get_object(**OBJECT)
    keys = pickle.loads(pickle.dumps(made.get_credentials()))
    assert keys.get_frozen_credentials().access_key == "ASIA1"
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(s3)


def test_nothing_secret_shows(desk: Desk, s3: Any) -> None:
    made = session(desk.broker.storage("lake", "s3://lake/sales"))
    s3.get_object(**OBJECT)
    keys: Any = made.get_credentials()
    shown = f"{made!r} {keys!r} {vars(keys)} {keys.access_key} {keys.secret_key} {keys.token} {s3!r} {vars(s3)}"
    assert CANARY not in shown
    assert "lake" in repr(made)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # forking is the test
def test_a_forked_child_asks_for_keys_of_its_own(desk: Desk, s3: Any) -> None:
    s3.get_object(**OBJECT)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            s3.get_object(**OBJECT)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(desk.store.seen) == 2
    assert desk.provider.calls == 1  # the child's own is another one


def test_how_often_it_asks_may_stand_in_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    client = session(desk.broker.storage("lake", "s3://lake/sales")).client("s3")
    assert client.meta.config.retries == {"total_max_attempts": 7, "mode": "adaptive"}
