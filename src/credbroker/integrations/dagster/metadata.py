"""What a materialization is told about the credentials behind it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from credbroker.broker import Broker
from credbroker.profiles import SECTIONS

CREDENTIALS = "credbroker/credentials"
ISSUES = "credbroker/issues"
_COLUMNS = ("profile", "kind", "access", "scope", "expires_at", "fingerprint")


def metadata_of(view: Broker, told: Mapping[str, Any] | None = None) -> dict[str, dg.MetadataValue]:
    """A row for each value that is held of what was asked of this view, and how many were issued for its run.

    The rows of ``told``, which is such metadata already, stand among them; a row of both is told once.
    """
    earlier = (told or {}).get(CREDENTIALS)
    records = list(earlier.records) if isinstance(earlier, dg.TableMetadataValue) else []
    for entry in view.status(own=True):
        record = dg.TableRecord(_row(entry))
        if entry["fingerprint"] is not None and record not in records:
            records.append(record)
    records.sort(key=lambda record: [str(record.data[name] or "") for name in _COLUMNS])
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in _COLUMNS])
    return {CREDENTIALS: dg.MetadataValue.table(records, schema=schema), ISSUES: dg.MetadataValue.int(view.issues)}


def _row(entry: dict[str, Any]) -> dict[str, str | float | int | bool | None]:
    expires_at: datetime | None = entry["expires_at"]
    return {
        "profile": f"{SECTIONS[entry['kind']]}/{entry['profile']}",
        "kind": "token" if entry["kind"] == "catalog" else entry["kind"],
        "access": entry["access"],
        "scope": entry["table"] or " ".join(entry["locations"]) or " ".join(entry["scopes"]) or None,
        # RFC 3339 with a blank, where a narrow column on Dagster's page may break it.
        "expires_at": f"{expires_at:%Y-%m-%d %H:%M:%SZ}" if expires_at is not None else None,
        "fingerprint": entry["fingerprint"],
    }
