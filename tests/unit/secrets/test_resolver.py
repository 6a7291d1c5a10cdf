from __future__ import annotations

import pytest
from pydantic import SecretStr

from credbroker.errors import ConfigurationError, SecretNotFound
from credbroker.secrets.backend import Lookup
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.resolver import Resolver


class Place:
    """A backend with one value, or none."""

    def __init__(self, name: str, value: str | None = None) -> None:
        self.name = name
        self.value = value
        self.looks = 0

    def look(self, reference: SecretReference) -> Lookup:
        self.looks += 1
        secret = SecretStr(self.value) if self.value is not None and reference.secret_ref == "s" else None
        return Lookup(self.name, secret)


REFERENCE = SecretReference(secret_ref="s")


def test_the_first_backend_that_has_it_wins() -> None:
    first, second, third = Place("first"), Place("second", "two"), Place("third", "three")
    assert Resolver([first, second, third]).resolve(REFERENCE).get_secret_value() == "two"
    assert (first.looks, second.looks, third.looks) == (1, 1, 0)


def test_it_asks_afresh_each_time() -> None:
    place = Place("place", "one")
    resolver = Resolver([place])
    assert resolver.resolve(REFERENCE).get_secret_value() == "one"
    place.value = "two"
    assert resolver.resolve(REFERENCE).get_secret_value() == "two"


def test_the_error_names_every_place_in_order() -> None:
    with pytest.raises(SecretNotFound, match="secret 's' not found: tried first, then second"):
        Resolver([Place("first"), Place("second")]).resolve(REFERENCE)


def test_without_a_backend_nothing_is_found() -> None:
    with pytest.raises(SecretNotFound, match="no backend is set"):
        Resolver([]).resolve(REFERENCE)


def test_the_next_secret_is_no_fallback_of_its_own() -> None:
    with pytest.raises(SecretNotFound):
        Resolver([Place("place", "value")]).resolve(SecretReference(secret_ref="old", next="s"))


def test_a_lease_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="engine: dynamic"):
        Resolver([Place("place", "value")]).resolve(SecretReference(secret_ref="s", engine="dynamic"))
