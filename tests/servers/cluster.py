"""A Kubernetes cluster, as far as its service accounts' tokens go: who signs them, and the file that a pod has them in.

Sources: kubernetes.io, "Service account issuer discovery" (the two documents), "ServiceAccount token volume projection" (the
kubelet replaces a token at 80 % of its life) and the API reference of TokenRequest (the claims). No cluster can be had from
a package index.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from tests.servers.loopback import LoopbackServer

NAMESPACE, ACCOUNT = "data", "pipeline"
SUBJECT = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
JWKS = "/openid/v1/jwks"
ROTATED_AT = 0.8


@cache
def signing_key(which: str = "cluster-1") -> RSAKey:
    """One for all tests: to make it takes longer than most of them."""
    return RSAKey.generate_key(2048, {"kid": which, "use": "sig", "alg": "RS256"})


def projected_token(
    audience: str,
    lifetime: timedelta = timedelta(hours=1),
    *,
    now: datetime | None = None,
    issuer: str = "https://kubernetes.default.svc.cluster.local",
    key: RSAKey | None = None,
    **claims: object,
) -> str:
    """A token as the kubelet writes it; a claim that is None is taken away."""
    at = now or datetime.now(UTC)
    stated = {
        "aud": [audience],
        "exp": math.ceil((at + lifetime).timestamp()),
        "iat": math.floor(at.timestamp()),
        "iss": issuer,
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {
            "namespace": NAMESPACE,
            "pod": {"name": "job-1", "uid": "uid-of-job-1"},
            "serviceaccount": {"name": ACCOUNT, "uid": f"uid-of-{ACCOUNT}"},
        },
        "nbf": math.floor(at.timestamp()),
        "sub": SUBJECT,
    } | claims
    signing = key or signing_key()
    header = {"alg": "RS256", "kid": signing.kid or ""}
    return jwt.encode(header, {name: one for name, one in stated.items() if one is not None}, signing)


def verified(token: str, *, issuer: str, audience: str, key: RSAKey | None = None) -> dict[str, Any] | None:
    """The claims, if the token is one of that issuer, for that audience, and good now (RFC 7523 section 3); else None."""
    try:
        claims = jwt.decode(token, KeySet([key or signing_key()]), algorithms=["RS256"]).claims
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            nbf={"essential": True},
            sub={"essential": True},
        ).validate(claims)
    except (JoseError, ValueError):
        return None
    return dict(claims)


class Cluster(LoopbackServer):
    """A context manager: the issuer ``uri``, with its discovery document and its keys."""

    def __init__(self) -> None:
        super().__init__(_Documents)

    @property
    def jwks_uri(self) -> str:
        return self.uri + JWKS

    def token(self, audience: str, lifetime: timedelta = timedelta(hours=1), **claims: Any) -> str:
        """A token that its keys verify."""
        return projected_token(audience, lifetime, **{"issuer": self.uri, **claims})

    def document(self, path: str) -> object:
        if path == JWKS:
            return {"keys": [signing_key().as_dict(private=False)]}
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.uri,
                "jwks_uri": self.jwks_uri,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        return None


class ProjectedVolume:
    """The pod's volume: its file is replaced by one symbolic link that is renamed, so it is never half written."""

    def __init__(self, folder: Path, path: str = "token") -> None:
        self.file = folder / path
        self.writes = 0
        self._folder = folder

    def write(self, content: str) -> None:
        self.writes += 1
        data = self._folder / "..data"
        before = data.resolve() if data.is_symlink() else None
        version = self._folder / f"..2026_11_23_{self.writes}"
        version.mkdir()
        (version / self.file.name).write_text(content)
        (self._folder / "..data_tmp").symlink_to(version.name)
        (self._folder / "..data_tmp").rename(data)
        if not self.file.is_symlink():
            self.file.symlink_to(Path("..data") / self.file.name)
        if before is not None:
            shutil.rmtree(before)


class Kubelet:
    """A context manager: a token is in the volume from its start on, and another one each time 80 % of a life is over."""

    def __init__(self, volume: ProjectedVolume, make: Callable[[], str], lifetime: timedelta) -> None:
        self._volume = volume
        self._make = make
        self._every = lifetime.total_seconds() * ROTATED_AT
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._volume.write(self._make())

    def __enter__(self) -> Self:
        self._volume.write(self._make())
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()


class _Documents(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        owner: Cluster = self.server.owner  # type: ignore[attr-defined]
        document = owner.document(self.path)
        content = json.dumps(document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Print nothing."""
