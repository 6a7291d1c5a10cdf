"""What a binding may be served by: protocols and files that its credential has a place in."""

from __future__ import annotations

from typing import Any

import pytest

from credbroker.config import from_data
from credbroker.config.sidecar import FORMS, SERVES
from credbroker.errors import ConfigurationError

ROLE = {"mode": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/x", "credential_source": "environment"}
PROFILES: dict[str, Any] = {
    "environment": "test",
    "storage": {
        "s3": {"bucket": "lake", "credentials": ROLE},
        "static": {"bucket": "lake", "credentials": {"secret_ref": "keys"}},
        "gcs": {"locations": ["gs://lake/"]},
        "azure": {"locations": ["abfss://raw@account.dfs.core.windows.net/"]},
        "local": {"type": "local", "bucket": "lake"},
    },
    "catalogs": {"rest": {}, "glue": {"type": "glue", "credentials": ROLE}},
    "compute": {"engine": {}},
}
SUBJECTS: dict[str, dict[str, Any]] = {
    "s3": {"storage": "s3"},
    "gcs": {"storage": "gcs"},
    "azure": {"storage": "azure"},
    "table": {"catalog": "rest", "table": "a.b"},
    "catalog": {"catalog": "rest"},
    "aws-catalog": {"catalog": "glue"},
    "compute": {"compute": "engine"},
}


def with_bindings(**bindings: dict[str, Any]) -> dict[str, Any]:
    return {**PROFILES, "sidecar": {"bindings": bindings}}


def served(subject: dict[str, Any], **keys: object) -> dict[str, Any]:
    return with_bindings(one={**subject, **keys})


def fault(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        from_data(data)
    return str(caught.value)


def file(path: str, form: str = "aws-credentials", **keys: object) -> dict[str, Any]:
    return {"path": path, "form": form, **keys}


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("protocol", SERVES)
def test_a_protocol_serves_what_it_has_a_form_for(protocol: str, subject: str) -> None:
    data = served(SUBJECTS[subject], protocols=[protocol])
    if subject in SERVES[protocol]:
        sidecar = from_data(data).sidecar
        assert sidecar is not None
        assert sidecar.bindings["one"].protocols == (protocol,)
    else:
        assert fault(data).startswith("sidecar.bindings.one.protocols[0] cannot serve ")


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("form", FORMS)
def test_a_file_holds_what_its_form_is_for(form: str, subject: str) -> None:
    template = {"template": "/etc/app.tmpl"} if form == "template" else {}
    data = served(SUBJECTS[subject], files=[file("a", form, **template)])
    if subject in FORMS[form]:
        sidecar = from_data(data).sidecar
        assert sidecar is not None
        assert sidecar.bindings["one"].files[0].form == form
    else:
        assert fault(data).startswith("sidecar.bindings.one.files[0].form does not fit")


@pytest.mark.parametrize(
    ("subject", "protocol", "expected"),
    [
        ("s3", "gce-metadata", "cannot serve a store of type 's3': use aws-container, iceberg-credentials"),
        ("azure", "azure-imds", "cannot serve a store of type 'azure': use iceberg-credentials"),
        (
            "catalog",
            "aws-container",
            "cannot serve a catalog's token: use gce-metadata, azure-app-service, azure-imds, oauth2-token, google-",
        ),
        ("aws-catalog", "oauth2-token", "has no token (its tables can be bound): leave it out"),
    ],
)
def test_a_protocol_that_does_not_fit_says_which_do(subject: str, protocol: str, expected: str) -> None:
    assert expected in fault(served(SUBJECTS[subject], protocols=[protocol]))


def test_a_local_store_has_nothing_to_serve() -> None:
    text = "cannot serve a store of type 'local', which has no credential: leave it out"
    assert text in fault(served({"storage": "local"}, protocols=["iceberg-credentials"]))


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [
        (["aws-contaner"], "protocols[0] is an unknown protocol: did you mean 'aws-container'?"),
        (["zzz"], "protocols[0] is an unknown protocol: there are aws-container, gce-metadata, azure-app-service"),
        (["aws-container", "aws-container"], "protocols[1] stands there twice: write each protocol once"),
        ([], "one serves nothing: name protocols (aws-container, gce-metadata"),
    ],
)
def test_protocols_are_known_and_each_stands_once(protocols: list[str], expected: str) -> None:
    assert expected in fault(served(SUBJECTS["s3"], protocols=protocols))


def test_a_binding_that_serves_nothing_is_a_fault() -> None:
    assert "one serves nothing" in fault(served(SUBJECTS["s3"]))
    assert "one serves nothing" in fault(served(SUBJECTS["s3"], protocols=None, files=[]))


def test_a_static_key_pair_has_no_end_for_the_sdks_of_aws() -> None:
    assert fault(served({"storage": "static"}, protocols=["iceberg-credentials", "aws-container"])) == (
        "sidecar.bindings.one.protocols[1] cannot serve a profile in mode 'static': the SDKs of AWS want an end, and its "
        "keys have none; use mode 'iam_role' there, or here a file of form 'aws-credentials'"
    )
    assert from_data(served({"storage": "static"}, files=[file("aws/credentials")])).sidecar is not None


def test_one_binding_only_is_found_by_its_host() -> None:
    compute = {"compute": "engine", "protocols": ["gce-metadata"]}
    data = with_bindings(
        first={"storage": "gcs", "protocols": ["iceberg-credentials", "gce-metadata"]},
        second=compute,
        third={"compute": "engine", "protocols": ["oauth2-token"]},
        fourth=compute,
    )
    text = "serves the binding first already: clients know the host alone, so one binding has it"
    assert fault(data).splitlines()[1:] == [
        f"  sidecar.bindings.second.protocols[0] {text}",
        f"  sidecar.bindings.fourth.protocols[0] {text}",
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (file("a", "template"), "files[0].template is missing: form 'template' needs the path of one"),
        (file("a", template="/t"), "files[0].template belongs to form 'template': leave it out"),
        (
            file("a", "template", template="/t", profile="x"),
            "files[0].profile belongs to form 'aws-credentials': leave it out",
        ),
    ],
)
def test_a_files_keys_belong_to_its_form(entry: dict[str, Any], expected: str) -> None:
    assert fault(served(SUBJECTS["s3"], files=[entry])) == f"sidecar.bindings.one.{expected}"


def test_no_two_files_share_a_path() -> None:
    one = {"storage": "s3", "files": [file("a/b"), file("x"), file("x")]}
    two = {"storage": "s3", "files": [file("a/b"), file("a/b/c"), file("a"), file("a/c")]}
    assert [line.split(" ", 3)[2:] for line in fault(with_bindings(one=one, two=two)).splitlines()[1:]] == [
        ["sidecar.bindings.one.files[2].path", "is written for another entry already: give each file its own path"],
        ["sidecar.bindings.two.files[0].path", "is written for another entry already: give each file its own path"],
        ["sidecar.bindings.two.files[1].path", "makes one path a file and a directory: rename one of the two"],
        ["sidecar.bindings.two.files[2].path", "makes one path a file and a directory: rename one of the two"],
        ["sidecar.bindings.two.files[3].path", "makes one path a file and a directory: rename one of the two"],
    ]


@pytest.mark.parametrize(
    "on_change",
    [
        {},
        {"signal": "HUP"},
        {"pid_file": "/run/app.pid"},
        {"signal": "HUP", "command": ["/bin/app"]},
        {"signal": "HUP", "pid_file": "/run/app.pid", "command": ["/bin/app"]},
    ],
)
def test_a_change_is_told_by_a_signal_or_a_command(on_change: dict[str, Any]) -> None:
    said = fault(served(SUBJECTS["s3"], files=[file("a")], on_change=on_change))
    assert said == "sidecar.bindings.one.on_change must have either signal and pid_file, or command"


def test_nothing_can_change_without_a_file() -> None:
    data = served(SUBJECTS["s3"], protocols=["aws-container"], on_change={"command": ["/bin/app"]})
    assert fault(data) == "sidecar.bindings.one.on_change has no file that could change: name files, or leave it out"
