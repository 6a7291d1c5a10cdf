"""The subject token of Google's workload identity federation, by the ``url`` source of an external_account.

Source: Google Cloud, "Configure Workload Identity Federation with other identity providers"; AIP-4117. The token that the
binding issues is a JWT, which the workload identity pool trusts. A file such as this one, named by the variable
``GOOGLE_APPLICATION_CREDENTIALS``, leads any Google SDK here. It holds the caller's token; where that must not be, let the
file sink keep the JWT in a file, and name that one as a ``file`` source::

    {"type": "external_account",
     "audience": "//iam.googleapis.com/projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>",
     "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
     "token_url": "https://sts.googleapis.com/v1/token",
     "credential_source": {
       "url": "http://127.0.0.1:8642/<binding>/google-subject-token",
       "headers": {"Authorization": "Bearer <token>"},
       "format": {"type": "json", "subject_token_field_name": "access_token"}}}
"""

from __future__ import annotations

import json
from datetime import datetime

from credbroker.credentials import Credential
from credbroker.sidecar.authorization import bearer
from credbroker.sidecar.protocol import NO_STORE, Answer, Ask, Place, Protocol, Refusal, Route, Variables
from credbroker.wire.token_answers import subject_token


def _answer(ask: Ask, value: Credential, ends: datetime | None) -> Answer:
    return Answer(200, subject_token(value, ask.left(ends)), headers=(NO_STORE,))


def _refusal(refusal: Refusal) -> Answer:
    body = json.dumps({"error": refusal.code, "error_description": refusal.message}).encode()
    return Answer(refusal.status, body, headers=refusal.headers)


def _environment(place: Place) -> Variables:
    return {}


PROTOCOL = Protocol(
    name="google-subject-token",
    routes=(Route(path="", token=bearer, answer=_answer),),
    refusal=_refusal,
    environment=_environment,
)
