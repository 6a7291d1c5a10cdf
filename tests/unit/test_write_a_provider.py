"""The page about plug-ins shows the code of tests/plugins, which is built, installed and run, and the rules of the suite."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from credbroker.providers import GROUP as PROVIDERS
from credbroker.secrets.plugins import GROUP as BACKENDS
from credbroker.testing import of_answers, of_issue, of_plan
from credbroker.testing.conformance import RULES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "write-a-provider.md").read_text()
FILES = [  # of both distributions, in this order
    file.read_text()
    for folder in ("acme_provider", "acme_backend")
    for file in sorted((ROOT / "tests" / "plugins" / folder).rglob("*"))
    if file.suffix in (".py", ".toml", ".md")
]
BLOCKS = re.findall(r"^```(python|toml|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_has_its_blocks() -> None:
    assert [language for language, _ in BLOCKS].count("python") == 5


@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=range(len(BLOCKS)))
def test_what_the_page_shows_is_what_is_built_and_run(block: str) -> None:
    assert any(block.rstrip() in file for file in FILES)


def test_the_class_is_shown_whole() -> None:
    (module,) = (file for file in FILES if file.startswith('"""Tokens of Acme'))
    shown = "".join(block for _, block in BLOCKS)
    assert [line for line in module.splitlines() if line and line not in shown] == []


def test_the_rules_are_those_that_the_suite_checks() -> None:
    section = PAGE.partition("\n### The rules\n")[2].partition("\n| what happened")[0]
    stated = re.findall(r"^(\d)\. (.*?)(?=^\d\. |\Z)", section, re.MULTILINE | re.DOTALL)
    assert {int(number): " ".join(text.split()) for number, text in stated} == RULES
    assert {check.rule for check in (*of_plan.CHECKS, *of_issue.CHECKS, *of_answers.CHECKS)} == set(RULES)


def test_the_number_of_checks_is_the_suite_s() -> None:
    (number,) = re.findall(r"\(1 of (\d+) checks", PAGE)
    assert int(number) == len((*of_plan.CHECKS, *of_issue.CHECKS, *of_answers.CHECKS))


def test_the_entry_points_are_in_the_groups_that_are_read() -> None:
    groups = [
        group
        for folder in ("acme_provider", "acme_backend")
        for group in tomllib.loads((ROOT / "tests" / "plugins" / folder / "pyproject.toml").read_text())["project"][
            "entry-points"
        ]
    ]
    assert groups == [PROVIDERS, BACKENDS]
