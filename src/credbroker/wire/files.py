"""A credential as the content of a file, for tools that read nothing else.

Sources: AWS SDKs and Tools reference guide, "Shared config and credentials files"; Python's ``string.Template``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from string import Template
from typing import TYPE_CHECKING

from credbroker.credentials import (
    AccessToken,
    ADLSCredentials,
    Credential,
    DatabaseCredentials,
    GCSCredentials,
    S3Credentials,
    TableCredentials,
)
from credbroker.errors import ConfigurationError
from credbroker.wire.expiry import zulu
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from pydantic import SecretStr

FIELDS = (
    "access_key_id",
    "secret_access_key",
    "session_token",
    "region",
    "endpoint",
    "token",
    "username",
    "password",
    "private_key",
    "account",
    "sas_token",
    "expires_at",
)
"""What a template may name. Which of them have a value depends on the credential."""
_SECTION = re.compile(r"[!-Z\\^-~]+(?: [!-Z\\^-~]+)*")  # no bracket, no line break
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PEM = re.compile(r"[ -~\n]+")


def bearer(value: Credential) -> bytes:
    """A token, or a login's password, without a newline: many tools take the whole content.

    Raises ``ConfigurationError`` for what has neither.
    """
    fields = _fields(value)
    secret = fields.get("token") or fields.get("password")
    if secret is None:
        del fields
        raise ConfigurationError(f"{_what(value)} holds neither a token nor a password: use the form 'template'")
    return secret.encode()


def aws_credentials(value: Credential, told_end: datetime | None, *, section: str) -> bytes:
    """A shared credentials file of one section. Its first line is a comment that says when the keys end, in UTC.

    Raises ``ConfigurationError`` for what is no set of S3 keys.
    """
    keys = _one_of(value)
    if not isinstance(keys, S3Credentials):
        raise ConfigurationError(f"{_what(keys)} is no set of S3 keys: use the form 'token' or 'template'")
    if not _SECTION.fullmatch(section):
        raise ConfigurationError("the name of an AWS profile holds no bracket and no line break")
    content = _section(keys, told_end, section)
    if content is None:
        raise ConfigurationError("the keys hold a blank or a letter that no AWS key has, which would break the file")
    return content


def parsed_template(text: str) -> Template:
    """The text with ``${name}`` for each of ``FIELDS`` and ``$$`` for a dollar sign.

    Raises ``ConfigurationError`` that names what it cannot be filled with, and the line; the text itself may be no one's to
    see.
    """
    template = Template(text)
    faults = []
    for match in template.pattern.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        name = match["named"] or match["braced"]
        if match["invalid"] is not None:
            faults.append(f"line {line}: a '$' begins no name: write '$$' for the sign itself")
        elif name is not None and name not in FIELDS:
            faults.append(f"line {line}: there is no ${{{name}}}")
    if faults:
        raise ConfigurationError(f"{'; '.join(faults)} (there are {', '.join(FIELDS)})")
    return template


def filled(template: Template, value: Credential, told_end: datetime | None) -> bytes:
    """The template with the value's fields, each as it is: what a format wants escaped is the template's matter.

    A field that such a credential may have and this one has not is empty. Raises ``ConfigurationError`` for a field that it
    never has, and where one holds a line break (a private key may): what comes from an issuer adds no line of its own.
    """
    fields = _fields(value)
    fields["expires_at"] = _iso(told_end)
    named = template.get_identifiers()
    missing = ", ".join(name for name in named if name not in fields)
    broken = ", ".join(name for name in named if name in fields and not _fits(name, fields[name] or ""))
    if missing or broken:
        del fields
        reason = f"has no {missing}: take it out of the template" if missing else f"holds control characters in {broken}"
        raise ConfigurationError(f"{_what(value)} {reason}")
    return template.substitute({name: text or "" for name, text in fields.items()}).encode()


def _one_of(value: Credential) -> Credential:
    """A table's credentials, if they are one set."""
    if not isinstance(value, TableCredentials):
        return value
    sets: Mapping[str, Credential] = {keys.fingerprint: keys for _, keys in value.by_location}
    if len(sets) != 1:
        raise ConfigurationError(f"the table's credentials are {len(sets)} sets of keys, and a file has room for one")
    return next(iter(sets.values()))


def _fields(value: Credential) -> dict[str, str | None]:
    match _one_of(value):
        case S3Credentials() as keys:
            return {
                "access_key_id": keys.access_key_id,
                "secret_access_key": keys.secret_access_key.get_secret_value(),
                "session_token": _shown(keys.session_token),
                "region": keys.region,
                "endpoint": keys.endpoint,
            }
        case AccessToken() as token:
            return {"token": token.value.get_secret_value()}
        case GCSCredentials() as token:
            return {"token": token.access_token.get_secret_value()}
        case ADLSCredentials() as sas:
            return {"account": sas.account, "sas_token": sas.sas_token.get_secret_value()}
        case DatabaseCredentials() as login:
            return {
                "username": login.username,
                "password": _shown(login.password),
                "private_key": _shown(login.private_key),
            }
        case other:
            raise ConfigurationError(f"{_what(other)} is nothing that a file is made of")


def _section(keys: S3Credentials, told_end: datetime | None, section: str) -> bytes | None:
    lines = {
        "aws_access_key_id": keys.access_key_id,
        "aws_secret_access_key": keys.secret_access_key.get_secret_value(),
        "aws_session_token": _shown(keys.session_token),
    }
    if not all(VISIBLE.fullmatch(text) for text in lines.values() if text is not None):
        return None
    text = f"# expires {_iso(told_end) or 'never'}\n[{section}]\n"
    return (text + "".join(f"{name} = {key}\n" for name, key in lines.items() if key is not None)).encode()


def _fits(name: str, text: str) -> bool:
    return not _CONTROLS.search(text) or (name == "private_key" and _PEM.fullmatch(text) is not None)


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _iso(told_end: datetime | None) -> str | None:
    # Cut off to whole seconds: rounded up it would be told too late.
    return None if told_end is None else zulu(told_end)


def _what(value: object) -> str:
    return type(value).__name__
