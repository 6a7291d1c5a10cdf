from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credbroker.errors import ConfigurationError
from credbroker.location import Location, covering


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("s3://lake", "s3://lake/"),
        ("s3://lake/", "s3://lake/"),
        ("s3://lake/sales", "s3://lake/sales/"),
        ("s3a://lake/sales/", "s3://lake/sales/"),
        ("S3N://lake/sales/", "s3://lake/sales/"),
        ("gs://lake_1/a b/ü", "gs://lake_1/a b/ü/"),
        ("abfss://data@account1.dfs.core.windows.net/x", "abfss://data@account1.dfs.core.windows.net/x/"),
        ("s3://lake/f*/${x}/50%", "s3://lake/f*/${x}/50%/"),
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
        ("s3://lake/" + "a" * 1025, "longer"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        Location.parse(text)


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
