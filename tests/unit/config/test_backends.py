from __future__ import annotations

import pytest

from credbroker.config import from_data, resolver
from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.secrets.reference import SecretReference

from .files import Files

REFERENCE = SecretReference(secret_ref="name")


def test_the_backends_are_asked_in_the_order_of_the_file() -> None:
    platform = from_data({"secret_backends": [{"type": "files", "path": "/one"}, {"type": "files", "path": "/two/"}]})
    files = Files({"/two/name": "second"})
    assert resolver(platform, files).resolve(REFERENCE).get_secret_value() == "second"
    files.files = {"/two/name": "second", "/one/name": "first"}
    assert resolver(platform, files).resolve(REFERENCE).get_secret_value() == "first"


def test_the_default_names_both_places() -> None:
    with pytest.raises(SecretNotFound, match=r"'NAME', then file '/var/run/secrets/name'"):
        resolver(from_data({}), Files({})).resolve(REFERENCE)


@pytest.mark.parametrize("kind", ["vault", "aws_secrets_manager", "aws_ssm", "gcp", "azure", "kms", "dynamodb_kms"])
def test_a_backend_of_a_later_version_loads_and_is_refused_at_use(kind: str) -> None:
    platform = from_data({"secret_backends": [{"type": "files", "path": "/one"}, {"type": kind}]})
    found = resolver(platform, Files({"/one/name": "value"})).resolve(REFERENCE)
    assert found.get_secret_value() == "value"
    with pytest.raises(ConfigurationError, match=f"the type '{kind}' is not supported by this version"):
        resolver(platform, Files({})).resolve(REFERENCE)
