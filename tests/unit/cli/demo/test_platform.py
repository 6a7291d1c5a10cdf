from __future__ import annotations

from typing import Any, cast

import pytest

from credbroker.cli.demo.platform import ASSUMED, VENDED, broker_of
from credbroker.cli.demo.seaweed import SeaweedFS
from credbroker.errors import AccessDenied
from credbroker.location import Location


class Store:
    """A store's addresses and keys, without the store."""

    access_key, secret_key = "an-access-key", "a-secret-key"
    catalog_uri, s3_endpoint, sts_endpoint = "http://127.0.0.1:2", "http://127.0.0.1:1", "http://127.0.0.1:1"
    warehouse, role_arn = "s3://warehouse", "arn:aws:iam::123456789012:role/Pipe"


STORE = cast("SeaweedFS", Store())


def test_the_limits_hold_before_any_server_is_asked() -> None:
    with broker_of(STORE, "http://127.0.0.1:3") as broker:
        for outside in ("s3://warehouse/shop/orders/", "s3://warehouse/shop/", "s3://lake/payroll/"):
            with pytest.raises(AccessDenied):
                broker.storage("lake", outside)
        assert broker.storage("lake", "s3://warehouse/shop/orders2/data").request.locations == (
            Location.parse("s3://warehouse/shop/orders2/data/"),
        )


def test_one_way_is_vended_by_the_catalog_and_the_other_is_not() -> None:
    with broker_of(STORE, "http://127.0.0.1:3") as broker:
        vended, assumed = (cast("Any", broker.profile("catalog", way.catalog)) for way in (VENDED, ASSUMED))
    assert (vended.access_delegation, vended.storage) == ("vended-credentials", ())
    assert assumed.access_delegation == "none"
    assert [storage.name for storage in assumed.storage] == ["lake"]


def test_the_table_names_would_betray_a_grant_that_compares_letters() -> None:
    assert ASSUMED.table.startswith(VENDED.table)


def test_no_secret_stands_in_the_configuration() -> None:
    with broker_of(STORE, "http://127.0.0.1:3") as broker:
        shown = repr(broker) + repr(broker.profile("catalog", "vended")) + repr(broker.profile("storage", "lake"))
    assert Store.access_key not in shown
    assert Store.secret_key not in shown
