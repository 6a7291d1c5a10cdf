"""``plugins.load``: how another distribution's backend is found, made and held to the seam."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.plugins.building import written

from credbroker.context import Context, Lease
from credbroker.errors import ConfigurationError, IssuerUnavailable, MalformedResponse, SecretNotFound
from credbroker.secrets.backend import Lessor, Lookup
from credbroker.secrets.env import EnvBackend
from credbroker.secrets.plugins import GROUP, load
from credbroker.secrets.reference import SecretReference
from credbroker.secrets.settings import BackendSettings

Install = Callable[..., None]
REFERENCE = SecretReference(secret_ref="key")
OWN = BackendSettings(type="own", address="https://own.example", options={"shelf": "prod"})
WORKING = """\
from credbroker.secrets.backend import Lookup
class Own:
    def __init__(self, settings, earlier):
        self.made_with = settings, earlier
    def look(self, reference, context):
        return Lookup(f"{self.made_with[0].address}/{self.made_with[0].options['shelf']} after {len(self.made_with[1])}")
"""
LEASING = """\
from datetime import timedelta
from pydantic import SecretStr
from credbroker.context import Lease
from credbroker.secrets.backend import Lookup
class Own:
    def __init__(self, settings, earlier): ...
    def look(self, reference, context): ...
    def lease(self, reference, context):
        if reference.secret_ref == "burst":
            raise ValueError("canary")
        if reference.secret_ref == "absent":
            return Lookup("own")
        return "canary" if reference.secret_ref == "odd" else Lease(SecretStr("canary"), timedelta(hours=1), "own/1")
    def revoke(self, lease, context):
        return "own" if lease == "odd" else lease == "own/1"
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def made(module: str, source: str, name: str = "own") -> None:
        written(tmp_path, module, source, group=GROUP, name=name, attribute="Own")

    yield made
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def _fault(*plugins: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(OWN, (), plugins)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_a_listed_backend_is_made_with_its_settings_and_what_stands_before_it(install: Install) -> None:
    install("own_working", WORKING)
    result = load(OWN, (EnvBackend(),), ("own",)).look(REFERENCE, Context())
    assert (result.place, result.secret) == ("https://own.example/prod after 1", None)


def test_one_that_is_not_listed_is_not_imported(install: Install) -> None:
    install("own_working", WORKING)
    assert _fault("other") == "the secret backend 'own' is not listed under 'plugins:'"
    assert "own_working" not in sys.modules


def test_one_that_is_listed_and_not_installed_says_so() -> None:
    assert _fault("own") == "the plug-in 'own' is listed under 'plugins:' but no installed distribution provides it"


def test_a_provider_of_that_name_is_no_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    written(tmp_path, "own_provider", WORKING, name="own", attribute="Own")
    assert "no installed distribution provides it" in _fault("own")


def test_two_that_claim_one_name_are_both_named(install: Install) -> None:
    install("own_first", WORKING)
    install("own_second", WORKING)
    assert _fault("own") == "two entry points claim the secret backend 'own' (own_first:Own, own_second:Own): uninstall one"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('canary')", "raised RuntimeError"),
        ("import absent_canary", "raised ModuleNotFoundError"),
        ("canary canary", "raised SyntaxError"),
        ("canary = 1", "raised AttributeError"),
        ("class Own: ...", "raised TypeError"),
        ("def Own(*_): raise SystemExit('canary')", "raised SystemExit"),
        ("def Own(*_): return 'canary'", "made str, which has no look()"),
    ],
)
def test_one_that_breaks_while_it_is_made_is_named_without_its_text(install: Install, source: str, said: str) -> None:
    install("own_broken", source)
    assert _fault("own") == f"the secret backend 'own' could not be loaded: 'own_broken:Own' {said}"


def test_its_own_configuration_error_is_its_to_word(install: Install) -> None:
    install(
        "own_lacking", "from credbroker.errors import ConfigurationError\ndef Own(*_): raise ConfigurationError('own[sdk]')"
    )
    assert _fault("own") == "own[sdk]"


def test_an_interrupt_while_it_is_made_is_the_user_s(install: Install) -> None:
    install("own_slow", "def Own(*_): raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load(OWN, (), ("own",))


def test_leases_go_through_and_nothing_else_does(install: Install) -> None:
    install("own_leasing", LEASING)
    backend = load(OWN, (), ("own",))
    assert isinstance(backend, Lessor)
    lease = backend.lease(REFERENCE, Context())
    assert isinstance(lease, Lease)
    assert lease.lifetime == timedelta(hours=1)
    assert backend.lease(SecretReference(secret_ref="absent"), Context()) == Lookup("own")
    with pytest.raises(MalformedResponse, match="returned something else than a Lease"):
        backend.lease(SecretReference(secret_ref="odd"), Context())
    with pytest.raises(IssuerUnavailable, match="the secret backend 'own' failed with ValueError"):
        backend.lease(SecretReference(secret_ref="burst"), Context())
    assert [backend.revoke(name, Context()) for name in ("own/1", "other/1", "odd")] == [True, False, False]


def test_one_without_leases_is_no_lessor(install: Install) -> None:
    install("own_working", WORKING)
    assert not isinstance(load(OWN, (), ("own",)), Lessor)


def test_what_it_raises_of_ours_comes_without_its_frames(install: Install) -> None:
    body = WORKING.replace(
        "        return Lookup", "        secret = 'canary'; raise SecretNotFound('no')\n        return Lookup"
    )
    install("own_working", f"from credbroker.errors import SecretNotFound\n{body}")
    with pytest.raises(SecretNotFound, match=r"^no$") as caught:
        load(OWN, (), ("own",)).look(REFERENCE, Context())
    trace = caught.value.__traceback__
    while trace is not None:
        assert not Path(trace.tb_frame.f_code.co_filename).name.startswith("own_")
        trace = trace.tb_next
