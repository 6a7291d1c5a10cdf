"""``catalog``: the storage credentials of one table, vended by its Iceberg REST catalog.

Where the catalog vends none, they are those of its storage profile that contains the table. Each issue asks anew: nothing is
remembered between two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.credentials import AccessToken, ADLSCredentials, GCSCredentials, S3Credentials, TableCredentials
from credbroker.errors import (
    AccessDenied,
    ConfigurationError,
    CredbrokerError,
    IssueDenied,
    IssuerUnavailable,
    MalformedResponse,
)
from credbroker.location import Location, covering
from credbroker.profile import CatalogProfile, Profile, StorageProfile
from credbroker.providers import Grant
from credbroker.providers._iceberg_rest import (
    CREDENTIALS_ROUTE,
    check_endpoint,
    check_identifier,
    config_url,
    storage_for,
    table_url,
)
from credbroker.providers._sending import send
from credbroker.providers.requirements import check_profile, check_url, misconfigured, settings
from credbroker.request import Access, CredentialRequest
from credbroker.wire import iceberg
from credbroker.wire.expiry import corrected, retry_after

_TOKEN_REFUSED = (401, 419)  # 419 is AuthenticationTimeoutResponse of the REST specification
_ABSENT = ("NoSuchTableException", "NoSuchNamespaceException", "NoSuchIcebergTableException")


class CatalogProvider:
    """Issues ``TableCredentials`` for one table of a catalog."""

    def plan(self, request: CredentialRequest, profile: Profile) -> Grant:
        """Where the credentials could lie at most; what they allow is the catalog's to decide, so no policy and no access.

        Raises ``ConfigurationError`` for a kind of catalog, or of delegation, that cannot be asked.
        """
        catalog = _checked(profile)
        check_identifier(request.table)
        return Grant(None, _bounds(catalog) or None, None)

    def issue(self, request: CredentialRequest, context: Context) -> TableCredentials:
        """Ask the catalog for the table's credentials, by ``/credentials`` where it has that, else by loading the table.

        Raises ``IssueDenied``, ``IssuerUnavailable`` or ``MalformedResponse`` by what it answers, ``AccessDenied`` where it
        vends nothing and no storage profile contains the table.
        """
        profile = _checked(context.profile)
        table = check_identifier(request.table)
        delegated = profile.access_delegation == "vended-credentials"
        calls = _Calls(request, context, _uri(profile, context), delegated=delegated)
        config = calls.config(profile.warehouse)
        url = table_url(calls.uri, config, table)
        if delegated and CREDENTIALS_ROUTE in config.endpoints:
            answer = calls.send(f"{url}/credentials")
            if answer.status == 200:
                keys = iceberg.vended(iceberg.document(answer.body), None)
                if keys:
                    return _value(keys, profile, calls, answer)
            elif answer.status not in (404, 405, 501):
                raise _refusal(answer, table)
        # Snapshots are of no interest here, and a long history of them would be over the size that is read.
        answer = calls.send(f"{url}?snapshots=refs")
        if answer.status != 200:
            raise _refusal(answer, table)
        reply = iceberg.document(answer.body)
        location = iceberg.table_location(reply)
        keys = iceberg.vended(reply, location) if delegated else ()
        if keys:
            _check_within(location, profile)
            return _value(keys, profile, calls, answer)
        return _from_storage(location, profile, request, context)


@dataclass(slots=True)
class _Calls:
    """The calls of one issue, with the catalog's token."""

    request: CredentialRequest
    context: Context
    uri: str
    delegated: bool = field(kw_only=True)
    _token: AccessToken | None = None
    _renewed: bool = False

    def config(self, warehouse: str | None) -> iceberg.CatalogConfig:
        answer = self.send(config_url(self.uri, warehouse))
        if answer.status == 404:
            raise ConfigurationError("no Iceberg REST catalog answers at the profile's uri, or it knows no such warehouse")
        if answer.status != 200:
            raise _refusal(answer, None)
        return iceberg.catalog_config(iceberg.document(answer.body))

    def send(self, url: str) -> HttpResponse:
        """GET ``url``; a token that is refused is dropped, and that one call made once more with a new one."""
        answer = self._once(url)
        if answer.status in _TOKEN_REFUSED and not self._renewed:
            self._renewed = True
            refused = self._held()
            if self.context.invalidate(self._token_request(), refused):
                self._token = None
                answer = self._once(url)
        return answer

    def _once(self, url: str) -> HttpResponse:
        headers = {"Accept": "application/json", "Authorization": self._held().authorization_header()}
        if self.delegated:
            headers["X-Iceberg-Access-Delegation"] = "vended-credentials"
        return send(HttpRequest("GET", url, headers), self.context)

    def _held(self) -> AccessToken:
        if self._token is None:
            token = self.context.get(self._token_request())
            if not isinstance(token, AccessToken):
                raise ConfigurationError("the catalog's credentials are no token: a REST catalog takes one")
            self._token = token
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
    if profile.access_delegation == "remote-signing":
        raise misconfigured(
            profile, "access_delegation", "'remote-signing' is not supported by this version yet: use 'vended-credentials'"
        )
    settings(profile)
    if profile.uri is None:
        raise misconfigured(profile, "uri", "is missing: the catalog is asked there")
    for storage in profile.storage:
        if isinstance(storage.endpoint, str):
            check_url(storage, "endpoint", storage.endpoint)
    return profile


def _uri(profile: CatalogProfile, context: Context) -> str:
    if isinstance(profile.uri, str):
        return profile.uri
    if profile.uri is None:
        raise misconfigured(profile, "uri", "is missing: the catalog is asked there")
    uri = context.secrets.resolve(profile.uri).get_secret_value()
    check_url(profile, "uri", uri)
    return uri


def _bounds(profile: CatalogProfile) -> tuple[Location, ...]:
    """Where a table's files may lie; empty where nobody has said, and the catalog is believed."""
    return profile.locations or tuple(location for storage in profile.storage for location in storage.locations)


def _check_within(location: Location, profile: CatalogProfile) -> None:
    bounds = _bounds(profile)
    if bounds and covering(bounds, location) is None:
        allowed = ", ".join(str(bound) for bound in bounds)
        fields = [f"catalogs.{profile.name}.locations"]
        if not profile.locations:
            fields = [f"storage.{storage.name}.locations" for storage in profile.storage]
        raise MalformedResponse(
            f"the catalog names {location}, outside of what its profile allows ({allowed}): "
            f"if that is where the table belongs, add it to {' or '.join(fields)}"
        )


def _value(
    vended: tuple[iceberg.VendedKeys, ...], profile: CatalogProfile, calls: _Calls, answer: HttpResponse
) -> TableCredentials:
    by_location = []
    for keys in vended:
        _check_within(keys.prefix, profile)
        storage = storage_for(profile, keys.prefix)
        region = (storage.region if storage else None) or keys.region
        endpoint = _endpoint(storage, calls.context) if storage else check_endpoint(keys, profile, calls.uri)
        credentials = S3Credentials(
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            session_token=keys.session_token,
            region=region,
            endpoint=endpoint,
            expires_at=_ends(keys, profile, answer),
            locations=(keys.prefix,),
            access=None,  # a catalog does not state it
        )
        by_location.append((keys.prefix, credentials))
    return TableCredentials(tuple(by_location))


def _endpoint(storage: StorageProfile, context: Context) -> str | None:
    if storage.endpoint is None or isinstance(storage.endpoint, str):
        return storage.endpoint
    endpoint = context.secrets.resolve(storage.endpoint).get_secret_value()
    check_url(storage, "endpoint", endpoint)
    return endpoint


def _ends(keys: iceberg.VendedKeys, profile: CatalogProfile, answer: HttpResponse) -> datetime:
    if keys.expires_at is not None:
        return corrected(keys.expires_at, answer.headers.get("date"), answer.sent, answer.received)
    assumed = settings(profile).default_ttl
    if assumed is None:
        raise MalformedResponse(
            "the catalog vends keys and does not say when they end: set credentials.default_ttl to their life"
        )
    return answer.sent + assumed


def _from_storage(
    location: Location, profile: CatalogProfile, request: CredentialRequest, context: Context
) -> TableCredentials:
    storage = storage_for(profile, location)
    if storage is None:
        known = "; ".join(
            f"{each.name}: {', '.join(str(place) for place in each.locations) or 'no location'}" for each in profile.storage
        )
        raise AccessDenied(
            f"the catalog vends no credentials for the table at {location}, and no storage profile of it contains that "
            f"({known or 'it has none'}): name one in its 'storage:', or let the catalog vend"
        )
    _check_within(location, profile)
    wanted = CredentialRequest(
        kind="storage",
        profile=storage.name,
        locations=(location,),
        access=request.access or Access.READ,
        principal=request.principal,
        actor=request.actor,
        run_id=request.run_id,
    )
    try:
        value = context.get(wanted)
    except CredbrokerError as error:
        # Else the text would speak of a storage profile that the caller never named.
        why = "no keys are asked of the catalog" if profile.access_delegation == "none" else "the catalog vends nothing"
        table = ".".join(request.table or ())
        mended = error.fresh()
        mended.message = f"{why} for {table}; its storage profile {storage.name!r} is used: {error.message}"
        mended.args = (mended.message,)
        raise mended from None
    if not isinstance(value, S3Credentials | GCSCredentials | ADLSCredentials):
        raise ConfigurationError(f"storage.{storage.name} yields no storage credentials")
    return TableCredentials(((location, value),))


def _refusal(answer: HttpResponse, table: tuple[str, ...] | None) -> CredbrokerError:
    subject = f"table {'.'.join(table)!r}" if table else "its configuration"
    status = answer.status
    if status == 429 or status >= 500:
        wait = retry_after(answer.headers.get("retry-after"), answer.received)
        return IssuerUnavailable(f"the catalog answered HTTP {status} when asked for {subject}", retry_after=wait)
    if status in _TOKEN_REFUSED:
        return IssueDenied(f"the catalog refuses the token (HTTP {status}) when asked for {subject}")
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
