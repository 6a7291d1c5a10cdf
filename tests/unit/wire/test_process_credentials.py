from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.credentials import ProcessProvider
from pydantic import SecretStr
from tests.unit.secrets.aws_answers import assert_nothing_stays

from credbroker.credentials import S3Credentials
from credbroker.errors import MalformedResponse
from credbroker.wire.container_credentials import container_credentials
from credbroker.wire.process_credentials import process_credentials

ENDS = datetime(2126, 11, 22, 20, 50, 0, tzinfo=UTC)
KEYS = S3Credentials("ASIA", SecretStr("canary-secret"), SecretStr("canary-session"))


class _Ended:
    """A credential process that has printed ``out``."""

    returncode = 0

    def __init__(self, out: bytes) -> None:
        self._out = out

    def communicate(self) -> tuple[bytes, bytes]:
        return self._out, b""


def test_the_words_are_those_of_the_process_provider() -> None:
    assert json.loads(process_credentials(container_credentials(KEYS, ENDS))) == {
        "Version": 1,
        "AccessKeyId": "ASIA",
        "SecretAccessKey": "canary-secret",
        "SessionToken": "canary-session",
        "Expiration": "2126-11-22T20:50:00Z",
    }


def test_botocore_takes_it() -> None:
    printed = process_credentials(container_credentials(KEYS, ENDS))
    config = {"profiles": {"lake": {"credential_process": "credbroker aws-process lake-read"}}}
    provider = ProcessProvider("lake", lambda: config, popen=lambda *args, **settings: _Ended(printed))
    credentials = provider.load()
    frozen = credentials.get_frozen_credentials()
    assert (frozen.access_key, frozen.secret_key, frozen.token) == ("ASIA", "canary-secret", "canary-session")
    assert not credentials.refresh_needed()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"canary",
        b'"canary"',
        b"[" * 100_000,
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"code": "Unauthorized", "message": "canary"}',
        b'{"AccessKeyId": "a", "SecretAccessKey": "canary", "Token": "t"}',
        b'{"AccessKeyId": "a", "SecretAccessKey": "canary", "Token": "", "Expiration": "e"}',
        b'{"AccessKeyId": "a", "SecretAccessKey": {"canary": 1}, "Token": "t", "Expiration": "e"}',
    ],
)
def test_anything_else_is_refused_without_being_shown(body: bytes) -> None:
    with pytest.raises(MalformedResponse, match="aws-container") as caught:
        process_credentials(body)
    assert_nothing_stays(caught.value)


def test_it_loads_no_schema_library() -> None:
    program = (
        "import sys, credbroker.wire.process_credentials;"
        "print([name for name in ('pydantic', 'credbroker.credentials', 'requests', 'yaml', 'ssl') if name in sys.modules])"
    )
    done: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
