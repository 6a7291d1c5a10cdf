"""The ``sidecar:`` section as it is written: where it listens, who may ask, and what it serves by which protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator

from credbroker.arguments import identifier
from credbroker.config.sections import Section
from credbroker.config.values import AbsolutePath, LocationText, Text, duration, fault, plain_text
from credbroker.errors import ConfigurationError
from credbroker.request import Access

_TOKENS = frozenset({"catalog", "compute"})
_STORES = frozenset({"s3", "gcs", "azure"})
SERVES: Mapping[str, frozenset[str]] = {
    "aws-container": frozenset({"s3", "table"}),
    "gce-metadata": frozenset({"gcs"}) | _TOKENS,
    "azure-app-service": _TOKENS,
    "azure-imds": _TOKENS,
    "oauth2-token": _TOKENS,
    "google-subject-token": _TOKENS,
    "iceberg-credentials": _STORES | {"table"},
}
"""What each protocol can tell: a kind of store, the keys of a ``table``, the token of a ``catalog`` or of ``compute``."""
REFRESHED_EARLY = frozenset({"aws-container", "gce-metadata", "azure-app-service", "azure-imds"})
"""The protocols of SDKs, which ask anew minutes before the end."""
FORMS: Mapping[str, frozenset[str]] = {
    "token": frozenset({"gcs"}) | _TOKENS,
    "aws-credentials": frozenset({"s3", "table"}),
    "template": _STORES | _TOKENS | {"table", "aws-catalog"},
}
"""Likewise for each form of a file. An ``aws-catalog`` is asked with AWS keys, so that it has no token."""

_LISTEN = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+)):([0-9]{1,5})")
_LOOPBACK = "write 127.0.0.1:8642, or '[::1]:8642' in quotes"
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")
_AWS_PROFILE = re.compile(r"[A-Za-z0-9_.@+-]{1,64}")
# sun_path of unix(7) has 108 bytes, macOS' 104, the NUL among them: the directory has to leave room for the socket's name.
_LONGEST_DIRECTORY = 103 - len("/credbroker.sock")

LONGEST_PATH = 512
"""Of a file, in characters: with the directory it stays far below what systems take."""


def _directory(value: str) -> str:
    if len(value.encode()) > _LONGEST_DIRECTORY:
        raise fault(f"is longer than {_LONGEST_DIRECTORY} bytes, so that no Unix socket fits below it")
    return value


def _listen(value: object) -> tuple[str, int]:
    text = plain_text(value)
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise fault(f"must be an address and a port from 0 to 65535: {_LOOPBACK}")
    host = _loopback(match[1], match[2])
    if host is None:
        raise fault(f"is no loopback address: the sidecar never listens beyond this machine; {_LOOPBACK}")
    return host, int(match[3])


def _loopback(six: str | None, four: str | None) -> str | None:
    """The canonical address; None if it is another. No name is looked up: who answers for it could be anybody."""
    try:
        if six is not None:
            return "::1" if IPv6Address(six) == IPv6Address("::1") else None
        address = IPv4Address("127.0.0.1" if four == "localhost" else four or "")
    except AddressValueError:
        return None
    return str(address) if address.is_loopback else None


def _whole(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise fault(f"must be a whole number from {least} to {most}")
        return value

    return parse


def _group(value: object) -> int | str:
    if isinstance(value, str) and _GROUP.fullmatch(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32 - 1:
        return value
    raise fault("must be the number of a group, or its name")


def _relative_path(value: object) -> str:
    text = plain_text(value)
    if len(text) > LONGEST_PATH:
        raise fault(f"is longer than {LONGEST_PATH} characters")
    if any(segment in ("", ".", "..") for segment in text.split("/")):
        raise fault("must be a path below the sidecar's files: relative, without '..', as in app/token")
    return text


def _aws_profile(value: object) -> str:
    if not isinstance(value, str) or not _AWS_PROFILE.fullmatch(value):
        raise fault("must be the name of a section: letters, digits, and any of _ . @ + -")
    return value


def _command(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise fault("must be a list, the program and its arguments one by one: no shell reads it")
    words = tuple(plain_text(word) for word in value)
    if not words[0].startswith("/"):
        raise fault("must begin with the absolute path of a program: no PATH is searched")
    return words


def _table(value: object) -> tuple[str, ...]:
    levels = tuple(plain_text(level) for level in value) if isinstance(value, list | tuple) else plain_text(value)
    try:
        return identifier(levels, "")
    except ConfigurationError:
        pass
    raise fault("must be a table with its namespace: sales.orders, or [sales, orders]")


Uid = Annotated[int, PlainValidator(_whole(0, 2**32 - 2))]


class ReadersConfig(Section):
    """Who may ask besides the sidecar's own user."""

    uids: list[Uid] = Field(default_factory=list)
    group: Annotated[int | str, PlainValidator(_group)] | None = None


class FileConfig(Section):
    """A file that is kept up to date."""

    path: Annotated[str, PlainValidator(_relative_path)]
    form: Literal["token", "aws-credentials", "template"]
    template: AbsolutePath | None = None
    profile: Annotated[str, PlainValidator(_aws_profile)] | None = None


class OnChangeConfig(Section):
    """What is done after the files have changed."""

    signal: Literal["HUP", "USR1", "USR2", "TERM", "INT", "WINCH"] | None = None
    pid_file: AbsolutePath | None = None
    command: Annotated[tuple[str, ...], PlainValidator(_command)] | None = None


class BindingConfig(Section):
    """One entry of ``bindings:``. What goes together in it is checked by ``binding_rules``."""

    storage: Text | None = None
    catalog: Text | None = None
    compute: Text | None = None
    table: Annotated[tuple[str, ...], PlainValidator(_table)] | None = None
    locations: list[LocationText] | None = None
    access: Access = Access.READ
    scope: Text | None = None
    audience: Text | None = None
    protocols: list[Text] = Field(default_factory=list)
    files: list[FileConfig] = Field(default_factory=list)
    on_change: OnChangeConfig | None = None


class SidecarConfig(Section):
    """The whole section."""

    directory: Annotated[AbsolutePath, AfterValidator(_directory)] | None = None
    listen: Annotated[tuple[str, int], PlainValidator(_listen)] = ("127.0.0.1", 8642)
    readers: ReadersConfig = Field(default_factory=ReadersConfig)
    rotate_tokens: Annotated[timedelta, PlainValidator(duration(timedelta(minutes=1), timedelta(days=365)))] | None = None
    requests_per_second: Annotated[int, PlainValidator(_whole(1, 100_000))] = 2000
    bindings: dict[str, BindingConfig] = Field(default_factory=dict)
