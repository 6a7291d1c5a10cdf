"""The file sink: each value whole in its files, whoever is to be told is told, and nothing that fails stops a refresh."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from credbroker import Broker
from credbroker.config.settings import BindingSettings, FileSettings, OnChange
from credbroker.context import Context
from credbroker.credentials import AccessToken, Credential, S3Credentials
from credbroker.errors import ConfigurationError, IssuerUnavailable
from credbroker.sidecar.bindings import bindings_of
from credbroker.sidecar.files import FileSink, check_templates
from credbroker.system import tell
from credbroker.system.memory_folder import Folder, open_folder
from credbroker.testing import ControlledProvider, ManualClock

END = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


class Handle:
    """A binding whose values are pushed by the test."""

    def __init__(self, name: str, *files: FileSettings, on_change: OnChange | None = None) -> None:
        self.name = name
        self.settings = BindingSettings(
            name=name, where="platform.yaml:7", kind="catalog", profile=name, files=files, on_change=on_change
        )
        self.on_change: object = None
        self.delivered: list[Mapping[str, object]] = []
        self.record: Exception | None = None
        self.identity = ("catalog", name)
        self.files_fault: str | None = None
        self.files_written = False

    def told_end(self, value: Credential) -> datetime:
        return END

    def hand_over(self, value: Credential, delivery: Mapping[str, object]) -> None:
        if self.record is not None:
            raise self.record
        self.delivered.append(delivery)

    def push_held(self) -> None: ...

    def push(self, text: str) -> None:
        assert callable(self.on_change)
        self.on_change(AccessToken(SecretStr(text)))


def token_file(path: str) -> FileSettings:
    return FileSettings(path=path, form="token")


@pytest.fixture
def folder(memory: Path) -> Iterator[Folder]:
    opened = open_folder(str(memory / "run"), None)
    yield opened
    opened.close()


@pytest.fixture
def sink(folder: Folder) -> FileSink:
    return FileSink(folder)


def take(sink: FileSink, *handles: Handle) -> None:
    sink.take({handle.name: handle for handle in handles})  # type: ignore[misc]


def _path(folder: Folder, name: str) -> Path:
    return Path(folder.path) / "files" / name


def _left(folder: Folder) -> list[str]:
    return sorted(str(path.relative_to(folder.path)) for path in Path(folder.path).rglob("*") if not path.is_dir())


# ------------------------------------------------------------------------------------------------------------ writing


def test_each_value_is_written_in_every_form(sink: FileSink, folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "app.tmpl").write_text("key=${access_key_id}\nuntil=${expires_at}\n")
    handle = Handle(
        "lake",
        FileSettings(path="aws/credentials", form="aws-credentials", profile="lake"),
        FileSettings(path="app.conf", form="template", template=str(tmp_path / "app.tmpl")),
    )
    take(sink, handle)
    assert _left(folder) == []
    assert callable(handle.on_change)
    for number in "12":
        handle.on_change(S3Credentials(f"AKIA{number}", SecretStr("s"), SecretStr("t")))
        assert _path(folder, "app.conf").read_text() == f"key=AKIA{number}\nuntil=2030-01-02T03:04:05Z\n"
        assert f"aws_access_key_id = AKIA{number}\n" in _path(folder, "aws/credentials").read_text()
    for name in ("app.conf", "aws/credentials"):
        assert stat.S_IMODE(_path(folder, name).stat().st_mode) == 0o600
    assert (handle.files_fault, handle.files_written) == (None, True)
    assert [one["path"] for one in handle.delivered[:2]] == [
        str(_path(folder, "aws/credentials")),
        str(_path(folder, "app.conf")),
    ]


def test_the_declared_group_may_read_them(memory: Path) -> None:
    opened = open_folder(str(memory / "run"), os.getegid())
    sink, handle = FileSink(opened), Handle("a", token_file("token"))
    take(sink, handle)
    handle.push("x")
    assert stat.S_IMODE(_path(opened, "token").stat().st_mode) == 0o640
    opened.close()


def test_a_reader_sees_whole_values_only(sink: FileSink, folder: Folder) -> None:
    handle = Handle("a", token_file("token"))
    take(sink, handle)
    values = [letter * (30_000 + ord(letter)) for letter in "abc"]
    handle.push(values[0])
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(_path(folder, "token").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1000):
        handle.push(values[number % 3])
    done.set()
    reader.join()
    assert seen <= set(values)


def test_a_planted_link_leads_no_secret_astray(sink: FileSink, folder: Folder, memory: Path) -> None:
    (memory / "target").write_text("untouched")
    (memory / "elsewhere").mkdir(mode=0o700)
    (Path(folder.path) / "files").mkdir(mode=0o700)
    _path(folder, "token").symlink_to(memory / "target")
    _path(folder, "sub").symlink_to(memory / "elsewhere")
    plain, below = Handle("plain", token_file("token")), Handle("below", token_file("sub/token"))
    take(sink, plain, below)
    plain.push("secret")
    below.push("secret")
    assert (memory / "target").read_text() == "untouched"
    assert _path(folder, "token").read_text() == "secret"
    assert list((memory / "elsewhere").iterdir()) == []
    assert (plain.files_fault, below.files_written) == (None, False)
    assert below.files_fault


# ------------------------------------------------------------------------------------------------------------ failures


def test_what_fails_is_told_without_the_value_and_stops_nothing(
    sink: FileSink, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    handle = Handle("a", token_file("token"), FileSettings(path="keys", form="aws-credentials"))
    take(sink, handle)
    with caplog.at_level(logging.WARNING):
        handle.push("canary")
    assert handle.files_fault == "AccessToken is no set of S3 keys: use the form 'token' or 'template'"
    assert _left(folder) == []  # all or none
    assert "binding a: AccessToken is no set of S3 keys" in caplog.text
    assert "canary" not in caplog.text


def test_a_fault_is_over_with_the_next_value_that_is_written(sink: FileSink, folder: Folder) -> None:
    handle = Handle("a", token_file("token"))
    take(sink, handle)
    (Path(folder.path) / "files").mkdir()
    (Path(folder.path) / "files").chmod(0o777)
    handle.push("x")
    assert "files is world-writable" in str(handle.files_fault)
    (Path(folder.path) / "files").chmod(0o700)
    handle.push("x")
    assert (handle.files_fault, handle.files_written) == (None, True)


def test_what_nobody_foresaw_is_told_by_its_kind_alone(sink: FileSink, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Folder, name: str, content: bytes, *, group_readable: bool) -> None:
        raise RuntimeError(content)

    handle = Handle("a", token_file("token"))
    take(sink, handle)
    monkeypatch.setattr(Folder, "write", fail)
    handle.push("canary")
    assert handle.files_fault == "the files were not written (RuntimeError)"


def test_without_the_record_nothing_is_written(sink: FileSink, folder: Folder) -> None:
    handle = Handle("a", token_file("token"))
    take(sink, handle)
    handle.record = IssuerUnavailable("no record, no credential")
    handle.push("x")
    assert handle.files_fault == "no record, no credential"
    assert _left(folder) == []


# ------------------------------------------------------------------------------------------------------------ templates


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"${secret}", "line 1: there is no ${secret}"),
        (b"\xff", "it is not UTF-8 text"),
        (b"x" * (1024 * 1024 + 1), "larger than 1 mib"),
        (None, "no such file or directory"),
    ],
)
def test_a_template_that_cannot_be_used_is_a_fault_at_the_start(
    content: bytes | None, fault: str, sink: FileSink, tmp_path: Path
) -> None:
    path = tmp_path / "app.tmpl"
    if content is not None:
        path.write_bytes(content)
    handle = Handle("a", FileSettings(path="app.conf", form="template", template=str(path)))
    for attempt in (sink.take, check_templates):
        with pytest.raises(ConfigurationError) as caught:
            attempt({"a": handle})  # type: ignore[dict-item]
        assert f"platform.yaml:7: the template {path} cannot be used: {fault}" in str(caught.value)
    assert handle.on_change is None


def test_all_of_them_are_told_at_once(sink: FileSink, tmp_path: Path) -> None:
    handles = [
        Handle(name, FileSettings(path=name, form="template", template=str(tmp_path / name))) for name in ("one", "two")
    ]
    with pytest.raises(ConfigurationError) as caught:
        take(sink, *handles)
    assert len(str(caught.value).split("\n")) == 2


def test_a_changed_template_is_filled_with_the_value_that_is_held(sink: FileSink, folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "app.tmpl"
    path.write_text("one $token")
    handle = Handle("a", FileSettings(path="app.conf", form="template", template=str(path)))
    take(sink, handle)
    handle.push("x")
    inode = _path(folder, "app.conf").stat().st_ino
    take(sink, handle)
    assert _path(folder, "app.conf").stat().st_ino == inode  # nothing has changed, and nobody is told
    path.write_text("two $token")
    check_templates({"a": handle})  # type: ignore[dict-item]
    assert _path(folder, "app.conf").read_text() == "one x"
    take(sink, handle)
    assert _path(folder, "app.conf").read_text() == "two x"
    path.write_text("$broken")
    with pytest.raises(ConfigurationError):
        take(sink, handle)
    handle.push("y")
    assert _path(folder, "app.conf").read_text() == "two y"


# ------------------------------------------------------------------------------------------------------------ ends


def test_a_dropped_binding_takes_its_files_with_it(sink: FileSink, folder: Folder) -> None:
    one, two = Handle("one", token_file("one")), Handle("two", token_file("two"))
    take(sink, one, two)
    one.push("x")
    two.push("y")
    late = one.on_change
    take(sink, two)
    assert _left(folder) == ["files/two"]
    assert one.on_change is None
    assert callable(late)
    late(AccessToken(SecretStr("late")))  # an issue that was under way
    assert _left(folder) == ["files/two"]


def test_a_changed_binding_keeps_the_files_that_it_goes_on_with(sink: FileSink, folder: Folder) -> None:
    before = Handle("a", token_file("stays"), token_file("goes"))
    take(sink, before)
    before.push("x")
    after = Handle("a", token_file("stays"), token_file("comes"))
    take(sink, after)
    assert _left(folder) == ["files/stays"]
    after.push("y")
    assert _left(folder) == ["files/comes", "files/stays"]
    assert before.on_change is None
    take(sink, Handle("a"))
    assert _left(folder) == []


def test_a_binding_that_is_for_less_than_before_leaves_nothing_of_the_wider_one(sink: FileSink, folder: Folder) -> None:
    wide, narrow = Handle("a", token_file("token")), Handle("a", token_file("token"))
    narrow.identity = ("catalog", "less")
    take(sink, wide)
    wide.push("wide")
    take(sink, narrow)
    assert (_left(folder), narrow.files_written) == ([], False)  # and no wait for an issuer that may be away
    narrow.push("narrow")
    assert _path(folder, "token").read_text() == "narrow"
    # The same binding, whose profile has been changed below it.
    narrow.identity = ("catalog", "less, by another role")
    take(sink, narrow)
    assert (_left(folder), narrow.files_written) == ([], False)
    narrow.push("another")
    assert _path(folder, "token").read_text() == "another"


def test_a_value_that_came_while_nobody_listened_is_written_all_the_same(sink: FileSink, folder: Folder) -> None:
    handle = Handle("a", token_file("token"))
    take(sink, handle)
    handle.push("before")
    handle.identity = ("catalog", "changed below it")
    # As a reload has it: the new value is there, and was told to the files as they were before.
    handle.push("after")
    handle.push_held = lambda: handle.push("after")  # type: ignore[method-assign]
    take(sink, handle)
    assert _path(folder, "token").read_text() == "after"
    assert handle.files_written


def test_at_the_end_every_file_is_removed(sink: FileSink, folder: Folder) -> None:
    handle = Handle("a", token_file("deep/token"))
    take(sink, handle)
    handle.push("x")
    sink.close()
    assert _left(folder) == []
    sink.close()


def test_a_file_that_cannot_be_removed_holds_nobody_up(
    sink: FileSink, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    handle = Handle("a", token_file("token"))
    take(sink, handle)
    _path(folder, "token").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        sink.close()
    assert "cannot be removed" in caplog.text


# ------------------------------------------------------------------------------------------------------------ telling


class Told:
    """Stands in for the program that is told; it takes as long as the test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fault: str | None = None) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.may_go_on = threading.Semaphore(0)
        self.has_begun = threading.Semaphore(0)
        self._fault = fault
        monkeypatch.setattr(tell, "run", self._told)
        monkeypatch.setattr(tell, "send", self._told)

    def _told(self, *arguments: object) -> str | None:
        self.calls.append(arguments)
        self.has_begun.release()
        assert self.may_go_on.acquire(timeout=30)
        return self._fault

    def wait(self) -> None:
        self.may_go_on.release()
        for thread in threading.enumerate():
            if thread.name == "credbroker-on-change":
                thread.join(30)


@pytest.mark.parametrize(
    ("on_change", "call"),
    [
        (OnChange(signal="HUP", pid_file="/run/app.pid"), ("HUP", "/run/app.pid")),
        (OnChange(command=("/usr/bin/app", "reload")), (("/usr/bin/app", "reload"),)),
    ],
)
def test_who_is_named_is_told_once_the_files_are_there(
    on_change: OnChange, call: tuple[object, ...], sink: FileSink, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch)
    handle = Handle("a", token_file("token"), on_change=on_change)
    take(sink, handle)
    assert told.calls == []
    handle.push("x")
    assert told.has_begun.acquire(timeout=30)
    assert _path(folder, "token").read_text() == "x"
    told.wait()
    assert told.calls == [call]
    assert (handle.files_fault, handle.files_written) == (None, True)


def test_no_refresh_waits_for_a_command_and_the_last_change_is_told(
    sink: FileSink, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch)
    handle = Handle("a", token_file("token"), on_change=OnChange(command=("/usr/bin/app",)))
    take(sink, handle)
    handle.push("1")
    assert told.has_begun.acquire(timeout=30)
    for text in "234":
        handle.push(text)  # while the command for the first one runs
    assert _path(folder, "token").read_text() == "4"
    told.may_go_on.release()
    told.wait()
    assert len(told.calls) == 2
    handle.push("5")
    told.wait()
    assert len(told.calls) == 3


def test_a_command_that_fails_is_a_fault_of_the_binding(
    sink: FileSink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(monkeypatch, "/usr/bin/app ended with 3")
    handle = Handle("a", token_file("token"), on_change=OnChange(command=("/usr/bin/app",)))
    take(sink, handle)
    with caplog.at_level(logging.WARNING):
        handle.push("canary")
        told.wait()
    assert handle.files_fault == "/usr/bin/app ended with 3"
    assert "binding a: /usr/bin/app ended with 3" in caplog.text
    assert "canary" not in caplog.text


def test_nobody_is_told_of_files_that_were_not_written(sink: FileSink, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    handle = Handle("a", FileSettings(path="keys", form="aws-credentials"), on_change=OnChange(command=("/usr/bin/app",)))
    take(sink, handle)
    handle.push("no keys")
    assert told.calls == []
    assert handle.files_fault


def test_a_real_command_runs_for_a_real_change(sink: FileSink, folder: Folder, tmp_path: Path) -> None:
    command = ("/bin/cp", str(_path(folder, "token")), str(tmp_path / "copied"))
    handle = Handle("a", token_file("token"), on_change=OnChange(command=command))
    take(sink, handle)
    handle.push("fresh")
    for thread in threading.enumerate():
        if thread.name == "credbroker-on-change":
            thread.join(30)
    assert (tmp_path / "copied").read_text() == "fresh"


def test_a_binding_that_is_changed_while_its_value_is_fresh_writes_that_one(sink: FileSink, folder: Folder) -> None:
    issuer = ControlledProvider()
    config = {
        "environment": "local",
        "principal": "svc",
        "catalogs": {"a": {"uri": "https://a.example", "credentials": {"mode": "oauth2", "scope": "one"}}},
    }
    with Broker.from_config(config, providers={"oauth2": issuer}, context=Context(clock=ManualClock())) as broker:
        broker.catalog("a").get()
        for path in ("one", "two"):
            settings = BindingSettings(name="a", kind="catalog", profile="a", files=(token_file(path),))
            bindings = bindings_of(broker, {"a": settings}, {})
            sink.take(bindings)
            bindings["a"].pin()
            assert _left(folder) == [f"files/{path}"]
            assert _path(folder, path).read_text() == "token-1"
            bindings["a"].release()
    assert issuer.calls == 1
