"""Whether the keys get from STS what they were not given: their role once more, without a policy.

AWS keeps a session from it by its policy, which has no ``sts:AssumeRole``. Ceph 16 asks the role's trust policy alone, and
takes a session for its user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from credbroker.cli.fence import Attempt, TokenService
from credbroker.config.settings import NetworkSettings
from credbroker.credentials import S3Credentials
from credbroker.integrations.endpoint import Endpoint
from credbroker.integrations.reach import check_host, proxy_for
from credbroker.profile import StorageProfile
from credbroker.providers.iam_role import sts_of
from credbroker.providers.requirements import settings

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import AssumeRoleRequestTypeDef

_SHORTEST = 900  # seconds, AWS STS API reference, AssumeRole: what is given though it must not be ends as soon as it can


def assume_again(
    what: str, profile: StorageProfile, keys: S3Credentials, network: NetworkSettings, *, grant: str
) -> Attempt:
    """Ask the STS of a profile of mode ``iam_role`` for its role, with the keys that it was assumed for. Nothing is kept.

    Raises ``ConfigurationError`` where ``network.allowed_hosts`` lacks the STS.
    """
    url, region = sts_of(profile)
    check_host(network, url)
    place = Endpoint(url, region, virtual=False, proxy=proxy_for(network, url), ca_file=network.ca_file)
    block = settings(profile)
    asked: AssumeRoleRequestTypeDef = {
        "RoleArn": block.role_arn or "",
        "RoleSessionName": "credbroker-doctor",
        "DurationSeconds": _SHORTEST,
    }
    if block.external_id is not None:
        asked["ExternalId"] = block.external_id

    def call(sts: STSClient) -> None:
        sts.assume_role(**asked)  # the answer, with keys in it, is dropped here

    return TokenService(place).attempt(what, keys, call, grant=grant)
