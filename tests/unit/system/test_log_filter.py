from __future__ import annotations

import logging

import pytest

from credbroker import Broker


@pytest.fixture(autouse=True)
def _loaded() -> None:
    Broker.from_config({"version": 1, "environment": "local"})


def test_what_an_sdk_logs_for_debugging_is_emptied(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("botocore.parsers").debug("Response body: %s", "hunter2")
        logging.getLogger("botocore.parsers").info("found credentials")
        logging.getLogger("somebody").debug("hunter3")
    assert [record.getMessage() for record in caplog.records] == [
        "withheld by credbroker: it may hold a secret",
        "found credentials",
        "hunter3",
    ]


def test_a_record_of_another_process_is_taken_as_it_is() -> None:
    # As SocketHandler's receivers and Dagster do: an empty record first, whose name and level are None.
    assert logging.makeLogRecord({}).levelno is None
    received = logging.makeLogRecord({"name": "botocore.parsers", "levelno": logging.DEBUG, "msg": "as it came"})
    assert received.getMessage() == "as it came"
