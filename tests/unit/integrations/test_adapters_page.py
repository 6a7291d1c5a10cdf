"""What docs/adapters.md shows is run as it stands, at a store on loopback."""

from __future__ import annotations

import io
import re
import runpy
import shutil
from importlib.util import find_spec
from pathlib import Path

import duckdb
import polars as pl
import pytest
from tests.servers.keyed_store import KeyedStore

PAGE = Path(__file__).parents[3] / "docs" / "adapters.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
PLATFORM = """
environment: dev
storage:
  lake:
    endpoint: {endpoint}
    region: eu-west-1
    locations: [s3://lake/sales/]
    allow_unscoped: true
    credentials: {{mode: static, secret_ref: lake-keys}}
"""


@pytest.fixture
def extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository of DuckDB's in a folder: nothing is downloaded."""
    found = find_spec("duckdb_extension_httpfs")
    assert found is not None
    assert found.origin is not None
    shutil.copytree(Path(found.origin).parent / "extensions", tmp_path / "fetched")
    (extension,) = (tmp_path / "fetched").glob("*/httpfs.duckdb_extension")
    ((platform,),) = duckdb.execute("PRAGMA platform").fetchall()
    (extension.parent / platform).mkdir()
    extension.rename(extension.parent / platform / extension.name)
    repository = {
        "custom_extension_repository": str(tmp_path / "fetched"),
        "extension_directory": str(tmp_path / "installed"),
    }
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda: connect(config=repository))


@pytest.mark.filterwarnings("ignore:the `credential_provider` parameter")  # Polars calls it unstable
@pytest.mark.usefixtures("extensions")
@pytest.mark.parametrize("block", BLOCKS, ids=["boto3", "polars", "duckdb"])
def test_each_block_reads_with_the_profiles_keys(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = io.BytesIO()
    pl.DataFrame({"id": [1, 2, 3]}).write_parquet(file)
    with KeyedStore(file.getvalue()) as store:
        store.listed = "sales/orders.parquet"
        (tmp_path / "platform.yaml").write_text(PLATFORM.format(endpoint=store.uri))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("LAKE_KEYS", "AKIALAKE:secret")
        (tmp_path / "block.py").write_text(block)
        names = runpy.run_path("block.py")
        names["broker"].close()
        assert set(store.key_ids) == {"AKIALAKE"}
    if "download_file" in block:
        assert (tmp_path / "orders.parquet").read_bytes() == file.getvalue()
    if "show()" in block:
        assert re.search(r"\b3\b", capfd.readouterr().out)
