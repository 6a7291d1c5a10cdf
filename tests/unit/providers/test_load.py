"""``providers.load``, with distributions that are really installed: in a folder of the test's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from credbroker.errors import AccessDenied, ConfigurationError
from credbroker.profile import CatalogProfile, Profile
from credbroker.providers import RESERVED, Grant, Provider, load, planned
from credbroker.request import CredentialRequest

Install = Callable[..., None]
WORKING = "class Own:\n    def issue(self, request, context): ...\n    def plan(self, request, profile): ...\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    def made(name: str, source: str, *, mode: str = "own") -> None:
        (tmp_path / f"{name}.py").write_text(source)
        about = tmp_path / f"{name}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (about / "entry_points.txt").write_text(f"[credbroker.providers]\n{mode} = {name}:Own\n")

    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield made
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def _fault(mode: str, *plugins: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(mode, plugins)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize("mode", sorted(RESERVED))
def test_a_built_in_is_found_by_its_mode(mode: str) -> None:
    assert type(load(mode)).__module__ == f"credbroker.providers.{mode}"


def test_a_listed_plug_in_is_loaded_and_an_unlisted_one_is_not_imported(install: Install) -> None:
    install("own_working", WORKING)
    assert "unknown mode 'own'" in _fault("own")
    assert "own_working" not in sys.modules
    assert type(load("own", ("own",))).__module__ == "own_working"


def test_a_listed_plug_in_that_is_not_installed_says_so() -> None:
    fault = "the plug-in 'own' is listed under 'plugins:' but no installed distribution provides it"
    assert _fault("own", "own") == fault


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("raise RuntimeError('canary')", "RuntimeError"),
        ("import absent_canary", "ModuleNotFoundError"),
        ("def Own(): raise OSError('canary')", "OSError"),
        ("class Own:\n    def __init__(self, setting): ...", "TypeError"),
        ("canary = 1", "AttributeError"),
        ("canary canary", "SyntaxError"),
        ("def Own(): raise SystemExit('canary')", "SystemExit"),
    ],
)
def test_a_plug_in_that_breaks_while_it_is_loaded_is_named_without_its_text(
    install: Install, source: str, named: str
) -> None:
    install("own_broken", source)
    fault = _fault("own", "own")
    assert fault == f"mode 'own' could not be loaded: its provider 'own_broken:Own' raised {named}"


def test_a_plug_in_that_makes_no_provider_is_named(install: Install) -> None:
    install("own_empty", "class Own:\n    def plan(self, request, profile): ...\n")
    assert _fault("own", "own") == "mode 'own' could not be loaded: its provider 'own_empty:Own' is Own, without issue()"


def test_an_interrupt_while_a_plug_in_is_loaded_is_the_user_s(install: Install) -> None:
    install("own_slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load("own", ("own",))


def test_a_plug_in_s_own_configuration_error_is_its_to_word(install: Install) -> None:
    install(
        "own_lacking",
        "from credbroker.errors import ConfigurationError\ndef Own(): raise ConfigurationError('pip install own[sdk]')",
    )
    assert _fault("own", "own") == "pip install own[sdk]"


def test_two_distributions_that_claim_one_mode_are_both_named(install: Install) -> None:
    install("own_first", WORKING)
    install("own_second", WORKING)
    assert "own_first:Own, own_second:Own" in _fault("own", "own")


def test_a_distribution_that_claims_a_built_in_mode_is_refused(install: Install) -> None:
    install("own_greedy", WORKING, mode="service_account")
    assert "'own_greedy:Own' claims the built-in mode 'service_account'" in _fault("service_account")
    assert "own_greedy" not in sys.modules


class _Planned:
    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def plan(self, request: CredentialRequest, profile: Profile) -> object:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


PROFILE = CatalogProfile(name="lake", uri="https://c.example")
REQUEST = CredentialRequest("catalog", "lake")


@pytest.mark.parametrize(("provider", "grant"), [(_Planned(Grant()), Grant()), (_Planned(None), None), (object(), None)])
def test_what_a_provider_plans_is_a_grant_or_nothing(provider: Provider, grant: Grant | None) -> None:
    assert planned(provider, REQUEST, PROFILE) == grant


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(ValueError("canary"), "failed with ValueError"), ("canary", "answered with str instead of a Grant")],
)
def test_a_plan_that_bursts_or_is_none_is_a_configuration_error_without_its_text(outcome: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"lake: the provider _Planned {said}") as caught:
        planned(_Planned(outcome), REQUEST, PROFILE)  # type: ignore[arg-type]
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_plan_that_refuses_with_an_error_of_ours_is_heard() -> None:
    with pytest.raises(AccessDenied, match="no"):
        planned(_Planned(AccessDenied("no")), REQUEST, PROFILE)  # type: ignore[arg-type]
