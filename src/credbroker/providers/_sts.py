"""STS AssumeRole as botocore reads and writes it, over our own transport.

Only botocore's service model, serialiser, signer and parser are used: no session, no client. So nothing ambient is read (no
``~/.aws``, no ``AWS_PROFILE``, no ``AWS_ENDPOINT_URL``, no proxy), no attempt is made twice, and nobody pays for a client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from pydantic import SecretStr

from credbroker.context import HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.location import Location
from credbroker.vending.s3 import LONGEST_POLICY
from credbroker.wire.expiry import retry_after
from credbroker.wire.visible import VISIBLE

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NoSuchEntity"})
_UNAUTHENTICATED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_THROTTLED = frozenset({"RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"})
_TOO_LARGE = frozenset({"PackedPolicyTooLarge", "PackedPolicyTooLargeException"})
_BAD_PARAMETER = frozenset({"ValidationError", "InvalidParameterValue", "InvalidArgument"})
_MALFORMED_POLICY = frozenset({"MalformedPolicyDocument", "MalformedPolicyDocumentException"})
_REGION_DISABLED = "RegionDisabledException"
# No other code is shown: a hostile endpoint must not put what we sent, or what it likes, into our error texts.
_KNOWN = frozenset().union(
    _DENIED, _UNAUTHENTICATED, _THROTTLED, _TOO_LARGE, _BAD_PARAMETER, _MALFORMED_POLICY, {_REGION_DISABLED}
)
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500
_REMEDY = "check credentials.sts_endpoint"


@dataclass(frozen=True, slots=True)
class Keys:
    """AWS keys: those that sign the call, or those that it brought."""

    access_key_id: str
    secret_access_key: SecretStr
    session_token: SecretStr | None = None


def assume_role(parameters: Mapping[str, object], signer: Keys, *, endpoint: str, region: str) -> HttpRequest:
    """The signed request (AWS Signature Version 4, service ``sts``) for an AssumeRole with ``parameters``."""
    operation = _service_model().operation_model("AssumeRole")
    # Its validation is off: it puts values into its error texts, and all of them were checked before.
    wire = create_serializer("query", include_validation=False).serialize_to_request(dict(parameters), operation)
    # A blank as %20: Ceph 16 does not read "+" as one, so that a grant for "a b" became a grant for its neighbour "a+b".
    body = urlencode(wire["body"], quote_via=quote).encode()
    request = AWSRequest(method="POST", url=endpoint, headers=wire["headers"], data=body)
    token = signer.session_token.get_secret_value() if signer.session_token else None
    credentials = Credentials(signer.access_key_id, signer.secret_access_key.get_secret_value(), token)
    SigV4Auth(credentials, "sts", region).add_auth(request)
    return HttpRequest("POST", endpoint, dict(request.headers.items()), body)


def assumed(
    response: HttpResponse, parameters: Mapping[str, object], *, host: str, asked: Sequence[Location]
) -> tuple[Keys, datetime]:
    """The keys in the answer of ``host``, and the end that it states, by the server's clock.

    Raises ``MalformedResponse`` for an answer that is none, otherwise the error that STS states.
    """
    if response.status == _TOO_MANY_REQUESTS or response.status >= _SERVER_ERROR:
        raise _unavailable(f"STS at {host} answered HTTP {response.status}", response)
    answer = _parsed(response, host)
    if response.status != 200:
        raise _refusal(answer, response, parameters, host, asked)
    found = answer.get("Credentials") or {}
    key_id, secret, token = (str(found.get(name) or "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    ends = found.get("Expiration")
    if (
        not all(VISIBLE.fullmatch(text) for text in (key_id, secret, token))
        or not isinstance(ends, datetime)
        or ends.tzinfo is None
    ):
        raise MalformedResponse(
            f"STS at {host} answered AssumeRole without the full set of keys, in visible ASCII, and their expiry: {_REMEDY}"
        )
    return Keys(key_id, SecretStr(secret), SecretStr(token)), ends.astimezone(UTC)


@cache
def _service_model() -> Any:
    """The STS model that botocore ships, and none from ``~/.aws/models`` or ``$AWS_DATA_PATH``: public text, read once."""
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    return ServiceModel(loader.load_service_model("sts", "service-2"), "sts")


def _parsed(response: HttpResponse, host: str) -> Mapping[str, Any]:
    shape = _service_model().operation_model("AssumeRole").output_shape
    raw = {"status_code": response.status, "headers": response.headers, "body": response.body}
    try:
        answer: Mapping[str, Any] = create_parser("query").parse(raw, shape)
    except Exception:  # noqa: BLE001 - whatever a body that is no answer makes the parser raise, with the body in its text
        answer = {}
    if not answer and response.status == 200:
        raise MalformedResponse(f"STS at {host} answered AssumeRole with what is no answer to it: {_REMEDY}")
    return answer


def _refusal(
    answer: Mapping[str, Any],
    response: HttpResponse,
    parameters: Mapping[str, object],
    host: str,
    asked: Sequence[Location],
) -> CredbrokerError:
    error = answer.get("Error")
    error = error if isinstance(error, dict) else answer  # SeaweedFS answers some as S3 does, unwrapped
    code = error.get("Code")
    code = code if isinstance(code, str) and code in _KNOWN else ""
    named = code or f"HTTP {response.status}"
    if code in _THROTTLED:
        return _unavailable(f"STS at {host} is throttling ({named})", response)
    if code in _UNAUTHENTICATED:
        return IssueDenied(
            f"STS at {host} does not accept the base identity's keys ({named}): look at AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (wrong, expired, or of another endpoint's account), and at this "
            "machine's clock"
        )
    remedy = _remedy(code, error, parameters, ", ".join(str(location) for location in asked))
    if remedy is not None:
        return ConfigurationError(f"STS at {host} refuses the call ({named}): {remedy}")
    return IssueDenied(
        f"STS at {host} refuses AssumeRole for {parameters['RoleArn']} ({named}): look at whether the role exists, its "
        "trust policy names the base identity and the external id that credentials.external_id gives, and the base identity "
        "may do this",
        grant_denied=code in _DENIED,
    )


def _remedy(code: str, error: Mapping[str, Any], parameters: Mapping[str, object], asked: str) -> str | None:
    """What to change where the call itself is at fault; ``asked`` are the locations that its policy is for."""
    size = len(str(parameters["Policy"]))
    if code in _TOO_LARGE:
        # AWS tells the share in its text only: "... consumes 112% of the allotted space".
        share = re.search(r"\b([0-9]{1,4})%", str(error.get("Message")))
        return (
            f"the session policy of {size} characters (of {LONGEST_POLICY}) is over its packed limit, which counts session "
            f"tags too{f', at {share.group(1)} %' if share else ''}; ask for fewer or shorter locations ({asked})"
        )
    if code in _MALFORMED_POLICY:
        return (
            f"it does not understand the session policy of {size} characters (of {LONGEST_POLICY}) for {asked}; it may know "
            "no '${*}' (policy_escapes: false refuses such names), take no ':' in a name (Ceph), or know no session policy"
        )
    if code in _BAD_PARAMETER:
        return (
            f"look at max_ttl first: {parameters['DurationSeconds']} s were asked for {parameters['RoleArn']}, whose own "
            "maximum may be less (1 h where the base identity is itself an assumed role)"
        )
    if code == _REGION_DISABLED:
        return "STS is not activated in this region for the role's account"
    return None


def _unavailable(text: str, response: HttpResponse) -> IssuerUnavailable:
    pause = retry_after(response.headers.get("retry-after"), response.received)
    return IssuerUnavailable(f"{text}: it is asked again later; if this stays, {_REMEDY}", retry_after=pause)
