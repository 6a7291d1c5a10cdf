"""What surrounds a sidecar: other processes, other users, other containers, and servers that are made to ask for others."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
import yaml

from tests.servers.sidecars import READ_LAKE, SECRET, TOKEN, Served, serving
from tests.unit.system.another_user import UID, another_user

CANARY = "canary-of-the-environment"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    bindings = {
        **READ_LAKE["bindings"],
        "metadata": {"catalog": "polaris", "protocols": ["gce-metadata", "azure-imds"]},
    }
    with serving({"bindings": bindings}) as one:
        yield one


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "path",
    [
        "/lake-read/aws-container",
        "/computeMetadata/v1/instance/service-accounts/default/token",
        "/metadata/azure-imds/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://storage.azure.com",
    ],
)
def test_a_server_that_is_made_to_fetch_a_url_gets_nothing(served: Served, status: int, path: str) -> None:
    class Redirects(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", f"http://127.0.0.1:{served.port}{path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Redirects) as attacker, requests.Session() as victim:
        threading.Thread(target=attacker.serve_forever, args=(0.01,), daemon=True).start()
        victim.trust_env = False
        direct = victim.get(f"http://127.0.0.1:{served.port}{path}", timeout=20)
        led = victim.get(f"http://127.0.0.1:{attacker.server_port}/", timeout=20)
        attacker.shutdown()
    assert led.history[0].status_code == status
    for reply in (direct, led):
        assert reply.status_code in (400, 401, 403)
        assert SECRET not in reply.text
        assert TOKEN not in reply.text


def test_a_forked_child_holds_no_socket_of_it_and_its_parent_serves_on(served: Served) -> None:
    with served.connect() as open_one:
        ports = {served.port}
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            held = [link.name for link in Path("/proc/self/fd").iterdir() if _listens(int(link.name), ports)]
            os.write(writing, json.dumps(held).encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        with os.fdopen(reading) as told:
            assert json.load(told) == []
        assert open_one.fileno() >= 0
    assert served.get("/lake-read/aws-container", served.bearer("lake-read")).status == 200


def _listens(descriptor: int, ports: set[int]) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            own = sock.getsockname()
            # Neither the listener nor what it has accepted; the client's end, which has the port as its peer, is the test's.
            return isinstance(own, tuple) and len(own) == 2 and own[1] in ports
    except OSError:
        return False


IN_A_CONTAINER = """
import encodings.idna, json, os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[4])); os.setuid(64001)
directory, port, sidecar = sys.argv[1], int(sys.argv[2]), sys.argv[3]
token = open(os.path.join(directory, "lake-read.token")).read()
sock = socket.create_connection(("127.0.0.1", port))
head = ("GET /lake-read/aws-container HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Authorization: {token}")
sock.sendall(("\\r\\n".join(head) + "\\r\\n\\r\\n").encode())
answer = b""
while chunk := sock.recv(65536):
    answer += chunk
def writes():
    try:
        open(os.path.join(directory, "lake-read.token"), "w")
    except PermissionError:
        return False
    return True
print(json.dumps({"status": int(answer.split()[1]), "sees": os.path.exists(f"/proc/{sidecar}/environ"), "writes": writes()}))
"""


def test_a_container_of_another_user_reads_the_token_by_its_group_and_asks() -> None:
    if os.geteuid() != 0:
        pytest.fail("another user takes root: run the tests in a container")
    with serving({**READ_LAKE, "readers": {"group": 64002}}) as one:
        Path(one.sidecar.directory).parent.chmod(0o711)
        told = subprocess.run(
            # A PID namespace and mounts of its own, as a container has them; the network is the pod's.
            [
                *("unshare", "--mount", "--pid", "--fork", "--mount-proc", sys.executable, "-c", IN_A_CONTAINER),
                *(one.sidecar.directory, str(one.port), str(os.getpid()), "64002"),
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        answer = json.loads(told)
        assert answer == {"status": 200, "sees": False, "writes": False}
        modes = {path.name: path.stat().st_mode & 0o777 for path in Path(one.sidecar.directory).glob("*.token")}
        assert modes == {"lake-read.token": 0o640, "status.token": 0o600}


ATTACKER = """
import ctypes
pid = int(sys.argv[1])
def reads(path):
    try:
        with open(path, "rb", buffering=0) as file:
            if path.endswith("mem"):
                file.seek(0x400000)
            file.read(64)
        return True
    except PermissionError:
        return False
    except OSError:
        return True
traced = ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0
print(json.dumps({"environ": reads(f"/proc/{pid}/environ"), "mem": reads(f"/proc/{pid}/mem"), "ptrace": traced}), flush=True)
"""


def test_a_process_of_the_same_user_sees_neither_memory_nor_environment_of_it() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="credbroker-test-") as name:
        folder = Path(name)
        config = folder / "platform.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "environment": "test",
                    "compute": {"trino": {"type": "trino", "credentials": {"mode": "static", "secret_ref": "trino-token"}}},
                    "sidecar": {
                        "directory": f"{folder}/run",
                        "listen": "127.0.0.1:0",
                        "bindings": {"trino": {"compute": "trino", "protocols": ["oauth2-token"]}},
                    },
                }
            )
        )
        os.chown(folder, UID, -1)
        os.chown(config, UID, -1)
        # Loaded while the interpreter's own files can be read: all that a sidecar needs.
        first = (
            "\nimport credbroker.cli.sidecar, credbroker.sidecar.variables\nfrom credbroker.cli import main\n"
            "from tests.servers.sidecars import READ_LAKE, serving\n"
            # What is installed is looked up at each load; the other user cannot read that either.
            "import importlib.metadata as installed\nfound = installed.entry_points(group='credbroker.providers')\n"
            "installed.entry_points = lambda group, name: found.select(name=name)\n"
            "from credbroker import Broker\n"
            f"with Broker.from_yaml({str(config)!r}) as broker: broker.compute('trino').get()\n"
            "with serving(READ_LAKE): pass\n"
        )
        code = f"\nsys.exit(main(['sidecar', '--config', {str(config)!r}, '--json']))"
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join([root, *sys.path])
        with another_user(code, first=first, TRINO_TOKEN=CANARY, PYTHONPATH=path) as sidecar:
            assert sidecar.stdout is not None
            serving_at = json.loads(sidecar.stdout.readline())["serving"]
            with another_user(ATTACKER, str(sidecar.pid)) as attacker:
                assert attacker.stdout is not None
                seen = json.loads(attacker.stdout.readline())
            assert seen == {"environ": False, "mem": False, "ptrace": False}
            # The same user may ask what the bindings allow, as the documents say.
            token = Path(f"{folder}/run/trino.token").read_text()
            reply = requests.post(
                f"{serving_at['url']}/trino/oauth2-token",
                data={"grant_type": "client_credentials", "client_secret": token},
                timeout=20,
                proxies={"http": ""},
            )
            assert reply.json()["access_token"] == CANARY
            sidecar.send_signal(signal.SIGTERM)
            assert sidecar.wait(30) == 0
