"""raw -> staged -> mart on Iceberg, and a report beside it. Each asset names a profile of platform.yaml."""

from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from examples.dagster_lakehouse import shop
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from credbroker.integrations.boto3 import session
from credbroker.integrations.dagster import CredentialBrokerResource, can_issue

RAW = pa.schema([("day", pa.string()), ("order_id", pa.string()), ("country", pa.string()), ("amount", pa.string())])
STAGED = pa.schema(
    [("day", pa.date32()), ("order_id", pa.string()), ("country", pa.string()), ("amount", pa.decimal128(12, 2))]
)
MART = pa.schema([("day", pa.date32()), ("country", pa.string()), ("orders", pa.int64()), ("revenue", pa.decimal128(12, 2))])

broker = CredentialBrokerResource(
    config=dg.EnvVar("CREDBROKER_CONFIG"),
    profiles=["catalogs/lakehouse"],  # a run that could not get this fails before its first asset
)


def _empty(catalog: Catalog, identifier: str, schema: pa.Schema) -> Table:
    """The table, with nothing in it: so an asset can be materialized again."""
    catalog.create_namespace_if_not_exists(identifier.rpartition(".")[0])
    table = catalog.create_table_if_not_exists(identifier, schema)
    if table.current_snapshot() is not None:
        table.delete()
    return table


@dg.asset(group_name="lakehouse")
def shop_days() -> dg.MaterializeResult[Any]:
    """How many days the shop has orders of. It says so at once, and what is checked here is checked before the long work."""
    return dg.MaterializeResult(metadata={"days": shop.DAYS})


@dg.asset(group_name="lakehouse", deps=[shop_days])
def raw_orders(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
    """Orders as the shop sends them. It sends slowly: the table's keys end while it is written, several times."""
    table = _empty(broker.load_catalog("lakehouse", access="read_write"), "raw.orders", RAW)
    rows = 0
    for day in shop.days():
        table.append(day)
        rows += day.num_rows
    return dg.MaterializeResult(metadata={"rows": rows, **broker.metadata()})


@dg.asset(group_name="lakehouse", deps=[raw_orders])
def staged_orders(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
    """Each order once and with its types; what is no order is left out. A file of the raw table is a commit here."""
    raw = broker.load_catalog("lakehouse").load_table("raw.orders")
    table = _empty(broker.load_catalog("lakehouse", access="read_write"), "staged.orders", STAGED)
    rows = dropped = 0
    for day in sorted(set(raw.scan(selected_fields=("day",)).to_arrow()["day"].to_pylist())):
        sent = raw.scan(row_filter=f"day = '{day}'").to_arrow()
        orders = sent.filter(pc.match_substring_regex(sent["amount"], r"^\d+\.\d\d$"))
        once = orders.group_by("order_id").aggregate([(name, "max") for name in ("day", "country", "amount")])
        staged = once.rename_columns([name.removesuffix("_max") for name in once.column_names]).select(STAGED.names)
        table.append(staged.cast(STAGED))
        rows += staged.num_rows
        dropped += sent.num_rows - staged.num_rows
    return dg.MaterializeResult(metadata={"rows": rows, "dropped": dropped, **broker.metadata()})


@dg.asset(group_name="lakehouse", deps=[staged_orders])
def revenue(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
    """The mart: orders and revenue by day and country."""
    orders = broker.load_catalog("lakehouse").load_table("staged.orders").scan().to_arrow()
    summed = orders.group_by(["day", "country"]).aggregate([("order_id", "count"), ("amount", "sum")])
    mart = summed.rename_columns(MART.names).cast(MART).sort_by([("day", "ascending"), ("country", "ascending")])
    _empty(broker.load_catalog("lakehouse", access="read_write"), "mart.revenue", MART).append(mart)
    total = float(pc.sum(mart["revenue"]).as_py())
    return dg.MaterializeResult(metadata={"rows": mart.num_rows, "revenue": total, **broker.metadata()})


@dg.asset(group_name="lakehouse", deps=[revenue])
def report(broker: CredentialBrokerResource) -> dg.MaterializeResult[Any]:
    """The mart as CSV in another bucket, for people without Iceberg: by boto3, with keys to write there and nowhere else."""
    mart = broker.load_catalog("lakehouse").load_table("mart.revenue").scan().to_arrow()
    text = pa.BufferOutputStream()
    pyarrow.csv.write_csv(mart, text)
    s3 = session(broker.storage("reports", access="write")).client("s3")
    s3.put_object(Bucket="lake", Key="reports/revenue.csv", Body=text.getvalue().to_pybytes())
    return dg.MaterializeResult(metadata={"rows": mart.num_rows, "to": "s3://lake/reports/revenue.csv", **broker.metadata()})


defs = dg.Definitions(
    assets=[shop_days, raw_orders, staged_orders, revenue, report],
    # Before hours are spent on the orders: could the report at the end be written? If not, raw_orders does not start.
    asset_checks=[can_issue(shop_days, "storage/reports")],
    resources={"broker": broker},
)
