"""Google Cloud as a machine meets it: its servers, the places of subject tokens, and what a configuration says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credbroker import Broker
from credbroker.context import Context, HttpRequest
from credbroker.secrets.resolver import Resolver, default_backends
from credbroker.system.environment import SystemEnvironment
from credbroker.system.http import SystemHttp
from credbroker.testing import ManualClock
from tests.servers.google_cloud import GoogleCloud, Issued
from tests.servers.rerouted import Rerouted
from tests.servers.strict import Answer, Asked, StrictServer

if TYPE_CHECKING:
    import pytest

PREFIXES = ("gs://lake/sales/", "gs://lake/finance/", "gs://lake/people/")


class TokenUrl(StrictServer):
    """Where a subject token is asked for, as a CI or a sidecar offers one."""

    def __init__(self) -> None:
        super().__init__()
        self.body: object = None
        self.expected = ("/token?audience=pool", "x-asked-by", "credbroker")

    def answer(self, asked: Asked) -> Answer:
        url, header, value = self.expected
        assert (asked.method, f"{asked.url.path}?{asked.url.query}") == ("GET", url)
        assert asked.headers[header] == value
        assert not asked.body
        raw = self.body.encode() if isinstance(self.body, str) else self.body
        return Answer(200, raw)


@dataclass
class World:
    """Google Cloud as a machine sees it, and what its configuration says."""

    google: GoogleCloud
    folder: Path
    clock: ManualClock
    url: TokenUrl
    http: Rerouted

    def write(self, text: str) -> None:
        (self.folder / "token").write_text(text)

    def settings(self, source: str, **more: Any) -> dict[str, Any]:
        """The ``credentials:`` block for a base identity, which is set up with it."""
        federated = {"credential_source": "web_identity", "audience": self.google.audience}
        subject = {"headers": {"X-Asked-By": "credbroker"}, "url": f"{self.url.uri}/token?audience=pool"}
        blocks: dict[str, dict[str, Any]] = {
            "key": {"credential_source": "key", "key": {"secret_ref": "gcp-key"}},
            "metadata": {"credential_source": "metadata"},
            "aws": {**federated, "subject_token": {"aws": "environment"}},
            "file": {**federated, "subject_token": {"file": str(self.folder / "token")}},
            "secret": {**federated, "subject_token": {"secret_ref": "pod-token"}},
            "url": {**federated, "subject_token": subject},
            "field": {**federated, "subject_token": {**subject, "field": "id_token"}},
            "profile": {**federated, "subject_token": {"profile": "other"}},
        }
        token = self.google.pod_token()
        self.write(token + "\n")
        self.url.body = {"id_token": token} if source == "field" else token
        return {"mode": "service_account", **blocks[source], **more}

    def config(self, block: dict[str, Any], **more: Any) -> dict[str, Any]:
        other = {"mode": "static", "secret_ref": "pod-token"}
        return {
            "environment": "development",
            "storage": {
                "lake": {
                    "type": "gcs",
                    "locations": list(PREFIXES),
                    "access": "read_write",
                    "credentials": block,
                    **more,
                }
            },
            "catalogs": {
                "biglake": {"uri": "https://biglake.googleapis.com/iceberg", "credentials": {**block, "platform": "gcp"}}
            },
            "compute": {
                "bigquery": {"type": "bigquery", "credentials": {**block, "platform": "gcp"}},
                "other": {"credentials": other},
            },
        }

    def broker(self, block: dict[str, Any], *, real_time: bool = False, **more: Any) -> Broker:
        environment = SystemEnvironment()
        secrets = Resolver(default_backends(), Context(environment=environment))
        parts: dict[str, Any] = {} if real_time else {"clock": self.clock}
        context = Context(http=self.http, environment=environment, secrets=secrets, **parts)
        return Broker.from_config(self.config(block, **more), context=context)

    def of(self, token: str) -> Issued:
        return self.google.tokens[token]


@contextmanager
def google_world(folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world, with its keys in this process's environment."""
    with ExitStack() as running:
        google = running.enter_context(GoogleCloud(clock.now))
        url = running.enter_context(TokenUrl())
        key_id, secret, token = google.aws_key
        variables = {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}
        for name, value in {**variables, "GCP_KEY": google.key, "POD_TOKEN": google.pod_token()}.items():
            monkeypatch.setenv(name, value)
        yield World(google, folder, clock, url, Rerouted(SystemHttp(), google.origins))


def over(http: Rerouted) -> Any:
    """google-auth's transport, by ours: its requests go to the same server."""
    from google.auth.transport import Request, Response

    class Over(Request):  # type: ignore[misc]  # untyped
        def __call__(self, url: str, method: str = "GET", body: Any = None, headers: Any = None, **_: Any) -> Any:
            raw = body.encode() if isinstance(body, str) else body
            got = http.send(HttpRequest(method, url, dict(headers or {}), raw), timeout=10)

            class Got(Response):  # type: ignore[misc]
                status = property(lambda _: got.status)
                headers = property(lambda _: got.headers)
                data = property(lambda _: got.body)

            return Got()

    return Over()
