from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from credbroker.context import Context
from credbroker.secrets.backend import Lookup
from credbroker.secrets.files import FilesBackend
from credbroker.secrets.reference import SecretReference
from credbroker.system.environment import SystemEnvironment


def look(root: Path, field: str | None = None) -> Lookup:
    return FilesBackend(str(root)).look(
        SecretReference(secret_ref="s", field=field), Context(environment=SystemEnvironment())
    )


def value(root: Path, field: str | None = None) -> str | None:
    found = look(root, field)
    return found.secret.get_secret_value() if found.secret is not None else None


def mount(root: Path, version: str, **fields: str) -> None:
    """A Kubernetes Secret as the kubelet mounts it: fields link through ``..data`` to a directory of that version."""
    directory = root / "s" / f"..{version}"
    directory.mkdir(parents=True)
    for name, text in fields.items():
        (directory / name).write_text(text)
        link = root / "s" / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    (root / "s" / "..data_tmp").symlink_to(f"..{version}")
    (root / "s" / "..data_tmp").rename(root / "s" / "..data")


def test_a_plain_file_is_the_secret(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("value\n")
    assert value(tmp_path) == "value"
    assert value(tmp_path, "client_id") is None
    assert "it is no JSON object" in str(look(tmp_path, "client_id"))
    (tmp_path / "s").write_text('{"client_id": "id"}\n')
    assert value(tmp_path, "client_id") == "id"


def test_the_sole_field_of_a_kubernetes_mount_is_the_secret_and_follows_a_rotation(tmp_path: Path) -> None:
    mount(tmp_path, "one", client_secret="first\n")
    assert value(tmp_path) == "first"
    mount(tmp_path, "two", client_secret="second\n")
    assert value(tmp_path) == "second"
    assert value(tmp_path, "client_secret") == "second"


def test_of_several_fields_one_must_be_picked(tmp_path: Path) -> None:
    mount(tmp_path, "one", client_id="id", client_secret="value")
    found = look(tmp_path)
    assert found.secret is None
    assert "it holds the fields client_id, client_secret: pick one with 'field:'" in str(found)
    assert value(tmp_path, "client_id") == "id"
    assert value(tmp_path, "absent") is None


def test_a_key_pair_is_one_secret(tmp_path: Path) -> None:
    mount(tmp_path, "one", access_key_id="AK\n", secret_access_key="SK\n")
    assert json.loads(value(tmp_path) or "") == {"access_key_id": "AK", "secret_access_key": "SK"}
    mount(tmp_path, "two", access_key_id="AK2", secret_access_key="SK2", session_token="ST2")
    assert json.loads(value(tmp_path) or "") == {"access_key_id": "AK2", "secret_access_key": "SK2", "session_token": "ST2"}
    assert value(tmp_path, "secret_access_key") == "SK2"


def test_a_key_pair_is_never_half_of_two(tmp_path: Path) -> None:
    """A rotation falls between the reads of its two fields."""
    mount(tmp_path, "one", access_key_id="AK1", secret_access_key="SK1")

    class Rotating(SystemEnvironment):
        reads = 0

        def read(self, path: str, *, within: str | None = None) -> bytes:
            content = super().read(path, within=within)
            self.reads += 1
            if self.reads == 1:
                mount(tmp_path, "two", access_key_id="AK2", secret_access_key="SK2")
            return content

    found = FilesBackend(str(tmp_path)).look(SecretReference(secret_ref="s"), Context(environment=Rotating()))
    assert found.secret is not None
    assert json.loads(found.secret.get_secret_value()) == {"access_key_id": "AK2", "secret_access_key": "SK2"}


def test_a_key_pair_with_an_empty_field_is_not_found(tmp_path: Path) -> None:
    mount(tmp_path, "one", access_key_id="AK", secret_access_key="\n")
    assert value(tmp_path) is None


def test_no_link_leads_out_of_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f").write_text("stolen")
    (root / "s").symlink_to(tmp_path / "elsewhere" / "f")
    assert value(root) is None
    assert "leads out of the directory" in str(look(root))
    (root / "s").unlink()
    (root / "s").symlink_to(tmp_path / "elsewhere")
    assert value(root) is None
    assert value(root, "f") is None


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * (1024 * 1024 + 1)])
def test_what_is_empty_no_text_or_too_large_is_not_found(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    assert value(tmp_path) is None
    assert "(" in str(look(tmp_path))


def test_an_empty_directory_and_a_directory_for_a_field_are_not_found(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    assert "it holds no file" in str(look(tmp_path))
    (tmp_path / "s" / "f").mkdir()
    assert "is a directory" in str(look(tmp_path))
    assert value(tmp_path, "f") is None


def test_what_is_there_and_cannot_be_read_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s")
    assert look(tmp_path).there
    (tmp_path / "s").unlink()
    assert not look(tmp_path).there
    (tmp_path / "s").write_bytes(b"\xff")
    assert look(tmp_path).there
    (tmp_path / "s").unlink()
    (tmp_path / "s").symlink_to("/etc/hostname")
    assert look(tmp_path).there
    (tmp_path / "s").unlink()
    mount(tmp_path, "one", client_id="id", client_secret="value")
    assert look(tmp_path).there


def test_an_absent_secret_names_its_path(tmp_path: Path) -> None:
    assert str(look(tmp_path)) == f"file '{tmp_path}/s'"
