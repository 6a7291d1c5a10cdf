from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.system.another_user import UID, another_user

from credbroker.system.owned_directory import own_uid, read_owned

OWN = {own_uid()}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "credbroker"
    made.mkdir(mode=0o700)
    (made / "sidecar.json").write_bytes(b"{}")
    return made


def fault(directory: Path, name: str = "sidecar.json", *, owners: set[int] = OWN, largest: int = 64) -> OSError:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what is asked for
        read_owned(str(directory), name, owners=owners, largest=largest)
    return caught.value


def test_a_file_of_our_own_directory_is_read(directory: Path) -> None:
    assert read_owned(str(directory), "sidecar.json", owners=OWN, largest=2) == b"{}"


def test_nothing_is_taken_from_somebody_else_s_directory(directory: Path) -> None:
    error = fault(directory, owners={own_uid() + 1})
    assert (error.errno, error.strerror) == (errno.EPERM, f"it belongs to the user {own_uid()}")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_nor_from_one_into_which_others_write(directory: Path, mode: int) -> None:
    directory.chmod(mode)
    assert fault(directory).errno == errno.EPERM


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o2750])
def test_others_may_read_it(directory: Path, mode: int) -> None:
    directory.chmod(mode)
    assert read_owned(str(directory), "sidecar.json", owners=OWN, largest=64) == b"{}"


def test_no_link_is_followed(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(directory)
    assert fault(tmp_path / "link").errno == errno.ENOTDIR
    (directory / "link.json").symlink_to("sidecar.json")
    assert fault(directory, "link.json").errno == errno.ELOOP


def test_what_is_not_there_is_told_so(directory: Path) -> None:
    assert fault(directory, "other").errno == errno.ENOENT
    assert fault(directory / "other").errno == errno.ENOENT
    assert fault(directory / "sidecar.json").errno == errno.ENOTDIR


def test_a_fifo_hangs_nobody(directory: Path) -> None:
    os.mkfifo(directory / "fifo")
    assert fault(directory, "fifo").errno == errno.EINVAL


def test_a_file_has_at_most_so_many_bytes(directory: Path) -> None:
    assert fault(directory, largest=1).errno == errno.EFBIG


def test_what_may_not_be_read_is_not(directory: Path) -> None:
    """Another user finds the directory, which it may enter, and not the file."""
    for folder in (directory, *directory.parents):
        if folder.stat().st_uid == own_uid() and folder.is_relative_to(directory.parents[2]):
            folder.chmod(0o755)
    (directory / "sidecar.json").chmod(0o600)
    code = (
        "from credbroker.system.owned_directory import read_owned\n"
        "try:\n"
        f"    read_owned(sys.argv[1], 'sidecar.json', owners={{{own_uid()}}}, largest=64)\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    if own_uid() == UID:
        (directory / "sidecar.json").chmod(0o000)
    with another_user(code, str(directory), first="\nimport credbroker.system.owned_directory\n") as process:
        out, _ = process.communicate(timeout=30)
    assert int(out) == errno.EACCES
