from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import botocore
import pytest

from credbroker.context import Context
from credbroker.errors import ConfigurationError, CredbrokerError, CredentialUnavailable
from credbroker.identity.aws import REGION, base_keys, partition_of, regional_endpoint, source_fault
from credbroker.profile import StorageProfile

PARTITIONS = json.loads((Path(botocore.__file__).parent / "data" / "partitions.json").read_bytes())["partitions"]


class Variables:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def variable(self, name: str) -> str | None:
        return self._variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        raise AssertionError(path)

    def names(self, path: str) -> tuple[str, ...] | None:
        raise AssertionError(path)


def world(**variables: str) -> Context:
    return Context(environment=Variables(variables))


def test_the_environments_keys_are_read_at_each_call() -> None:
    variables = {"AWS_ACCESS_KEY_ID": "AKIAONE", "AWS_SECRET_ACCESS_KEY": "secret-1", "AWS_SESSION_TOKEN": "token"}
    context = Context(environment=Variables(variables))
    keys = base_keys("environment", context)
    assert (keys.access_key_id, keys.secret_access_key.get_secret_value()) == ("AKIAONE", "secret-1")
    assert keys.session_token is not None
    assert keys.session_token.get_secret_value() == "token"
    assert "secret-1" not in repr(keys)
    variables.update(AWS_ACCESS_KEY_ID="AKIATWO", AWS_SESSION_TOKEN="")
    keys = base_keys("environment", context)
    assert (keys.access_key_id, keys.session_token) == ("AKIATWO", None)


@pytest.mark.parametrize(
    ("variables", "absent"),
    [
        ({}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "AKIA"}, "finds no AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": "canary"}, "finds no AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "canary"}, "finds no AWS_ACCESS_KEY_ID"),
    ],
)
def test_an_absent_identity_names_the_variables(variables: dict[str, str], absent: str) -> None:
    with pytest.raises(CredentialUnavailable, match=absent) as caught:
        base_keys("environment", world(**variables))
    assert_nothing_stays(caught.value)


@pytest.mark.parametrize("value", ["canary\n", " canary", "canary\r\nX-Evil: 1", "cänary", "canary\udcff"])
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_a_key_that_no_header_carries_is_named_and_not_shown(name: str, value: str) -> None:
    variables = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "canary-2", name: value}
    with pytest.raises(ConfigurationError, match=f"{name} that is not visible ASCII") as caught:
        base_keys("environment", world(**variables))
    assert_nothing_stays(caught.value)


def assert_nothing_stays(error: CredbrokerError) -> None:
    """Neither the text nor a frame that raised holds a key."""
    assert "canary" not in str(error)
    step = error.__traceback__
    while step is not None:
        if "src/credbroker" in step.tb_frame.f_code.co_filename:
            assert "canary" not in repr(step.tb_frame.f_locals)
        step = step.tb_next


def test_the_profile_is_named_where_there_is_one() -> None:
    context = Context(environment=Variables({}), profile=StorageProfile(name="lake"))
    with pytest.raises(CredentialUnavailable) as caught:
        base_keys("environment", context)
    assert caught.value.profile == "lake"


SOURCES = "'environment', 'container', 'pod_identity' or 'imds'"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (None, f"is missing: name the base identity, {SOURCES}"),
        ("web_identity", f"is 'web_identity', a token without keys, which only mode iam_role takes: use {SOURCES}"),
        ("default_chain", f"is 'default_chain', which only mode iam_role takes, outside production: use {SOURCES}"),
        ("managed_identity", f"is not known to AWS: use {SOURCES}"),
        *((source, None) for source in ("environment", "container", "pod_identity", "imds")),
    ],
)
def test_a_source_of_keys_is_one_of_four(source: str | None, fault: str | None) -> None:
    assert source_fault(source) == fault
    if fault is not None:
        with pytest.raises(ConfigurationError, match="credential_source"):
            base_keys(source, world())


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: str(partition["id"]))
def test_every_region_has_the_endpoint_that_the_sdk_gives_it(partition: dict[str, dict[str, str]]) -> None:
    for region in partition["regions"]:
        if region.endswith("-global"):
            continue
        assert REGION.fullmatch(region)
        assert partition_of(region) == partition["id"]
        assert regional_endpoint("kms", region) == f"https://kms.{region}.{partition['outputs']['dnsSuffix']}/"
