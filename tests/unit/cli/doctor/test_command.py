from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from credbroker.cli import doctor, main

PLATFORM = """version: 1
environment: dev
storage:
  archive: {type: gcs, locations: [gs://archive/], credentials: {mode: service_account}}
  empty: {region: eu-west-1, credentials: {mode: static, secret_ref: keys}}
  lake:
    region: eu-west-1
    locations: [s3://lake/sales/]
    credentials: {mode: iam_role, role_arn: "arn:aws:iam::123456789012:role/Pipe", credential_source: environment}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "platform.yaml").write_text(PLATFORM)
    return str(tmp_path / "platform.yaml")


def test_a_missing_package_is_one_line_that_names_the_extra(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec

    def without(name: str) -> ModuleSpec | None:
        return None if name == "boto3" else real(name)

    monkeypatch.setattr(doctor, "find_spec", without)
    assert main(["doctor", "--scope", "lake", "--config", file]) == 78
    assert capsys.readouterr().err == "credbroker: doctor --scope needs boto3: pip install 'credbroker-data[aws]'\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--scope", "archive"], 78, "storage.archive.type is 'gcs': doctor --scope tries S3 only in this version"),
        (["--scope", "empty"], 78, "storage.empty.locations is missing"),
        (["--scope", "lake", "--location", "s3://lake/sales2"], 77, "s3://lake/sales2/"),
        (["--scope", "lake", "--location", "s3://lake/sales/%2e%2e"], 78, "'..' segment"),
        (["--scope", "lakes"], 78, "no profile 'lakes' under storage"),
        (["--scope", "lake"], 78, "AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_cannot_be_tried_says_why(
    arguments: list[str], code: int, told: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments, "--config", file]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err


def test_without_a_profile_the_command_line_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 2
    assert "--scope" in capsys.readouterr().err
