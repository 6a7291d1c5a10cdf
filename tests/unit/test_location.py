from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credbroker.errors import ConfigurationError
from credbroker.location import Location, covering, outermost


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("s3://lake", "s3://lake/"),
        ("s3://lake/", "s3://lake/"),
        ("s3://lake/sales", "s3://lake/sales/"),
        ("s3a://lake/sales/", "s3://lake/sales/"),
        ("S3N://lake/sales/", "s3://lake/sales/"),
        ("gs://lake_1/a b/ü", "gs://lake_1/a b/ü/"),
        ("abfs://data@account1.dfs.core.windows.net/x", "abfss://data@account1.dfs.core.windows.net/x/"),
        ("abfss://data@account1.dfs.core.windows.net/x", "abfss://data@account1.dfs.core.windows.net/x/"),
        ("s3://lake/f*/${x}/50%", "s3://lake/f*/${x}/50%/"),
        ("s3://lake/a\\b/...", "s3://lake/a\\b/.../"),
        ("s3://" + "a" * 63, "s3://" + "a" * 63 + "/"),
        ("s3://a-b/", "s3://a-b/"),
        ("gs://" + "a" * 222, "gs://" + "a" * 222 + "/"),
        ("s3://lake/" + "é" * 512, "s3://lake/" + "é" * 512 + "/"),
    ],
)
def test_a_location_has_one_canonical_form(text: str, canonical: str) -> None:
    assert str(Location.parse(text)) == canonical
    assert Location.parse(canonical) == Location.parse(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("lake/sales", "begin with"),
        ("https://lake/sales", "begin with"),
        ("s3://lake/sales?versionId=1", "query"),
        ("s3://lake/sales#x", "query"),
        ("s3://user@lake/sales", "userinfo"),
        ("s3://lake:9000/sales", "userinfo or a port"),
        ("s3://la*ke/sales", "naming rules"),
        ("s3:///sales", "naming rules"),
        ("s3://Lake/sales", "naming rules"),
        ("s3://la..ke/sales", "naming rules"),
        ("s3://lake//sales", "blank"),
        ("s3://lake/sales//", "blank"),
        ("s3://lake/ /x", "blank"),
        ("s3://lake/./x", "'.' or '..'"),
        ("s3://lake/a/../b", "'.' or '..'"),
        ("s3://lake/a/%2e%2E/b", "'.' or '..'"),
        ("s3://lake/a/%252e%252e/b", "'.' or '..'"),
        ("s3://lake/a%2Fb", "slash"),
        ("s3://lake/a%252fb", "slash"),
        ("s3://lake/a%5Cb", "slash"),
        ("s3://lake/a\nb", "control"),
        ("s3://lake/a%0Ab", "control"),
        ("s3://lake/a\x7fb", "control"),
        ("s3://lake/\ud800", "surrogate"),
        ("s3://lake/a%ed%a0%80b", "control"),
        ("s3://lake/a%c0%aeb", "control"),
        ("s3://lake/%e3%80%80/x", "blank"),
        ("s3://lake/" + "a" * 1025, "longer"),
        ("s3://lake/" + "é" * 513, "longer"),
        ("s3://la", "naming rules"),
        ("s3://" + "a" * 64, "naming rules"),
        ("s3://la_ke/x", "naming rules"),
        ("s3://-lake/x", "naming rules"),
        ("s3://lake-/x", "naming rules"),
        ("gs://" + "a" * 223, "naming rules"),
        ("gs://user@lake/x", "userinfo"),
        ("s3:/lake/x", "begin with"),
        ("s3://lake/a://b", "blank"),
        ("s3://lake%2Fsales/x", "naming rules"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Location.parse(text)
    assert caught.value.message.startswith(f"the location {text!r} is refused: ")


@pytest.mark.parametrize(
    "text",
    [
        "abfss://data@account1.dfs.core.windows.net/",
        "abfss://a-b@account1.dfs.core.chinacloudapi.cn/x/",
        "abfss://" + "a" * 63 + "@" + "b" * 24 + ".dfs.core.usgovcloudapi.net/",
        "abfss://" + "-".join("a" * 32) + "@account1.dfs.core.windows.net/",
        "abfss://data@acc.z07.dfs.storage.azure.net/x/",
        "abfss://0f6b1e6e-7c4e-4b0a-9a55-3a0b1f1f2c11@onelake.dfs.fabric.microsoft.com/x/",
        "abfss://data@account1.dfs.core.windows.net/.a/a.b/..a/a%20b/50%/",
        "abfss://data@account1.dfs.core.windows.net/" + "/".join("d" * 254) + "/",
    ],
)
def test_an_adls_location_is_taken_as_it_is(text: str) -> None:
    assert str(Location.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("abfss://data/x", "must name container@account"),
        ("abfss://data@/x", "must name container@account"),
        ("abfss://$root@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://$web@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://$logs@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://Data@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://ab@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://" + "a" * 64 + "@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://a--b@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://-ab@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://ab-@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://a.b@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://data%2Fx@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://@account1.dfs.core.windows.net/x", "container's name"),
        ("abfss://data@Account1.dfs.core.windows.net/x", "host"),
        ("abfss://data@account1.dfs.core.windows.net:443/x", "host"),
        ("abfss://data@account1.dfs.core.windows.net./x", "host"),
        ("abfss://data@x@account1.dfs.core.windows.net/x", "host"),
        ("abfss://data@127.0.0.1/x", "host"),
        ("abfss://data@account1.dfs.10.0.0.1/x", "host"),
        ("abfss://data@[::1]/x", "host"),
        ("abfss://data@localhost/x", "host"),
        ("abfss://data@account1.blob.core.windows.net/x", "host"),
        ("abfss://data@account1-secondary.dfs.core.windows.net/x", "host"),
        ("abfss://data@account1.evil.dfs.core.windows.net/x", "host"),
        ("abfss://data@account1.dfs/x", "host"),
        ("abfss://data@account1.dfs.net/x", "host"),
        ("abfss://data@account1.dfs..windows.net/x", "host"),
        ("abfss://data@account1.dfs.-core.windows.net/x", "host"),
        ("abfss://data@account1.dfs." + "c" * 64 + ".windows.net/x", "host"),
        ("abfss://data@ab.dfs.core.windows.net/x", "host"),
        ("abfss://data@" + "b" * 25 + ".dfs.core.windows.net/x", "host"),
        ("abfss://data@account1.dfs.core.windows.net/a.", "ends with '.'"),
        ("abfss://data@account1.dfs.core.windows.net/a./b", "ends with '.'"),
        ("abfss://data@account1.dfs.core.windows.net/.../b", "ends with '.'"),
        ("abfss://data@account1.dfs.core.windows.net/a%2e/b", "ends with '.'"),
        ("abfss://data@account1.dfs.core.windows.net/a%252E/b", "ends with '.'"),
        ("abfss://data@account1.dfs.core.windows.net/a\\b", "backslash"),
        ("abfss://data@account1.dfs.core.windows.net/\\", "backslash"),
        ("abfss://data@account1.dfs.core.windows.net/a%5Cb", "slash"),
        ("abfss://data@account1.dfs.core.windows.net/a%255Cb", "slash"),
        ("abfss://data@account1.dfs.core.windows.net/a%2Fb", "slash"),
    ],
)
def test_an_adls_location_that_azure_would_read_as_another_is_refused(text: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Location.parse(text)
    assert repr(text) in caught.value.message


def test_a_hosts_length_costs_no_time() -> None:
    """A catalog may send any text: a pattern that tried every split of it would be the catalog's to stall."""
    for host in ("a." * 50_000, "account1.dfs" + ".a-a" * 50_000 + "!", "account1.dfs." + "a" * 200_000):
        with pytest.raises(ConfigurationError, match="host"):
            Location.parse(f"abfss://data@{host}/x")
    with pytest.raises(ConfigurationError, match="container's name"):
        Location.parse("abfss://" + "a-" * 100_000 + "@account1.dfs.core.windows.net/x")


@pytest.mark.parametrize("broken", ["a\u2028b", "a\u2029b", "a%E2%80%A8b", "a%25E2%2580%25A9b"])
@pytest.mark.parametrize("root", ["s3://lake", "gs://lake", "abfss://data@account1.dfs.core.windows.net"])
def test_a_line_break_that_is_no_control_is_refused_too(root: str, broken: str) -> None:
    with pytest.raises(ConfigurationError, match="line break"):
        Location.parse(f"{root}/{broken}")


@pytest.mark.parametrize("control", "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_a_name_that_would_be_read_in_another_order_is_refused_and_shown_by_its_number(control: str) -> None:
    for written in (control, "".join(f"%{byte:02x}" for byte in control.encode())):
        with pytest.raises(ConfigurationError, match="control character") as caught:
            Location.parse(f"gs://lake/a{written}b")
        assert control not in caught.value.message
    assert Location.parse("gs://lake/a\u200cb\u200dX").key == "a\u200cb\u200dX"  # joiners, which some scripts need


def test_a_bucket_is_refused_by_the_rule_of_its_own_store() -> None:
    assert Location.parse("gs://lake_two/x").bucket == "lake_two"
    with pytest.raises(ConfigurationError, match=r"\(3 to 222 of a-z, 0-9, '\.', '-', '_'\)$"):
        Location.parse("gs://Lake/x")
    with pytest.raises(ConfigurationError, match=r"\(3 to 63 of a-z, 0-9, '\.', '-'\)$"):
        Location.parse("s3://lake_two/x")


def test_a_refusal_shows_the_location_with_nothing_in_it_that_a_terminal_would_obey() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Location.parse("s3://lake/a\x1b[2J\u202eb")
    assert caught.value.message == (
        r"the location 's3://lake/a\x1b[2J\u202eb' is refused: it has a control character, line break or lone surrogate"
        " (U+001B)"
    )


@pytest.mark.parametrize("given_", [None, 5, b"s3://lake/x", ["s3://lake/x"]])
def test_what_is_no_text_is_refused_by_its_type(given_: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"not {type(given_).__name__}"):
        Location.parse(given_)


def test_the_root_of_a_bucket_has_no_segments_and_no_prefix() -> None:
    root, deep = Location.parse("s3://lake"), Location.parse("s3://lake/a/b")
    assert (root.segments, root.prefix, root.key) == ((), "", "")
    assert (deep.segments, deep.prefix, deep.key) == (("a", "b"), "a/b/", "a/b")
    assert root.contains(deep)
    assert not deep.contains(root)


def test_the_outermost_are_named_once_and_in_their_order() -> None:
    locations = [Location.parse(f"s3://lake/{key}") for key in ("b/c", "a", "b", "a", "a2", "a/x")]
    assert [location.key for location in outermost(locations)] == ["a", "b", "a2"]
    assert outermost([]) == ()


def test_containment_is_by_segments() -> None:
    sales = Location.parse("s3://lake/sales")
    assert sales.contains(Location.parse("s3://lake/sales/2026"))
    assert sales.contains(sales)
    assert not sales.contains(Location.parse("s3://lake/sales2"))
    assert not sales.contains(Location.parse("s3://lake"))
    assert not sales.contains(Location.parse("s3://other/sales"))
    assert not sales.contains(Location.parse("gs://lake/sales"))


def test_the_longest_location_that_contains_is_chosen() -> None:
    held = tuple(Location.parse(text) for text in ("s3://lake/a", "s3://lake/a/b", "s3://lake/a/bcd/efg"))
    assert covering(held, Location.parse("s3://lake/a/b/c")) == held[1]
    assert covering(held, Location.parse("s3://lake/b")) is None


@given(st.text(max_size=40))
def test_a_parsed_key_is_the_text_itself_or_refused(key: str) -> None:
    try:
        location = Location.parse(f"s3://lake/{key}")
    except ConfigurationError:
        return
    assert location.key == key.removesuffix("/")
    assert Location.parse(str(location)) == location
    assert "" not in location.segments
