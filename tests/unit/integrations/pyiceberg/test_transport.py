from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
from tests.unit.integrations.pyiceberg.conftest import CANARY, CatalogServer, Desk

from credbroker.config.settings import NetworkSettings
from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.integrations.pyiceberg.transport import session


@pytest.fixture
def client(desk: Desk, server: CatalogServer) -> requests.Session:
    return session(server.url, desk.broker.catalog("production"), "production", desk.broker.network)


def tokens(server: CatalogServer) -> list[str | None]:
    return [request.token for request in server.asked]


def test_each_request_carries_the_token_that_is_current_then(
    desk: Desk, server: CatalogServer, client: requests.Session
) -> None:
    client.get(f"{server.url}/v1/config")
    client.get(f"{server.url}/v1/config", headers={"Authorization": "Bearer of-somebody-else"})
    desk.clock.advance(timedelta(hours=2).total_seconds())
    client.get(f"{server.url}/v1/config")
    assert tokens(server) == [f"Bearer {CANARY}-1", f"Bearer {CANARY}-1", f"Bearer {CANARY}-2"]


@pytest.mark.parametrize("status", [401, 419])
def test_a_refused_token_is_replaced_and_the_request_sent_once_more(
    server: CatalogServer, client: requests.Session, status: int
) -> None:
    server.refused[f"Bearer {CANARY}-1"] = status
    assert client.post(f"{server.url}/v1/config", data=b"body").status_code == 200
    assert tokens(server) == [f"Bearer {CANARY}-1", f"Bearer {CANARY}-2"]
    assert [request.body for request in server.asked] == [b"body", b"body"]


@pytest.mark.parametrize("status", [401, 419])
def test_a_second_refusal_is_the_callers(server: CatalogServer, client: requests.Session, status: int) -> None:
    server.refused.update({f"Bearer {CANARY}-{number}": status for number in range(9)})
    assert client.get(f"{server.url}/v1/config").status_code == status
    assert len(server.asked) == 2


def test_no_token_is_asked_for_again_while_the_last_refusal_is_fresh(
    desk: Desk, server: CatalogServer, client: requests.Session
) -> None:
    server.refused.update({f"Bearer {CANARY}-{number}": 401 for number in range(9)})
    for _ in range(5):
        assert client.get(f"{server.url}/v1/config").status_code == 401
    assert desk.tokens.calls == 2
    assert len(server.asked) == 6


def test_threads_that_are_refused_the_same_token_cause_one_issue(desk: Desk, server: CatalogServer) -> None:
    server.refused[f"Bearer {CANARY}-1"] = 401
    source = desk.broker.catalog("production")
    source.get()
    start = threading.Barrier(8)

    def ask(_: int) -> int:
        client = session(server.url, source, "production", desk.broker.network)
        start.wait(timeout=10)
        return client.get(f"{server.url}/v1/config").status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {200}
    assert desk.tokens.calls == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(desk: Desk, server: CatalogServer, client: requests.Session, status: int) -> None:
    server.routes["/v1/moved"] = (status, {}, {"location": f"{server.url}/v1/config"})
    with pytest.raises(MalformedResponse, match=f"redirect \\({status}\\)"):
        client.get(f"{server.url}/v1/moved")
    assert len(server.asked) == 1


def test_no_other_origin_is_reached(desk: Desk, server: CatalogServer, client: requests.Session) -> None:
    port = server.url.rpartition(":")[2]
    for url in (
        f"http://localhost:{port}/v1/config",
        f"{server.url}9/",
        "http://evil.example/",
        f"{server.url}.evil.example/",
    ):
        with pytest.raises(requests.RequestException, match=r"No connection adapters|Failed to parse"):
            client.get(url)
    assert server.asked == []
    assert desk.tokens.calls == 0


def test_nothing_of_the_environment_is_looked_at(
    server: CatalogServer, client: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    assert client.get(f"{server.url}/v1/config").status_code == 200


def test_the_network_section_holds(desk: Desk) -> None:
    source = desk.broker.catalog("production")
    network = NetworkSettings(proxy="http://proxy:3128", ca_file="/ca.pem", allowed_hosts=("catalog.example",))
    made = session("https://catalog.example/api", source, "production", network)
    assert made.proxies == {"http": "http://proxy:3128", "https": "http://proxy:3128"}
    assert made.verify == "/ca.pem"
    with pytest.raises(ConfigurationError, match=r"'other\.example' is not in network\.allowed_hosts"):
        session("https://other.example", source, "production", network)


def test_neither_a_response_nor_an_error_keeps_the_token(
    desk: Desk, server: CatalogServer, client: requests.Session
) -> None:
    answer = client.get(f"{server.url}/v1/config")
    assert CANARY not in repr(answer.request.headers)
    lost = session("http://127.0.0.1:1", desk.broker.catalog("production"), "production", desk.broker.network)
    with pytest.raises(requests.ConnectionError) as failure:
        lost.get("http://127.0.0.1:1/v1/config")
    assert failure.value.request is not None
    assert CANARY not in repr(failure.value.request.headers)
    assert CANARY not in str(failure.value)
