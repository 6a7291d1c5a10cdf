"""``service_account`` on Google Cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from credbroker.credentials import AccessToken, GCSCredentials
from credbroker.testing import ManualClock
from tests.servers.cells.cell import Cell, Scene, Scenes, Stage
from tests.servers.cells.opening import Opening
from tests.servers.google_cloud import SCOPE
from tests.servers.google_world import PREFIXES, World, google_world, over

if TYPE_CHECKING:
    from credbroker import Broker

BOUNDARY = "wire check: cloud.google.com/iam/docs/downscoping-short-lived-credentials"
PAGES = {
    "key": "wire check: developers.google.com/identity/protocols/oauth2/service-account",
    "file": "wire check: cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token",
    "url": "wire check: cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token",
    "aws": "wire check: cloud.google.com/iam/docs/workload-identity-federation-with-other-clouds",
    "metadata": "wire check: cloud.google.com/compute/docs/metadata/querying-metadata",
}
IMPERSONATION = "generateAccessToken"
METHODS = {
    "key": "key",
    "file": "web_identity, file",
    "url": "web_identity, url",
    "aws": "web_identity, aws",
    "metadata": "metadata",
}
COMPARED = ("key", "file", "url")
"""Google's own client is counted at the same server. It asks the metadata server for more than is played; and it does not
sign one header of AWS' request that Google's page wants signed."""
# google-auth signs by a key, botocore signs AWS' request.
LOADS = {"key": frozenset({"google"}), "aws": frozenset({"botocore"})}


def _asked(world: World) -> Callable[[], int]:
    return lambda: len(world.google.asked) + len(world.url.asked)


def _principal(world: World, source: str, impersonating: bool) -> str:
    if impersonating or source == "key":
        return world.google.email
    return world.google.attached if source == "metadata" else f"principal:{world.google.audience}"


def _google_auth(world: World, source: str, impersonating: bool) -> Any:
    """google-auth's own credentials for the same identity."""
    from google.auth import identity_pool, impersonated_credentials
    from google.oauth2 import service_account

    world.write((world.folder / "token").read_text().strip())  # it sends a file as it is
    info: dict[str, Any] = {
        "type": "external_account",
        "audience": world.google.audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(world.folder / "token")},
    }
    made: Any
    if source == "key":
        made = service_account.Credentials.from_service_account_info(json.loads(world.google.key), scopes=[SCOPE])
    else:
        if source == "url":
            headers = {"X-Asked-By": "credbroker"}
            info["credential_source"] = {"url": f"{world.url.uri}/token?audience=pool", "headers": headers}
        made = identity_pool.Credentials.from_info(info, scopes=[SCOPE])
    return impersonated_credentials.Credentials(made, world.google.email, [SCOPE]) if impersonating else made


def _narrowed(world: World, source: str, impersonating: bool) -> list[Callable[[], object]]:
    """Two prefixes by ``google.auth.downscoped``, of one source."""
    from google.auth import downscoped

    of, policies = _google_auth(world, source, impersonating), list(world.google.boundaries)

    def narrow(policy: Any) -> Callable[[], object]:
        rules = [
            downscoped.AccessBoundaryRule(
                rule["availableResource"],
                rule["availablePermissions"],
                downscoped.AvailabilityCondition(rule["availabilityCondition"]["expression"]),
            )
            for rule in policy["accessBoundary"]["accessBoundaryRules"]
        ]
        made = downscoped.Credentials(of, downscoped.CredentialAccessBoundary(rules))
        return lambda: made.refresh(over(world.http))

    return [narrow(policies[0]), narrow(policies[1])]


def _storage(source: str, impersonating: bool) -> Callable[[Stage], AbstractContextManager[Scene]]:
    @contextmanager
    def set_up(stage: Stage) -> Scenes:
        with google_world(stage.folder, ManualClock(datetime.now(UTC)), stage.patch) as world:
            more = {"service_account": world.google.email} if impersonating else {}
            config = world.config(world.settings(source, **more))

            def accepted(broker: Broker, value: GCSCredentials) -> None:
                issued = world.of(value.access_token.get_secret_value())
                assert issued.boundary == broker.storage("lake", str((value.locations or ())[0])).explain().policy
                assert issued.principal.startswith(_principal(world, source, impersonating))

            ask, further = (("storage", "lake", prefix, "read") for prefix in PREFIXES[:2])
            opening = Opening(config, world.google.origins)
            scene = Scene(opening, ask, _asked(world), accepted, further)
            if source in COMPARED:
                scene.sdk = lambda: _narrowed(world, source, impersonating)
            yield scene

    return set_up


def _token(source: str, kind: str) -> Callable[[Stage], AbstractContextManager[Scene]]:
    @contextmanager
    def set_up(stage: Stage) -> Scenes:
        with google_world(stage.folder, ManualClock(datetime.now(UTC)), stage.patch) as world:

            def accepted(_: Broker, value: AccessToken) -> None:
                issued = world.of(value.value.get_secret_value())
                assert (issued.scope, issued.boundary) == (SCOPE, None)
                assert issued.principal.startswith(_principal(world, source, impersonating=False))

            ask = (kind, "biglake" if kind == "catalog" else "bigquery")
            yield Scene(Opening(world.config(world.settings(source)), world.google.origins), ask, _asked(world), accepted)

    return set_up


def _sdk_cost(own: int, impersonating: bool) -> tuple[int, int]:
    """Each narrowed token of google-auth's takes its source's token anew; one that impersonates holds what it does so by."""
    return own + impersonating + 1, 2 if impersonating else own + 1


def _cells() -> list[Cell]:
    cells = []
    for source, method in METHODS.items():
        loads = LOADS.get(source, frozenset())
        own = 2 if source == "url" else 1  # of the source's token, which is then held
        for impersonating in (False, True):
            named = f"storage: {method}{', impersonating' if impersonating else ''}"
            proof = f"{PAGES[source]}, {IMPERSONATION if impersonating else 'downscoping'}"
            cost = (own + 1 + impersonating, 1)
            sdk = _sdk_cost(own, impersonating) if source in COMPARED else ()
            made = _storage(source, impersonating)
            cells.append(Cell("service_account", named, "gcp", proof, cost, GCSCredentials, made, loads, sdk))
        for kind in ("catalog", "compute"):
            one = Cell(
                "service_account", f"{kind}: {method}", "gcp", PAGES[source], (own, own), AccessToken, _token(source, kind)
            )
            cells.append(Cell(**{**vars(one), "loads": loads}))
    return cells


CELLS = _cells()
