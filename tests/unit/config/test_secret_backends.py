from __future__ import annotations

from typing import Any

import pytest

from credbroker.config import from_data, resolver
from credbroker.config.secret_backends import TYPES, BackendAuthConfig, BackendConfig
from credbroker.context import Context
from credbroker.errors import ConfigurationError
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendLogin, BackendSettings

from .files import Files

REFERENCE = SecretReference(secret_ref="name")


def test_every_key_of_a_type_is_one_of_the_models_and_of_the_settings() -> None:
    for keys in TYPES.values():
        assert keys.known <= BackendConfig.model_fields.keys()
        assert keys.known <= set(BackendSettings.__dataclass_fields__)
        for login in keys.auth.values():
            assert login.known <= BackendAuthConfig.model_fields.keys()
            assert login.known <= set(BackendLogin.__dataclass_fields__)


@pytest.mark.parametrize(
    ("backend", "fault"),
    [
        ({"type": "valt"}, "secret_backends[0].type is an unknown type: did you mean 'vault'?"),
        ({"type": "x"}, "or list it under plugins"),
        ({"type": "env", "path": "/x"}, "secret_backends[0].path is an unknown key"),
        ({"type": "vault", "adress": "https://v"}, "secret_backends[0].adress is an unknown key: did you mean 'address'?"),
        ({"type": "vault", "auth": {"method": "ldap"}}, "secret_backends[0].auth.method is an unknown method for 'vault'"),
        (
            {"type": "vault", "auth": {"method": "approle", "token": {"secret_ref": "t"}}},
            "secret_backends[0].auth.token is an unknown key",
        ),
        ({"type": "gcp", "auth": {"method": "kubernetes"}}, "an unknown method for 'gcp': use service_account_key"),
        ({"type": "vault", "auth": {"method": "token", "token": "hunter2"}}, "holds a literal"),
    ],
)
def test_what_a_backend_says_is_checked_when_the_file_is_loaded(backend: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_data({"secret_backends": [backend]})
    assert fault in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "key"),
    [
        ({"type": "vault"}, "address"),
        (
            {"type": "vault", "address": "https://v.internal", "auth": {"method": "approle", "role_id": "r"}},
            "auth.secret_id",
        ),
        ({"type": "aws_ssm", "region": "eu-west-1"}, "credential_source"),
        ({"type": "gcp", "project": "p"}, "auth"),
        ({"type": "azure"}, "address"),
        ({"type": "kms", "path": "/sealed", "region": "eu-west-1", "credential_source": "environment"}, "key_id"),
        ({"type": "dynamodb_kms", "table": "t"}, "credential_source"),
    ],
)
def test_a_backend_that_lacks_a_key_loads_and_raises_when_those_before_it_lack_the_secret(
    backend: dict[str, Any], key: str
) -> None:
    platform = from_data({"secret_backends": [{"type": "files", "path": "/one"}, backend]})
    held = Context(environment=Files({"/one/name": "value"}))
    assert resolver(platform, held).resolve(REFERENCE).get_secret_value() == "value"
    with pytest.raises(
        ConfigurationError,
        match=rf"^secret 'name': not in file '/one/name'; secret_backends\[1\]: {key} is missing: a backend of type",
    ):
        resolver(platform, Context(environment=Files({}))).resolve(REFERENCE)


def test_a_plug_in_that_is_not_installed_is_named_when_it_is_needed() -> None:
    platform = from_data({"plugins": ["acme"], "secret_backends": [{"type": "acme", "shelf": "prod"}]})
    assert platform.secret_backends[0].options == {"shelf": "prod"}
    with pytest.raises(ConfigurationError, match="'acme'"):
        resolver(platform, Context()).resolve(REFERENCE)


def test_a_plug_in_may_not_have_the_name_of_a_built_in_backend() -> None:
    with pytest.raises(ConfigurationError, match="is the built-in backend 'vault'"):
        from_data({"plugins": ["vault"]})
