from __future__ import annotations

import io
import re
import sys
from dataclasses import replace

import pytest

from credbroker.cli.doctor.report import Report
from credbroker.cli.doctor.show import show
from credbroker.cli.doctor.tries import ASSUME_AGAIN
from credbroker.cli.exit_codes import ExitCode
from credbroker.cli.fence import Attempt, Outcome
from credbroker.location import Location
from credbroker.request import Access

DONE = Attempt("list the folder", Outcome.DONE, "allowed", "read")
DENIED = Attempt("list the sibling", Outcome.REFUSED, "AccessDenied", "read")
LOOKED = Attempt("read the sibling's object", Outcome.LOOKED, "NoSuchKey", "read")
SILENT = Attempt("list the bucket", Outcome.SILENT, "no answer (ReadTimeoutError)", "read")
ABSENT = Attempt("read what would be there", Outcome.ABSENT, "NoSuchKey", "read")
AGAIN = Attempt(ASSUME_AGAIN, Outcome.DONE, "allowed", "read")
OTHER = Attempt("list above", Outcome.OTHER, "InvalidAccessKeyId", "read")
LAKE = Location.parse("s3://lake/sales")
GOOD = Report(
    "lake",
    "platform.yaml:3",
    LAKE,
    Location.parse("s3://lake/sales/x-a"),
    Location.parse("s3://lake/sales/x-ab"),
    Access.READ,
    controls=(DONE,),
    attempts=(DENIED, DENIED),
)


def test_all_refused_with_keys_that_work_is_a_fence() -> None:
    assert (GOOD.ok, GOOD.code, GOOD.findings) == (True, ExitCode.FINE, [])
    assert GOOD.verdict == "fenced: 2 of 2 attempts outside were refused"


def test_a_name_that_is_told_to_be_free_is_no_hole() -> None:
    report = replace(GOOD, attempts=(DENIED, ABSENT))
    assert (report.ok, report.code, report.findings) == (True, ExitCode.FINE, [])
    assert report.verdict == "fenced: 1 of 2 attempts outside were refused"


@pytest.mark.parametrize(
    ("changes", "code", "verdict", "finding"),
    [
        ({"attempts": (DENIED, LOOKED)}, 1, "NOT FENCED: 1 of 2", "ALLOWED, .*: read the sibling's object"),
        ({"attempts": (DENIED, DONE, SILENT)}, 1, "NOT FENCED: 1 of 3", "ALLOWED, .*: list the folder"),
        ({"attempts": (DENIED, AGAIN)}, 1, "NOT FENCED: 1 of 2", "^the keys can assume .*aws:TokenIssueTime"),
        ({"attempts": (LOOKED, AGAIN)}, 1, "NOT FENCED: 0 of 2", "ALLOWED, [^;]*: read the sibling's object$"),
        ({"attempts": (DENIED, replace(AGAIN, outcome=Outcome.OTHER))}, 1, "NOT PROVEN: 1 of 2", "neither .*: assume"),
        ({"attempts": (ABSENT, SILENT)}, 69, "NOT PROVEN: 0 of 2", "^neither [^;]*: list the bucket [(]no answer"),
        ({"attempts": (DENIED, OTHER)}, 1, "NOT PROVEN: 1 of 2", "neither .*: list above [(]InvalidAccessKeyId"),
        ({"attempts": (DENIED, SILENT)}, 69, "NOT PROVEN: 1 of 2", "neither .*: list the bucket [(]no answer"),
        ({"attempts": (SILENT, OTHER)}, 1, "NOT PROVEN: 0 of 2", "neither"),
        ({"controls": (DENIED,), "attempts": ()}, 1, "NOT PROVEN: nothing was tried", "did not work .*AccessDenied"),
        ({"controls": (LOOKED,), "attempts": ()}, 1, "NOT PROVEN: nothing was tried", "did not work .*NoSuchKey"),
        ({"controls": (SILENT,), "attempts": ()}, 69, "NOT PROVEN: nothing was tried", "did not work"),
        ({"controls": (DONE, OTHER)}, 1, "NOT PROVEN: 2 of 2", "did not work .*prove nothing"),
        ({"controls": (DONE, SILENT)}, 69, "NOT PROVEN: 2 of 2", "did not work"),
        ({"left": ("s3://lake/x",)}, 1, "NOT PROVEN: 2 of 2", "could not be deleted again: s3://lake/x"),
        ({"left": ("s3://lake/x",), "attempts": (SILENT,)}, 1, "NOT PROVEN: 0 of 1", "neither"),
        ({"unscoped": "unscoped keys", "controls": (), "attempts": ()}, 1, "NOT FENCED: 0 of 0", "unscoped keys"),
    ],
)
def test_anything_less_is_not(changes: dict[str, object], code: int, verdict: str, finding: str) -> None:
    report = replace(GOOD, **changes)  # type: ignore[arg-type]
    assert (report.ok, report.code) == (False, code)
    assert report.verdict.startswith(verdict)
    assert re.search(finding, report.findings[0])


def test_json_has_both_lists_with_their_answers() -> None:
    told = replace(GOOD, attempts=(DENIED, LOOKED), notes=("a note",)).as_json()
    assert told["ok"] is False
    assert (told["profile"], told["location"], told["access"]) == ("lake", "s3://lake/sales/", "read")
    assert (told["folder"], told["sibling"]) == ("s3://lake/sales/x-a/", "s3://lake/sales/x-ab/")
    assert told["controls"] == [{"what": "list the folder", "grant": "read", "worked": True, "answer": "allowed"}]
    assert told["attempts"] == [
        {"what": "list the sibling", "grant": "read", "refused": True, "answer": "AccessDenied"},
        {"what": "read the sibling's object", "grant": "read", "refused": False, "answer": "NoSuchKey"},
    ]
    assert (told["left"], told["notes"]) == ([], ["a note"])


def test_a_pipe_gets_a_line_for_each_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    show(replace(GOOD, attempts=(DENIED, LOOKED, ABSENT, SILENT), notes=("a note",)))
    assert capsys.readouterr().out.splitlines() == [
        "profile   lake (platform.yaml:3), read",
        "location  s3://lake/sales/",
        "folder    s3://lake/sales/x-a/",
        "sibling   s3://lake/sales/x-ab/",
        "",
        "Inside, where it must work:",
        "  worked   allowed  read  list the folder",
        "",
        "Outside, where it must be refused:",
        "  refused  AccessDenied                  read  list the sibling",
        "  ALLOWED  NoSuchKey                     read  read the sibling's object",
        "  absent   NoSuchKey                     read  read what would be there",
        "  open     no answer (ReadTimeoutError)  read  list the bucket",
        "",
        "the store ALLOWED, outside what the credentials are for: read the sibling's object",
        "neither refused nor allowed: list the bucket (no answer (ReadTimeoutError))",
        "note: a note",
        "NOT FENCED: 1 of 4 attempts outside were refused",
    ]


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    show(replace(GOOD, attempts=(DENIED, replace(LOOKED, what="read [red]\u202e"))))
    told = out.getvalue()
    for part in ("│", "refused", "ALLOWED", "NoSuchKey", "read [red]\\u202e", "NOT FENCED: 1 of 2 attempts"):
        assert part in told
