"""From the written configuration to the frozen values that the rest of credbroker reads."""

from __future__ import annotations

from typing import TypeVar, cast

from credbroker.config.bindings import sidecar_settings
from credbroker.config.credentials import CredentialsConfig, SubjectTokenConfig
from credbroker.config.environments import is_production
from credbroker.config.faults import spelled
from credbroker.config.fingerprint import fingerprint
from credbroker.config.notes import notes
from credbroker.config.platform import PlatformConfig
from credbroker.config.references import PROFILE_SECTIONS
from credbroker.config.secret_backends import BackendConfig
from credbroker.config.sections import CatalogConfig, StorageConfig
from credbroker.config.settings import AuditSettings, NetworkSettings, Platform
from credbroker.config.tree import Node, Path
from credbroker.location import Location
from credbroker.profile import CatalogProfile, ComputeProfile, CredentialSettings, StorageProfile, SubjectToken
from credbroker.request import Access, Kind
from credbroker.secrets.files import DEFAULT_ROOT
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendLogin, BackendSettings

_T = TypeVar("_T")
_DEFAULT_BACKENDS = (BackendSettings(type="env"), BackendSettings(type="files", path=DEFAULT_ROOT))
_KINDS: dict[str, Kind] = {"catalogs": "catalog", "storage": "storage", "compute": "compute"}
# Made from others, or not taken over as they are written.
_OTHERWISE = frozenset(
    {"scopes", "parameters", "session_tags", "subject_token", "client_assertion", "source_profile", "resource"}
    | {"transitive_tag_keys", "delegates", "options"}
)


def compiled(config: PlatformConfig, tree: Node, paths: tuple[str, ...] = ()) -> Platform:
    """The platform of a checked configuration. ``tree`` is what it was read from, for the lines in later errors."""
    production = is_production(config.environment)
    network = _network(config)
    storage = {
        name: _storage(name, section, tree, network, production=production)
        for name, section in sorted(config.storage.items())
    }
    catalogs = {
        name: _catalog(name, section, tree, storage, network, production=production)
        for name, section in sorted(config.catalogs.items())
    }
    compute = {
        name: ComputeProfile(
            name=name,
            where=_where(tree, "compute", name),
            production=production,
            credentials=_credentials(section.credentials, tree, ("compute", name)),
            type=section.type,
            region=section.region or None,
            properties=dict(sorted(section.properties.items())),
            allow_insecure=section.allow_insecure,
            allowed_hosts=network.allowed_hosts or (),
            max_ttl=section.max_ttl,
        )
        for name, section in sorted(config.compute.items())
    }
    return Platform(
        catalogs=catalogs,
        storage=storage,
        compute=compute,
        environment=config.environment or "production",
        production=production,
        principal=config.principal or None,
        network=network,
        secret_backends=_backends(config, tree),
        plugins=tuple(config.plugins),
        audit=_audit(config, tree, production=production),
        observability=config.observability,
        sidecar=sidecar_settings(config.sidecar, tree, storage),
        fingerprint=fingerprint(config),
        paths=paths,
        warnings=notes(config, tree),
    )


def _storage(name: str, config: StorageConfig, tree: Node, network: NetworkSettings, *, production: bool) -> StorageProfile:
    return StorageProfile(
        name=name,
        where=_where(tree, "storage", name),
        production=production,
        credentials=_credentials(config.credentials, tree, ("storage", name)),
        locations=config.allowed(),
        access=config.access or Access.READ,
        type=config.store(),
        region=config.region or None,
        endpoint=_placed(config.endpoint, tree, ("storage", name, "endpoint")) or None,
        path_style_access=config.path_style_access,
        allow_insecure=config.allow_insecure,
        allowed_hosts=network.allowed_hosts or (),
        allow_unscoped=config.allow_unscoped,
        allow_container_scope=config.allow_container_scope,
        kms_keys=tuple(config.kms_keys),
        policy_escapes=config.policy_escapes,
        max_ttl=config.max_ttl,
    )


def _catalog(
    name: str,
    config: CatalogConfig,
    tree: Node,
    storage: dict[str, StorageProfile],
    network: NetworkSettings,
    *,
    production: bool,
) -> CatalogProfile:
    backing = tuple(storage[one] for one in dict.fromkeys(config.storage or ()))
    if config.locations is not None:
        locations = _locations(config.locations)
    else:
        locations = tuple(dict.fromkeys(location for profile in backing for location in profile.locations))
    return CatalogProfile(
        name=name,
        where=_where(tree, "catalogs", name),
        production=production,
        credentials=_credentials(config.credentials, tree, ("catalogs", name)),
        locations=locations,
        locations_stated=config.locations is not None,
        # What may be done with a table is the catalog's to say, so that nothing here narrows it unasked.
        access=config.access or Access.READ_WRITE,
        type="rest" if config.type == "polaris" else config.type,
        region=config.region or None,
        uri=_placed(config.uri, tree, ("catalogs", name, "uri")) or None,
        warehouse=config.warehouse or None,
        storage=backing,
        access_delegation=config.access_delegation,
        allowed_hosts=network.allowed_hosts or (),
        properties=dict(sorted(config.properties.items())),
        allow_insecure=config.allow_insecure,
        max_ttl=config.max_ttl,
    )


def _locations(texts: list[str]) -> tuple[Location, ...]:
    return tuple(dict.fromkeys(Location.parse(text) for text in texts))


def _credentials(config: CredentialsConfig | None, tree: Node, profile: Path) -> CredentialSettings | None:
    if config is None:
        return None
    given = {
        key: _placed(value, tree, (*profile, "credentials", key))
        for key in CredentialSettings.__dataclass_fields__
        if key not in _OTHERWISE and (value := getattr(config, key)) not in (None, "")
    }
    return CredentialSettings(
        **given,
        scopes=dict(sorted((config.scopes or {}).items())),
        parameters=dict(sorted((config.parameters or {}).items())),
        session_tags=dict(sorted((config.session_tags or {}).items())),
        resource=tuple(config.resource or ()),
        transitive_tag_keys=tuple(config.transitive_tag_keys or ()),
        delegates=tuple(config.delegates or ()),
        subject_token=_subject_token(config.subject_token, tree, (*profile, "credentials", "subject_token")),
        client_assertion=_subject_token(config.client_assertion, tree, (*profile, "credentials", "client_assertion")),
        source_profile=_other(config.source_profile, tree, profile),
        options=dict(sorted(config.options.items())),
    )


def _subject_token(config: SubjectTokenConfig | None, tree: Node, path: Path) -> SubjectToken | None:
    if config is None:
        return None
    return SubjectToken(
        file=config.file or None,
        secret=_placed(config.secret_ref, tree, (*path, "secret_ref")),
        profile=_other(config.profile, tree, path),
        url=config.url or None,
        headers={
            name: _placed(value, tree, (*path, "headers", name)) for name, value in sorted((config.headers or {}).items())
        },
        field=config.field or None,
        aws=config.aws or None,
    )


def _other(name: str | None, tree: Node, path: Path) -> tuple[Kind, str] | None:
    """A profile that another one names, in the section that `references` took it to stand in: the own one first."""
    if not name:
        return None
    own = str(path[0])
    sections = (own, *(section for section in PROFILE_SECTIONS if section != own))
    return next((_KINDS[one], name) for one in sections if tree.find((one, name)) is not None)


def _network(config: PlatformConfig) -> NetworkSettings:
    network = config.network
    if network is None:
        return NetworkSettings()
    hosts = None if network.allowed_hosts is None else tuple(network.allowed_hosts)
    return NetworkSettings(proxy=network.proxy or None, ca_file=network.ca_file or None, allowed_hosts=hosts)


def _backends(config: PlatformConfig, tree: Node) -> tuple[BackendSettings, ...]:
    if config.secret_backends is None:
        return _DEFAULT_BACKENDS
    return tuple(_backend(backend, tree, ("secret_backends", index)) for index, backend in enumerate(config.secret_backends))


def _backend(config: BackendConfig, tree: Node, path: Path) -> BackendSettings:
    fields = {
        key: value
        for key in BackendSettings.__dataclass_fields__
        if key not in ("where", "auth", "options") and (value := getattr(config, key)) not in (None, "")
    }
    if config.type == "files":
        fields.setdefault("path", DEFAULT_ROOT)
    login = None
    if config.auth is not None:
        keys = BackendLogin.__dataclass_fields__
        login = BackendLogin(**{key: _placed(getattr(config.auth, key), tree, (*path, "auth", key)) for key in keys})
    place = ": ".join(filter(None, (tree.at(path).where, spelled(path))))
    return BackendSettings(**fields, where=place, auth=login, options=dict(sorted(config.options.items())))


def _audit(config: PlatformConfig, tree: Node, *, production: bool) -> AuditSettings:
    audit = config.audit
    if audit is None:
        return AuditSettings(required=production)
    default = AuditSettings()
    return AuditSettings(
        enabled=audit.enabled,
        sink=audit.sink,
        path=audit.path,
        key=_placed(audit.key, tree, ("audit", "key")),
        include=default.include if audit.include is None else frozenset(audit.include),
        required=audit.enabled and (production if audit.required is None else audit.required),
        log_level="WARNING" if audit.log_level == "WARN" else audit.log_level,
    )


def _placed(value: _T, tree: Node, path: Path) -> _T:
    """A reference to a secret, that knows where it stands; anything else as it is."""
    if not isinstance(value, SecretReference):
        return value
    where = tree.at(path).where
    return cast("_T", value.placed(f"{where}: {spelled(path)}" if where else spelled(path)))


def _where(tree: Node, section: str, name: str) -> str:
    return tree.at((section, name)).where
