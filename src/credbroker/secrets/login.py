"""A backend's own token: what it logs in to a vault or a cloud with, held in memory so that not every issue logs in."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from credbroker.context import Context

if TYPE_CHECKING:
    from pydantic import SecretStr

_USED_OF_LIFE = 2 / 3


class Login:
    """The token that ``log_in`` brings, with its life in seconds (None: it has no end), until two thirds of that are over.

    Two threads that find none log in twice: a lock across a call over the network would let one hung login stop every
    issue, past its own deadline.
    """

    __slots__ = ("_held", "_log_in")

    def __init__(self, log_in: Callable[[Context], tuple[SecretStr, float | None]]) -> None:
        self._log_in = log_in
        self._held: tuple[SecretStr, float, int] | None = None

    def token(self, context: Context) -> SecretStr:
        """The held token, else a new one. Raises what ``log_in`` does."""
        held = self._held
        # A forked child inherits no credential: it logs in for itself.
        if held is not None and held[2] == os.getpid() and context.clock.elapsed() < held[1]:
            return held[0]
        asked = context.clock.elapsed()
        token, life = self._log_in(context)
        self._held = (token, float("inf") if life is None else asked + life * _USED_OF_LIFE, os.getpid())
        return token

    def refused(self, token: SecretStr) -> None:
        """The server did not take ``token``: drop it, if it is still the held one."""
        held = self._held
        if held is not None and held[0] is token:
            self._held = None
