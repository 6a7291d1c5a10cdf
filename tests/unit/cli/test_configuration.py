from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from credbroker.cli.configuration import add_config, broker_of
from credbroker.errors import ConfigurationError
from credbroker.profile import StorageProfile

BASE = "version: 1\nstorage:\n  lake: {locations: [s3://lake/sales/]}\n"
MORE = "version: 1\nstorage:\n  lake: {access: read_write}\n"


def parsed(*arguments: str) -> Namespace:
    parser = ArgumentParser()
    add_config(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, text in (("base.yaml", BASE), ("more.yaml", MORE)):
        (tmp_path / name).write_text(text)
    return str(tmp_path / "base.yaml"), str(tmp_path / "more.yaml")


def access(arguments: Namespace) -> str:
    with broker_of(arguments) as broker:
        profile = broker.profile("storage", "lake")
        assert isinstance(profile, StorageProfile)
        return profile.access.value


def test_several_files_are_merged_in_their_order(files: tuple[str, str]) -> None:
    assert access(parsed("--config", files[0])) == "read"
    assert access(parsed("--config", files[0], "--config", files[1])) == "read_write"


def test_without_the_option_the_variable_names_them(files: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDBROKER_CONFIG", os.pathsep.join(files))
    assert access(parsed()) == "read_write"
    assert access(parsed("--config", files[0])) == "read"


@pytest.mark.parametrize("value", [None, "", os.pathsep])
def test_no_file_at_all_says_both_ways(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("CREDBROKER_CONFIG", value)
    with pytest.raises(ConfigurationError, match=r"--config FILE, or set \$CREDBROKER_CONFIG"):
        broker_of(parsed())
