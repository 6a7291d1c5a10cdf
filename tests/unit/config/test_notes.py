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


def short(profile: dict[str, Any], **binding: object) -> dict[str, Any]:
    section = {"storage": "storage", "catalog": "catalogs", "compute": "compute"}[next(iter(binding))]
    return {section: {"a": profile}, "sidecar": {"bindings": {"one": binding}}}


@pytest.mark.parametrize(
    ("data", "protocol", "life"),
    [
        (short({"bucket": "lake", "max_ttl": "20m"}, storage="a", protocols=["aws-container"]), "aws-container", "20m"),
        (short({"max_ttl": 900}, catalog="a", protocols=["oauth2-token", "gce-metadata"]), "gce-metadata", "15m"),
        (short({"max_ttl": "90s"}, catalog="a", table="a.b", protocols=["aws-container"]), "aws-container", "90s"),
        (
            short({"max_ttl": "1s"}, compute="a", protocols=["azure-imds", "azure-app-service"]),
            "azure-imds, azure-app-service",
            "1s",
        ),
    ],
)
def test_a_life_that_ends_within_what_clients_refresh_in_is_doubtful(data: dict[str, Any], protocol: str, life: str) -> None:
    assert from_data(data).warnings == (
        (
            f"sidecar.bindings.one serves {protocol}, whose clients refresh 5 to 15 minutes before the end, and the max_ttl "
            f"of its profile is {life}: they would ask at every call; give the profile max_ttl: 1h"
        ),
    )


@pytest.mark.parametrize(
    "data",
    [
        short({"bucket": "lake", "max_ttl": "1201s"}, storage="a", protocols=["aws-container"]),
        short({"bucket": "lake"}, storage="a", protocols=["aws-container"]),
        short({"bucket": "lake", "max_ttl": "5m"}, storage="a", protocols=["iceberg-credentials"]),
        short({"max_ttl": "5m"}, catalog="a", protocols=["oauth2-token", "google-subject-token"]),
    ],
)
def test_a_life_that_clients_can_use_is_not(data: dict[str, Any]) -> None:
    assert from_data(data).warnings == ()
