from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from credbroker.system.environment import SystemEnvironment, exported

ENVIRONMENT = SystemEnvironment()


def test_a_variable_is_read_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CB_TEST", "one")
    assert ENVIRONMENT.variable("CB_TEST") == "one"
    monkeypatch.setenv("CB_TEST", "two")
    assert ENVIRONMENT.variable("CB_TEST") == "two"
    monkeypatch.delenv("CB_TEST")
    assert ENVIRONMENT.variable("CB_TEST") is None


def test_a_file_is_read_up_to_one_mebibyte(tmp_path: Path) -> None:
    (tmp_path / "fits").write_bytes(b"x" * 1024 * 1024)
    (tmp_path / "over").write_bytes(b"x" * (1024 * 1024 + 1))
    assert len(ENVIRONMENT.read(str(tmp_path / "fits"))) == 1024 * 1024
    with pytest.raises(OSError, match="larger than 1 MiB") as caught:
        ENVIRONMENT.read(str(tmp_path / "over"))
    assert caught.value.errno == errno.EFBIG


def test_what_is_no_regular_file_is_refused_and_never_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        ENVIRONMENT.read(str(tmp_path / "fifo"))
    with pytest.raises(OSError, match="not a regular file"):
        ENVIRONMENT.read("/dev/zero")
    with pytest.raises(IsADirectoryError):
        ENVIRONMENT.read(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        ENVIRONMENT.read(str(tmp_path / "absent"))


def test_a_file_without_a_stated_size_is_read_whole() -> None:
    assert ENVIRONMENT.read("/proc/self/status").startswith(b"Name:")


def test_a_link_may_move_within_the_directory_but_not_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "real").write_bytes(b"inside")
    (root / "link").symlink_to("real")
    (tmp_path / "outside").write_bytes(b"outside")
    (root / "escape").symlink_to(tmp_path / "outside")
    (root / "up").symlink_to("..")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "near").write_bytes(b"a sibling whose name begins alike")
    assert ENVIRONMENT.read(str(root / "link"), within=str(root)) == b"inside"
    for path in (root / "escape", root / "up" / "outside", root / ".." / "outside", tmp_path / "root2" / "near"):
        with pytest.raises(PermissionError):
            ENVIRONMENT.read(str(path), within=str(root))
    assert ENVIRONMENT.read(str(root / "escape")) == b"outside"


def test_the_directory_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "secret").write_bytes(b"value")
    (tmp_path / "var-run").symlink_to("run")
    root = str(tmp_path / "var-run")
    assert ENVIRONMENT.read(f"{root}/secret", within=root) == b"value"


def test_names_are_those_of_a_directory_only(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    assert ENVIRONMENT.names(str(tmp_path)) == ("a", "b")
    assert ENVIRONMENT.names(str(tmp_path / "a")) is None
    assert ENVIRONMENT.names(str(tmp_path / "absent")) is None


def test_what_we_export_ourselves_is_not_what_we_go_on_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDBROKER_TEST_SET", "")
    monkeypatch.delenv("CREDBROKER_TEST_NEW", raising=False)
    with exported({"CREDBROKER_TEST_SET": "ours", "CREDBROKER_TEST_NEW": "ours"}):
        assert (os.environ["CREDBROKER_TEST_SET"], os.environ["CREDBROKER_TEST_NEW"]) == ("ours", "ours")
        assert SystemEnvironment().variable("CREDBROKER_TEST_SET") == ""
        assert SystemEnvironment().variable("CREDBROKER_TEST_NEW") is None
    assert os.environ["CREDBROKER_TEST_SET"] == ""
    assert "CREDBROKER_TEST_NEW" not in os.environ
