from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydantic import SecretStr

from credbroker.credentials import DelegationKey
from credbroker.errors import ConfigurationError, InsufficientLifetime, MalformedResponse
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.adls import DEEPEST_DIRECTORY, SERVICE_VERSION, granted, sas_fields, sign

LAKE = "abfss://lake@acme.dfs.core.windows.net"
SECRET = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I="
NOON = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)
KEY = DelegationKey(
    oid="11059fcc-5514-4800-b5f8-49808b9cfab6",
    tid="ab1f708d-50f6-404c-a006-d71b2ac7a606",
    start=NOON - timedelta(minutes=15),
    expiry=NOON + timedelta(hours=2),
    service="b",
    version="2025-11-05",
    value=SecretStr(SECRET),
)
# Signed by azure-storage-file-datalake 12.20.0 and azure-storage-blob 12.25.1, with the service version set to ours.
DIRECTORY_SIGNATURE = "SAAdqkxddLMpjDAbS4a/cf0aehRwxsE+OLdzc5QR0bo="
CONTAINER_SIGNATURE = "DbmQGm3ocOk9XInhVkaIazaC1SfXMyPUGNMpBMCRXCQ="


def at(*uris: str) -> tuple[Location, ...]:
    return tuple(Location.parse(uri) for uri in uris)


def query(fields: dict[str, object], expires_at: datetime = NOON + timedelta(hours=1)) -> dict[str, str]:
    return dict(parse_qsl(sign(fields, KEY, expires_at).get_secret_value(), strict_parsing=True))


# --- what is opened ---------------------------------------------------------------------------------------------------


def test_a_prefix_is_a_directory_of_its_depth() -> None:
    assert sas_fields(at(f"{LAKE}/sales/orders"), Access.READ) == {
        "sv": "2020-12-06",
        "sr": "d",
        "sdd": 2,
        "sp": "rl",
        "spr": "https",
        "canonicalizedResource": "/blob/acme/lake/sales/orders",
    }


def test_a_containers_root_is_the_container() -> None:
    assert sas_fields(at(f"{LAKE}/"), Access.READ) == {
        "sv": "2020-12-06",
        "sr": "c",
        "sp": "rl",
        "spr": "https",
        "canonicalizedResource": "/blob/acme/lake",
    }


def test_a_prefix_is_the_whole_container_where_the_profile_allows_that_and_the_grant_says_so() -> None:
    asked = at(f"{LAKE}/sales/orders")
    assert sas_fields(asked, Access.READ, allow_container_scope=True) == sas_fields(at(LAKE), Access.READ)
    assert granted(asked, allow_container_scope=True) == Location.parse(LAKE)
    assert granted(asked) == asked[0]


@pytest.mark.parametrize(("access", "letters"), [(Access.READ, "rl"), (Access.WRITE, "cwdl"), (Access.READ_WRITE, "rcwdl")])
def test_each_access_has_its_own_letters_in_the_services_order(access: Access, letters: str) -> None:
    assert sas_fields(at(f"{LAKE}/sales"), access)["sp"] == letters


def test_the_path_is_signed_as_it_is_and_not_percent_encoded() -> None:
    fields = sas_fields(at(f"{LAKE}/été/a b/50%/x=1&sp=rwd"), Access.READ)
    assert fields["canonicalizedResource"] == "/blob/acme/lake/été/a b/50%/x=1&sp=rwd"
    assert fields["sdd"] == 4


@pytest.mark.parametrize(
    ("host", "account"),
    [("acme.dfs.core.windows.net", "acme"), ("acme.z01.dfs.storage.azure.net", "acme"), ("a2.dfs.core.windows.net", None)],
)
def test_the_account_is_the_first_name_of_its_host(host: str, account: str | None) -> None:
    text = f"abfss://lake@{host}/x"
    if account is None:
        with pytest.raises(ConfigurationError, match="host"):
            Location.parse(text)
    else:
        assert sas_fields(at(text), Access.READ)["canonicalizedResource"] == f"/blob/{account}/lake/x"


def test_locations_inside_one_of_them_are_that_one() -> None:
    asked = at(f"{LAKE}/a/b", f"{LAKE}/a", f"{LAKE}/a/", f"{LAKE}/a/c/d")
    assert granted(asked) == Location.parse(f"{LAKE}/a")
    assert sas_fields(iter(asked), Access.WRITE) == sas_fields(at(f"{LAKE}/a"), Access.WRITE)


def test_siblings_are_refused_and_never_widened_to_their_parent() -> None:
    with pytest.raises(ConfigurationError) as caught:
        sas_fields(at(f"{LAKE}/a/b", f"{LAKE}/a/c"), Access.READ)
    assert caught.value.message == (
        "one SAS opens one directory, and these are 2: ask for one location each "
        "(abfss://lake@acme.dfs.core.windows.net/a/b/, abfss://lake@acme.dfs.core.windows.net/a/c/)"
    )


def test_siblings_share_the_container_where_the_profile_allows_it_but_two_containers_do_not() -> None:
    assert granted(at(f"{LAKE}/a/b", f"{LAKE}/a/c"), allow_container_scope=True) == Location.parse(LAKE)
    pond = "abfss://pond@acme.dfs.core.windows.net/a"
    with pytest.raises(ConfigurationError, match="one SAS opens one container, and these are 2") as caught:
        granted(at(f"{LAKE}/a", pond), allow_container_scope=True)
    assert f"{LAKE}/a/" in caught.value.message
    assert pond in caught.value.message


def test_one_container_of_two_accounts_is_two() -> None:
    with pytest.raises(ConfigurationError, match="one directory"):
        granted(at(f"{LAKE}/a", "abfss://lake@other.dfs.core.windows.net/a"))


@pytest.mark.parametrize("wide", [False, True])
def test_no_location_is_refused(wide: bool) -> None:
    with pytest.raises(ConfigurationError, match="a SAS for no location is refused"):
        sas_fields([], Access.READ, allow_container_scope=wide)


@pytest.mark.parametrize("uri", ["s3://lake/sales", "gs://lake/sales"])
@pytest.mark.parametrize("wide", [False, True])
def test_another_store_is_refused(uri: str, wide: bool) -> None:
    with pytest.raises(ConfigurationError, match=f"{uri}/ is not on ADLS"):
        granted(at(f"{LAKE}/a", uri), allow_container_scope=wide)


def test_the_deepest_directory_is_opened_and_one_below_it_refused() -> None:
    deepest = f"{LAKE}/" + "/".join("d" * DEEPEST_DIRECTORY)
    assert sas_fields(at(deepest), Access.READ)["sdd"] == 61
    with pytest.raises(ConfigurationError, match=r"/d/ is 62 directories deep: .* no more than 61"):
        sas_fields(at(f"{deepest}/d"), Access.READ)
    assert sas_fields(at(f"{deepest}/d"), Access.READ, allow_container_scope=True)["sr"] == "c"


# --- the key ----------------------------------------------------------------------------------------------------------


def test_the_key_shows_nothing_and_is_not_carried_away() -> None:
    assert repr(KEY) == f"<DelegationKey {KEY.fingerprint} expires_at=2026-08-01T14:00:00+00:00>"
    assert SECRET not in f"{KEY} {KEY!r} {[KEY]}"
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            carry(KEY)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"oid": ""}, "oid is no identifier"),
        ({"oid": "a\nb"}, "oid is no identifier"),
        ({"oid": "a&sp=racwdl"}, "oid is no identifier"),
        ({"oid": "a" * 65}, "oid is no identifier"),
        ({"tid": "a\n"}, "tid is no identifier"),
        ({"tid": "a b"}, "tid is no identifier"),
        ({"service": "q"}, "not for blob storage"),
        ({"service": "b\nb"}, "not for blob storage"),
        ({"version": "2025-11-05\n"}, "version is no service version"),
        ({"version": "new"}, "version is no service version"),
        ({"start": datetime(2026, 8, 1, 12, 0, 0)}, "start is no whole second"),  # noqa: DTZ001
        ({"expiry": datetime(2026, 8, 1, 12, 0, 0)}, "expiry is no whole second"),  # noqa: DTZ001
        ({"start": NOON.replace(microsecond=1)}, "start is no whole second"),
        ({"expiry": NOON.replace(microsecond=999_999)}, "expiry is no whole second"),
        ({"value": SecretStr("not base64")}, "value is no base64"),
        ({"value": SecretStr(SECRET[:-2])}, "value is no base64"),
    ],
)
def test_a_key_that_the_service_cannot_have_given_is_refused_without_its_value(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(MalformedResponse, match=rule) as caught:
        replace(KEY, **changes)
    assert SECRET[:8] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_key_does_not_change_after_it_was_checked() -> None:
    with pytest.raises(AttributeError):
        KEY.oid = "a\nb"  # type: ignore[misc]
    assert not hasattr(KEY, "__dict__")


def test_an_identifier_of_64_characters_is_one() -> None:
    assert replace(KEY, oid="a" * 64).oid == "a" * 64


# --- the signature ----------------------------------------------------------------------------------------------------


def test_a_directory_is_signed_as_microsofts_sdk_signs_it() -> None:
    assert query(sas_fields(at(f"{LAKE}/sales/été & co"), Access.READ_WRITE)) == {
        "sv": SERVICE_VERSION,
        "sr": "d",
        "sdd": "2",
        "sp": "rcwdl",
        "spr": "https",
        "se": "2026-08-01T13:00:00Z",
        "skoid": KEY.oid,
        "sktid": KEY.tid,
        "skt": "2026-08-01T11:45:00Z",
        "ske": "2026-08-01T14:00:00Z",
        "sks": "b",
        "skv": "2025-11-05",
        "sig": DIRECTORY_SIGNATURE,
    }


def test_a_container_is_signed_as_microsofts_sdk_signs_it() -> None:
    signed = query(sas_fields(at(LAKE), Access.READ))
    assert (signed["sr"], signed["sig"]) == ("c", CONTAINER_SIGNATURE)
    assert "sdd" not in signed


def test_it_is_a_query_string_of_encoded_values_and_the_resource_is_not_sent() -> None:
    sas = sign(sas_fields(at(f"{LAKE}/sales"), Access.READ), KEY, NOON + timedelta(hours=1)).get_secret_value()
    assert sas.startswith("sv=2020-12-06&sr=d&sdd=1&sp=rl&spr=https&se=2026-08-01T13%3A00%3A00Z&skoid=")
    assert "canonicalizedResource" not in sas
    assert sas.endswith("%3D")
    assert not {"+", "/", " ", "?"} & set(sas)


def test_times_are_of_utc_whatever_zone_they_came_in() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    here = replace(KEY, start=KEY.start.astimezone(zone), expiry=KEY.expiry.astimezone(zone))
    fields, end = sas_fields(at(f"{LAKE}/sales"), Access.READ), NOON + timedelta(hours=1)
    assert sign(fields, here, end.astimezone(zone)) == sign(fields, KEY, end)


def test_it_may_last_as_long_as_the_key_and_not_a_second_longer() -> None:
    fields = sas_fields(at(f"{LAKE}/sales"), Access.READ)
    assert query(fields, KEY.expiry)["se"] == "2026-08-01T14:00:00Z"
    with pytest.raises(InsufficientLifetime) as caught:
        sign(fields, KEY, KEY.expiry + timedelta(seconds=1))
    assert caught.value.message == (
        "a SAS until 2026-08-01T14:00:01Z is asked of a user delegation key that ends at 2026-08-01T14:00:00Z"
    )


@pytest.mark.parametrize("end", [NOON.replace(microsecond=1), NOON.replace(tzinfo=None)])
def test_an_instant_that_could_be_told_otherwise_than_it_is_signed_is_refused(end: datetime) -> None:
    with pytest.raises(ConfigurationError, match=r"aware whole second: expires_at.replace\(microsecond=0\)"):
        sign(sas_fields(at(f"{LAKE}/sales"), Access.READ), KEY, end)


def test_a_line_break_in_a_path_is_refused_before_anything_is_signed() -> None:
    never_parsed = Location("abfss", "lake@acme.dfs.core.windows.net", "a\nb")
    with pytest.raises(ConfigurationError, match="line break"):
        sign(sas_fields([never_parsed], Access.READ), KEY, NOON)


def test_what_is_given_out_is_opaque() -> None:
    signed = sign(sas_fields(at(f"{LAKE}/sales"), Access.READ), KEY, NOON)
    assert isinstance(signed, SecretStr)
    assert "sig" not in f"{signed} {signed!r}"
