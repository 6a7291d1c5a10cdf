from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import SecretStr

from credbroker.context import Context, Lease
from credbroker.errors import ConfigurationError, CredbrokerError, IssuerUnavailable, SecretNotFound
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


@pytest.mark.parametrize("error", [ConfigurationError("no address"), IssuerUnavailable("it is sealed")])
def test_a_place_that_cannot_tell_hides_none_before_it_and_sends_to_none_behind_it(error: CredbrokerError) -> None:
    class Unusable:
        def look(self, reference: SecretReference, context: Context) -> Lookup:
            raise error

    behind = Place("behind", "value")
    with pytest.raises(type(error), match=f"^secret 's': not in first; {error.message}$") as caught:
        Resolver([Place("first"), Unusable(), behind], Context()).resolve(REFERENCE)
    assert caught.value.retryable is error.retryable
    assert behind.looks == 0


def test_what_a_backend_lacks_itself_does_not_mean_that_the_secret_is_gone() -> None:
    class LoggedOut:
        def look(self, reference: SecretReference, context: Context) -> Lookup:
            raise SecretNotFound("secret 'login' not found")

    with pytest.raises(ConfigurationError, match=r"^secret .s.: secret .login. not found$"):
        Resolver([LoggedOut()], Context()).resolve(REFERENCE)


def test_without_a_backend_nothing_is_found() -> None:
    with pytest.raises(SecretNotFound, match="no backend is set"):
        Resolver([], Context()).resolve(REFERENCE)


def test_the_next_secret_is_no_fallback_of_its_own() -> None:
    with pytest.raises(SecretNotFound):
        Resolver([Place("place", "value")], Context()).resolve(SecretReference(secret_ref="old", next="s"))


class Vault(Place):
    """A backend that gives leases too."""

    def __init__(self, name: str, lease: str | None = None) -> None:
        super().__init__(name)
        self.given = lease
        self.revoked: list[str] = []

    def lease(self, reference: SecretReference, context: Context) -> Lease | Lookup:
        return Lookup(self.name) if self.given is None else Lease(SecretStr("login"), timedelta(minutes=1), self.given)

    def revoke(self, lease: str, context: Context) -> bool:
        self.revoked += [lease] if lease == self.given else []
        return lease == self.given


LEASED = SecretReference(secret_ref="s", engine="dynamic")


def test_a_lease_is_no_secret_and_comes_from_the_first_vault_that_knows_the_name() -> None:
    other, vault = Vault("other"), Vault("vault", "lease-1")
    resolver = Resolver([Place("place", "value"), other, vault], Context())
    with pytest.raises(ConfigurationError, match="engine: dynamic"):
        resolver.resolve(LEASED)
    lease = resolver.lease(LEASED)
    assert lease.name.endswith(" lease-1")
    resolver.revoke(lease.name)
    assert (other.revoked, vault.revoked) == ([], ["lease-1"])
    with pytest.raises(ConfigurationError, match="not among secret_backends"):
        resolver.revoke("lease-2")


def test_a_lease_is_ended_where_it_was_given_whatever_another_backend_calls_its_own() -> None:
    class Sly(Vault):
        def revoke(self, lease: str, context: Context) -> bool:
            self.revoked.append(lease)
            return True

    first, second = Sly("first"), Vault("second", "lease-1")
    resolver = Resolver([first, second], Context(), ("one", "two"))
    name = resolver.lease(LEASED).name
    resolver.within(Context()).revoke(name)
    assert (first.revoked, second.revoked) == ([], ["lease-1"])
    with pytest.raises(ConfigurationError, match="not among secret_backends"):
        Resolver([second], Context(), ("three",)).revoke(name)


def test_what_is_there_and_cannot_be_read_is_not_passed_over() -> None:
    class Spoilt:
        def look(self, reference: SecretReference, context: Context) -> Lookup:
            return Lookup("first", reason="it is not UTF-8 text", there=True)

    behind = Place("behind", "value")
    with pytest.raises(SecretNotFound, match=r"tried first \(it is not UTF-8 text\): create it"):
        Resolver([Spoilt(), behind], Context()).resolve(REFERENCE)
    assert behind.looks == 0


def test_without_a_vault_there_is_no_lease() -> None:
    with pytest.raises(ConfigurationError, match="add one of type 'vault'"):
        Resolver([Place("place", "value")], Context()).lease(LEASED)
    with pytest.raises(SecretNotFound, match="secret 's' not found: tried vault: create the role"):
        Resolver([Vault("vault")], Context()).lease(LEASED)


def test_within_a_flight_the_time_is_the_flights_and_the_world_the_resolvers_own() -> None:
    class Asking:
        def look(self, reference: SecretReference, context: Context) -> Lookup:
            return Lookup("here", SecretStr(f"{context.remaining():g} {context.environment.variable('X')}"))

    class Variables:
        def variable(self, name: str) -> str:
            return name

    own = Context(environment=Variables())  # type: ignore[arg-type]  # only variables are read
    resolver = Resolver([Asking()], own).within(Context(remaining=lambda: 3.0))
    assert resolver.resolve(REFERENCE).get_secret_value() == "3 X"
