"""The keys that botocore's own chain finds: variables, ``~/.aws``, SSO, metadata services, whichever comes first.

This is the one place where an SDK's chain runs. It goes its own ways (its own transport, retries and caches), and what it
finds depends on the machine: it is for a person's laptop, and production refuses it.
"""

from __future__ import annotations

from botocore.session import Session
from pydantic import SecretStr

from credbroker.context import Context
from credbroker.errors import CredbrokerError, CredentialUnavailable
from credbroker.identity.aws import DEFAULT_CHAIN, Keys


def chain_keys(context: Context) -> Keys:
    """What a new session of botocore's finds now. Raises ``CredentialUnavailable`` where it finds nothing."""
    keys = _found(context.profile.name if context.profile is not None else None)
    if isinstance(keys, CredbrokerError):
        raise keys
    return keys


def _found(profile: str | None) -> Keys | CredbrokerError:
    why = "finds no keys"
    try:
        found = Session().get_credentials()
        frozen = found.get_frozen_credentials() if found is not None else None
    except Exception as error:  # noqa: BLE001 - whatever a file, a program or a server of the chain makes it raise, with its text
        why, frozen = f"failed with {type(error).__name__}", None
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        text = f"credential_source: {DEFAULT_CHAIN} {why}: log in (aws sso login), or name one source instead"
        return CredentialUnavailable(text, profile=profile)
    token = SecretStr(frozen.token) if frozen.token else None
    return Keys(frozen.access_key, SecretStr(frozen.secret_key), token)
