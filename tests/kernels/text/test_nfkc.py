"""Normalization agrees with Python's, and is fast on inputs where Python's takes hours."""

from __future__ import annotations

import unicodedata
from sys import maxunicode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.nfkc import normalize_nfkc

MARKS = "\u0300\u0316\u0344\u0f73\u0f81\uff9e\u3099\u05b0"
"""Above, below, of several, and such that only normalizing makes marks."""


@given(st.lists(st.sampled_from([*"aéガｶ\u1100\u1161 ", "가", MARKS, MARKS * 5, *MARKS]), max_size=20))
def test_same_as_python(pieces):
    text = "".join(pieces)
    assert normalize_nfkc(text) == unicodedata.normalize("NFKC", text)


@pytest.mark.slow
@pytest.mark.parametrize("marks", ["\u0300\u0316", "\u0f73", "\uff9e\u0300"])
def test_a_million_marks_on_one_letter_are_no_bomb(marks):
    result = normalize_nfkc("Z" + marks * 500_000 + "\u0327")
    ordered = list(map(unicodedata.combining, result[1:]))
    assert ordered == sorted(ordered)


def test_what_begins_with_a_mark_is_nothing_but_marks():
    for one in map(chr, range(maxunicode + 1)):
        parts = list(map(unicodedata.combining, unicodedata.normalize("NFKD", one)))
        assert all(parts) or not parts[0]
