from __future__ import annotations

from pathlib import Path

import pytest

from credbroker.config.pipeline import judged

CASES = Path(__file__).parents[2] / "cases" / "scan"
KNOWN = {"catalogs": ["production"], "storage": ["lake"], "compute": []}
KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"


def faults(text: str, known: dict[str, list[str]] | None = None) -> list[str]:
    result = judged("floe.yaml", text.encode(), known)
    assert result.credentials == ()
    return [f"{one.line}: {one.message}" for one in result.faults]


def test_a_pipeline_of_names_is_fine() -> None:
    assert judged("floe.yaml", (CASES / "floe.yaml").read_bytes()).findings == ()
    assert faults("") == []
    assert faults("catalog: production\nstorage: lake\nwhatever: {floe: has}\n", KNOWN) == []


def test_a_key_may_be_infrastructure_too() -> None:
    assert faults("'s3://lake/x': y\n") == [
        "1: <not shown> is or holds a URL, as a key: it belongs in platform.yaml: name a profile here"
    ]


def test_an_illegal_name_of_a_profile_is_refused() -> None:
    (fault,) = judged("floe.yaml", (CASES / "invalid-floe.yaml").read_bytes()).faults
    assert (fault.line, fault.field, fault.type) == (3, "compute", "Profile Name")
    assert "123-invalid" not in fault.message


@pytest.mark.parametrize("value", ["{uri: x}", "[a]", "12", "true", "null", "a.b", "'a b'", "''"])
def test_a_profile_is_a_name_and_nothing_else(value: str) -> None:
    found = faults(f"catalog: {value}\n")
    assert found
    assert found[0].startswith("1: catalog must be the name of a profile")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: s3://lake/x", "is or holds a URL"),
        ("a: 'see https://wiki/x'", "is or holds a URL"),
        ("a: jdbc:postgresql://db/x", "is or holds a URL"),
        ("a: arn:aws:iam::123456789012:role/x", "is or holds an ARN"),
        ("a: polaris:8181", "is a host"),
        ("a: db.example.com:5432", "is a host"),
        ("a: catalog.prod.internal", "is a host"),
        ("a: 10.1.2.3", "is a host"),
        ("a: localhost", "is a host"),
        ("a: us-east-1", "is a region"),
        ("a: europe-west1", "is a region"),
        ("a: {bucket: x}", "a key for a bucket"),
        ("bucketName: x", "a key for a bucket"),
        ("otlp_endpoint: x", "a key for an endpoint"),
        ("aws_region: x", "a key for a region"),
        ("attributes: {cloud.region: x}", "a key for a region"),
        ("role_arn: x", "a key for an ARN"),
        ("hostname: x", "a key for a hostname"),
        ("credentials: {mode: static}", "how a profile authenticates"),
        ("a: {secret_ref: x}", "how a profile authenticates"),
        ("list: [x, {y: 's3://lake'}]", "is or holds a URL"),
    ],
)
def test_infrastructure_is_refused_and_not_shown(text: str, says: str) -> None:
    found = faults(text + "\n")
    assert len(found) == 1
    assert says in found[0]
    assert "belongs in platform.yaml" in found[0]
    assert "lake" not in found[0]


@pytest.mark.parametrize(
    "value", ["group:bronze", "'*/5 * * * *'", "python:3.11", "a.b.c", "/srv/x", "tag:v1", "'12:30'", "1.0.0", "':memory:'"]
)
def test_what_is_no_place_passes(value: str) -> None:
    assert faults(f"a: {value}\n") == []


def test_a_name_must_be_that_of_a_profile_and_the_nearest_is_told() -> None:
    assert faults("catalog: producton\n", KNOWN) == [
        "1: catalog names no profile under catalogs: in platform.yaml: did you mean 'production'?"
    ]
    assert faults("catalog: lake\n", KNOWN)[0].endswith("one of that name stands under storage:")
    assert faults("storage: zzz\n", KNOWN)[0].endswith("there are lake")
    assert faults("compute: zzz\n", KNOWN)[0].endswith("there is none")
    assert "zzz" not in faults("compute: zzz\n", KNOWN)[0]


def test_broken_yaml_is_told_by_its_place_only() -> None:
    assert faults("a: [\nb: x\n") == ["3: line 3 is not valid YAML: look at quotes, colons and indentation, here and above"]
    assert "line 2" in faults("a: 1\na: 2\n")[0]


def test_a_credential_is_told_before_any_fault() -> None:
    result = judged("floe.yaml", f"a: [\ncatalog: {KEY_ID}\n".encode())
    assert [one.field for one in result.credentials] == ["catalog"]
    assert result.faults == ()
