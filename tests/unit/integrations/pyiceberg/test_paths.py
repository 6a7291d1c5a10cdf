from __future__ import annotations

import pytest

from credbroker.errors import ConfigurationError
from credbroker.integrations.pyiceberg.paths import file_location, folder_of, table_root
from credbroker.location import Location


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("s3://lake/wh/t/data/name=a%2Fb/x.parquet", "wh/t/data/name=a%2Fb/x.parquet"),
        ("s3a://lake/wh/t/data/n=%2E%2E/x.parquet", "wh/t/data/n=%2E%2E/x.parquet"),
        ("S3N://lake/a//b", "a//b"),
        ("s3://lake/wh/t/", "wh/t"),
        ("s3://lake", ""),
    ],
)
def test_a_files_name_is_kept_as_its_writer_wrote_it(text: str, key: str) -> None:
    assert file_location(text) == Location("s3", "lake", key)


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "hdfs://lake/x",
        "gs://lake/x",
        "s3://user@lake/x",
        "s3://lake:80/x",
        "s3:///x",
        "s3://lake/a?versionId=1",
        "s3://lake/a#b",
        "s3://lake/wh/../finance/x",
        "s3://lake/./x",
        "s3://lake/a\nb",
        "s3://lake/a\x00b",
    ],
)
def test_what_two_clients_would_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="refused"):
        file_location(text)


@pytest.mark.parametrize(
    ("file", "root"),
    [
        ("s3://lake/wh/t/metadata/1.metadata.json", "s3://lake/wh/t"),
        ("s3://lake/wh/t/data/x.parquet", "s3://lake/wh/t"),
        ("s3://lake/metadata/1.json", "s3://lake"),
        ("s3://lake/wh/t/data/p=1/x.parquet", None),
        ("s3://lake/wh/elsewhere/x.parquet", None),
        ("s3://lake/x.parquet", None),
    ],
)
def test_a_tables_root_is_told_by_pyicebergs_layout(file: str, root: str | None) -> None:
    assert table_root(file_location(file)) == (root and file_location(root))


def test_the_folder_of_a_file_is_all_that_stands_before_its_name() -> None:
    assert folder_of(file_location("s3://lake/wh/x/y.parquet")) == Location.parse("s3://lake/wh/x")
