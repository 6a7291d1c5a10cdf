from __future__ import annotations

import pytest

from credbroker import errors
from credbroker.cli.exit_codes import ExitCode, exit_code_of

CODES = {
    "ConfigurationError": 78,
    "CredentialDetected": 78,
    "SecretNotFound": 78,
    "AccessDenied": 77,
    "CredentialUnavailable": 78,
    "IssueDenied": 77,
    "IssuerUnavailable": 69,
    "MalformedResponse": 69,
    "InsufficientLifetime": 69,
    "BrokerClosed": 1,
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_each_error_ends_in_its_exit_code(name: str, code: int) -> None:
    assert exit_code_of(getattr(errors, name)("text")) == code


def test_no_error_of_the_tree_is_forgotten() -> None:
    tree, level = set[str](), [errors.CredbrokerError]
    while level:
        level = [kind for parent in level for kind in parent.__subclasses__() if kind.__module__ == errors.__name__]
        tree |= {kind.__name__ for kind in level}
    assert tree == set(CODES)


def test_the_codes_are_those_that_the_documentation_names() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "FINE": 0,
        "FINDING": 1,
        "USAGE": 2,
        "UNAVAILABLE": 69,
        "DENIED": 77,
        "CONFIGURATION": 78,
        "INTERRUPTED": 130,
    }
