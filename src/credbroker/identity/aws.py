"""The base identity towards AWS, and where its services are. No SDK is loaded for it, but by ``default_chain``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

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
WEB_IDENTITY = "web_identity"
DEFAULT_CHAIN = "default_chain"
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True)
class Keys:
    """AWS keys: those that sign a call, or those that it brought. ``expires_at`` is by our clock; None: nobody said."""

    access_key_id: str
    secret_access_key: SecretStr
    session_token: SecretStr | None = None
    expires_at: datetime | None = None


def source_fault(source: str | None) -> str | None:
    """What is wrong with a ``credential_source`` that is to have keys of its own, to be said after its name; None: nothing.

    ``web_identity`` has none, only a role takes it; ``default_chain`` is for a role too, outside production.
    """
    if source is None:
        return f"is missing: name the base identity, {_listed(KEY_SOURCES)}"
    if source == WEB_IDENTITY:
        return f"is {source!r}, a token without keys, which only mode iam_role takes: use {_listed(KEY_SOURCES)}"
    if source == DEFAULT_CHAIN:
        return f"is {source!r}, which only mode iam_role takes, outside production: use {_listed(KEY_SOURCES)}"
    return None if source in _SOURCES else f"is not known to AWS: use {_listed(KEY_SOURCES)}"


def base_keys(source: str | None, context: Context) -> Keys:
    """The keys of the base identity that ``source`` names, and of no other.

    Raises ``CredentialUnavailable`` where it is absent, ``ConfigurationError`` for keys that no request could carry and for
    a source that ``source_fault`` has a word on, ``IssueDenied`` where a metadata service refuses them,
    ``IssuerUnavailable`` or ``MalformedResponse`` where it does not answer so, and ``InsufficientLifetime`` for keys that
    are over, or would be before they arrive: those are never sent.
    """
    fault = source_fault(source)
    if fault is not None:
        raise ConfigurationError(f"credential_source {fault}")
    keys = _SOURCES[source or ""](context)
    if isinstance(keys, CredbrokerError):
        raise keys
    return keys


def remedy_for(source: str | None) -> str:
    """Where to look when AWS does not take the keys of the base identity that ``source`` names."""
    return _REMEDIES.get(source or "", f"the keys of credential_source: {source} (has their role been deleted?)")


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


def _of_container(context: Context) -> Keys | CredbrokerError:
    from credbroker.identity import aws_metadata  # what has its keys in variables needs none of it

    return aws_metadata.container_keys(context)


def _of_pod_identity(context: Context) -> Keys | CredbrokerError:
    from credbroker.identity import aws_metadata

    return aws_metadata.pod_identity_keys(context)


def _of_imds(context: Context) -> Keys | CredbrokerError:
    from credbroker.identity import aws_metadata

    return aws_metadata.instance_keys(context)


# One function a source. It returns its error: raised where a key is a local, it would keep the key.
_SOURCES: Mapping[str, Callable[[Context], Keys | CredbrokerError]] = {
    "environment": _of_environment,
    "container": _of_container,
    "pod_identity": _of_pod_identity,
    "imds": _of_imds,
}
KEY_SOURCES = tuple(_SOURCES)
"""The sources that have keys of their own."""
SESSION_SOURCES = frozenset({"container", "pod_identity", "imds"})
"""Those whose keys are a role's session always: a role assumed with them lives an hour at most (role chaining)."""
_REMEDIES = {
    "environment": (
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (wrong, expired, or of another endpoint's account)"
    ),
}


def _listed(names: tuple[str, ...]) -> str:
    quoted = [repr(name) for name in names]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def partition_of(region: str) -> str:
    """The partition that a region lies in, by its name."""
    return next((name for name, (prefix, _) in _OTHERS.items() if region.startswith(prefix)), _COMMERCIAL)


def regional_endpoint(service: str, region: str) -> str:
    """The URL of a service in a region, by AWS's rule ``<service>.<region>.<suffix of the partition>``."""
    _, suffix = _OTHERS.get(partition_of(region), ("", _COMMERCIAL_SUFFIX))
    return f"https://{service}.{region}.{suffix}/"
