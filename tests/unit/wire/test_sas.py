from __future__ import annotations

from datetime import UTC, datetime

import pytest

from credbroker.errors import MalformedResponse
from credbroker.location import Location
from credbroker.request import Access
from credbroker.wire.sas import signed_scope

PREFIX = Location.parse("abfss://data@acct.dfs.core.windows.net/sales/orders")
ROOT = Location.parse("abfss://data@acct.dfs.core.windows.net/")
FIELDS = {"sv": "2024-11-04", "sr": "d", "sdd": "2", "sp": "rl", "se": "2026-11-22T21%3A00%3A00Z", "sig": "made%2Dup%3D"}


def sas(**changes: str | None) -> str:
    return "&".join(f"{name}={value}" for name, value in {**FIELDS, **changes}.items() if value is not None)


def test_what_microsofts_example_says_is_read() -> None:
    """Azure Storage documentation, "Create a user delegation SAS", the example for a directory; times of our own."""
    found = signed_scope(
        "sp=racwdlmeop".replace("eop", "")
        + "&st=2026-11-22T20:00:00Z&se=2026-11-22T22:00:00Z&skoid=11111111-1111-1111-1111-111111111111"
        "&sktid=22222222-2222-2222-2222-222222222222&skt=2026-11-22T20:00:00Z&ske=2026-11-22T21:00:00Z&sks=b"
        "&skv=2024-11-04&saoid=33333333-3333-3333-3333-333333333333&scid=44444444-4444-4444-4444-444444444444"
        "&spr=https&sv=2024-11-04&sr=d&sdd=2&sig=made%2Fup%3D"
    )
    assert (found.depth, found.access) == (2, Access.READ_WRITE)
    assert found.ends == datetime(2026, 11, 22, 21, tzinfo=UTC)  # the key's end, before its own


@pytest.mark.parametrize("changes", [{"ss": "b"}, {"srt": "sco"}, {"ss": "bf", "srt": "sco", "sr": None, "sdd": None}])
def test_an_account_sas_is_refused(changes: dict[str, str | None]) -> None:
    with pytest.raises(MalformedResponse, match="account SAS"):
        signed_scope(sas(**changes))


def test_one_whose_grant_stands_elsewhere_is_refused() -> None:
    with pytest.raises(MalformedResponse, match="stored access policy"):
        signed_scope(sas(si="policy"))


@pytest.mark.parametrize("name", ["sv", "sr", "sp", "se", "sig"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_sas_that_lacks_a_field_is_none(name: str, value: str | None) -> None:
    with pytest.raises(MalformedResponse, match=f"no '{name}'"):
        signed_scope(sas(**{name: value}))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "made-up",
        "&" + sas(),
        sas() + "&",
        sas() + "&comp=acl",
        sas() + "&restype=container",
        sas() + "&versionid=made-up",
        sas() + "&SR=c",
        sas() + "&%73r=c",
        sas() + "&sr",
        sas() + "#&sr=c",
    ],
)
def test_what_is_no_field_of_a_sas_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(MalformedResponse, match=r"none of a SAS|neither for") as caught:
        signed_scope(token)
    assert "made" not in str(caught.value)


@pytest.mark.parametrize("name", ["sr", "sdd", "sp", "se", "sig"])
def test_a_field_that_stands_twice_is_refused(name: str) -> None:
    with pytest.raises(MalformedResponse, match=f"two of '{name}'"):
        signed_scope(f"{sas()}&{name}={FIELDS[name]}")


@pytest.mark.parametrize("resource", ["b", "bs", "bv", "f", "s", "dd", "D", "c,d", "%00"])
def test_a_sas_for_neither_container_nor_directory_is_refused(resource: str) -> None:
    with pytest.raises(MalformedResponse, match=r"\(sr\)"):
        signed_scope(sas(sr=resource))


@pytest.mark.parametrize("depth", [None, "", "-1", "2.0", "0x2", "+2", "%202", "1000", "%D9%A2"])
def test_a_depth_that_is_no_number_is_refused(depth: str | None) -> None:
    with pytest.raises(MalformedResponse, match=r"\(sdd\)"):
        signed_scope(sas(sdd=depth))


def test_a_directory_of_the_prefixs_depth_or_deeper_is_within_it() -> None:
    for depth in ("2", "3", "60"):
        assert signed_scope(sas(sdd=depth)).within(PREFIX, allow_container_scope=False) == PREFIX


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("depth", ["0", "1"])
def test_a_directory_above_the_prefix_is_wider_than_it(depth: str, allowed: bool) -> None:
    with pytest.raises(MalformedResponse, match=f"{depth} deep .* above that prefix"):
        signed_scope(sas(sdd=depth)).within(PREFIX, allow_container_scope=allowed)


def test_a_container_is_wider_than_a_prefix_in_it_unless_that_is_allowed() -> None:
    whole = signed_scope(sas(sr="c", sdd=None))
    with pytest.raises(MalformedResponse, match=r"whole container.*allow_container_scope"):
        whole.within(PREFIX, allow_container_scope=False)
    assert whole.within(PREFIX, allow_container_scope=True) == ROOT
    assert whole.within(ROOT, allow_container_scope=False) == ROOT


@pytest.mark.parametrize(
    ("permissions", "access"),
    [
        ("r", Access.READ),
        ("rl", Access.READ),
        ("rlf", Access.READ),
        ("l", Access.READ),
        ("racwdl", Access.READ_WRITE),
        ("rawdl", Access.READ_WRITE),
        ("rd", Access.READ_WRITE),
        ("rt", Access.READ_WRITE),
        ("rlx", Access.READ_WRITE),
        ("rly", Access.READ_WRITE),
        ("racwdlm", Access.READ_WRITE),
        ("acwdl", Access.WRITE),
        ("w", Access.WRITE),
        ("dl", Access.WRITE),
        ("m", Access.WRITE),
    ],
)
def test_the_access_is_read_from_the_permissions(permissions: str, access: Access) -> None:
    assert signed_scope(sas(sp=permissions)).access is access


@pytest.mark.parametrize("permissions", ["rle", "rlo", "rlp", "racwdlmeop", "rli", "p"])
def test_permissions_that_outlive_the_sas_are_refused(permissions: str) -> None:
    with pytest.raises(MalformedResponse, match="outlives it"):
        signed_scope(sas(sp=permissions))


@pytest.mark.parametrize("permissions", ["R", "rz", "r,w", "r%20w", "r%C3%A9"])
def test_permissions_that_are_none_are_refused(permissions: str) -> None:
    with pytest.raises(MalformedResponse, match="none"):
        signed_scope(sas(sp=permissions))


@pytest.mark.parametrize("protocol", ["http", "", "HTTPS", "ftp"])
def test_a_sas_that_is_not_for_https_is_refused(protocol: str) -> None:
    with pytest.raises(MalformedResponse, match=r"\(spr\)"):
        signed_scope(sas(spr=protocol))


@pytest.mark.parametrize("protocol", ["https", "https,http", None])
def test_a_sas_that_is_for_https_too_is_taken(protocol: str | None) -> None:
    assert signed_scope(sas(spr=protocol)).depth == 2


@pytest.mark.parametrize(
    ("stated", "ends"),
    [
        ("2026-11-22T21:00:00Z", datetime(2026, 11, 22, 21, tzinfo=UTC)),
        ("2026-11-22T21:00Z", datetime(2026, 11, 22, 21, tzinfo=UTC)),
        ("2026-11-22T21:00:00.1234567Z", datetime(2026, 11, 22, 21, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
    ],
)
def test_each_of_azures_forms_of_a_time_is_read(stated: str, ends: datetime) -> None:
    assert signed_scope(sas(se=stated)).ends == ends
    assert signed_scope(sas(se="2027-01-01", ske=stated)).ends == ends


@pytest.mark.parametrize(
    "stated",
    [
        "soon",
        "1795383531",
        "2026-13-22T21:00:00Z",
        "2026-11-22T25:00:00Z",
        "2026-11-22T21:00:00",
        "2026-11-22T21:00:00%2B01:00",
        "2026-11-22T21:00:00z",
        "2026-W47-7",
        "1970-01-01",
        "9999-12-31T23:59:59Z",
        "0000-00-00",
    ],
)
def test_an_end_that_is_no_sane_time_is_refused(stated: str) -> None:
    with pytest.raises(MalformedResponse, match=r"an end \(se\)"):
        signed_scope(sas(se=stated))
    with pytest.raises(MalformedResponse, match=r"an end \(ske\)"):
        signed_scope(sas(ske=stated))
