"""The floor: the very bytes that the sidecar answers, as a file behind nginx, in one process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.served import Served, serving
from credbroker.cli.demo.ports import reserved_ports

_SETTINGS = """\
daemon off; master_process off; worker_processes 1;
pid {folder}/pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; default_type application/json; }}
}}
"""


def program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@contextmanager
def start(nginx: str, content: bytes) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="credbroker-bench-") as folder:
        (Path(folder) / "www").mkdir()
        (Path(folder) / "www" / "answer").write_bytes(content)
        with reserved_ports(1) as (port,):
            pass
        settings = Path(folder) / "nginx.conf"
        settings.write_text(_SETTINGS.format(folder=folder, port=port))
        request = f"GET /answer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        command = [nginx, "-p", folder, "-c", str(settings)]
        with serving("nginx, a static file", command, port, lambda: request, {}) as served:
            yield served
