"""Container credentials as ``credential_process`` of an AWS profile tells them.

Source: AWS SDKs and Tools reference guide, "Process credential provider". Standard library alone: a client starts a process
for each answer, and waits for all that it loads.
"""

from __future__ import annotations

import json

from credbroker.errors import MalformedResponse

_NAMES = {
    "AccessKeyId": "AccessKeyId",
    "SecretAccessKey": "SecretAccessKey",
    "Token": "SessionToken",
    "Expiration": "Expiration",
}


def process_credentials(container_credentials: bytes) -> bytes:
    """The container provider's JSON, in the words of the process provider. Raises ``MalformedResponse`` for other JSON."""
    told = _told(container_credentials)
    del container_credentials  # what an error tracker shows of this frame must not be the keys
    if told is None:
        raise MalformedResponse(
            "the sidecar's answer is no set of container credentials: does the binding serve aws-container?"
        )
    return told


def _told(body: bytes) -> bytes | None:
    # None instead of the JSON error: that carries the whole text it was reading.
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    keys = {name: answer.get(stated) for stated, name in _NAMES.items()}
    if not all(isinstance(text, str) and text for text in keys.values()):
        return None
    return json.dumps({"Version": 1, **keys}).encode()
