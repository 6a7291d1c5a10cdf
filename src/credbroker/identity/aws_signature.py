"""Signatures of AWS (SigV4) for what is no call of ``aws_api``: a request to a REST catalog, and a login token of RDS."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from credbroker.credentials import S3Credentials
    from credbroker.identity.aws import Keys

TOKEN_LIFE = 900
"""Seconds that a login token is taken: the one lifetime that RDS knows (RDS user guide, "IAM database authentication")."""
_SCHEME = "https://"  # the signer wants a URL, and RDS takes it without
_SIGNED = ("content-type",)
_CONTENT_HASH = "x-amz-content-sha256"


def canonical(url: str) -> str:
    """``url`` with its query as a signature spells it: with a "+" for a blank the two sides would sign different texts."""
    parts = urlsplit(url)
    if not parts.query:
        return url
    fields = parse_qsl(parts.query, keep_blank_values=True)
    return urlunsplit(parts._replace(query=urlencode(fields, quote_via=quote, safe="-_.~")))


def signature(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    keys: Keys | S3Credentials,
    *,
    service: str,
    region: str,
) -> dict[str, str]:
    """The headers that sign a request to a ``canonical`` URL: to be sent beside ``headers``, in the place of their like.

    Of ``headers`` only the content's type is signed: a proxy may change the others on the way.
    """
    signed = {name: value for name, value in headers.items() if name.lower() in _SIGNED}
    signed[_CONTENT_HASH] = hashlib.sha256(body).hexdigest()
    request = AWSRequest(method=method, url=url, headers=signed, data=body)
    SigV4Auth(_credentials(keys), service, region).add_auth(request)
    return {name: value for name, value in request.headers.items() if name.lower() not in _SIGNED}


def rds_token(host: str, port: int, user: str, keys: Keys, *, region: str) -> str:
    """The password of ``user`` at ``host`` for the next 15 minutes: a presigned URL that is shown, and never requested."""
    request = AWSRequest(method="GET", url=f"{_SCHEME}{host}:{port}/", data={"Action": "connect", "DBUser": user})
    SigV4QueryAuth(_credentials(keys), "rds-db", region, expires=TOKEN_LIFE).add_auth(request)
    return str(request.url).removeprefix(_SCHEME)


def _credentials(keys: Keys | S3Credentials) -> Credentials:
    token = keys.session_token.get_secret_value() if keys.session_token else None
    return Credentials(keys.access_key_id, keys.secret_access_key.get_secret_value(), token)
