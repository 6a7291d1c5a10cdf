"""The OAuth2 server's process, for as long as a block lasts, and all that a test may do to it.

Its listeners speak OAuth2 alone. What a test does goes through the process's stdin, where no client can reach.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

from joserfc import jwt
from joserfc.jwk import KeySet

from tests.servers.certificates import server_context
from tests.servers.oidc.clients import CLIENT_CREDENTIALS, SCOPES, Client, new_secret, registered
from tests.servers.oidc.identities import signing_key

INSTALL = "run .ci/servers"
RESOURCES = ("https://catalog.example/", "https://warehouse.example/", "polaris")
"""What tokens are given for. The last one is no URL: an audience of an exchange."""

# Read when this file is imported: a test's environment has none of our variables.
_SERVERS = Path(os.environ.get("CREDBROKER_TEST_SERVERS") or Path(__file__).resolve().parents[3] / ".servers")
_PROGRAM = Path(__file__).with_name("server.mjs")
_AN_HOUR = 3600


def installed() -> bool:
    """Whether ``node`` and oidc-provider are there to be run."""
    return shutil.which("node") is not None and (_SERVERS / "node_modules" / "oidc-provider").is_dir()


@dataclass(frozen=True)
class Received:
    """One request as the server saw it, and what it answered."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str | list[str]]
    status: int | None
    error: str | None


class OidcProvider:
    """A context manager: the server runs inside the block."""

    def __init__(self) -> None:
        self.issuer = ""
        """Its identifier, without a slash at its end; the metadata says the same."""
        self.tls_issuer = ""
        """The same clients, keys and tokens by https; ``authority`` is to be trusted there."""
        self.mtls_url = ""
        """Where that one asks for certificates: its ``mtls_endpoint_aliases``."""
        self.thumbprint = ""
        """Of the certificate of the key that signs: its SHA-1, by which AWS and Ceph know an issuer."""
        self._folder = Path()
        self._clients: dict[str, Client] = {}
        self._process: subprocess.Popen[str] | None = None
        self._turn = threading.Lock()

    @property
    def authority(self) -> str:
        """The file of the certificate that stands for ``tls_issuer`` and ``mtls_url``."""
        return str(self._folder / "ca.pem")

    @property
    def token_url(self) -> str:
        return f"{self.issuer}/token"

    @property
    def revocation_url(self) -> str:
        return f"{self.issuer}/token/revocation"

    def client(self, name: str) -> Client:
        """``basic``, ``awkward``, ``post``, ``secret-jwt``, ``rs256``, ``es256``, ``tls``, ``self-signed-tls``, ``public``,
        ``workload``, ``generous``.
        """
        return self._clients[name]

    def platform(self, mount: Path, **catalogs: Mapping[str, Any]) -> dict[str, Any]:
        """A platform.yaml whose catalogs have those ``credentials:``, and whose secrets all clients' are, in ``mount``."""
        for client in self._clients.values():
            for name, value in client.secrets.items():
                (mount / name).write_text(value)
        return {
            "environment": "development",
            "network": {"ca_file": self.authority},
            "secret_backends": [{"type": "files", "path": str(mount)}],
            "catalogs": {name: {"uri": self.issuer, "credentials": dict(block)} for name, block in catalogs.items()},
        }

    # -- what a test may do to it --------------------------------------------------------------------------------------

    def rotate(self, name: str, to: str | None = None) -> str:
        """Give the client another secret or key: a new one, or ``to``. What it had before is dead at once."""
        client = self.client(name)
        new = to or client.another()
        client.hold(new)
        self._act("change", client=client.client_id, metadata=client.registration(), accepted=[client.secret])
        return new

    def add_secret(self, name: str) -> str:
        """A second secret for the client, good beside the first until the next ``rotate``."""
        client, second = self.client(name), new_secret()
        self._act("change", client=client.client_id, metadata={}, accepted=[client.secret, second])
        return second

    def withdraw(self, name: str) -> None:
        """Take the client away."""
        self._act("withdraw", client=self.client(name).client_id)

    def trust(self, issuer: str, jwks_uri: str) -> None:
        """Take the tokens of another issuer: as assertions and subjects, and by its keys those of the client ``workload``.

        Until ``reset``, save the keys.
        """
        self._act("trust", cluster={"issuer": issuer, "jwks_uri": jwks_uri})
        self._act("change", client="workload", metadata={"jwks_uri": jwks_uri}, accepted=[])

    def token_lifetime(self, seconds: int) -> None:
        """Of the tokens from now on. At first it is an hour."""
        self._act("ttl", seconds=seconds)

    def fail(
        self, times: int, status: int, *, headers: Mapping[str, str] | None = None, body: str = "", path: str = "/token"
    ) -> None:
        """Answer so to the next requests for ``path``, before anything looks at them."""
        self._act("fault", times=times, status=status, headers=dict(headers or {}), body=body, path=path)

    def requests(self, path: str | None = None) -> list[Received]:
        """Every request since ``reset``, in order; of one path, where one is named."""
        heard = [Received(**entry) for entry in self._act("requests")]
        return [one for one in heard if path in (None, one.path)]

    def reset(self) -> None:
        """As it was at its start, for the next test. Secrets stay as they are: ``client`` knows them."""
        self._act("reset")

    # -- what a resource server does with it ---------------------------------------------------------------------------

    def introspect(self, token: str) -> dict[str, Any]:
        """What the server says of an opaque token (RFC 7662)."""
        answer: dict[str, Any] = self._post("/token/introspection", {"token": token}, self._clients["resource-server"])
        return answer

    def revoke(self, token: str, name: str) -> None:
        """End an opaque token that the client of that name, which has a secret, was given."""
        self._post("/token/revocation", {"token": token}, self.client(name))

    def claims(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a JWT of either issuer, once its signature, issuer, audience and times are found good."""
        with urlopen(f"{self.issuer}/jwks", timeout=10) as answer:  # noqa: S310 - http, and our own
            keys = KeySet.import_key_set(json.load(answer))
        decoded = jwt.decode(token, keys, algorithms=["RS256"])
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "values": [self.issuer, self.tls_issuer]},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
        ).validate(decoded.claims)
        return dict(decoded.claims)

    def subject(self, *, scope: str = SCOPES[0], resource: str | None = None) -> str:
        """A token to exchange, given to ``post``: an opaque one, or a JWT for ``resource``."""
        client = self.client("post")
        form = {"grant_type": CLIENT_CREDENTIALS, "scope": scope} | ({"resource": resource} if resource else {})
        return str(self._post("/token", form, client)["access_token"])

    def _post(self, path: str, form: Mapping[str, str], client: Client) -> Any:
        known = {"client_id": client.client_id, "client_secret": client.secret or ""}
        request = UrlRequest(self.issuer + path, data=urlencode({**form, **known}).encode())  # noqa: S310 - http, ours
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
            said = answer.read()
        return json.loads(said) if said else None

    # -- the process ---------------------------------------------------------------------------------------------------

    def _act(self, act: str, **how: Any) -> Any:
        return self._say({"act": act, **how})["done"]

    def _say(self, told: Mapping[str, Any]) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with self._turn:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        if not answer:
            raise RuntimeError("the OAuth2 server ended: " + (self._folder / "stderr").read_text()[-4000:])
        return json.loads(answer)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="credbroker-oidc-"))
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _start(self) -> None:
        server_context(self._folder)
        clients = registered(self._folder)
        # Who asks about tokens. It is nobody's profile.
        clients.append(
            Client(name="resource-server", client_id="resource-server", method="client_secret_post", secret=new_secret())
        )
        with (self._folder / "stderr").open("w") as stderr:
            self._process = subprocess.Popen(
                [shutil.which("node") or "node", str(_PROGRAM), str(_SERVERS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=self._folder,
                env={"PATH": os.defpath, "HOME": str(self._folder)},
                start_new_session=True,
            )
        authority, key = (self._folder / "ca.pem").read_text(), (self._folder / "key.pem").read_text()
        signing, self.thumbprint = signing_key()
        where = self._say(
            {
                "signing": signing,
                "clients": [client.registration() for client in clients],
                "methods": sorted({client.method for client in clients}),
                "scopes": SCOPES,
                "resources": RESOURCES,
                "ttl": _AN_HOUR,
                "tls": {"cert": authority, "key": key, "ca": authority},
            }
        )
        self.issuer, self.tls_issuer, self.mtls_url = where["issuer"], where["tls_issuer"], where["mtls"]
        for client in clients:
            client.token_url = f"{self.mtls_url}/token" if client.identity else self.token_url
            self._clients[client.name] = client

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)
