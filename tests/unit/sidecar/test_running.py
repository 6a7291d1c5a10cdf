"""A sidecar as a whole, with an issuer that is moved by hand."""

from __future__ import annotations

import dataclasses
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.servers.sidecars import READ_LAKE, keys, serving

from credbroker.errors import ConfigurationError, IssuerUnavailable
from credbroker.testing import ControlledProvider

PATH = "/lake-read/aws-container"


def with_file(name: str = "lake-read", **file: str) -> dict[str, Any]:
    given = {"path": "aws/credentials", "form": "aws-credentials", **file}
    return {"bindings": {name: {"storage": "lake", "protocols": ["aws-container"], "files": [given]}}}


def test_a_binding_whose_file_cannot_be_written_is_not_ready_and_says_why(tmp_path: Path) -> None:
    template = tmp_path / "app.tmpl"
    template.write_text("token=${token}")
    with serving(with_file(form="template", template=str(template)), ready=False) as one:
        with pytest.raises(ConfigurationError, match=r"lake-read: .*token"):
            one.sidecar.wait_until_ready(10)
        assert one.get("/readyz").status == 503
        told = one.get("/status", one.bearer("status")).json["bindings"][0]
        assert told["state"] == "fresh"
        assert "token" in told["files_fault"]
        assert b'credbroker_binding_ready{binding="lake-read"} 0.0' in one.get("/metrics", one.bearer("status")).body
        assert one.get(PATH, one.bearer("lake-read")).status == 200


def test_it_is_ready_when_its_files_are_there() -> None:
    with serving(with_file()) as one:
        assert "aws_access_key_id = ASIA" in (Path(one.sidecar.directory) / "files" / "aws" / "credentials").read_text()


def test_tokens_are_rotated_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({**READ_LAKE, "rotate_tokens": "12h"}) as one:
        first = one.token("lake-read")
        one.sidecar.tick()
        assert one.token("lake-read") == first
        monkeypatch.setattr(one.sidecar, "_rotated_at", one.sidecar._rotated_at - timedelta(hours=12).total_seconds())
        one.sidecar.tick()
        second = one.token("lake-read")
        assert second != first
        for token in (first, second):
            assert one.get(PATH, {"Authorization": token}).status == 200
        one.sidecar._tokens.rotate()
        assert one.get(PATH, {"Authorization": first}).status == 401


def test_an_issuer_that_fails_is_told_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    provider = ControlledProvider(answer=keys)
    with serving(READ_LAKE, provider=provider) as one, caplog.at_level(logging.WARNING, "credbroker.sidecar"):
        provider.fail_with(IssuerUnavailable("sts did not answer"))
        one.sidecar.broker.purge("lake")
        assert one.get(PATH, one.bearer("lake-read")).status == 503
        for _ in range(3):
            one.sidecar.tick()
        provider.fail_with(None)
        one.sidecar.broker.purge("lake")
        assert one.get(PATH, one.bearer("lake-read")).status == 200
        one.sidecar.tick()
        told = [text for text in caplog.messages if text.startswith("binding")]
        assert told == ["binding lake-read: IssuerUnavailable: lake: sts did not answer", "binding lake-read: issued again"]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"directory": "/elsewhere"}, "directory"), ({"listen_port": 1}, "listen"), ({"reader_group": 7}, "readers.group")],
)
def test_what_a_running_sidecar_cannot_change_takes_a_restart(change: dict[str, Any], named: str) -> None:
    with serving(READ_LAKE) as one:
        wanted = dataclasses.replace(one.sidecar._settings, **change)
        with pytest.raises(ConfigurationError, match=f"sidecar: {named} changed, which takes a restart"):
            one.sidecar._check_stays(wanted)


def test_what_it_says_of_itself_is_for_anybody_who_may_read_the_directory() -> None:
    with serving(with_file()) as one:
        described = json.loads((Path(one.sidecar.directory) / "sidecar.json").read_text())
        assert described["bindings"] == {"lake-read": ["aws-container"]}
        assert described["files"] == ["files/aws/credentials"]
        assert described["url"] == f"http://{one.sidecar.authority}"


def test_a_login_of_somebody_in_the_home_folder_is_not_passed_over(tmp_path: Path) -> None:
    bindings = {"metadata": {"catalog": "polaris", "protocols": ["gce-metadata"]}}
    with serving({"bindings": bindings}) as one:
        assert one.sidecar.environment({"HOME": str(tmp_path)})["GCE_METADATA_HOST"] == one.sidecar.authority
        login = tmp_path / ".config" / "gcloud" / "application_default_credentials.json"
        login.parent.mkdir(parents=True)
        login.write_text("{}")
        with pytest.raises(ConfigurationError, match="would win over the binding: move it away, or give another HOME"):
            one.sidecar.environment({"HOME": str(tmp_path)})


def test_the_brokers_own_secrets_are_not_handed_on() -> None:
    with serving(READ_LAKE) as one:
        found = one.sidecar.environment({"POLARIS_OAUTH": "canary", "PATH": "/bin"})
        assert "POLARIS_OAUTH" not in found
        assert found["PATH"] == "/bin"
