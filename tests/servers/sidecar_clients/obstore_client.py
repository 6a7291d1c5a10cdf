"""object_store by obstore: a listing and an object, by one store. Arguments: bucket, key."""

from __future__ import annotations

import sys

from obstore.store import S3Store
from repeat import repeat

bucket, key = sys.argv[1:]
store = S3Store(bucket)


def read() -> None:
    folder = key.rpartition("/")[0]
    assert key in {found["path"] for batch in store.list(folder) for found in batch}
    assert store.get(key).bytes()


repeat(read)
