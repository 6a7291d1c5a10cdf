"""What a workload identity pool is shown of an AWS identity: a signed request for GetCallerIdentity, which is not sent.

Google sends it, and learns from AWS who signed it. Google's STS reference (``subjectToken``) has the form: JSON,
URL-encoded, with the headers as a list. botocore signs; its session, client and configuration are not used.
"""

from __future__ import annotations

import json
from urllib.parse import quote, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import SecretStr

from credbroker.identity.aws import Keys

# The request needs no right, and is refused to nobody: any region of the partition will do, and this one cannot be turned
# off. So nothing of the machine's own configuration is read for it.
_REGION = "us-east-1"
_URL = f"https://sts.{_REGION}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"


def caller_identity(keys: Keys, audience: str) -> SecretStr:
    """The subject token that says who signed with ``keys``, for the pool's provider ``audience`` and nobody else.

    The provider is among the signed headers: shown to another pool, the request is worth nothing.
    """
    headers = {"host": urlsplit(_URL).netloc, "x-goog-cloud-target-resource": audience}
    request = AWSRequest(method="POST", url=_URL, headers=headers)
    token = keys.session_token.get_secret_value() if keys.session_token else None
    credentials = Credentials(keys.access_key_id, keys.secret_access_key.get_secret_value(), token)
    SigV4Auth(credentials, "sts", _REGION).add_auth(request)
    listed = [{"key": name.lower(), "value": value} for name, value in sorted(request.headers.items())]
    return SecretStr(quote(json.dumps({"url": _URL, "method": "POST", "headers": listed}, separators=(",", ":"))))
