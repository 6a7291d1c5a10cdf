"""AWS's own STS, which cannot be had here: each request is checked against what its API reference states.

- https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
- https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
- The signature: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
- Chaining, one hour: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_terms-and-concepts.html
- Tags: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from tests.servers.strict import Answer, Asked, StrictServer, now

_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_COMMON = {"Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "Policy"}
_OF_KEYS = {"ExternalId", "SourceIdentity"}
_AN_HOUR = 3600
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)/(\d{8})/([a-z0-9-]+)/sts/aws4_request, SignedHeaders=([a-z0-9;-]+), "
    r"Signature=([0-9a-f]{64})"
)


@dataclass
class Identity:
    """Who has keys: a user, or a session of a role."""

    arn: str
    secret: str
    token: str | None = None
    expires: float | None = None
    transitive: dict[str, str] = field(default_factory=dict)
    policy: dict[str, Any] | None = None
    """The session's own: what is not in it may not be done."""


@dataclass
class Trust:
    """A role's trust policy: whom it names, on what condition; and how long a session of it lives at most."""

    principals: set[str] = field(default_factory=set)
    external_id: str | None = None
    tokens: set[str] = field(default_factory=set)
    longest: int = 43200


@dataclass
class Session:
    """One that was given, as CloudTrail would show it."""

    role: str
    name: str
    duration: int
    policy: dict[str, Any] | None
    source_identity: str | None
    tags: dict[str, str]
    transitive: set[str]


class Sts(StrictServer):
    """A context manager. ``host`` is what it is called, whatever address the tests reach it at."""

    def __init__(self, host: str = "sts.eu-west-1.amazonaws.com", region: str = "eu-west-1") -> None:
        super().__init__()
        self.host = host
        self.region = region
        self.identities: dict[str, Identity] = {}
        self.roles: dict[str, Trust] = {}
        self.expired_tokens: set[str] = set()
        self.sessions: list[Session] = []

    def user(self, name: str) -> tuple[str, str]:
        """The keys of a new user."""
        key, secret = "AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30)
        self.identities[key] = Identity(f"arn:aws:iam::123456789012:user/{name}", secret)
        return key, secret

    def answer(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        assert (asked.url.path, asked.url.query) == ("/", "")
        assert asked.headers["content-type"].startswith("application/x-www-form-urlencoded")
        form = asked.form
        assert form["Version"] == "2011-06-15"
        assert _NAME.fullmatch(form["RoleSessionName"]), "RoleSessionName"
        assert 900 <= int(form["DurationSeconds"]) <= 43200, "DurationSeconds"
        assert len(form.get("Policy", "")) <= 2048
        if form["Action"] == "AssumeRoleWithWebIdentity":
            return self._with_web_identity(asked, form)
        assert form["Action"] == "AssumeRole"
        return self._assume(asked, form)

    def refuse(self, fault: str) -> Answer:
        return self._error(400, "ValidationError")

    def _with_web_identity(self, asked: Asked, form: dict[str, str]) -> Answer:
        assert set(form) <= _COMMON | {"WebIdentityToken"}, f"no such parameters: {sorted(form)}"
        assert "authorization" not in asked.headers, "this call is not signed"
        assert not [name for name in asked.headers if name.startswith("x-amz-")]
        token = form["WebIdentityToken"]
        assert 4 <= len(token) <= 20000
        if token in self.expired_tokens:
            return self._error(400, "ExpiredTokenException")
        trust = self.roles.get(form["RoleArn"])
        if not any(token in role.tokens for role in self.roles.values()):
            return self._error(400, "InvalidIdentityToken")
        if trust is None or token not in trust.tokens:
            return self._error(403, "AccessDenied")
        return self._given("AssumeRoleWithWebIdentity", form, {}, set())

    def _assume(self, asked: Asked, form: dict[str, str]) -> Answer:
        tags, transitive = _numbered_tags(form), _numbered(form, "TransitiveTagKeys.member")
        plain = {name for name in form if ".member." not in name}
        assert plain <= _COMMON | _OF_KEYS, f"no such parameters: {sorted(plain)}"
        _check_tags(tags, transitive)
        assert "SourceIdentity" not in form or _NAME.fullmatch(form["SourceIdentity"])
        assert "ExternalId" not in form or re.fullmatch(r"[A-Za-z0-9_+=,.@:/-]{2,1224}", form["ExternalId"])
        who = self._signer(asked)
        if isinstance(who, Answer):
            return who
        if who.token is not None and int(form["DurationSeconds"]) > _AN_HOUR:
            return self._error(400, "ValidationError")
        if set(tags) & set(who.transitive):
            return self._error(400, "InvalidParameterValue")
        needed = {"sts:AssumeRole"}
        # https://docs.aws.amazon.com/eks/latest/userguide/pod-id-assign-target-role.html: inherited ones need it too.
        needed |= {"sts:TagSession"} if tags or who.transitive else set()
        needed |= {"sts:SetSourceIdentity"} if "SourceIdentity" in form else set()
        trust = self.roles.get(form["RoleArn"])
        if (
            trust is None
            or who.arn not in trust.principals
            or trust.external_id not in (None, form.get("ExternalId"))
            or not _allowed(who, needed, form["RoleArn"])
        ):
            return self._error(403, "AccessDenied")
        if int(form["DurationSeconds"]) > trust.longest:
            return self._error(400, "ValidationError")
        return self._given("AssumeRole", form, {**who.transitive, **tags}, set(who.transitive) | set(transitive))

    def _given(self, action: str, form: dict[str, str], tags: dict[str, str], transitive: set[str]) -> Answer:
        role, duration = form["RoleArn"], int(form["DurationSeconds"])
        policy = json.loads(form["Policy"]) if "Policy" in form else None
        self.sessions.append(
            Session(role, form["RoleSessionName"], duration, policy, form.get("SourceIdentity"), tags, transitive)
        )
        key, secret, token = "ASIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30), secrets.token_urlsafe(90)
        ends = now() + duration
        kept = {name: tags[name] for name in transitive}
        self.identities[key] = Identity(role, secret, token, ends, kept, policy)
        given = {
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "SessionToken": token,
            "Expiration": datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in given.items())
        body = (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>{inner}'
            f"</Credentials></{action}Result></{action}Response>"
        )
        return Answer(200, body.encode(), {"Content-Type": "text/xml"})

    def _signer(self, asked: Asked) -> Identity | Answer:
        """Whose signature it is, computed anew from what came."""
        found = _SIGNED.fullmatch(asked.headers["authorization"])
        assert found, "Authorization is no signature for STS"
        key, date, region, names, signature = found.groups()
        assert region == self.region, f"signed for {region}"
        assert {"host", "x-amz-date"} <= set(names.split(";"))
        who = self.identities.get(key)
        if who is None:
            return self._error(403, "InvalidClientTokenId")
        assert asked.headers["x-amz-date"].startswith(date)
        # The host that was meant: the tests lead the request elsewhere.
        headers = "".join(
            f"{name}:{self.host if name == 'host' else asked.headers[name].strip()}\n" for name in names.split(";")
        )
        canonical = "\n".join(["POST", "/", "", headers, names, hashlib.sha256(asked.body).hexdigest()])
        scope = f"{date}/{region}/sts/aws4_request"
        text = "\n".join(
            ["AWS4-HMAC-SHA256", asked.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        step = f"AWS4{who.secret}".encode()
        for part in (date, region, "sts", "aws4_request"):
            step = hmac.digest(step, part.encode(), "sha256")
        assert hmac.digest(step, text.encode(), "sha256").hex() == signature, "the signature is not the identity's"
        assert asked.headers.get("x-amz-security-token") == who.token, "the session token"
        if who.token is not None:
            assert "x-amz-security-token" in names.split(";")
        if who.expires is not None and who.expires <= now():
            return self._error(403, "ExpiredToken")
        return who

    def _error(self, status: int, code: str) -> Answer:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>canary</Message></Error></ErrorResponse>"
        )
        return Answer(status, body.encode(), {"Content-Type": "text/xml"})


def _allowed(who: Identity, needed: set[str], role: str) -> bool:
    """Whether a session's own policy, if it has one, allows these for the role: what it does not say is denied."""
    if who.policy is None:
        return True
    for statement in who.policy["Statement"]:
        actions = statement["Action"]
        if statement["Resource"] == role and needed <= set([actions] if isinstance(actions, str) else actions):
            return True
    return False


def _numbered(form: dict[str, str], prefix: str) -> list[str]:
    found = {int(name.removeprefix(f"{prefix}.")): value for name, value in form.items() if name.startswith(f"{prefix}.")}
    assert sorted(found) == list(range(1, len(found) + 1)), f"{prefix} is not counted from 1"
    return [found[number] for number in sorted(found)]


def _numbered_tags(form: dict[str, str]) -> dict[str, str]:
    tags: dict[str, dict[str, str]] = {}
    for name, value in form.items():
        if name.startswith("Tags.member."):
            number, part = name.removeprefix("Tags.member.").split(".")
            tags.setdefault(number, {})[part] = value
    assert all(set(tag) == {"Key", "Value"} for tag in tags.values())
    assert len({tag["Key"].lower() for tag in tags.values()}) == len(tags), "a key stands there twice"
    return {tag["Key"]: tag["Value"] for tag in tags.values()}


def _check_tags(tags: dict[str, str], transitive: list[str]) -> None:
    assert len(tags) <= 50
    for key, value in tags.items():
        assert 1 <= len(key) <= 128
        assert len(value) <= 256
        assert not key.lower().startswith("aws:")
        # [\p{L}\p{Z}\p{N}_.:/=+\-@]
        assert all(character.isalnum() or character.isspace() or character in "_.:/=+-@" for character in key + value)
    assert set(transitive) <= set(tags), "a transitive key that is no tag"
