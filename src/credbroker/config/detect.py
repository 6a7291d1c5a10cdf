"""Which credential a text holds, if any: the plug-ins of detect-secrets, and detectors for what they miss.

The plug-ins are asked as objects, each text by itself, through ``analyze_string``, which is a function of the text alone.
All else in detect-secrets reads settings that are one for the process: scans in several threads were seen to lose findings
by that. Nothing is verified with anybody, and nothing is written.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from credbroker.config.forms import (
    CERTIFICATE,
    form,
    has_secret_setting,
    has_url_password,
    is_secret_key,
    without_templates,
)
from credbroker.errors import ConfigurationError

_MISSING = "looking for credentials needs detect-secrets: pip install 'credbroker-data[scan]'"
# Module and class, the more telling first. Those of the second list look at what stands before a value as well.
_PLUGINS = (
    ("aws", "AWSKeyDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("slack", "SlackDetector"),
    ("stripe", "StripeDetector"),
    ("openai", "OpenAIDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("npm", "NpmDetector"),
    ("sendgrid", "SendGridDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("jwt", "JwtTokenDetector"),
)
_FIELD_PLUGINS = (
    ("private_key", "PrivateKeyDetector"),
    ("telegram_token", "TelegramBotTokenDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("twilio", "TwilioKeyDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("ibm_cos_hmac", "IbmCosHmacDetector"),
    ("ibm_cloud_iam", "IbmCloudIamDetector"),
    ("cloudant", "CloudantDetector"),
    ("softlayer", "SoftlayerDetector"),
    ("artifactory", "ArtifactoryDetector"),
    ("basic_auth", "BasicAuthDetector"),
)
KEYWORD = "Secret Keyword"
_CERTIFICATE = "Certificate"
_URL_PASSWORD = "Basic Auth Credentials"  # noqa: S105 - the name of the finding
_CONNECTION = "Connection String Password"
_ENCODED = "Base64 Encoded Secret"
# Looked at in pieces that overlap: some expressions of the plug-ins take time with the square of a text's length.
_PIECE, _OVERLAP = 4096, 1024
_BLANKS = re.compile(r"[ \t\r\f\v]{2,}")
_LONGEST_KEY = 256

# Keys that name a secret, or say something of one, and hold none. They silence the rules about keys only.
_REFERENCE = re.compile(
    r"next|property|remoteref|existing.*|imagepullsecrets?"
    r"|.*(?:ref|refs|name|names|file|path|dir|mount|url|uri|endpoint|arn|env|var|ttl|seconds|minutes|hours|days|interval|enabled|required"
    r"|count|length|type|mode|method|policy|policies|provider|providers|backend|backends|manager|store|class|engine|version|rotation"
    r"|template|keyid|label|labels)"
)
_NO_SECRET = frozenset(
    {"true", "false", "yes", "no", "null", "~", "none", "read", "write", "inherit", "required", "optional"}
)
_PLACEHOLDER = re.compile(r"<[^<>]*>|\*{3,}|x{3,}|\.{3,}|[-_]{3,}", re.IGNORECASE)
_ENCRYPTED = re.compile(r"ENC\[|\$ANSIBLE_VAULT;|-----BEGIN (?:PGP MESSAGE|AGE ENCRYPTED FILE)-----")
# `password: x` and `password=x` within a line of a comment, of a text in a field, or of a file that is no YAML.
_PAIR = re.compile(r"(?<![\w.-])([\w.-]{2,256})[\"']?\s{0,8}[:=]\s{0,8}[\"']?([^\s\"',{}\[\]]+)(?=[\"',}\]]*\s*(?:[,}#]|$))")
_WORD = re.compile(r"[A-Za-z]+")

# What looks random, and is public: names by content, identifiers, and the path of a URL.
_PUBLIC = re.compile(
    r"\b(?:sha1|sha224|sha256|sha384|sha512|md5)[:-][A-Za-z0-9+/=]{16,}|@[0-9a-f]{40}(?:[0-9a-f]{24})?\b|\barn:aws[a-z-]*:[^\s\"']*"
    r"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b[a-zA-Z][a-zA-Z0-9+.-]{0,31}://[^\s\"'?#]*"
)
_PUBLIC_KEY = re.compile(
    r".*(?:sha[0-9]*|md5|digest|checksum|hash|commit|rev|revision|etag|fingerprint|uuid|guid|image|tag|integrity|id_?hash)"
)
_TOKEN = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?=.*[a-fA-F])[0-9a-fA-F]{16,}")
_BASE64_FROM, _ENCODED_FROM = 20, 20
# Bits a character. A random base64 text of 40 characters has 4.5 to 5.1, one of 20 has 3.7 to 4.3; names that mix capitals,
# small letters and digits have mostly been sorted out before. detect-secrets' own limit is 4.5 for all.
_MIXED_LIMIT, _LIMIT, _HEX_LIMIT = 3.7, 4.3, 3.0
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9]).*|[0-9]*(?:[a-z]+[0-9]+){4,}[a-z]*")
# Words, numbers and versions, put together as names are: floe_prod-2026/v2, DataEngineeringRole.
_NAME = re.compile(
    r"(?:(?:[A-Z]?[a-z]{2,}[0-9]{0,4}|[A-Z]{2,}[0-9]{0,4}|[A-Za-z]?[0-9]{1,4}|[A-Za-z])(?:(?=[A-Z][a-z])|[/_+=-]+|$))+"
)
_PRINTABLE = re.compile(r"[\x20-\x7e\s]+")


class _Plugin(Protocol):
    secret_type: str

    def analyze_string(self, string: str) -> Iterable[str]: ...


class Detectors:
    """All detectors. None holds state, so one object serves all threads. Raises ``ConfigurationError`` if any is missing."""

    def __init__(self) -> None:
        self._plain = _plugins(_PLUGINS)
        self._fielded = (*self._plain, *_plugins(_FIELD_PLUGINS))
        self._keyword = _keyword()
        self._base64 = _entropy("Base64HighEntropyString", _LIMIT)
        self._mixed = _entropy("Base64HighEntropyString", _MIXED_LIMIT)
        self._hex = _entropy("HexHighEntropyString", _HEX_LIMIT)

    def in_field(self, key: str, text: str, *, references: frozenset[str] = frozenset()) -> str | None:
        """The credential that a field's text is, or holds: its name, the most telling one.

        ``references`` are further keys that only name a secret here. ``${NAME}`` and ``{{ ... }}`` are no secrets.
        """
        pieces = _pieces(text)
        found = _first(form, pieces) or _asked(self._fielded, _quoted(key, pieces))
        found = found or (_CERTIFICATE if CERTIFICATE.search(text) else None)
        if found is not None and found != _URL_PASSWORD:
            return found
        # From here on of what stands there literally: in a URL it may be a template that stands for the password.
        literal = without_templates(text)
        if not literal.strip(": ") or _PLACEHOLDER.fullmatch(literal):
            return None
        return self._in_literal(key, literal, is_reference=key in references)

    def _in_literal(self, key: str, literal: str, *, is_reference: bool) -> str | None:
        if has_url_password(literal):
            return _URL_PASSWORD
        if _ENCRYPTED.match(literal):
            return None
        if not is_reference and self._names_secret(key, literal):
            return KEYWORD
        if has_secret_setting(literal):
            return _CONNECTION
        public = _PUBLIC_KEY.fullmatch(_flat(key)) is not None
        return _first(self._pair_in, _pieces(literal)) or self._random_in(literal, public=public)

    def in_line(self, text: str) -> str | None:
        """The same for a line of which nobody knows what it is: a comment, a key, or a line of a file that is no YAML."""
        found = self.in_text(text) or (_CERTIFICATE if CERTIFICATE.search(text) else None)
        if found is not None:
            return found
        literal = without_templates(text)
        if has_url_password(literal):
            return _URL_PASSWORD
        return _first(self._pair_in, _pieces(literal)) or self._random_in(literal, public=False)

    def in_text(self, text: str) -> str | None:
        """A credential by its form alone, in any text."""
        pieces = _pieces(text)
        return _first(form, pieces) or _asked(self._plain, pieces)

    def _names_secret(self, key: str, literal: str) -> bool:
        if literal.lower() in _NO_SECRET or not key:
            return False
        flat = _flat(key)
        if is_secret_key(key[-_LONGEST_KEY:]):
            return not flat.startswith("existing")
        if _REFERENCE.fullmatch(flat[-_LONGEST_KEY:]):
            return False
        # By the key alone: of the value it would only find words in prose.
        return not _is_number(literal) and self._keyword(f'{key[-_LONGEST_KEY:]}: "x"')

    def _pair_in(self, piece: str) -> str | None:
        """A secret that is set within a line. A value that is a plain word is prose: `token: optional`."""
        for key, value in _PAIR.findall(piece):
            if not _WORD.fullmatch(value) and not _PLACEHOLDER.fullmatch(value) and self._names_secret(key, value):
                return KEYWORD
        return None

    def _random_in(self, literal: str, *, public: bool) -> str | None:
        tokens = [token for token in _TOKEN.findall(_PUBLIC.sub(" ", literal)) if not _NAME.fullmatch(token)]
        if any(_is_encoded_text(token) for token in tokens):
            return _ENCODED
        if public:
            return None
        if any(_HEX.fullmatch(token) and self._hex(token) for token in tokens):
            return "Hex High Entropy String"
        if any(
            len(token) >= _BASE64_FROM and (self._mixed if _MIXED.fullmatch(token) else self._base64)(token)
            for token in tokens
        ):
            return "Base64 High Entropy String"
        return None


@cache
def detectors() -> Detectors:
    """The detectors of this process. Raises ``ConfigurationError`` without detect-secrets."""
    return Detectors()


def _plugins(named: Sequence[tuple[str, str]]) -> tuple[_Plugin, ...]:
    return tuple(_loaded(module, name)() for module, name in named)


def _loaded(module: str, name: str) -> Any:
    # One that is missing fails the scan: a gate that looks for less than it says is worse than none.
    found: Any = None
    try:
        found = getattr(import_module(f"detect_secrets.plugins.{module}"), name, None)
    except ImportError:
        found = None
    if found is None:
        raise ConfigurationError(f"{_MISSING} (its plug-in {name} is not there)")
    return found


def _keyword() -> Callable[[str], bool]:
    # With the expressions for configuration files, which need no quotes around a value.
    plugin = _loaded("keyword", "KeywordDetector")()
    expressions = _loaded("keyword", "CONFIG_DENYLIST_REGEX_TO_GROUP")
    return lambda line: any(True for _ in plugin.analyze_string(line, denylist_regex_to_group=expressions))


def _entropy(name: str, limit: float) -> Callable[[str], bool]:
    plugin = _loaded("high_entropy_strings", name)(limit=limit)
    return lambda token: any(plugin.calculate_shannon_entropy(part) > limit for part in plugin.analyze_string(f'"{token}"'))


def _asked(plugins: Iterable[_Plugin], pieces: Sequence[str]) -> str | None:
    for plugin in plugins:
        if any(_counts(plugin, hit) for piece in pieces for hit in plugin.analyze_string(piece)):
            return plugin.secret_type
    return None


def _counts(plugin: _Plugin, hit: str) -> bool:
    # Artifactory's token is any word that begins with AKC or APA to APF.
    return not plugin.secret_type.startswith("Artifactory") or any(one.isdigit() for one in hit.strip()[3:])


def _pieces(text: str) -> list[str]:
    """The lines of a text, long ones in pieces, runs of blanks as one."""
    found: list[str] = []
    for line in text.split("\n"):
        short = _BLANKS.sub(" ", line).strip()
        if short:
            found.extend(short[at : at + _PIECE] for at in range(0, max(1, len(short) - _OVERLAP), _PIECE - _OVERLAP))
    return found


def _quoted(key: str, pieces: Sequence[str]) -> list[str]:
    # As a line of a file: the plug-ins look for quotes around a value, and some for its name before it.
    return [f'{key[-_LONGEST_KEY:]}: "{piece}"' for piece in pieces]


def _first(ask: Callable[[str], str | None], pieces: Iterable[str]) -> str | None:
    return next(_found(ask, pieces), None)


def _found(ask: Callable[[str], str | None], pieces: Iterable[str]) -> Iterator[str]:
    for piece in pieces:
        found = ask(piece)
        if found is not None:
            yield found


def _flat(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_encoded_text(token: str) -> bool:
    """Whether a token is base64 of a printable text: by chance, 15 bytes are one in three million."""
    if len(token) < _ENCODED_FROM:
        return False
    try:
        raw = base64.b64decode(
            token + "=" * (-len(token) % 4), altchars=b"-_" if set(token) & set("-_") else None, validate=True
        )
    except (binascii.Error, ValueError):
        return False
    return raw.isascii() and _PRINTABLE.fullmatch(raw.decode("ascii")) is not None
