"""What a process of the same user gets out of a hardened one: nothing; and out of one that is not: everything."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.servers.oidc.identities import identity
from tests.unit.system.another_user import BECOME, another_user

from credbroker.errors import ConfigurationError
from credbroker.system import hardening

# The victim is the attacker's own child: where no stranger may attach (Yama's ptrace_scope 1), the parent may.
VICTIM = """
from credbroker.system.hardening import harden, is_hardened
import ctypes, os, resource, sys
before = is_hardened()
{become}
held = "canary-" + "in-memory"
if sys.argv[1] == "hardened":
    harden()
    assert is_hardened() and not before and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    assert os.umask(0o077) == 0o077
print("ready", flush=True)
sys.stdin.readline()
"""
ATTACKER = """
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_ATTACH, PTRACE_DETACH = 16, 17

def environment():
    return b"canary-in-environment" in open(f"/proc/{pid}/environ", "rb").read()

def memory():
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw") and start < 2**63:
                mem.seek(start)
                if b"canary-in-memory" in (mem.read(end - start) or b""):
                    return True
    return False

def attach():
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "")
    os.waitpid(pid, 0)
    return libc.ptrace(PTRACE_DETACH, pid, None, None) == 0

def files():
    return len(os.listdir(f"/proc/{pid}/fd")) > 0

got = {}
for way in (environment, memory, attach, files):
    try:
        got[way.__name__] = way()
    except PermissionError:
        got[way.__name__] = "refused"
victim.stdin.close()
victim.wait()
print(json.dumps(got), flush=True)
"""
START = """
victim = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1], sys.argv[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    env={**os.environ, "SECRET": "canary-in-environment"},
)
assert victim.stdout.readline() == b"ready\\n"
pid = victim.pid
"""


@pytest.mark.parametrize(
    ("state", "outcome"), [("hardened", "refused"), ("as it is", True)], ids=["hardened", "the same attack on any other"]
)
def test_a_process_of_the_same_user_looks_into_it(state: str, outcome: object) -> None:
    with another_user(ATTACKER, VICTIM.format(become=BECOME), state, first=START) as attacker:
        assert attacker.stdout is not None
        got = json.loads(attacker.stdout.readline() or "{}")
    assert got == dict.fromkeys(("environment", "memory", "attach", "files"), outcome)


def test_a_client_certificate_is_still_presented_from_memory(tmp_path: Path) -> None:
    own = identity(tmp_path, "own", vouched=False)
    first = """
import ssl
from pydantic import SecretStr
from credbroker.context import ClientCertificate
from credbroker.system.client_certificate import present
from credbroker.system.hardening import harden
pair = ClientCertificate(*(SecretStr(open(path).read()) for path in sys.argv[1:]))
"""
    code = """
harden()
assert not os.access(f"/proc/{os.getpid()}/environ", os.R_OK, effective_ids=False) or os.getuid() == 0
present(pair, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
print("presented", flush=True)
"""
    (tmp_path / "chain.pem").write_text(own.chain)
    (tmp_path / "key.pem").write_text(own.key)
    with another_user(code, str(tmp_path / "chain.pem"), str(tmp_path / "key.pem"), first=first) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "presented\n"


def _alone(code: str) -> None:
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)


def test_a_forked_child_is_hardened_and_a_program_it_runs_leaves_no_core() -> None:
    _alone("""
import os, subprocess, sys
from credbroker.system.hardening import harden, is_hardened
harden()
child = os.fork()
if child == 0:
    os._exit(0 if is_hardened() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
text = "import resource, os; assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0) and os.umask(0) == 0o077"
subprocess.run([sys.executable, "-c", text], check=True)
""")


def test_what_the_kernel_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardening.os, "umask", lambda mask: 0)
    monkeypatch.setattr(hardening.resource, "setrlimit", lambda which, limits: None)
    monkeypatch.setattr(hardening, "_prctl", lambda option, value: -1)
    with pytest.raises(ConfigurationError, match="refuses PR_SET_DUMPABLE; allow prctl"):
        hardening.harden()
    assert not hardening.is_hardened()
    monkeypatch.setattr(hardening.sys, "platform", "darwin")
    with pytest.raises(ConfigurationError, match="needs Linux"):
        hardening.harden()


def test_a_limit_that_cannot_be_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, limits: tuple[int, int]) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(hardening.os, "umask", lambda mask: 0)
    monkeypatch.setattr(hardening.resource, "setrlimit", refuse)
    with pytest.raises(ConfigurationError, match="RLIMIT_CORE could not be set to 0"):
        hardening.harden()


def test_this_process_is_not_hardened_by_the_tests() -> None:
    assert not hardening.is_hardened() or resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


def test_what_the_sidecar_itself_looks_up_is_still_told(memory: Path) -> None:
    memory.chmod(0o1777)
    first = """
from credbroker.system import listening, peer
from credbroker.system.hardening import harden
from credbroker.system.memory_folder import open_folder
"""
    code = """
harden()
folder = open_folder(sys.argv[1], None)
folder.write("sub/file", b"x", group_readable=True)
for listener in (listening.tcp("127.0.0.1", 0), listening.unix(folder, "x.sock")):
    listener.setblocking(True)
    with listener, socket.socket(listener.family) as client:
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            assert peer.peer_of(accepted).uid == os.getuid()
            if listener.family == socket.AF_INET:
                assert peer._listed((peer._end(accepted.getpeername()), peer._end(accepted.getsockname()))) == os.getuid()
print("told", flush=True)
"""
    with another_user(code, str(memory / "run"), first=first) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "told\n"
