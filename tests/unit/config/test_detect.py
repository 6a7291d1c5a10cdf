from __future__ import annotations

import base64
import sys

import pytest

from credbroker.config.detect import Detectors, detectors
from credbroker.errors import ConfigurationError

KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"
RANDOM = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYq8Zt3Lw9Ks"
JWT = "eyJhbGciOiJub25lIn0" + ".eyJzdWIiOiJhIn0.c2ln"


@pytest.mark.parametrize(
    ("key", "text", "kind"),
    [
        # The classes that the reference names: AWS keys, tokens and passwords, keys and certificates, base64, high entropy.
        ("catalog", KEY_ID, "AWS Access Key"),
        ("catalog", "ASIA" + "IOSFODNN7EXAMPLE", "AWS Access Key"),
        ("aws_secret_access_key", RANDOM, "AWS Access Key"),
        ("secret_access_key", RANDOM, "Secret Keyword"),
        ("password", "hunter2!x", "Secret Keyword"),
        ("clientSecret", "hunter2", "Secret Keyword"),
        ("api_key", "4711", "Secret Keyword"),
        ("x", "ghp_" + "a1B2" * 9, "GitHub Token"),
        ("x", "github_pat_" + "a1B2" * 9, "GitHub Token"),
        ("x", JWT, "JSON Web Token"),
        ("x", "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE", "Private Key"),
        ("x", "-----BEGIN " + "CERTIFICATE-----\nMIIC", "Certificate"),
        ("x", base64.b64encode(b"admin:" + b"hunter2-hunter2").decode(), "Base64 Encoded Secret"),
        ("x", RANDOM, "Base64 High Entropy String"),
        ("description", f"use {RANDOM} for it", "Base64 High Entropy String"),
        ("x", "0123456789abcdef" * 2, "Hex High Entropy String"),
        ("x", "k3j9x0" + "q8z7v6m5n4b3c2x1" + "p0o9i8u7", "Base64 High Entropy String"),
        # What stock detect-secrets misses.
        ("x", "https://a.blob.core.windows.net/c?sv=1&sig=" + "A1b2%2F" * 6, "Azure SAS Token"),
        ("x", "sig=" + "A1b2%2F" * 6, "Azure SAS Token"),
        ("x", "hvs." + "CAESIJ" * 5, "Vault Token"),
        ("x", "hvb." + "CAESIJ" * 5, "Vault Token"),
        ("x", "s." + "1aB2cD3eF4gH5iJ6kL7mN8oP", "Vault Token"),
        ("x", "dapi" + "0123456789abcdef" * 2, "Databricks Token"),
        ("x", "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q", "Google API Key"),
        ("x", '{"type": "service_account", "private_key_id": "' + "0a" * 20 + '"}', "Google Service Account Key"),
        ("x", "abc" + "8Q~" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6", "Azure Client Secret"),
        ("x", "postgresql://svc:hunter2@db/catalog", "Basic Auth Credentials"),
        ("x", "snowflake://svc:hunter2@account/db", "Basic Auth Credentials"),
        ("x", "DRIVER=x;UID=svc;PWD=hunter2", "Connection String Password"),
        ("x", "host=db user=svc password=hunter2", "Connection String Password"),
        ("x", "https://store/?api_key=hunter2", "Connection String Password"),
        # A reference names a secret; pasted as one, a secret is found all the same.
        ("secret_ref", "ghp_" + "a1B2" * 9, "GitHub Token"),
        ("secretName", KEY_ID, "AWS Access Key"),
        ("next", RANDOM, "Base64 High Entropy String"),
        # A template around or beside it hides nothing.
        ("x", "${" + KEY_ID + "}", "AWS Access Key"),
        ("password", "{{ prefix }}hunter2", "Secret Keyword"),
        ("password", "${PASSWORD:-hunter2}", "Secret Keyword"),
        ("x", "first\n  password: hunter2\nlast", "Secret Keyword"),
        ("x", '{"password": "hunter2"}', "Secret Keyword"),
    ],
)
def test_a_credential_in_a_field_has_its_name(key: str, text: str, kind: str) -> None:
    assert detectors().in_field(key, text) == kind


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("secret_ref", "polaris-prod-oauth"),
        ("next", "polaris-prod-oauth-next"),
        ("secretName", "polaris-prod-oauth"),
        ("existingSecret", "polaris-prod-oauth"),
        ("property", "client_secret"),
        ("password", "${DB_PASSWORD}"),
        ("password", "{{ .Values.password }}"),
        ("token", "${{ secrets.GITHUB_TOKEN }}"),
        ("id-token", "write"),
        ("password", "<your password>"),
        ("password", "********"),
        ("password_file", "/run/secrets/password"),
        ("token_url", "https://polaris.internal/api/catalog/v1/oauth/tokens"),
        ("secret", "ENC[AES256_GCM,data:Zm9v,iv:YmFy,type:str]"),
        ("id", "123e4567-e89b-12d3-a456-426614174000"),
        ("image", "broker@sha256:" + "0123456789abcdef" * 4),
        ("uses", "actions/checkout@" + "0123456789abcdef01234567890123456789abcd"),
        ("sha256", "0123456789abcdef" * 4),
        ("integrity", "sha512-" + RANDOM * 2),
        ("role_arn", "arn:aws:iam::123456789012:role/FloeDataPlatformAccessRole"),
        ("kms_key_id", "arn:aws:kms:us-east-1:999888777666:key/1f2e3d4c-5b6a-4789-8abc-def012345678"),
        ("uri", "https://polaris.internal:8181/api/catalog"),
        ("location", "s3://lake/sales/2026/Q1/AbCdEf123456/part-00000"),
        ("account_id", "123456789012"),
        ("path", "services/reporting/Monthly_KPI_export-2026/v12"),
        ("name", "dagster-run-worker-orders-backfill-2026-01-02"),
        ("role", "DataEngineeringPlatformAdministratorRole2"),
        ("description", "The client secret: see the wiki"),
        ("scope", "PRINCIPAL_ROLE:DATA_ENGINEER"),
    ],
)
def test_what_only_looks_like_one_is_none(key: str, text: str) -> None:
    assert detectors().in_field(key, text) is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f"# was {KEY_ID}", "AWS Access Key"),
        ("# password: hunter2", "Secret Keyword"),
        (f"# {RANDOM}", "Base64 High Entropy String"),
        ("# token: optional", None),
        ("#   POLARIS_CLIENT_SECRET  - OAuth2 client secret for Polaris", None),
    ],
)
def test_a_line_that_nobody_knows_is_looked_through(line: str, kind: str | None) -> None:
    assert detectors().in_line(line) == kind


def test_in_any_text_only_the_form_counts() -> None:
    assert detectors().in_text(f"export KEY={KEY_ID}") == "AWS Access Key"
    assert detectors().in_text("password = hunter2") is None
    assert detectors().in_text(RANDOM) is None


def test_a_missing_plug_in_is_an_error_and_not_a_weaker_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detect_secrets.plugins.gitlab_token", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'credbroker-data\[scan\]'"):
        Detectors()
