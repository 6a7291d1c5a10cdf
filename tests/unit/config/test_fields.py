from __future__ import annotations

from credbroker.config.fields import Field, Fields
from credbroker.config.tree import MAX_DEPTH


def test_each_scalar_has_its_path_and_its_lines() -> None:
    found = [one for one in Fields("a:\n  - b: 1\n    c: |  # why\n      x\n      y\n---\nd: 'e'\n").found if not one.is_key]
    assert found == [
        Field(1, ("a", 0, "b"), 2, 2, "1", plain=True),
        Field(1, ("a", 0, "c"), 3, 5, "x\ny\n", plain=False),
        Field(2, ("d",), 7, 7, "e", plain=False),
    ]
    assert "x" not in repr(found[1]).replace("text", "")


def test_what_is_no_scalar_is_left_with_its_line() -> None:
    fields = Fields("a: &one !two é😀  # three\nb: >  # four\n  five\nc: *one\n")
    left = [line.split() for line in fields.rest]
    assert left == [[":", "&one", "!two", "#", "three"], [":", ">", "#", "four"], [], [":", "*one"], []]
    assert fields.broken_from is None


def test_from_a_fault_on_the_lines_are_whole() -> None:
    text = "a: 1\nb: 2\nc: 'three\n"
    fields = Fields(text)
    assert fields.broken_from is not None
    assert fields.rest[fields.broken_from - 1 :] == text.split("\n")[fields.broken_from - 1 :]
    assert all(one.last < fields.broken_from for one in fields.found)


def test_what_is_nested_too_deep_is_read_as_no_yaml() -> None:
    assert Fields("[" * MAX_DEPTH + "]" * MAX_DEPTH).broken_from is None
    assert Fields("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)).broken_from == 1


def test_an_alias_is_not_expanded() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert [one.text for one in Fields(bomb).found if not one.is_key] == ["x", "x"]
