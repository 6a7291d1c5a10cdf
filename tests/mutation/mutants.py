"""The mutants of one module: each is its source with one small change."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from mutmut.mutation.file_mutation import create_mutations


@dataclass(frozen=True)
class Mutant:
    """``id`` names the change whatever stands around it; ``key`` the whole source, in which it was tried."""

    module: str
    id: str
    source: str
    diff: str

    @property
    def key(self) -> str:
        return self.digest(self.source.encode())

    def digest(self, *parts: bytes) -> str:
        return hashlib.sha256(b"\0".join((self.module.encode(), *parts))).hexdigest()[:16]


def mutants(module: str, path: Path) -> list[Mutant]:
    """All that ``mutmut`` makes of the file, those outside of functions too, without those of the wording."""
    original = path.read_text()
    tree, mutations, _, _ = create_mutations(str(path), original)
    wording = {id(node) for node in _wording(tree)}
    found: dict[str, Mutant] = {}
    seen: Counter[str] = Counter()
    for mutation in mutations:
        if id(mutation.original_node) in wording:
            continue
        changed = tree.deep_replace(mutation.original_node, mutation.mutated_node)
        source = changed.code if isinstance(changed, cst.Module) else original
        if source == original or source in found:
            continue
        lines = list(difflib.unified_diff(original.splitlines(), source.splitlines(), lineterm="", n=0))[3:]
        change = "\n".join(line for line in lines if not line.startswith("@@"))
        seen[change] += 1  # one change may be made in two places
        name = hashlib.sha256(f"{module}\n{change}\n{seen[change]}".encode()).hexdigest()[:8]
        found[source] = Mutant(module, name, source, change)
    return list(found.values())


def _wording(tree: cst.Module) -> Iterator[cst.CSTNode]:
    """The plain texts in what is raised or refused: not what is put into them."""
    for raised in _nodes(tree, cst.Raise):
        for text in _nodes(raised, cst.SimpleString):
            if " " in text.raw_value:
                yield text


def _nodes(node: cst.CSTNode, kind: type[cst.CSTNode]) -> Iterator[cst.CSTNode]:
    if isinstance(node, kind):
        yield node
    for child in node.children:
        yield from _nodes(child, kind)
