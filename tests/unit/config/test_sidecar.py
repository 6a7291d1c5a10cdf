"""The ``sidecar:`` section: what its fields take, what they mean, and what is refused of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from credbroker.config import PlatformConfig, from_data, load_files
from credbroker.config.load import stated_sidecar
from credbroker.config.settings import BindingSettings, FileSettings, OnChange, SidecarSettings
from credbroker.errors import ConfigurationError, CredentialDetected
from credbroker.location import Location
from credbroker.request import Access

from .files import Files

TEXT = """\
storage:
  lake:
    locations: [s3://lake/sales/, s3://lake/finance/]
    credentials: {mode: iam_role, role_arn: "arn:aws:iam::1:role/a", credential_source: environment}
  one:
    bucket: one
    access: read_write
catalogs:
  production: {uri: https://c, credentials: {mode: oauth2, scope: "PRINCIPAL_ROLE:X PRINCIPAL_ROLE:Y"}}
compute:
  snowflake: {type: snowflake}
sidecar:
  directory: /run/credbroker
  listen: 127.0.0.1:8642
  readers: {uids: [1000, 1000], group: 2000}
  rotate_tokens: 12h
  requests_per_second: 100
  bindings:
    lake-read:
      storage: lake
      locations: [s3a://lake/sales/eu, s3://lake/sales/eu/]
      protocols: [aws-container]
    one: {storage: one, access: read_write, protocols: [iceberg-credentials]}
    orders: {catalog: production, table: sales.orders, access: read, protocols: [iceberg-credentials, aws-container]}
    polaris: {catalog: production, scope: "PRINCIPAL_ROLE:X", audience: null, protocols: [oauth2-token]}
    warehouse:
      compute: snowflake
      protocols: []
      files:
        - {path: snowflake/token, form: token}
        - {path: app.conf, form: template, template: /etc/app/app.conf.tmpl}
      on_change: {signal: HUP, pid_file: /run/app.pid}
    keys:
      storage: one
      files: [{path: aws/credentials, form: aws-credentials, profile: lake}]
      on_change: {command: [/usr/bin/app, reload]}
"""


def section(**keys: object) -> dict[str, Any]:
    return {"sidecar": keys}


def binding(**keys: object) -> dict[str, Any]:
    given = {"storage": "lake", "protocols": ["aws-container"], **keys}
    return {"storage": {"lake": {"bucket": "lake"}}, "sidecar": {"bindings": {"lake": given}}}


def read(data: dict[str, Any]) -> SidecarSettings:
    sidecar = from_data(data).sidecar
    assert sidecar is not None
    return sidecar


def fault(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        from_data(data)
    return str(caught.value)


def test_the_section_is_compiled_to_plain_frozen_values() -> None:
    platform = load_files(["p.yaml"], Files({"p.yaml": TEXT}))
    assert platform.warnings == ()
    sidecar = platform.sidecar
    assert sidecar is not None
    assert (sidecar.directory, sidecar.listen_host, sidecar.listen_port) == ("/run/credbroker", "127.0.0.1", 8642)
    assert (sidecar.reader_uids, sidecar.reader_group) == ((1000,), 2000)
    assert (sidecar.rotate_tokens, sidecar.requests_per_second) == (timedelta(hours=12), 100)
    assert sidecar.where == "p.yaml:12: sidecar"
    sales, whole = Location.parse("s3://lake/sales/eu/"), Location.parse("s3://one/")
    assert dict(sidecar.bindings) == {
        "keys": BindingSettings(
            name="keys",
            kind="storage",
            profile="one",
            locations=(whole,),
            files=(FileSettings(path="aws/credentials", form="aws-credentials", profile="lake"),),
            on_change=OnChange(command=("/usr/bin/app", "reload")),
        ),
        "lake-read": BindingSettings(
            name="lake-read", kind="storage", profile="lake", locations=(sales,), protocols=("aws-container",)
        ),
        "one": BindingSettings(
            name="one",
            kind="storage",
            profile="one",
            locations=(whole,),
            access=Access.READ_WRITE,
            protocols=("iceberg-credentials",),
        ),
        "orders": BindingSettings(
            name="orders",
            kind="table",
            profile="production",
            table=("sales", "orders"),
            protocols=("iceberg-credentials", "aws-container"),
        ),
        "polaris": BindingSettings(
            name="polaris", kind="catalog", profile="production", scope="PRINCIPAL_ROLE:X", protocols=("oauth2-token",)
        ),
        "warehouse": BindingSettings(
            name="warehouse",
            kind="compute",
            profile="snowflake",
            files=(
                FileSettings(path="snowflake/token", form="token"),
                FileSettings(path="app.conf", form="template", template="/etc/app/app.conf.tmpl"),
            ),
            on_change=OnChange(signal="HUP", pid_file="/run/app.pid"),
        ),
    }
    assert sidecar.bindings["lake-read"].where == "p.yaml:19: sidecar.bindings.lake-read"


def test_an_absent_section_is_none_and_an_empty_one_has_the_defaults() -> None:
    assert from_data({}).sidecar is None
    assert from_data({"sidecar": None}).sidecar is None
    assert read(section()) == SidecarSettings()
    assert SidecarSettings().bindings == {}


def test_a_model_and_a_map_mean_the_same() -> None:
    data = binding(files=[{"path": "a", "form": "aws-credentials"}])
    assert from_data(PlatformConfig(**data)).sidecar == read(data)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("127.8.9.10:65535", ("127.8.9.10", 65535)),
        ("localhost:8642", ("127.0.0.1", 8642)),
        ("[::1]:8642", ("::1", 8642)),
        ("[0:0:0:0:0:0:0:1]:1", ("::1", 1)),
    ],
)
def test_a_loopback_address_is_taken(listen: str, expected: tuple[str, int]) -> None:
    sidecar = read(section(listen=listen))
    assert (sidecar.listen_host, sidecar.listen_port) == expected


@pytest.mark.parametrize(
    "listen",
    [
        "0.0.0.0:8642",
        "10.0.0.1:8642",
        "169.254.169.254:80",
        "128.0.0.1:1",
        "[::]:8642",
        "[fe80::1%lo]:8642",
        "[::1%lo]:8642",
        "[::ffff:127.0.0.1]:8642",
        "[::ffff:10.0.0.1]:8642",
        "[127.0.0.1]:8642",
        "localhost.example.com:80",
        "LOCALHOST:80",
        "example.com:80",
        "127.1:80",
        "0177.0.0.1:80",
        "2130706433:80",
        " 127.0.0.1:80",
    ],
)
def test_no_other_address_is(listen: str) -> None:
    said = fault(section(listen=listen))
    assert said.startswith("sidecar.listen is no loopback address: the sidecar never listens beyond this machine; write")


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:", ":8642", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "a:b"])
def test_an_address_has_a_port(listen: str) -> None:
    assert "sidecar.listen must be an address and a port from 0 to 65535: write" in fault(section(listen=listen))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (section(listen=8642), "sidecar.listen must be a text"),
        (section(directory="run/credbroker"), "sidecar.directory must be an absolute path without '..'"),
        (section(directory="/run/../x"), "sidecar.directory must be an absolute path without '..'"),
        (section(directory="/" + "x" * 90), "sidecar.directory is longer than 87 bytes, so that no Unix socket fits"),
        (section(readers={"uids": [-1]}), "sidecar.readers.uids[0] must be a whole number from 0 to 4294967294"),
        (section(readers={"uids": [2**32 - 1]}), "sidecar.readers.uids[0] must be a whole number from 0 to 4294967294"),
        (section(readers={"uids": [True]}), "sidecar.readers.uids[0] must be a whole number"),
        (section(readers={"uids": ["1000"]}), "sidecar.readers.uids[0] must be a whole number"),
        (section(readers={"uids": 1000}), "sidecar.readers.uids must be a list"),
        (section(readers={"group": "a b"}), "sidecar.readers.group must be the number of a group, or its name"),
        (section(readers={"group": -1}), "sidecar.readers.group must be the number of a group, or its name"),
        (section(readers={"group": False}), "sidecar.readers.group must be the number of a group, or its name"),
        (section(readers=[1000]), "sidecar.readers must be a map"),
        (section(rotate_tokens="59s"), "sidecar.rotate_tokens must be between 1m and 8760h"),
        (section(rotate_tokens="often"), "sidecar.rotate_tokens must be a duration"),
        (section(requests_per_second=0), "sidecar.requests_per_second must be a whole number from 1 to 100000"),
        (section(requests_per_second=100_001), "sidecar.requests_per_second must be a whole number from 1 to 100000"),
        (section(requests_per_second=1.5), "sidecar.requests_per_second must be a whole number from 1 to 100000"),
        ({"sidecar": ["x"]}, "sidecar must be a map"),
        (section(bindings=["x"]), "sidecar.bindings must be a map"),
        (section(bindings={"lake": "x"}), "sidecar.bindings.lake must be a map"),
        (binding(access="all"), "sidecar.bindings.lake.access must be 'read', 'write' or 'read_write'"),
        (binding(locations="s3://lake/"), "sidecar.bindings.lake.locations must be a list"),
        (binding(locations=["s3://lake/../x"]), "sidecar.bindings.lake.locations[0] is no location: it has a blank, '.' or"),
        (binding(protocols="aws-container"), "sidecar.bindings.lake.protocols must be a list"),
        (binding(protocols=[1]), "sidecar.bindings.lake.protocols[0] must be a text"),
        (binding(storage=["lake"]), "sidecar.bindings.lake.storage must be a text"),
        (binding(table="orders"), "sidecar.bindings.lake.table must be a table with its namespace: sales.orders"),
        (binding(table=["sales", ""]), "sidecar.bindings.lake.table must be a table with its namespace: sales.orders"),
        (binding(files=["a"]), "sidecar.bindings.lake.files[0] must be a map"),
        (binding(files=[{"form": "aws-credentials"}]), "sidecar.bindings.lake.files[0].path is missing"),
        (binding(files=[{"path": "a"}]), "sidecar.bindings.lake.files[0].form is missing"),
        (
            binding(files=[{"path": "a", "form": "json"}]),
            "sidecar.bindings.lake.files[0].form must be 'token', 'aws-credentials' or 'template'",
        ),
        (
            binding(files=[{"path": "a", "form": "template", "template": "a.tmpl"}]),
            "sidecar.bindings.lake.files[0].template must be an absolute path without '..'",
        ),
        (
            binding(files=[{"path": "a", "form": "aws-credentials", "profile": "x]\n[y"}]),
            "sidecar.bindings.lake.files[0].profile must be the name of a section",
        ),
        (
            binding(files=[{"path": "a", "form": "aws-credentials"}], on_change={"signal": "KILL", "pid_file": "/p"}),
            "sidecar.bindings.lake.on_change.signal must be 'HUP', 'USR1', 'USR2', 'TERM', 'INT' or 'WINCH'",
        ),
        (
            binding(files=[{"path": "a", "form": "aws-credentials"}], on_change={"signal": "HUP", "pid_file": "app.pid"}),
            "sidecar.bindings.lake.on_change.pid_file must be an absolute path",
        ),
    ],
)
def test_a_field_takes_what_it_is_for(data: dict[str, Any], expected: str) -> None:
    assert expected in fault(data)


@pytest.mark.parametrize("path", ["/etc/passwd", "../token", "a/../b", "a//b", "a/", "", ".", "./a"])
def test_a_file_lies_below_the_sidecars_own(path: str) -> None:
    said = fault(binding(files=[{"path": path, "form": "aws-credentials"}]))
    assert "sidecar.bindings.lake.files[0].path must be a path below the sidecar's files: relative, without '..'" in said


def test_a_path_of_endless_segments_costs_nothing() -> None:
    said = fault(binding(files=[{"path": "a/" * 200_000 + "a", "form": "aws-credentials"}]))
    assert said == "sidecar.bindings.lake.files[0].path is longer than 512 characters"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/usr/bin/app reload", "must be a list, the program and its arguments one by one: no shell reads it"),
        ([], "must be a list, the program and its arguments one by one: no shell reads it"),
        (["app", "reload"], "must begin with the absolute path of a program: no PATH is searched"),
        (["/usr/bin/app", 1], "must be a text: put it in quotes"),
        (["/usr/bin/app", "a\x00b"], "has a control character"),
    ],
)
def test_a_command_is_a_program_and_its_arguments(command: object, expected: str) -> None:
    data = binding(files=[{"path": "a", "form": "aws-credentials"}], on_change={"command": command})
    assert f"sidecar.bindings.lake.on_change.command {expected}" in fault(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (section(lisen="x"), "sidecar.lisen is an unknown key: did you mean 'listen'?"),
        (section(port=1), "sidecar.port is an unknown key"),
        (section(readers={"uid": [1]}), "sidecar.readers.uid is an unknown key: did you mean 'uids'?"),
        (binding(location=["s3://lake/"]), "sidecar.bindings.lake.location is an unknown key: did you mean 'locations'?"),
        (binding(tags="x"), "sidecar.bindings.lake.tags is an unknown key"),
        (
            binding(files=[{"path": "a", "form": "aws-credentials", "mode": "0644"}]),
            "sidecar.bindings.lake.files[0].mode is an unknown key",
        ),
        (
            binding(
                files=[{"path": "a", "form": "aws-credentials"}],
                on_change={"signal": "HUP", "pid_file": "/p", "pidfile": "/p"},
            ),
            "sidecar.bindings.lake.on_change.pidfile is an unknown key: did you mean 'pid_file'?",
        ),
    ],
)
def test_no_key_is_passed_over(data: dict[str, Any], expected: str) -> None:
    assert fault(data).startswith(expected)


@pytest.mark.parametrize(
    "on_change",
    [
        {"command": ["/usr/bin/app", "--password=hunter2-9f3"]},
        {"command": ["/usr/bin/curl", "https://u:hunter2-9f3@host/"]},
        {"command": ["/usr/bin/app", "ghp_hunter29f3AbCdEfGhIjKlMnOpQrStUvWxYz"]},
    ],
)
def test_a_literal_secret_is_refused_here_too_and_not_shown(on_change: dict[str, Any]) -> None:
    with pytest.raises(
        CredentialDetected, match=r"on_change\.command\[1\] holds a literal credential \(not shown\)"
    ) as caught:
        from_data(binding(files=[{"path": "a", "form": "aws-credentials"}], on_change=on_change))
    assert "hunter2" not in str(caught.value)


def test_a_sidecar_of_files_with_faults_still_says_where_it_would_be() -> None:
    text = "sidecar:\n  directory: /run/x\n  listen: 127.0.0.1:1\n  rotate_tokens: soon\n  bindings: {a: {storage: no}}\n"
    stated = stated_sidecar(["p.yaml"], Files({"p.yaml": text}))
    assert stated == SidecarSettings(directory="/run/x", listen_port=1)
    with pytest.raises(ConfigurationError, match="has 3 faults"):
        load_files(["p.yaml"], Files({"p.yaml": text}))


def test_what_cannot_be_read_of_its_place_hides_nothing_of_the_rest() -> None:
    text = "sidecar: {directory: /run/x, listen: 0.0.0.0:1, readers: {group: 7}}"
    stated = stated_sidecar(["p.yaml"], Files({"p.yaml": text}))
    assert stated == SidecarSettings(directory="/run/x", listen_port=0, reader_group=7)


@pytest.mark.parametrize("text", ["sidecar: [", "storage: {}", "sidecar: x", "sidecar: {}"])
def test_nothing_is_said_of_where_it_would_be_if_the_files_do_not_say_it(text: str) -> None:
    assert stated_sidecar(["p.yaml"], Files({"p.yaml": text})) is None
    assert stated_sidecar(["gone.yaml"], Files({})) is None
    assert stated_sidecar([], Files({})) is None
