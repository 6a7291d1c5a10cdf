from __future__ import annotations

import subprocess
import sys

import credbroker

# What users may import from the top. A name added here is a promise: at most 20.
PUBLIC = {
    "ADLSCredentials",
    "Access",
    "AccessToken",
    "Broker",
    "CredbrokerError",
    "CredentialSource",
    "DatabaseCredentials",
    "GCSCredentials",
    "PlatformConfig",
    "S3Credentials",
    "SecretReference",
    "TableCredentials",
}
HEAVY = {
    "aiobotocore",
    "authlib",
    "azure",
    "boto3",
    "botocore",
    "cryptography",
    "google.auth",
    "joserfc",
    "pyarrow",
    "pydantic",
    "pydantic_core",
    "pyiceberg",
    "requests",
    "rich",
    "urllib3",
    "yaml",
}


def _modules_after(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return set(run.stdout.split())


def test_the_public_names_are_pinned_and_at_most_20() -> None:
    assert set(credbroker.__all__) == PUBLIC
    assert len(PUBLIC) <= 20


def test_every_public_name_is_there() -> None:
    for name in PUBLIC:
        assert getattr(credbroker, name).__name__ == name


def test_dir_shows_the_public_names_before_any_is_used() -> None:
    program = "import credbroker; print(*dir(credbroker))"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert set(run.stdout.split()) >= PUBLIC


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    assert not hasattr(credbroker, "Utils")


def test_importing_the_broker_loads_nothing_heavy() -> None:
    """A command that asks for one credential must not pay for every library that some mode needs."""
    assert not HEAVY & _modules_after("from credbroker import Broker")


def test_importing_the_errors_and_values_loads_nothing_heavy() -> None:
    statement = "from credbroker import Access, AccessToken, CredbrokerError, CredentialSource; import credbroker.errors"
    assert not HEAVY & _modules_after(statement)
