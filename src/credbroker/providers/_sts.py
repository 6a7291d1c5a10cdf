"""STS AssumeRole: the call, the keys in its answer, and what each refusal means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from credbroker.context import HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.identity.aws import Keys
from credbroker.identity.aws_api import THROTTLED, UNAUTHENTICATED, code_of, error_of, parsed, signed
from credbroker.location import Location
from credbroker.vending.s3 import LONGEST_POLICY
from credbroker.wire.expiry import retry_after
from credbroker.wire.visible import VISIBLE

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NoSuchEntity"})
_TOO_LARGE = frozenset({"PackedPolicyTooLarge", "PackedPolicyTooLargeException"})
_BAD_PARAMETER = frozenset({"ValidationError", "InvalidParameterValue", "InvalidArgument"})
_MALFORMED_POLICY = frozenset({"MalformedPolicyDocument", "MalformedPolicyDocumentException"})
_REGION_DISABLED = "RegionDisabledException"
_KNOWN = frozenset().union(
    _DENIED, UNAUTHENTICATED, THROTTLED, _TOO_LARGE, _BAD_PARAMETER, _MALFORMED_POLICY, {_REGION_DISABLED}
)
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500
_REMEDY = "check credentials.sts_endpoint"


def assume_role(parameters: Mapping[str, object], signer: Keys, *, endpoint: str, region: str) -> HttpRequest:
    """The signed request for an AssumeRole with ``parameters``."""
    return signed("sts", "AssumeRole", parameters, signer, endpoint=endpoint, region=region)


def assumed(
    response: HttpResponse, parameters: Mapping[str, object], *, host: str, asked: Sequence[Location]
) -> tuple[Keys, datetime]:
    """The keys in the answer of ``host``, and the end that it states, by the server's clock.

    Raises ``MalformedResponse`` for an answer that is none, otherwise the error that STS states.
    """
    outcome = _assumed(response, parameters, host, asked)
    if isinstance(outcome, CredbrokerError):
        raise outcome
    return outcome


def _assumed(
    response: HttpResponse, parameters: Mapping[str, object], host: str, asked: Sequence[Location]
) -> tuple[Keys, datetime] | CredbrokerError:
    # Errors are returned: a raised one would keep this frame, and the keys in its locals.
    if response.status == _TOO_MANY_REQUESTS or response.status >= _SERVER_ERROR:
        return _unavailable(f"STS at {host} answered HTTP {response.status}", response)
    answer = parsed("sts", "AssumeRole", response)
    if not answer and response.status == 200:
        return MalformedResponse(f"STS at {host} answered AssumeRole with what is no answer to it: {_REMEDY}")
    if response.status != 200:
        return _refusal(answer, response, parameters, host, asked)
    found = answer.get("Credentials") or {}
    key_id, secret, token = (str(found.get(name) or "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    ends = found.get("Expiration")
    if (
        not all(VISIBLE.fullmatch(text) for text in (key_id, secret, token))
        or not isinstance(ends, datetime)
        or ends.tzinfo is None
    ):
        return MalformedResponse(
            f"STS at {host} answered AssumeRole without the full set of keys, in visible ASCII, and their expiry: {_REMEDY}"
        )
    return Keys(key_id, SecretStr(secret), SecretStr(token)), ends.astimezone(UTC)


def _refusal(
    answer: Mapping[str, Any],
    response: HttpResponse,
    parameters: Mapping[str, object],
    host: str,
    asked: Sequence[Location],
) -> CredbrokerError:
    code = code_of(answer, _KNOWN)
    named = code or f"HTTP {response.status}"
    if code in THROTTLED:
        return _unavailable(f"STS at {host} is throttling ({named})", response)
    if code in UNAUTHENTICATED:
        return IssueDenied(
            f"STS at {host} does not accept the base identity's keys ({named}): look at AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (wrong, expired, or of another endpoint's account), and at this "
            "machine's clock"
        )
    remedy = _remedy(code, error_of(answer), parameters, ", ".join(str(location) for location in asked))
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
