"""A location has one reading: whoever decodes it, however often, finds the segments that were compared."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from credbroker.errors import ConfigurationError
from credbroker.location import Location, covering, outermost

ROOTS = ("s3://lake", "s3a://lake", "gs://lake_1", "abfss://data@account1.dfs.core.windows.net")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def decoded(raw: bytes) -> bytes:
    """One percent-decoding, on bytes as a server does it (RFC 3986 section 2.1)."""
    return _ESCAPE.sub(lambda found: bytes.fromhex(found.group(1).decode()), raw)


def decodings(text: str) -> list[bytes]:
    """The text and what it becomes by one decoding after the other, until there is nothing left to decode."""
    forms = [text.encode()]
    while (form := decoded(forms[-1])) != forms[-1]:
        forms.append(form)
    return forms


def encoded(draw: st.DrawFn, text: str) -> str:
    """Some of its characters percent-encoded, in upper or lower case."""
    return "".join(
        "".join(f"%{byte:02{'x' if draw(st.booleans()) else 'X'}}" for byte in character.encode())
        if draw(st.booleans())
        else character
        for character in text
    )


# --- the names --------------------------------------------------------------------------------------------------------

pieces = st.sampled_from(
    [
        "a", "b2", ".", "..", "/", "//", "\\", " ", "%", "%2", "%2e", "%2E", "%252e", "%2f", "%5c", "%00", "%0a", "%20",
        "%25", "%c3%a9", "%ff", "%e2%80%a8", "%u002e", "\u00e9", "\u3000", "\u2028", "\u0085", "\uff0e", "\uff0f", "\u2024",
        "~", "+", "*", "'", "$", "{", "\U0001f600",
    ]
)  # fmt: skip
keys = st.one_of(st.lists(pieces, max_size=8).map("".join), st.text(max_size=30))
names = st.sampled_from(["a", "b", "ab", "a*", "..a", "a%20", "\u00e9"])
trees = st.builds(
    lambda scheme, bucket, path: Location(scheme, bucket, "/".join(path)),
    st.sampled_from(["s3", "gs"]),
    st.sampled_from(["lake", "lake2"]),
    st.lists(names, max_size=4),
)
many = st.lists(trees, max_size=6)


# --- parse ------------------------------------------------------------------------------------------------------------


@given(st.sampled_from(ROOTS), keys)
@example("s3://lake", "a/%2e%2e/b")
@example("s3://lake", "%%32%65")
@example("gs://lake_1", "a/%e2%80%83/b")
def test_nothing_that_is_accepted_becomes_another_path_by_any_number_of_decodings(root: str, key: str) -> None:
    try:
        location = Location.parse(f"{root}/{key}")
    except ConfigurationError:
        return
    for form in decodings(location.key):
        assert form.decode() is not None  # what is no UTF-8 is read in as many ways as there are readers
        segments = form.decode().split("/") if form else []
        assert len(segments) == len(location.segments)
        assert not [segment for segment in segments if segment.strip() in ("", ".", "..")]
        assert not [character for character in form.decode() if unicodedata.category(character) in ("Cc", "Cs")]
    assert b"\\" not in decodings(location.key)[-1] or "\\" in location.key


@given(st.data(), st.sampled_from(ROOTS), st.sampled_from([".", "..", " ", "\u2003", "/", "\\", "\n", "\x7f", "\x85"]))
def test_what_is_refused_stays_refused_in_every_encoding_of_it(data: st.DataObject, root: str, bad: str) -> None:
    @st.composite
    def layers(draw: st.DrawFn) -> str:
        text = encoded(draw, bad)
        for _ in range(draw(st.integers(0, 3))):
            text = encoded(draw, text)
        return text

    written = data.draw(layers())
    assume(written not in ("/", "\\"))  # a plain slash ends a segment, and a plain backslash is a sign like others
    for key in (written, f"a/{written}", f"{written}/a", f"a/{written}/b"):
        with pytest.raises(ConfigurationError, match="is refused"):
            Location.parse(f"{root}/{key}/x")


@given(st.sampled_from(ROOTS), keys)
def test_parsing_what_was_parsed_changes_nothing(root: str, key: str) -> None:
    try:
        location = Location.parse(f"{root}/{key}")
    except ConfigurationError:
        return
    assert location.key == key.removesuffix("/")
    again = Location.parse(str(location))
    assert (again, str(again), hash(again)) == (location, str(location), hash(location))
    assert Location.parse(location) == location
    assert location.prefix == "".join(f"{segment}/" for segment in location.segments)
    assert str(location).removesuffix("/") == f"{location.scheme}://{location.bucket}/{location.key}".removesuffix("/")


@given(st.sampled_from(["s3", "gs"]), st.sampled_from(["lake", "la/ke", "lake?", "*", ""]), keys)
@example("s3", "lake", "a/../b")
@example("s3", "lake", "a/")
def test_a_location_that_was_made_by_hand_is_one_that_a_text_could_give_or_refused(
    scheme: str, bucket: str, key: str
) -> None:
    made = Location(scheme, bucket, key)
    try:
        assert Location.parse(made) == Location.parse(f"{scheme}://{bucket}/{key}/" if key else f"{scheme}://{bucket}")
    except ConfigurationError:
        return
    assert Location.parse(made) == made


@given(
    st.sampled_from(["s3://lake", "gs://lake_1"]),
    st.lists(
        st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="/?#%\\."), min_size=1, max_size=8),
        max_size=4,
    ),
)
def test_a_name_of_letters_digits_and_signs_is_accepted_as_it_stands(root: str, path: list[str]) -> None:
    """Also what only looks like a dot or a slash: S3 and Cloud Storage compare bytes and normalise nothing."""
    assert Location.parse(f"{root}/{'/'.join(path)}").segments == tuple(path)


@pytest.mark.parametrize("lookalike", ["\uff0e\uff0e", "\u2025", "\u2024\u2024", "a\uff0f..\uff0fb"])
def test_what_a_normalisation_would_turn_into_dots_or_slashes_is_a_name_like_any_other(lookalike: str) -> None:
    location = Location.parse(f"gs://lake_1/a/{lookalike}/b")
    assert location.segments == ("a", lookalike, "b")
    assert Location.parse("gs://lake_1/a").contains(location)
    assert not Location.parse("gs://lake_1/b").contains(location)


# --- containment ------------------------------------------------------------------------------------------------------


@given(trees, trees)
@example(Location("s3", "lake", "a"), Location("s3", "lake", "ab"))
@example(Location("s3", "lake", ""), Location("s3", "lake2", "a"))
def test_a_location_contains_exactly_what_begins_with_it_slash_included(outer: Location, inner: Location) -> None:
    assert outer.contains(inner) == str(inner).startswith(str(outer))
    assert outer.contains(outer)
    assert not (outer.contains(inner) and inner.contains(outer)) or outer == inner


@given(many)
def test_the_outermost_say_the_same_in_less(locations: list[Location]) -> None:
    kept = outermost(locations)
    assert set(kept) <= set(locations)
    for location in locations:
        assert sum(other.contains(location) for other in kept) == 1  # covered, and by none twice
    assert list(kept) == [location for location in dict.fromkeys(locations) if location in kept]  # in their order
    assert outermost(kept) == kept


@given(many, trees)
def test_nothing_is_won_or_lost_by_taking_the_outermost(locations: list[Location], probe: Location) -> None:
    held = any(location.contains(probe) for location in locations)
    assert any(location.contains(probe) for location in outermost(locations)) == held


@given(many, trees)
def test_what_covers_contains_first_and_is_the_longest_second(locations: list[Location], wanted: Location) -> None:
    found = covering(tuple(locations), wanted)
    holding = [location for location in locations if str(wanted).startswith(str(location))]
    if found is None:
        assert not holding
    else:
        assert len(str(found)) == max(len(str(location)) for location in holding)
        assert found in holding
