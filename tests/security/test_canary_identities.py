"""The canary in every base identity of a cloud, and in every answer to it: it shows nowhere."""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from credbroker import Broker, SecretReference
from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import CredbrokerError
from credbroker.system.environment import SystemEnvironment
from credbroker.testing import FakeHttp, ManualClock
from tests.security.canary import NOW, SECRET, TOKEN, answered, assert_clean, everything_about

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
PEM_BODY = "".join(PEM.splitlines()[1:-1])
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pipeline")])
CERTIFICATE = (
    x509.CertificateBuilder()
    .subject_name(NAME)
    .issuer_name(NAME)
    .public_key(KEY.public_key())
    .serial_number(1)
    .not_valid_before(NOW - timedelta(days=1))
    .not_valid_after(NOW + timedelta(days=1))
    .sign(KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
    .decode()
)


def _part(data: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


SIGNATURE = "canary-signature-0b5e7c"
CLAIMS = {"iss": "i", "sub": "s", "aud": "a", "iat": 1767225600, "exp": 1767229200}  # of an hour, from NOW on
JWT = f"{_part({'alg': 'RS256'})}.{_part(CLAIMS)}.{SIGNATURE}"
GCP_KEY = json.dumps(
    {
        "type": "service_account",
        "client_email": "pipeline@lab.iam.gserviceaccount.com",
        "private_key_id": "k1",
        "private_key": PEM,
        "token_uri": "https://oauth2.googleapis.com/token",
    }
)
TEXTS = {
    "jwt": JWT,
    "gcp": GCP_KEY,
    "secret": SECRET,
    "pem": PEM,
    "certificate": CERTIFICATE,
    "bearer": f"Bearer {SECRET}",
    "lines": f"{SECRET}\r\nHost: {TOKEN}",
}
AUDIENCE = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool-a/providers/kube-a"
ROLE = {"mode": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/Pipe", "sts_endpoint": "https://sts.example"}
ENTRA = {"mode": "service_account", "tenant_id": "8d3a6c1e-2f6b-4c55-9f0e-5d1f0a7b9c42", "client_id": "app"}
SUBJECT = {"subject_token": {"secret_ref": "jwt"}}
S3, GS = {"region": "eu-west-1", "locations": ["s3://lake/x/"]}, {"locations": ["gs://lake/x/"]}
ABFSS = {"locations": ["abfss://data@acme.dfs.core.windows.net/x/"]}
GCP = {"mode": "service_account"}
STORES: dict[str, dict[str, Any]] = {
    "web_identity": {
        **S3,
        "credentials": {**ROLE, "credential_source": "web_identity", **SUBJECT},
    },
    "container": {**S3, "credentials": {**ROLE, "credential_source": "container"}},
    "imds": {**S3, "credentials": {**ROLE, "credential_source": "imds"}},
    "gcp key": {**GS, "credentials": {**GCP, "credential_source": "key", "key": {"secret_ref": "gcp"}}},
    "gcp pool": {
        **GS,
        "credentials": {
            **GCP,
            "credential_source": "web_identity",
            "audience": AUDIENCE,
            **SUBJECT,
        },
    },
    "gcp url": {
        **GS,
        "credentials": {
            **GCP,
            "credential_source": "web_identity",
            "audience": AUDIENCE,
            "subject_token": {
                "url": "https://ci.example/token?audience=pool",
                "headers": {"Authorization": {"secret_ref": "bearer"}},
                "field": "access_token",
            },
        },
    },
    "gcp url broken": {
        **GS,
        "credentials": {
            **GCP,
            "credential_source": "web_identity",
            "audience": AUDIENCE,
            "subject_token": {"url": "https://ci.example/token", "headers": {"Authorization": {"secret_ref": "lines"}}},
        },
    },
    "gcp metadata": {**GS, "credentials": {**GCP, "credential_source": "metadata"}},
    "entra secret": {
        **ABFSS,
        "credentials": {**ENTRA, "credential_source": "client_secret", "client_secret": {"secret_ref": "secret"}},
    },
    "entra certificate": {
        **ABFSS,
        "credentials": {
            **ENTRA,
            "credential_source": "certificate",
            "certificate": {"secret_ref": "certificate"},
            "certificate_key": {"secret_ref": "pem"},
        },
    },
    "entra federated": {
        **ABFSS,
        "credentials": {**ENTRA, "credential_source": "web_identity", **SUBJECT},
    },
    "managed identity": {**ABFSS, "credentials": {"mode": "service_account", "credential_source": "managed_identity"}},
    "managed identity of a kept name": {
        **ABFSS,
        "credentials": {
            "mode": "service_account",
            "credential_source": "managed_identity",
            "client_id": {"secret_ref": "secret"},
        },
    },
    "entra secret of a kept name": {
        **ABFSS,
        "credentials": {
            **ENTRA,
            "credential_source": "client_secret",
            "client_id": {"secret_ref": "jwt"},
            "client_secret": {"secret_ref": "secret"},
        },
    },
}
CATALOGS: dict[str, dict[str, Any]] = {
    "pod": {"mode": "service_account", "platform": "kubernetes", "subject_token": {"file": "/token"}, "audience": "a"},
    "assertion": {
        "mode": "oauth2",
        "token_url": "https://issuer.example/token",
        "client_id": "svc",
        "token_endpoint_auth_method": "private_key_jwt",
        "client_assertion": {"secret_ref": "jwt"},
    },
    "kept name": {
        "mode": "oauth2",
        "token_url": "https://issuer.example/token",
        "client_id": {"secret_ref": "secret"},
        "client_secret": {"secret_ref": "jwt"},
    },
    "grant": {
        "mode": "oauth2",
        "token_url": "https://issuer.example/token",
        "client_id": "svc",
        "token_endpoint_auth_method": "none",
        "grant_type": "jwt-bearer",
        **SUBJECT,
    },
}
ECHO = {
    "error": SECRET,
    "error_description": f"{TOKEN} {SIGNATURE}",
    "Message": f"{SECRET}",
    "access_token": TOKEN,
    "Token": TOKEN,
    "SecretAccessKey": SECRET,
    "AccessKeyId": "ASIAEXAMPLE",
    "Code": SECRET,
    "Expiration": SECRET,
    "expires_in": SECRET,
    "expires_on": SECRET,
}


def _json(status: int, data: object) -> HttpResponse:
    return answered(status, json.dumps(data).encode())


GOOD = _json(
    200,
    {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": 3600,
        "expires_on": "1767229200",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": SECRET,
        "Token": TOKEN,
        "Expiration": "2026-01-01T01:00:00Z",
    },
)
REFUSED = f"<Error><Code>{SECRET}</Code><Message>{TOKEN} {SIGNATURE}</Message></Error>".encode()
ANSWERS: dict[str, HttpResponse] = {
    **{f"HTTP {status}": _json(status, ECHO) for status in (200, 400, 401, 403, 404, 429, 500, 503)},
    "good": GOOD,
    "xml": answered(403, REFUSED),
    "xml 200": answered(200, REFUSED),
    "page": answered(200, f"<html>{SECRET}{TOKEN}</html>".encode()),
    "text": answered(200, TOKEN.encode()),
}


class World(SystemEnvironment):
    def variable(self, name: str) -> str | None:
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
        }.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        return JWT.encode()


class Held:
    def resolve(self, reference: SecretReference) -> SecretStr:
        return SecretStr(TEXTS[reference.secret_ref])

    def lease(self, reference: SecretReference) -> Any:
        raise AssertionError(reference)

    def revoke(self, lease: str) -> None:
        raise AssertionError(lease)


def clean(text: str) -> None:
    assert_clean(text)
    assert SIGNATURE not in text
    assert PEM_BODY[60:100] not in text.replace("\\n", "").replace("\n", "")


def swept(broker: Broker, source: Any, logged: io.StringIO) -> None:
    for _ in range(2):
        try:
            clean(repr(source.get()))
        except CredbrokerError as error:
            clean(everything_about(error))
    clean(f"{source!r} {broker.status()!r} {broker.revoke('c')!r}")
    clean(repr(pickle.dumps(source)))
    for slot in broker._brokerage.engine.slots():
        clean(f"{slot!r} {slot.key!r} {slot.held!r}")
    clean(logged.getvalue())


def context_of(answer: HttpResponse) -> Context:
    def answering(request: HttpRequest) -> HttpResponse:
        clean(repr(request))
        return answer

    answers: list[Callable[[HttpRequest], HttpResponse]] = [answering] * 20
    return Context(clock=ManualClock(NOW), http=FakeHttp(*answers), secrets=Held(), environment=World())


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("store", STORES)
def test_no_base_identity_of_a_store_and_no_answer_to_it_shows(store: str, answer: str, logged: io.StringIO) -> None:
    config = {"environment": "local", "storage": {"c": STORES[store]}}
    with Broker.from_config(config, context=context_of(ANSWERS[answer])) as broker:
        swept(broker, broker.storage("c"), logged)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("catalog", CATALOGS)
def test_no_token_of_a_pod_and_no_answer_to_it_shows(catalog: str, answer: str, logged: io.StringIO) -> None:
    config = {"environment": "local", "catalogs": {"c": {"uri": "https://c.example", "credentials": CATALOGS[catalog]}}}
    with Broker.from_config(config, context=context_of(ANSWERS[answer])) as broker:
        swept(broker, broker.catalog("c"), logged)
