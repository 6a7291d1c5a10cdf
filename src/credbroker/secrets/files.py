"""Secrets in files, as Kubernetes mounts them: ``<root>/<name>``, a file, or a directory with a file for each field."""

from __future__ import annotations

import json

from credbroker.context import Context
from credbroker.secrets.backend import Lookup, belong_together, lookup, stripped
from credbroker.secrets.reference import SecretReference

DEFAULT_ROOT = "/var/run/secrets"
_ATTEMPTS = 3


class FilesBackend:
    """Looks for a secret below one directory; no name and no symbolic link leads out of it."""

    def __init__(self, root: str = DEFAULT_ROOT) -> None:
        self._root = root.rstrip("/") or "/"

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``.

        Of a directory, ``field`` picks; without one the sole visible file is the secret, and a directory whose files belong
        together (a key pair, a login) is one secret, given as JSON.
        """
        path = f"{self._root}/{reference.secret_ref}"
        try:
            names = context.environment.names(path)
        except OSError as error:
            return _unread(f"file {path!r}", error)
        if names is None:
            return self._file(path, reference.field, context)
        if reference.field is not None:
            return self._file(f"{path}/{reference.field}", None, context)
        return self._directory(path, tuple(name for name in names if not name.startswith(".")), context)

    def _directory(self, path: str, fields: tuple[str, ...], context: Context) -> Lookup:
        needed = belong_together(fields)
        if needed is not None:
            return self._whole(path, fields, needed, context)
        if not fields:
            return Lookup(f"directory {path!r}", reason="it holds no file")
        if len(fields) > 1:
            reason = f"it holds the fields {', '.join(fields)}: pick one with 'field:'"
            return Lookup(f"directory {path!r}", reason=reason, there=True)
        return self._file(f"{path}/{fields[0]}", None, context)

    def _file(self, path: str, field: str | None, context: Context) -> Lookup:
        text = self._read(path, context)
        return lookup(f"file {path!r}", text, field) if isinstance(text, str) else text

    def _whole(self, path: str, fields: tuple[str, ...], needed: frozenset[str], context: Context) -> Lookup:
        place = f"directory {path!r}"
        previous: dict[str, str] | None = None
        for _ in range(_ATTEMPTS):
            whole: dict[str, str] = {}
            for field in fields:
                text = self._read(f"{path}/{field}", context)
                if not isinstance(text, str):
                    return text
                if stripped(text):
                    whole[field] = stripped(text)
            if not whole.keys() >= needed:
                return Lookup(place, reason=f"one of its fields {', '.join(sorted(needed))} is empty")
            # Twice the same: the kubelet swaps all fields at once, but between two reads, and half of an old pair with half
            # of the new one is refused by the store as if the secret were wrong.
            if whole == previous:
                return lookup(place, json.dumps(whole), None)
            previous = whole
        return Lookup(place, reason="its fields kept changing while they were read", there=True)

    def _read(self, path: str, context: Context) -> str | Lookup:
        try:
            raw = context.environment.read(path, within=self._root)
        except OSError as error:
            return _unread(f"file {path!r}", error)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return Lookup(f"file {path!r}", reason="it is not UTF-8 text", there=True)


def _unread(place: str, error: OSError) -> Lookup:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Lookup(place)
    return Lookup(place, reason=(error.strerror or type(error).__name__).lower(), there=True)
