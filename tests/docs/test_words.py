"""The lint step for words finds what it is meant to find, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PAGE = Path(__file__).with_name("words.py")
spec = importlib.util.spec_from_file_location("words", PAGE)
assert spec is not None
assert spec.loader is not None
words = importlib.util.module_from_spec(spec)
spec.loader.exec_module(words)


@pytest.mark.parametrize(
    "text",
    [
        *("what is told", "was_told_by", "TOLD", "row_beside", "stands for", "stands\nfor", "set_aside", "is gone"),
        *("Neighbours", "n_neighbours", "recentred", "normalised_words", "tokeniser", "mislabelled", "of its own"),
    ],
)
def test_a_word_is_found_in_prose_and_in_identifiers(text):
    assert [line for line, _ in words.find_words(f"x\n{text}")] == [2]


@pytest.mark.parametrize(
    "text", ["toldya", "besides", "wholesale", "amend", "neighbor", "otherwise", "analyses", "size"]
)
def test_a_longer_word_is_not_found(text):
    assert not list(words.find_words(text))


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ('def f():\n    """The sum."""', 1),
        ('def f():\n    """Return the sum."""', 0),
        ('class A:\n    @property\n    def f(self):\n        """The sum."""', 0),
        ('class A:\n    """What it is."""', 1),
        ('class A:\n    x: int\n    """How many rows."""', 1),
        ('class A:\n    x: bool\n    """Whether it is."""', 0),
        ('x = 1\n"""Of the set."""', 1),
        ('"""Where it is."""', 1),
    ],
)
def test_openings_of_docstrings(code, count):
    assert len(list(words.find_openings(code))) == count
