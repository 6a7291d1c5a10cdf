"""A changed file is seen once, however it was changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from credbroker.system.changes import Changes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "platform.yaml"
    path.write_text("one")
    return path


def _seen_once(changes: Changes) -> bool:
    return changes.seen() and not changes.seen()


def test_what_is_as_it_was_has_not_changed(file: Path) -> None:
    changes = Changes([str(file)])
    assert not changes.seen()
    file.read_text()
    assert not changes.seen()
    assert not Changes([]).seen()


def test_a_file_that_was_written_is_seen_once(file: Path) -> None:
    changes = Changes([str(file)])
    file.write_text("two, longer")
    assert _seen_once(changes)


def test_one_of_the_same_size_and_time_is_another_file(file: Path) -> None:
    changes = Changes([str(file)])
    times = file.stat().st_mtime_ns
    other = file.with_suffix(".new")
    other.write_text("two")
    os.utime(other, ns=(times, times))
    other.replace(file)
    assert _seen_once(changes)


def test_a_time_that_goes_back_is_seen(file: Path) -> None:
    changes = Changes([str(file)])
    os.utime(file, ns=(0, 0))
    assert _seen_once(changes)


def test_the_exchanged_link_of_a_config_map_is_seen(tmp_path: Path) -> None:
    for number in ("1", "2"):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "platform.yaml").write_text("same")
        os.utime(tmp_path / f"..{number}" / "platform.yaml", ns=(0, 0))
    os.link(tmp_path / "..1" / "platform.yaml", tmp_path / "..2" / "same")
    (tmp_path / "..2" / "same").replace(tmp_path / "..2" / "platform.yaml")  # even where all else is the same
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "platform.yaml").symlink_to("..data/platform.yaml")
    changes = Changes([str(tmp_path / "platform.yaml")])
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert _seen_once(changes)


def test_a_missing_file_has_changed_only_when_it_is_back(file: Path) -> None:
    changes = Changes([str(file), str(file.with_suffix(".later"))])
    moved = file.rename(file.with_suffix(".moved"))
    assert not changes.seen()
    moved.rename(file)
    assert not changes.seen()  # the very same
    file.unlink()
    assert not changes.seen()
    file.write_text("new")
    assert _seen_once(changes)
    file.with_suffix(".later").write_text("first")
    assert _seen_once(changes)


def test_two_changed_files_are_one_change(file: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.write_text("one")
    changes = Changes([str(file), str(second)])
    file.write_text("changed")
    second.write_text("changed")
    assert _seen_once(changes)


def test_a_path_that_is_none_is_a_missing_file() -> None:
    assert not Changes(["\0", ""]).seen()


def test_what_changed_meanwhile_is_seen_by_who_goes_on_with_other_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("a")
    changes = Changes([str(one)])
    one.write_text("another")
    changes.keep([str(one), str(two)])
    assert changes.seen()
    assert not changes.seen()
    two.write_text("another")
    assert changes.seen()
