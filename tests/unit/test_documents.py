"""What the documents show must load, compile, be there and be true."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from credbroker import Broker, errors
from credbroker.cli import NAMES
from credbroker.cli.doctor.tries import NAME, Ground, tries
from credbroker.cli.exit_codes import ExitCode
from credbroker.config.keys import TOP
from credbroker.location import Location
from credbroker.refresh import policy
from credbroker.request import Access

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
SECONDS = {"s": 1, "min": 60, "h": 3600}


def _blocks(language: str) -> list[tuple[str, str]]:
    fence = re.compile(rf"^ *```{language}\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    return [(document.name, block) for document in DOCUMENTS for block in fence.findall(document.read_text())]


def _seconds(text: str) -> float:
    """``14 min 45 s`` as seconds."""
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([\d.]+) (s|min|h)\b", text))


def _is_platform(block: str) -> bool:
    data = yaml.safe_load(block)
    return set(data) <= TOP and bool({"catalogs", "storage", "compute", "secret_backends"} & set(data))


@pytest.mark.parametrize(("name", "block"), [found for found in _blocks("yaml") if _is_platform(found[1])])
def test_every_platform_file_in_the_documents_loads(name: str, block: str, tmp_path: Path) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(block)
    with Broker.from_yaml(path) as broker:
        data = yaml.safe_load(block)
        if data.get("plugins"):
            return  # they are not installed here: tests/plugins has them
        for profile in data.get("storage", {}):
            # One that only lends its role to another has none.
            assert broker.profile("storage", profile).locations or not data["storage"][profile].get("locations"), name
        for profile in data.get("catalogs", {}):
            assert broker.catalog(profile).request.profile == profile
        for profile in data.get("compute", {}):
            assert broker.compute(profile).request.profile == profile


@pytest.mark.parametrize(("name", "block"), _blocks("yaml"))
def test_every_yaml_block_is_yaml(name: str, block: str) -> None:
    assert isinstance(yaml.safe_load(block), dict), name


@pytest.mark.parametrize(("name", "block"), _blocks("python"))
def test_every_python_block_compiles(name: str, block: str) -> None:
    compile(block, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _prose(document: Path) -> str:
    """The document without its blocks: a comment in one is no heading, and an index in one is no link."""
    return re.sub(r"^ *```.*?^ *```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(document: Path) -> set[str]:
    """What GitHub makes of the headings: lower case, no punctuation, a hyphen for each space, a number where one repeats."""
    slugs: list[str] = []
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.*?) *$", _prose(document), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")
        anchors.add(f"{slug}-{slugs.count(slug)}" if slug in slugs else slug)
        slugs.append(slug)
    return anchors


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", _prose(document)):
        if "://" not in target:
            page = document.parent / target if target else document
            assert page.exists(), f"{document.name} links to {target}"
            assert not anchor or anchor in _anchors(page), f"{document.name} links to {target}#{anchor}"


def test_an_anchor_is_spelled_as_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# S3: an `IAM` policy\n## `doctor --scope`\n```bash\n# no heading\n```\n### [A](b.md) b_c\n# Twice\n# Twice\n"
    )
    assert _anchors(page) == {"s3-an-iam-policy", "doctor---scope", "a-b_c", "twice", "twice-1"}


def test_every_published_attack_has_its_row() -> None:
    module = ast.parse((ROOT / "tests" / "security" / "test_known_attacks.py").read_text())
    (published,) = (
        ast.literal_eval(statement.value)
        for statement in module.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "PUBLISHED"
    )
    _, _, section = (ROOT / "docs" / "vending.md").read_text().partition("\n## Known attacks\n")
    heading, rule, *rows = re.findall(r"^\| ([^|]+?) \|", section.partition("\n## ")[0], re.MULTILINE)
    assert (heading, rule) == ("CVE or issue", "---")
    assert sorted(rows) == sorted(published)


def test_nobody_is_told_to_install_the_bare_name() -> None:
    """The distribution that has the bare name on the public index is another project's: its code would see the secrets."""
    files = [*DOCUMENTS, ROOT / "pyproject.toml", *ROOT.glob("src/**/*.py"), *ROOT.glob("benchmarks/**/*")]
    for file in files:
        if file.suffix in (".md", ".toml", ".py", ".txt"):
            assert not re.search(r"install[^\n]*[\s'\"`]credbroker(?![-\w/.])", file.read_text()), file


def test_the_instants_in_the_documents_are_those_of_the_policy() -> None:
    rows = re.findall(r"^\| (\d+ (?:s|min|h)) \|(.+)\|$", (ROOT / "docs" / "concepts.md").read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == ["4 s", "60 s", "15 min", "1 h"]
    for lifetime, rest in rows:
        life = _seconds(lifetime)
        guard, usable, window, left = (cell.strip() for cell in rest.split("|"))
        first, last = (part if part[-1] in "snh" else f"{part} s" for part in window.split(" to "))
        soonest, latest = policy.instants(0.0, life, 1.0), policy.instants(0.0, life, 0.0)
        within = pytest.approx
        assert _seconds(guard) == within(life - latest.usable_until, abs=0.01)
        assert _seconds(usable) == within(latest.usable_until, abs=0.01)
        assert _seconds(first) == within(soonest.refresh_at, abs=0.5)
        assert _seconds(last) == within(latest.refresh_at, abs=0.5)
        assert _seconds(left) == within(latest.usable_until - latest.refresh_at, abs=0.5)


def test_every_error_has_its_row() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
    classes = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert described == {name for name, kind in classes.items() if issubclass(kind, errors.CredbrokerError)} - {
        "CredbrokerError"
    }


def test_every_exit_code_has_its_row() -> None:
    described = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    assert [int(code) for code in described] == sorted(ExitCode)


def _shown(command: str) -> list[str]:
    """The blocks of the page about the commands that begin with that one, after a prompt."""
    text = (ROOT / "docs" / "commands.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for language, block in blocks if not language and block.startswith(f"$ {command} ")]


def test_every_command_has_its_section() -> None:
    described = re.findall(r"^## `([\w-]+)", (ROOT / "docs" / "commands.md").read_text(), re.MULTILINE)
    assert described == list(NAMES)


def _explained(command: str, directory: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """The command in a fresh shell, beside the page's own file: no handler of the tests' takes what it logs."""
    platform = next(text for name, text in _blocks("yaml") if name == "commands.md")
    for old, new in changes.items():
        assert f": {old}\n" in platform
        platform = platform.replace(f": {old}\n", f": {new}\n")
    (directory / "platform.yaml").write_text(platform)
    program = "import sys; from credbroker.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *command.split()[2:]],
        cwd=directory,
        env={},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # in one terminal, as a reader has them
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("block", _shown("credbroker explain"))
def test_what_explain_is_shown_to_print_is_what_it_prints(block: str, tmp_path: Path) -> None:
    command, _, output = block.partition("\n")
    run = _explained(command, tmp_path)
    assert run.stdout == output
    assert run.returncode == (0 if not output.startswith("credbroker: ") else 77 if "lies outside" in output else 78)


def test_in_production_the_record_of_a_refusal_is_printed_before_it(tmp_path: Path) -> None:
    (block,) = (block for block in _shown("credbroker explain") if "lies outside" in block)
    command, _, output = block.partition("\n")
    run = _explained(command, tmp_path, dev="production")
    record, _, rest = run.stdout.partition("\n")
    assert json.loads(record)["event"] == "denied"
    assert rest == output
    assert run.returncode == 77


def test_what_doctor_is_shown_to_try_is_what_it_tries() -> None:
    (block,) = _shown("credbroker doctor")
    (draw,) = set(re.findall(rf"{re.escape(NAME)}([0-9a-f]{{16}})", block))
    place = Location.parse("s3://lake/sales/")
    planned = tries(Ground.below(place, (place,), draw), Access.READ_WRITE, None)
    rows = re.findall(r"^  \w+ +(?:allowed|AccessDenied)  \S.*?  +(\S.*)$", block, re.MULTILINE)
    assert rows == [one.what for one in (*planned.before, *planned.after, *planned.outside)]
