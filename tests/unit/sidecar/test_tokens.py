"""Tokens: where they lie, what opens what, and that a rotation locks nobody out."""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from credbroker.errors import ConfigurationError
from credbroker.sidecar.tokens import Tokens
from credbroker.system.memory_folder import Folder, open_folder


@pytest.fixture
def folder(memory: Path) -> Iterator[Folder]:
    opened = open_folder(str(memory / "run"), None)
    yield opened
    opened.close()


@pytest.fixture
def tokens(folder: Folder) -> Tokens:
    tokens = Tokens(folder)
    tokens.keep(["lake", "orders", "status"])
    return tokens


def _written(folder: Folder, name: str) -> str:
    return (Path(folder.path) / f"{name}.token").read_text()


def _files(folder: Folder) -> list[str]:
    return sorted(file.name for file in Path(folder.path).iterdir())


def test_each_name_has_one_in_a_file_without_a_newline(tokens: Tokens, folder: Folder) -> None:
    assert _files(folder) == ["lake.token", "orders.token", "status.token"]
    written = {name: _written(folder, name) for name in ("lake", "orders", "status")}
    assert len(set(written.values())) == 3
    for name, token in written.items():
        assert token == tokens.current(name).get_secret_value()
        assert len(token) == 43  # 32 bytes in base64url
        assert token.isascii()
        assert token == token.strip()
        assert stat.S_IMODE((Path(folder.path) / f"{name}.token").stat().st_mode) == 0o600


def test_the_declared_group_may_read_them(memory: Path) -> None:
    opened = open_folder(str(memory / "run"), os.getegid())
    Tokens(opened).keep(["lake"])
    assert stat.S_IMODE((memory / "run" / "lake.token").stat().st_mode) == 0o640
    opened.close()


def test_a_token_opens_its_own_name_and_no_other(tokens: Tokens) -> None:
    for shown in ("lake", "orders", "status"):
        token = tokens.current(shown).get_secret_value()
        assert [name for name in ("lake", "orders", "status", "absent") if tokens.accepts(name, token)] == [shown]


@pytest.mark.parametrize("garbage", ["", "x", "ü" * 43, "\udcff", "\0", "a" * 100_000, "\N{GRINNING FACE}", "\n"])
def test_garbage_opens_nothing_and_raises_nothing(garbage: str, tokens: Tokens) -> None:
    tokens.rotate()
    assert not tokens.accepts("lake", garbage)
    assert not tokens.accepts("absent", garbage)
    assert not tokens.accepts("lake", tokens.current("lake").get_secret_value() + garbage) or garbage == ""


def test_the_one_before_a_rotation_is_good_until_the_next(tokens: Tokens, folder: Folder) -> None:
    first = tokens.current("lake").get_secret_value()
    tokens.rotate()
    second = _written(folder, "lake")
    assert second != first
    assert second == tokens.current("lake").get_secret_value()
    assert tokens.accepts("lake", first)
    assert tokens.accepts("lake", second)
    assert not tokens.accepts("orders", first)
    tokens.rotate()
    assert not tokens.accepts("lake", first)
    assert tokens.accepts("lake", second)
    assert tokens.accepts("lake", _written(folder, "lake"))


def test_both_are_compared_whichever_it_is(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.rotate()
    compared = []
    real = hmac.compare_digest

    def counting(first: bytes, second: bytes) -> bool:
        compared.append(second)
        return real(first, second)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    for presented in (tokens.current("lake").get_secret_value(), "x"):
        compared.clear()
        tokens.accepts("lake", presented)
        assert len(compared) == 2


def test_a_token_opens_before_a_reader_can_find_it(tokens: Tokens, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Folder.write

    def write(self: Folder, name: str, content: bytes, *, group_readable: bool) -> None:
        real(self, name, content, group_readable=group_readable)
        assert tokens.accepts(name.removesuffix(".token"), _written(folder, name.removesuffix(".token")))

    monkeypatch.setattr(Folder, "write", write)
    tokens.rotate()


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_where_a_file_cannot_be_written_every_token_stays_good(
    failing: int, tokens: Tokens, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("lake", "orders", "status")
    before = {name: tokens.current(name).get_secret_value() for name in names}
    real, calls = Folder.write, iter(range(10))

    def write(self: Folder, name: str, content: bytes, *, group_readable: bool) -> None:
        if next(calls) == failing:
            raise ConfigurationError("no space left on device")
        real(self, name, content, group_readable=group_readable)

    monkeypatch.setattr(Folder, "write", write)
    with pytest.raises(ConfigurationError, match="no space left"):
        tokens.rotate()
    for name in names:
        assert tokens.accepts(name, before[name])
        assert tokens.accepts(name, _written(folder, name))


def test_a_reload_keeps_what_stays_and_drops_the_rest(tokens: Tokens, folder: Folder) -> None:
    tokens.rotate()
    kept, dropped = tokens.current("lake").get_secret_value(), tokens.current("orders").get_secret_value()
    tokens.keep(["lake", "added", "status"])
    assert _files(folder) == ["added.token", "lake.token", "status.token"]
    assert tokens.accepts("lake", kept)
    assert tokens.accepts("added", _written(folder, "added"))
    assert not tokens.accepts("orders", dropped)
    tokens.keep(["orders"])
    assert not tokens.accepts("orders", dropped)


def test_closed_they_open_nothing_and_are_gone(tokens: Tokens, folder: Folder) -> None:
    token = tokens.current("lake").get_secret_value()
    tokens.close()
    tokens.close()
    assert not tokens.accepts("lake", token)
    assert _files(folder) == []


def test_they_show_nothing(tokens: Tokens) -> None:
    tokens.rotate()
    shown = f"{tokens!r} {tokens} {vars(tokens)!r} {tokens.current('lake')!r}"
    for name in ("lake", "orders", "status"):
        assert all(token.get_secret_value() not in shown for token in tokens._tokens[name])


def test_an_error_keeps_no_token_in_its_frames(tokens: Tokens, folder: Folder) -> None:
    folder.close()
    before = tokens.current("lake").get_secret_value()
    with pytest.raises(ConfigurationError) as caught:
        tokens.rotate()
    shown = repr([entry.frame.f_locals for entry in caught.traceback[2:]])
    assert before not in shown
    assert "b'" not in shown  # nor the new one, as bytes on their way to the file
