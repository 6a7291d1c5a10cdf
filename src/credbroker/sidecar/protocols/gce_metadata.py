"""The metadata server of Google Compute Engine, as far as credentials go: what each Google SDK and object_store ask.

Source: Google Cloud, "View and query VM metadata" and "Predefined metadata keys"; google-auth's ``compute_engine`` for what
is asked. There is no place for a token, so the kernel's word on the peer decides alone. Identity tokens are not served, and
no project is told, as none is known: set ``GOOGLE_CLOUD_PROJECT`` where a client wants one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from credbroker.credentials import Credential
from credbroker.sidecar.protocol import NO_STORE, Answer, Ask, Place, Protocol, Refusal, Route, Variables
from credbroker.wire.token_answers import metadata_token

EMAIL = "credbroker@sidecar.invalid"
"""The account's name, which google-auth asks by from the second time on.

It is no address of Google's (RFC 2606), so that nobody looks up or signs anything with it.
"""

_FLAVOR = ("metadata-flavor", "Google")
_HEADERS = (_FLAVOR, NO_STORE)
_V1 = "/computeMetadata/v1"
_ACCOUNTS = f"{_V1}/instance/service-accounts"
_ALL_OF_GOOGLE_CLOUD = "https://www.googleapis.com/auth/cloud-platform"


def _check(ask: Ask) -> Refusal | None:
    # No form and no redirect can set it: a page or a server that is made to ask for a URL gets nothing.
    if ask.headers.get("metadata-flavor") != "Google":
        return Refusal(403, "MissingHeader", "the request needs the header Metadata-Flavor: Google")
    return None


def _says(text: str) -> Callable[[Ask], Answer]:
    return lambda ask: Answer(200, text.encode(), "application/text", _HEADERS)


def _scopes(ask: Ask) -> list[str]:
    return sorted(ask.granted.scopes) if ask.granted is not None and ask.granted.scopes else [_ALL_OF_GOOGLE_CLOUD]


def _account(ask: Ask) -> Answer:
    if ask.query.get("recursive", "").lower() != "true":
        return _says("aliases\nemail\nscopes\ntoken\n")(ask)
    told = {"aliases": ["default"], "email": EMAIL, "scopes": _scopes(ask)}
    return Answer(200, json.dumps(told).encode(), headers=_HEADERS)


def _no_project(ask: Ask) -> Answer:
    return _refusal(Refusal(404, "NotFound", "no project is known here"))


def _token(ask: Ask, value: Credential, ends: datetime | None) -> Answer:
    # Scopes that are asked for are ignored, as Compute Engine's own server does.
    return Answer(200, metadata_token(value, ask.left(ends)), headers=_HEADERS)


def _refusal(refusal: Refusal) -> Answer:
    return Answer(refusal.status, refusal.message.encode(), "text/plain", (_FLAVOR, *refusal.headers))


def _environment(place: Place) -> Variables:
    return {
        "GCE_METADATA_HOST": place.authority,
        "GCE_METADATA_IP": place.authority,  # google-auth looks there first whether there is such a server at all
        "GCE_METADATA_MTLS_MODE": "none",  # on a virtual machine of Google's it would speak TLS to us
    }


def _route(path: str, text: Callable[[Ask], Answer]) -> Route:
    return Route(path=path, token=None, check=_check, text=text)


def _of_account(account: str) -> tuple[Route, ...]:
    path = f"{_ACCOUNTS}/{account}"
    return (
        _route(f"{path}/", _account),
        _route(f"{path}/email", _says(EMAIL)),
        _route(f"{path}/scopes", lambda ask: _says("\n".join(_scopes(ask)))(ask)),
        Route(path=f"{path}/token", token=None, check=_check, answer=_token),
    )


PROTOCOL = Protocol(
    name="gce-metadata",
    routes=(
        _route("/", _says("computeMetadata/\n")),
        _route(f"{_V1}/", _says("instance/\nproject/\nuniverse/\n")),
        _route(f"{_V1}/instance", _says("service-accounts/\n")),  # so asks gcp-metadata (Node.js) whether anybody is there
        _route(f"{_V1}/instance/", _says("service-accounts/\n")),
        _route(f"{_ACCOUNTS}/", _says(f"default/\n{EMAIL}/\n")),
        *_of_account("default"),
        *_of_account(EMAIL),
        _route(f"{_V1}/project/project-id", _no_project),
        _route(f"{_V1}/universe/universe-domain", _says("googleapis.com")),
    ),
    refusal=_refusal,
    environment=_environment,
    rooted=True,
)
