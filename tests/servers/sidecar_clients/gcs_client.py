"""google-cloud-storage: a listing and an object, by one client with its default chain. Arguments: endpoint, bucket, name."""

from __future__ import annotations

import sys

from google.cloud import storage
from repeat import repeat

endpoint, bucket, name = sys.argv[1:]
client = storage.Client(client_options={"api_endpoint": endpoint})


def read() -> None:
    assert name in {blob.name for blob in client.list_blobs(bucket, prefix=name.rpartition("/")[0] + "/")}
    assert client.bucket(bucket).blob(name).download_as_bytes()


repeat(read)
