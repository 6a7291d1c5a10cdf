from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credbroker.cli import main
from credbroker.config.detect import detectors

CASES = Path(__file__).parents[2] / "cases" / "scan"
KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"
BLOCK = (
    "ERROR: Field '{field}' contains a potential credential (AWS Access Key).\n"
    "       floe.yaml should only contain logical profile references.\n"
    "       Move credentials to platform.yaml or K8s secrets.\n"
)


@pytest.fixture(autouse=True)
def _no_platform_file_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDBROKER_CONFIG", raising=False)


def floe(folder: Path, text: str) -> str:
    path = folder / "floe.yaml"
    path.write_text(text)
    return str(path)


def test_a_credential_is_told_in_three_lines_to_the_byte(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = floe(tmp_path, f"name: x\ncatalog: {KEY_ID}\n")
    assert main(["validate", path]) == 1
    out, err = capfd.readouterr()
    assert err == BLOCK.format(field="catalog")
    assert out == f"{path}: 1 potential credential, line 2\n"


def test_each_finding_has_its_block_and_its_path(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = floe(tmp_path, f"# {KEY_ID}\nstorage: {KEY_ID}\na: {{b: [x, {KEY_ID}]}}\n")
    assert main(["validate", path, "--json"]) == 1
    out, err = capfd.readouterr()
    first, rest = err.split("\n", 1)
    assert first == "ERROR: Line 1 contains a potential credential (AWS Access Key)."
    assert rest.endswith(BLOCK.format(field="storage") + BLOCK.format(field="a.b[1]"))
    report = json.loads(out)
    assert [(one["line"], one["field"]) for one in report["findings"]] == [(1, None), (2, "storage"), (3, "a.b[1]")]


def test_a_good_file_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    path = str(CASES / "floe.yaml")
    assert main(["validate", path]) == 0
    assert capfd.readouterr() == (f"{path}: valid\n", "")
    assert main(["validate", path, "--config", str(CASES / "platform.yaml")]) == 0
    assert capfd.readouterr().out == f"{path}: valid, and its profiles exist\n"


def test_names_are_looked_up_in_the_platform_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", floe(tmp_path, "catalog: defualt\n"), "--config", str(CASES / "platform.yaml")]) == 1
    assert "did you mean 'default'?" in capfd.readouterr().err


def test_a_fault_is_told_with_its_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = floe(tmp_path, "a: s3://lake/x\n")
    assert main(["validate", path]) == 1
    out, err = capfd.readouterr()
    assert err == f"ERROR: {path}:1: a is or holds a URL: it belongs in platform.yaml: name a profile here\n"
    assert out == f"{path}: 1 fault, line 1\n"


def test_a_file_that_cannot_be_read_is_no_finding(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.yaml")
    assert main(["validate", missing]) == 78
    assert capfd.readouterr().err == f"credbroker: {missing}: cannot be read: no such file or directory\n"
    assert main(["validate", missing, floe(tmp_path, f"catalog: {KEY_ID}\n")]) == 1


def test_without_detect_secrets_nothing_is_said_to_be_fine(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    detectors.cache_clear()
    monkeypatch.setitem(sys.modules, "detect_secrets.plugins.aws", None)
    try:
        assert main(["validate", str(CASES / "floe.yaml")]) == 78
        assert main(["scan", str(CASES)]) == 78
    finally:
        detectors.cache_clear()
    assert "pip install 'credbroker-data[scan]'" in capfd.readouterr().err


SECRETS = st.sampled_from(
    [
        KEY_ID,
        "ghp_" + "a1B2" * 9,
        "hvs." + "CAESIJ" * 5,
        "dapi" + "0123456789abcdef" * 2,
        "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYq8Zt3Lw9Ks",
        "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    ]
)
LINES = (CASES / "floe.yaml").read_text().splitlines()
POSITIONS = st.tuples(
    st.integers(0, len(LINES) - 1),
    st.sampled_from(["comment", "before", "value", "key", "word", "broken", "block", "anchor"]),
)


def planted(position: tuple[int, str], secret: str) -> str:
    number, how = position
    lines = list(LINES)
    line = lines[number]
    if how == "comment":
        lines[number] = f"{line}  # {secret}"
    elif how == "word":
        lines[number] = line.replace('description: "', f'description: "{secret} ')
        lines.append(f"description: about {secret} here")
    elif how == "broken":
        lines[number] = f"{line} [ {secret} : ]]"
    else:
        indent = " " * (len(line) - len(line.lstrip()))
        new = {
            "before": f"# {secret}",
            "value": f"planted{number}: {secret}",
            "key": f"{secret}: planted",
            "block": f"planted{number}: |\n{indent}  first\n{indent}  {secret}",
            "anchor": f"planted{number}: &{secret} x",
        }[how]
        lines.insert(number, indent + new)
    return "\n".join(lines) + "\n"


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(POSITIONS, SECRETS)
def test_a_canary_anywhere_is_found_and_never_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], position: tuple[int, str], secret: str
) -> None:
    path = floe(tmp_path, planted(position, secret))
    for command in ("validate", "scan"):
        for form in ("text", "json", "sarif", "github"):
            code = main([command, path, "--format", form])
            out, err = capfd.readouterr()
            assert code == 1, (command, position)
            assert secret not in out + err
            assert secret[4:16] not in out + err
