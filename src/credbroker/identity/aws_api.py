"""One AWS API call as botocore reads and writes it, over our own transport.

Only botocore's service models, serialisers, signer and parsers are used: no session, no client. So nothing ambient is read
(no ``~/.aws``, ``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, proxy), no attempt is made twice, and nobody pays for a client.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from credbroker.context import HttpRequest, HttpResponse
from credbroker.identity.aws import Keys

Service: TypeAlias = Literal["sts", "secretsmanager", "ssm", "kms", "dynamodb", "redshift", "redshift-serverless"]
"""A service's name: of its model, in its host, and in a signature for it."""

# Of the protocols that a model may name, the one that is spoken here.
_PROTOCOLS: Mapping[Service, str] = {
    "sts": "query",
    "secretsmanager": "json",
    "ssm": "json",
    "kms": "json",
    "dynamodb": "json",
    "redshift": "query",
    "redshift-serverless": "json",
}
UNAUTHENTICATED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Error codes, of AWS (Common Errors of its API references) and of other stores: it is not known who we are."""
THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Error codes: we, or all together, ask too often."""


def signed(
    service: Service, operation: str, parameters: Mapping[str, object], keys: Keys, *, endpoint: str, region: str
) -> HttpRequest:
    """The request for ``operation`` with ``parameters``, signed by AWS Signature Version 4."""
    request = _written(service, operation, parameters, endpoint)
    token = keys.session_token.get_secret_value() if keys.session_token else None
    credentials = Credentials(keys.access_key_id, keys.secret_access_key.get_secret_value(), token)
    SigV4Auth(credentials, service, region).add_auth(request)
    return HttpRequest("POST", endpoint, dict(request.headers.items()), request.data)


def unsigned(service: Service, operation: str, parameters: Mapping[str, object], *, endpoint: str) -> HttpRequest:
    """The request for an ``operation`` that takes no signature: what it shows stands in its ``parameters``."""
    request = _written(service, operation, parameters, endpoint)
    return HttpRequest("POST", endpoint, dict(request.headers.items()), request.data)


def _written(service: Service, operation: str, parameters: Mapping[str, object], endpoint: str) -> AWSRequest:
    model = _service_model(service).operation_model(operation)
    # Its validation is off: it puts values into its error texts, and all of them were checked before.
    serializer = create_serializer(_PROTOCOLS[service], include_validation=False)
    wire = serializer.serialize_to_request(dict(parameters), model)
    body = wire["body"]
    if not isinstance(body, bytes):
        # A blank as %20: Ceph 16 does not read "+" as one, so that a grant for "a b" became a grant for its neighbour "a+b".
        body = urlencode(body, quote_via=quote).encode()
    return AWSRequest(method="POST", url=endpoint, headers=wire["headers"], data=body)


def parsed(service: Service, operation: str, response: HttpResponse) -> Mapping[str, Any]:
    """The output of ``operation``, or the error that the service states; empty where ``response`` is neither."""
    if response.status == 200 and _PROTOCOLS[service] == "json" and not _is_object(response.body):
        return {}  # botocore reads a page of HTML as an output without members: a secret that is "absent"
    shape = _service_model(service).operation_model(operation).output_shape
    raw = {"status_code": response.status, "headers": response.headers, "body": response.body}
    try:
        answer: Mapping[str, Any] = create_parser(_PROTOCOLS[service]).parse(raw, shape)
    except Exception:  # noqa: BLE001 - whatever a body that is no answer makes the parser raise, with the body in its text
        return {}
    return answer


def error_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The error in an answer, with its ``Code`` and ``Message``, neither of which is fit to be shown."""
    error = answer.get("Error")
    return error if isinstance(error, dict) else answer  # SeaweedFS answers some as S3 does, unwrapped


def code_of(answer: Mapping[str, Any], *known: Collection[str]) -> str:
    """The error's code if it is one of ``known``, which are ours to show; else nothing.

    A hostile endpoint must not put what we sent, or what it likes, into our error texts.
    """
    code = error_of(answer).get("Code")
    # AWS JSON 1.1, "Operation error serialization": what stands behind a colon is to be left off. Older botocores do not.
    named = code.partition(":")[0] if isinstance(code, str) else ""
    return named if any(named in codes for codes in known) else ""


@cache
def _service_model(service: Service) -> Any:
    """A model that botocore ships, and none from ``~/.aws/models`` or ``$AWS_DATA_PATH``: public text, read once."""
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False
