from __future__ import annotations

import logging
from typing import Any

import pytest

from credbroker.config import PlatformConfig, from_data, load_files

from .files import Files


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"catalog": {"a": {}}}, "catalog is an unknown key: did you mean 'catalogs'?"),
        ({"kind": "Secret"}, "kind is an unknown key"),
        ({"storage": {"a": {"regon": "x"}}}, "storage.a.regon is an unknown key: did you mean 'region'?"),
        (
            {"credentials": {"mode": "static"}},
            "credentials stands at the top, where nothing uses it: put it under a profile",
        ),
        (
            {"catalogs": {"a": {"token_refresh_enabled": False}}},
            "catalogs.a.token_refresh_enabled is false and has no effect",
        ),
        ({"environment": "prodution"}, "environment is taken for production"),
        ({"environment": "acme"}, "environment says neither production nor what else"),
        ({"storage": {"a": {"type": "azure", "bucket": "raw"}}}, "storage.a.bucket cannot be read as a location"),
        ({"storage": {"a": {"bucket": "Not_A_Bucket"}}}, "storage.a.bucket cannot be read as a location"),
        ({"compute": {"a": {"kms_keys": ["k"]}}}, "compute.a.kms_keys has no effect here"),
    ],
)
def test_what_is_doubtful_loads_with_a_warning(
    data: dict[str, Any], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="credbroker.config"):
        (warning,) = from_data(data).warnings
    assert expected in warning
    assert caplog.messages == [warning]
    assert from_data(PlatformConfig(**data)).warnings == (warning,)


def test_a_warning_names_file_and_line() -> None:
    (warning,) = load_files(["p.yaml"], Files({"p.yaml": "version: 1\n\nkind: x\n"})).warnings
    assert warning == "p.yaml:3: kind is an unknown key"


@pytest.mark.parametrize("key", ["hunter2-9f3ac1d7", "AKIAIOSFODNN7EXAMPLE", "a b", "x" * 80, "änderung"])
def test_an_unknown_key_that_is_no_word_is_not_shown(key: str) -> None:
    (warning,) = from_data({"storage": {"a": {key: "x"}}}).warnings
    assert warning == "storage.a.<not shown> is an unknown key"


def test_a_key_without_a_value_may_be_a_value_without_a_key() -> None:
    (warning,) = load_files(["p.yaml"], Files({"p.yaml": "storage: {a: {hunter}}\n"})).warnings
    assert warning == "p.yaml:1: storage.a.<not shown> is an unknown key"
