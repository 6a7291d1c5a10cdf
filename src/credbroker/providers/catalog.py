"""``catalog``: the storage credentials of one table, vended by its Iceberg REST catalog.

Where the catalog vends none, they are those of its storage profile that contains the table. Each issue asks anew: nothing is
remembered between two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import AccessToken, S3Credentials, TableCredentials
from credbroker.errors import ConfigurationError, CredbrokerError, IssueDenied, IssuerUnavailable
from credbroker.profile import CatalogProfile, Profile
from credbroker.providers import Grant
from credbroker.providers._iceberg_rest import (
    CREDENTIALS_ROUTE,
    check_identifier,
    check_refresh_endpoint,
    config_url,
    table_url,
)
from credbroker.providers._signed_catalog import is_signed, refuses_keys, signing_of
from credbroker.providers._stored import from_storage
from credbroker.providers._vended import value_of
from credbroker.providers.backing import bounds, check_within
from credbroker.providers.realm import realm_header
from credbroker.providers.requirements import check_profile, check_url, misconfigured, resolved_url, settings
from credbroker.request import CredentialRequest
from credbroker.wire import iceberg
from credbroker.wire.expiry import is_transient, retry_after

_TOKEN_REFUSED = (401, 419)  # 419 is AuthenticationTimeoutResponse of the REST specification
_ABSENT = ("NoSuchTableException", "NoSuchNamespaceException", "NoSuchIcebergTableException")


class CatalogProvider:
    """Issues ``TableCredentials`` for one table of a catalog."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """Where the credentials could lie at most; what they allow is the catalog's to decide, so no policy and no access.

        Where a storage profile says ``allow_container_scope``, a SAS may be for the whole container, and its value says so.
        Raises ``ConfigurationError`` for a kind of catalog, or of delegation, that cannot be asked.
        """
        catalog = _checked(profile)
        check_identifier(request.table)
        return Grant(None, bounds(catalog), None)

    def issue(self, request: CredentialRequest, context: Context) -> TableCredentials:
        """Ask the catalog for the table's credentials, by ``/credentials`` where it has that, else by loading the table.

        Raises ``IssueDenied``, ``IssuerUnavailable`` or ``MalformedResponse`` by what it answers, ``AccessDenied`` where it
        vends nothing and no storage profile contains the table.
        """
        profile = _checked(context.profile)
        table = check_identifier(request.table)
        delegated = profile.access_delegation == "vended-credentials"
        calls = _Calls(request, context, resolved_url(profile, "uri", context) or "", delegated=delegated)
        try:
            return _issued(calls, profile, table)
        except CredbrokerError as error:
            # A catalog that names "s3://evil/<the token that it was just sent>" would have it in our logs.
            raise error.saying(calls.without_token(error.message)) from None


def _issued(calls: _Calls, profile: CatalogProfile, table: tuple[str, ...]) -> TableCredentials:
    config = calls.config(profile.warehouse)
    url = table_url(calls.uri, config, table)
    if calls.delegated and CREDENTIALS_ROUTE in config.endpoints:
        answer = calls.send(f"{url}/credentials")
        if answer.status == 200:
            # There is no metadata in it, so what the table's properties name is not known here. Each prefix is checked, and
            # nothing beyond the prefixes is served.
            keys = iceberg.vended(calls.reply(answer), None)
            if keys:
                return value_of(keys, calls.uri, answer, calls.context, profile)
        elif answer.status not in (404, 405, 501):
            raise calls.refusal(answer, table)
    # Snapshots are of no interest here, and a long history of them would be over the size that is read.
    answer = calls.send(f"{url}?snapshots=refs")
    if answer.status != 200:
        raise calls.refusal(answer, table)
    reply = calls.reply(answer)
    places = iceberg.table_places(reply)
    for use, place in places[1:]:
        check_within(place, use, profile)
    location = places[0][1]
    keys = iceberg.vended(reply, location) if calls.delegated else ()
    if keys:
        check_within(location, "location", profile)
        return value_of(keys, calls.uri, answer, calls.context, profile)
    return from_storage(tuple(place for _, place in places), profile, calls.request, calls.context)


@dataclass(slots=True)
class _Calls:
    """The calls of one issue, with the catalog's token, or signed with its keys."""

    request: CredentialRequest
    context: Context
    uri: str
    delegated: bool = field(kw_only=True)
    _token: AccessToken | S3Credentials | None = None
    _renewed: bool = False

    def config(self, warehouse: str | None) -> iceberg.CatalogConfig:
        answer = self.send(config_url(self.uri, warehouse))
        if answer.status == 404:
            raise ConfigurationError("no Iceberg REST catalog answers at the profile's uri, or it knows no such warehouse")
        if answer.status != 200:
            raise self.refusal(answer, None)
        return iceberg.catalog_config(iceberg.document(answer.body))

    def send(self, url: str) -> HttpResponse:
        """GET ``url``; a token, or keys, that are refused are dropped, and that one call made once more with new ones."""
        answer = self._once(url)
        if self._refused(answer) and not self._renewed:
            self._renewed = True
            refused = self._held()
            if self.context.invalidate(self._token_request(), refused):
                self._token = None
                answer = self._once(url)
        return answer

    def reply(self, answer: HttpResponse) -> Mapping[str, Any]:
        """The JSON in ``answer``, once it is clear that it would send no token elsewhere."""
        found = iceberg.document(answer.body)
        for endpoint in iceberg.refresh_endpoints(found):
            check_refresh_endpoint(endpoint, self.uri)
        return found

    def refusal(self, answer: HttpResponse, table: tuple[str, ...] | None) -> CredbrokerError:
        """What an answer that is none of what was asked stands for."""
        if not self._refused(answer):
            return _refusal(answer, table)
        # It is not known who asked, so no grant was judged: what is held stays in use.
        text = f"(HTTP {answer.status}) when asked for {_subject(table)}"
        if not self._signs:
            return IssueDenied(f"the catalog refuses the token {text}")
        return IssueDenied(
            f"the catalog refuses the keys that signed the call {text}: look at this machine's clock, and at the profile's "
            "credential_source"
        )

    def without_token(self, text: str) -> str:
        secret = self._token.value if isinstance(self._token, AccessToken) else self._token and self._token.session_token
        return text.replace(secret.get_secret_value(), "<the token>") if secret else text

    @property
    def _signs(self) -> bool:
        return isinstance(self.context.profile, CatalogProfile) and is_signed(self.context.profile)

    def _refused(self, answer: HttpResponse) -> bool:
        """Whether it is the token, or the keys, that ``answer`` refuses."""
        return answer.status in _TOKEN_REFUSED or (self._signs and refuses_keys(answer.status, answer.headers, answer.body))

    def _once(self, url: str) -> HttpResponse:
        held = self._held()
        headers = {"Accept": "application/json"} | realm_header(self.context.profile)
        if self.delegated:
            headers["X-Iceberg-Access-Delegation"] = "vended-credentials"
        if isinstance(held, AccessToken):
            return self.context.send(HttpRequest("GET", url, {**headers, "Authorization": held.authorization_header()}))
        return self.context.send(_signed(url, headers, held, self.context.profile))

    def _held(self) -> AccessToken | S3Credentials:
        if self._token is None:
            held = self.context.get(self._token_request())
            if not isinstance(held, S3Credentials if self._signs else AccessToken):
                needed = "keys: its requests are signed" if self._signs else "token: a REST catalog takes one"
                raise ConfigurationError(f"the catalog's credentials are no {needed}")
            self._token = held
        return self._token

    def _token_request(self) -> CredentialRequest:
        asked = self.request
        return CredentialRequest(
            kind="catalog",
            profile=asked.profile,
            access=asked.access,
            principal=asked.principal,
            actor=asked.actor,
            run_id=asked.run_id,
            lineage=asked.lineage,
        )


def _checked(profile: Profile) -> CatalogProfile:
    if not isinstance(profile, CatalogProfile):
        raise misconfigured(profile, "type", "is of no catalog: only a catalog vends a table's credentials")
    if profile.type == "sql":
        raise misconfigured(
            profile,
            "type",
            "'sql' has no REST API that vends: open its tables with BrokerSqlCatalog, or ask for its storage",
        )
    check_profile(profile)
    if profile.type in ("glue", "s3tables"):
        raise misconfigured(
            profile,
            "type",
            f"is {profile.type!r}, which vends nothing: open its tables with load_catalog, whose files it knows",
        )
    if is_signed(profile):
        signing_of(profile)
    if profile.access_delegation == "remote-signing":
        raise misconfigured(
            profile, "access_delegation", "'remote-signing' is not supported by this version yet: use 'vended-credentials'"
        )
    settings(profile)
    realm_header(profile)
    if profile.uri is None:
        raise misconfigured(profile, "uri", "is missing: the catalog is asked there")
    for storage in profile.storage:
        if isinstance(storage.endpoint, str):
            check_url(storage, "endpoint", storage.endpoint)
    return profile


def _signed(url: str, headers: dict[str, str], keys: S3Credentials, profile: Profile) -> HttpRequest:
    try:
        from credbroker.identity.aws_signature import canonical, signature
    except ImportError:
        raise ConfigurationError("a signed catalog needs botocore: pip install 'credbroker-data[aws]'") from None
    signing = signing_of(_checked(profile))
    url = canonical(url)
    shown = signature("GET", url, headers, b"", keys, service=signing.name, region=signing.region)
    return HttpRequest("GET", url, {**headers, **shown})


def _subject(table: tuple[str, ...] | None) -> str:
    return f"table {'.'.join(table)!r}" if table else "its configuration"


def _refusal(answer: HttpResponse, table: tuple[str, ...] | None) -> CredbrokerError:
    subject = _subject(table)
    status = answer.status
    if is_transient(status):
        wait = retry_after(answer.headers.get("retry-after"), answer.received)
        return IssuerUnavailable(f"the catalog answered HTTP {status} when asked for {subject}", retry_after=wait)
    if status == 403:
        return IssueDenied(
            f"the catalog forbids access to {subject} (HTTP 403): look at the principal's grants", grant_denied=True
        )
    if status == 404:
        # Only the catalog's own word counts as a withdrawn right; a proxy's 404 must not end a job.
        return IssueDenied(
            f"the catalog knows no {subject} (HTTP 404): it does not exist, or this principal may not see it",
            grant_denied=iceberg.error_type(answer.body) in _ABSENT,
        )
    return IssueDenied(f"the catalog answered HTTP {status} when asked for {subject}")
