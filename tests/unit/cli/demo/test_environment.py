from __future__ import annotations

import os

import pytest

from credbroker.cli.demo.environment import GivenEnvironment, nothing_ambient


def test_only_what_was_given_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEBODYS", "own")
    environment = GivenEnvironment({"OURS": "value"})
    assert environment.variable("OURS") == "value"
    assert environment.variable("SOMEBODYS") is None
    with pytest.raises(FileNotFoundError):
        environment.read(__file__)


def test_its_repr_shows_no_value() -> None:
    assert "hunter2" not in repr(GivenEnvironment({"OURS": "hunter2"}))


def test_identities_and_proxies_of_the_process_are_gone_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody's")
    monkeypatch.setenv("PYICEBERG_CATALOG__W__URI", "elsewhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    before = dict(os.environ)
    with nothing_ambient():
        assert not {"AWS_ACCESS_KEY_ID", "PYICEBERG_CATALOG__W__URI", "HTTPS_PROXY"} & set(os.environ)
        assert os.environ["PYICEBERG_MAX_WORKERS"] == "2"
    assert dict(os.environ) == before


def test_the_environment_comes_back_after_an_error_too() -> None:
    before = dict(os.environ)
    with pytest.raises(KeyboardInterrupt), nothing_ambient():
        raise KeyboardInterrupt
    assert dict(os.environ) == before
