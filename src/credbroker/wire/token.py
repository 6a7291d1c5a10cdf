"""The token endpoint's answers (RFC 6749 sections 5.1 and 5.2, RFC 8693 section 2.2), parsed and distrusted.

Nothing that was received is ever part of an error's text: an issuer may echo the secret that it was sent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from pydantic import SecretStr

from credbroker.credentials import AccessToken
from credbroker.errors import CredbrokerError, InsufficientLifetime, MalformedResponse
from credbroker.wire.jwt import unverified_claims

# Visible ASCII (RFC 6749 appendix A.12, less the space): what reaches a header unchanged and cannot begin another one.
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110 section 5.6.2, a token
_SECONDS = re.compile(r"[0-9]{1,12}")
_LONGEST = 100 * 366 * 86_400  # seconds: "never" is written as 2^31 - 1 by some; anything beyond a century is a mistake
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - RFC 8693 section 3, the name of a type
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
# What may be presented as a bearer. An issuer that leaves issued_token_type out, though it is required, is believed where it
# says that the token is one.
_PRESENTABLE = (ACCESS_TOKEN_TYPE, JWT_TYPE)
_NOT_APPLICABLE = "N_A"
# RFC 6749 sections 4.1.2.1 and 5.2, RFC 7009 section 2.2.1, RFC 8693 section 2.2.2, RFC 9449 section 5: no other text leaves
# this module.
_REGISTERED = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "server_error",
        "temporarily_unavailable",
        "invalid_target",
        "invalid_dpop_proof",
        "use_dpop_nonce",
        "unsupported_token_type",
    }
)


def parse_token_response(
    body: bytes,
    *,
    sent: datetime,
    default_ttl: timedelta | None,
    correct: Callable[[datetime], datetime] | None = None,
    exchanged: bool = False,
) -> AccessToken:
    """The token in a successful answer, with its end counted from ``sent``, the instant before the request left.

    Its life is ``expires_in``; without one, until the ``exp`` of the token itself where that is a JWT (read unverified: it
    only says when *we* let go of it; ``correct`` turns the issuer's clock into ours); else ``default_ttl``. ``scopes`` are
    the granted ones, empty where the answer states none.

    ``exchanged`` says that the answer is a token exchange's (RFC 8693 section 2.2.1): its ``issued_token_type`` must be a
    token that can be presented as a bearer, and a ``token_type`` of ``N_A`` is then read as Bearer.

    Raises ``MalformedResponse`` for anything else than RFC 6749 section 5.1, and ``InsufficientLifetime`` for a token that
    is over on arrival.
    """
    outcome = _token(body, sent, default_ttl, correct, exchanged=exchanged)
    del body  # what an error tracker shows of this frame must not be the token
    if isinstance(outcome, CredbrokerError):
        raise outcome
    return outcome


def parse_error(body: bytes) -> str | None:
    """The registered error code of a refusal, None where there is none. ``error_description`` is never looked at.

    Iceberg catalogs wrap theirs: ``{"error": {"type": "invalid_client", ...}}``.
    """
    answer = json_object(body)
    code = answer.get("error") if answer is not None else None
    if isinstance(code, dict):
        code = code.get("type")
    return code if isinstance(code, str) and code in _REGISTERED else None


def json_object(body: bytes) -> dict[str, object] | None:
    """The JSON object that ``body`` is, None for anything else."""
    # None instead of the JSON error: that carries the whole text it was reading.
    try:
        parsed: object = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def is_json_object(body: bytes) -> bool:
    """Whether ``body`` is a JSON object at all: what a token endpoint answers with, and a gateway's error page is not."""
    return json_object(body) is not None


def _token(
    body: bytes,
    sent: datetime,
    default_ttl: timedelta | None,
    correct: Callable[[datetime], datetime] | None,
    *,
    exchanged: bool,
) -> AccessToken | CredbrokerError:
    # Errors are returned, and raised by the caller: a raised one would keep this frame, and the token in its locals.
    answer = json_object(body)
    if answer is None:
        return MalformedResponse("the token endpoint's answer is no JSON object: check the token_url")
    value, stated = answer.get("access_token"), _stated(answer, exchanged=exchanged)
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        return MalformedResponse("the token endpoint's answer has no access_token of visible ASCII: check the token_url")
    if isinstance(stated, CredbrokerError):
        return stated
    expires_at = _end(answer, value, sent, default_ttl, correct)
    if isinstance(expires_at, CredbrokerError):
        return expires_at
    if expires_at <= sent:
        return InsufficientLifetime(
            "the token endpoint sent a token that is over on arrival: check lifetime and clock there"
        )
    kind, scopes = stated
    return AccessToken(SecretStr(value), token_type=kind, scopes=scopes, expires_at=expires_at)


def _stated(answer: dict[str, object], *, exchanged: bool) -> tuple[str, frozenset[str]] | MalformedResponse:
    """How the token is presented, and the scopes that it has."""
    # token_type is required, but left out by some: then RFC 6750 is what was meant. A scope that cannot be read is no scope
    # that can be compared with the one asked for.
    kind, scope = answer.get("token_type", "Bearer"), answer.get("scope") or ""
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind) or not isinstance(scope, str):
        return MalformedResponse("the token endpoint's answer has a token_type or a scope of the wrong kind")
    if exchanged:
        issued, unnamed = answer.get("issued_token_type"), kind.upper() == _NOT_APPLICABLE
        if issued not in _PRESENTABLE and (issued is not None or unnamed):
            return MalformedResponse(
                "the token endpoint exchanged the subject token for something that is no access token: have it issue one"
            )
        # RFC 8693 section 2.2.1: N_A is for what is not presented as an access token; this one is.
        kind = "Bearer" if unnamed else kind
    return kind, frozenset(scope.split())


def _end(
    answer: dict[str, object],
    value: str,
    sent: datetime,
    default_ttl: timedelta | None,
    correct: Callable[[datetime], datetime] | None,
) -> datetime | CredbrokerError:
    stated = answer.get("expires_in")
    if stated is not None:
        seconds = _seconds(stated)
        if seconds is None:
            return MalformedResponse("the token endpoint's expires_in is no sane number of seconds: look at the issuer")
        return sent + timedelta(seconds=seconds)
    own = _jwt_end(value)
    if own is not None:
        return own if correct is None else correct(own)
    if default_ttl is None:
        return MalformedResponse("the token endpoint does not say how long its token lives: set credentials.default_ttl")
    return sent + default_ttl


def _seconds(stated: object) -> int | None:
    """Whole seconds from a JSON number or a numeric string; a bool is an int to Python, and no number here."""
    if isinstance(stated, str):
        if not _SECONDS.fullmatch(stated):
            return None
        stated = int(stated)
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return None
    return math.floor(stated) if 0 <= stated <= _LONGEST else None  # NaN compares false


def _jwt_end(token: str) -> datetime | None:
    claims = unverified_claims(token)
    end = _seconds(claims.get("exp")) if claims is not None else None
    return None if end is None else datetime.fromtimestamp(end, UTC)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are Python's, not JSON's
