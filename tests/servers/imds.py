"""AWS's metadata services: of an EC2 instance, and of a container. They cannot be had here, so each request is checked.

- EC2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html and
  https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
- Containers: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
- EKS: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.servers.strict import Answer, Asked, StrictServer, now

ADDRESS = "http://169.254.169.254"
ECS_ADDRESS = "http://169.254.170.2"
EKS_ADDRESS = "http://169.254.170.23"
_PLACE = "/latest/meta-data/iam/security-credentials/"
_TTL, _TOKEN = "x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"


class Lender:
    """A role's keys as a metadata service tells them; ``expires_in`` is counted from each answer."""

    def __init__(self) -> None:
        self.access_key_id = "ASIA" + secrets.token_hex(8).upper()
        self.secret_access_key = secrets.token_urlsafe(30)
        self.token = secrets.token_urlsafe(60)
        self.expires_in = timedelta(hours=6)

    def told(self) -> dict[str, Any]:
        ends = datetime.fromtimestamp(now(), UTC) + self.expires_in
        return {
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.token,
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


class InstanceMetadata(StrictServer):
    """What stands at ``ADDRESS`` on an instance that requires IMDSv2 and has the role ``role`` (None: it has none)."""

    def __init__(self) -> None:
        super().__init__()
        self.role: str | None = "Instance"
        self.lender = Lender()
        self.off = False
        self._tokens: dict[str, float] = {}

    def answer(self, asked: Asked) -> Answer:
        assert not asked.body, "no request has a body"
        assert "authorization" not in asked.headers
        assert "x-forwarded-for" not in asked.headers, "a PUT that went through a proxy is refused"
        if asked.method == "PUT":
            assert asked.url.path == "/latest/api/token"
            assert 1 <= int(asked.headers[_TTL]) <= 21600
            assert _TOKEN not in asked.headers
            if self.off:
                return Answer(403, b"")
            token = secrets.token_urlsafe(40)
            self._tokens[token] = now() + int(asked.headers[_TTL])
            return Answer(200, token.encode(), {"Content-Type": "text/plain"})
        assert asked.method == "GET"
        assert _TOKEN in asked.headers, "without a token it is a request of version 1"
        assert _TTL not in asked.headers
        assert self._tokens.get(asked.headers[_TOKEN], 0) > now(), "the token is not one of this instance's"
        if asked.url.path == _PLACE:
            return Answer(404, b"") if self.role is None else Answer(200, self.role.encode(), {"Content-Type": "text/plain"})
        assert asked.url.path == f"{_PLACE}{self.role}"
        return Answer(
            200, {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", **self.lender.told()}
        )

    def refuse(self, fault: str) -> Answer:
        return Answer(400, b"")


class ContainerAgent(StrictServer):
    """What gives a container its keys, at ``path``, for whoever shows ``authorization`` as it is (None: nothing)."""

    def __init__(self, path: str, authorization: str | None = None) -> None:
        super().__init__()
        self.path = path
        self.authorization = authorization
        self.lender = Lender()

    def answer(self, asked: Asked) -> Answer:
        assert asked.method == "GET"
        assert not asked.body
        assert asked.url.path == self.path
        if asked.headers.get("authorization") != self.authorization:
            return Answer(401, {"code": "AccessDenied", "message": "canary"})
        return Answer(200, {**self.lender.told(), "RoleArn": "arn:aws:iam::123456789012:role/Task"})
