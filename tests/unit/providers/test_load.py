"""``providers.load``, with distributions that are really installed: in a folder of the test's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from credbroker.errors import ConfigurationError
from credbroker.providers import RESERVED, load

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
    ],
)
def test_a_plug_in_that_breaks_while_it_is_loaded_is_named_without_its_text(
    install: Install, source: str, named: str
) -> None:
    install("own_broken", source)
    fault = _fault("own", "own")
    assert fault == f"mode 'own' could not be loaded: its provider 'own_broken:Own' raised {named}"


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
