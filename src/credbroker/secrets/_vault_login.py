"""The logins of a vault: a token that is given, or one that a Kubernetes, AppRole or JWT login brings.

Sources: Vault and OpenBao API documentation, "Kubernetes auth method", "AppRole auth method", "JWT/OIDC auth method".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, SecretNotFound
from credbroker.secrets._vault_server import (
    VaultServer,
    checked_server,
    members_of,
    quoted_path,
    seconds_of,
)
from credbroker.secrets.backend import Backend
from credbroker.secrets.login import Login
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import found
from credbroker.secrets.settings import BackendLogin, BackendSettings
from credbroker.wire.visible import VISIBLE

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 section 3.1, signed
_REMEDIES = {
    "approle": "check auth.role_id and the secret that auth.secret_id names (wrong, expired, or used up)",
    "kubernetes": "check that the role exists, that it is bound to this service account and namespace, and its audience",
    "jwt": "check that the role exists, and the token's issuer, audience, subject and end against its bounds",
}


class LoginToken(SecretStr):
    """The token of a login. ``ends`` is when it does, by ``Clock.elapsed``; infinite where it has no end."""

    ends: float

    @classmethod
    def until(cls, ends: float, token: str) -> LoginToken:
        """``token``, with its end."""
        made = cls(token)
        made.ends = ends
        return made


class VaultLogin:
    """Gives the token that requests carry. A given one is looked up at each use, a login's own is held by ``Login``."""

    def __init__(self, settings: BackendSettings, earlier: Sequence[Backend]) -> None:
        self._settings = settings
        self._auth = settings.auth or BackendLogin(method="")
        self._earlier = tuple(earlier)
        self._held = Login(self._log_in)

    @property
    def given(self) -> bool:
        """Whether the token is given, and not a login's."""
        return self._auth.method == "token"

    def token(self, context: Context) -> SecretStr:
        """A token to ask with.

        Raises ``SecretNotFound`` for what it needs itself, ``IssueDenied`` for a login that is refused, and what
        ``VaultServer.send`` does.
        """
        if not self.given:
            return self._held.token(context)
        given = self._resolved("token", self._auth.token, context)
        if not VISIBLE.fullmatch(given.get_secret_value()):
            raise self._settings.misconfigured("auth.token names a secret that is no token of visible ASCII")
        return given

    def refused(self, token: SecretStr) -> bool:
        """The vault did not take ``token``: whether there is another one to be had, by a new login."""
        if not isinstance(token, LoginToken):
            return False
        self._held.refused(token)
        return True

    def __str__(self) -> str:
        if self.given:
            return "the token that auth.token names"
        role = f"role {self._auth.role!r}" if self._auth.role else "the role of auth.role_id"
        return f"{role} of the login 'auth/{self._mount}'"

    @property
    def _mount(self) -> str:
        return (self._auth.mount or self._auth.method).strip("/")

    def _log_in(self, context: Context) -> tuple[SecretStr, float | None]:
        server = checked_server(self._settings)
        message = self._message(server, context)
        asked = context.clock.elapsed()
        response = server.send(message, context)
        if response.status != 200:
            raise self._refusal(server, response)
        outcome = _granted(server, response, asked)
        if isinstance(outcome, CredbrokerError):
            raise outcome
        return outcome, None if outcome.ends == float("inf") else outcome.ends - asked

    def _message(self, server: VaultServer, context: Context) -> HttpRequest:
        auth = self._auth
        path = f"auth/{quoted_path(self._settings, 'auth.mount', self._mount)}/login"
        if auth.method == "approle":
            stated = auth.role_id
            role_id = SecretStr(stated) if isinstance(stated, str) else self._resolved("role_id", stated, context)
            secret_id = self._resolved("secret_id", auth.secret_id, context)
            return server.request("POST", path, body=_revealed(role_id=role_id, secret_id=secret_id))
        if auth.method not in ("kubernetes", "jwt"):
            raise self._settings.misconfigured("auth.method must be token, kubernetes, approle or jwt")
        jwt = self._jwt(context)
        return server.request("POST", path, body={"role": auth.role, **_revealed(jwt=jwt)})

    def _jwt(self, context: Context) -> SecretStr:
        """The token of this workload, read afresh: the kubelet replaces it long before it ends."""
        auth = self._auth
        if auth.method == "jwt" and (auth.path is None) == (auth.jwt is None):
            raise self._settings.misconfigured("auth needs either 'path' or 'jwt' for the method 'jwt'")
        if auth.jwt is not None:
            jwt, place = self._resolved("jwt", auth.jwt, context), f"the secret {str(auth.jwt)!r}"
        else:
            path = auth.path or _SERVICE_ACCOUNT
            jwt, place = _file(path, context), f"the file {path!r}"
        if not _JWT.fullmatch(jwt.get_secret_value()):
            raise SecretNotFound(
                f"{place} holds no whole JWT to log in to the vault with: it is half-written, or another file"
            )
        return jwt

    def _resolved(self, field: str, reference: SecretReference | None, context: Context) -> SecretStr:
        if reference is None:
            raise self._settings.misconfigured(f"auth.{field} is missing: the method {self._auth.method!r} needs it")
        return found(self._earlier, reference, context)

    def _refusal(self, server: VaultServer, response: HttpResponse) -> CredbrokerError:
        if response.status == 404:
            return ConfigurationError(
                f"{server} has no login at 'auth/{self._mount}': enable it, or correct auth.mount, namespace or address"
            )
        if response.status not in (400, 403):
            return server.malformed(f"the login with HTTP {response.status}")
        remedy = _REMEDIES[self._auth.method]
        if self._auth.method == "approle":
            who = f"the login 'auth/{self._mount}'"
        else:
            who = f"the login 'auth/{self._mount}' for role {self._auth.role!r}"
            source = f"the secret {str(self._auth.jwt)!r}" if self._auth.jwt else repr(self._auth.path or _SERVICE_ACCOUNT)
            remedy = f"{remedy}; the token came from {source}"
        if response.status == 403:  # all that some say to who has no token yet, of a login that is not mounted
            remedy = f"{remedy}; and that the login is enabled there (auth.mount, namespace)"
        return IssueDenied(f"{server} refuses {who} (HTTP {response.status}): {remedy}")


def _file(path: str, context: Context) -> SecretStr:
    try:
        return SecretStr(context.environment.read(path).decode("ascii").strip())
    except FileNotFoundError:
        why = "is not there: mount a projected service account token, or set auth.path"
    except UnicodeDecodeError:
        why = "is no text"
    except OSError as error:
        why = f"cannot be read ({(error.strerror or type(error).__name__).lower()})"
    raise SecretNotFound(f"the file {path!r}, whose token logs in to the vault, {why}")


def _revealed(**secrets: SecretStr) -> Mapping[str, object]:
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


def _granted(server: VaultServer, response: HttpResponse, asked: float) -> LoginToken | CredbrokerError:
    # An error is returned: a raised one would keep this frame, and the token in its locals.
    auth = (members_of(response) or {}).get("auth")
    token = auth.get("client_token") if isinstance(auth, dict) else None
    if not isinstance(auth, dict) or not isinstance(token, str) or not VISIBLE.fullmatch(token):
        return server.malformed("a login without a token (one that asks for a second factor is not for programs)")
    life = seconds_of(auth.get("lease_duration"))
    if life is None:
        return server.malformed("a login with a lease_duration that is no sane number of seconds")
    return LoginToken.until(asked + life if life else float("inf"), token)
