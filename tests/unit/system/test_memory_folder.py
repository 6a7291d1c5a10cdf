"""Where tokens lie: what is refused as a place, that nothing planted leads them astray, and that no file is ever half."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.system.another_user import UID, another_user

from credbroker.errors import ConfigurationError
from credbroker.system import folder_faults
from credbroker.system.folder_faults import faults
from credbroker.system.memory_folder import Folder, open_folder

GROUP = os.getegid()
ROOT = os.geteuid() == 0


@pytest.fixture
def folder(memory: Path) -> Iterator[Folder]:
    opened = open_folder(str(memory / "run"), None)
    yield opened
    opened.close()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def _made(path: Path, mode: int) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


# ---------------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        (0o755, ["is world-readable: chmod 0700"]),
        (0o777, ["is world-writable: chmod 0700", "is world-readable"]),
        (0o701, ["is world-readable"]),
        (0o770, ["is group-writable", "is readable by the group"]),
        (0o750, [f"is readable by the group {GROUP}, which sidecar.readers.group does not name: chmod 0700"]),
        (0o710, ["is readable by the group"]),
        (0o700, []),
        (0o2700, []),
    ],
)
def test_others_may_neither_read_nor_write_it(mode: int, found: list[str], memory: Path) -> None:
    told = faults(str(_made(memory / "run", mode)), group=None)
    assert len(told) == len(found)
    assert all(text in fault for text, fault in zip(found, told, strict=True))


def test_the_declared_group_may_read_it_and_no_other(memory: Path) -> None:
    path = str(_made(memory / "run", 0o750))
    assert faults(path, group=GROUP) == []
    assert "which sidecar.readers.group does not name" in faults(path, group=GROUP + 1)[0]


def test_it_is_no_link_and_no_file(memory: Path) -> None:
    _made(memory / "real", 0o700)
    (memory / "link").symlink_to("real")
    (memory / "file").touch()
    assert faults(str(memory / "link"), group=None) == [
        f"{memory}/link is a symbolic link: name the directory that it leads to"
    ]
    assert faults(str(memory / "link") + "/", group=None) == faults(str(memory / "link"), group=None)
    assert "is no directory" in faults(str(memory / "file"), group=None)[0]
    assert "cannot be looked at: not a directory" in faults(str(memory / "file" / "below"), group=None)[0]


def test_it_lies_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = {"ext4", "overlay", "xfs", "btrfs"}
    assert folder_faults._filesystem(Path("/dev/shm").stat().st_dev) == "tmpfs"  # noqa: S108 - only looked at
    if folder_faults._filesystem(tmp_path.stat().st_dev) not in disk:
        monkeypatch.setattr(folder_faults, "_filesystem", lambda device: "ext4")
    (told,) = (fault for fault in faults(str(_made(tmp_path / "run", 0o700)), group=None) if "not in memory" in fault)
    assert (
        "so that tokens would reach a disk: use /dev/shm or /run, or in Kubernetes an emptyDir with medium: Memory" in told
    )
    assert any("not in memory" in fault for fault in faults(str(tmp_path / "absent"), group=None))


def test_without_linux_nobody_knows_whether_it_does(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_faults, "_filesystem", lambda device: None)
    assert "needs Linux" in faults(str(_made(memory / "run", 0o700)), group=None)[0]


def test_without_a_list_of_mounts_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: str, **how: str) -> object:
        raise FileNotFoundError(path)

    monkeypatch.setattr(folder_faults, "open", absent, raising=False)
    assert folder_faults._filesystem(0) is None


def test_a_device_that_is_not_mounted_here_is_of_no_type() -> None:
    assert folder_faults._filesystem(os.makedev(4000, 4000)) is None


@pytest.mark.parametrize("path", ["run", "", "/run/a/../b"])
def test_it_is_written_out(path: str) -> None:
    assert "is no absolute path without '..'" in faults(path, group=None)[0]


def test_a_directory_that_is_not_there_needs_one_above_it(memory: Path) -> None:
    assert faults(str(memory / "run"), group=None) == []
    (told,) = faults(str(memory / "absent" / "run"), group=None)
    assert f"create {memory}/absent" in told


def test_one_above_it_that_others_may_write_is_refused_unless_sticky(memory: Path) -> None:
    above = _made(memory / "above", 0o777)
    _made(above / "run", 0o700)
    (told,) = faults(str(above / "run"), group=None)
    assert told.startswith(f"{above} is writable by others, who may replace what is in it by another")
    above.chmod(0o1777)
    assert faults(str(above / "run"), group=None) == []


def test_a_link_above_it_leads_to_what_is_judged(memory: Path) -> None:
    above = _made(memory / "above", 0o777)
    _made(above / "run", 0o700)
    (memory / "link").symlink_to("above")
    (told,) = faults(str(memory / "link" / "run"), group=None)
    assert told.startswith(f"{above} is writable by others")


def test_a_volume_may_be_open_to_all_who_mount_it(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = _made(memory / "volume", 0o777)
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(volume))
    assert faults(str(volume / "run"), group=None) == []
    assert "is world-writable" in faults(str(volume), group=None)[0]


def test_what_belongs_to_another_user_is_refused(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _made(memory / "run", 0o700)
    if ROOT:
        os.chown(memory / "run", UID, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    owner, own = (memory / "run").stat().st_uid, os.geteuid()
    told = faults(str(memory / "run"), group=None)
    assert f"{memory}/run belongs to uid {owner}, and the sidecar runs as uid {own}: name a folder in it" in told[-1]
    below = faults(str(memory / "run" / "own"), group=None)
    assert f"{memory}/run belongs to uid {owner}, who may replace what is in it by another" in below[-1]


def test_all_faults_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_faults, "_filesystem", lambda device: "ext4")
    path = str(_made(tmp_path / "run", 0o777))
    with pytest.raises(ConfigurationError) as caught:
        open_folder(path, None)
    for text in ("world-writable", "world-readable", "not in memory"):
        assert text in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ opening it


@pytest.mark.parametrize(("group", "mode"), [(None, 0o700), (GROUP, 0o750)])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_made_for_us_and_the_declared_group(
    group: int | None,
    mode: int,
    umask: int,
    memory: Path,
) -> None:
    before = os.umask(umask)
    try:
        opened = open_folder(f"{memory}/run/", group)
        opened.write("sub/file", b"x", group_readable=True)
        opened.close()
    finally:
        os.umask(before)
    assert opened.path == f"{memory}/run"
    assert _mode(memory / "run") == _mode(memory / "run" / "sub") == mode
    assert _mode(memory / "run" / "sub" / "file") == (0o600 if group is None else 0o640)
    assert (memory / "run").stat().st_gid == GROUP


def test_a_group_that_we_are_no_member_of_is_refused_with_the_remedy(
    memory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(descriptor: int, uid: int, gid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(ConfigurationError, match=r"is no member of the group 4242: add it .*supplementalGroups"):
        open_folder(f"{memory}/run", 4242)


def test_one_that_cannot_be_made_is_told(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, mode: int, *, dir_fd: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(ConfigurationError, match="run cannot be used: permission denied"):
        open_folder(f"{memory}/run", None)


def test_two_sidecars_do_not_share_it(folder: Folder) -> None:
    with pytest.raises(ConfigurationError, match="another sidecar holds it"):
        open_folder(folder.path, None)
    folder.close()
    open_folder(folder.path, None).close()


def test_a_forked_child_does_not_hold_it(folder: Folder) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(folder.fileno()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"-1"
    os.close(reading)
    folder.write("still", b"ours", group_readable=False)


def test_what_a_crash_has_left_is_removed_at_the_next_start(folder: Folder) -> None:
    folder.write("sub/kept", b"x", group_readable=False)
    folder.close()
    path = Path(folder.path)
    (path / ".credbroker-0123").write_bytes(b"half")
    (path / "sub" / ".credbroker-4567").write_bytes(b"half")
    (path / "outside").symlink_to(path.parent)
    (path.parent / ".credbroker-other").touch()
    open_folder(folder.path, None).close()
    assert sorted(str(file.relative_to(path)) for file in path.rglob("*")) == ["outside", "sub", "sub/kept"]
    assert (path.parent / ".credbroker-other").exists()


def test_closed_it_writes_nothing(folder: Folder) -> None:
    folder.close()
    folder.close()
    with pytest.raises(ConfigurationError, match="cannot be written: bad file descriptor"):
        folder.write("file", b"x", group_readable=False)
    with pytest.raises(ConfigurationError, match="cannot be removed"):
        folder.remove("file")
    assert repr(folder) == f"Folder({folder.path!r}, group=None)"


# ------------------------------------------------------------------------------------------------------------ files in it


def test_a_file_is_written_replaced_and_removed(folder: Folder) -> None:
    path = Path(folder.path) / "aws" / "credentials"
    for content in (b"one", b"", b"three" * 100_000):
        folder.write("aws/credentials", content, group_readable=True)
        assert (path.read_bytes(), _mode(path)) == (content, 0o600)
    folder.remove("aws/credentials")
    folder.remove("aws/credentials")
    folder.remove("never/there")
    assert list((Path(folder.path) / "aws").iterdir()) == []


def test_at_the_end_only_what_is_empty_is_removed(folder: Folder) -> None:
    path = Path(folder.path)
    folder.write("a/b/file", b"x", group_readable=False)
    folder.write("c/d/file", b"x", group_readable=False)
    folder.remove("a/b/file")
    folder.remove_empty()
    assert sorted(str(left.relative_to(path)) for left in path.rglob("*")) == ["c", "c/d", "c/d/file"]
    folder.remove("c/d/file")
    folder.remove_empty()
    assert not path.exists()


@pytest.mark.parametrize(
    "name", ["", "/etc/x", "../x", "a/../../x", "a//b", "./a", "a/", ".credbroker-x", "a/.credbroker-x/b", "\0"]
)
def test_a_name_leads_down_from_it(name: str, folder: Folder) -> None:
    with pytest.raises(ConfigurationError, match="the name must lead down"):
        folder.write(name, b"x", group_readable=False)
    with pytest.raises(ConfigurationError, match="the name must lead down"):
        folder.remove(name)


def test_a_planted_link_is_replaced_and_not_followed(folder: Folder, memory: Path) -> None:
    (memory / "target").write_bytes(b"untouched")
    (Path(folder.path) / "file").symlink_to(memory / "target")
    folder.write("file", b"secret", group_readable=False)
    assert (memory / "target").read_bytes() == b"untouched"
    assert not (Path(folder.path) / "file").is_symlink()


def test_a_planted_link_to_a_folder_is_not_entered(folder: Folder, memory: Path) -> None:
    (memory / "elsewhere").mkdir(mode=0o700)
    (Path(folder.path) / "aws").symlink_to(memory / "elsewhere")
    with pytest.raises(ConfigurationError, match="aws/credentials cannot be written"):
        folder.write("aws/credentials", b"secret", group_readable=False)
    (memory / "elsewhere" / "credentials").touch()
    with pytest.raises(ConfigurationError, match="cannot be removed"):
        folder.remove("aws/credentials")
    assert [file.name for file in (memory / "elsewhere").iterdir()] == ["credentials"]


def test_a_planted_folder_that_others_may_enter_is_refused(folder: Folder) -> None:
    _made(Path(folder.path) / "aws", 0o777)
    with pytest.raises(ConfigurationError, match="aws is world-writable"):
        folder.write("aws/credentials", b"secret", group_readable=False)


@pytest.mark.parametrize("swap", [lambda path: path.symlink_to("/dev"), lambda path: path.mkdir()], ids=["link", "folder"])
def test_what_is_put_in_its_place_gets_nothing(swap: Callable[[Path], None], folder: Folder) -> None:
    path = Path(folder.path)
    moved = path.rename(path.parent / "moved")
    swap(path)
    folder.write("file", b"secret", group_readable=False)
    assert (moved / "file").read_bytes() == b"secret"
    assert not (path / "file").exists()


def test_where_writing_fails_the_old_file_stays_and_nothing_else(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("file", b"old", group_readable=False)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="file cannot be written: no space left on device") as caught:
        folder.write("file", b"canary", group_readable=False)
    assert caught.value.__context__ is None
    assert "canary" not in repr([entry.frame.f_locals for entry in caught.traceback[1:]])
    assert [file.name for file in Path(folder.path).iterdir()] == ["file"]
    assert (Path(folder.path) / "file").read_bytes() == b"old"


def test_a_folder_at_the_name_of_a_file_is_no_place_for_it(folder: Folder) -> None:
    (Path(folder.path) / "file").mkdir()
    with pytest.raises(ConfigurationError, match="is a directory"):
        folder.write("file", b"secret", group_readable=False)
    assert [file.name for file in Path(folder.path).iterdir()] == ["file"]


def test_a_reader_sees_whole_files_only(folder: Folder) -> None:
    path = Path(folder.path) / "file"
    contents = [bytes([letter]) * (20_000 + letter) for letter in b"abcd"]
    folder.write("file", contents[0], group_readable=False)
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            content = path.read_bytes()
            if content not in contents:
                seen.append(content)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1000):
        folder.write("file", contents[number % 4], group_readable=False)
    done.set()
    for reader in readers:
        reader.join()
    assert seen == []


READ = """
try:
    print(open(sys.argv[1]).read(), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
"""


@pytest.mark.parametrize(("group", "group_readable"), [(None, True), (UID, False), (UID, True)])
def test_another_user_reads_what_its_group_may_and_nothing_else(
    group: int | None,
    group_readable: bool,
    memory: Path,
) -> None:
    group = group if ROOT or group is None else GROUP
    memory.chmod(0o711)
    opened = open_folder(str(memory / "run"), group)
    opened.write("file", b"token", group_readable=group_readable)
    opened.close()
    with another_user(READ, str(memory / "run" / "file")) as reader:
        assert reader.stdout is not None
        got = reader.stdout.readline().strip()
    allowed = not ROOT or (group is not None and group_readable)  # without root the other user is the owner
    assert got == ("token" if allowed else "PermissionError")
