"""AWS keys from this machine's own metadata services: of a container (ECS, EKS Pod Identity), and of an EC2 instance.

Nothing is held here and nothing asked twice: what the keys make is held by the broker, for as long as it lives.

- ECS and any other container: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
- EKS Pod Identity: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
- EC2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import (
    ConfigurationError,
    CredbrokerError,
    CredentialUnavailable,
    InsufficientLifetime,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.hosts import is_loopback, url_fault
from credbroker.identity.aws import Keys
from credbroker.wire.expiry import corrected, in_utc, is_transient, retry_after
from credbroker.wire.visible import VISIBLE

LEAST_LIFE = timedelta(seconds=15)
"""Keys with less than that to live are not sent: they could be over before they arrive."""

_RELATIVE, _FULL = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_TOKEN, _TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
_ECS = "http://169.254.170.2"
# Of ECS and EKS. An instance's own service is none of them: without its token it would be asked by version 1.
_EKS = frozenset({"169.254.170.23", "fd00:ec2::23"})
_AGENTS = _EKS | {"169.254.170.2"}
_IMDS = "http://169.254.169.254/latest"
# Of a token that is used twice and thrown away. IMDS takes 1 to 21600.
_IMDS_TOKEN_SECONDS = "60"  # noqa: S105 - a number of seconds
_NO_IMDS_V2 = (403, 404, 405)
_ROLE_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
# IAM user guide, "Troubleshoot IAM and Amazon EC2": what stands in "Code" where there are no keys.
_UNAUTHORIZED = "AssumeRoleUnauthorizedAccess"


def container_keys(context: Context) -> Keys | CredbrokerError:
    """The keys that the container's agent gives, as ``AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`` or ``_FULL_URI`` says."""
    relative, full = (context.environment.variable(name) for name in (_RELATIVE, _FULL))
    if relative:
        # A text without the slash could go on in the host's name, or begin with userinfo.
        if not relative.startswith("/") or url_fault(_ECS + relative, query=True, plain=True) is not None:
            return _wrong("container", f"finds a {_RELATIVE} that is no path: it begins with '/', without a blank", context)
        return _of_agent("container", _ECS + relative, context)
    if not full:
        text = f"finds neither {_RELATIVE} nor {_FULL}: is this a container with a task role?"
        return _absent("container", text, context)
    return _of_agent("container", full, context)


def pod_identity_keys(context: Context) -> Keys | CredbrokerError:
    """The keys that the EKS Pod Identity agent gives for this pod's own token, read from its file at each call."""
    full, file = (context.environment.variable(name) for name in (_FULL, _TOKEN_FILE))
    missing = " and ".join(name for name, value in ((_FULL, full), (_TOKEN_FILE, file)) if not value)
    if missing or full is None:
        text = (
            f"finds no {missing}: EKS sets it in pods that were started after their service account got a pod identity "
            "association"
        )
        return _absent("pod_identity", text, context)
    return _of_agent("pod_identity", full, context)


def instance_keys(context: Context) -> Keys | CredbrokerError:
    """The keys of the role of this EC2 instance, by IMDSv2 alone: three requests."""
    ttl = {"x-aws-ec2-metadata-token-ttl-seconds": _IMDS_TOKEN_SECONDS}
    opened = _sent("imds", HttpRequest("PUT", f"{_IMDS}/api/token", ttl, link_local=True), context)
    if isinstance(opened, CredbrokerError):
        return opened
    if opened.status in _NO_IMDS_V2:
        # Version 1 answers whatever can be made to send a GET: it is never asked.
        text = f"is told HTTP {opened.status} by the instance metadata service: it is turned off, or knows no IMDSv2"
        return _absent("imds", text, context)
    token = _text(opened)
    if opened.status != 200 or token is None:
        return _no_answer("imds", "PUT /latest/api/token", opened, context)
    return _instance_keys({"x-aws-ec2-metadata-token": token}, context)


def _instance_keys(shown: Mapping[str, str], context: Context) -> Keys | CredbrokerError:
    place = f"{_IMDS}/meta-data/iam/security-credentials/"
    named = _sent("imds", HttpRequest("GET", place, shown, link_local=True), context)
    if isinstance(named, CredbrokerError):
        return named
    if named.status == 404:
        return _absent("imds", "finds no role: attach an instance profile with one to this instance", context)
    role = _text(named)
    if named.status != 200 or role is None or not _ROLE_NAME.fullmatch(role):
        return _no_answer("imds", "the name of the role", named, context)
    given = _sent("imds", HttpRequest("GET", place + role, shown, link_local=True), context)
    return given if isinstance(given, CredbrokerError) else _keys("imds", given, context)


def dying(expires_at: datetime | None, now: datetime) -> bool:
    """Whether keys end too soon to be sent."""
    return expires_at is not None and expires_at - now < LEAST_LIFE


def _of_agent(source: str, uri: str, context: Context) -> Keys | CredbrokerError:
    fault = url_fault(uri, query=True, plain=True)
    if fault is not None:
        return _wrong(source, f"finds an {_FULL} that {fault}", context)
    parts = urlsplit(uri)
    local = is_loopback(parts.hostname or "") or parts.hostname in _AGENTS
    if source == "pod_identity" and not (is_loopback(parts.hostname or "") or parts.hostname in _EKS):
        # EKS sets no other. Whoever can set the variable would have the pod's token sent where it says, by https too.
        text = (
            f"finds an {_FULL} that is neither loopback nor the address of EKS (169.254.170.23, fd00:ec2::23): nothing was "
            "sent to it; let EKS set it, or use credential_source: container"
        )
        return _wrong(source, text, context)
    if parts.scheme == "http" and not local:
        text = (
            f"finds an {_FULL} by http to another machine: it must be https, loopback, or the address of ECS "
            "(169.254.170.2) or EKS (169.254.170.23, fd00:ec2::23); nothing was sent to it"
        )
        return _wrong(source, text, context)
    token = _authorization(source, context)
    if isinstance(token, CredbrokerError):
        return token
    headers = {"accept": "application/json"}
    if token is not None:
        headers["authorization"] = token.get_secret_value()
    given = _sent(source, HttpRequest("GET", uri, headers, link_local=local), context)
    return given if isinstance(given, CredbrokerError) else _keys(source, given, context)


def _authorization(source: str, context: Context) -> SecretStr | CredbrokerError | None:
    """What is shown to the agent: the token in the file, read afresh, else the one in the variable."""
    path = context.environment.variable(_TOKEN_FILE)
    place = f"file of {_TOKEN_FILE}, {path!r}," if path else _TOKEN
    if path:
        try:
            token = SecretStr(context.environment.read(path).decode("ascii", "replace"))
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            return _absent(source, f"cannot read the {place} {why}: look at the pod's projected volume", context)
    else:
        token = SecretStr(context.environment.variable(_TOKEN) or "")
        if not token.get_secret_value():
            return None
    if not token.get_secret_value():
        return _absent(source, f"finds the {place} empty: look at what writes it", context)
    if not VISIBLE.fullmatch(token.get_secret_value()):
        # A line break would end the header and begin another: it is refused, and not cut off.
        return _wrong(source, f"finds a {place} that is not visible ASCII: look for a blank or a line end", context)
    return token


def _sent(source: str, request: HttpRequest, context: Context) -> HttpResponse | CredbrokerError:
    # Errors are returned: raised through these frames, they would keep the token that the request shows.
    try:
        response = context.send(request)
    except IssuerUnavailable as error:
        hint = (
            "is this an EC2 instance, and in a container of it, is the hop limit of its metadata options above 1?"
            if source == "imds"
            else "is the agent there, and may this container reach it?"
        )
        return error.saying(f"credential_source: {source} had no answer ({error.message}): {hint}")
    except CredbrokerError as error:
        return error.saying(f"credential_source: {source}: {error.message}")
    if is_transient(response.status):
        return IssuerUnavailable(
            f"credential_source: {source} was answered with HTTP {response.status} by its metadata service: it is asked "
            "again later",
            profile=_profile(context),
            retry_after=retry_after(response.headers.get("retry-after"), response.received),
        )
    return response


def _keys(source: str, response: HttpResponse, context: Context) -> Keys | CredbrokerError:
    if response.status == 404:
        return _absent(source, "finds no keys at its metadata service (HTTP 404): has this machine a role?", context)
    if response.status != 200:
        return _refused(source, response, context)
    answer = _parsed(response.body)
    if answer.get("Code", "Success") != "Success":
        shown = f" ({_UNAUTHORIZED})" if answer["Code"] == _UNAUTHORIZED else ""
        return IssueDenied(
            f"credential_source: {source} is given no keys{shown}: the role of the instance profile must exist, and its "
            "trust policy must name ec2.amazonaws.com",
            profile=_profile(context),
            grant_denied=answer["Code"] == _UNAUTHORIZED,
        )
    texts = [answer.get(name) for name in ("AccessKeyId", "SecretAccessKey", "Token")]
    ends = _instant(answer.get("Expiration"))
    if not all(isinstance(text, str) and VISIBLE.fullmatch(text) for text in texts) or ends is None:
        return MalformedResponse(
            f"credential_source: {source} was answered without AccessKeyId, SecretAccessKey, Token (visible ASCII) and "
            "Expiration (with its zone): look at what serves its metadata",
            profile=_profile(context),
        )
    ends = corrected(ends, response.headers.get("date"), response.sent, response.received)
    if dying(ends, context.clock.now()):
        return InsufficientLifetime(
            f"credential_source: {source} gives keys that end at {ends:%Y-%m-%dT%H:%M:%SZ}, which is past or within "
            f"{LEAST_LIFE.total_seconds():.0f} s: nothing was sent with them; the metadata service must renew them (is it "
            "an emulator that has stopped, and is this machine's clock right?)",
            profile=_profile(context),
            retryable=True,
        )
    key_id, secret, token = (str(text) for text in texts)
    return Keys(key_id, SecretStr(secret), SecretStr(token), ends)


def _refused(source: str, response: HttpResponse, context: Context) -> CredbrokerError:
    remedy = {
        "imds": "look at the instance's metadata options",
        "pod_identity": (
            "look at whether the service account has a pod identity association, whose role trusts "
            "pods.eks.amazonaws.com for sts:AssumeRole and sts:TagSession, and at the token's file"
        ),
    }.get(source, f"look at the container's role, and at {_TOKEN_FILE} or {_TOKEN}")
    return IssueDenied(
        f"credential_source: {source} is refused by its metadata service (HTTP {response.status}): {remedy}",
        profile=_profile(context),
    )


def _no_answer(source: str, what: str, response: HttpResponse, context: Context) -> CredbrokerError:
    if response.status == 200:
        return MalformedResponse(
            f"credential_source: {source} asked for {what}, and the answer is none: look at what serves its metadata",
            profile=_profile(context),
        )
    return _refused(source, response, context)


def _text(response: HttpResponse) -> str | None:
    text = response.body.decode("ascii", "replace").strip()
    return text if VISIBLE.fullmatch(text) else None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return in_utc(datetime.fromisoformat(value))
    except ValueError:
        return None


def _absent(source: str, text: str, context: Context) -> CredentialUnavailable:
    return CredentialUnavailable(f"credential_source: {source} {text}", profile=_profile(context))


def _wrong(source: str, text: str, context: Context) -> ConfigurationError:
    return ConfigurationError(f"credential_source: {source} {text}", profile=_profile(context))


def _profile(context: Context) -> str | None:
    return None if context.profile is None else context.profile.name
