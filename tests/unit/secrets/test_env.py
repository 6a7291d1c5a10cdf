from __future__ import annotations

import pytest

from credbroker.context import Context
from credbroker.secrets.env import EnvBackend, variable_of
from credbroker.secrets.reference import SecretReference


class Variables:
    """An environment of variables alone."""

    def __init__(self, **variables: str) -> None:
        self.variables = variables

    def variable(self, name: str) -> str | None:
        return self.variables.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        raise FileNotFoundError(path)

    def names(self, path: str) -> None:
        return None


def value(name: str, field: str | None = None, **variables: str) -> str | None:
    found = EnvBackend().look(SecretReference(secret_ref=name, field=field), Context(environment=Variables(**variables)))
    return found.secret.get_secret_value() if found.secret is not None else None


def test_a_name_maps_to_upper_snake_case() -> None:
    assert variable_of("polaris-oauth_Secret2") == "POLARIS_OAUTH_SECRET2"
    assert value("a-b", A_B="x") == "x"


def test_an_empty_variable_is_no_secret() -> None:
    found = EnvBackend().look(SecretReference(secret_ref="a"), Context(environment=Variables(A="")))
    assert found.secret is None
    assert str(found) == "environment variable 'A' (it is empty)"


def test_one_line_end_is_stripped_and_no_more() -> None:
    assert value("a", A="x\n") == "x"
    assert value("a", A="x\r\n") == "x"
    assert value("a", A="x\n\n") == "x\n"
    assert value("a", A=" x\r") == " x\r"


@pytest.mark.parametrize(
    "name",
    [
        *("path", "home", "PATH", "user", "ld-preload", "pythonpath", "https-proxy", "lc_all"),
        *("aws-access-key-id", "aws-secret-access-key", "aws-session-token", "aws-profile", "aws_config_file"),
        *("aws-container-authorization-token", "aws-endpoint-url-s3", "AWS_ROLE_ARN"),
        *("ssl-cert-file", "requests-ca-bundle", "sslkeylogfile"),
    ],
)
def test_what_belongs_to_the_process_is_never_read_as_a_secret(name: str) -> None:
    variables = {variable_of(name): "not a secret"}
    found = EnvBackend().look(SecretReference(secret_ref=name), Context(environment=Variables(**variables)))
    assert found.secret is None
    assert "belongs to the process" in str(found)


@pytest.mark.parametrize("name", ["aws-credentials", "aws-lake", "aws-secret", "ssl-key"])
def test_a_secret_may_be_named_after_what_it_is_for(name: str) -> None:
    assert value(name, **{variable_of(name): "x"}) == "x"


def test_a_field_picks_from_json_and_nothing_else_has_it() -> None:
    """Or one plain text would be both the id and the secret of a client that names two fields."""
    assert value("a", "key", A='{"key": "x", "other": "y"}') == "x"
    found = EnvBackend().look(SecretReference(secret_ref="a", field="key"), Context(environment=Variables(A="plain")))
    assert str(found) == "environment variable 'A' (it is no JSON object, of which 'field: key' could pick)"
    assert value("a", "key", A="plain") is None
    assert value("a", "key", A="[1]") is None
    assert value("a", "key", A="{not json") is None
    assert value("a", "key", A='{"other": "y"}') is None
    assert value("a", "key", A='{"key": 5}') is None
    assert value("a", "key", A="{" * 100_000) is None
    assert value("a", "key", A='{"a":' * 100_000) is None


def test_bytes_that_are_no_utf_8_are_no_secret() -> None:
    found = EnvBackend().look(SecretReference(secret_ref="a"), Context(environment=Variables(A="x\udcff")))
    assert found.secret is None
    assert "not UTF-8" in str(found)
