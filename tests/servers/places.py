"""Every place where a secret may be kept, each filled by its owner: its entry under ``secret_backends``, and its cost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.aws_kept import KINDS as AWS_KINDS
from tests.servers.aws_kept import Kept
from tests.servers.entra import Entra
from tests.servers.google import Google
from tests.servers.openbao import KV, PREFIX, OpenBao

if TYPE_CHECKING:
    import pytest

PLACES = ("env", "file", "directory", "kubelet", "vault", *AWS_KINDS, "gcp", "azure")


@dataclass
class Place:
    """One of them. ``requests`` counts what its server was asked so far; ``field`` is what picks the secret there."""

    entry: dict[str, Any]
    put: Callable[[str, str], None]
    requests: Callable[[], int]
    field: str | None = None

    def reference(self, name: str) -> dict[str, str]:
        return {"secret_ref": name} | ({"field": self.field} if self.field is not None else {})


def _none() -> int:
    return 0


def in_files(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """What needs no server: a variable, a file, a directory of fields, a mount as the kubelet swaps it."""

    def environment(name: str, value: str) -> None:
        monkeypatch.setenv(name.upper().replace("-", "_"), value)

    def directory(name: str, value: str) -> None:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "client_secret").write_text(value)
        (folder / name / "client_id").write_text("beside it")

    if kind == "env":
        return Place({"type": "env"}, environment, _none)
    files = {"type": "files", "path": str(folder)}
    if kind == "file":
        return Place(files, lambda name, value: _written(folder / name, value), _none)
    if kind == "directory":
        return Place(files, directory, _none, field="client_secret")
    return Place(files, lambda name, value: mount(folder, {name: value}), _none)


def mount(folder: Path, secrets: Mapping[str, str]) -> None:
    """Show ``secrets`` in ``folder`` as the kubelet does: all at once, by one swapped link that every name leads through."""
    version = folder / f"..version-{sum(1 for _ in folder.glob('..version-*'))}"
    version.mkdir()
    for name, value in secrets.items():
        (version / name).write_text(value)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(version.name)
    os.replace(folder / "..data_tmp", folder / "..data")  # noqa: PTH105 - the very call that the kubelet makes


# What a place itself is logged in to with goes into ``logins``, a directory that is looked in before.


def in_vault(openbao: OpenBao, logins: Path) -> Place:
    (logins / "approle-secret-id").write_text(openbao.secret_id())
    auth = {"method": "approle", "role_id": openbao.role_id, "secret_id": {"secret_ref": "approle-secret-id"}}
    entry = {"type": "vault", "address": openbao.address, "mount": KV, "prefix": PREFIX, "auth": auth}
    return Place(entry, lambda name, value: openbao.put(name, client_secret=value), lambda: len(openbao.seen))


def in_aws(kind: str, kept: Kept) -> Place:
    return Place(kept.entry(kind), lambda name, value: kept.put(kind, name, value), lambda: len(kept.aws.calls))


def in_google(google: Google, logins: Path) -> Place:
    (logins / "gcp-key").write_text(json.dumps(google.key))
    auth = {"method": "service_account_key", "key": {"secret_ref": "gcp-key"}}
    entry = {"type": "gcp", "project": google.project, "endpoint": google.uri, "auth": auth}
    return Place(entry, google.add, lambda: len(google.calls))


def in_entra(entra: Entra, logins: Path) -> Place:
    (logins / "azure-app-secret").write_text(min(entra.client_secrets))
    auth = {
        "method": "client_secret",
        "tenant_id": entra.tenant,
        "client_id": entra.client_id,
        "client_secret": {"secret_ref": "azure-app-secret"},
    }
    return Place({"type": "azure", "address": entra.uri, "auth": auth}, entra.add, lambda: len(entra.calls))


def _written(path: Path, value: str) -> None:
    path.write_text(value)
