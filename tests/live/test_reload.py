"""One block of platform.yaml is changed, again and again, under a running job: the job notices nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from credbroker import Broker
from credbroker.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.servers.oidc.provider import OidcProvider

METHODS = ("basic", "post", "secret-jwt", "rs256", "es256", "tls", "self-signed-tls", "exchange", "basic")


def test_a_profile_is_moved_between_all_methods_under_a_running_source(oidc: OidcProvider, tmp_path: Path) -> None:
    oidc.token_lifetime(4)
    path, mount, unused = tmp_path / "platform.yaml", tmp_path / "secrets", tmp_path / "unused"
    mount.mkdir()
    unused.mkdir()
    oidc.platform(mount)
    (mount / "workload-token").write_text(oidc.subject())

    def write(method: str) -> None:
        exchange = {"grant_type": "token-exchange", "subject_token": {"secret_ref": "workload-token"}}
        block: dict[str, Any] = (
            oidc.client("basic").credentials(**exchange, subject_token_type="urn:ietf:params:oauth:token-type:access_token")
            if method == "exchange"
            else oidc.client(method).credentials()
        )
        # The secrets are written once: while they are, a file of them is empty for a moment.
        config = oidc.platform(unused, lake=block) | {"secret_backends": [{"type": "files", "path": str(mount)}]}
        path.write_text(yaml.safe_dump(config))

    write(METHODS[0])
    with Broker.from_yaml(path) as broker:
        source = broker.catalog("lake")
        failures: list[BaseException] = []
        done = threading.Event()

        def job() -> None:
            while not done.is_set():
                try:
                    source.get()
                except BaseException as error:
                    failures.append(error)
                done.wait(0.001)

        jobs = [threading.Thread(target=job) for _ in range(3)]
        for one in jobs:
            one.start()
        try:
            for method in METHODS:
                write(method)
                broker.reload()
                token = source.get().value.get_secret_value()
                expected = oidc.client("basic" if method == "exchange" else method).client_id
                assert oidc.introspect(token)["client_id"] == expected
            path.write_text("catalogs: {lake: {credentials: {mode: oauth2, client_secret: pasted}}}")
            with pytest.raises(ConfigurationError, match="literal"):
                broker.reload()
            source.get()
        finally:
            done.set()
            for one in jobs:
                one.join()
    assert failures == []
