from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from credbroker.cli import main

CASES = Path(__file__).parents[2] / "cases" / "scan"
KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in (".git", "node_modules", "b/c"):
        Path(folder).mkdir(parents=True)
    text = f"catalog: {KEY_ID}\n"
    for name in (".git/config.yaml", "node_modules/x.yaml", "b/c/z.yaml", "a.yaml"):
        Path(name).write_text(text)
    Path("b/binary.yaml").write_bytes(b"\0" + text.encode())
    Path("b/large.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    Path("b/allowed.yaml").write_text(f"a: {KEY_ID}  # pragma: allowlist secret\n")
    Path("b/loop").symlink_to("..")
    return tmp_path


def test_findings_are_lines_in_a_stable_order(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", ".", "a.yaml"]) == 1
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "a.yaml:1: catalog holds what looks like a credential (AWS Access Key)",
        "b/c/z.yaml:1: catalog holds what looks like a credential (AWS Access Key)",
        "2 potential credentials in 3 files; 1 allowed by a pragma; 1 that are no text skipped",
    ]
    assert err.splitlines() == [
        "credbroker: b/binary.yaml: is not text: skipped",
        "credbroker: b/large.yaml: is larger than 1 MiB: skipped",
    ]


def test_nothing_found_is_said(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(CASES / "platform.yaml"), str(CASES / "safe.yaml")]) == 0
    assert capfd.readouterr().out == "nothing found in 2 files\n"


def test_what_cannot_be_read_is_told_and_a_finding_weighs_more(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    assert main(["scan", "none.yaml", "pipe"]) == 78
    assert capfd.readouterr().err.splitlines() == [
        "credbroker: none.yaml: cannot be read: no such file or directory",
        "credbroker: pipe: cannot be read: not a regular file",
    ]
    assert main(["scan", "none.yaml", "a.yaml"]) == 1
    assert main(["scan"]) == 2


def test_json_is_one_object(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "a.yaml", "b", "--json"]) == 1
    as_option = capfd.readouterr().out
    assert main(["scan", "a.yaml", "b", "--format", "json"]) == 1
    assert capfd.readouterr().out == as_option
    report = json.loads(as_option)
    assert (report["ok"], report["files"], report["allowed"]) == (False, 3, 1)
    assert report["findings"][0] == {
        "file": "a.yaml",
        "line": 1,
        "field": "catalog",
        "type": "AWS Access Key",
        "credential": True,
        "message": "catalog holds what looks like a credential (AWS Access Key)",
    }


def test_sarif_names_rules_and_places_and_no_snippet(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("with space.yaml").write_text("x: 1\npassword: hunter2\n")
    assert main(["scan", "a.yaml", "with space.yaml", "--format", "sarif"]) == 1
    log = json.loads(capfd.readouterr().out)
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    run = log["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["aws-access-key", "secret-keyword"]
    places = []
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert set(physical["region"]) == {"startLine"}
        places.append((physical["artifactLocation"]["uri"], physical["region"]["startLine"]))
    assert places == [("a.yaml", 1), ("with%20space.yaml", 2)]


def test_no_finding_is_an_empty_sarif_log(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(CASES / "safe.yaml"), "--format", "sarif"]) == 0
    assert json.loads(capfd.readouterr().out)["runs"][0]["results"] == []


def test_annotations_are_escaped_as_github_reads_them(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = "a,b:c%d\n::stop.yaml"
    Path(name).write_text(f"catalog: {KEY_ID}\n")
    assert main(["scan", name, "--format", "github"]) == 1
    assert capfd.readouterr().out == (
        "::error file=a%2Cb%3Ac%25d\\n%3A%3Astop.yaml,line=1,title=AWS Access Key"
        "::catalog holds what looks like a credential (AWS Access Key)\n"
    )


def test_a_terminal_gets_a_table(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("credbroker.cli.findings.console", lambda: Console(file=screen, width=80))
    assert main(["scan", "a.yaml"]) == 1
    assert [line.split() for line in screen.getvalue().splitlines()] == [
        ["file", "field", "found"],
        ["a.yaml:1", "catalog", "AWS", "Access", "Key"],
    ]
