"""An OAuth2 token endpoint: client_credentials in, the broker's token out. For DuckDB, PyIceberg, Spark, Trino and ABFS.

Source: RFC 6749 sections 2.3.1, 4.4, 5.1 and 5.2. The client is the binding's name, its secret is the binding's token.

Java's Iceberg (Spark, Trino, Flink) refreshes by a token exchange that shows the catalog's token and not the secret: from
1.10 on set ``token-exchange-enabled=false`` there. Before, it shows the secret once its token is over, which is granted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime

from credbroker.credentials import Credential
from credbroker.sidecar.authorization import basic, visible
from credbroker.sidecar.protocol import NO_STORE, Answer, Ask, Place, Protocol, Refusal, Route, Variables
from credbroker.wire.token_answers import client_and_secret, token_response

_GRANTS = ("client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange")
# What PyIceberg and Java ask for by default, and what DuckDB does. Neither means more than "what this client may have".
_UNASKED = frozenset({"catalog", "PRINCIPAL_ROLE:ALL"})
_UNCACHED = (NO_STORE, ("pragma", "no-cache"))  # RFC 6749 section 5.1
# PyIceberg takes only these of section 5.2 with a 400 or a 401.
_ERRORS = {"UnsupportedGrantType": "unsupported_grant_type", "InvalidScope": "invalid_scope"}
_UNFIT = re.compile(r"[^ !#-\[\]-~]")


def _token(headers: Mapping[str, str], form: Mapping[str, str]) -> str | None:
    """The client's secret. A Bearer beside it is not looked at: PyIceberg sends the expired token of its catalog along."""
    user_and_password = basic(headers)
    return visible(form.get("client_secret") if user_and_password is None else user_and_password[1])


def _check(ask: Ask) -> Refusal | None:
    grant = ask.form.get("grant_type")
    if not grant:
        return Refusal(400, "BadRequest", "the parameter grant_type is missing")
    user_and_password = basic(ask.headers)
    # Java's Iceberg before 1.10 asks by client_credentials once, and then by an exchange (RFC 8693) of what it got, at last
    # with its client's secret. It is that secret which opens the binding: the subject is not looked at, and gains nothing.
    if grant != _GRANTS[0] and (grant != _GRANTS[1] or user_and_password is None):
        return Refusal(400, "UnsupportedGrantType", "client_credentials is what is granted here: switch token exchange off")
    if user_and_password is not None and ask.form.get("client_secret"):
        # Section 2.3: at most one way in a request. Which of two secrets was compared, nobody could tell.
        return Refusal(400, "BadRequest", "the client authenticates twice: in the header and in the body")
    named = {ask.form.get("client_id", ""), user_and_password[0] if user_and_password is not None else ""}
    if not named <= {"", ask.binding}:
        return Refusal(401, "Unauthorized", "the client_id is the name of the binding")
    return _scope_refused(ask)


def _scope_refused(ask: Ask) -> Refusal | None:
    asked = frozenset(ask.form.get("scope", "").split()) - _UNASKED
    granted = ask.granted.scopes if ask.granted is not None else frozenset()
    if granted and not asked <= granted:
        return Refusal(400, "InvalidScope", "the token of this binding has not every scope that is asked for")
    return None


def _answer(ask: Ask, value: Credential, ends: datetime | None) -> Answer:
    return Answer(200, token_response(value, ask.left(ends)), headers=_UNCACHED)


def _refusal(refusal: Refusal) -> Answer:
    status, headers = refusal.status, (*refusal.headers, ("pragma", "no-cache"))
    if status == 401:
        error = "invalid_client"
        headers = (*headers, ("www-authenticate", 'Basic realm="credbroker"'))
    elif status == 403:
        status, error = 400, "unauthorized_client"  # section 5.2 knows no 403
    elif status == 429 or status >= 500:
        error = "temporarily_unavailable"
    else:
        error = _ERRORS.get(refusal.code, "invalid_request")
    # Section 5.2: no quotation mark, no backslash, nothing beyond ASCII.
    told = {"error": error, "error_description": _UNFIT.sub("'", refusal.message)}
    return Answer(status, json.dumps(told).encode(), headers=headers)


def _environment(place: Place) -> Variables:
    """For PyIceberg's catalog of the binding's name. It reads ``_`` in a variable as ``-``, and ``__`` as a level."""
    if "__" in place.binding:
        return {}
    catalog = f"PYICEBERG_CATALOG__{place.binding.upper().replace('-', '_')}__"
    return {
        f"{catalog}OAUTH2_SERVER_URI": place.url("oauth2-token"),
        f"{catalog}CREDENTIAL": client_and_secret(place.binding, place.token),
    }


PROTOCOL = Protocol(
    name="oauth2-token",
    routes=(Route(path="", method="POST", token=_token, check=_check, answer=_answer),),
    refusal=_refusal,
    environment=_environment,
)
