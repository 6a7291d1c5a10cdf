"""Which resource a client of a managed identity asks a token for, and whether the binding's token is for that one."""

from __future__ import annotations

from credbroker.sidecar.protocol import Ask, Refusal


def asked_resource(ask: Ask) -> str | None:
    """The ``resource``, as it was asked; of those who send a ``scope`` instead, the resource in it."""
    return ask.query.get("resource") or ask.query.get("scope", "").removesuffix("/.default") or None


def resource_refused(ask: Ask) -> Refusal | None:
    """Refuse who asks for another resource than the binding's scopes name, where these are known.

    A client would send the token to that resource: storage's would end up with a vault, or with anybody's service.
    """
    asked = asked_resource(ask)
    if asked is None:
        return Refusal(400, "BadRequest", "the query parameter resource is missing")
    scopes = ask.granted.scopes if ask.granted is not None else ()
    if scopes and _plain(asked) not in {_plain(scope) for scope in scopes}:
        return Refusal(400, "InvalidResource", "the token of this binding is for another resource")
    return None


def _plain(resource: str) -> str:
    """Without what the same resource is written with or without (Microsoft, "Scopes and permissions", trailing slash)."""
    return resource.removesuffix("/.default").rstrip("/").lower()
