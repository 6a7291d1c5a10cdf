"""Secrets in the clouds' own secret managers, through the public API, against servers that check every request."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests.servers.entra import Entra
from tests.servers.google import Google
from tests.servers.strict import Answer, StrictServer

from credbroker import Broker, SecretReference
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
    SecretNotFound,
)

CANARY = "correct horse battery staple"
NAMED = SecretReference(secret_ref="polaris")
Cloud = Google | Entra


def _google(server: Google, folder: Path) -> dict[str, Any]:
    (folder / "gcp-key").write_text(json.dumps(server.key))
    auth = {"method": "service_account_key", "key": {"secret_ref": "gcp-key"}}
    return {"type": "gcp", "project": server.project, "endpoint": server.uri, "auth": auth}


def _azure(server: Entra, folder: Path, **auth: Any) -> dict[str, Any]:
    (folder / "app-secret").write_text(min(server.client_secrets))
    auth = auth or {"method": "client_secret", "client_secret": {"secret_ref": "app-secret", "next": "app-secret-next"}}
    return {
        "type": "azure",
        "address": server.uri,
        "auth": {"tenant_id": server.tenant, "client_id": server.client_id, **auth},
    }


def _federated(server: Entra, folder: Path) -> dict[str, Any]:
    (folder / "federated").write_text(server.federated_token())
    return _azure(server, folder, method="workload_identity", path=str(folder / "federated"))


@pytest.fixture(params=["google", "client_secret", "workload_identity"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    """Each secret manager, by each way to log in."""
    found: Cloud = request.getfixturevalue("google" if request.param == "google" else "entra")
    return found


@pytest.fixture
def broker(request: pytest.FixtureRequest, cloud: Cloud, tmp_path: Path) -> Iterator[Broker]:
    """A broker that looks in a directory, then in the cloud, then in another directory."""
    if isinstance(cloud, Google):
        backend = _google(cloud, tmp_path)
    else:
        make = _federated if "workload_identity" in request.node.callspec.id else _azure
        backend = make(cloud, tmp_path)
    (tmp_path / "later").mkdir()
    with _broker(tmp_path, backend, {"type": "files", "path": str(tmp_path / "later")}) as running:
        yield running


def _broker(folder: Path, *backends: dict[str, Any]) -> Broker:
    return Broker.from_config({"secret_backends": [{"type": "files", "path": str(folder)}, *backends]})


def _value(broker: Broker, reference: SecretReference = NAMED) -> str:
    return broker.resolve(reference).get_secret_value()


def _refused(kind: type[CredbrokerError], broker: Broker, reference: SecretReference = NAMED) -> CredbrokerError:
    with pytest.raises(kind) as caught:
        broker.resolve(reference)
    assert CANARY not in str(caught.value)
    return caught.value


def _logins(server: StrictServer) -> int:
    return sum(call.startswith("POST ") for call in server.calls)


def test_the_first_look_takes_two_requests_and_each_further_one_takes_one(cloud: Cloud, broker: Broker) -> None:
    cloud.add("polaris", CANARY)
    assert _value(broker) == CANARY
    assert [call.partition(" ")[0] for call in cloud.calls] == ["POST", "GET"]
    assert _value(broker) == CANARY
    assert [call.partition(" ")[0] for call in cloud.calls] == ["POST", "GET", "GET"]


def test_a_new_version_is_seen_at_the_next_look(cloud: Cloud, broker: Broker) -> None:
    cloud.add("polaris", "first")
    assert _value(broker) == "first"
    cloud.add("polaris", "second")
    assert _value(broker) == "second"


def test_a_field_of_a_json_secret_is_picked(cloud: Cloud, broker: Broker) -> None:
    cloud.add("polaris", json.dumps({"id": "svc", "secret": CANARY}))
    assert _value(broker, SecretReference(secret_ref="polaris", field="id")) == "svc"


def test_a_secret_that_is_not_there_is_looked_for_in_the_next_place(cloud: Cloud, broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "later" / "polaris").write_text("from the next place")
    assert _value(broker) == "from the next place"
    assert len(cloud.calls) == 2


def test_a_secret_that_is_nowhere_names_every_place(broker: Broker) -> None:
    text = str(_refused(SecretNotFound, broker))
    assert text.count("file '") == 2
    assert "secret 'polaris' of " in text


def test_a_held_token_that_was_revoked_is_replaced_by_one_new_login(cloud: Cloud, broker: Broker) -> None:
    cloud.add("polaris", CANARY)
    assert _value(broker) == CANARY
    cloud.revoke_tokens()
    assert _value(broker) == CANARY
    assert [call.partition(" ")[0] for call in cloud.calls] == ["POST", "GET", "GET", "POST", "GET"]


def test_a_token_that_is_over_on_arrival_is_not_held(cloud: Cloud, broker: Broker) -> None:
    cloud.add("polaris", CANARY)
    cloud.life = 0
    _refused(CredbrokerError, broker)
    cloud.life = 3600
    assert _value(broker) == CANARY
    assert _value(broker) == CANARY
    assert _logins(cloud) == 2


def test_a_forbidden_secret_is_an_error_and_never_taken_from_the_next_place(
    cloud: Cloud, broker: Broker, tmp_path: Path
) -> None:
    (tmp_path / "later" / "polaris").write_text(CANARY)
    if isinstance(cloud, Google):
        cloud.denied.add("polaris")
        role = "roles/secretmanager.secretAccessor"
    else:
        cloud.forbidden["polaris"] = "ForbiddenByRbac"
        role = "'Key Vault Secrets User'"
    assert role in str(_refused(IssueDenied, broker))


def test_a_missing_secret_of_the_login_itself_is_named_and_the_next_place_is_not_asked(
    google: Google, entra: Entra, tmp_path: Path
) -> None:
    for server, backend, own in (
        (google, _google(google, tmp_path), "gcp-key"),
        (entra, _azure(entra, tmp_path), "app-secret"),
    ):
        (tmp_path / own).unlink()
        (tmp_path / "later").mkdir(exist_ok=True)
        (tmp_path / "later" / "polaris").write_text(CANARY)
        with _broker(tmp_path, backend, {"type": "files", "path": str(tmp_path / "later")}) as broker:
            assert f"secret '{own}' not found" in str(_refused(ConfigurationError, broker))
        assert server.calls == []


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_token_endpoint_that_is_down_sees_one_request(cloud: Cloud, broker: Broker, status: int) -> None:
    cloud.next.append(Answer(status, {"error": "temporarily_unavailable"}, {"Retry-After": "7"}))
    assert _refused(IssuerUnavailable, broker).retry_after == timedelta(seconds=7)
    assert len(cloud.calls) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_secret_manager_that_is_down_sees_one_request(cloud: Cloud, broker: Broker, status: int, tmp_path: Path) -> None:
    (tmp_path / "later" / "polaris").write_text(CANARY)
    cloud.add("other", "x")
    assert _value(broker, SecretReference(secret_ref="other")) == "x"
    cloud.next.append(Answer(status, {"error": {"message": CANARY}}, {"Retry-After": "7"}))
    assert _refused(IssuerUnavailable, broker).retry_after == timedelta(seconds=7)
    assert len(cloud.calls) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 418])
def test_what_no_secret_manager_says_is_not_taken_for_an_absent_secret(cloud: Cloud, broker: Broker, status: int) -> None:
    cloud.add("other", "x")
    assert _value(broker, SecretReference(secret_ref="other")) == "x"
    cloud.next.append(Answer(status, f"<html>{CANARY}</html>".encode(), {"Content-Type": "text/html"}))
    _refused(MalformedResponse, broker)


def test_a_redirect_is_not_followed(cloud: Cloud, broker: Broker, free_port: Callable[[], int]) -> None:
    cloud.next.append(Answer(307, b"", {"Location": f"http://127.0.0.1:{free_port()}/token"}))
    assert "redirect" in str(_refused(MalformedResponse, broker))
    assert len(cloud.calls) == 1


# --------------------------------------------------------------------------------------------------------------- Google


@pytest.fixture
def google_broker(google: Google, tmp_path: Path) -> Iterator[Broker]:
    with _broker(tmp_path, {**_google(google, tmp_path), "prefix": "data_"}) as running:
        yield running


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
def test_no_older_version_is_taken_for_one_that_was_disabled(google: Google, google_broker: Broker, state: str) -> None:
    google.add("data_polaris", "old")
    google.add("data_polaris", CANARY, state=state)
    assert "its latest version is disabled or destroyed" in str(_refused(SecretNotFound, google_broker))


def test_a_payload_is_held_against_its_checksum(google: Google, google_broker: Broker) -> None:
    google.add("data_polaris", "123456789", crc32c=str(0xE3069283))  # RFC 3720's own kind of check value
    assert _value(google_broker) == "123456789"
    google.add("data_polaris", CANARY, crc32c="1")
    assert "checksum" in str(_refused(MalformedResponse, google_broker))


def test_a_payload_that_is_no_text_is_no_secret(google: Google, google_broker: Broker) -> None:
    google.add("data_polaris", b"\xff\xfe")
    assert "it is not UTF-8 text" in str(_refused(SecretNotFound, google_broker))


def test_a_deleted_key_is_refused_without_doubt_about_the_right(google: Google, google_broker: Broker) -> None:
    google.delete_key()
    denied = _refused(IssueDenied, google_broker)
    assert isinstance(denied, IssueDenied)
    assert not denied.grant_denied
    assert "the key was deleted" in str(denied)
    assert len(google.calls) == 1


def test_a_replaced_key_is_used_at_the_next_login(google: Google, google_broker: Broker, tmp_path: Path) -> None:
    google.add("data_polaris", CANARY)
    (tmp_path / "gcp-key").write_text("{}")
    assert "is no key of a service account" in str(_refused(ConfigurationError, google_broker))
    (tmp_path / "gcp-key").write_text(json.dumps(google.key))
    assert _value(google_broker) == CANARY


def test_a_key_cannot_send_the_assertion_elsewhere(google: Google, google_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "gcp-key").write_text(json.dumps({**google.key, "token_uri": "https://collector.example/token"}))
    assert "nothing was sent" in str(_refused(ConfigurationError, google_broker))
    assert google.calls == []


# ---------------------------------------------------------------------------------------------------------------- Azure


@pytest.fixture
def azure_broker(entra: Entra, tmp_path: Path) -> Iterator[Broker]:
    with _broker(tmp_path, _azure(entra, tmp_path)) as running:
        yield running


def test_a_disabled_secret_is_absent(entra: Entra, azure_broker: Broker) -> None:
    entra.add("polaris", CANARY)
    entra.disabled.add("polaris")
    assert "it is disabled" in str(_refused(SecretNotFound, azure_broker))


def test_a_name_that_key_vault_cannot_have_is_not_asked_for(entra: Entra, azure_broker: Broker) -> None:
    assert "no underscore" in str(_refused(SecretNotFound, azure_broker, SecretReference(secret_ref="po_laris")))
    assert entra.calls == []


def test_a_firewall_says_nothing_about_the_right(entra: Entra, azure_broker: Broker) -> None:
    entra.forbidden["polaris"] = "ForbiddenByFirewall"
    text = str(_refused(IssueDenied, azure_broker))
    assert "network rules" in text
    assert "role" not in text


def test_during_a_rotation_the_next_client_secret_is_presented_once(
    entra: Entra, azure_broker: Broker, tmp_path: Path
) -> None:
    entra.add("polaris", CANARY)
    (tmp_path / "app-secret-next").write_text("the new one")
    entra.client_secrets = {"the new one"}
    assert _value(azure_broker) == CANARY
    assert _logins(entra) == 2
    (tmp_path / "app-secret-next").write_text("a wrong one")
    entra.revoke_tokens()
    assert "client secret" in str(_refused(IssueDenied, azure_broker))
    assert _logins(entra) == 4


def test_the_same_client_secret_is_not_presented_twice(entra: Entra, azure_broker: Broker) -> None:
    entra.client_secrets = {"another"}
    _refused(IssueDenied, azure_broker)
    assert _logins(entra) == 1


def test_the_federated_token_is_read_afresh_at_each_login(entra: Entra, tmp_path: Path) -> None:
    entra.add("polaris", CANARY)
    with _broker(tmp_path, _federated(entra, tmp_path)) as broker:
        assert _value(broker) == CANARY
        entra.revoke_tokens()
        (tmp_path / "federated").write_text(entra.federated_token(exp=1))
        sent = len(entra.calls)
        assert "was not sent" in str(_refused(InsufficientLifetime, broker))
        assert len(entra.calls) == sent + 1, "the vault, with the token that it refused"
        (tmp_path / "federated").write_text(entra.federated_token(sub="another"))
        assert "federated credential" in str(_refused(IssueDenied, broker))
        (tmp_path / "federated").write_text(entra.federated_token() + "\n")
        assert _value(broker) == CANARY


def test_a_challenge_does_not_decide_where_the_credentials_go(entra: Entra, azure_broker: Broker) -> None:
    entra.add("polaris", CANARY)
    assert _value(azure_broker) == CANARY
    with StrictServer() as trap:
        entra.challenge = f'Bearer authorization="{trap.uri}/{entra.tenant}", resource="https://vault.azure.net"'
        entra.revoke_tokens()
        assert _value(azure_broker) == CANARY
        assert trap.calls == []


# ------------------------------------------------------------------------------------------------------- what is loaded


def _loaded(config: dict[str, Any], *, look: bool) -> set[str]:
    """What a fresh process has of the clouds' SDKs, after it made a broker and, if asked, looked for a secret."""
    program = (
        "import json, sys; from credbroker import Broker, SecretReference\n"
        "with Broker.from_config(json.loads(sys.argv[1])) as broker:\n"
        "    if json.loads(sys.argv[2]): broker.resolve(SecretReference(secret_ref='polaris'))\n"
        "print(*{name for name in sys.modules if name.split('.')[0] in ('google', 'azure', 'msal')\n"
        "        or name.startswith(('credbroker.identity.', 'credbroker.secrets.gcp', 'credbroker.secrets.azure'))})"
    )
    arguments = [sys.executable, "-c", program, json.dumps(config), json.dumps(look)]
    return set(subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout.split())


def test_what_no_configuration_names_is_not_loaded(google: Google, entra: Entra, tmp_path: Path) -> None:
    google.add("polaris", "x")
    entra.add("polaris", "x")
    files = {"type": "files", "path": str(tmp_path)}
    (tmp_path / "polaris").write_text("x")
    assert _loaded({"secret_backends": [files]}, look=True) == set()
    (tmp_path / "polaris").unlink()
    by_azure = _loaded({"secret_backends": [files, _azure(entra, tmp_path)]}, look=True)
    assert "credbroker.secrets.azure" in by_azure
    assert not {name for name in by_azure if name.partition(".")[0] != "credbroker"}
    only_made = _loaded({"secret_backends": [files, _google(google, tmp_path)]}, look=False)
    assert not {name for name in only_made if name.startswith("google.auth")}
    by_google = _loaded({"secret_backends": [files, _google(google, tmp_path)]}, look=True)
    assert "google.auth.jwt" in by_google
    assert not {name for name in by_google if name.partition(".")[0] in ("azure", "msal")}


def test_a_request_that_no_vendor_documents_fails_the_test_that_sent_it() -> None:
    def ask(server: StrictServer) -> None:
        with closing(HTTPConnection(server.uri.removeprefix("http://"), timeout=10)) as connection:
            connection.request("DELETE", "/secrets/polaris")
            assert connection.getresponse().status == 400

    with pytest.raises(AssertionError, match=r"wrong requests were sent: .*DELETE /secrets/polaris"), Entra() as server:
        ask(server)
