from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import CredentialRetrievalError
from tests.servers.stub_sidecar import KEYS, StubSidecar

from credbroker.cli import main

TOLD = {
    "Version": 1,
    "AccessKeyId": KEYS["AccessKeyId"],
    "SecretAccessKey": KEYS["SecretAccessKey"],
    "SessionToken": KEYS["Token"],
    "Expiration": KEYS["Expiration"],
}
PATH = "/lake-read/aws-container"


@pytest.fixture(params=["unix", "tcp"])
def stub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StubSidecar]:
    with StubSidecar(tmp_path / "credbroker", unix=request.param == "unix") as running:
        yield running


@pytest.fixture
def profile(stub: StubSidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AWS profile that has the very line of the documentation, and nothing else for an SDK to find."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    command = tmp_path / "credbroker.sh"
    command.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; from credbroker.cli import main; sys.exit(main())" "$@"\n'
    )
    command.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"[profile lake]\ncredential_process = {command} aws-process lake-read\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "lake")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("CREDBROKER_SIDECAR", str(stub.directory))


@pytest.mark.usefixtures("profile")
def test_botocore_takes_the_keys_from_it_and_asks_again_before_they_end(stub: StubSidecar) -> None:
    keys = botocore.session.Session().get_credentials()
    assert keys is not None
    assert keys.method == "custom-process"
    frozen = keys.get_frozen_credentials()
    assert frozen.access_key == TOLD["AccessKeyId"]
    assert frozen.secret_key == TOLD["SecretAccessKey"]
    assert frozen.token == TOLD["SessionToken"]
    assert keys.refresh_needed(0) is False
    assert [path for _, path in stub.asked] == [PATH]


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize(("status", "code"), [(503, "IssuerUnavailable"), (403, "IssueDenied")])
def test_botocore_s_error_shows_why_and_nothing_of_the_body(stub: StubSidecar, status: int, code: str) -> None:
    stub.answers[PATH] = (status, {"code": code, "message": "canary"})
    with pytest.raises(CredentialRetrievalError) as caught:
        botocore.session.Session().get_credentials()
    assert f"credbroker: the sidecar does not give the keys of lake-read: {code}" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "token-of" not in str(caught.value)


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_it_prints_one_object_and_nothing_else(
    stub: StubSidecar, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert main(["aws-process", "lake-read", "--directory", str(stub.directory), *option]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), out.count("\n"), err) == (TOLD, 1, "")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((401, {"code": "Unauthorized"}), 77),
        ((403, {"code": "IssueDenied"}), 77),
        ((404, {"code": "NotFound"}), 78),
        ((503, {"code": "IssuerUnavailable"}), 69),
        ((503, {"code": "CredentialExpired"}), 69),
        ((302, b""), 69),
        ((200, b'{"canary"'), 69),
        ((200, {**KEYS, "SecretAccessKey": None}), 69),
        ((200, {"access_token": "canary"}), 69),
    ],
)
def test_where_there_are_no_keys_one_line_says_why(
    stub: StubSidecar, capsys: pytest.CaptureFixture[str], answer: tuple[int, object], code: int
) -> None:
    stub.answers[PATH] = answer
    assert main(["aws-process", "lake-read", "--directory", str(stub.directory)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert (err.startswith("credbroker: the sidecar"), err.count("\n")) == (True, 1)
    assert "canary" not in err


@pytest.mark.parametrize("binding", ["other", "polaris", "../status", "a\nb"])
def test_a_binding_that_has_no_such_keys_is_told_which_have(
    stub: StubSidecar, capsys: pytest.CaptureFixture[str], binding: str
) -> None:
    assert main(["aws-process", binding, "--directory", str(stub.directory)]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert f"serves no binding {binding!r} by aws-container (it serves lake-read)\n" in err
    assert stub.asked == []


def test_no_sidecar_is_78_and_a_dead_one_69(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "credbroker"
    assert main(["aws-process", "lake-read", "--directory", str(directory)]) == 78
    with StubSidecar(directory):
        pass
    assert main(["aws-process", "lake-read", "--directory", str(directory)]) == 69
    assert capsys.readouterr().out == ""


def test_it_loads_no_more_than_it_needs(stub: StubSidecar) -> None:
    """An SDK starts it for each credential, and waits: 150 ms is the most that is allowed, Python's own start included."""
    script = (
        "import sys\n"
        "from credbroker.cli import main\n"
        "code = main(['aws-process', 'lake-read'])\n"
        "heavy = {'pydantic', 'requests', 'urllib3', 'yaml', 'ssl', 'email', 'importlib.metadata', 'rich', 'asyncio'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"CREDBROKER_SIDECAR": str(stub.directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == TOLD
