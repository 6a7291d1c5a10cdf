"""Shape and rules of platform.yaml: what loads, and how what does not is reported."""

from __future__ import annotations

from typing import Any

import pytest

from credbroker.config import PlatformConfig, from_data, load_files
from credbroker.errors import ConfigurationError

from .files import Files

OAUTH2 = {"mode": "oauth2", "client_id": "svc", "client_secret": {"secret_ref": "oauth"}}


def fault(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        from_data(data)
    return str(caught.value)


def in_catalog(**credentials: object) -> dict[str, Any]:
    return {"catalogs": {"prod": {"credentials": {**OAUTH2, **credentials}}}}


def test_all_faults_come_at_once_in_the_order_of_the_file_with_line_and_field() -> None:
    text = """\
version: 7
catalogs:
  prod:
    storage: lkae
    credentials:
      mode: oauth2
      client_secret: hunter2
      client_secrt: x
storage:
  lake:
    locations: [http://hunter2/]
    max_ttl: soon
network:
  alowed_hosts: []
"""
    with pytest.raises(ConfigurationError) as caught:
        load_files(["p.yaml"], Files({"p.yaml": text}))
    assert str(caught.value).splitlines() == [
        "the configuration has 7 faults:",
        '  p.yaml:1: version must be 1, or floe\'s form in quotes: "1.0.0"',
        "  p.yaml:4: catalogs.prod.storage names no profile under storage: did you mean 'lake'?",
        (
            "  p.yaml:7: catalogs.prod.credentials.client_secret holds a literal where a reference belongs: "
            "write {secret_ref: name}, and keep the value in the secret of that name"
        ),
        "  p.yaml:8: catalogs.prod.credentials.client_secrt is an unknown key: did you mean 'client_secret'?",
        "  p.yaml:11: storage.lake.locations[0] is no location: it must begin with s3://, gs:// or abfss://",
        "  p.yaml:12: storage.lake.max_ttl must be a duration: 1h, 15m, 90s, 500ms, or a whole number of seconds",
        "  p.yaml:14: network.alowed_hosts is an unknown key: did you mean 'allowed_hosts'?",
    ]


def test_a_fault_of_a_second_file_is_named_by_that_file() -> None:
    files = Files({"one.yaml": "storage:\n  lake: {type: s3}\n", "two.yaml": "storage:\n  lake:\n    max_ttl: soon\n"})
    with pytest.raises(ConfigurationError, match=r"^two\.yaml:3: storage\.lake\.max_ttl must be a duration"):
        load_files(["one.yaml", "two.yaml"], files)


@pytest.mark.parametrize("version", [1, "1", "1.0.0", "1.2.0", "2.0.0", None])
def test_the_version_is_one_or_floes_form(version: object) -> None:
    from_data({"version": version})


@pytest.mark.parametrize("version", [2, 0, "1.0", "v1", True, [1], 1.1])
def test_another_version_is_refused(version: object) -> None:
    assert "version must be 1" in fault({"version": version})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"network": {"allowed_hosts": None}}, "network.allowed_hosts has nothing after it: write [] to allow nothing"),
        ({"storage": {"s": {"locations": None}}}, "storage.s.locations has nothing after it"),
        ({"network": {"proxi": "x"}}, "network.proxi is an unknown key: did you mean 'proxy'?"),
        ({"audit": {"snik": "log"}}, "audit.snik is an unknown key: did you mean 'sink'?"),
        ({"sidecar": {"port": 1}}, "sidecar.port is an unknown key"),
        ({"secret_backends": [{"type": "env", "path": "/x"}]}, "secret_backends[0].path is an unknown key"),
        (
            {"secret_backends": [{"type": "files", "pth": "/x"}]},
            "secret_backends[0].pth is an unknown key: did you mean 'path'?",
        ),
        (
            {"secret_backends": [{"type": "vault", "auth": {"method": "jwt", "rol": "x"}}]},
            "secret_backends[0].auth.rol is an unknown key: did you mean 'role'?",
        ),
        ({"secret_backends": [{}]}, "secret_backends[0].type is missing"),
        ({"secret_backends": {"type": "env"}}, "secret_backends must be a list"),
        ({"secret_backends": [{"type": "files", "path": "etc/../x"}]}, "secret_backends[0].path must be an absolute path"),
        ({"plugins": {"a": 1}}, "plugins must be a list"),
        ({"plugins": ["oauth2"]}, "plugins[0] is the built-in mode 'oauth2'"),
        ({"plugins": ["A.b:c"]}, "plugins[0] is no name of an entry point"),
        (in_catalog(clientsecret=1), "credentials.clientsecret is an unknown key: did you mean 'client_secret'?"),
        (in_catalog(subject_token={"fil": "x"}), "subject_token.fil is an unknown key: did you mean 'file'?"),
        (in_catalog(mode="oauth"), "credentials.mode is an unknown mode: did you mean 'oauth2'?"),
        (in_catalog(mode="own"), "credentials.mode is an unknown mode: use static, oauth2, iam_role, service_account, or"),
        (
            in_catalog(client_secret="hunter2"),
            "client_secret holds a literal where a reference belongs: write {secret_ref: name}",
        ),
        (in_catalog(client_secret={"secret_ref": "x y"}), "client_secret has a secret_ref that is no legal name"),
        (in_catalog(client_secret=["hunter2"]), "client_secret must be a reference to a secret"),
        (in_catalog(client_id=12), "client_id must be a text: put it in quotes"),
        (in_catalog(scope="a\nb"), "scope has a control character or a line break"),
        (in_catalog(scopes={"reed": "x"}), "credentials.scopes.reed must be 'read', 'write' or 'read_write'"),
        (in_catalog(token_endpoint_auth_method="basic"), "token_endpoint_auth_method must be 'client_secret_basic'"),
        (in_catalog(credential_source="magic"), "credential_source must be 'web_identity'"),
        (in_catalog(timeout="1h"), "timeout must be between 100ms and 5m"),
        ({"storage": {"a": {"max_ttl": 0}}}, "storage.a.max_ttl must be between 1s and 168h"),
        ({"storage": {"a": {"access": "all"}}}, "storage.a.access must be 'read', 'write' or 'read_write'"),
        ({"storage": {"a": {"path_style_access": "yes"}}}, "path_style_access must be true or false, without quotes"),
        ({"storage": {"a": {"locations": "s3://lake/"}}}, "storage.a.locations must be a list"),
        (
            {"storage": {"a": {"locations": ["s3://lake/../x"]}}},
            "storage.a.locations[0] is no location: it has a blank, '.' or",
        ),
        ({"storage": {"a": "lake"}}, "storage.a must be a map"),
        ({"storage": ["a"]}, "storage must be a map"),
        ({"storage": {"2nd": {}}}, "is no legal name of a profile"),
        (
            {"catalogs": {"a": {"access_delegation": "vended"}}},
            "access_delegation must be 'vended-credentials', 'remote-signing' or",
        ),
        (
            {"catalogs": {"a": {"storage": "lake"}}},
            "catalogs.a.storage names no profile under storage: there is none at all",
        ),
        (
            {"catalogs": {"a": {"storage": ["x"]}}, "storage": {"lake": {}}},
            "catalogs.a.storage[0] names no profile under storage",
        ),
        ({"catalogs": {"a": {"properties": {"x": {"y": 1}}}}}, "catalogs.a.properties.x must be a text"),
        ({"network": {"allowed_hosts": ["https://a"]}}, "network.allowed_hosts[0] must be a host's name or address"),
        ({"network": {"allowed_hosts": ["*"]}}, "network.allowed_hosts[0] must be a host's name or address"),
        ({"network": {"allowed_hosts": ["a.*.b"]}}, "network.allowed_hosts[0] must be a host's name or address"),
        ({"network": {"proxy": "socks5://a:1"}}, "network.proxy must be http://host:port"),
        ({"network": {"proxy": "http://u:hunter2@a:1"}}, "network.proxy must be http://host:port"),
        ({"audit": {"include": ["login"]}}, "audit.include[0] must be 'authentication', 'authorization', 'data_access' or"),
        ({"audit": {"key": "hunter2"}}, "audit.key holds a literal where a reference belongs"),
        ({"audit": {"enabled": False, "required": True}}, "audit.enabled is false while 'required' is true, and no rec"),
        ({"audit": {"enabled": False}}, "no record can be made: set 'required: false' to issue without a record"),
        (
            {"audit": {"enabled": False}},
            "audit.enabled is false while 'required' is true by default in production (no 'environment:' means that), and",
        ),
        (
            {"environment": "prod-eu", "audit": {"include": []}},
            "audit.include lacks authentication, authorization, data_access while 'required' is true by default",
        ),
        (
            {"environment": "dev", "audit": {"include": ["data_access", "schema_changes"], "required": True}},
            "audit.include lacks authentication, authorization while 'required' is true: add them, or set 'required: false'",
        ),
        ({"audit": {"include": [{}, []]}}, "audit.include[0] must be"),
        (in_catalog(mode="catalog"), "credentials.mode is 'catalog', which is never named"),
        ({"storage": {"a": {"bucket": "b", "locatons": []}}}, "a.locatons is an unknown key: did you mean 'locations'?"),
        ({"storage": {"a": {"bucket": "b", "location": []}}}, "a.location is an unknown key: did you mean 'locations'?"),
        ({"storage": {"a": {"bucket": "b", "Locations": []}}}, "a.Locations is an unknown key: did you mean 'locations'?"),
        ({"storage": {"a": {"buckets": "b"}}}, "storage.a.buckets is an unknown key: did you mean 'bucket'?"),
        ({"catalogs": {"a": {"acess": "read"}}}, "catalogs.a.acess is an unknown key: did you mean 'access'?"),
        ({"compute": {"a": {"max-ttl": "1h"}}}, "compute.a.max-ttl is an unknown key: did you mean 'max_ttl'?"),
    ],
)
def test_a_fault_names_the_field_and_the_remedy(data: dict[str, Any], expected: str) -> None:
    message = fault(data)
    assert expected in message
    assert "hunter2" not in message


def test_two_secrets_of_one_environment_variable_are_refused() -> None:
    data = in_catalog(client_secret={"secret_ref": "a-b"})
    data["storage"] = {"lake": {"credentials": {"secret_ref": "a_b"}}}
    assert fault(data) == (
        "storage.lake.credentials.secret_ref and the secret 'a-b' both read the environment variable A_B: rename one"
    )
    data["storage"]["lake"]["credentials"]["secret_ref"] = "a-b"
    from_data(data)
    assert "A_B" in fault(in_catalog(client_secret={"secret_ref": "a-b", "next": "A-b"}))


def test_profile_references_must_not_run_in_a_circle() -> None:
    chain: dict[str, Any] = {
        name: {"credentials": {"mode": "iam_role", "source_profile": to}} for name, to in ("ab", "bc", "ca")
    }
    assert "storage.a -> storage.b -> storage.c -> storage.a" in fault({"storage": chain})
    chain["c"]["credentials"]["source_profile"] = "other"
    from_data({"storage": chain, "compute": {"other": {}}})
    chain["c"]["credentials"]["source_profile"] = "c"
    assert "storage.c -> storage.c" in fault({"storage": chain, "compute": {"c": {}}})
    chain["c"]["credentials"]["source_profile"] = "absent"
    assert "names no profile under storage, catalogs, compute" in fault({"storage": chain})


def test_a_long_chain_of_profiles_is_followed_to_its_end() -> None:
    chain = {f"p{n}": {"credentials": {"source_profile": f"p{n + 1}"}} for n in range(2000)}
    assert "leads back" in fault({"storage": {**chain, "p2000": {"credentials": {"source_profile": "p0"}}}})


def test_a_plugins_mode_needs_its_name_in_the_list_and_keeps_its_own_keys() -> None:
    data: dict[str, Any] = {"compute": {"c": {"credentials": {"mode": "acme", "tenant": "t", "timeout": "2s"}}}}
    assert "unknown mode" in fault(data)
    platform = from_data({**data, "plugins": ["acme"]})
    credentials = platform.compute["c"].credentials
    assert credentials is not None
    assert credentials.mode == "acme"
    assert credentials.options == {"tenant": "t"}


def test_an_empty_profile_is_a_profile() -> None:
    platform = load_files(["p.yaml"], Files({"p.yaml": "storage:\n  lake:\ncatalogs:\ncompute: ~\n"}))
    assert list(platform.storage) == ["lake"]
    assert platform.catalogs == {}


def test_an_audit_that_records_what_is_needed_or_need_not_record_loads() -> None:
    for audit in (
        {"enabled": True, "include": ["authentication", "authorization", "data_access", "schema_changes"]},
        {"include": ["authentication", "authorization", "data_access"]},
        {"include": None, "enabled": None, "required": None},
        {"include": [], "required": False},
        {"enabled": False, "required": False},
    ):
        from_data({"audit": audit})
    from_data({"environment": "dev", "audit": {"include": []}})


def test_a_models_error_keeps_no_literal_in_our_frames() -> None:
    for data in (in_catalog(client_secret="hunter2"), {"storage": {"a": {"password": "hunter2"}}}):
        with pytest.raises(ConfigurationError) as caught:
            PlatformConfig(**data)
        trace = caught.value.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename.endswith("credbroker/config/platform.py"):
                assert "hunter2" not in repr(trace.tb_frame.f_locals)
            trace = trace.tb_next


def test_very_many_unknown_names_look_for_the_meant_one_fifty_times(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def nearest(name: str, known: list[str]) -> str | None:
        looked.append(name)
        return None

    monkeypatch.setattr("credbroker.config.references.nearest", nearest)
    storage: dict[str, Any] = {f"lake{n}": {} for n in range(200)}
    message = fault({"storage": storage, "catalogs": {"a": {"storage": [f"x{n}" for n in range(200)]}}})
    assert len(looked) == 50
    assert message.startswith("the configuration has 200 faults")
    assert "catalogs.a.storage[0] names no profile under storage: there are lake0, lake1, lake10," in message
    assert "lake99" not in message
    assert " and 150 more\n" in message


def test_the_model_itself_raises_the_same_error() -> None:
    data = in_catalog(client_secret="hunter2")
    text = r"catalogs\.prod\.credentials\.client_secret holds a literal"
    with pytest.raises(ConfigurationError, match=text):
        PlatformConfig(**data)
    with pytest.raises(ConfigurationError, match=text):
        PlatformConfig.model_validate(data)
    with pytest.raises(ConfigurationError, match="is a map of sections"):
        PlatformConfig.model_validate("hunter2")
    with pytest.raises(ConfigurationError, match="is a PlatformConfig or a map of sections"):
        from_data("hunter2")  # type: ignore[arg-type]


def test_very_many_faults_are_cut_short() -> None:
    message = fault({"storage": {f"p{n}": {"max_ttl": 0} for n in range(80)}})
    assert message.startswith("the configuration has 80 faults")
    assert message.endswith("and 30 more")
