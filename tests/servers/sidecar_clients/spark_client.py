"""The AWS SDK for Java in Spark's Iceberg runtime: the rows of a table, by one session.

Arguments: the jar, which has Iceberg and the SDK under ``smfs.shaded``; the catalog's URI and its warehouse. The keys of the
data files are those of the SDK's own chain.
"""

from __future__ import annotations

import os
import sys

from pyspark.sql import SparkSession
from repeat import repeat

jar, uri, warehouse = sys.argv[1:]
catalog = {
    "": "smfs.shaded.org.apache.iceberg.spark.SparkCatalog",
    ".type": "rest",
    ".uri": uri,
    ".warehouse": warehouse,
    ".token": os.environ["CATALOG_TOKEN"],
    ".token-refresh-enabled": "false",
    ".io-impl": "smfs.shaded.org.apache.iceberg.aws.s3.S3FileIO",
    ".s3.path-style-access": "true",
}
settings = {
    "spark.jars": jar,
    "spark.ui.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    **{f"spark.sql.catalog.production{name}": value for name, value in catalog.items()},
}
builder = SparkSession.builder.master("local[1]")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()


def read() -> None:
    assert spark.sql("SELECT sum(id) FROM production.sidecar_clients.orders").collect()[0][0] > 0


repeat(read)
spark.stop()
