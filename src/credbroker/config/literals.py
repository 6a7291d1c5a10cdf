"""Secrets that stand in platform.yaml itself: by the key that they stand under, or by their unmistakable form."""

from __future__ import annotations

import re
from collections.abc import Iterator

from credbroker.config.faults import Fault
from credbroker.config.tree import Node, Path

_SECTIONS = ("catalogs", "storage", "compute", "credentials", "network", "secret_backends", "audit", "principal")
_KEY = re.compile(
    r"(?:.*_)?(?:password|passwd|passphrase|secret|secret_key|secret_access_key|access_key|access_key_id|secret_id"
    r"|private_key|api_key|account_key|access_token|session_token|sas_token|refresh_token|auth_token|connection_string|authorization"
    r"|credential)|token"
)
# Forms that nothing else has: AWS access keys, GitHub and Vault tokens; PEM; JWT; a URL with a password; an Azure SAS.
_FORM = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30}|\bhv[sb]\.[A-Za-z0-9_-]{20}|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]|://[^/\s:@]*:[^/\s@${]+@|[?&]sig=[A-Za-z0-9%+/=]{20}"
)
_TEMPLATE = re.compile(r"\s*(?:\$\{[^}]*\}|\{\{.*\}\})\s*", re.DOTALL)
_REMEDY = "keep it in a secret, and name that by {secret_ref: name} under credentials"


def literals(tree: Node) -> Iterator[Fault]:
    """Every literal secret in the sections that we read."""
    for section in _SECTIONS:
        node = tree.entries().get(section)
        if node is None:
            continue
        for path, leaf in node.walk((section,)):
            if isinstance(leaf.value, str) and leaf.value and _holds_secret(path, leaf.value):
                yield Fault(leaf, path, f"holds a literal credential (not shown): {_REMEDY}", credential=True)


def _holds_secret(path: Path, text: str) -> bool:
    if _FORM.search(text):
        return True
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    last = key.rpartition(".")[2].lower().replace("-", "_")
    return bool(_KEY.fullmatch(last)) and not _TEMPLATE.fullmatch(text)
