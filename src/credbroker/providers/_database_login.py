"""Logins of databases that AWS runs: a signed RDS token, and the passwords that Redshift makes.

RDS: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html. The token is a presigned
URL that is never requested; the database checks it when one connects, at most 15 minutes after it was signed.
Redshift: https://docs.aws.amazon.com/redshift/latest/mgmt/generating-user-credentials.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from credbroker.credentials import DatabaseCredentials
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.identity.aws import REGION, regional_endpoint
from credbroker.profile import ComputeProfile
from credbroker.providers.requirements import misconfigured
from credbroker.vending.aws_catalogs import allowing
from credbroker.wire.expiry import corrected, in_utc, is_transient, retry_after
from credbroker.wire.visible import VISIBLE

if TYPE_CHECKING:
    from credbroker.context import Context, HttpResponse
    from credbroker.identity.aws import Keys

_PORTS = {"postgres": 5432, "mysql": 3306}
_RDS_TYPES = (*_PORTS, "postgresql")
# Names that stand in an ARN and in a form: no wildcard of IAM's, no separator of ARNs.
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_.@+=,-]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_RESOURCE = re.compile(r"(?:db|cluster|prx)-[A-Za-z0-9-]{1,128}")
# GetClusterCredentials and GetCredentials, DurationSeconds.
_SHORTEST, _LONGEST = timedelta(seconds=900), timedelta(seconds=3600)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_ABSENT = frozenset({"ClusterNotFound", "ClusterNotFoundFault", "ResourceNotFoundException"})
_INVALID = frozenset(
    {
        "InvalidParameterValue",
        "InvalidParameterCombination",
        "UnsupportedOperation",
        "ValidationError",
        "ValidationException",
    }
)


@dataclass(frozen=True, slots=True)
class RdsLogin:
    """A user of a PostgreSQL or MySQL on RDS or Aurora."""

    host: str
    port: int
    user: str
    region: str
    resource: str
    """The instance's, cluster's or proxy's resource id; ``*`` where the profile does not say it."""

    def policy(self, partition: str, account: str) -> dict[str, object]:
        """What a session of a role in ``account`` is narrowed to."""
        arn = f"arn:{partition}:rds-db:{self.region}:{account}:dbuser:{self.resource}/{self.user}"
        return allowing("rds-db:connect", [arn])

    def issued(self, keys: Keys, context: Context) -> DatabaseCredentials | CredbrokerError:
        """The token, signed here: nothing is sent, so nothing is refused."""
        from pydantic import SecretStr

        from credbroker.identity.aws_signature import TOKEN_LIFE, rds_token

        ends = context.clock.now() + timedelta(seconds=TOKEN_LIFE)
        token = rds_token(self.host, self.port, self.user, keys, region=self.region)
        # The database asks whether the keys that signed it are still good.
        ends = min(ends, keys.expires_at) if keys.expires_at is not None else ends
        return DatabaseCredentials(self.user, SecretStr(token), expires_at=ends)


@dataclass(frozen=True, slots=True)
class RedshiftLogin:
    """A user of a Redshift cluster, or of a serverless workgroup."""

    service: Literal["redshift", "redshift-serverless"]
    name: str
    """The cluster's identifier, or the workgroup's name."""
    user: str | None
    database: str | None
    region: str
    duration: timedelta
    resource: str = "*"
    """A workgroup's id, which is not its name; ``*`` where the profile does not say it."""

    @property
    def operation(self) -> str:
        """With a user of the database's own, or as the identity that asks."""
        if self.service == "redshift-serverless":
            return "GetCredentials"
        return "GetClusterCredentials" if self.user is not None else "GetClusterCredentialsWithIAM"

    def policy(self, partition: str, account: str) -> dict[str, object]:
        """What a session of a role in ``account`` is narrowed to."""
        arn = f"arn:{partition}:{self.service}:{self.region}:{account}:"
        if self.service == "redshift-serverless":
            return allowing("redshift-serverless:GetCredentials", [f"{arn}workgroup/{self.resource}"])
        named = [f"{arn}dbuser:{self.name}/{self.user}"] if self.user is not None else []
        if self.database is not None:
            named.append(f"{arn}dbname:{self.name}/{self.database}")
        return allowing(f"redshift:{self.operation}", named)

    def issued(self, keys: Keys, context: Context) -> DatabaseCredentials | CredbrokerError:
        """Ask Redshift once. The error is for the caller to raise, from a frame without the keys and the answer."""
        from credbroker.identity.aws_api import parsed, signed

        endpoint = regional_endpoint(self.service, self.region)
        request = signed(self.service, self.operation, self._parameters(), keys, endpoint=endpoint, region=self.region)
        try:
            response = context.send(request)
        except CredbrokerError as error:
            return error.fresh()
        if is_transient(response.status):
            return self._unavailable(f"answered HTTP {response.status}", response)
        answer = parsed(self.service, self.operation, response)
        if response.status != 200:
            return self._refusal(answer, response)
        return self._login(answer, response)

    def _parameters(self) -> Mapping[str, object]:
        seconds = int(self.duration.total_seconds())
        if self.service == "redshift-serverless":
            found: dict[str, object] = {"workgroupName": self.name, "durationSeconds": seconds}
            return found | ({"dbName": self.database} if self.database is not None else {})
        found = {"ClusterIdentifier": self.name, "DurationSeconds": seconds}
        if self.user is not None:
            # Only a user that is there: one that this call makes would be owned by nobody.
            found |= {"DbUser": self.user, "AutoCreate": False}
        return found | ({"DbName": self.database} if self.database is not None else {})

    def _login(self, answer: Mapping[str, Any], response: HttpResponse) -> DatabaseCredentials | MalformedResponse:
        from pydantic import SecretStr

        plain = {name.lower(): value for name, value in answer.items()}
        user, password, ends = plain.get("dbuser"), plain.get("dbpassword"), in_utc(plain.get("expiration"))
        if not (
            isinstance(user, str)
            and VISIBLE.fullmatch(user)
            and isinstance(password, str)
            and VISIBLE.fullmatch(password)
            and ends is not None
        ):
            return MalformedResponse(f"{self._called} answered {self.operation} without a user, a password and their expiry")
        # API reference, GetClusterCredentials, DbUser: prefixed where AutoCreate is false, as it always is here.
        if self.user is not None and user not in (self.user, f"IAM:{self.user}"):
            return MalformedResponse(
                f"{self._called} answered {self.operation} with the login of another user than was asked"
            )
        ends = corrected(ends, response.headers.get("date"), response.sent, response.received)
        return DatabaseCredentials(user, SecretStr(password), expires_at=ends)

    def _refusal(self, answer: Mapping[str, Any], response: HttpResponse) -> CredbrokerError:
        from credbroker.identity.aws_api import THROTTLED, UNAUTHENTICATED, code_of

        code = code_of(answer, _DENIED, _ABSENT, _INVALID, THROTTLED, UNAUTHENTICATED)
        named = code or f"HTTP {response.status}"
        if code in THROTTLED:
            return self._unavailable(f"is throttling ({named})", response)
        if code in UNAUTHENTICATED:
            return IssueDenied(
                f"{self._called} does not accept the keys that sign the call ({named}): look at this machine's clock, "
                "and at credentials.credential_source"
            )
        if code in _ABSENT:
            what = "workgroup" if self.service == "redshift-serverless" else "cluster"
            return ConfigurationError(
                f"{self._called} knows no {what} {self.name!r} ({named}): look at properties.{what}, at the region, and at "
                "the role's account"
            )
        if code in _INVALID:
            return ConfigurationError(
                f"{self._called} refuses {self.operation} ({named}): look at properties.user and properties.database"
            )
        return IssueDenied(
            f"{self._called} refuses {self.operation} ({named}): the role, or without one the base identity, needs "
            f"{self.service}:{self.operation} for {self.name!r}, as that user, in that database",
            grant_denied=code in _DENIED,
        )

    def _unavailable(self, text: str, response: HttpResponse) -> IssuerUnavailable:
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(f"{self._called} {text}: it is asked again later", retry_after=pause)

    @property
    def _called(self) -> str:
        return f"{'Redshift Serverless' if self.service == 'redshift-serverless' else 'Redshift'} in {self.region}"


def login_of(profile: ComputeProfile) -> RdsLogin | RedshiftLogin:
    """What the profile's ``properties`` describe. Raises ``ConfigurationError`` for what they lack, or cannot be."""
    if profile.region is None or not REGION.fullmatch(profile.region):
        raise misconfigured(profile, "region", "must be an AWS region: the signature names it")
    if profile.type in _RDS_TYPES:
        return RdsLogin(
            host=_text(profile, "host", _HOST, "the endpoint that RDS gives the instance, cluster or proxy, and no alias"),
            port=_port(profile),
            user=_text(profile, "user", _USER, "a user of the database"),
            region=profile.region,
            resource=_optional(profile, "resource_id", _RESOURCE, "the resource id: db-, cluster- or prx-, and what follows")
            or "*",
        )
    if profile.type == "redshift":
        return _redshift(profile, profile.region)
    raise misconfigured(
        profile,
        "type",
        f"is {profile.type!r}: mode iam_role has logins for 'postgres' and 'mysql' (RDS, Aurora) and for 'redshift'",
    )


def _redshift(profile: ComputeProfile, region: str) -> RedshiftLogin:
    user = _optional(profile, "user", _USER, "a user of the database")
    database = _optional(profile, "database", _USER, "a database")
    duration = min(max(profile.max_ttl, _SHORTEST), _LONGEST)
    workgroup = _optional(profile, "workgroup", _NAME, "a workgroup's name")
    if workgroup is not None:
        if "cluster" in profile.properties:
            raise misconfigured(profile, "properties", "names a cluster and a workgroup: a login is for one of them")
        if user is not None:
            raise misconfigured(
                profile, "properties.user", "is for a cluster: in a workgroup one logs in as the role, so leave it out"
            )
        resource = _optional(profile, "workgroup_id", _NAME, "the workgroup's id") or "*"
        return RedshiftLogin("redshift-serverless", workgroup, None, database, region, duration, resource)
    cluster = _text(profile, "cluster", _NAME, "a cluster's identifier (or 'workgroup', for a serverless one)")
    if user is None and database is None:
        raise misconfigured(
            profile, "properties", "needs a 'user' of the database, or a 'database' to log in to as the role itself"
        )
    return RedshiftLogin("redshift", cluster, user, database, region, duration)


def _text(profile: ComputeProfile, key: str, pattern: re.Pattern[str], what: str) -> str:
    found = _optional(profile, key, pattern, what)
    if found is None:
        raise misconfigured(profile, f"properties.{key}", f"is missing: {what}")
    return found


def _optional(profile: ComputeProfile, key: str, pattern: re.Pattern[str], what: str) -> str | None:
    value = profile.properties.get(key)
    if value is None and key == "user":
        value = profile.properties.get("username")
    if value is None:
        return None
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise misconfigured(profile, f"properties.{key}", f"must be {what}")
    return value


def _port(profile: ComputeProfile) -> int:
    value = profile.properties.get("port")
    if value is None:
        return _PORTS.get(profile.type or "", 5432)
    if isinstance(value, bool) or not isinstance(value, int | str) or not re.fullmatch(r"[0-9]{1,5}", str(value)):
        raise misconfigured(profile, "properties.port", "must be a number")
    return int(value)
