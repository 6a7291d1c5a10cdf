"""The SAS against a judge written from Microsoft's pages, and against Microsoft's own signer.

Granted is exactly what lies under the asked directory, for each operation, whatever the names contain; and nothing that a
name contains becomes another field, in the query string or in what is signed.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from azure.storage.blob import UserDelegationKey
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.oracles import sas as oracle
from tests.oracles.sas import NEEDS, READING, WRITING, Request, allows, microsofts, parse, reading

from credbroker.credentials import DelegationKey
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.adls import DEEPEST_DIRECTORY, granted, sas_fields, sign

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)
KEY = DelegationKey(
    oid="11059fcc-5514-4800-b5f8-49808b9cfab6",
    tid="ab1f708d-50f6-404c-a006-d71b2ac7a606",
    start=NOW - timedelta(minutes=15),
    expiry=NOW + timedelta(days=1),
    service="b",
    version="2025-11-05",
    value=SecretStr(base64.b64encode(b"a key of thirty-two bytes, 12345").decode()),
)
END = NOW + timedelta(hours=1)
HOST = "dfs.core.windows.net"
FIELDS = ["sv", "sr", "sp", "spr", "se", "skoid", "sktid", "skt", "ske", "sks", "skv", "sig"]


def microsofts_key() -> UserDelegationKey:
    key = UserDelegationKey()
    key.signed_oid, key.signed_tid, key.signed_service, key.signed_version = KEY.oid, KEY.tid, KEY.service, KEY.version
    key.signed_start, key.signed_expiry = "2026-08-01T11:45:00Z", "2026-08-02T12:00:00Z"
    key.value = KEY.value.get_secret_value()
    return key


THEIRS = microsofts_key()


# --- the names --------------------------------------------------------------------------------------------------------

nasty = st.text(
    st.sampled_from("*?${}'\"%.aAb2 -_=+&;\u00e9\u0301\u00ff\u2028\u2029\ue000\uffff\U0001f600[]()|^:,#@~`!<>/\\"),
    min_size=1,
    max_size=6,
)
plain = st.text(st.sampled_from("ab2"), min_size=1, max_size=3)
special = st.sampled_from(
    [
        *("&sp=racwdl", "x&sr=c", "a?sdd=0", "a;sp=rwd", "sig=", "%26sp%3Dracwdl", "%0Asp", "a%2Eb", "%5C", "%2F", "%25"),
        *(
            "racwdl",
            "c",
            "\u2028racwdl\u2028",
            "\u0085",
            "a\nb",
            "a\r\nb",
            "a.",
            "a..",
            "a%2e",
            "a\\b",
            "...",
            "+",
            "a+b",
            "\u2024",
        ),
    ]
)
keys = st.lists(st.one_of(plain, plain, nasty, special), min_size=0, max_size=4).map("/".join)
containers = st.sampled_from(["lake", "lake2", "lake-2"])
accounts = st.sampled_from(["acme", "acme2"])


def parsed(key: str) -> Location | None:
    """The location of that key, without what a URI reads as query and fragment; None where it is refused."""
    try:
        Location.parse(f"abfss://lake@acme.{HOST}/" + key.replace("?", "-").replace("#", "-"))
    except ConfigurationError:
        return None
    return Location("abfss", f"lake@acme.{HOST}", key.removesuffix("/"))


@st.composite
def locations(draw: st.DrawFn) -> Location:
    """One that is taken, and "?" and "#" beside, which a URI cannot hold: the SAS does not lean on its caller."""
    names = []
    for name in draw(st.lists(st.one_of(plain, nasty, special), max_size=4)):
        kept = name.replace("/", "").replace("\\", "").rstrip(".")
        names += [kept] if kept and parsed(kept) else ["a"]
    return Location("abfss", f"{draw(containers)}@{draw(accounts)}.{HOST}", "/".join(names))


@st.composite
def near(draw: st.DrawFn, location: Location) -> tuple[str, str, str]:
    """An account, a container and a path that an attack would try."""
    container, _, host = location.bucket.partition("@")
    key = location.key
    other = draw(st.one_of(keys, plain))
    attempts = [
        f"{key}/{other}",
        f"{key}/{other}",
        f"{key}{other}",
        f"{key}.",
        f"{key}./{other}",
        f"{key}\\{other}",
        key.replace("/", "\\"),
        f"{key}/../{other}",
        f"{key}//{other}",
        quote(key, safe="") + "/" + other,
        key.rpartition("/")[0] + "/" + other,
        key.rpartition("/")[0],
        key.upper() + "/x",
        f"{other}/{key}/x",
        other,
        "",
    ]
    account = draw(st.sampled_from([host.partition(".")[0]] * 4 + ["acme", "acme2"]))
    return account, draw(st.sampled_from([container] * 4 + ["lake", "lake2"])), draw(st.sampled_from(attempts))


Case = tuple[Location, Access, tuple[str, str, str], str]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    location = draw(locations())
    return location, draw(st.sampled_from(Access)), draw(near(location)), draw(st.sampled_from(sorted(NEEDS)))


def at(path: str) -> Location:
    return Location("abfss", f"lake@acme.{HOST}", path)


def signed(location: Location, access: Access, *, allow_container_scope: bool = False) -> str:
    fields = sas_fields([location], access, allow_container_scope=allow_container_scope)
    return sign(fields, KEY, END).get_secret_value()


def under(location: Location, account: str, container: str, path: str) -> bool:
    """By text alone: the path, as the service reads it, begins with the location and goes on with a slash or ends."""
    read = "/" + "/".join(reading(path)) + "/"
    return location.bucket == f"{container}@{account}.{HOST}" and read.startswith(f"/{location.prefix}")


def allowed_by(access: Access, operation: str) -> bool:
    return operation in {Access.READ: READING, Access.WRITE: WRITING, Access.READ_WRITE: READING | WRITING}[access]


# --- the properties ---------------------------------------------------------------------------------------------------


@given(cases())
@example((at("sales"), Access.READ, ("acme", "lake", "sales2/x"), "read"))
@example((at("sales"), Access.READ, ("acme", "lake", "sales/x"), "read"))
@example((at("sales"), Access.READ, ("acme", "lake", "sales"), "list"))
@example((at("a/b"), Access.WRITE, ("acme", "lake", "a"), "list"))
@example((at("a/b"), Access.WRITE, ("acme", "lake", "a\\b\\c"), "create"))
@example((at("x&sp=racwdl"), Access.READ, ("acme", "lake", "x&sp=racwdl/y"), "delete"))
@example((at(""), Access.READ_WRITE, ("acme", "lake2", "a"), "read"))
def test_a_path_is_granted_if_and_only_if_it_lies_under_the_asked_directory(case: Case) -> None:
    location, access, (account, container, path), operation = case
    asked = Request(operation, account, container, path, NOW)
    expected = under(location, account, container, path) and allowed_by(access, operation)
    assert allows(signed(location, access), asked, THEIRS) == expected


@given(cases())
def test_an_account_without_a_hierarchy_opens_no_directory_and_a_container_where_the_profile_says_so(case: Case) -> None:
    location, access, (account, container, path), operation = case
    asked = Request(operation, account, container, path, NOW, hierarchical=False)
    assume(location.key)
    assert not allows(signed(location, access), asked, THEIRS)
    root = Location("abfss", location.bucket, "")
    assert granted([location], allow_container_scope=True) == root
    expected = under(root, account, container, path) and allowed_by(access, operation)
    assert allows(signed(location, access, allow_container_scope=True), asked, THEIRS) == expected


@given(st.one_of(keys, nasty, special, st.text(max_size=12)))
@example("a.")
@example("a/b%2E/c")
@example("a%255Cb")
@example("a\\b")
def test_what_is_taken_is_read_by_the_service_as_the_same_path(key: str) -> None:
    location = parsed(key)
    if location is not None:
        assert reading(location.key) == list(location.segments)


@given(locations(), st.sampled_from(Access), st.booleans())
def test_the_fields_are_microsofts_own_and_no_name_adds_one(location: Location, access: Access, wide: bool) -> None:
    sas = signed(location, access, allow_container_scope=wide)
    opened = granted([location], allow_container_scope=wide)
    fields = parse(sas)
    assert sorted(fields) == sorted([*FIELDS, "sdd"] if opened.key else FIELDS)
    container, _, host = opened.bucket.partition("@")
    assert fields == microsofts(
        host.partition(".")[0], container, opened.key, permissions=fields["sp"], key=THEIRS, expires_at=END
    )
    assert (fields["sr"], fields.get("sdd")) == (("d", str(len(opened.segments))) if opened.key else ("c", None))
    assert sas.isascii()
    assert sas.isprintable()


Grant = tuple[Location, Access, datetime]


@st.composite
def two_grants(draw: st.DrawFn) -> tuple[Grant, Grant]:
    """Alike, but for one thing or none, or unlike altogether."""
    location = draw(locations())
    one = (location, draw(st.sampled_from(Access)), END)
    container, _, host = location.bucket.partition("@")
    beside = [
        location,
        Location("abfss", location.bucket, f"{location.key}/{draw(plain)}".removeprefix("/")),
        Location("abfss", location.bucket, location.key.rpartition("/")[0]),
        Location("abfss", f"{draw(containers)}@{host}", location.key),
        Location("abfss", f"{container}@{draw(accounts)}.{HOST}", location.key),
        draw(locations()),
    ]
    end = END + timedelta(seconds=draw(st.integers(0, 1)))
    return one, (draw(st.sampled_from(beside)), draw(st.sampled_from([one[1], *Access])), end)


@given(two_grants())
@example(((at("a"), Access.READ, END), (at("a/rl"), Access.READ, END)))
def test_two_grants_never_share_a_signature(grants: tuple[Grant, Grant]) -> None:
    """One key, so one signature is one string to sign."""
    first, second = (
        parse(sign(sas_fields([location], access), KEY, end).get_secret_value())["sig"] for location, access, end in grants
    )
    assert (first == second) == (grants[0] == grants[1])


one_name = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), max_size=6)


@given(one_name, one_name, st.sampled_from(Access), st.sampled_from(Access))
@example("a\nb", "a", Access.READ, Access.READ)
def test_not_even_a_key_that_was_never_parsed_can_shift_the_signed_fields(
    one: str, other: str, access: Access, other_access: Access
) -> None:
    signatures = []
    for key, wanted in ((one, access), (other, other_access)):
        fields = sas_fields([at(key)], wanted)
        if "\n" in key:
            with pytest.raises(ConfigurationError, match="line break"):
                sign(fields, KEY, END)
            return
        signatures.append(parse(sign(fields, KEY, END).get_secret_value())["sig"])
    assert (signatures[0] == signatures[1]) == ((one, access) == (other, other_access))


tampered = st.sampled_from(
    [
        *({"sp": letters} for letters in ("rl", "racwdl", "rcwdl", "racwdxyltmeopi", "lr", "")),
        *({"sr": kind} for kind in ("c", "b", "d", "bs", "")),
        *({"sdd": depth} for depth in ("0", "1", "2", "3", "-1", "", "00", "\u0662")),
        *({"se": end} for end in ("2026-08-01T14:00:00Z", "2099-01-01T00:00:00Z")),
        *({"ske": "2099-01-01T00:00:00Z"}, {"skt": "2000-01-01T00:00:00Z"}, {"spr": "https,http"}, {"sv": "2025-05-05"}),
        *(
            {"skoid": "somebody-else"},
            {"sktid": "elsewhere"},
            {"sks": "f"},
            {"skv": "2019-12-12"},
            {"st": "2020-01-01T00:00:00Z"},
        ),
        *({"saoid": "x"}, {"suoid": "x"}, {"scid": "x"}, {"sip": "203.0.113.9"}, {"ses": "x"}, {"rsct": "text/html"}),
        *({"sr": "c", "sdd": "0"}, {"sr": "d", "sdd": "0"}, {"sr": "d", "sdd": "1"}, {"sp": "rcwdl", "sr": "c"}),
    ]
)


@given(cases(), tampered, st.sampled_from([*FIELDS, "sdd", None]), st.sampled_from([timedelta(), timedelta(hours=1.5)]))
def test_a_changed_field_never_opens_more(
    case: Case, changes: dict[str, str], dropped: str | None, later: timedelta
) -> None:
    location, access, (account, container, path), operation = case
    sas = signed(location, access)
    fields = {**parse(sas), **changes}
    if dropped in ("spr", "sdd"):
        fields.pop(dropped, None)
    changed = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
    for scheme in ("https", "http"):
        asked = Request(operation, account, container, path, NOW + later, scheme)
        assert allows(sas, asked, THEIRS) or not allows(changed, asked, THEIRS)


@given(st.lists(locations(), max_size=4), st.sampled_from(Access), st.booleans())
@example([at("a/x"), at("a/y")], Access.READ, False)
@example([at("a/x"), at("a")], Access.READ, False)
def test_several_locations_are_one_of_them_or_an_error_that_names_them(
    asked: list[Location], access: Access, wide: bool
) -> None:
    """Never a common parent: only a directory that was asked for, or a container where the profile allows that."""
    may_open = {Location("abfss", one.bucket, "") for one in asked} if wide else set(asked)
    opening = [one for one in may_open if all(one.contains(other) for other in asked)]
    if not opening:
        with pytest.raises(ConfigurationError) as caught:
            granted(asked, allow_container_scope=wide)
        assert all(str(one) in caught.value.message for one in asked)
        with pytest.raises(ConfigurationError):
            sas_fields(asked, access, allow_container_scope=wide)
        return
    assert [granted(asked, allow_container_scope=wide)] == opening
    assert sas_fields(asked, access, allow_container_scope=wide) == sas_fields(opening, access)


@given(st.integers(1, 80))
def test_a_directory_deeper_than_an_account_holds_is_refused(depth: int) -> None:
    location = at("/".join("d" * depth))
    if depth > DEEPEST_DIRECTORY:
        with pytest.raises(ConfigurationError, match=f"{depth} directories deep"):
            sas_fields([location], Access.READ)
    else:
        assert sas_fields([location], Access.READ)["sdd"] == depth


def test_the_judge_tells_a_grant_from_none() -> None:
    """A judge that refused all, or allowed all, would agree with anything."""
    sas = signed(at("a/b"), Access.READ)
    inside = Request("read", "acme", "lake", "a/b/c", NOW)
    assert allows(sas, inside, THEIRS)
    assert not allows(sas, Request("read", "acme", "lake", "a/b/c", END), THEIRS)
    assert not allows(sas, Request("read", "acme", "lake", "a/b/c", NOW - timedelta(hours=1)), THEIRS)
    assert not allows(sas, Request("read", "acme", "lake", "a/b/c", NOW, scheme="http"), THEIRS)
    assert not allows(sas, Request("read", "acme", "lake", "a/b/c", NOW, hierarchical=False), THEIRS)
    letters = {
        name for name in NEEDS if allows(signed(at(""), Access.READ_WRITE), Request(name, "acme", "lake", "a", NOW), THEIRS)
    }
    assert letters == READING | WRITING
    assert oracle.reading("a.\\b../c") == ["a", "b", "c"]
