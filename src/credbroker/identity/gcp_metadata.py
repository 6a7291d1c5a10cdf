"""Google's metadata server: an access token for the service account that this machine, pod or service runs as.

https://cloud.google.com/compute/docs/access/authenticate-workloads#applications. It answers at one fixed address; the
variables by which Google's own libraries are sent to another (``GCE_METADATA_HOST``) are not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from credbroker.context import Context, HttpRequest, HttpResponse
from credbroker.errors import CredbrokerError, CredentialUnavailable, IssueDenied, IssuerUnavailable, MalformedResponse
from credbroker.identity._token_endpoint import granted
from credbroker.wire.expiry import is_transient, retry_after

if TYPE_CHECKING:
    from pydantic import SecretStr

_HOST = "169.254.169.254"
_URL = f"http://{_HOST}/computeMetadata/v1/instance/service-accounts/default/token"
# It is asked for in the request, so that no page in a browser can ask, and stands in each answer, so that nobody takes
# another machine's for one: https://cloud.google.com/compute/docs/metadata/querying-metadata#parts-of-a-request
_FLAVOR, _GOOGLE = "metadata-flavor", "Google"
_SERVER = f"the metadata server at {_HOST}"
_ELSEWHERE = "is this a machine of Google Cloud? Elsewhere use another credential_source"


def metadata_token(context: Context, *, scope: str) -> tuple[SecretStr, float]:
    """An access token for the attached account, and its life in seconds. One request.

    The server holds its tokens until some minutes before their end, and hands out the same one until then.

    Raises ``CredentialUnavailable`` (another server answers, or no account is attached), ``IssueDenied``,
    ``IssuerUnavailable`` (no answer, or an error of its own), ``MalformedResponse``, ``InsufficientLifetime``.
    """
    url = f"{_URL}?{urlencode({'scopes': ','.join(scope.split())}, safe=':/,')}"
    try:
        response = context.send(HttpRequest("GET", url, {_FLAVOR: _GOOGLE}, link_local=True))
    except IssuerUnavailable as error:
        unreached: CredbrokerError = error.saying(f"credential_source: metadata: {error.message}: {_ELSEWHERE}")
    else:
        refusal = _refusal(response)
        if refusal is None:
            return granted(response, _URL, {}, "")
        unreached = refusal
    raise unreached


def _refusal(response: HttpResponse) -> CredbrokerError | None:
    status = response.status
    if response.headers.get(_FLAVOR, "").lower() != _GOOGLE.lower():
        return CredentialUnavailable(
            f"credential_source: metadata: what answers at {_HOST} is not Google's metadata server (no 'Metadata-Flavor: "
            f"Google' in its answer): {_ELSEWHERE}"
        )
    if status == 200:
        return None
    text = f"credential_source: metadata: {_SERVER} answered HTTP {status}"
    if is_transient(status):
        pause = retry_after(response.headers.get("retry-after"), response.received)
        return IssuerUnavailable(
            f"{text}: it is asked again later; if this stays, look at whether the account is disabled (on GKE: whether the "
            "Kubernetes account has roles/iam.workloadIdentityUser on it)",
            retry_after=pause,
        )
    if status == 404:
        return CredentialUnavailable(
            f"{text}: no service account is attached to this machine: attach one (on GKE: turn on Workload Identity)"
        )
    if status in (400, 401, 403):
        return IssueDenied(f"{text}: look at credentials.scope, and at whether this machine or pod may have a token at all")
    return MalformedResponse(f"{text}, which it does not say: look at what stands between")
