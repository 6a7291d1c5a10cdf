from __future__ import annotations

from typing import Any

import pytest

from credbroker.config import from_data
from credbroker.config.secrets_named import looked_up_here, secrets_of


def named(**sections: Any) -> list[str]:
    return [str(reference) for reference in secrets_of(from_data({"environment": "local", **sections}))]


def test_each_secret_of_a_profile_is_found_once_wherever_it_stands() -> None:
    exchange = {"url": "https://ci.example/token", "headers": {"Authorization": {"secret_ref": "of-a-header"}}}
    oauth2 = {
        "mode": "oauth2",
        "client_id": {"secret_ref": "login", "field": "id"},
        "client_secret": {"secret_ref": "login", "field": "secret", "next": "login-next"},
        "subject_token": exchange,
    }
    static = {"mode": "static", "secret_ref": "keys"}
    storage = {"lake": {"endpoint": {"secret_ref": "address"}, "credentials": static}, "pond": {"credentials": static}}
    catalogs = {
        "rest": {"uri": {"secret_ref": "rest-uri"}, "credentials": oauth2, "storage": ["lake"]},
        "history": {"type": "sql", "uri": {"secret_ref": "history-uri"}},
    }
    compute = {"reporting": {"type": "postgres", "credentials": {"mode": "static", "secret_ref": "reporting"}}}
    found = named(catalogs=catalogs, storage=storage, compute=compute)
    assert sorted(found) == sorted(
        ["rest-uri", "login.id", "login.secret", "of-a-header", "history-uri", "keys", "address", "reporting"]
    )


def test_what_is_no_profiles_is_not_among_them() -> None:
    vault = {
        "type": "vault",
        "address": "https://vault",
        "auth": {"method": "token", "token": {"secret_ref": "vault-token"}},
    }
    assert named(secret_backends=[vault], audit={"key": {"secret_ref": "audit-key"}}) == []


@pytest.mark.parametrize(
    ("sections", "here"),
    [
        ({}, True),
        ({"secret_backends": [{"type": "files", "path": "/secrets"}, {"type": "env"}]}, True),
        ({"secret_backends": [{"type": "env"}, {"type": "aws_ssm", "region": "eu-west-1"}]}, False),
    ],
)
def test_the_environment_and_files_are_here(sections: dict[str, Any], here: bool) -> None:
    assert looked_up_here(from_data(sections)) is here
