"""Secrets in environment variables: ``polaris-oauth-secret`` is ``POLARIS_OAUTH_SECRET``."""

from __future__ import annotations

from credbroker.context import Context
from credbroker.secrets.backend import Lookup, lookup
from credbroker.secrets.reference import SecretReference

# Every process has these, and none of them is a secret: `secret_ref: path` must not send $PATH to an issuer.
_PROCESS_VARIABLES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "USERNAME", "SHELL", "PWD", "OLDPWD", "TERM", "LANG", "LANGUAGE", "TZ",
        "HOSTNAME", "HOST", "TMP", "TEMP", "TMPDIR", "EDITOR", "DISPLAY", "MAIL", "SHLVL", "IFS", "ENV", "BASH_ENV",
        "UID", "EUID", "PPID", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSH_AUTH_SOCK", "VIRTUAL_ENV",
        "CI", "DEBUG", "PORT", "FTP_PROXY", "NETRC", "KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS",
        # Which certificates are trusted.
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSLKEYLOGFILE",
        "OPENSSL_CONF",
        # What the AWS SDKs read: the process's own identity and settings. The names of secrets may begin alike.
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CREDENTIAL_EXPIRATION", "AWS_ACCOUNT_ID", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
        "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_DEFAULTS_MODE",
        "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_STS_REGIONAL_ENDPOINTS", "AWS_DATA_PATH",
        "AWS_EXECUTION_ENV", "BOTO_CONFIG",
    }
)  # fmt: skip
_PROCESS_PREFIXES = (
    *("PYTHON", "LD_", "LC_", "DYLD_", "XDG_", "KUBERNETES_", "CREDBROKER_"),
    *("AWS_CONTAINER_", "AWS_EC2_METADATA_", "AWS_METADATA_SERVICE_", "AWS_ENDPOINT_URL"),
)


class EnvBackend:
    """Looks for a secret in the environment variable of its name, in upper snake case."""

    def look(self, reference: SecretReference, context: Context) -> Lookup:
        """See ``Backend.look``. A variable that belongs to every process is never read as a secret."""
        name = variable_of(reference.secret_ref)
        place = f"environment variable {name!r}"
        if not is_read(name):
            return Lookup(place, reason="it belongs to the process and is never read as a secret")
        text = context.environment.variable(name)
        if text is None:
            return Lookup(place)
        if not _is_unicode(text):
            return Lookup(place, reason="it is not UTF-8 text", there=True)
        return lookup(place, text, reference.field)


def is_read(name: str) -> bool:
    """Whether a variable of that name is read as a secret at all, and does not belong to every process."""
    return name not in _PROCESS_VARIABLES and not name.startswith(_PROCESS_PREFIXES)


def variable_of(secret_ref: str) -> str:
    """The environment variable that a secret's name maps to."""
    return secret_ref.upper().replace("-", "_")


def _is_unicode(text: str) -> bool:
    # Bytes that are no UTF-8 come as lone surrogates (PEP 383), which no request to an issuer could carry.
    return not any("\ud800" <= character <= "\udfff" for character in text)
