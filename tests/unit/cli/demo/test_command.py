from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

from credbroker.cli import demo, main

if TYPE_CHECKING:
    import pytest


def test_a_missing_package_is_one_line_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec

    def without(name: str) -> ModuleSpec | None:
        return None if name in {"pyarrow", "boto3"} else real(name)

    monkeypatch.setattr(demo, "find_spec", without)
    assert main(["demo"]) == 78
    captured = capsys.readouterr()
    assert captured.err == "credbroker: the demo needs pyarrow, boto3: pip install 'credbroker-data[demo]'\n"
    assert captured.out == ""
