"""One mutant, tried: a forked process in which its module is the mutant's source, and the tests run until one fails."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, settings

PROFILE = "mutation"
_PATIENCE = 60  # seconds; a mutant that takes longer has broken a loop
_MEMORY = 4 << 30
# What the tests load that is not ours: loaded once here, not again in each fork.
_FOREIGN = (
    "azure.storage.blob", "azure.storage.filedatalake", "cel_expr_python", "pydantic", "hypothesis.strategies",
    "hypothesis.internal.conjecture.engine", "unittest.mock", "urllib.parse",
)  # fmt: skip
_OPTIONS = (
    "-x", "-q", "--tb=no", "-pno:cacheprovider", "--timeout=0", f"--hypothesis-profile={PROFILE}",
    "-Wignore::pytest.PytestAssertRewriteWarning",  # hypothesis is here already, on purpose
)  # fmt: skip


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    STUCK = "stuck"
    SURVIVED = "survived"


def prepare() -> None:
    """What all trials share. Nothing of ours is imported yet: each fork is to find the mutant in its place."""
    settings.register_profile(
        PROFILE,
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),  # which example kills it is of no interest
    )
    for name in _FOREIGN:
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.partition(".")[0] == "credbroker"]


def tried(module: str, source: str, tests: Sequence[str], root: Path) -> Verdict:
    child = os.fork()
    if child == 0:
        _try(module, source, tests, root)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Verdict.STUCK
    return Verdict.SURVIVED if os.WEXITSTATUS(status) == pytest.ExitCode.OK else Verdict.KILLED


def _try(module: str, source: str, tests: Sequence[str], root: Path) -> None:
    """Never returns: whatever happens here is the verdict."""
    code = 1
    try:
        signal.alarm(_PATIENCE)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        os.chdir(root)
        sys.meta_path.insert(0, _Finder(module, source))
        code = int(pytest.main([*_OPTIONS, *tests]))
    finally:
        os._exit(code)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds the one module in a text, and leaves all others alone."""

    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._source = source

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._module else None

    def get_source(self, fullname: str) -> str:
        return self._source
