"""How a provider sends to an issuer: within its flight, under its profile's rule for plain http, on record."""

from __future__ import annotations

from credbroker.context import Context, HttpRequest, HttpResponse

# Seconds by which the transport gives up before the flight does. Its error names the host that did not answer; the flight,
# which ends at the same moment otherwise, knows no host.
_AHEAD = 0.1


def send(request: HttpRequest, context: Context) -> HttpResponse:
    """Send ``request`` once. Raises what ``Http.send`` does."""
    left = context.remaining()
    return context.http.send(
        request,
        timeout=left - min(_AHEAD, left / 2),
        allow_insecure=context.profile.allow_insecure,
        on_connection=context.on_connection,
    )
