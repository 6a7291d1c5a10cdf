from __future__ import annotations

import pytest
from pydantic import SecretStr

from credbroker.context import Context
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

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        self.looks += 1
        secret = SecretStr(self.value) if self.value is not None and reference.secret_ref == "s" else None
        return Lookup(self.name, secret)


REFERENCE = SecretReference(secret_ref="s")


def test_the_first_backend_that_has_it_wins() -> None:
    first, second, third = Place("first"), Place("second", "two"), Place("third", "three")
    assert Resolver([first, second, third], Context()).resolve(REFERENCE).get_secret_value() == "two"
    assert (first.looks, second.looks, third.looks) == (1, 1, 0)


def test_it_asks_afresh_each_time() -> None:
    place = Place("place", "one")
    resolver = Resolver([place], Context())
    assert resolver.resolve(REFERENCE).get_secret_value() == "one"
    place.value = "two"
    assert resolver.resolve(REFERENCE).get_secret_value() == "two"


def test_the_error_names_every_place_in_order() -> None:
    with pytest.raises(SecretNotFound, match="secret 's' not found: tried first, then second"):
        Resolver([Place("first"), Place("second")], Context()).resolve(REFERENCE)


def test_the_error_names_the_place_that_asks_and_the_remedy() -> None:
    with pytest.raises(SecretNotFound) as caught:
        Resolver([Place("first")], Context()).resolve(SecretReference(secret_ref="x").placed("p.yaml:3: storage.a.uri"))
    assert str(caught.value) == (
        "p.yaml:3: storage.a.uri: secret 'x' not found: tried first: create it in one of these places, or correct its name"
    )


def test_a_place_that_cannot_be_used_hides_none_before_it() -> None:
    class Unusable:
        def look(self, reference: SecretReference, context: Context) -> Lookup:
            raise ConfigurationError("vault is not supported")

    with pytest.raises(ConfigurationError, match=r"^secret 's' not found: tried first, then vault is not supported$"):
        Resolver([Place("first"), Unusable(), Place("never")], Context()).resolve(REFERENCE)


def test_without_a_backend_nothing_is_found() -> None:
    with pytest.raises(SecretNotFound, match="no backend is set"):
        Resolver([], Context()).resolve(REFERENCE)


def test_the_next_secret_is_no_fallback_of_its_own() -> None:
    with pytest.raises(SecretNotFound):
        Resolver([Place("place", "value")], Context()).resolve(SecretReference(secret_ref="old", next="s"))


def test_a_lease_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="engine: dynamic"):
        Resolver([Place("place", "value")], Context()).resolve(SecretReference(secret_ref="s", engine="dynamic"))
