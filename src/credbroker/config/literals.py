"""Secrets that stand in platform.yaml itself: by the key that they stand under, or by their unmistakable form."""

from __future__ import annotations

from collections.abc import Iterator

from credbroker.config.faults import Fault
from credbroker.config.forms import form, has_secret_setting, has_url_password, is_secret_key, without_templates
from credbroker.config.tree import Node, Path

_SECTIONS = ("catalogs", "storage", "compute", "credentials", "network", "secret_backends", "audit", "principal", "sidecar")
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
    if form(text):
        return True
    literal = without_templates(text)
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    if literal.strip(": ") and is_secret_key(key):
        return True
    return has_url_password(literal) or has_secret_setting(literal)
