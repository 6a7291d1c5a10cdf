"""The environment of a process that is to find its credentials at the sidecar, and nowhere else.

Three things keep an SDK from another identity: what would win over the sidecar in its chain is unset, files that would are
replaced by nothing, and the metadata services of all three clouds are pointed at the sidecar, where such paths are 404. So
what does not find its credentials fails, and never becomes the machine itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from credbroker.errors import ConfigurationError
from credbroker.sidecar.protocol import Place, Protocol

_NOTHING = "/dev/null"
"""An empty file where a file is read, and no folder where one is looked into."""

# In the order of each SDK's chain: environment, web identity, files, containers. The last two lines are object_store's.
_AWS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION"),
    *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_FILE", "BOTO_CONFIG"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    *("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_IMDSV1_FALLBACK"),
    *("AWS_SKIP_SIGNATURE", "AWS_TOKEN"),
)
_GOOGLE = (
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "GOOGLE_OAUTH_ACCESS_TOKEN"),
    *("CLOUDSDK_AUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"),
    *("GCE_METADATA_ROOT", "NO_GCE_CHECK", "METADATA_SERVER_DETECTION"),
    *("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY", "SERVICE_ACCOUNT"),
)
_AZURE = (
    *("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_USERNAME", "AZURE_PASSWORD"),
    *("AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE"),
    *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"),
    *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING"),
    *("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_TOKEN", "AZURE_STORAGE_USE_AZURE_CLI"),
    *("AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT"),
)


def child_environment(
    inherited: Mapping[str, str], places: Sequence[Place], protocols: Sequence[Sequence[Protocol]]
) -> dict[str, str]:
    """``inherited`` with what leads to each binding's ``places`` by its ``protocols``, and with no way past them.

    It reveals the tokens that a protocol wants in a variable. Raises ``ConfigurationError`` where two bindings want the same
    variable: one process has one identity for each kind of store.
    """
    led = _led(places, protocols)
    kept = {name: text for name, text in inherited.items() if name not in {*_AWS, *_GOOGLE, *_AZURE}}
    authority = places[0].authority if places else "127.0.0.1:9"
    return {**kept, **_shut(authority, led), **led, **_past_proxies(inherited)}


def _led(places: Sequence[Place], protocols: Sequence[Sequence[Protocol]]) -> dict[str, str]:
    led: dict[str, str] = {}
    owner: dict[str, str] = {}
    for place, spoken in zip(places, protocols, strict=True):
        for protocol in spoken:
            for name, value in protocol.environment(place).items():
                text = value.get_secret_value() if isinstance(value, SecretStr) else value
                if led.setdefault(name, text) != text:
                    raise ConfigurationError(
                        f"the bindings {owner[name]} and {place.binding} both need the variable {name}: choose one, "
                        f"as --binding {place.binding}"
                    )
                owner.setdefault(name, place.binding)
    return led


def _shut(authority: str, led: Mapping[str, str]) -> dict[str, str]:
    """What keeps SDKs from files and from metadata services; ``led`` goes over it."""
    nowhere = f"http://{authority}"
    shut = {
        "AWS_SHARED_CREDENTIALS_FILE": _NOTHING,
        "AWS_CONFIG_FILE": _NOTHING,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": nowhere,
        "AWS_METADATA_ENDPOINT": nowhere,  # object_store's, which does not know the two above
        "CLOUDSDK_CONFIG": _NOTHING,
        "GCE_METADATA_HOST": authority,
        "GCE_METADATA_IP": authority,
        "AZURE_TOKEN_CREDENTIALS": "prod",  # of DefaultAzureCredential's chain, nothing that a developer has logged in to
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": nowhere,
    }
    if "GCE_METADATA_MTLS_MODE" not in led:  # no binding speaks that protocol
        shut["NO_GCE_CHECK"] = "true"
    if "AZURE_POD_IDENTITY_AUTHORITY_HOST" in led:
        # object_store knows no such variable; and App Service's, set to nowhere, would win over it everywhere else.
        shut["AZURE_MSI_ENDPOINT"] = f"{led['AZURE_POD_IDENTITY_AUTHORITY_HOST']}/metadata/identity/oauth2/token"
    elif "IDENTITY_ENDPOINT" not in led:
        shut |= {"IDENTITY_ENDPOINT": f"{nowhere}/none", "IDENTITY_HEADER": "none"}
    return shut


def _past_proxies(inherited: Mapping[str, str]) -> dict[str, str]:
    """No proxy for loopback: it would be shown the token, and would ask its own machine."""
    past: dict[str, str] = {}
    for name in ("NO_PROXY", "no_proxy"):
        given = [host for host in inherited.get(name, "").split(",") if host]
        past[name] = ",".join(dict.fromkeys((*given, "127.0.0.1", "localhost", "::1")))
    return past
