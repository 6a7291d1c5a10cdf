"""Tokens: what a caller shows. One for each binding and one for the status, made anew at each start, in files in memory."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable

from pydantic import SecretStr

from credbroker.sidecar.directory import STATUS, token_file
from credbroker.sidecar.protocol import Confined
from credbroker.system.memory_folder import Folder

_BYTES = 32
"""256 bits: nobody guesses one, however fast the sidecar answers."""


class Tokens(Confined):
    """The tokens of one sidecar, the current ones and those before the latest rotation. It shows none of them."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._tokens: dict[str, tuple[SecretStr, ...]] = {}

    def current(self, name: str) -> SecretStr:
        """The token to hand to a caller."""
        return self._tokens[name][0]

    def accepts(self, name: str, presented: str) -> bool:
        """Whether ``presented`` opens what has that name, told in a time that depends on neither token."""
        given = presented.encode(errors="surrogatepass")
        found = False
        for token in self._tokens.get(name, ()):
            found |= hmac.compare_digest(given, token.get_secret_value().encode())
        return found

    def keep(self, names: Iterable[str]) -> None:
        """Have a token for each of the names, and for no other. Those there were stay. Raises ``ConfigurationError``."""
        wanted = tuple(names)
        for name in wanted:
            if name not in self._tokens:
                self._tokens = {**self._tokens, name: (self._made(name),)}
        dropped = [name for name in self._tokens if name not in wanted]
        self._tokens = {name: self._tokens[name] for name in wanted}
        for name in dropped:
            self._folder.remove(token_file(name))

    def rotate(self) -> None:
        """Make new ones. Those before stay good until the next rotation: a reader may have read its file a moment ago.

        Raises ``ConfigurationError`` where a file cannot be written; every token that was good is good then, and each file
        holds one that is.
        """
        for name, before in self._tokens.items():
            token = SecretStr(secrets.token_urlsafe(_BYTES))
            # First it opens, then it is in the file: no reader ever finds one that does not.
            self._tokens = {**self._tokens, name: (token, before[0])}
            try:
                self._write(name, token)
            except BaseException:
                self._tokens = {**self._tokens, name: before}
                raise

    def close(self) -> None:
        """Nothing opens anything any more, and no file is left."""
        names, self._tokens = tuple(self._tokens), {}
        for name in names:
            self._folder.remove(token_file(name))

    def _made(self, name: str) -> SecretStr:
        token = SecretStr(secrets.token_urlsafe(_BYTES))
        self._write(name, token)
        return token

    def _write(self, name: str, token: SecretStr) -> None:
        # Without a newline: AWS's SDKs send the file's content as a header.
        # The readers' group reads what opens a binding; what opens the status is the owner's.
        self._folder.write(token_file(name), token.get_secret_value().encode(), group_readable=name != STATUS)

    def __repr__(self) -> str:
        return f"<Tokens of {', '.join(self._tokens) or 'nothing'}>"
