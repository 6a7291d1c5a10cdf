from __future__ import annotations

from contextlib import chdir
from pathlib import Path

from credbroker.system.walk import files_below


def test_a_folder_is_walked_in_order_and_no_link_below_it_is_followed(tmp_path: Path) -> None:
    with chdir(tmp_path):
        for name in ("b/c/z", "b/y", "a", ".git/x"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
        Path("b/loop").symlink_to("..")
        Path("b/link").symlink_to("/etc/hostname")
        assert list(files_below(".", skipped={".git"})) == ["a", "b/y", "b/c/z"]


def test_a_file_is_itself_whether_or_not_it_exists(tmp_path: Path) -> None:
    assert list(files_below(str(tmp_path / "none"))) == [str(tmp_path / "none")]
