"""A binding's name, its profile, and that it stays within what the profile allows."""

from __future__ import annotations

from typing import Any

import pytest

from credbroker.config import PlatformConfig, from_data, load_files
from credbroker.errors import ConfigurationError

from .files import Files

STORAGE = {
    "lake": {"bucket": "lake"},
    "two": {"locations": ["s3://two/a/", "s3://two/b/"], "access": "read_write"},
    "drop": {"bucket": "drop", "access": "write"},
    "nothing": {"type": "s3"},
}
OAUTH2 = {"mode": "oauth2", "client_id": "svc", "client_secret": {"secret_ref": "oauth"}}
CATALOGS = {
    "prod": {"credentials": {**OAUTH2, "scope": "A B", "audience": "https://c"}},
    "open": {"access": "read", "credentials": {**OAUTH2, "scopes": {"read": "R", "read_write": "RW"}}},
    "fixed": {"credentials": {**OAUTH2, "resource": ["https://c"]}},
    "all": {"credentials": {**OAUTH2, "scope": "PRINCIPAL_ROLE:ALL"}},
}
COMPUTE = {"snowflake": {}}


def platform(name: str = "lake-read", **keys: object) -> dict[str, Any]:
    return {
        "environment": "test",
        "storage": STORAGE,
        "catalogs": CATALOGS,
        "compute": COMPUTE,
        "sidecar": {"bindings": {name: keys}},
    }


def store(**keys: object) -> dict[str, Any]:
    return platform(**{"storage": "lake", "protocols": ["iceberg-credentials"], **keys})


def catalog(name: str = "prod", **keys: object) -> dict[str, Any]:
    return platform(catalog=name, **{"protocols": ["oauth2-token"], **keys})


def table(name: str = "prod", **keys: object) -> dict[str, Any]:
    return platform(catalog=name, table="sales.orders", **{"protocols": ["iceberg-credentials"], **keys})


def fault(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        from_data(data)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a", "lake-read", "x9", "a" * 63, "healthy"])
def test_a_binding_is_named_as_an_address_and_a_file_can_be(name: str) -> None:
    from_data(platform(name, storage="lake", protocols=["iceberg-credentials"]))


@pytest.mark.parametrize(
    "name", ["Lake", "lake_read", "9a", "-a", "a" * 64, "a/b", "a.b", "..", "ä", "a b", "computeMetadata"]
)
def test_no_other_name_is_taken(name: str) -> None:
    said = fault(platform(name, storage="lake", protocols=["iceberg-credentials"]))
    assert said.endswith("is no legal name of a binding: a small letter, then small letters, digits or '-', 63 in all")


@pytest.mark.parametrize("name", ["healthz", "readyz", "status", "metrics", "computemetadata", "sidecar"])
def test_the_sidecars_own_names_are_no_bindings(name: str) -> None:
    said = fault(platform(name, storage="lake", protocols=["iceberg-credentials"]))
    assert said == f"sidecar.bindings.{name} is a name that the sidecar itself uses: give the binding another"


@pytest.mark.parametrize(
    "keys",
    [{}, {"storage": "lake", "catalog": "prod"}, {"storage": "lake", "catalog": "prod", "compute": "snowflake"}],
)
def test_a_binding_names_one_profile(keys: dict[str, Any]) -> None:
    said = fault(platform(**keys, protocols=["iceberg-credentials"]))
    assert said == "sidecar.bindings.lake-read must name one profile, by exactly one of storage, catalog and compute"


def test_a_binding_with_nothing_after_it_is_not_left_out_in_silence() -> None:
    text = "sidecar:\n  bindings:\n    lake-read:\n"
    with pytest.raises(ConfigurationError, match=r"^p\.yaml:3: sidecar\.bindings\.lake-read must name one profile"):
        load_files(["p.yaml"], Files({"p.yaml": text}))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"storage": "lkae"}, "lake-read.storage names no profile under storage: did you mean 'lake'?"),
        ({"storage": "prod"}, "lake-read.storage names no profile under storage: one of that name stands under catalogs"),
        (
            {"catalog": "snowflake"},
            "lake-read.catalog names no profile under catalogs: one of that name stands under compute",
        ),
        ({"compute": "zzz"}, "lake-read.compute names no profile under compute: there are snowflake"),
    ],
)
def test_the_profile_exists_in_that_section(keys: dict[str, Any], expected: str) -> None:
    assert expected in fault(platform(**keys, protocols=["iceberg-credentials"]))


@pytest.mark.parametrize(
    ("data", "key", "expected"),
    [
        (catalog(locations=["s3://lake/"]), "locations", "belongs to a binding of storage: leave it out"),
        (store(table="a.b"), "table", "belongs to a binding of catalog: leave it out"),
        (store(scope="A"), "scope", "belongs to a binding of catalog: leave it out"),
        (store(audience="A"), "audience", "belongs to a binding of catalog: leave it out"),
        (
            platform(compute="snowflake", access="read", protocols=["oauth2-token"]),
            "access",
            "belongs to a binding of storage or catalog: leave it out",
        ),
        (table(scope="A"), "scope", "is for the token of the catalog, and a table has keys: leave it out"),
        (table(audience="https://c"), "audience", "is for the token of the catalog, and a table has keys: leave it out"),
        (
            store(locations=None),
            "locations",
            "has nothing after it, and is no limit so: say what it is, or leave the key out",
        ),
        (store(locations=[]), "locations", "has nothing after it, and is no limit so: say what it is, or leave the key out"),
        (catalog(table=None), "table", "has nothing after it, and is no limit so: say what it is, or leave the key out"),
        (catalog(scope=None), "scope", "has nothing after it, and is no limit so: say what it is, or leave the key out"),
        (catalog(scope=""), "scope", "has nothing after it, and is no limit so: say what it is, or leave the key out"),
    ],
)
def test_a_key_stands_where_it_has_a_meaning(data: dict[str, Any], key: str, expected: str) -> None:
    assert fault(data) == f"sidecar.bindings.lake-read.{key} {expected}"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (store(access="write"), "is 'write', and the profile allows 'read'"),
        (store(access="read_write"), "is 'read_write', and the profile allows 'read'"),
        (store(storage="drop"), "is 'read' where it is not said, and the profile allows 'write'"),
        (catalog("open", access="read_write"), "is 'read_write', and the profile allows 'read'"),
        (table("open", access="write"), "is 'write', and the profile allows 'read'"),
    ],
)
def test_a_binding_may_do_no_more_than_its_profile(data: dict[str, Any], expected: str) -> None:
    assert fault(data) == f"sidecar.bindings.lake-read.access {expected}"


def test_what_a_catalog_does_not_limit_is_not_limited_here() -> None:
    sidecar = from_data(table(access="read_write")).sidecar
    assert sidecar is not None
    assert sidecar.bindings["lake-read"].access == "read_write"


@pytest.mark.parametrize("location", ["s3://lake2/", "s3://two/ab/", "s3://two/", "gs://two/a/", "s3://two/A/"])
def test_a_location_beyond_the_profile_is_refused_and_not_shown(location: str) -> None:
    said = fault(store(storage="two", locations=["s3://two/b/x/", location]))
    text = "lies outside what the profile allows (s3://two/a/, s3://two/b/)"
    assert said == f"sidecar.bindings.lake-read.locations[1] {text}"


def test_without_locations_the_profile_has_to_have_one() -> None:
    assert fault(store(storage="two")) == (
        "sidecar.bindings.lake-read must say its locations, as the profile has several: s3://two/a/, s3://two/b/"
    )
    assert "lake-read.storage names a profile without locations, of which nothing" in fault(store(storage="nothing"))


def test_of_very_many_locations_the_first_are_listed() -> None:
    data = store()
    data["storage"] = {"lake": {"locations": [f"s3://lake/{number}/" for number in range(12)]}}
    assert fault(data).endswith(" s3://lake/8/, s3://lake/9/ and 2 more")


def test_a_credential_in_a_profiles_location_is_not_shown_by_the_fault_of_a_binding() -> None:
    data = store(locations=["s3://other/"])
    data["storage"] = {"lake": {"locations": ["s3://lake/AKIAIOSFODNN7EXAMPLE/"]}}
    assert "AKIA" not in fault(data)


@pytest.mark.parametrize(
    "keys",
    [
        {"scope": "A"},
        {"scope": "B A"},
        {"audience": "https://c"},
        {"name": "open", "scope": "R"},
        {"name": "all", "scope": "PRINCIPAL_ROLE:ANY"},
        {"name": "all", "audience": "https://mine"},
    ],
)
def test_a_scope_and_an_audience_of_the_profile_are_taken(keys: dict[str, Any]) -> None:
    assert from_data(catalog(**keys)).sidecar is not None


@pytest.mark.parametrize(
    "keys",
    [{"scope": "C"}, {"scope": "A C"}, {"name": "open", "scope": "RW"}, {"name": "all", "scope": "other"}],
)
def test_a_scope_beyond_the_profile_is_refused(keys: dict[str, Any]) -> None:
    expected = "goes beyond the profile's scope for that access: leave out what the profile lacks"
    assert fault(catalog(**keys)) == f"sidecar.bindings.lake-read.scope {expected}"


@pytest.mark.parametrize("name", ["prod", "fixed"])
def test_another_audience_than_the_profile_fixes_is_refused(name: str) -> None:
    said = fault(catalog(name, audience="https://other"))
    assert said == "sidecar.bindings.lake-read.audience is another than the profile fixes: leave it out"


def test_a_profile_with_faults_of_its_own_hides_none_of_the_others() -> None:
    data = store(access="all", locations=["s3://other/", 5])
    data["storage"] = {"lake": {"max_ttl": "soon"}}
    assert fault(data).splitlines() == [
        "the configuration has 3 faults:",
        "  storage.lake.max_ttl must be a duration: 1h, 15m, 90s, 500ms, or a whole number of seconds",
        "  sidecar.bindings.lake-read.locations[1] must be a text: put it in quotes",
        "  sidecar.bindings.lake-read.access must be 'read', 'write' or 'read_write'",
    ]


def test_all_faults_come_at_once_with_line_and_field_and_duplicate_keys_among_them() -> None:
    text = """\
storage:
  lake: {bucket: lake}
  lake: {bucket: other}
sidecar:
  listen: 0.0.0.0:80
  readers: {uids: [x]}
  bindings:
    status: {storage: lake, protocols: [iceberg-credentials]}
    lake-read:
      storage: lake
      locations: [s3://other/]
      access: write
      protocols: [aws-contaner, gce-metadata]
      files:
        - {path: ../x, form: token}
      on_change: {signal: HUP}
    lake-read: {storage: lake, protocols: [aws-container]}
    a b: {storage: lake, protocols: [iceberg-credentials]}
    a b: {storage: lake}
  listen: 127.0.0.1:80
"""
    with pytest.raises(ConfigurationError) as caught:
        load_files(["p.yaml"], Files({"p.yaml": text}))
    places = [line.split()[:2] for line in str(caught.value).splitlines()[1:]]
    assert places == [
        ["p.yaml:3:", "storage.lake"],
        ["p.yaml:5:", "sidecar.listen"],
        ["p.yaml:6:", "sidecar.readers.uids[0]"],
        ["p.yaml:8:", "sidecar.bindings.status"],
        ["p.yaml:11:", "sidecar.bindings.lake-read.locations[0]"],
        ["p.yaml:12:", "sidecar.bindings.lake-read.access"],
        ["p.yaml:13:", "sidecar.bindings.lake-read.protocols[0]"],
        ["p.yaml:13:", "sidecar.bindings.lake-read.protocols[1]"],
        ["p.yaml:15:", "sidecar.bindings.lake-read.files[0].path"],
        ["p.yaml:15:", "sidecar.bindings.lake-read.files[0].form"],
        ["p.yaml:16:", "sidecar.bindings.lake-read.on_change"],
        ["p.yaml:17:", "sidecar.bindings.lake-read"],
        ["p.yaml:18:", "sidecar.bindings.<not"],
        ["p.yaml:19:", "sidecar.bindings.<not"],
        ["p.yaml:20:", "sidecar.listen"],
    ]


def test_a_model_is_held_to_the_same_rules() -> None:
    with pytest.raises(ConfigurationError, match="is 'write', and the profile allows 'read'"):
        PlatformConfig(**store(access="write"))
