"""S3 keys as AWS's container credentials provider reads them.

Source: AWS SDKs and Tools reference guide, "Container credential provider". botocore needs all four fields.
"""

from __future__ import annotations

import json
from datetime import datetime

from credbroker.credentials import Credential, S3Credentials, TableCredentials
from credbroker.errors import ConfigurationError
from credbroker.wire.expiry import zulu


def container_credentials(value: Credential, told_end: datetime | None) -> bytes:
    """The JSON object, with ``told_end`` as its end, cut off to whole seconds of UTC.

    Raises ``ConfigurationError`` for what is no set of S3 keys, for more than one set, and for keys that do not end.
    """
    keys = _one_set(value)
    if keys.session_token is None or told_end is None:
        raise ConfigurationError(
            "aws-container serves keys that end, with a session token: let the profile's mode be iam_role, or vend them"
        )
    return json.dumps(
        {
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key.get_secret_value(),
            "Token": keys.session_token.get_secret_value(),
            # Z and no offset: the AWS SDK for Python v4 drops an offset, and reads the rest as UTC.
            "Expiration": zulu(told_end),
        }
    ).encode()


def _one_set(value: Credential) -> S3Credentials:
    if isinstance(value, TableCredentials):
        sets = {keys.fingerprint: keys for _, keys in value.by_location}
        if len(sets) != 1:
            raise ConfigurationError(
                f"the table's credentials are {len(sets)} sets of keys, and aws-container tells one: use iceberg-credentials"
            )
        value = next(iter(sets.values()))
    if not isinstance(value, S3Credentials):
        raise ConfigurationError(f"aws-container serves S3 keys, not {type(value).__name__}: choose another protocol")
    return value
