"""The shapes that a static secret may have. Pure; None for any other: a raised error would keep the secret in its locals."""

from __future__ import annotations

import json
import re

from pydantic import SecretStr

from credbroker.credentials import AccessToken, DatabaseCredentials, S3Credentials
from credbroker.profile import ComputeProfile
from credbroker.wire.visible import VISIBLE

KEY_PAIR_SHAPE = (
    "must hold ACCESS:SECRET or ACCESS:SECRET:TOKEN, or access_key_id, secret_access_key and perhaps session_token"
)
LOGIN_SHAPE = (
    "must hold username and password, username and private_key (PEM, not encrypted), or a token; or, with 'user' under "
    "properties, the password or the private key alone"
)
_LOGIN_FIELDS = ("username", "password", "private_key", "token")
_KEY_FIELDS = ("access_key_id", "secret_access_key", "session_token")
_PRIVATE_KEY = re.compile(
    r"\s*-----BEGIN (RSA |EC )?PRIVATE KEY-----\s+([A-Za-z0-9+/=]+\s+)+-----END (RSA |EC )?PRIVATE KEY-----\s*"
)
# A text of control characters is a binary file, or two secrets with a line break between them.
_PASSWORD = re.compile(r"[^\x00-\x1f\x7f]+")
# What takes a bearer token beside a user's name.
_TOKEN_TYPES = ("databricks", "trino")


def token(secret: SecretStr) -> SecretStr | None:
    """A token: visible ASCII."""
    text = secret.get_secret_value().strip()
    return SecretStr(text) if VISIBLE.fullmatch(text) else None


def key_pair(secret: SecretStr, region: str | None, endpoint: str | None) -> S3Credentials | None:
    """Keys for S3, with a session token or without."""
    text = secret.get_secret_value().strip()
    if text.startswith("{"):
        members = _members(text, _KEY_FIELDS)
        parts = [members.get(field) or "" for field in _KEY_FIELDS] if members is not None else []
    else:
        parts = [*text.split(":"), ""] if text.count(":") == 1 else list(text.split(":"))
    if len(parts) != 3 or not all(part == "" or VISIBLE.fullmatch(part) for part in parts):
        return None
    access_key_id, secret_access_key, session = parts
    if not access_key_id or not secret_access_key:
        return None
    return S3Credentials(
        access_key_id,
        SecretStr(secret_access_key),
        session_token=SecretStr(session) if session else None,
        region=region,
        endpoint=endpoint,
    )


def login(secret: SecretStr, profile: ComputeProfile) -> DatabaseCredentials | AccessToken | None:
    """A login by password or by private key, or a token."""
    text = secret.get_secret_value()
    stated = profile.properties.get("user") or profile.properties.get("username")
    user = stated if isinstance(stated, str) else ""
    if not text.lstrip().startswith("{"):
        if not user or (profile.type in _TOKEN_TYPES and not _PRIVATE_KEY.fullmatch(text)):
            found = token(secret)
            return None if found is None else AccessToken(found)
        members = {"private_key" if _PRIVATE_KEY.fullmatch(text) else "password": text}
    else:
        parsed = _members(text, _LOGIN_FIELDS)
        if parsed is None:
            return None
        members = parsed
    if "token" in members:
        found = token(SecretStr(members["token"]))
        return None if found is None else AccessToken(found)
    username, password, private_key = members.get("username", user), members.get("password"), members.get("private_key")
    if not username or not _PASSWORD.fullmatch(username) or (password is None) == (private_key is None):
        return None
    if private_key is not None:
        return (
            DatabaseCredentials(username, private_key=SecretStr(private_key))
            if _PRIVATE_KEY.fullmatch(private_key)
            else None
        )
    return DatabaseCredentials(username, SecretStr(password)) if password and _PASSWORD.fullmatch(password) else None


def _members(text: str, fields: tuple[str, ...]) -> dict[str, str] | None:
    """Those ``fields`` that a JSON object has; None where it is no object, or one of them is no text."""
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    found = {field: parsed[field] for field in fields if parsed.get(field) not in (None, "")}
    return found if all(isinstance(value, str) for value in found.values()) else None
