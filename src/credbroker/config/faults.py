"""Faults of a configuration: each with file, line, field and remedy, all of them in one error, and never a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import ValidationError  # noqa: TC002 - this room is made of pydantic

from credbroker.config.tree import Node, Path
from credbroker.config.values import FAULT
from credbroker.errors import ConfigurationError, CredentialDetected

MOST = 50
"""So many faults are shown."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,252}")
_WORD = re.compile(r"[a-z][a-zA-Z_-]{0,39}")
HIDDEN = "<not shown>"
_TEXTS = {
    "missing": "is missing",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "dict_type": "must be a map",
    "list_type": "must be a list",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. ``text`` follows the field's name."""

    node: Node
    path: Path
    text: str
    credential: bool = False
    """A literal credential stands there: besides the file, the credential itself is to be replaced."""

    def __str__(self) -> str:
        field = spelled(self.path)
        sentence = f"{field} {self.text}" if field else self.text
        return f"{self.node.where}: {sentence}" if self.node.where else sentence


def failed(faults: Sequence[Fault]) -> ConfigurationError:
    """The one error for all faults, in the order of the file, one for each place. A key that is repeated has several."""
    first: dict[tuple[Path, int], Fault] = {}
    for fault in faults:
        first.setdefault((fault.path, fault.node.line), fault)
    kind = CredentialDetected if any(fault.credential for fault in faults) else ConfigurationError
    ordered = sorted(first.values(), key=lambda fault: (fault.node.file, fault.node.line))
    if len(ordered) == 1:
        return kind(str(ordered[0]))
    lines = [str(fault) for fault in ordered[:MOST]]
    if len(ordered) > MOST:
        lines.append(f"and {len(ordered) - MOST} more")
    return kind(f"the configuration has {len(ordered)} faults:\n  " + "\n  ".join(lines))


def faults_of(error: ValidationError, tree: Node) -> list[Fault]:
    """Pydantic's findings in our words. Its own text is used only where it states what is allowed, not what was given."""
    found = []
    for detail in error.errors(include_input=False, include_url=False, include_context=False):
        path: Path = tuple(step for step in detail["loc"] if step != "[key]")
        if detail["type"] == FAULT:
            text = detail["msg"]
        elif detail["type"] in ("literal_error", "enum"):
            text = "must be " + detail["msg"].removeprefix("Input should be ")
        else:
            text = _TEXTS.get(detail["type"], "is not valid here")
        found.append(Fault(tree.at(path), path, text))
    return found


def spelled(path: Path) -> str:
    """``catalogs.production.storage[1]``; a key that is no name is not shown."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if is_name(step) else HIDDEN)
    return text


def is_name(text: str) -> bool:
    """Whether a text is a name, and so may be shown where names are."""
    return _NAME.fullmatch(text) is not None


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    return next(iter(get_close_matches(key, sorted(filter(is_name, known)), n=1, cutoff=0.6)), None)


def looks_like_key(key: str) -> bool:
    """Whether a key is a plain word, with two digits at most, so that it may be shown though nobody knows it."""
    return _WORD.fullmatch(re.sub(r"[0-9]{1,2}", "", key, count=1)) is not None


def unknown_key(key: str, node: Node, known: Iterable[str]) -> tuple[str, str]:
    """How to show an unknown key, and what to say of it.

    It is shown only if it looks like a key: ``{hunter2}`` is YAML for ``{hunter2: null}``, and a pasted key may be anything.
    """
    meant = nearest(key, known)
    shown = key if meant is not None or (node.value is not None and looks_like_key(key)) else HIDDEN
    return shown, f"is an unknown key: did you mean {meant!r}?" if meant is not None else "is an unknown key"
