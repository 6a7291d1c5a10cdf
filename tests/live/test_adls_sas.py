"""Our SAS at Azurite, Microsoft's emulator of the blob service, which nobody here wrote.

What is proved here: the signature, the times, the letters and the container scope, enforced by a server. Azurite emulates an
account without a hierarchical namespace, and knows no directory SAS: it refuses every ``sr=d``, as such an account does
(which is shown below). That a directory SAS is what Microsoft's own SDK signs, field by field and for any name, and what it
opens by Microsoft's rules, is proved in ``tests/properties/test_adls_sas.py``. The decoded path in what is signed, which a
directory SAS hangs on, is proved here by the SAS of one blob.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

import pytest
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient
from pydantic import SecretStr
from tests.servers.azurite import ACCOUNT, OBJECT_ID, TENANT_ID, Azurite

from credbroker.credentials import DelegationKey
from credbroker.location import Location
from credbroker.request import Access
from credbroker.vending.adls import sas_fields, sign

LAKE = f"abfss://lake@{ACCOUNT}.dfs.core.windows.net"
REFUSED = {401, 403}


class Identity:
    """A credential of Entra ID that no Entra ID gave."""

    def __init__(self, azurite: Azurite) -> None:
        self._azurite = azurite

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken(self._azurite.bearer(), int(time.time()) + 3600)


@pytest.fixture(scope="module")
def owner(azurite: Azurite) -> Iterator[BlobServiceClient]:
    """May do everything: makes the containers, and says what is there."""
    client = BlobServiceClient(azurite.url, credential=Identity(azurite), connection_verify=azurite.authority, retry_total=0)
    with client:
        for container in ("lake", "pond"):
            client.create_container(container)
            for name in ("sales/orders/1", "sales2/1", "top"):
                client.get_blob_client(container, name).upload_blob(b"1")
        yield client


@pytest.fixture(scope="module")
def key(owner: BlobServiceClient) -> DelegationKey:
    now = datetime.now(UTC).replace(microsecond=0)
    given = owner.get_user_delegation_key(now - timedelta(minutes=15), now + timedelta(hours=1))
    return DelegationKey(
        oid=given.signed_oid,
        tid=given.signed_tid,
        start=datetime.fromisoformat(given.signed_start),
        expiry=datetime.fromisoformat(given.signed_expiry),
        service=given.signed_service,
        version=given.signed_version,
        value=SecretStr(given.value),
    )


def whole_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def vended(key: DelegationKey, access: Access, location: str = f"{LAKE}/", *, life: timedelta = timedelta(minutes=5)) -> str:
    fields = sas_fields([Location.parse(location)], access, allow_container_scope=True)
    return sign(fields, key, whole_second() + life).get_secret_value()


def client(azurite: Azurite, sas: str, container: str = "lake") -> ContainerClient:
    return ContainerClient(
        azurite.url, container, credential=AzureSasCredential(sas), connection_verify=azurite.authority, retry_total=0
    )


def answer(call: Callable[[], object]) -> int:
    """The status of the answer: 200 for what was done, else what the server said."""
    try:
        call()
    except HttpResponseError as error:
        return error.status_code or 0
    return 200


def tries(lake: ContainerClient, name: str = "sales/orders/1") -> dict[str, bool]:
    """What of each kind the server lets through."""
    made = {
        "read": answer(lambda: lake.download_blob(name).readall()),
        "list": answer(lambda: list(lake.list_blobs(name_starts_with="sales/"))),
        "overwrite": answer(lambda: lake.upload_blob(name, b"2", overwrite=True)),
        "create": answer(lambda: lake.upload_blob(f"new/{time.monotonic_ns()}", b"2")),
        "delete": answer(lambda: lake.delete_blob("new/gone")),
    }
    assert set(made.values()) <= {200, *REFUSED}, made
    return {kind: status == 200 for kind, status in made.items()}


@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (Access.READ, {"read", "list"}),
        (Access.WRITE, {"list", "overwrite", "create", "delete"}),
        (Access.READ_WRITE, {"read", "list", "overwrite", "create", "delete"}),
    ],
)
def test_the_server_lets_through_what_the_access_says_and_nothing_else(
    azurite: Azurite, owner: BlobServiceClient, key: DelegationKey, access: Access, allowed: set[str]
) -> None:
    owner.get_blob_client("lake", "new/gone").upload_blob(b"1", overwrite=True)
    with client(azurite, vended(key, access)) as lake:
        assert {kind for kind, done in tries(lake).items() if done} == allowed


@pytest.mark.parametrize("access", list(Access))
def test_another_container_and_the_account_stay_shut(
    azurite: Azurite, owner: BlobServiceClient, key: DelegationKey, access: Access
) -> None:
    sas = vended(key, access)
    with client(azurite, sas, "pond") as pond:
        assert set(tries(pond).values()) == {False}
        assert answer(pond.get_container_properties) in REFUSED
    with client(azurite, sas) as lake:
        assert answer(lake.delete_container) in REFUSED
        assert answer(lambda: lake.set_container_access_policy({})) in REFUSED
    verify = azurite.authority
    with BlobServiceClient(
        azurite.url, credential=AzureSasCredential(sas), connection_verify=verify, retry_total=0
    ) as account:
        assert answer(lambda: list(account.list_containers())) in REFUSED
        assert answer(lambda: account.create_container("mine")) in REFUSED
        assert answer(account.get_service_properties) in REFUSED
    left = {container.name for container in owner.list_containers()}
    assert {"lake", "pond"} <= left
    assert "mine" not in left


@pytest.mark.parametrize(
    "changes",
    [
        {"sp": "racwdl"},
        {"sp": "rcwdl"},
        {"sr": "b"},
        {"sr": "d", "sdd": "0"},
        {"se": "2099-01-01T00:00:00Z"},
        {"st": "2020-01-01T00:00:00Z"},
        {"spr": "https,http"},
        {"sv": "2025-05-05"},
        {"ske": "2099-01-01T00:00:00Z"},
        {"skt": "2000-01-01T00:00:00Z"},
        {"skoid": "22222222-5514-4800-b5f8-49808b9cfab6"},
        {"sktid": "22222222-50f6-404c-a006-d71b2ac7a606"},
        {"skv": "2019-12-12"},
        {"sks": "q"},
        {"rsct": "text/html"},
        {"sig": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    ],
    ids=str,
)
def test_a_changed_field_opens_nothing(
    azurite: Azurite, owner: BlobServiceClient, key: DelegationKey, changes: dict[str, str]
) -> None:
    sas = vended(key, Access.READ)
    with client(azurite, urlencode({**dict(parse_qsl(sas)), **changes})) as lake:
        assert set(tries(lake).values()) == {False}
    with client(azurite, urlencode(dict(parse_qsl(sas)))) as lake:  # and it was the change that did it
        assert tries(lake)["read"]


def test_a_depth_that_is_added_to_a_container_changes_nothing(
    azurite: Azurite, owner: BlobServiceClient, key: DelegationKey
) -> None:
    with client(azurite, vended(key, Access.READ) + "&sdd=0") as lake:
        assert {kind for kind, done in tries(lake).items() if done} == {"read", "list"}


def test_it_ends_at_the_second_that_it_says(azurite: Azurite, owner: BlobServiceClient, key: DelegationKey) -> None:
    sas = vended(key, Access.READ, life=timedelta(seconds=4))
    end = datetime.fromisoformat(dict(parse_qsl(sas))["se"])
    refused_at = None
    with client(azurite, sas) as lake:
        assert tries(lake)["read"]
        while refused_at is None and datetime.now(UTC) < end + timedelta(seconds=10):
            refused_at = None if tries(lake)["read"] else datetime.now(UTC)
    assert refused_at is not None
    assert refused_at >= end


def test_an_account_without_a_hierarchy_refuses_a_directory_instead_of_opening_more(
    azurite: Azurite, owner: BlobServiceClient, key: DelegationKey
) -> None:
    fields = sas_fields([Location.parse(f"{LAKE}/sales/orders")], Access.READ_WRITE)
    assert fields["sr"] == "d"
    sas = sign(fields, key, whole_second() + timedelta(minutes=5)).get_secret_value()
    with client(azurite, sas) as lake:
        assert set(tries(lake).values()) == {False}
        assert set(tries(lake, "top").values()) == {False}


@pytest.mark.parametrize(
    "name", ["sales/été/a b", "50%/x", "a%20b/%25", "p=1&sp=racwdl&sr=c/x", "a+b;c=d/'x'", "a\u200bb/\u5927", "*/${x}/[1]"]
)
def test_the_path_is_signed_as_the_server_reads_it(
    azurite: Azurite, owner: BlobServiceClient, key: DelegationKey, name: str
) -> None:
    """By the SAS of one blob: its path is in what is signed, as a directory's would be."""
    with owner.get_blob_client("lake", name) as blob:
        blob.upload_blob(b"1", overwrite=True)
    location = Location.parse(f"{LAKE}/{name}")
    fields = {**sas_fields([location], Access.READ), "sr": "b"}
    del fields["sdd"]
    with client(azurite, sign(fields, key, whole_second() + timedelta(minutes=5)).get_secret_value()) as lake:
        assert lake.download_blob(name).readall() == b"1"
        assert answer(lambda: lake.download_blob("top").readall()) in REFUSED
        assert answer(lambda: lake.upload_blob(name, b"2", overwrite=True)) in REFUSED
        assert answer(lambda: list(lake.list_blobs())) in REFUSED


def test_the_key_is_the_identitys(key: DelegationKey) -> None:
    assert (key.oid, key.tid, key.service) == (OBJECT_ID, TENANT_ID, "b")
