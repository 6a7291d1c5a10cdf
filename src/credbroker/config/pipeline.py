"""``floe.yaml``: scanned before it is parsed, then held to logical names. All else stands in ``platform.yaml``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from credbroker.config.faults import Fault, is_name, looks_like_key, nearest, spelled
from credbroker.config.reader import read_yaml
from credbroker.config.scan import Finding, pipeline_findings, text_of
from credbroker.config.tree import Node, Path
from credbroker.errors import ConfigurationError

PROFILES: Mapping[str, str] = {"catalog": "catalogs", "storage": "storage", "compute": "compute"}
"""The keys of ``floe.yaml`` that name a profile, and the section of ``platform.yaml`` that has it."""

_PROFILE_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")
# By the last word of a key: otlp_endpoint, aws.region, bucketName.
_PLACE_KEYS = frozenset({"endpoint", "endpoints", "url", "uri", "host", "hostname", "bucket", "region", "arn"})
_SECRET_KEYS = frozenset({"credentials", "secret_ref"})
_BELONGS = "it belongs in platform.yaml: name a profile here"
_VALUES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an ARN", re.compile(r"\barn:aws[a-z-]*:")),
    ("a URL", re.compile(r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.:-]{0,63}://")),
    (
        "a host",
        re.compile(
            r"localhost(?::[0-9]{1,5})?|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?(?:/[0-9]{1,2})?|\[[0-9A-Fa-f:]+\](?::[0-9]{1,5})?"
            # With a port; without a dot only a port that no version of an image is.
            r"|(?=[A-Za-z0-9.-]*[A-Za-z])(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]+:[0-9]{2,5}|[A-Za-z][A-Za-z0-9-]*:[0-9]{4,5}"
            r"|(?:[a-z0-9-]+\.)+(?:com|net|org|internal|local|localdomain|svc|lan|corp|intra)",
        ),
    ),
    (
        "a region",
        re.compile(
            r"(?:af|ap|asia|australia|ca|cn|eu|europe|il|me|mx|northamerica|sa|southamerica|us)(?:-gov|-iso[a-f]?)?-(?:north|south|east|west|central|northeast|northwest|southeast|southwest)-?[1-9]"
        ),
    ),
)
_WHOLE = frozenset({"a host", "a region"})


@dataclass(frozen=True, slots=True)
class Judged:
    """What is wrong with one ``floe.yaml``: credentials, or, only where there is none, what is no logical name."""

    credentials: tuple[Finding, ...] = ()
    faults: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of it."""
        return (*self.credentials, *self.faults)


def judged(file: str, raw: bytes, known: Mapping[str, Collection[str]] | None = None) -> Judged:
    """Judge a ``floe.yaml``. ``known`` are the names of the profiles in each section of ``platform.yaml``, if there is one.

    It is scanned as text first, so that a credential in a comment, or in a file that is no YAML, is found before anything
    else is said of it. Keys that nobody here knows pass. Raises ``ConfigurationError`` where detect-secrets is missing.
    """
    text = text_of(raw)
    credentials = pipeline_findings(file, text) if text is not None else ()
    if credentials:
        return Judged(credentials)
    return Judged(faults=tuple(_faults(file, raw, known)))


def _faults(file: str, raw: bytes, known: Mapping[str, Collection[str]] | None) -> Iterator[Finding]:
    tree, reason = _read(file, raw)
    if tree is None:
        place, _, text = reason.removeprefix(f"{file}:").lstrip().partition(": ")
        line = place.partition(":")[0]
        yield Finding(file, int(line), "", "YAML", text) if line.isdigit() else Finding(file, 1, "", "YAML", place)
        return
    found = [*_names(tree, known), *_infrastructure(tree)]
    for fault in sorted(found, key=lambda one: one.node.line):
        rule = "Profile Name" if len(fault.path) == 1 and fault.path[0] in PROFILES else "Infrastructure"
        yield Finding(file, fault.node.line, spelled(fault.path), rule, fault.text)


def _read(file: str, raw: bytes) -> tuple[Node | None, str]:
    # Returned and not raised: a traceback would keep the frames that hold the text.
    try:
        return read_yaml(raw, file), ""
    except ConfigurationError as error:
        return None, str(error)


def _names(tree: Node, known: Mapping[str, Collection[str]] | None) -> Iterator[Fault]:
    for key, section in PROFILES.items():
        node = tree.entries().get(key)
        if node is None:
            continue
        if not isinstance(node.value, str) or not _PROFILE_NAME.fullmatch(node.value):
            text = "must be the name of a profile: a letter, then letters, digits, '-' or '_'"
            yield Fault(node, (key,), f"{text}; what the profile is stands in platform.yaml, under {section}:")
        elif known is not None and node.value not in known.get(section, ()):
            yield Fault(node, (key,), _unknown(node.value, section, known))


def _unknown(name: str, section: str, known: Mapping[str, Collection[str]]) -> str:
    elsewhere = [other for other in PROFILES.values() if other != section and name in known.get(other, ())]
    if elsewhere:
        return f"names no profile under {section}: in platform.yaml; one of that name stands under {elsewhere[0]}:"
    names = sorted(filter(is_name, known.get(section, ())))
    meant = nearest(name, names)
    hint = f"did you mean {meant!r}?" if meant is not None else f"there are {', '.join(names)}" if names else "there is none"
    return f"names no profile under {section}: in platform.yaml: {hint}"


def _infrastructure(tree: Node) -> Iterator[Fault]:
    for path, node in tree.walk():
        if not path:
            continue
        if len(path) == 1 and path[0] in PROFILES and isinstance(node.value, dict | list):
            continue  # told as a name that is none
        key = path[-1]
        shown = _shown(path)
        what = _place_by_key(key, node) if isinstance(key, str) else None
        what = what or (_place_by_value(node.value) if isinstance(node.value, str) else None)
        if what is not None:
            yield Fault(node, shown, f"{what}: {_BELONGS}")
        elif isinstance(key, str) and (what := _place_by_value(key)) is not None:
            yield Fault(node, (*shown[:-1], ""), f"{what}, as a key: {_BELONGS}")


def _place_by_key(key: str, node: Node) -> str | None:
    if node.value is None:
        return None
    if key in _SECRET_KEYS:
        return "is how a profile authenticates"
    words = [word.lower() for word in _WORDS.findall(key)]
    if words and words[-1] == "name":
        words = words[:-1]
    return f"is infrastructure (a key for {_article(words[-1])})" if words and words[-1] in _PLACE_KEYS else None


def _place_by_value(text: str) -> str | None:
    for what, pattern in _VALUES:
        if (pattern.fullmatch if what in _WHOLE else pattern.search)(text.strip()):
            return f"is or holds {what}" if what not in _WHOLE else f"is {what}"
    return None


def _article(word: str) -> str:
    return f"an {word.upper()}" if word == "arn" else f"{'an' if word.startswith('e') else 'a'} {word}"


def _shown(path: Path) -> Path:
    """The path with every key hidden that does not look like one: it may be anything."""
    return tuple(step if isinstance(step, int) or _is_word(step) else "" for step in path)


def _is_word(step: str) -> bool:
    return all(looks_like_key(part.lower()) for part in step.split("."))
