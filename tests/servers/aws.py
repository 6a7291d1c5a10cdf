"""moto's server on loopback, for as long as a block lasts: Secrets Manager, Parameter Store, KMS, DynamoDB and STS.

It checks keys, signatures and identity policies, as moto does only where it is told to. A proxy before it notes each
request, so that a test can count them at the server's end.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from tests.servers.loopback import LoopbackServer

REGION = "eu-west-1"
INSTALL = "pip install 'moto[server]'"
_RUNNING = re.compile(r"Running on http://127\.0\.0\.1:([0-9]+)")
_SETTING_UP = 3  # requests for which moto asks for no keys: those that make the owner
_PATIENCE = 60.0


def installed() -> bool:
    """Whether moto and what its server needs are there to be run."""
    return all(find_spec(name) is not None for name in ("moto", "flask", "flask_cors"))


class Aws(LoopbackServer):
    """A context manager: the servers run inside the block. ``uri`` is the endpoint of every service."""

    def __init__(self) -> None:
        super().__init__(_Proxy)
        self.calls: list[str] = []
        """What came in at ``uri``, by operation: ``["secretsmanager.GetSecretValue"]``."""
        self.access_key = ""
        self.secret_key = ""
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._listens = threading.Event()
        self._said: list[str] = []

    @contextmanager
    def client(self, service: str) -> Iterator[Any]:
        """A client of the owner's, past the proxy."""
        found = self._client(service, self.access_key, self.secret_key)
        try:
            yield found
        finally:
            found.close()

    def user(self, name: str, *actions: str) -> tuple[str, str]:
        """The keys of a new user who may do only ``actions``."""
        with self.client("iam") as iam:
            return _made(iam, name, actions)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()
        super().__exit__(kind, value, trace)

    def _start(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.defpath, "INITIAL_NO_AUTH_ACTION_COUNT": str(_SETTING_UP)},
            start_new_session=True,
        )
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        if not self._listens.wait(_PATIENCE) or not self.port:
            raise RuntimeError("moto did not start: " + " | ".join(self._said))
        iam = self._client("iam", "nobody", "nothing")
        try:
            self.access_key, self.secret_key = _made(iam, "owner", ("*",))
        finally:
            iam.close()

    def _client(self, service: str, key: str, secret: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Take all that it prints, so that its pipe never fills; the port is free to choose, so it is read here."""
        assert process.stdout is not None
        for line in process.stdout:
            self._said.append(line.strip())
            found = _RUNNING.search(line)
            if found is not None:
                self.port = int(found.group(1))
                self._listens.set()
        self._listens.set()  # it ended: nothing more to wait for

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not None:
            self._reader.join(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _made(iam: Any, name: str, actions: tuple[str, ...]) -> tuple[str, str]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    iam.create_user(UserName=name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    keys = iam.create_access_key(UserName=name)["AccessKey"]
    return keys["AccessKeyId"], keys["SecretAccessKey"]


class _Proxy(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        owner: Aws = self.server.owner  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        owner.calls.append(self.headers.get("x-amz-target") or "")
        upstream = http.client.HTTPConnection("127.0.0.1", owner.port, timeout=30)
        try:
            # The Host that was signed goes on as it came.
            upstream.request("POST", self.path, body=body, headers=dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("content-type", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Print nothing."""
