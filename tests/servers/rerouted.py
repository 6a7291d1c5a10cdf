"""A transport that leads chosen origins elsewhere: a vendor's host to the server that plays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from credbroker.context import Connection, Http, HttpRequest, HttpResponse


class Rerouted:
    """``Rerouted(SystemHttp(), {"https://sts.googleapis.com": server.uri})``: all else of a request stays as it is.

    A key is a scheme and a host; a value may have a path, which comes before the request's. What no key covers fails the
    test that sends it: nothing leaves this machine. ``asked`` has every request as it was meant.
    """

    def __init__(self, http: Http, origins: Mapping[str, str]) -> None:
        self._http = http
        self.origins = dict(origins)
        self.asked: list[HttpRequest] = []

    def send(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        allow_insecure: bool = False,
        on_connection: Callable[[Connection], None] | None = None,
    ) -> HttpResponse:
        self.asked.append(request)
        for origin, target in self.origins.items():
            rest = request.url.removeprefix(origin)
            if rest != request.url and rest[:1] in ("", "/", "?"):
                return self._http.send(
                    replace(request, url=target + rest),
                    timeout=timeout,
                    allow_insecure=allow_insecure,
                    on_connection=on_connection,
                )
        if request.url.startswith(("http://127.0.0.1:", "https://127.0.0.1:")):
            return self._http.send(request, timeout=timeout, allow_insecure=allow_insecure, on_connection=on_connection)
        raise AssertionError(f"{request.method} {request.url.partition('?')[0]} is asked, and nothing plays that host")
