"""The environment of a process that is to find its credentials at the sidecar, and nowhere else.

Three things keep an SDK from another identity: what would win over the sidecar in its chain is unset, files that would are
replaced by nothing, and the metadata services of all three clouds are pointed at the sidecar, where such paths are 404. So
what does not find its credentials fails, and never becomes the machine itself.

The names are those that botocore, google-auth, azure-identity, object_store (obstore, Polars, delta-rs) and Arrow's C++ were
seen to read.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence

from pydantic import SecretStr

from credbroker.errors import ConfigurationError
from credbroker.secrets.env import is_read, variable_of
from credbroker.secrets.reference import SecretReference
from credbroker.sidecar.protocol import Place, Protocol, Variables

_NOTHING = "/dev/null"
"""An empty file where a file is read, and no folder where one is looked into."""
_NOWHERE = "/dev/null/none"
"""Where no file can be: for readers to whom an empty one is a broken one."""

# In the order of each SDK's chain: environment, web identity, files, containers, metadata. The names in the last lines of
# each are object_store's and delta-rs's, which take any setting from the environment.
_AWS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION"),
    *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_FILE", "AWS_ACCESS_KEY", "AWS_SECRET_KEY"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    *("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_IMDS_USE_IPV6", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
    *("AWS_TOKEN", "AWS_SKIP_SIGNATURE", "AWS_IMDSV1_FALLBACK"),
    *("AWS_IAM_ROLE_ARN", "AWS_IAM_ROLE_SESSION_NAME", "AWS_S3_ASSUME_ROLE_ARN", "AWS_S3_ROLE_SESSION_NAME"),
)
_GOOGLE = (
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "GOOGLE_OAUTH_ACCESS_TOKEN", "APPENGINE_RUNTIME"),
    *("CLOUDSDK_AUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"),
    *("CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT", "CLOUDSDK_CORE_ACCOUNT", "CLOUDSDK_ACTIVE_CONFIG_NAME"),
    *("NO_GCE_CHECK", "METADATA_SERVER_DETECTION"),
    *("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY", "SERVICE_ACCOUNT"),
    *("GOOGLE_APPLICATION_CREDENTIALS_PATH", "GOOGLE_SKIP_SIGNATURE", "GOOGLE_BEARER_TOKEN"),
)
_AZURE = (
    *("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_USERNAME", "AZURE_PASSWORD"),
    *("AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE"),
    *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"),
    *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_KEY"),
    *("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_TOKEN", "AZURE_STORAGE_BEARER_TOKEN"),
    *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET"),
    *("AZURE_STORAGE_TENANT_ID", "AZURE_STORAGE_AUTHORITY_ID", "AZURE_AUTHORITY_ID", "AZURE_OBJECT_ID"),
    *("AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT", "AZURE_MSI_RESOURCE_ID", "AZURE_MSI_SECRET"),
    *("AZURE_USE_AZURE_CLI", "AZURE_STORAGE_USE_AZURE_CLI", "AZURE_SKIP_SIGNATURE", "AZURE_FABRIC_SESSION_TOKEN"),
)
# fsspec's own way to an argument of s3fs, gcsfs and adlfs, which counts before any chain.
_FSSPEC = (
    *("FSSPEC_S3_KEY", "FSSPEC_S3_SECRET", "FSSPEC_S3_TOKEN", "FSSPEC_S3_PROFILE", "FSSPEC_GS_TOKEN", "FSSPEC_GCS_TOKEN"),
    *("FSSPEC_ABFS_ACCOUNT_KEY", "FSSPEC_ABFS_SAS_TOKEN", "FSSPEC_ABFS_CONNECTION_STRING", "FSSPEC_ABFS_CLIENT_SECRET"),
)
UNSET = frozenset((*_AWS, *_GOOGLE, *_AZURE, *_FSSPEC))
"""What would win over the sidecar in some SDK's chain."""


def child_environment(
    inherited: Mapping[str, str], places: Sequence[Place], protocols: Sequence[Sequence[Protocol]]
) -> dict[str, str]:
    """``inherited`` with what leads to each binding's ``places`` by its ``protocols``, and with no way past them.

    It reveals the tokens that a protocol wants in a variable. Raises ``ConfigurationError`` where two bindings want the same
    variable: one process has one identity for each kind of store.
    """
    led = _led(places, protocols)
    kept = {name: text for name, text in inherited.items() if name not in UNSET}
    authority = places[0].authority if places else "127.0.0.1:9"
    revealed = {name: text.get_secret_value() if isinstance(text, SecretStr) else text for name, text in led.items()}
    return {**kept, **_shut(authority, led), **revealed, **_past_proxies(inherited)}


def own_secrets(settings: object) -> frozenset[str]:
    """The variables that a secret of these settings may stand in: the broker's own, and nobody's who asks it."""
    if isinstance(settings, SecretReference):
        names = (settings.secret_ref, settings.next)
        return frozenset(variable_of(name) for name in names if name is not None and is_read(variable_of(name)))
    if dataclasses.is_dataclass(settings):
        parts: Iterable[object] = (getattr(settings, one.name) for one in dataclasses.fields(settings))
    elif isinstance(settings, Mapping):
        parts = settings.values()
    else:
        parts = settings if isinstance(settings, tuple | list) else ()
    return frozenset().union(*map(own_secrets, parts))


def shell_text(value: str | SecretStr, place: Place) -> str:
    """A variable's value as a shell takes it. A token is read from its file there, and not shown here."""
    if not isinstance(value, SecretStr):
        return shlex.quote(value)
    return f'"{_prefix(value, place)}$(cat {shlex.quote(place.token_file)})"'


def from_file(value: SecretStr, place: Place) -> dict[str, str]:
    """A secret variable's value for a program: what stands in ``file``, after ``prefix``."""
    return {"prefix": _prefix(value, place), "file": place.token_file}


def _prefix(value: SecretStr, place: Place) -> str:
    return value.get_secret_value().removesuffix(place.token.get_secret_value())


def _led(places: Sequence[Place], protocols: Sequence[Sequence[Protocol]]) -> Variables:
    led: dict[str, str | SecretStr] = {}
    owners: dict[str, str] = {}
    for place, spoken in zip(places, protocols, strict=True):
        for protocol in spoken:
            for name, value in protocol.environment(place).items():
                if led.setdefault(name, value) != value:
                    raise ConfigurationError(
                        f"the bindings {owners[name]} and {place.binding} both need the variable {name}: choose one, "
                        f"as --binding {place.binding}"
                    )
                owners.setdefault(name, place.binding)
    return led


def _shut(authority: str, led: Variables) -> dict[str, str]:
    """What keeps SDKs from files and from metadata services; ``led`` goes over it."""
    nowhere = f"http://{authority}"
    shut = {
        "AWS_SHARED_CREDENTIALS_FILE": _NOTHING,
        "AWS_CONFIG_FILE": _NOTHING,
        "BOTO_CONFIG": _NOTHING,  # unset, botocore would look into ~/.boto and /etc/boto.cfg before it asks the sidecar
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": nowhere,
        "AWS_METADATA_ENDPOINT": nowhere,  # object_store's, which does not know the two above
        "CLOUDSDK_CONFIG": _NOTHING,
        "GOOGLE_GCLOUD_ADC_PATH_OVERRIDE": _NOWHERE,  # Arrow's C++ does not know the one above
        "GCE_METADATA_HOST": authority,
        "GCE_METADATA_ROOT": authority,  # the same by its former name, the only one that Arrow's C++ knows
        "GCE_METADATA_IP": authority,
        "GCE_METADATA_MTLS_MODE": "none",
        "AZURE_TOKEN_CREDENTIALS": "prod",  # of DefaultAzureCredential's chain, nothing that a developer has logged in to
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": nowhere,
    }
    if "GCE_METADATA_HOST" not in led:  # no binding speaks that protocol
        shut |= {"NO_GCE_CHECK": "true", "METADATA_SERVER_DETECTION": "none"}
        # Else object_store and Go's SDK look into the home folder, whatever CLOUDSDK_CONFIG says.
        shut["GOOGLE_APPLICATION_CREDENTIALS"] = _NOWHERE
    return {**shut, **_shut_for_object_store(nowhere, led)}


def _shut_for_object_store(nowhere: str, led: Variables) -> dict[str, str]:
    """object_store reads ``IDENTITY_ENDPOINT``, delta-rs ``AZURE_MSI_ENDPOINT``, and neither the pod identity's host."""
    if "IDENTITY_ENDPOINT" in led:
        return {"AZURE_MSI_ENDPOINT": str(led["IDENTITY_ENDPOINT"])}
    if "AZURE_POD_IDENTITY_AUTHORITY_HOST" in led:
        # IDENTITY_ENDPOINT, set to nowhere, would win over the host everywhere else.
        return {"AZURE_MSI_ENDPOINT": f"{led['AZURE_POD_IDENTITY_AUTHORITY_HOST']}/metadata/identity/oauth2/token"}
    none = f"{nowhere}/none"
    return {"AZURE_MSI_ENDPOINT": none, "IDENTITY_ENDPOINT": none, "IDENTITY_HEADER": "none"}


def _past_proxies(inherited: Mapping[str, str]) -> dict[str, str]:
    """No proxy for loopback: it would be shown the token, and would ask its own machine."""
    past: dict[str, str] = {}
    for name in ("NO_PROXY", "no_proxy"):
        given = [host for host in inherited.get(name, "").split(",") if host]
        past[name] = ",".join(dict.fromkeys((*given, "127.0.0.1", "localhost", "::1")))
    return past
