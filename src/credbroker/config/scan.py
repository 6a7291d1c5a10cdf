"""Credentials in a document: YAML of any number of documents, Kubernetes manifests, Helm templates, ``.env``, other text."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from credbroker.config.detect import Detectors, detectors
from credbroker.config.faults import HIDDEN
from credbroker.config.fields import Field, Fields
from credbroker.config.forms import without_templates
from credbroker.config.tree import Path

_YAML = (".yaml", ".yml")
_ENV = ".env"
_KEY = re.compile(r"[A-Za-z_.][A-Za-z0-9_./-]{0,252}")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([\w.-]{1,256})\s*=\s*(.*)")
_SETTING = re.compile(r"[\s{]*(?:-\s+)*[\"']?([\w./-]{1,256})[\"']?\s*[:=]\s+(.*)")
_TRAILING = re.compile(r"\s+#.*")
# The marks of detect-secrets, so that a file needs one for both.
_ALLOWED = re.compile(r"pragma: ?(?:allow|white)list[ -]secret")
_NEXT_ALLOWED = re.compile(r"pragma: ?(?:allow|white)list[ -]nextline[ -]secret")
_WORTH_A_LOOK = re.compile(r"[\w+/=-]{4}")
_TEMPLATE = re.compile(r"\{\{[^{}]*(?:\}(?!\})[^{}]*)*\}\}")
_TEMPLATE_LINE = re.compile(r"^[ \t]*(?:\{\{[^{}\n]*\}\}[ \t]*)+$", re.MULTILINE)
_KEY_HEADER = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")
_KEY_MATERIAL = re.compile(r"PRIVATE KEY(?: BLOCK)?-----(?:\\r|\\n|[\s\"'+#*>/|])*(?:[A-Za-z0-9+/=]{16}|Proc-Type|Version)")
_FILLED_IN = "\ue000"  # a private-use character that YAML allows stands for what a template fills in
_MANIFEST_SECRET = "Kubernetes Secret"  # noqa: S105 - the name of the finding
_MOUNTED = ("data", "stringData")
# In the manifests of the External Secrets operator these name a key of the secret to be made.
_EXTERNAL_KEYS = frozenset({"secretKey"})
_SEALED = "encryptedData"
_NUL = b"\0"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

Place: TypeAlias = tuple[int, Path]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something found in a file. It never holds the value, nor a part of it.

    ``field`` is the dotted path; empty for a comment or a line of a text. ``type`` is the kind of credential, by the name
    that detect-secrets gives it, where it knows it; for what is no credential, the rule broken, and ``fault`` says how.
    """

    file: str
    line: int
    field: str
    type: str
    fault: str = ""

    @property
    def message(self) -> str:
        """One sentence about it, without the place."""
        subject = self.field or f"line {self.line}"
        return f"{subject} {self.fault}" if self.fault else f"{subject} holds what looks like a credential ({self.type})"


@dataclass(frozen=True, slots=True)
class Scanned:
    """One document. ``allowed`` counts what a ``pragma: allowlist secret`` allows; ``note`` says how it was read."""

    findings: tuple[Finding, ...] = ()
    allowed: int = 0
    note: str = ""
    is_text: bool = True


@dataclass(frozen=True, slots=True)
class _Hit:
    line: int
    last: int
    path: Path
    type: str


@dataclass(slots=True)
class _Document:
    """The hits of one text, and the lines in which comments stand."""

    hits: list[_Hit] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    secret_keys: set[str] = field(default_factory=set)


def scanned(file: str, raw: bytes) -> Scanned:
    """What a file holds, read as its name says. Raises ``ConfigurationError`` where detect-secrets is missing.

    A finding with ``# pragma: allowlist secret`` on its line (or on that of its key), or with ``# pragma: allowlist nextline
    secret`` on the line before, is counted and not returned.
    """
    text, name = text_of(raw), file.rpartition("/")[2].lower()
    if text is None:
        ought = name.endswith((*_YAML, _ENV)) or name.startswith(_ENV)
        return Scanned(is_text=False, note="is not text: skipped" if ought else "")
    note = ""
    if name.endswith(_YAML):
        document, broken = _yaml(text, detectors())
        note = f"is no YAML from line {broken} on: looked through line by line" if broken else ""
    elif name.startswith(_ENV) or name.endswith(_ENV):
        document = _env(text, detectors())
    else:
        document = _text(text, detectors())
    findings = [hit for hit in document.hits if not _is_allowed(hit, document.comments)]
    return Scanned(_told(file, findings, document.secret_keys), len(document.hits) - len(findings), note)


def pipeline_findings(file: str, text: str) -> tuple[Finding, ...]:
    """Every credential in the text of a ``floe.yaml``, whether or not it is YAML. No ``pragma`` allows one here."""
    document, _ = _yaml(text, detectors())
    return _told(file, document.hits, document.secret_keys)


def text_of(raw: bytes) -> str | None:
    """The text of a file; None where it is none. What is not UTF-8 is read byte by byte: one odd letter hides nothing."""
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace")
    if _NUL in raw:
        return None
    text: str | None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text


def _yaml(text: str, ask: Detectors) -> tuple[_Document, int | None]:
    fields = Fields(text)
    templates: list[_Hit] = []
    if fields.broken_from is not None and "{{" in text:
        filled = Fields(_TEMPLATE.sub(_same_length, _TEMPLATE_LINE.sub(_blank, text)))
        if filled.broken_from is None:
            fields, templates = filled, list(_in_templates(text, ask))
    document = _Document(templates, fields.rest)
    secret_keys = document.secret_keys
    kinds = _kinds(fields.found)
    looked: dict[str, str | None] = {}
    for found in fields.found:
        if found.is_key:
            if found.text not in looked:
                looked[found.text] = ask.in_line(found.text)
            kind = looked[found.text]
            if kind is not None:
                secret_keys.add(found.text)
                document.hits.append(_Hit(found.line, found.last, (*found.path, found.text), kind))
        else:
            kind = _in_value(found, kinds, ask)
            if kind is not None:
                document.hits.append(_Hit(found.line, found.last, found.path, kind))
    document.hits.extend(_beside(fields, ask))
    return document, fields.broken_from


def _in_value(found: Field, kinds: Mapping[Place, str], ask: Detectors) -> str | None:
    text = found.text.replace(_FILLED_IN, "")
    if not text.strip():
        return None
    key = next((step for step in reversed(found.path) if isinstance(step, str)), "")
    external: frozenset[str] = frozenset()
    for depth in range(len(found.path)):
        kind = kinds.get((found.document, found.path[:depth]))
        step = found.path[depth]
        if kind == "Secret" and step in _MOUNTED:
            return _in_manifest(key, text, ask, encoded=step == "data")
        if kind == "SealedSecret" and _SEALED in found.path[depth:]:
            return ask.in_text(text)
        if kind is not None and kind.endswith(("ExternalSecret", "PushSecret")):
            external = _EXTERNAL_KEYS
    return ask.in_field(key, text, references=external)


def _in_manifest(key: str, text: str, ask: Detectors, *, encoded: bool) -> str | None:
    literal = without_templates(text)
    if not literal or literal.startswith(("ENC[", "<")):
        return None
    kind = ask.in_text(text)
    if kind is None and encoded:
        try:
            content = text_of(base64.b64decode(literal, validate=False))
        except (binascii.Error, ValueError):
            content = None
        kind = ask.in_field("", content) if content else None
    return kind or _MANIFEST_SECRET


def _kinds(found: Iterable[Field]) -> dict[Place, str]:
    """Of each map that has one, the ``kind``: of a document, or of an item of a list."""
    return {
        (one.document, one.path[:-1]): one.text for one in found if not one.is_key and one.path and one.path[-1] == "kind"
    }


def _beside(fields: Fields, ask: Detectors) -> Iterator[_Hit]:
    """Comments, anchors and tags; and whole lines where the text is no YAML."""
    broken = fields.broken_from or len(fields.rest) + 1
    for number, line in enumerate(fields.rest, 1):
        if not _WORTH_A_LOOK.search(line):
            continue
        if number < broken:
            kind = ask.in_line(line)
            if kind is not None:
                yield _Hit(number, number, (), kind)
        else:
            yield from _in_setting(number, line, _SETTING, ask)


def _in_setting(number: int, line: str, form: re.Pattern[str], ask: Detectors) -> Iterator[_Hit]:
    setting = form.fullmatch(line)
    if setting is not None:
        key, value = setting.groups()
        kind = ask.in_field(key, _TRAILING.sub("", value).strip().strip("\"'"))
        if kind is not None:
            yield _Hit(number, number, (key,) if ask.in_line(key) is None else (), kind)
            return
    kind = ask.in_line(line)
    if kind is not None:
        yield _Hit(number, number, (), kind)


def _env(text: str, ask: Detectors) -> _Document:
    lines = text.splitlines()
    found = [hit for number, line in enumerate(lines, 1) for hit in _in_setting(number, line, _ASSIGNMENT, ask)]
    return _Document(found, lines)


def _text(text: str, ask: Detectors) -> _Document:
    lines = text.splitlines()
    found: list[_Hit] = []
    for number, line in enumerate(lines, 1):
        if not _WORTH_A_LOOK.search(line):
            continue
        # Code that reads a key names its first line as well: it is one if something of the key follows.
        follows = " ".join(lines[number - 1 : number + 1])
        kind = ask.in_text(line if _KEY_MATERIAL.search(follows) else _KEY_HEADER.sub(" ", line))
        if kind is not None:
            found.append(_Hit(number, number, (), kind))
    return _Document(found, lines)


def _in_templates(text: str, ask: Detectors) -> Iterator[_Hit]:
    for template in _TEMPLATE.finditer(text):
        kind = ask.in_text(template.group())
        if kind is not None:
            number = text.count("\n", 0, template.start()) + 1
            yield _Hit(number, number, (), kind)


def _same_length(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", _FILLED_IN, match.group())


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def _is_allowed(hit: _Hit, comments: list[str]) -> bool:
    beside = comments[hit.line - 1 : hit.last]
    before = comments[hit.line - 2 : hit.line - 1] if hit.line > 1 else []
    return any(map(_ALLOWED.search, beside)) or any(map(_NEXT_ALLOWED.search, before))


def _told(file: str, hits: Iterable[_Hit], secret_keys: set[str]) -> tuple[Finding, ...]:
    found = {Finding(file, hit.line, _spelled(hit.path, secret_keys), hit.type) for hit in hits}
    return tuple(sorted(found))


def _spelled(path: Path, secret_keys: set[str]) -> str:
    """The dotted path. A key that is no name, or that is a credential itself, is not shown."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            shown = step if _KEY.fullmatch(step) and step not in secret_keys else HIDDEN
            text += f".{shown}" if text else shown
    return text
