"""Every way for a client to authenticate, with its secret in every place: the matrix, with the requests of one issue.

Each cell is a token that a certified server issued and then vouches for, and what the two servers were asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.servers.aws_kept import KINDS as AWS_KINDS
from tests.servers.aws_kept import keeping
from tests.servers.places import PLACES, Place, in_aws, in_entra, in_files, in_google, in_vault

from credbroker import Broker

if TYPE_CHECKING:
    from tests.servers.oidc.provider import OidcProvider

CLIENTS = ("basic", "awkward", "post", "secret-jwt", "rs256", "es256", "tls", "self-signed-tls")
# What its server is asked for a first secret, with a login where there is one, and for each further one.
COST = {"vault": (2, 1), "dynamodb_kms": (2, 2), "gcp": (2, 1), "azure": (2, 1), **dict.fromkeys(AWS_KINDS[:3], (1, 1))}


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], str]]:
    """What each cell saw; printed as a table when all are done."""
    cells: dict[tuple[str, str], str] = {}
    yield cells
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        say = print  # the one place where a test speaks: the matrix is for people
        say("\n\nrequests of one issue: to the token endpoint + to where the secret is; then of each further one, there")
        for row in (("", *CLIENTS), *((place, *(cells.get((one, place), "-") for one in CLIENTS)) for place in PLACES)):
            say("".join(f"{text:<21}" if column == 0 else f"{text:<17}" for column, text in enumerate(row)).rstrip())


@dataclass
class Kept:
    """One place, and the directory of what the places themselves are logged in to with."""

    kind: str
    place: Place
    logins: Path


@pytest.fixture(params=PLACES)
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Each place where a secret may be."""
    kind: str = request.param
    folder, logins = tmp_path / f"{tmp_path.name}-kept", tmp_path / "logins"
    folder.mkdir()
    logins.mkdir()
    server = request.getfixturevalue({"vault": "openbao", "gcp": "google", "azure": "entra"}.get(kind, "tmp_path"))
    with ExitStack() as running:
        if kind in AWS_KINDS:
            place = in_aws(kind, running.enter_context(keeping(request.getfixturevalue("moto_aws"), folder)))
        elif kind == "vault":
            place = in_vault(server, logins)
        elif kind == "gcp":
            place = in_google(server, logins)
        elif kind == "azure":
            place = in_entra(server, logins)
        else:
            place = in_files(kind, folder, monkeypatch)
        yield Kept(kind, place, logins)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_authenticates_with_a_secret_that_is_kept_there(
    name: str, kept: Kept, oidc: OidcProvider, matrix: dict[tuple[str, str], str]
) -> None:
    client, place = oidc.client(name), kept.place
    block = client.credentials()
    for key in {"client_secret", "private_key", "certificate_key"} & block.keys():
        block[key] = place.reference(block[key]["secret_ref"])
    platform = oidc.platform(kept.logins, c=block)
    platform["secret_backends"].append(place.entry)
    for secret, value in client.secrets.items():
        (kept.logins / secret).unlink()  # kept in the place alone
        place.put(secret, value)
    before = place.requests()
    with Broker.from_config(platform) as broker:
        first = broker.catalog("c").get()
        asked = place.requests() - before
        broker.purge("c")
        second = broker.catalog("c").get()
        again = place.requests() - before - asked
    assert oidc.introspect(first.value.get_secret_value())["client_id"] == client.client_id
    assert first.fingerprint != second.fingerprint
    assert len(oidc.requests("/token")) == 2
    assert (asked, again) == COST.get(kept.kind, (0, 0))
    matrix[name, kept.kind] = f"1 + {asked}; {again}" if kept.kind in COST else "1"
