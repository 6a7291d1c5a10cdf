"""A transport that names the vendor's host to a server which plays several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from credbroker.context import Http, HttpRequest, HttpResponse


class Named:
    """Says in a header for whom a request to Redshift is: moto checks the signature, which is over that host's name."""

    def __init__(self, http: Http, host: str) -> None:
        self._http = http
        self._host = host

    def send(self, request: HttpRequest, **options: Any) -> HttpResponse:
        if b"AssumeRole" not in (request.body or b""):
            request = replace(request, headers={**request.headers, "Host": self._host})
        return self._http.send(request, **options)
