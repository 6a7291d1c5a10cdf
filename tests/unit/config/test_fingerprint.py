from __future__ import annotations

from typing import Any

import pytest

from credbroker.config import PlatformConfig, from_data, load_files

from .files import Files

DATA: dict[str, Any] = {
    "catalogs": {"a": {"uri": "https://c", "credentials": {"mode": "oauth2", "scope": "s"}}},
    "storage": {"b": {"max_ttl": "1h", "locations": ["s3://lake/x/"]}},
}
YAML = """\
# the same content in another order and form
storage:
  b: {locations: ["s3a://lake/x"], max_ttl: 3600, lifecycle: {days: 1}}
infrastructure: {timezone: UTC}
catalogs:
  a:
    credentials: {scope: s, mode: oauth2}
    uri: https://c
"""


def test_it_is_of_the_content_not_of_its_form() -> None:
    fingerprint = from_data(DATA).fingerprint
    assert len(fingerprint) == 64
    for name in ("p.yaml", "other/name.yaml"):
        assert load_files([name], Files({name: YAML})).fingerprint == fingerprint
    assert from_data(PlatformConfig(**DATA)).fingerprint == fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"environment": "dev"},
        {"principal": "svc"},
        {"plugins": ["own"]},
        {"network": {"allowed_hosts": ["a"]}},
        {"secret_backends": [{"type": "env"}]},
        {"audit": {"required": False}},
        {"storage": {"b": {"max_ttl": "59m", "locations": ["s3://lake/x/"]}}},
        {"storage": {"b": {"max_ttl": "1h", "locations": ["s3://lake/x/"], "allow_unscoped": True}}},
        {"compute": {"c": {}}},
    ],
)
def test_it_changes_with_whatever_bears_on_a_credential(change: dict[str, Any]) -> None:
    assert from_data({**DATA, **change}).fingerprint != from_data(DATA).fingerprint


def test_it_covers_a_plugins_own_keys() -> None:
    def of(tenant: str) -> str:
        data = {"plugins": ["own"], "storage": {"a": {"credentials": {"mode": "own", "tenant": tenant}}}}
        return from_data(data).fingerprint

    assert of("one") != of("two")


def test_what_the_sidecar_serves_bears_on_no_credential() -> None:
    binding = {"storage": "b", "protocols": ["aws-container"]}
    sidecars: list[object] = [None, {}, {"listen": "[::1]:1"}, {"bindings": {"b": binding}}]
    assert {from_data({**DATA, "sidecar": sidecar}).fingerprint for sidecar in sidecars} == {from_data(DATA).fingerprint}
