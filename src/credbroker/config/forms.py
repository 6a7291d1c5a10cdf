"""What credentials look like: forms that nothing else has, keys that hold secrets, and passwords inside other texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

# Named as detect-secrets names them where it knows them, so that one credential has one name. The most telling come first.
FORMS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(form))
    for name, form in (
        # Of the JSON key that Google issues for a service account; the private key itself may stand on another line.
        ("Google Service Account Key", r"\"private_key_id\"\s*:\s*\"[0-9a-f]{40}\""),
        ("Private Key", r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"),
        ("AWS Access Key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
        ("GitHub Token", r"\bgh[pousr]_[A-Za-z0-9]{30}|\bgithub_pat_[A-Za-z0-9_]{22}"),
        # HashiCorp's service, batch and recovery tokens; OpenBao's and the older ones begin with `s.` and `b.` alone.
        ("Vault Token", r"\bhv[sbr]\.[A-Za-z0-9_-]{20}|(?<![\w.])[sb]\.(?=[A-Za-z]*[0-9])[A-Za-z0-9]{24}(?![A-Za-z0-9.])"),
        ("Databricks Token", r"\bdapi[0-9a-f]{32}"),
        ("Google API Key", r"\bAIza[0-9A-Za-z_-]{35}"),
        ("Google OAuth Client Secret", r"\bGOCSPX-[0-9A-Za-z_-]{28}"),
        ("Google Access Token", r"\bya29\.[0-9A-Za-z_-]{20}"),
        ("Azure Client Secret", r"(?<![\w~.-])[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31}"),
        ("Azure SAS Token", r"(?:^|[?&\"'\s])sig=[A-Za-z0-9%+/=]{20}"),
        ("Presigned URL", r"[?&]X-(?:Amz|Goog)-Signature=[0-9A-Fa-f]{32}"),
        ("JSON Web Token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]"),
    )
)
CERTIFICATE = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )?CERTIFICATE-----")

# How a key ends, without its separators: client_secret, clientSecret and clientsecret are one.
_KEY = re.compile(
    r".*(?:password|passwd|passphrase|pwd|secret|secretid|accesskeyid|(?:secret|access|private|api|account|signing|shared)key"
    r"|(?:access|session|security|sas|refresh|auth|bearer|id)token|connectionstring|authorization|credential|cookie|jwt)|token"
)
_SEPARATOR = re.compile(r"[^a-z0-9]")
# What is filled in elsewhere; of ${NAME:-default} the default is a literal.
_TEMPLATE = re.compile(r"\$?\{\{[^{}]+\}\}|\$\{(?![^{}]*:-)[^{}]+\}")
_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]{0,5})?")
# Of a query (?password=x&...), and of a connection string (UID=x;PWD=x), which may be the value of one.
_SETTING = re.compile(r"(?:^|[?&;\s])([\w.-]+)\s*=\s*[^&;\s]")


def form(text: str) -> str | None:
    """The name of the credential whose form stands in a text."""
    return next((name for name, pattern in FORMS if pattern.search(text)), None)


def without_templates(text: str) -> str:
    """What stands literally in a text: ``${NAME}`` and ``{{ ... }}`` are filled in elsewhere."""
    return _TEMPLATE.sub("", text).strip()


def is_secret_key(key: str) -> bool:
    """Whether what stands under a key is a secret. Of `s3.secret-access-key` and `header.Cookie` the last part counts."""
    return _KEY.fullmatch(_SEPARATOR.sub("", key.rpartition(".")[2].lower())) is not None


def has_url_password(literal: str) -> bool:
    """Whether a URL in the text has a password."""
    return any(_has_password(rest) for rest in literal.split("://")[1:] if "@" in rest)


def has_secret_setting(literal: str) -> bool:
    """Whether a query or a connection string in the text sets a secret."""
    return any(map(is_secret_key, _settings(literal)))


def _settings(literal: str) -> Iterator[str]:
    yield from _SETTING.findall(unquote_plus(literal))


def _has_password(rest: str) -> bool:
    """Whether a URL, from behind its ``://``, has a password, even one that is not encoded as it ought to be."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # Where no host stands before it, a raw `/`, `?` or `#` is part of the password, which an `@` further on ends.
    whole = authority if _HOST_AND_PORT.fullmatch(authority.rpartition("@")[2]) else rest
    return bool(whole.rpartition("@")[0].partition(":")[2])
