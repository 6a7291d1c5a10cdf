"""Each private hook of PyIceberg, and of what s3fs stands on, that the adapter needs; run for each supported release.

PyIceberg promises nothing about these. A release that moves one fails here by its name, and not in somebody's pipeline.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyiceberg
import pyiceberg.catalog
import pyiceberg.catalog.rest
import pyiceberg.catalog.sql
import pyiceberg.io
import pytest
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from aiobotocore.signers import AioRequestSigner
from botocore.loaders import Loader
from botocore.session import Session
from botocore.signers import RequestSigner
from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.rest import RestCatalog, TableResponse
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.fsspec import FsspecFileIO, FsspecInputFile, FsspecOutputFile
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.table import StagedTable, Table
from pyiceberg.utils.config import Config
from s3fs import S3FileSystem

from credbroker.integrations.pyiceberg import (
    BrokerFsspecFileIO,
    BrokerGlueCatalog,
    BrokerPyArrowFileIO,
    BrokerRestCatalog,
    BrokerSqlCatalog,
)
from credbroker.integrations.pyiceberg.metastore import BrokerMetastore

SUPPORTED = ("0.11.", "0.12.")
SOURCES = Path(pyiceberg.__file__).parent

# What we override, or call, and by which parameters. (Owner, name, parameters without self.)
HOOKS: list[tuple[type, str, tuple[str, ...]]] = [
    # The session is made here, twice; both are ours: transport, no delegation header, nothing ambient.
    (RestCatalog, "_create_session", ()),
    (RestCatalog, "_config_headers", ("session",)),
    # The server's defaults and overrides are merged here, and then cut down to what is listened to.
    (RestCatalog, "_fetch_config", ()),
    # Called before a refused request is sent again: ours says no, since the transport has done it.
    (RestCatalog, "_refresh_token", ()),
    # Here, and nowhere else, a REST table gets its FileIO.
    (RestCatalog, "_load_file_io", ("properties", "location")),
    (RestCatalog, "_response_to_table", ("identifier_tuple", "table_response")),
    (RestCatalog, "_response_to_staged_table", ("identifier_tuple", "table_response")),
    # Glue takes the client that it asks, and has its tables from here.
    (GlueCatalog, "_convert_glue_to_iceberg", ("glue_table",)),
    # The same for SQL.
    (Catalog, "_load_file_io", ("properties", "location")),
    (SqlCatalog, "_convert_orm_to_iceberg", ("orm_table",)),
    (
        MetastoreCatalog,
        "_create_staged_table",
        ("identifier", "schema", "location", "partition_spec", "sort_order", "properties"),
    ),
    (MetastoreCatalog, "_update_and_stage_table", ("current_table", "table_identifier", "requirements", "updates")),
    # File systems: the stock makers are shut.
    (PyArrowFileIO, "_initialize_fs", ("scheme", "netloc")),
    (PyArrowFile, "__init__", ("location", "path", "fs", "buffer_size")),
    (FsspecInputFile, "__init__", ("location", "fs")),
    (FsspecOutputFile, "__init__", ("location", "fs")),
    (Table, "__init__", ("identifier", "metadata", "metadata_location", "io", "catalog", "config")),
    (StagedTable, "__init__", ("identifier", "metadata", "metadata_location", "io", "catalog", "config")),
    (Config, "get_catalog_config", ("catalog_name",)),
    # What s3fs signs with.
    (AioCredentials, "get_frozen_credentials", ()),
]


def test_this_release_is_one_of_those_supported() -> None:
    assert version("pyiceberg").startswith(SUPPORTED)


@pytest.mark.parametrize(
    ("owner", "name", "parameters"), HOOKS, ids=lambda value: getattr(value, "__name__", str(value))[:40]
)
def test_a_hook_is_there_and_takes_what_we_pass(owner: type, name: str, parameters: tuple[str, ...]) -> None:
    found = tuple(inspect.signature(getattr(owner, name)).parameters)
    assert tuple(each for each in found if each != "self") == parameters


def test_the_stock_fsspec_file_systems_are_made_behind_one_door() -> None:
    # 0.11.0 knows no hostname; ours takes both.
    assert set(inspect.signature(FsspecFileIO.get_fs).parameters) - {"self"} <= {"scheme", "hostname"}
    for operation in (FsspecFileIO.new_input, FsspecFileIO.new_output, FsspecFileIO.delete):
        assert re.search(r"self\.(_get_fs_from_uri|get_fs)\(uri", inspect.getsource(operation))


@pytest.mark.parametrize(
    "ours",
    [
        BrokerRestCatalog,
        BrokerGlueCatalog,
        BrokerSqlCatalog,
        BrokerMetastore,
        BrokerPyArrowFileIO,
        BrokerFsspecFileIO,
    ],
)
def test_every_private_method_that_we_override_is_named_above(ours: type) -> None:
    overridden = {
        name
        for name, value in vars(ours).items()
        if inspect.isfunction(value)
        and name.startswith("_")
        and not name.startswith("__")
        and any(name in vars(base) for base in ours.__mro__[1:])
    }
    assert overridden <= {name for _, name, _ in HOOKS}


def test_a_session_is_made_by_the_hook_alone_and_kept_under_its_name() -> None:
    made_here = [
        line for line in inspect.getsource(pyiceberg.catalog.rest).splitlines() if re.search(r"\bSession\(\)", line)
    ]
    assert len(made_here) == 1  # in _create_session
    assert "self._session = self._create_session()" in inspect.getsource(RestCatalog.__init__)
    assert "with self._create_session() as session" in inspect.getsource(RestCatalog._fetch_config)


def test_the_config_is_merged_into_these_two_names() -> None:
    source = inspect.getsource(RestCatalog._fetch_config)
    assert "self.properties = config" in source
    assert "self.uri = config[URI]" in source


def test_a_refused_request_goes_through_the_hook_before_it_is_sent_again() -> None:
    assert "rest_catalog._refresh_token()" in inspect.getsource(pyiceberg.catalog.rest._retry_hook)
    assert pyiceberg.catalog.rest._RETRY_ARGS["before_sleep"] is pyiceberg.catalog.rest._retry_hook


def test_a_table_response_has_what_we_read() -> None:
    assert {"metadata", "metadata_location"} <= set(TableResponse.model_fields)


def test_a_file_io_is_made_of_properties_in_places_that_are_known() -> None:
    """Another place would make one that our overrides do not see."""
    callers = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if re.search(r"(?<!def )(?<!_)load_file_io\(", path.read_text())
    }
    ours = {"catalog/__init__.py", "catalog/rest/__init__.py", "catalog/sql.py"}
    others = {
        "catalog/bigquery_metastore.py",
        "catalog/dynamodb.py",
        "catalog/glue.py",
        "catalog/hive.py",
        "table/__init__.py",
    }
    assert ours <= callers <= ours | others | {"io/__init__.py", "cli/console.py"}
    assert sum("load_file_io(" in line for line in inspect.getsource(StagedTable).splitlines()) == 0
    # In SQL's own module: from the catalog's properties, which hold ours.
    made_of = set(re.findall(r"(?<!_)load_file_io\((?:properties=)?([a-z_.]+)", inspect.getsource(pyiceberg.catalog.sql)))
    assert made_of == {"self.properties"}
    purging = inspect.getsource(MetastoreCatalog.purge_table)
    assert "load_file_io(self.properties, table.metadata_location)" in purging


def test_py_io_impl_comes_first_and_is_given_the_properties_alone() -> None:
    given: list[Any] = []

    class Made(PyArrowFileIO):
        def __init__(self, properties: Any) -> None:
            given.append(properties)

    pyiceberg.io.Made = Made  # type: ignore[attr-defined]
    try:
        properties = {"py-io-impl": "pyiceberg.io.Made"}
        assert isinstance(pyiceberg.io.load_file_io(properties, "s3://lake/x"), Made)
        assert given == [properties]
    finally:
        del pyiceberg.io.Made  # type: ignore[attr-defined]


def test_py_catalog_impl_is_given_its_name_and_the_properties_of_the_call() -> None:
    made: list[tuple[str, dict[str, str]]] = []

    def construct(name: str, **properties: str) -> object:
        made.append((name, properties))
        return object()

    pyiceberg.catalog.construct = construct  # type: ignore[attr-defined]
    try:
        pyiceberg.catalog.load_catalog("named", **{"py-catalog-impl": "pyiceberg.catalog.construct", "a": "b"})
        assert made == [("named", {"py-catalog-impl": "pyiceberg.catalog.construct", "a": "b"})]
    finally:
        del pyiceberg.catalog.construct  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "module"), [("fs_by_scheme", "io/pyarrow.py"), ("get_fs(", "io/fsspec.py")])
def test_nobody_else_reaches_for_a_file_ios_file_systems(name: str, module: str) -> None:
    assert {str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.py") if name in path.read_text()} == {module}


@pytest.mark.parametrize("operation", [PyArrowFileIO.new_input, PyArrowFileIO.new_output, PyArrowFileIO.delete])
def test_every_file_of_arrows_goes_through_the_methods_that_we_override(operation: Callable[..., Any]) -> None:
    assert "self.fs_by_scheme(scheme, netloc)" in inspect.getsource(operation)


def test_the_sql_catalogs_engine_is_an_attribute_made_of_the_uri_once() -> None:
    source = inspect.getsource(SqlCatalog)
    assert source.count("create_engine(") == 1
    assert "self.engine = create_engine(uri_prop, echo=echo, pool_pre_ping=pool_pre_ping)" in source
    assert source.count("properties.get(URI)") == 1


def test_glue_is_asked_by_the_client_that_is_given_and_by_no_other() -> None:
    source = inspect.getsource(GlueCatalog)
    assert source.count("session.client(") == 1
    assert tuple(inspect.signature(GlueCatalog.__init__).parameters) == ("self", "name", "client", "properties")
    assert "if client is not None:\n            self.glue = client" in source


def test_botocore_asks_its_credentials_at_each_signing() -> None:
    assert "if self._credentials is None:" in inspect.getsource(Session.get_credentials)
    assert "get_frozen_credentials()" in inspect.getsource(RequestSigner.get_auth_instance)


def test_s3fs_keeps_the_session_that_it_is_given() -> None:
    assert "session" in inspect.signature(S3FileSystem.__init__).parameters
    assert "self.session.create_client" in inspect.getsource(S3FileSystem.set_session)


def test_a_session_asks_its_credentials_at_each_signing_and_no_resolver() -> None:
    assert "if self._credentials is None:" in inspect.getsource(AioSession.get_credentials)
    assert "session_vars" in inspect.signature(AioSession.__init__).parameters
    assert "get_frozen_credentials()" in inspect.getsource(AioRequestSigner.get_auth_instance)
    assert {"extra_search_paths", "include_default_search_paths"} <= set(inspect.signature(Loader.__init__).parameters)
