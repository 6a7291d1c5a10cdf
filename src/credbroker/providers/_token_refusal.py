"""What a token endpoint's refusal comes down to (RFC 6749 5.2, RFC 7523 3, RFC 8693 2.2.2), with the remedy.

Of the answer only registered codes are read, and its Date: an issuer may echo the secret that it was sent.
"""

from __future__ import annotations

from datetime import timedelta

from credbroker.context import HttpResponse
from credbroker.errors import CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.profile import CredentialSettings
from credbroker.providers._client_auth import BY_ASSERTION, KEY_JWT, MUTUAL_TLS, NONE, refuses_client
from credbroker.providers._subject_token import ago
from credbroker.providers._token_request import EXCHANGE, JWT_BEARER, SHORT, grant, has_subject
from credbroker.wire.expiry import clock_lead, is_transient, retry_after
from credbroker.wire.token import is_json_object, parse_error

_BUSY = ("server_error", "temporarily_unavailable")
_MOST_SKEW = timedelta(seconds=60)
_SIGNER = "trusts who signed it (for a pod's token: the cluster, by its issuer and keys), and takes its subject and audience"
# By grant: what is said of invalid_grant.
_DISHONOURED = {
    EXCHANGE: "the issuer does not honour the subject token: look at who issued it, for whom, and until when",
    JWT_BEARER: f"the issuer does not honour the assertion in subject_token: look whether it {_SIGNER}",
}


def refused(response: HttpResponse, host: str, block: CredentialSettings) -> CredbrokerError:
    """The error for an answer of ``host`` that is no success."""
    code = parse_error(response.body)
    text = f"the token endpoint at {host} answered HTTP {response.status}" + (f" {code}" if code else "")
    if response.status == 501:
        return IssuerUnavailable(
            f"{text}: it leaves tokens to an identity provider; set credentials.token_url to that one's"
        )
    if is_transient(response.status) or code in _BUSY:
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{text}: it is asked again later", retry_after=pause)
    skew = _skew(response, code, block)
    if skew is not None:
        return IssueDenied(f"{text}: {skew}")
    if code is None and response.status == 401:
        return IssueDenied(f"{text}: {_client(block)}")
    if code is None and response.status != 403 and not is_json_object(response.body):
        return MalformedResponse(f"{text} without a reason in JSON: check the token_url")
    grant_denied, remedy = _remedy(code, block)
    return IssueDenied(f"{text}: {remedy}", grant_denied=grant_denied)


def _remedy(code: str | None, block: CredentialSettings) -> tuple[bool, str]:
    """Whether the grant was refused, and what to do. What is not listed was refused for the request's form."""
    remedies = {
        "invalid_client": (False, _unproven(block)),
        "unauthorized_client": (False, _client(block)),
        "access_denied": (True, "the issuer's policy withholds the token from this client"),
        "invalid_grant": (
            True,
            _DISHONOURED.get(grant(block), "the issuer does not honour this grant any more"),
        ),
        "invalid_scope": (False, "check credentials.scope and scopes; Polaris wants PRINCIPAL_ROLE:<name>"),
        "invalid_target": (False, "the issuer does not know this audience or resource"),
        "unsupported_grant_type": (
            False,
            f"the issuer must allow the {SHORT[grant(block)]} grant",
        ),
    }
    if code == "invalid_request" and has_subject(block):
        return False, "the issuer does not take this subject token, or this form: check subject_token and subject_token_type"
    if code == "invalid_request" and block.client_assertion is not None:
        return (
            False,
            f"the issuer does not take this client_assertion (perhaps not beside this client_id): {_unproven(block)}",
        )
    return remedies.get(code or "", (False, "check the token_url and the credentials block"))


def _client(block: CredentialSettings) -> str:
    return f"check client_id and {_held(block)}, and whether this client may use the {SHORT[grant(block)]} grant"


def _held(block: CredentialSettings) -> str:
    method = block.token_endpoint_auth_method
    if block.client_assertion is not None:
        return f"credentials.client_assertion: whether the issuer {_SIGNER} for this client"
    if method == KEY_JWT:
        return "that the issuer has the public half of credentials.private_key"
    if method in MUTUAL_TLS:
        return "that the issuer knows credentials.certificate"
    return "that the issuer takes it without a proof" if method == NONE else "the secret it names"


def _unproven(block: CredentialSettings) -> str:
    method = block.token_endpoint_auth_method
    if block.client_assertion is not None:
        return f"check client_id and {_held(block)}; some issuers take each assertion only once"
    if method in BY_ASSERTION:
        more = ", under key_id if that is set" if method == KEY_JWT else ""
        return f"check client_id and {_held(block)}{more}; its clients may also have to name {method} and the algorithm"
    if method in MUTUAL_TLS or method == NONE:
        return f"check client_id and {_held(block)}, for {method}"
    return "check client_id and the secret; if that has special characters, try basic_encoding: raw, or client_secret_post"


def _skew(response: HttpResponse, code: str | None, block: CredentialSettings) -> str | None:
    """What to say where the two clocks differ, and that may be why: an assertion is good for a minute."""
    signed = block.token_endpoint_auth_method in BY_ASSERTION
    if not ((signed or has_subject(block)) and (refuses_client(response) or code == "invalid_grant")):
        return None
    lead = clock_lead(response.headers.get("date"), response.sent, response.received)
    if abs(lead) <= _MOST_SKEW:
        return None
    side = "ahead of" if lead > timedelta() else "behind"
    return f"this machine's clock is about {ago(abs(lead))} {side} the issuer's: correct it"
