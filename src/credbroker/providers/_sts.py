"""STS: AssumeRole and AssumeRoleWithWebIdentity on the wire, the keys in the answer, and what each refusal means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr

from credbroker.context import HttpRequest, HttpResponse
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.identity.aws import Keys
from credbroker.identity.aws_api import THROTTLED, UNAUTHENTICATED, code_of, error_of, parsed, signed, unsigned
from credbroker.location import Location
from credbroker.vending.s3 import LONGEST_POLICY
from credbroker.wire.expiry import corrected, in_utc, is_transient, retry_after
from credbroker.wire.visible import VISIBLE

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NoSuchEntity"})
_TOO_LARGE = frozenset({"PackedPolicyTooLarge", "PackedPolicyTooLargeException"})
_BAD_PARAMETER = frozenset({"ValidationError", "InvalidParameterValue", "InvalidArgument"})
_MALFORMED_POLICY = frozenset({"MalformedPolicyDocument", "MalformedPolicyDocumentException"})
_REGION_DISABLED = "RegionDisabledException"
# AWS STS API reference, AssumeRoleWithWebIdentity, Errors: the token is not taken, or its issuer is not reached.
_UNACCEPTED_TOKEN = frozenset({"InvalidIdentityToken", "ExpiredToken", "ExpiredTokenException"})
_REJECTED_CLAIM, _IDP_UNREACHED = "IDPRejectedClaim", "IDPCommunicationError"
_KNOWN = frozenset().union(
    _DENIED,
    UNAUTHENTICATED,
    THROTTLED,
    _TOO_LARGE,
    _BAD_PARAMETER,
    _MALFORMED_POLICY,
    _UNACCEPTED_TOKEN,
    {_REGION_DISABLED, _REJECTED_CLAIM, _IDP_UNREACHED},
)
_REMEDY = "check credentials.sts_endpoint"


@dataclass(frozen=True, slots=True)
class Call:
    """One call, without what it shows. ``asked`` is what its policy is for, ``look_at`` where its identity comes from."""

    operation: Literal["AssumeRole", "AssumeRoleWithWebIdentity"]
    parameters: Mapping[str, object]
    endpoint: str
    region: str
    host: str
    asked: Sequence[Location]
    look_at: str
    tagged: bool = False
    """Whether the base identity hands on tags of its own."""

    @property
    def federated(self) -> bool:
        return self.operation == "AssumeRoleWithWebIdentity"


def by_keys(call: Call, signer: Keys) -> HttpRequest:
    """The request for a call, signed."""
    return signed("sts", call.operation, call.parameters, signer, endpoint=call.endpoint, region=call.region)


def by_token(call: Call, token: SecretStr) -> HttpRequest:
    """The request for a call that shows ``token`` and is not signed."""
    shown = {**call.parameters, "WebIdentityToken": token.get_secret_value()}
    return unsigned("sts", call.operation, shown, endpoint=call.endpoint)


def unaccepted(response: HttpResponse, call: Call) -> bool:
    """Whether STS does not know who we are by what was shown, so that another token, or other keys, may do."""
    if response.status == 200 or is_transient(response.status):
        return False
    codes = _UNACCEPTED_TOKEN if call.federated else UNAUTHENTICATED
    return code_of(parsed("sts", call.operation, response), codes) != ""


def assumed(response: HttpResponse, call: Call) -> Keys | CredbrokerError:
    """The keys in the answer to ``call`` with their end by our clock, or the error that it stands for.

    The error is for the caller to raise, from a frame without the keys. ``MalformedResponse`` for an answer that is none.
    """
    if is_transient(response.status):
        return _unavailable(f"STS at {call.host} answered HTTP {response.status}", response)
    answer = parsed("sts", call.operation, response)
    if not answer and response.status == 200:
        return MalformedResponse(f"STS at {call.host} answered {call.operation} with what is no answer to it: {_REMEDY}")
    if response.status != 200:
        return _refusal(answer, response, call)
    found = answer.get("Credentials") or {}
    key_id, secret, token = (str(found.get(name) or "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    ends = in_utc(found.get("Expiration"))
    if ends is None or not all(VISIBLE.fullmatch(text) for text in (key_id, secret, token)):
        return MalformedResponse(
            f"STS at {call.host} answered {call.operation} without the full set of keys, in visible ASCII, and their "
            f"expiry: {_REMEDY}"
        )
    ends = corrected(ends, response.headers.get("date"), response.sent, response.received)
    return Keys(key_id, SecretStr(secret), SecretStr(token), ends)


def _refusal(answer: Mapping[str, Any], response: HttpResponse, call: Call) -> CredbrokerError:
    code = code_of(answer, _KNOWN)
    named = code or f"HTTP {response.status}"
    if code in THROTTLED:
        return _unavailable(f"STS at {call.host} is throttling ({named})", response)
    if code == _IDP_UNREACHED:
        return _unavailable(f"STS at {call.host} could not reach the token's issuer ({named})", response)
    if code in UNAUTHENTICATED or code in _UNACCEPTED_TOKEN or code == _REJECTED_CLAIM:
        what = "the web identity token" if call.federated else "the base identity's keys"
        return IssueDenied(
            f"STS at {call.host} does not accept {what} ({named}): look at {call.look_at}, and at this machine's clock"
        )
    if code in _BAD_PARAMETER and call.federated:
        # SeaweedFS says so of a token of another audience, and of a forged one.
        return IssueDenied(
            f"STS at {call.host} refuses the call ({named}): look at {call.look_at}; then at max_ttl, "
            f"{call.parameters['DurationSeconds']} s were asked for {call.parameters['RoleArn']}"
        )
    remedy = _remedy(code, error_of(answer), call)
    if remedy is not None:
        return ConfigurationError(f"STS at {call.host} refuses the call ({named}): {remedy}")
    return IssueDenied(
        f"STS at {call.host} refuses {call.operation} for {call.parameters['RoleArn']} ({named}): look at whether the role "
        f"exists, {_trust(call)}",
        grant_denied=code in _DENIED,
    )


def _trust(call: Call) -> str:
    """What the trust policy must say for this call; the rest of a sentence."""
    if call.federated:
        return (
            "its trust policy names the token's issuer as Federated principal for sts:AssumeRoleWithWebIdentity, and its "
            "conditions (aud, sub) fit the token"
        )
    if "ExternalId" in call.parameters:
        external = "and the external id that credentials.external_id gives"
    else:
        external = "and asks for no external id (credentials.external_id gives none)"
    rights = ["sts:AssumeRole"]
    rights += ["sts:SetSourceIdentity"] if "SourceIdentity" in call.parameters else []
    rights += ["sts:TagSession"] if call.tagged or "Tags" in call.parameters else []
    return f"its trust policy names the base identity {external}, and both allow {', '.join(rights)}"


def _remedy(code: str, error: Mapping[str, Any], call: Call) -> str | None:
    """What to change where the call itself is at fault."""
    size = len(str(call.parameters.get("Policy", "")))
    asked = ", ".join(str(location) for location in call.asked)
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
        tags = ", then at session_tags (a transitive one of the chain before cannot be set anew)"
        return (
            f"look at max_ttl first: {call.parameters['DurationSeconds']} s were asked for {call.parameters['RoleArn']}, "
            "whose own maximum may be less (1 h where the base identity is itself an assumed role)"
            f"{tags if 'Tags' in call.parameters else ''}"
        )
    if code == _REGION_DISABLED:
        return "STS is not activated in this region for the role's account"
    return None


def _unavailable(text: str, response: HttpResponse) -> IssuerUnavailable:
    pause = retry_after(response.headers.get("retry-after"), response.received)
    return IssuerUnavailable(f"{text}: it is asked again later; if this stays, {_REMEDY}", retry_after=pause)
