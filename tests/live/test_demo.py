from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-c", "import sys; from credbroker.cli import main; sys.exit(main())", "demo", "--json"]


def test_the_demo_shows_what_it_claims(tmp_path: Path) -> None:
    # Somebody's own keys and proxy stand in the environment: none of them is used, or all would fail.
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "not-this-one",
        "AWS_SECRET_ACCESS_KEY": "nor-this",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, env=environment, timeout=170)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    found = json.loads(lines[-1])
    assert found["rows"] == found["rows_expected"] == 120_000
    assert found["refreshes"] >= 3
    assert found["refused_expired"] == 0
    assert found["outside_attempts"] == found["outside_refused"] == 16
    assert found["stock_failed"] is True
    assert found["ok"] is True
    assert 20 < found["seconds"] < 75
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert not list(tmp_path.glob("credbroker-demo-*"))


def test_an_interrupted_demo_ends_its_server_and_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("SeaweedFS runs on 127.0.0.1")
        assert list(tmp_path.glob("credbroker-demo-*"))
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err == "credbroker: interrupted\n"
    assert json.loads(out.splitlines()[-1])["ok"] is False
    assert not list(tmp_path.glob("credbroker-demo-*"))
