"""Google Cloud: an access token for a service account, by the key that was made for it.

Of google-auth the parser of keys, the signer and the JWT encoder are used, and nothing that sends. Its own exchange makes
three attempts at a 503, with 3 s of pauses, and ``service_account.Credentials.refresh`` has no way to turn that off; it
reads the process's clock; and its errors carry the answer's body. The exchange itself is one documented POST:
https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from credbroker.context import Context, HttpRequest
from credbroker.errors import ConfigurationError
from credbroker.hosts import is_loopback
from credbroker.identity._token_endpoint import form, granted

if TYPE_CHECKING:
    from pydantic import SecretStr

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
"""The scope of all Google Cloud APIs; what the account may do there is IAM's to say."""
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE = 3600  # seconds, the most that Google takes
_KEY = "the service account key"
_NO_KEY = (
    f"{_KEY} is no key of a service account in JSON (type, client_email, private_key_id, private_key, token_uri): store the "
    "file as Google made it"
)
_REMEDY = "look at whether the key was deleted or disabled, the service account exists, and this machine's clock is right"
_REMEDIES = {"invalid_scope": "the account may not have this scope", "unauthorized_client": _REMEDY}


def service_account_token(key: SecretStr, context: Context, *, scope: str = CLOUD_PLATFORM) -> tuple[SecretStr, float]:
    """An access token for the account that ``key`` (the JSON that Google made) is of, and its life in seconds. One request.

    The key says where the assertion goes, and who can write the key could send it elsewhere: only Google's own token
    endpoint is taken, or one on loopback. The audience is that very URL, so that no other endpoint can use the assertion.

    Raises ``ConfigurationError`` (no such key, another token_uri, google-auth is not installed), ``IssueDenied``,
    ``IssuerUnavailable``, ``MalformedResponse``.
    """
    request = _assertion(key, int(context.clock.now().timestamp()), scope)
    if isinstance(request, ConfigurationError):
        raise request
    return granted(context.send(request), request.url, _REMEDIES, _REMEDY)


def _assertion(key: SecretStr, now: int, scope: str) -> HttpRequest | ConfigurationError:
    # An error is returned: raised here, its traceback would keep the private key in this frame's variables.
    try:
        from google.auth import crypt, jwt
    except ImportError:
        return ConfigurationError("google-auth is not installed: pip install 'credbroker-data[gcp]'")
    info = _parsed(key)
    if info is None:
        return ConfigurationError(_NO_KEY)
    url = info["token_uri"]
    if url != TOKEN_URI and not _is_local(url):
        return ConfigurationError(f"{_KEY} names a token_uri that is not {TOKEN_URI}: nothing was sent to it")
    try:
        signer = crypt.RSASigner.from_service_account_info(info)
        claims = {"iss": info["client_email"], "scope": scope, "aud": url, "iat": now, "exp": now + _LIFE}
        assertion = jwt.encode(signer, claims).decode()
    except Exception:  # noqa: BLE001 - whatever a broken PEM makes the cryptography raise, with the PEM in its text
        return ConfigurationError(_NO_KEY)
    return form(url, {"grant_type": _GRANT, "assertion": assertion})


def _parsed(key: SecretStr) -> dict[str, Any] | None:
    try:
        info = json.loads(key.get_secret_value())
    except (ValueError, RecursionError):
        return None
    if not isinstance(info, dict) or info.get("type") != "service_account":
        return None
    needed = ("client_email", "private_key_id", "private_key", "token_uri")
    return info if all(isinstance(info.get(name), str) and info[name] for name in needed) else None


def _is_local(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and "@" not in parts.netloc and is_loopback(parts.hostname or "")
