"""azure-identity under azure-core: an object, by one client with a managed identity. Arguments: URL, scope."""

from __future__ import annotations

import sys

from azure.core import PipelineClient
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest
from azure.identity import ManagedIdentityCredential
from repeat import repeat

url, scope = sys.argv[1:]
policy = BearerTokenCredentialPolicy(ManagedIdentityCredential(), scope, enforce_https=False)
client = PipelineClient(url, policies=[policy])


def read() -> None:
    # The store is on loopback, so that there is no TLS; the policy asks to be told so at each request.
    answer = client.send_request(HttpRequest("GET", url), enforce_https=False)
    answer.raise_for_status()
    assert answer.content


repeat(read)
