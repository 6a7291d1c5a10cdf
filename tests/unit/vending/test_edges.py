"""What a mutation run found open in the units beside this one (tests/mutation)."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from credbroker.credentials import DelegationKey
from credbroker.errors import ConfigurationError, MalformedResponse
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.adls import sign
from credbroker.vending.gcs import access_boundary

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)


def key(*, oid: str = "11059fcc-5514-4800-b5f8-49808b9cfab6", value: bytes = base64.b64encode(b"key")) -> DelegationKey:
    ends = NOW + timedelta(days=1)
    return DelegationKey(oid, "ab1f708d", NOW, ends, "b", "2025-11-05", SecretStr(value.decode()))


@pytest.fixture
def _nine_hours_ahead() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


def test_a_long_buckets_name_alone_may_be_too_much_for_the_objects_and_the_locations_are_named() -> None:
    """The condition on the objects has the bucket's name in it, the one on the listing has not."""
    locations = [Location("gs", "b" * 222, f"p{number}") for number in range(8)]
    with pytest.raises(ConfigurationError, match=r"characters, and Google takes 2048.*/p0/, gs://b+/p1/.*/p7/\)"):
        access_boundary(locations, Access.READ)


def test_an_identity_in_upper_case_is_one() -> None:
    assert key(oid="11059FCC-5514-4800-B5F8-49808B9CFAB6").oid == "11059FCC-5514-4800-B5F8-49808B9CFAB6"


@pytest.mark.parametrize("value", [b"a2V5!", b"a2\nV5", b"a2V5 ", b"a2V"])
def test_a_keys_value_with_anything_in_it_that_is_no_base64_is_refused(value: bytes) -> None:
    """A decoder that skips it would sign by another key than the service has."""
    with pytest.raises(MalformedResponse, match="no base64"):
        key(value=value)


@pytest.mark.usefixtures("_nine_hours_ahead")
def test_the_machines_own_time_zone_is_in_no_instant_that_is_signed() -> None:
    sas = sign({}, key(), NOW + timedelta(hours=1)).get_secret_value()
    assert "se=2026-08-01T13%3A00%3A00Z" in sas
    assert "skt=2026-08-01T12%3A00%3A00Z&ske=2026-08-02T12%3A00%3A00Z" in sas
