"""Google Cloud's ways to a token, and to a narrower one. They cannot be run here, so each request is checked.

- STS: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token, with the ``Options`` and ``AccessBoundary``
  pages beside it
- Its AWS form: https://cloud.google.com/iam/docs/workload-identity-federation-with-other-clouds, and ``subjectToken`` there
- Impersonation: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken
- The metadata server: https://cloud.google.com/compute/docs/metadata/querying-metadata and
  https://cloud.google.com/compute/docs/access/authenticate-workloads#applications
- A service account's key: https://developers.google.com/identity/protocols/oauth2/service-account#httprest
- The texts of refusals: google-github-actions/auth issues 161, 211, 340 (as its users were answered)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.servers import strict
from tests.servers.strict import Answer, Asked, StrictServer, exactly, rsa_key

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
AWS4 = "urn:ietf:params:aws:token-type:aws4_request"
HOSTS = {
    "https://oauth2.googleapis.com": "/oauth2.googleapis.com",
    "https://sts.googleapis.com": "/sts.googleapis.com",
    "https://iamcredentials.googleapis.com": "/iamcredentials.googleapis.com",
    "http://169.254.169.254": "/169.254.169.254",
}
_SKEW = 300
_RULE = {"availableResource", "availablePermissions", "availabilityCondition"}
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)/([0-9]{8})/([a-z0-9-]+)/sts/aws4_request, SignedHeaders=([a-z0-9;-]+), "
    r"Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Issued:
    """A token: whose it is, until when, and under which boundary."""

    principal: str
    scope: str
    ends: datetime
    boundary: Any = None


class GoogleCloud(StrictServer):
    """One project with a service account, a pool with one provider, and the metadata server of a machine in it.

    Each of Google's hosts stands below a path of its own (``origins``, for ``Rerouted``): asked at another host, a request
    is a wrong one. ``clock`` is Google's; it says when a token is over, and what the ``Date`` of an answer is.
    """

    email = "pipeline@lab.iam.gserviceaccount.com"
    attached = "vm@lab.iam.gserviceaccount.com"
    audience = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/pods/providers/cluster"
    issuer = "https://oidc.cluster.example"
    subject = "system:serviceaccount:data:pipeline"
    aws_key = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "session/token+of==aws")

    def __init__(self, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__()
        self._server.RequestHandlerClass = _Dated
        self.clock = clock or (lambda: datetime.now(UTC))
        self.life = 3599
        self.states_life = True
        """STS leaves ``expires_in`` out for a narrowed token whose source is a user's."""
        self.flavor: str | None = "Google"
        self.sticky = False
        """Whether the metadata server hands out the token that it holds, as the real one does until some minutes before
        its end."""
        self.has_account = True
        self.pool_disabled = False
        self.condition_rejects = False
        self.may_impersonate: set[tuple[str, ...]] = {(self.email,)}
        """The chains of accounts that the base identities may go, the impersonated one last."""
        self.instead: dict[str, Answer] = {}
        """What a host answers instead of the right thing; its requests are checked all the same."""
        self.tokens: dict[str, Issued] = {}
        self.boundaries: list[Any] = []
        """Of each narrowed token, in order."""
        self.key_deleted = False
        self._private = rsa_key()
        self._key_id = secrets.token_hex(20)
        self._held: str | None = None

    @property
    def origins(self) -> dict[str, str]:
        return {origin: f"{self.uri}{path}" for origin, path in HOSTS.items()}

    @property
    def key(self) -> str:
        """The key's file, as Google makes one."""
        pem = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "lab",
                "private_key_id": self._key_id,
                "private_key": pem.decode(),
                "client_email": self.email,
                "token_uri": "https://oauth2.googleapis.com/token",
                "universe_domain": "googleapis.com",
            }
        )

    def pod_token(self, **claims: object) -> str:
        """A token of the Kubernetes cluster that the pool's provider trusts."""
        issued = int(self.clock().timestamp())
        body = {"iss": self.issuer, "sub": self.subject, "aud": [f"https:{self.audience}"], "iat": issued}
        body |= {"exp": issued + 3600, **claims}
        signed = f"{_encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': 'k1'})}.{_encoded(body)}"
        signature = self._private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def revoke(self, kept: Callable[[Issued], bool] = lambda _: False) -> None:
        """End every token that is not ``kept``, before its time."""
        self.tokens = {token: issued for token, issued in self.tokens.items() if kept(issued)}

    def to(self, host: str) -> int:
        """How many requests went to a host of Google's."""
        return sum(f" /{host}/" in call for call in self.calls)

    def answer(self, asked: Asked) -> Answer:
        host, _, path = asked.url.path.removeprefix("/").partition("/")
        right = self._right(host, path, asked)
        return self.instead.get(host, right)

    def _right(self, host: str, path: str, asked: Asked) -> Answer:
        if host == "oauth2.googleapis.com":
            return self._by_key(asked, path)
        if host == "sts.googleapis.com":
            return self._exchange(asked, path)
        if host == "iamcredentials.googleapis.com":
            return self._impersonate(asked, path)
        assert host == "169.254.169.254", f"{host} is no host that this server plays"
        return self._metadata(asked, path)

    def refuse(self, fault: str) -> Answer:
        return Answer(400, {"error": "invalid_request", "error_description": "as the vendor words it"})

    def _issue(self, principal: str, scope: str, life: float | None = None, boundary: Any = None) -> str:
        token = f"ya29.c.{secrets.token_urlsafe(90)}"
        ends = self.clock() + timedelta(seconds=self.life if life is None else life)
        self.tokens[token] = Issued(principal, scope, ends, boundary)
        return token

    def _living(self, token: str) -> Issued | None:
        issued = self.tokens.get(token)
        return issued if issued is not None and issued.ends > self.clock() else None

    # -- a key -----------------------------------------------------------------------------------------------------------

    def _by_key(self, asked: Asked, path: str) -> Answer:
        _is_form(asked)
        assert path == "token"
        form = asked.form
        exactly(form, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=None)
        header, claims = self._verified(form["assertion"])
        if self.key_deleted or header != {"alg": "RS256", "typ": "JWT", "kid": self._key_id}:
            return _oauth(400, "invalid_grant", "Invalid JWT Signature.")
        assert set(claims) == {"iss", "scope", "aud", "iat", "exp"}
        assert (claims["iss"], claims["aud"]) == (self.email, "https://oauth2.googleapis.com/token")
        assert 0 < claims["exp"] - claims["iat"] <= 3600, "exp has a maximum of one hour after iat"
        assert abs(self.clock().timestamp() - claims["iat"]) <= _SKEW, "iat is not in a reasonable timeframe"
        token = self._issue(self.email, claims["scope"])
        return Answer(200, {"access_token": token, "expires_in": self.life, "token_type": "Bearer"})

    def _verified(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        signed, _, signature = token.rpartition(".")
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        try:
            self._private.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise AssertionError("the signature does not match") from None
        return header, claims

    # -- the Security Token Service --------------------------------------------------------------------------------------

    def _exchange(self, asked: Asked, path: str) -> Answer:
        _is_form(asked)
        assert path == "v1/token"
        form = asked.form
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
        assert form["requested_token_type"] == ACCESS_TOKEN
        if form["subject_token_type"] == ACCESS_TOKEN:
            return self._narrow(form)
        exactly(
            form,
            grant_type=None,
            audience=None,
            scope=None,
            requested_token_type=None,
            subject_token=None,
            subject_token_type=None,
        )
        if form["audience"] != self.audience or self.pool_disabled:
            return _oauth(400, "invalid_target", 'The target service indicated by the "audience" parameters is invalid.')
        who = self._federated(form["subject_token"], form["subject_token_type"])
        if isinstance(who, Answer):
            return who
        if self.condition_rejects:
            return _oauth(401, "unauthorized_client", "The given credential is rejected by the attribute condition.")
        token = self._issue(who, form["scope"])
        return Answer(200, _exchanged(token, self.life))

    def _federated(self, token: str, kind: str) -> str | Answer:
        if kind == AWS4:
            return self._aws_caller(token)
        assert kind == JWT
        header, claims = self._verified(token)
        assert header["alg"] in ("RS256", "ES256")
        assert "kid" in header
        stated = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if not set(stated) & {self.audience, f"https:{self.audience}"}:
            return _oauth(400, "invalid_grant", "The audience in ID Token does not match the expected audience.")
        if claims["iss"] != self.issuer:
            return _oauth(400, "invalid_grant", "The issuer in ID Token does not match the expected ones.")
        assert claims["exp"] - claims["iat"] < 48 * 3600, "exp must be less than 48 hours after iat"
        if claims["exp"] <= self.clock().timestamp():
            return _oauth(400, "invalid_grant", "ID Token is stale to sign-in.")
        return f"principal:{self.audience}/subject/{claims['sub']}"

    def _aws_caller(self, token: str) -> str | Answer:
        """What AWS would say to the request that Google sends for whoever shows it (AWS Signature Version 4)."""
        shown = json.loads(unquote(token))
        assert set(shown) == {"url", "method", "headers"}
        assert shown["method"] == "POST"
        url = urlsplit(shown["url"])
        assert (url.scheme, url.path) == ("https", "")
        assert re.fullmatch(r"sts(\.[a-z0-9-]+)?\.amazonaws\.com", url.netloc)
        assert dict(parse_qsl(url.query)) == {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
        assert all(set(header) == {"key", "value"} for header in shown["headers"])
        headers = {header["key"].lower(): header["value"] for header in shown["headers"]}
        assert len(headers) == len(shown["headers"]), "a header stands there twice"
        assert headers["host"] == url.netloc
        assert headers["x-goog-cloud-target-resource"] in (self.audience, f"https:{self.audience}")
        found = _SIGNED.fullmatch(headers["authorization"])
        assert found is not None, "no signature of version 4"
        key_id, day, region, names, signature = found.groups()
        assert {"host", "x-amz-date", "x-goog-cloud-target-resource"} <= set(names.split(";"))
        assert url.netloc == f"sts.{region}.amazonaws.com", "the signature is for another region than the host"
        signed_at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert signed_at.strftime("%Y%m%d") == day
        assert abs(datetime.now(UTC) - signed_at) < timedelta(minutes=15), "AWS takes a signature for 15 minutes"
        if key_id != self.aws_key[0] or headers.get("x-amz-security-token") != self.aws_key[2]:
            return _oauth(400, "invalid_grant", "Received invalid AWS response of type InvalidClientTokenId.")
        lines = [
            "POST",
            "/",
            url.query,
            *(f"{name}:{headers[name]}" for name in names.split(";")),
            "",
            names,
            hashlib.sha256(b"").hexdigest(),
        ]
        scope = f"{day}/{region}/sts/aws4_request"
        hashed = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        derived = f"AWS4{self.aws_key[1]}".encode()
        for part in (day, region, "sts", "aws4_request"):
            derived = hmac.digest(derived, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashed}"
        if not hmac.compare_digest(hmac.digest(derived, text.encode(), "sha256").hex(), signature):
            return _oauth(400, "invalid_grant", "Received invalid AWS response of type SignatureDoesNotMatch.")
        return f"principal:{self.audience}/subject/arn:aws:sts::123456789012:assumed-role/pipeline/session"

    def _narrow(self, form: dict[str, str]) -> Answer:
        exactly(
            form,
            grant_type=None,
            requested_token_type=None,
            subject_token=None,
            subject_token_type=ACCESS_TOKEN,
            options=None,
        )
        # google-auth encodes it twice, and Google takes that.
        text = form["options"]
        boundary = json.loads(text if text.startswith("{") else unquote(text))
        _check_boundary(boundary)
        source = self._living(form["subject_token"])
        if source is None:
            return _oauth(400, "invalid_grant", "The subject token is expired or revoked.")
        assert source.boundary is None, "a narrowed token is not narrowed again"
        assert "https://www.googleapis.com/auth/cloud-platform" in source.scope.split()
        left = int((source.ends - self.clock()).total_seconds())
        self.boundaries.append(boundary)
        return Answer(200, _exchanged(self._issue(source.principal, source.scope, left, boundary), left, self.states_life))

    # -- impersonation ---------------------------------------------------------------------------------------------------

    def _impersonate(self, asked: Asked, path: str) -> Answer:
        assert asked.method == "POST"
        assert asked.headers["content-type"].partition(";")[0] == "application/json"
        assert not asked.url.query
        found = re.fullmatch(r"v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken", path)
        assert found is not None, "the project is the wildcard '-'"
        body = json.loads(asked.body)
        assert {"scope", "lifetime"} <= set(body) <= {"scope", "lifetime", "delegates"}
        assert body["scope"]
        assert all(scope.startswith("https://www.googleapis.com/auth/") for scope in body["scope"])
        seconds = re.fullmatch(r"([0-9]+)s", body["lifetime"])
        assert seconds is not None, "a Duration in JSON: seconds, and 's'"
        delegates = body.get("delegates") or []
        named = [re.fullmatch(r"projects/-/serviceAccounts/([^/]+)", delegate) for delegate in delegates]
        assert all(named), "a delegate is projects/-/serviceAccounts/<account>"
        if int(seconds[1]) > 3600:
            return _api(400, "INVALID_ARGUMENT")
        kind, _, token = asked.headers["authorization"].partition(" ")
        assert kind == "Bearer"
        if self._living(token) is None:
            return _api(401, "UNAUTHENTICATED")
        if (*(one[1] for one in named if one is not None), found[1]) not in self.may_impersonate:
            return _api(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED")
        life = min(int(seconds[1]), self.life)
        ends = (self.clock() + timedelta(seconds=life)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Answer(200, {"accessToken": self._issue(found[1], " ".join(body["scope"]), life), "expireTime": ends})

    # -- the metadata server ---------------------------------------------------------------------------------------------

    def _metadata(self, asked: Asked, path: str) -> Answer:
        headers = {} if self.flavor is None else {"Metadata-Flavor": self.flavor}
        assert asked.method == "GET"
        assert asked.headers.get("metadata-flavor") == "Google", "403: Missing Metadata-Flavor:Google header."
        assert "x-forwarded-for" not in asked.headers, "403: it answers no proxy"
        assert path == "computeMetadata/v1/instance/service-accounts/default/token"
        assert set(asked.query) <= {"scopes"}
        if not self.has_account:
            return Answer(404, b"<html>404</html>", {**headers, "Content-Type": "text/html"})
        held = self.tokens.get(self._held) if self._held is not None else None
        if not self.sticky or held is None or held.ends <= self.clock():
            self._held = self._issue(self.attached, asked.query.get("scopes", SCOPE).replace(",", " "))
            held = self.tokens[self._held]
        left = int((held.ends - self.clock()).total_seconds())
        return Answer(200, {"access_token": self._held, "expires_in": left, "token_type": "Bearer"}, headers)


class _Dated(strict._Handler):  # the same handler, by the clock of its server
    def date_time_string(self, timestamp: float | None = None) -> str:
        server: GoogleCloud = self.server.owner  # type: ignore[attr-defined]
        return format_datetime(server.clock(), usegmt=True)


def _is_form(asked: Asked) -> None:
    assert asked.method == "POST"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert not asked.url.query
    assert "authorization" not in asked.headers


def _check_boundary(options: Any) -> None:
    assert set(options) == {"accessBoundary"}
    assert set(options["accessBoundary"]) == {"accessBoundaryRules"}
    rules = options["accessBoundary"]["accessBoundaryRules"]
    assert 1 <= len(rules) <= 10, "an access boundary has up to 10 rules"
    for rule in rules:
        assert _RULE - {"availabilityCondition"} <= set(rule) <= _RULE
        assert re.fullmatch(r"//storage\.googleapis\.com/projects/_/buckets/[a-z0-9._-]{3,222}", rule["availableResource"])
        assert rule["availablePermissions"]
        assert all(re.fullmatch(r"inRole:roles/storage\.[A-Za-z]+", role) for role in rule["availablePermissions"])
        if "availabilityCondition" in rule:
            assert set(rule["availabilityCondition"]) <= {"expression", "title", "description"}
            assert 0 < len(rule["availabilityCondition"]["expression"]) <= 2048


def _exchanged(token: str, life: float, states_life: bool = True) -> dict[str, object]:
    answer: dict[str, object] = {"access_token": token, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer"}
    return {**answer, "expires_in": int(life)} if states_life else answer


def _oauth(status: int, code: str, text: str) -> Answer:
    return Answer(status, {"error": code, "error_description": text})


def _api(status: int, code: str, reason: str | None = None) -> Answer:
    error: dict[str, Any] = {"code": status, "message": "as the vendor words it", "status": code}
    if reason is not None:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "iam.googleapis.com"}]
    return Answer(status, {"error": error})


def _encoded(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    assert "=" not in part, "RFC 7515: base64url without padding"
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
