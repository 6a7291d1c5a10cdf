"""Tokens of Acme for credbroker: the mode ``acme_tokens``."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from pydantic import SecretStr

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import AccessToken, Credential
from credbroker.errors import CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.profile import Profile
from credbroker.providers import Grant, Revocation
from credbroker.providers.requirements import check_url, misconfigured, need, settings
from credbroker.request import CredentialRequest
from credbroker.wire.expiry import retry_after

_LONGEST = 7 * 86_400  # seconds: Acme gives no token for more than a week
_VISIBLE = re.compile(r"[\x21-\x7e]+")  # what reaches a header unchanged and cannot begin another one
_AGAIN = (429, 500, 502, 503, 504)


class AcmeTokens:
    """Issues an ``AccessToken`` for a catalog or for compute."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """What ``issue`` would ask for. A token has no policy: what it allows is its scope's to say."""
        if profile.kind not in ("catalog", "compute"):
            raise misconfigured(profile, "credentials.mode", "is acme_tokens, which issues tokens and no storage keys")
        need(profile, "secret_ref")
        check_url(profile, "credentials.service", _option(profile, "service"))
        _option(profile, "team")
        return Grant()

    def issue(self, request: CredentialRequest, context: Context) -> AccessToken:
        """Ask Acme once."""
        profile = context.profile
        self.plan(request, profile)
        response = context.send(_asking(request, context))
        if response.status != 200:
            raise _refused(response)
        token = _token(response)
        if token is None:  # raised here, where no local is the answer's text
            raise MalformedResponse("Acme's answer is no token: check credentials.service")
        return token

    def revoke(self, value: Credential, request: CredentialRequest, context: Context) -> Revocation:
        """Give the token back."""
        if not isinstance(value, AccessToken):
            return Revocation(revoked=False, reason="it is no token of Acme's")
        response = context.send(_giving_back(value, context.profile))
        if response.status != 204:
            raise _refused(response)
        return Revocation(revoked=True, reason="Acme has taken it back")


def _option(profile: Profile, key: str) -> str:
    """A key of our own in the ``credentials:`` block. Nobody has looked at it yet."""
    value = settings(profile).options.get(key)
    if not isinstance(value, str) or not value:
        raise misconfigured(profile, f"credentials.{key}", "must be a text: mode 'acme_tokens' needs it")
    return value


def _asking(request: CredentialRequest, context: Context) -> HttpRequest:
    block = settings(context.profile)
    assert block.secret_ref is not None  # plan() has seen to it
    key = context.secrets.resolve(block.secret_ref)
    scopes = sorted(request.scopes) or (block.scope or "").split()
    body = json.dumps({"team": _option(context.profile, "team"), "scopes": scopes}).encode()
    headers = {"authorization": f"Acme-Key {key.get_secret_value()}", "content-type": "application/json"}
    return HttpRequest("POST", f"{_option(context.profile, 'service')}/v1/tokens", headers, body)


def _giving_back(value: AccessToken, profile: Profile) -> HttpRequest:
    return HttpRequest("DELETE", f"{_option(profile, 'service')}/v1/tokens", {"authorization": value.authorization_header()})


def _refused(response: HttpResponse) -> CredbrokerError:
    """The error for a status. Nothing of the body is in it: Acme may echo what it was sent."""
    text = f"Acme's token service answered HTTP {response.status}"
    if response.status in _AGAIN:
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{text}: it is asked again later", retry_after=pause)
    if response.status == 403:
        return IssueDenied(f"{text}: the team may not have this scope; ask Acme's administrators", grant_denied=True)
    if response.status == 401:
        return IssueDenied(f"{text}: look at the key in credentials.secret_ref")
    return MalformedResponse(f"{text}: check credentials.service")


def _token(response: HttpResponse) -> AccessToken | None:
    """The token, or None for an answer that is none. It raises nothing: its locals are the token itself."""
    try:
        parsed: object = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    answer = parsed if isinstance(parsed, dict) else {}
    token, scopes, seconds = answer.get("token"), answer.get("scopes", []), answer.get("valid_for")
    if not isinstance(token, str) or not _VISIBLE.fullmatch(token):
        return None
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds <= _LONGEST:
        return None
    end = response.sent + timedelta(seconds=seconds)  # from before the request left: never more life than there is
    return AccessToken(SecretStr(token), scopes=frozenset(scopes), expires_at=end)
