"""The kinds of value that platform.yaml has: each reads one, or says what is wrong without repeating it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.secrets.reference import SecretReference

FAULT = "credbroker"
"""The type of our own pydantic errors: their text is ours, and safe to show."""

_DURATION = re.compile(r"(0|[1-9][0-9]{0,8})(ms|s|m|h)?")
_UNITS = {"ms": timedelta(milliseconds=1), "s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|[0-9a-f:]*:[0-9a-f:.]+")
_PROXY = re.compile(r"https?://[a-zA-Z0-9_.-]+(:[0-9]{1,5})?/?|https?://\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?/?")


def fault(text: str) -> PydanticCustomError:
    """The error that a validator raises; ``text`` follows the field's name."""
    # Braces are PydanticCustomError's own template syntax.
    return PydanticCustomError(FAULT, "{text}", {"text": text})


def plain_text(value: object) -> str:
    """A text in one line, without control characters."""
    if isinstance(value, bool | int | float):
        raise fault("must be a text: put it in quotes")
    if not isinstance(value, str):
        raise fault("must be a text")
    if _CONTROL.search(value):
        raise fault("has a control character or a line break")
    return value


def _text_or_reference(value: object) -> str | SecretReference:
    return _reference(value) if isinstance(value, Mapping | SecretReference) else plain_text(value)


def _reference(value: object) -> SecretReference:
    message: str
    try:
        return SecretReference.model_validate(value)
    except ConfigurationError as error:
        message = error.message
    raise fault(message)


def _named_reference(value: object) -> SecretReference:
    # floe writes `secret_ref: name` straight into the credentials block.
    return _reference({"secret_ref": value} if isinstance(value, str) else value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise fault("must be true or false, without quotes")
    return value


def _location(value: object) -> str:
    message: str
    try:
        return str(Location.parse(plain_text(value)))
    except ConfigurationError as error:
        message = error.message
    # Location's own text repeats the location, which may hold a pasted key: the rule comes after it.
    rule = message.rpartition(" is refused: ")[2]
    raise fault(f"is no location: {rule}")


def _host(value: object) -> str:
    host = plain_text(value).lower()
    if not _HOST.fullmatch(host):
        raise fault(
            "must be a host's name or address, without scheme, port or path; '*.' at its start stands for any subdomain"
        )
    return host


def _proxy(value: object) -> str:
    text = plain_text(value)
    if not _PROXY.fullmatch(text):
        raise fault("must be http://host:port or https://host:port, without user or password")
    return text


def _absolute_path(value: object) -> str:
    text = plain_text(value)
    if not text.startswith("/") or ".." in text.split("/"):
        raise fault("must be an absolute path without '..'")
    return text


def _property(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return plain_text(value)


def _property_or_reference(value: object) -> str | SecretReference:
    return _reference(value) if isinstance(value, Mapping | SecretReference) else _property(value)


def _names(value: object) -> tuple[str, ...]:
    return tuple(plain_text(item) for item in value) if isinstance(value, list | tuple) else (plain_text(value),)


def _version(value: object) -> str:
    if value in (1, "1") and not isinstance(value, bool):
        return "1"
    if isinstance(value, str) and re.fullmatch(r"\d{1,4}\.\d{1,4}\.\d{1,4}", value):
        return value
    raise fault('must be 1, or floe\'s form in quotes: "1.0.0"')


def duration(least: timedelta, most: timedelta) -> Callable[[object], timedelta]:
    """A validator for ``1h``, ``15m``, ``90s``, ``500ms`` or a whole number of seconds, within ``least`` and ``most``."""

    def parse(value: object) -> timedelta:
        parsed = value if isinstance(value, timedelta) else _duration(value)
        if not least <= parsed <= most:
            raise fault(f"must be between {spoken(least)} and {spoken(most)}")
        return parsed

    return parse


def _duration(value: object) -> timedelta:
    match = _DURATION.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None:
        raise fault("must be a duration: 1h, 15m, 90s, 500ms, or a whole number of seconds")
    return int(match[1]) * _UNITS[match[2] or "s"]


def spoken(value: timedelta) -> str:
    """A duration as it is written here."""
    for unit in ("h", "m", "s", "ms"):
        if value % _UNITS[unit] == timedelta(0):
            return f"{value // _UNITS[unit]}{unit}"
    return str(value)


Text = Annotated[str, PlainValidator(plain_text)]
Names = Annotated[tuple[str, ...], PlainValidator(_names)]
TextOrReference = Annotated[str | SecretReference, PlainValidator(_text_or_reference)]
Reference = Annotated[SecretReference, PlainValidator(_reference)]
NamedReference = Annotated[SecretReference, PlainValidator(_named_reference)]
Truth = Annotated[bool, PlainValidator(_truth)]
LocationText = Annotated[str, PlainValidator(_location)]
Host = Annotated[str, PlainValidator(_host)]
Proxy = Annotated[str, PlainValidator(_proxy)]
AbsolutePath = Annotated[str, PlainValidator(_absolute_path)]
Property = Annotated[str, PlainValidator(_property)]
PropertyOrReference = Annotated[str | SecretReference, PlainValidator(_property_or_reference)]
Version = Annotated[str, PlainValidator(_version)]
Timeout = Annotated[timedelta, PlainValidator(duration(timedelta(milliseconds=100), timedelta(minutes=5)))]
Lifetime = Annotated[timedelta, PlainValidator(duration(timedelta(seconds=1), timedelta(days=7)))]
Interval = Annotated[timedelta, PlainValidator(duration(timedelta(milliseconds=100), timedelta(days=1)))]
