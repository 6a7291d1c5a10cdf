"""Secrets in files, as Kubernetes mounts them: ``<root>/<name>``, a file, or a directory with a file for each field."""

from __future__ import annotations

import json

from credbroker.context import Context
from credbroker.secrets.backend import Lookup, lookup, stripped
from credbroker.secrets.reference import SecretReference

DEFAULT_ROOT = "/var/run/secrets"
_KEY_PAIR = frozenset({"access_key_id", "secret_access_key"})
_KEY_TRIPLE = _KEY_PAIR | {"session_token"}
_ATTEMPTS = 3


class FilesBackend:
    """Looks for a secret below one directory; no name and no symbolic link leads out of it."""

    def __init__(self, root: str = DEFAULT_ROOT) -> None:
        self._root = root.rstrip("/") or "/"

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``.

        Of a directory, ``field`` picks; without one the sole visible file is the secret, and a directory that holds
        ``access_key_id`` and ``secret_access_key`` is one secret, given as JSON.
        """
        path = f"{self._root}/{reference.secret_ref}"
        try:
            names = context.environment.names(path)
        except OSError as error:
            return Lookup(f"file {path!r}", reason=_why(error))
        if names is None:
            return self._file(path, reference.field, context)
        if reference.field is not None:
            return self._file(f"{path}/{reference.field}", None, context)
        fields = tuple(name for name in names if not name.startswith("."))
        if _KEY_PAIR <= set(fields) <= _KEY_TRIPLE:
            return self._key_pair(path, fields, context)
        if len(fields) != 1:
            reason = f"it holds the fields {', '.join(fields)}: pick one with 'field:'" if fields else "it holds no file"
            return Lookup(f"directory {path!r}", reason=reason)
        return self._file(f"{path}/{fields[0]}", None, context)

    def _file(self, path: str, field: str | None, context: Context) -> Lookup:
        place = f"file {path!r}"
        text = self._read(path, context)
        return lookup(place, text, field) if isinstance(text, str) else Lookup(place, reason=text.reason)

    def _key_pair(self, path: str, fields: tuple[str, ...], context: Context) -> Lookup:
        place = f"directory {path!r}"
        previous: dict[str, str] | None = None
        for _ in range(_ATTEMPTS):
            pair: dict[str, str] = {}
            for field in fields:
                text = self._read(f"{path}/{field}", context)
                if not isinstance(text, str):
                    return Lookup(f"file {path + '/' + field!r}", reason=text.reason)
                if stripped(text):
                    pair[field] = stripped(text)
            if not pair.keys() >= _KEY_PAIR:
                return Lookup(place, reason="a field of its key pair is empty")
            # Twice the same: the kubelet swaps all fields at once, but between two reads, and half of an old pair with half
            # of the new one is refused by the store as if the secret were wrong.
            if pair == previous:
                return lookup(place, json.dumps(pair), None)
            previous = pair
        return Lookup(place, reason="its fields kept changing while they were read")

    def _read(self, path: str, context: Context) -> str | Lookup:
        try:
            raw = context.environment.read(path, within=self._root)
        except OSError as error:
            return Lookup(path, reason=_why(error))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return Lookup(path, reason="it is not UTF-8 text")


def _why(error: OSError) -> str | None:
    return None if isinstance(error, FileNotFoundError) else (error.strerror or type(error).__name__).lower()
