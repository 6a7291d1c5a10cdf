from __future__ import annotations

import pytest

from credbroker.config.reader import read_yaml
from credbroker.config.tree import merged, tree_of
from credbroker.errors import ConfigurationError


def test_files_merge_map_by_map_and_replace_all_else() -> None:
    base = read_yaml(b"storage:\n  lake: {type: s3, locations: [a, b]}\n  other: {type: gcs}\n", "one.yaml")
    over = read_yaml(b"\nstorage:\n  lake: {locations: [c]}\nversion: 1\n", "two.yaml")
    tree = merged(base, over)
    assert tree.plain() == {
        "storage": {"lake": {"type": "s3", "locations": ["c"]}, "other": {"type": "gcs"}},
        "version": 1,
    }
    assert tree.at(("storage", "lake")).where == "one.yaml:2"
    assert tree.at(("storage", "lake", "locations", 0)).where == "two.yaml:3"


def test_a_null_entry_is_as_good_as_absent() -> None:
    assert read_yaml(b"network: {proxy: null, ca_file: ~}\nlist: [null]\n", "p.yaml").plain() == {
        "network": {},
        "list": [None],
    }


def test_a_programs_own_data_is_bounded_as_a_file_is() -> None:
    cyclic: dict[str, object] = {}
    cyclic["self"] = cyclic
    with pytest.raises(ConfigurationError, match="deeper than 64"):
        tree_of(cyclic)
    with pytest.raises(ConfigurationError, match="more than 50000"):
        tree_of({"list": list(range(60_000))})
