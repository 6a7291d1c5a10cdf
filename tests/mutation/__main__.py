"""``python -m tests.mutation``: see the package."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.trial import Verdict, prepare, tried

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "build" / "mutation.jsonl"
EXPLAINED = Path(__file__).with_name("survivors.md")

UNIT, PROPERTIES = "tests/unit", "tests/properties"
EDGES = f"{UNIT}/vending/test_edges.py"
MODULES = {
    "location": ("credbroker.location", (f"{UNIT}/test_location.py", f"{PROPERTIES}/test_location.py")),
    "limits": ("credbroker.limits", (f"{UNIT}/test_limits.py", f"{PROPERTIES}/test_limits.py")),
    "s3": ("credbroker.vending.s3", (f"{UNIT}/vending/test_s3.py", f"{PROPERTIES}/test_s3_policy.py")),
    "gcs": ("credbroker.vending.gcs", (f"{UNIT}/vending/test_gcs.py", EDGES, f"{PROPERTIES}/test_gcs_boundary.py")),
    "adls": ("credbroker.vending.adls", (f"{UNIT}/vending/test_adls.py", EDGES, f"{PROPERTIES}/test_adls_sas.py")),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutants of what decides a grant.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"{', '.join(MODULES)}; all by default")
    parser.add_argument("--show", metavar="ID", help="print one mutant as a diff, and try none")
    options = parser.parse_args(arguments)
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    asked = options.modules or list(MODULES)
    if options.show:
        _say(*(mutant.diff for name in asked for mutant in _mutants(name) if mutant.id == options.show))
        return 0
    prepare()
    known = _known()
    began = time.monotonic()
    survivors: list[Mutant] = []
    for name in asked:
        module, tests = MODULES[name]
        if tried(module, _source(module).read_text(), tests, ROOT) is not Verdict.SURVIVED:
            _say(f"{name}: its tests fail as it is: nothing to learn from mutants")
            return 2
        found = [(mutant, _verdict(mutant, name, known)) for mutant in _mutants(name)]
        survivors += [mutant for mutant, verdict in found if verdict is Verdict.SURVIVED]
        counted = {verdict.value: sum(each is verdict for _, each in found) for verdict in Verdict}
        _say(f"{name}: {len(found)} mutants, {', '.join(f'{number} {what}' for what, number in counted.items())}")
    _say(f"{time.monotonic() - began:.0f} s")
    explained = _explained()
    open_ones = [mutant for mutant in survivors if mutant.id not in explained]
    stale = {id_ for id_, name in explained.items() if name in asked} - {mutant.id for mutant in survivors}
    _say(*(f"unexplained: {mutant.id} {mutant.module}\n{mutant.diff}" for mutant in open_ones))
    _say(*(f"explained, and survives no more: {id_}" for id_ in sorted(stale)))
    return 1 if open_ones or stale else 0


def _mutants(name: str) -> list[Mutant]:
    module, _ = MODULES[name]
    return mutants(module, _source(module))


def _source(module: str) -> Path:
    return ROOT / "src" / Path(*module.split(".")).with_suffix(".py")


def _verdict(mutant: Mutant, name: str, known: dict[str, tuple[Verdict, str]]) -> Verdict:
    module, tests = MODULES[name]
    state = mutant.digest(*((ROOT / test).read_bytes() for test in tests))
    verdict, seen = known.get(mutant.key, (None, ""))
    if verdict is None or (verdict is Verdict.SURVIVED and seen != state):
        verdict = tried(module, mutant.source, tests, ROOT)
        FOUND.parent.mkdir(exist_ok=True)
        with FOUND.open("a") as file:
            file.write(json.dumps({"key": mutant.key, "id": mutant.id, "verdict": verdict, "tests": state}) + "\n")
    return verdict


def _known() -> dict[str, tuple[Verdict, str]]:
    lines = FOUND.read_text().splitlines() if FOUND.exists() else []
    entries = [json.loads(line) for line in lines]
    return {entry["key"]: (Verdict(entry["verdict"]), entry["tests"]) for entry in entries}


def _explained() -> dict[str, str]:
    """Each id in ``survivors.md`` with its module: a heading has the module first, then the ids."""
    headings = [line.split()[1:] for line in EXPLAINED.read_text().splitlines() if line.startswith("## ")]
    return {id_: name for name, *ids in headings for id_ in ids}


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
