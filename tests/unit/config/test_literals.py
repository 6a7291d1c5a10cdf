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
        *(
            {"catalogs": {"a": {"type": "sql", "uri": uri}}}
            for uri in (
                "postgresql://u:hunter2$x@h",
                "postgresql://u:hunter2{x@h",
                "postgresql://u:hunter2/b@h",
                "postgresql://u:a?b#hunter2@h/db",
                "postgresql://u:a@hunter2@h",
                "postgresql://u@server:a/hunter2@h",
                "postgresql://u:${USER}hunter2@h",
                "postgresql://u:${PASSWORD:-hunter2}@h",
                "redis://:hunter2@h/0",
                "postgresql://h/db?password=hunter2",
                "postgresql://h/db?sslmode=require&sslPassword=hunter2",
                "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7Bx%7D%3BUID%3Du%3BPWD%3Dhunter2",
            )
        ),
        {"storage": {"a": {"endpoint": "https://store/?api_key=hunter2"}}},
        {"storage": {"a": {"endpoint": "https://store/?token=hunter2"}}},
        {"compute": {"a": {"properties": {"dsn": "host=db user=u password=hunter2"}}}},
        *(
            {"catalogs": {"a": {"properties": {key: "hunter2"}}}}
            for key in (
                *("clientSecret", "accessKey", "apikey", "APIKey", "pwd", "sasToken", "header.Cookie", "jwt", "signing_key"),
                *("CLIENT-SECRET", "s3.secretAccessKey"),
            )
        ),
        {"compute": {"a": {"properties": {"password": 4711}}}},
        {"compute": {"a": {"properties": {"password": "{{ x }}hunter2{{ y }}"}}}},
        {"principal": KEY_ID},
        {"network": {"ca_file": "ghp_" + "a" * 36}},
        {"plugins": ["acme"], "secret_backends": [{"type": "acme", "api_key": "hunter2"}]},
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
        {"catalogs": {"a": {"type": "sql", "uri": "postgresql://${env:USER}:${env:PASS/WORD}@db/catalog"}}},
        {"catalogs": {"a": {"type": "sql", "uri": "postgresql://svc@db:5432/catalog?application_name=a@b&sslmode=require"}}},
        {"catalogs": {"a": {"type": "sql", "uri": "postgresql://db:5432/catalog?user=a@b&password=${PASSWORD}"}}},
        {"catalogs": {"a": {"type": "sql", "uri": "sqlite:////data/a@b:c.db"}}},
        {"catalogs": {"a": {"uri": "https://[::1]:8181/api/a@b", "properties": {"token-exchange-enabled": "true"}}}},
        {"catalogs": {"a": {"uri": "https://polaris:8181/api/catalog", "properties": {"header.X-Key-Type": "jwt"}}}},
        {"storage": {"a": {"type": "azure", "locations": ["abfss://lake@acme.dfs.core.windows.net/raw/token=x"]}}},
        {"catalogs": {"a": {"properties": {"credential": "${ID}:${SECRET}", "page_token": "x", "max_tokens": 5}}}},
        {"storage": {"a": {"kms_keys": ["arn:aws:kms:us-east-1:123456789012:key/1"]}}},
        {"stringData": {"client_secret": "hunter2"}},
    ],
)
def test_what_is_no_literal_credential_of_ours_loads(data: dict[str, Any]) -> None:
    from_data(data)
