"""AWS container credentials: what every AWS SDK, Arrow C++ and object_store ask by the variables of Amazon ECS and EKS.

Source: AWS SDKs and Tools reference guide, "Container credential provider".
"""

from __future__ import annotations

import json
from datetime import datetime
from urllib.parse import urlsplit

from credbroker.credentials import Credential
from credbroker.hosts import is_loopback
from credbroker.sidecar.authorization import bare_or_bearer
from credbroker.sidecar.protocol import NO_STORE, Answer, Ask, Place, Protocol, Refusal, Route, Variables
from credbroker.wire.container_credentials import container_credentials


def _answer(ask: Ask, value: Credential, ends: datetime | None) -> Answer:
    return Answer(200, container_credentials(value, ends), headers=(NO_STORE,))


def _refusal(refusal: Refusal) -> Answer:
    body = json.dumps({"code": refusal.code, "message": refusal.message}).encode()
    return Answer(refusal.status, body, headers=refusal.headers)


def _environment(place: Place) -> Variables:
    variables = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": place.url("aws-container"),
        # The file alone: Java would read the token beside it first and never again, and object_store reads the file only.
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": place.token_file,
        "AWS_EC2_METADATA_DISABLED": "true",  # where the sidecar does not answer, nobody becomes the machine's own role
    }
    if place.region is not None:
        variables |= {"AWS_REGION": place.region, "AWS_DEFAULT_REGION": place.region}
    if place.endpoint is not None:
        # AWS_ENDPOINT is object_store's own word. AWS_ENDPOINT_URL would send STS and Glue of the AWS SDKs there as well.
        variables |= {"AWS_ENDPOINT_URL_S3": place.endpoint, "AWS_ENDPOINT": place.endpoint}
        parts = urlsplit(place.endpoint)
        if parts.scheme == "http" and is_loopback(parts.hostname or ""):
            variables["AWS_ALLOW_HTTP"] = "true"  # object_store speaks no plain HTTP without it
    return variables


PROTOCOL = Protocol(
    name="aws-container",
    routes=(Route(path="", token=bare_or_bearer, answer=_answer),),
    refusal=_refusal,
    environment=_environment,
)
