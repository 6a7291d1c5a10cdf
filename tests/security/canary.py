"""The canary: a secret and a token that must show nowhere, in any coding that a leak could take."""

from __future__ import annotations

import base64
import json
import pickle
import traceback
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType

from credbroker.context import HttpResponse

SECRET = "canary+/0b5e7c%3A-client"
TOKEN = "canary-7d1f.token.0a2b"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def codings(secret: str) -> set[str]:
    raw = secret.encode()
    return {
        secret,
        secret[::-1],
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        raw.hex(),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        json.dumps(secret)[1:-1],
    }


CODINGS = codings(SECRET) | codings(TOKEN) | codings(f"pipeline:{SECRET}")


def assert_clean(text: str) -> None:
    for coding in CODINGS:
        assert coding not in text


def answered(status: int, body: bytes, **headers: str) -> HttpResponse:
    return HttpResponse(status, headers, body, NOW, NOW)


def locals_of(trace: TracebackType | None) -> str:
    """What an error tracker would send: the locals of each frame of the traceback, in the package's own code."""
    shown = []
    while trace is not None:
        frame: FrameType = trace.tb_frame
        if "credbroker" in frame.f_code.co_filename and "test" not in Path(frame.f_code.co_filename).name:
            shown.append(repr(frame.f_locals))
        trace = trace.tb_next
    return "\n".join(shown)


def everything_about(error: BaseException) -> str:
    texts = [
        "".join(traceback.format_exception(error)),
        repr(error),
        str(error),
        repr(vars(error)),
        locals_of(error.__traceback__),
    ]
    try:
        texts.append(repr(pickle.dumps(error)))
    except (TypeError, pickle.PicklingError):
        texts.append("")
    texts.extend(everything_about(linked) for linked in (error.__cause__, error.__context__) if linked is not None)
    return "\n".join(texts)
