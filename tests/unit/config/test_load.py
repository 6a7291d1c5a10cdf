"""Files of the shape that floe writes, and what happens to a secret that stands in the wrong place."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from credbroker.config import PlatformConfig, from_data, load_files
from credbroker.config.reader import read_yaml
from credbroker.errors import ConfigurationError
from credbroker.location import Location
from credbroker.profile import CatalogProfile
from credbroker.secrets.reference import SecretReference

from .files import Files

CASES = Path(__file__).parents[2] / "cases" / "config"
CANARY = "c4n4ry+Secret/9f3ac1d7e5"
NAME_LIKE = "c4n4rySecret9f3ac1d7e5"
# What could be a name is one as a key, and where one is asked for; as any other value it must not show either.
PLANTED: tuple[object, ...] = (
    *(CANARY, {CANARY: None}, [CANARY], {"secret_ref": CANARY}, {CANARY: CANARY}, [[CANARY]]),
    *(NAME_LIKE, [NAME_LIKE], {"secret_ref": [NAME_LIKE]}, {"value": NAME_LIKE}),
)


def case(name: str) -> str:
    return str(CASES / name)


def test_a_local_lakehouse_of_floe_loads_without_a_warning() -> None:
    platform = load_files([case("lakehouse-local.yaml")])
    assert platform.warnings == ()
    assert platform.storage["default"].locations == (Location("s3", "lakehouse-raw", ""),)
    assert platform.storage["refined"].endpoint == SecretReference(secret_ref="object-store-endpoint")
    assert platform.catalogs["default"].access_delegation == "none"
    assert platform.compute["default"].properties == {"path": "/tmp/lakehouse.duckdb", "threads": 2}  # noqa: S108


def test_an_aws_lakehouse_of_floe_loads_without_a_warning() -> None:
    platform = load_files([case("lakehouse-aws.yaml")])
    assert platform.warnings == ()
    assert platform.production
    assert platform.storage["orders"].endpoint is None
    catalog: CatalogProfile = platform.catalogs["default"]
    assert (catalog.type, catalog.uri) == ("rest", SecretReference(secret_ref="polaris-uri"))


def test_every_key_loads_without_a_warning() -> None:
    platform = load_files([case("every-key.yaml")])
    assert platform.warnings == ()
    assert not platform.production
    assert platform.paths == (case("every-key.yaml"),)


@pytest.mark.parametrize(
    "text",
    [
        "catalogs:\n  production:\n    credentials:\n      mode: oauth2\n      scope: PRINCIPAL_ROLE:READER\n",
        "credentials:\n  mode: iam_role\n  role_arn: arn:aws:iam::210987654:role/Partial\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {client_secret: not-ours}\n",
        "observability:\n  traces: true\n  attributes: {service.name: x}\n",
        "audit:\n  log_level: INFO\n  include: [authentication, authorization, data_access, schema_changes]\n",
    ],
)
def test_a_part_of_a_platform_file_loads(text: str) -> None:
    load_files(["p.yaml"], Files({"p.yaml": text}))


def test_ours_in_a_second_file_is_merged_over_floes() -> None:
    over = "storage:\n  orders:\n    locations: [s3://acme-orders/eu/]\n    credentials: {credential_source: web_identity}\n"
    files = Files({"platform.yaml": (CASES / "lakehouse-aws.yaml").read_text(), "credbroker.yaml": over})
    orders = load_files(["platform.yaml", "credbroker.yaml"], files).storage["orders"]
    assert orders.locations == (Location("s3", "acme-orders", "eu"),)
    assert orders.credentials is not None
    assert orders.credentials.role_arn is not None
    assert orders.credentials.credential_source == "web_identity"


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"^absent\.yaml: cannot be read: no such file .*: correct its path",
    ):
        load_files(["absent.yaml"], Files({}))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_files(["a\x00b"])
    with pytest.raises(ConfigurationError, match="is a directory"):
        load_files([CASES])
    with pytest.raises(ConfigurationError, match="no configuration file"):
        load_files([])


def test_a_model_is_taken_as_it_is() -> None:
    config = PlatformConfig.model_validate({"storage": {"lake": {"bucket": "lake"}}})
    assert from_data(config).storage["lake"].locations == (Location("s3", "lake", ""),)


def wrong_places() -> Iterator[dict[str, Any]]:
    """The canary in every place where a value stands, and as a key beside it."""
    config = read_yaml((CASES / "every-key.yaml").read_bytes(), "p.yaml").plain()
    for path in leaves(config):
        for planted in PLANTED:
            yield replaced(config, path, planted)


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        yield from leaves(child, (*path, step))


def replaced(value: Any, path: tuple[str | int, ...], planted: object) -> Any:
    """A copy of ``value`` with ``planted`` at ``path``."""
    if not path:
        return planted
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], planted)
    return copy


def test_a_secret_in_any_wrong_place_shows_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    refused = 0
    for data in wrong_places():
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            shown = [*outcome(data), caplog.text]
        refused += len(shown) > 2
        assert not any(CANARY in text or NAME_LIKE in text for text in shown)
    assert refused > 500


def outcome(data: dict[str, Any]) -> list[str]:
    """All that a caller can see: the warnings, or every surface of the error."""
    try:
        return ["".join(from_data(data).warnings)]
    except ConfigurationError as error:
        return list(surfaces(error))


def surfaces(error: ConfigurationError) -> Iterator[str]:
    link: BaseException | None = error
    while link is not None:
        yield from (str(link), repr(link), repr(link.args), repr(vars(link)))
        link = link.__cause__ or link.__context__
    # Frames keep their variables as long as the error lives; the caller's own data is the caller's.
    trace = error.__traceback__
    trace = trace.tb_next if trace is not None else None
    while trace is not None:
        yield repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


def test_a_files_text_stays_in_no_frame_of_the_error() -> None:
    text = f"catalogs:\n  a:\n    credentials:\n      client_secret: {CANARY}\n"
    for broken in (text, text + "   bad: [", text.replace("c4n", '"\\q')):
        with pytest.raises(ConfigurationError) as caught:
            load_files(["p.yaml"], Files({"p.yaml": broken}))
        for shown in surfaces(caught.value):
            assert CANARY not in shown
            assert "4ry+Secret" not in shown
