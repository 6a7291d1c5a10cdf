from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from credbroker.config.scan import Finding, Scanned, pipeline_findings, scanned

ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests" / "cases" / "scan"
KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"
TOKEN = "ghp_" + "a1B2" * 9


def found(name: str, text: str) -> list[tuple[int, str, str]]:
    return [(one.line, one.field, one.type) for one in scanned(name, text.encode()).findings]


@pytest.mark.parametrize("name", ["floe.yaml", "invalid-floe.yaml", "platform.yaml", "safe.yaml", "external-secret.yaml"])
def test_a_file_that_names_secrets_and_holds_none_is_clean(name: str) -> None:
    assert scanned(name, (CASES / name).read_bytes()) == Scanned()


@pytest.mark.parametrize("path", [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")], ids=lambda path: path.name)
def test_our_own_pages_are_clean(path: Path) -> None:
    assert scanned(path.name, path.read_bytes()).findings == ()


def test_every_value_of_a_secret_manifest_is_a_finding() -> None:
    result = scanned("secret.yaml", (CASES / "secret.yaml").read_bytes())
    assert [(one.line, one.field, one.type) for one in result.findings] == [
        (7, "stringData.client_secret", "Kubernetes Secret"),
        (9, "data.greeting", "Kubernetes Secret"),
        (18, "items[1].data.greeting", "Kubernetes Secret"),
    ]


def test_the_type_of_a_manifests_value_is_that_of_what_it_encodes() -> None:
    encoded = "QUtJQUlPU0ZPRE5ON0VYQU1QTEU="
    assert found("s.yaml", f"kind: Secret\ndata:\n  a: {encoded}\n") == [(3, "data.a", "AWS Access Key")]


def test_a_helm_template_is_read_as_the_yaml_that_it_makes() -> None:
    result = scanned("template.yaml", (CASES / "template.yaml").read_bytes())
    assert [(one.line, one.field) for one in result.findings] == [(10, "stringData.fixed")]
    assert found("t.yaml", '{{- if .x }}\na: {{ default "' + TOKEN + '" .y }}\n{{- end }}\n') == [(2, "", "GitHub Token")]


def test_several_documents_are_told_apart() -> None:
    text = "kind: Secret\ndata: {}\n---\nkind: ConfigMap\ndata: {greeting: hello}\n---\npassword: hunter2\n"
    assert found("a.yaml", text) == [(7, "password", "Secret Keyword")]


def test_an_env_file_is_a_file_of_fields() -> None:
    text = f"# {TOKEN}\nexport AWS_ACCESS_KEY_ID={KEY_ID}\nPASSWORD='hunter2'  # db\nEMPTY_PASSWORD=\nLEVEL=1\n"
    expected = [(1, "", "GitHub Token"), (2, "AWS_ACCESS_KEY_ID", "AWS Access Key"), (3, "PASSWORD", "Secret Keyword")]
    for name in (".env", "x/.env.local", "prod.env"):
        assert found(name, text) == expected


def test_other_text_is_looked_through_for_unmistakable_forms_only() -> None:
    text = f"password = hunter2\nkey = {KEY_ID}\n"
    assert found("main.py", text) == [(2, "", "AWS Access Key")]


def test_in_text_the_first_line_of_a_private_key_needs_a_second() -> None:
    first = "-----BEGIN RSA " + "PRIVATE KEY-----"
    assert found("key.pem", f"{first}\nMIIEpAIBAAKCAQEA7bq3\n") == [(1, "", "Private Key")]
    assert found("key.json", f'{{"private_key": "{first}\\nMIIEpAIBAAKCAQEA7bq3"}}') == [(1, "", "Private Key")]
    assert found("key.pem", f"{first}\nProc-Type: 4,ENCRYPTED\n") == [(1, "", "Private Key")]
    assert found("main.py", f'if text.startswith("{first}"):\n    return\n') == []
    assert found("main.py", f'if "{first}" in "{KEY_ID}":\n    return\n') == [(1, "", "AWS Access Key")]


def test_a_pragma_allows_and_is_counted() -> None:
    mark = "# pragma: allowlist secret"
    text = (
        f"a: {KEY_ID}  {mark}\n# pragma: allowlist nextline secret\nb: {KEY_ID}\nc: |  {mark}\n  x\n  {TOKEN}\nd: {KEY_ID}\n"
    )
    result = scanned("a.yaml", text.encode())
    assert result.allowed == 3
    assert [one.field for one in result.findings] == ["d"]
    assert scanned("a.txt", f"{KEY_ID} {mark}\n".encode()).allowed == 1


def test_no_pragma_allows_anything_in_a_pipeline() -> None:
    text = f"catalog: {KEY_ID}  # pragma: allowlist secret\n"
    assert pipeline_findings("floe.yaml", text) == (Finding("floe.yaml", 1, "catalog", "AWS Access Key"),)


def test_what_stands_inside_a_value_is_no_pragma() -> None:
    assert scanned("a.yaml", f'a: "{KEY_ID} # pragma: allowlist secret"\n'.encode()).allowed == 0


@pytest.mark.parametrize(
    "text",
    [
        f"catalog: {KEY_ID}\n",
        f"# {KEY_ID}\ncatalog: x\n",
        f"catalog: x  # {KEY_ID}\n",
        f"catalog: |  # {KEY_ID}\n  x\n",
        f"catalog: >\n  one\n  {KEY_ID}\n  two\n",
        f"catalog: &{KEY_ID} x\n",
        f"catalog: &{KEY_ID} [x]\n",
        f"catalog: !{KEY_ID} x\n",
        f"{KEY_ID}: x\n",
        f"{{{KEY_ID}}}\n",
        f"? [{KEY_ID}]\n: x\n",
        f"a: [x, {{b: 'y {KEY_ID} z'}}]\n",
        f"%TAG !{KEY_ID}! x\n---\na: b\n",
        f"---\na: b\n---\nc: {KEY_ID}\n",
        f"a: [\nb: {KEY_ID}\n",
        f"a: {KEY_ID}\n b: [\n",
        f"a: '{KEY_ID}\n",
        f"a:\t{KEY_ID}\n\t- x\n",
        f"a: \x01\nb: {KEY_ID}\n",
        "[" * 100 + KEY_ID + "]" * 100,
        f"a: b\r\nc: {KEY_ID}\r\n",
        f"a: b\u2028c\n# \x85\nd: [\ne: {KEY_ID}\n",
        f"{KEY_ID}\n",
        f"a: é😀  # é\nb: {KEY_ID}\n",
        f"<<: *a\nb: {KEY_ID}\n",
    ],
)
def test_a_credential_anywhere_in_a_pipeline_is_found_and_not_shown(text: str) -> None:
    findings = pipeline_findings("floe.yaml", text)
    assert {one.type for one in findings} == {"AWS Access Key"}
    assert KEY_ID not in repr(findings)


def test_a_key_on_the_way_that_is_a_credential_is_not_shown() -> None:
    findings = pipeline_findings("floe.yaml", f"{TOKEN}:\n  password: hunter2\n")
    assert [one.field for one in findings] == ["<not shown>", "<not shown>.password"]


def test_a_field_has_one_finding_of_the_most_telling_type() -> None:
    assert found("a.yaml", f"password: {KEY_ID}\n") == [(1, "password", "AWS Access Key")]


def test_bytes_that_are_no_text_are_skipped_and_odd_ones_hide_nothing() -> None:
    assert scanned("a.yaml", b"\x7fELF\0\0").note == "is not text: skipped"
    assert len(scanned("a.yaml", f"a: {KEY_ID} # ".encode() + b"\xff\n").findings) == 1
    assert len(scanned(".env", f"PASSWORD=hunter2 {KEY_ID}".encode("utf-16")).findings) == 1


def test_threads_find_the_same_each_time() -> None:
    text = "".join(f"k{index}: {KEY_ID}\nplain{index}: x\npassword{index}: hunter2\n" for index in range(20))
    expected = pipeline_findings("floe.yaml", text)
    assert len(expected) == 40
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: pipeline_findings("floe.yaml", text), range(160)))
    assert all(result == expected for result in results)
