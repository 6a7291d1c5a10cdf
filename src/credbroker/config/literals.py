"""Secrets that stand in platform.yaml itself: by the key that they stand under, or by their unmistakable form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

from credbroker.config.faults import Fault
from credbroker.config.tree import Node, Path

_SECTIONS = ("catalogs", "storage", "compute", "credentials", "network", "secret_backends", "audit", "principal")
# How a key ends, without its separators: client_secret, clientSecret and clientsecret are one.
_KEY = re.compile(
    r".*(?:password|passwd|passphrase|pwd|secret|secretid|accesskeyid|(?:secret|access|private|api|account|signing|shared)key"
    r"|(?:access|session|security|sas|refresh|auth|bearer|id)token|connectionstring|authorization|credential|cookie|jwt)|token"
)
_SEPARATOR = re.compile(r"[^a-z0-9]")
# Forms that nothing else has: AWS access keys, GitHub and Vault tokens; PEM; JWT; an Azure SAS.
_FORM = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30}|\bhv[sb]\.[A-Za-z0-9_-]{20}|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]|[?&]sig=[A-Za-z0-9%+/=]{20}"
)
# What is filled in elsewhere; of ${NAME:-default} the default is a literal.
_TEMPLATE = re.compile(r"\$\{(?![^{}]*:-)[^{}]+\}|\{\{[^{}]+\}\}")
_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]{0,5})?")
# Of a query (?password=x&...), and of a connection string (UID=x;PWD=x), which may be the value of one.
_SETTING = re.compile(r"(?:^|[?&;\s])([\w.-]+)\s*=\s*[^&;\s]")
_REMEDY = "keep it in a secret, and name that by {secret_ref: name} under credentials"


def literals(tree: Node) -> Iterator[Fault]:
    """Every literal secret in the sections that we read."""
    for section in _SECTIONS:
        node = tree.entries().get(section)
        if node is None:
            continue
        for path, leaf in node.walk((section,)):
            if not isinstance(leaf.value, str | int | float) or isinstance(leaf.value, bool):
                continue
            if _holds_secret(path, str(leaf.value)):
                yield Fault(leaf, path, f"holds a literal credential (not shown): {_REMEDY}", credential=True)


def _holds_secret(path: Path, text: str) -> bool:
    if _FORM.search(text):
        return True
    literal = _TEMPLATE.sub("", text).strip()
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    if literal.strip(": ") and _is_secret_key(key):
        return True
    if any(_has_password(rest) for rest in literal.split("://")[1:]):
        return True
    return any(_is_secret_key(name) for name in _SETTING.findall(unquote_plus(literal)))


def _is_secret_key(key: str) -> bool:
    # Of `s3.secret-access-key` and `header.Cookie` the last part counts.
    return _KEY.fullmatch(_SEPARATOR.sub("", key.rpartition(".")[2].lower())) is not None


def _has_password(rest: str) -> bool:
    """Whether a URL, from behind its ``://``, has a password, even one that is not encoded as it ought to be."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # Where no host stands before it, a raw `/`, `?` or `#` is part of the password, which an `@` further on ends.
    whole = authority if _HOST_AND_PORT.fullmatch(authority.rpartition("@")[2]) else rest
    return bool(whole.rpartition("@")[0].partition(":")[2])
