"""What holds for every test: nothing of the machine that runs them reaches in."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a slow machine is no counterexample. In CI the same examples each time: a red run must be the change's doing.
settings.register_profile("credbroker", max_examples=200, deadline=None, derandomize="CI" in os.environ)
# For proofs, by hand: pytest tests/properties --hypothesis-profile=thorough
settings.register_profile(
    "thorough", max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
settings.load_profile("credbroker")

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_OURS = ("AWS_", "CREDBROKER_", "PYICEBERG_")


@pytest.fixture(autouse=True, scope="session")
def _nothing_ambient() -> Iterator[None]:
    """Take away what SDKs pick up by themselves: identities, settings, proxies."""
    with pytest.MonkeyPatch.context() as patch:
        for name in tuple(os.environ):
            if name.startswith(_OURS) or name.lower() in _PROXIES:
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A proof takes longer than a test may."""
    if config.getoption("--hypothesis-profile") == "thorough":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
