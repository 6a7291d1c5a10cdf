"""AWS as the unit tests of its backends play it: answers in order, and what must not stay behind an error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import CredbrokerError
from credbroker.secrets.backend import Backend, Lookup
from credbroker.secrets.reference import SecretReference
from credbroker.testing import FakeHttp

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
GENERAL = {"region": "eu-west-1", "credential_source": "environment", "where": "platform.yaml:7: secret_backends[1]"}
USED = SecretReference(secret_ref="used")


class Machine:
    """The base identity's variables, and files by their path."""

    def __init__(self, files: dict[str, bytes | OSError] | None = None) -> None:
        self.files = files or {}
        self.within: list[str | None] = []

    def variable(self, name: str) -> str | None:
        return {"AWS_ACCESS_KEY_ID": "AKIABASE", "AWS_SECRET_ACCESS_KEY": "canary-key"}.get(name)

    def read(self, path: str, *, within: str | None = None) -> bytes:
        self.within.append(within)
        content = self.files.get(path, FileNotFoundError(path))
        if isinstance(content, OSError):
            raise content
        return content

    def names(self, path: str) -> tuple[str, ...] | None:
        raise AssertionError(path)


def said(body: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW, NOW)


def refused(code: str, status: int = 400) -> HttpResponse:
    return said({"__type": code, "message": "canary"}, status)


def looked(
    backend: Backend,
    *answers: HttpResponse | CredbrokerError,
    reference: SecretReference = USED,
    machine: Machine | None = None,
) -> tuple[Lookup, list[HttpRequest]]:
    http = FakeHttp(*answers)
    context = Context(http=http, environment=machine or Machine())
    return backend.look(reference, context), http.requests


def sent(request: HttpRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body or b"")
    return body


def assert_nothing_stays(error: CredbrokerError) -> None:
    """Neither the text of an error nor a frame that raised it holds a secret."""
    assert "canary" not in str(error)
    assert error.__context__ is None or error.__suppress_context__
    step = error.__traceback__
    while step is not None:
        if "src/credbroker" in step.tb_frame.f_code.co_filename:
            for name, value in step.tb_frame.f_locals.items():
                assert not isinstance(value, HttpResponse | HttpRequest), name
                assert "canary" not in repr(value), name
        step = step.tb_next
