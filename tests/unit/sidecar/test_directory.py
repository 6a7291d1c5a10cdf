# ruff: noqa: S108 - nothing is written there
from __future__ import annotations

import pytest

from credbroker.sidecar.directory import default_directory, token_file


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("/run/user/1000", "/run/user/1000/credbroker"),
        ("/run/user/1000/", "/run/user/1000/credbroker"),
        ("relative", "/dev/shm/credbroker-1000"),
        ("", "/dev/shm/credbroker-1000"),
        (None, "/dev/shm/credbroker-1000"),
    ],
)
def test_by_default_it_is_in_memory_and_the_user_s_own(runtime: str | None, expected: str) -> None:
    assert default_directory({"XDG_RUNTIME_DIR": runtime}.get, 1000) == expected


def test_a_binding_s_token_has_the_binding_s_name() -> None:
    assert token_file("lake-read") == "lake-read.token"
