"""The rules of what a binding serves: by protocols and files that its credential has a place in, and no two alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from credbroker.config.bound import Bound, bounds
from credbroker.config.faults import Fault, nearest, spelled
from credbroker.config.sidecar import FORMS, LONGEST_PATH, SERVES
from credbroker.config.tree import Node

_BY_HOST = "gce-metadata"
_SUBJECTS = {
    "s3": "a store of type 's3'",
    "gcs": "a store of type 'gcs'",
    "azure": "a store of type 'azure'",
    "local": "a store of type 'local', which has no credential",
    "table": "a table",
    "catalog": "a catalog's token",
    "aws-catalog": "a catalog in mode 'iam_role', which is asked with AWS keys and has no token (its tables can be bound)",
    "compute": "the credential of an engine",
}


def broken_serving(tree: Node) -> Iterator[Fault]:
    """Protocols and files that cannot be served, and what two bindings cannot both have."""
    found = bounds(tree)
    for bound in found:
        for rule in (_something, _protocols, _files, _on_change):
            yield from rule(bound)
    yield from _by_host(found)
    yield from _paths(found)


def _something(bound: Bound) -> Iterator[Fault]:
    if bound.value("protocols") in (None, []) and bound.value("files") in (None, []):
        yield bound.fault(f"serves nothing: name protocols ({', '.join(SERVES)}), or files")


def _protocols(bound: Bound) -> Iterator[Fault]:
    subject = bound.subject()
    seen: set[str] = set()
    for path, item in bound.items("protocols"):
        name = item.value
        if not isinstance(name, str):
            continue  # the field's own check says so
        if name not in SERVES:
            meant = nearest(name, SERVES)
            text = f"did you mean {meant!r}?" if meant else f"there are {', '.join(SERVES)}"
            yield Fault(item, path, f"is an unknown protocol: {text}")
        elif name in seen:
            yield Fault(item, path, "stands there twice: write each protocol once")
        elif subject is not None and subject not in SERVES[name]:
            yield Fault(item, path, _unfit(f"cannot serve {_SUBJECTS[subject]}", SERVES, subject))
        elif name == "aws-container" and subject == "s3" and bound.target is not None and bound.target.mode == "static":
            text = "cannot serve a profile in mode 'static': the SDKs of AWS want an end, and its keys have none"
            yield Fault(item, path, f"{text}; use mode 'iam_role' there, or here a file of form 'aws-credentials'")
        seen.add(name)


def _unfit(text: str, choices: Mapping[str, frozenset[str]], subject: str) -> str:
    able = [name for name, subjects in choices.items() if subject in subjects]
    return f"{text}: use {', '.join(able)}" if able else f"{text}: leave it out"


def _files(bound: Bound) -> Iterator[Fault]:
    subject = bound.subject()
    for path, item in bound.items("files"):
        entries = item.entries()
        form = entries.get("form", Node(None)).value
        if not isinstance(form, str) or form not in FORMS:
            continue  # the field's own check says so
        if subject is not None and subject not in FORMS[form]:
            text = _unfit(f"does not fit {_SUBJECTS[subject]}", FORMS, subject)
            yield Fault(entries["form"], (*path, "form"), text)
        template = entries.get("template", Node(None))
        if form == "template" and template.value is None:
            yield Fault(item, (*path, "template"), "is missing: form 'template' needs the path of one")
        for key, belongs in (("template", "template"), ("profile", "aws-credentials")):
            node = entries.get(key, Node(None))
            if node.value is not None and form != belongs:
                yield Fault(node, (*path, key), f"belongs to form {belongs!r}: leave it out")


def _on_change(bound: Bound) -> Iterator[Fault]:
    node = bound.node.entries().get("on_change", Node(None))
    if not isinstance(node.value, dict):
        return
    if bound.value("files") in (None, []):
        yield bound.fault("has no file that could change: name files, or leave it out", "on_change")
    given = {key for key in ("signal", "pid_file", "command") if node.entries().get(key, Node(None)).value is not None}
    if given not in ({"signal", "pid_file"}, {"command"}):
        yield bound.fault("must have either signal and pid_file, or command", "on_change")


def _by_host(found: list[Bound]) -> Iterator[Fault]:
    first: Bound | None = None
    for bound in found:
        named = [(path, item) for path, item in bound.items("protocols") if item.value == _BY_HOST]
        if named and first is not None:
            path, item = named[0]
            text = f"serves the binding {spelled((first.name,))} already: clients know the host alone, so one binding has it"
            yield Fault(item, path, text)
        first = first or (bound if named else None)


def _paths(found: list[Bound]) -> Iterator[Fault]:
    """No two files at one path, and none where another needs a directory."""
    files: set[str] = set()
    directories: set[str] = set()
    for bound in found:
        for path, item in bound.items("files"):
            node = item.entries().get("path", Node(None))
            if not isinstance(node.value, str) or len(node.value) > LONGEST_PATH:
                continue  # the field's own check says so
            segments = node.value.split("/")
            above = {"/".join(segments[:count]) for count in range(1, len(segments))}
            if node.value in files:
                yield Fault(node, (*path, "path"), "is written for another entry already: give each file its own path")
            elif node.value in directories or above & files:
                yield Fault(node, (*path, "path"), "makes one path a file and a directory: rename one of the two")
            files.add(node.value)
            directories |= above
