from __future__ import annotations

from typing import Any

import pytest

from credbroker.config import from_data
from credbroker.errors import ConfigurationError

KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"
JWT = "eyJhbGciOiJub25l" + ".eyJzdWIiOiJhIn0"


@pytest.mark.parametrize(
    "data",
    [
        {"catalogs": {"a": {"properties": {"token": "hunter2"}}}},
        {"catalogs": {"a": {"properties": {"s3.secret-access-key": "hunter2"}}}},
        {"catalogs": {"a": {"properties": {"adls.account-key": "hunter2"}}}},
        {"catalogs": {"a": {"properties": {"credential": "id:hunter2"}}}},
        {"catalogs": {"a": {"properties": {"header.Authorization": "Bearer hunter2"}}}},
        {"catalogs": {"a": {"type": "sql", "uri": "postgresql+psycopg2://svc:hunter2@db/catalog"}}},
        {"catalogs": {"a": {"uri": f"https://catalog/{KEY_ID}"}}},
        {"storage": {"a": {"secret_key": "hunter2"}}},
        {"storage": {"a": {"access_key": KEY_ID}}},
        {"storage": {"a": {"endpoint": "https://svc:hunter2@store"}}},
        {"storage": {"a": {"credentials": {"secret_ref": KEY_ID}}}},
        {"storage": {"a": {"type": "azure", "notes": "https://x.blob/?sv=1&sig=" + "A" * 40}}},
        {"compute": {"a": {"properties": {"password": "hunter2"}}}},
        {"compute": {"a": {"properties": {"connection": {"api_key": "hunter2"}}}}},
        {"compute": {"a": {"properties": {"list": [{"x": JWT}]}}}},
        {"compute": {"a": {"properties": {"x": "-----BEGIN RSA PRIVATE KEY-----"}}}},
        {"compute": {"a": {"credentials": {"mode": "own", "password": "hunter2"}}}, "plugins": ["own"]},
        {"principal": KEY_ID},
        {"network": {"ca_file": "ghp_" + "a" * 36}},
        {"secret_backends": [{"type": "gcp", "api_key": "hunter2"}]},
    ],
)
def test_a_literal_credential_is_refused_and_not_shown(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_data(data)
    message = str(caught.value)
    assert "holds a literal credential (not shown)" in message
    for secret in ("hunter2", KEY_ID, JWT, "sig=", "ghp_"):
        assert secret not in message


@pytest.mark.parametrize(
    "data",
    [
        {"compute": {"a": {"properties": {"password": "${env:DB_PASSWORD}"}}}},
        {"compute": {"a": {"properties": {"password": "{{ env_var('DB_PASSWORD') }}"}}}},
        {"compute": {"a": {"properties": {"password": {"secret_ref": "db"}}}}},
        {"catalogs": {"a": {"properties": {"token-refresh-enabled": "true", "rest.oauth2.client-id": "svc"}}}},
        {"catalogs": {"a": {"type": "sql", "uri": "postgresql://svc@db/catalog"}}},
        {"catalogs": {"a": {"type": "sql", "uri": "postgresql://svc:${PASSWORD}@db/catalog"}}},
        {"storage": {"a": {"kms_keys": ["arn:aws:kms:us-east-1:123456789012:key/1"]}}},
        {"stringData": {"client_secret": "hunter2"}},
    ],
)
def test_what_is_no_literal_credential_of_ours_loads(data: dict[str, Any]) -> None:
    from_data(data)
