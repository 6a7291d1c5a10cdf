from __future__ import annotations

import pytest

from credbroker.config import from_data, load_files, resolver
from credbroker.context import Context
from credbroker.errors import SecretNotFound
from credbroker.secrets.reference import SecretReference

from .files import Files

REFERENCE = SecretReference(secret_ref="name")


def test_the_backends_are_asked_in_the_order_of_the_file() -> None:
    platform = from_data({"secret_backends": [{"type": "files", "path": "/one"}, {"type": "files", "path": "/two/"}]})
    files = Files({"/two/name": "second"})
    assert resolver(platform, Context(environment=files)).resolve(REFERENCE).get_secret_value() == "second"
    files.files = {"/two/name": "second", "/one/name": "first"}
    assert resolver(platform, Context(environment=files)).resolve(REFERENCE).get_secret_value() == "first"


def test_the_default_names_both_places() -> None:
    with pytest.raises(SecretNotFound, match=r"'NAME', then file '/var/run/secrets/name'"):
        resolver(from_data({}), Context(environment=Files({}))).resolve(REFERENCE)


def test_a_missing_secret_is_named_with_the_place_that_asks_for_it() -> None:
    text = """\
catalogs:
  p:
    uri: {secret_ref: address}
    credentials:
      mode: oauth2
      client_id: {secret_ref: oauth, field: id}
      client_secret: {secret_ref: oauth, next: later}
storage:
  s:
    credentials: {secret_ref: keys}
    endpoint: {secret_ref: address}
audit:
  key: {secret_ref: chain}
"""
    platform = load_files(["p.yaml"], Files({"p.yaml": text}))
    secrets = resolver(platform, Context(environment=Files({})))
    catalog, store = platform.catalogs["p"], platform.storage["s"]
    assert catalog.credentials is not None
    assert catalog.credentials.client_secret is not None
    assert store.credentials is not None
    for reference, expected in (
        (catalog.uri, "p.yaml:3: catalogs.p.uri: secret 'address' not found: tried environment variable 'ADDRESS', then"),
        (catalog.credentials.client_id, "p.yaml:6: catalogs.p.credentials.client_id: secret 'oauth.id' not found: tried"),
        (catalog.credentials.client_secret, "p.yaml:7: catalogs.p.credentials.client_secret: secret 'oauth' not found:"),
        (catalog.credentials.client_secret.successor, "p.yaml:7: catalogs.p.credentials.client_secret: secret 'later' not"),
        (store.credentials.secret_ref, "p.yaml:10: storage.s.credentials.secret_ref: secret 'keys' not found: tried"),
        (store.endpoint, "p.yaml:11: storage.s.endpoint: secret 'address' not found: tried"),
        (platform.audit.key, "p.yaml:13: audit.key: secret 'chain' not found: tried"),
    ):
        assert isinstance(reference, SecretReference)
        with pytest.raises(SecretNotFound) as caught:
            secrets.resolve(reference)
        assert str(caught.value).startswith(expected)
        assert str(caught.value).endswith("': create it in one of these places, or correct its name")


def test_where_a_reference_stands_makes_no_difference_to_a_profile() -> None:
    data = {"storage": {"s": {"endpoint": {"secret_ref": "e"}, "credentials": {"secret_ref": "k"}}}}
    text = "# a comment\nstorage: {s: {endpoint: {secret_ref: e}, credentials: {secret_ref: k}}}\n"
    one, other = from_data(data), load_files(["p.yaml"], Files({"p.yaml": text}))
    assert one.storage["s"] == other.storage["s"]
    assert one.storage["s"].fingerprint() == other.storage["s"].fingerprint()
    assert one.fingerprint == other.fingerprint
    assert "p.yaml" not in repr(other.storage["s"].credentials)
