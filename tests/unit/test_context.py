from __future__ import annotations

import pytest

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import IssuerUnavailable
from credbroker.profile import CatalogProfile


@pytest.mark.parametrize(("left", "given"), [(10.0, 9.9), (0.2, 0.1), (0.1, 0.05), (0.0, 0.0)])
def test_the_transport_gives_up_before_the_flight_does_so_that_its_error_is_the_one_that_is_seen(
    left: float, given: float
) -> None:
    class Silent:
        def send(self, request: HttpRequest, *, timeout: float, **_: object) -> HttpResponse:
            raise IssuerUnavailable(f"{timeout:.3g}")

    context = Context(http=Silent(), profile=CatalogProfile(name="production"), remaining=lambda: left)
    with pytest.raises(IssuerUnavailable, match=f"^{given:.3g}$"):
        context.send(HttpRequest("GET", "https://catalog.example"))
