"""The base identity towards AWS, and where its services are. No SDK is loaded for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from credbroker.context import Context
from credbroker.errors import ConfigurationError, CredbrokerError, CredentialUnavailable
from credbroker.wire.visible import VISIBLE

REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}")
"""An AWS region's name: it becomes part of a host's name."""
_COMMERCIAL = "aws"
_COMMERCIAL_SUFFIX = "amazonaws.com"
# The other partitions: how their regions begin, and the end of their hosts' names (botocore's data/partitions.json).
_OTHERS = {
    "aws-cn": ("cn-", "amazonaws.com.cn"),
    "aws-us-gov": ("us-gov-", "amazonaws.com"),
    "aws-eusc": ("eusc-", "amazonaws.eu"),
    "aws-iso": ("us-iso-", "c2s.ic.gov"),
    "aws-iso-b": ("us-isob-", "sc2s.sgov.gov"),
    "aws-iso-e": ("eu-isoe-", "cloud.adc-e.uk"),
    "aws-iso-f": ("us-isof-", "csp.hci.ic.gov"),
}
_LATER_SOURCES = ("web_identity", "pod_identity", "container", "imds", "default_chain")
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True)
class Keys:
    """AWS keys: those that sign a call, or those that it brought."""

    access_key_id: str
    secret_access_key: SecretStr
    session_token: SecretStr | None = None


def source_fault(source: str | None) -> str | None:
    """What is wrong with a ``credential_source``, to be said after its name; None for one that this version knows."""
    if source is None:
        return "is missing: name the base identity, 'environment'"
    if source in _LATER_SOURCES:
        return f"{source!r} is not supported by this version yet: use 'environment'"
    return None if source in _SOURCES else "is not known: use 'environment'"


def base_keys(source: str | None, context: Context) -> Keys:
    """The keys of the base identity that ``source`` names, and of no other.

    Raises ``CredentialUnavailable`` where it is absent, ``ConfigurationError`` for keys that no request could carry, and for
    a source that ``source_fault`` has a word on.
    """
    fault = source_fault(source)
    if fault is not None:
        raise ConfigurationError(f"credential_source {fault}")
    keys = _SOURCES[source or ""](context)
    if isinstance(keys, CredbrokerError):
        raise keys
    return keys


def _of_environment(context: Context) -> Keys | CredbrokerError:
    """The AWS_* variables, read at each call: a rotated pair counts at once."""
    key_id, secret, token = (context.environment.variable(name) for name in _VARIABLES)
    profile = None if context.profile is None else context.profile.name
    if not key_id or not secret:
        absent = " and ".join(name for name, value in zip(_VARIABLES, (key_id, secret), strict=False) if not value)
        return CredentialUnavailable(
            f"credential_source: environment finds no {absent}: set the base identity's keys", profile=profile
        )
    for name, value in zip(_VARIABLES, (key_id, secret, token), strict=True):
        # A line end that came along with a pasted key would be refused as a wrong signature, with nothing to go by.
        if value and not VISIBLE.fullmatch(value):
            return ConfigurationError(
                f"credential_source: environment finds a {name} that is not visible ASCII: look for a blank or a line end",
                profile=profile,
            )
    return Keys(key_id, SecretStr(secret), SecretStr(token) if token else None)


# One function a source. It returns its error: raised where a key is a local, it would keep the key.
_SOURCES: Mapping[str, Callable[[Context], Keys | CredbrokerError]] = {"environment": _of_environment}


def partition_of(region: str) -> str:
    """The partition that a region lies in, by its name."""
    return next((name for name, (prefix, _) in _OTHERS.items() if region.startswith(prefix)), _COMMERCIAL)


def regional_endpoint(service: str, region: str) -> str:
    """The URL of a service in a region, by AWS's rule ``<service>.<region>.<suffix of the partition>``."""
    _, suffix = _OTHERS.get(partition_of(region), ("", _COMMERCIAL_SUFFIX))
    return f"https://{service}.{region}.{suffix}/"
