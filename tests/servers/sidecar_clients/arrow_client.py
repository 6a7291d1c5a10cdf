"""Arrow C++: a listing and an object, by one file system with its own chain of credentials. Arguments: bucket, key."""

from __future__ import annotations

import os
import sys

from pyarrow.fs import FileSelector, S3FileSystem
from repeat import repeat

bucket, key = sys.argv[1:]
s3 = S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL_S3"])  # it does not read that by itself


def read() -> None:
    folder = f"{bucket}/{key}".rpartition("/")[0]
    assert f"{bucket}/{key}" in {found.path for found in s3.get_file_info(FileSelector(folder))}
    with s3.open_input_stream(f"{bucket}/{key}") as file:
        assert file.read()


repeat(read)
