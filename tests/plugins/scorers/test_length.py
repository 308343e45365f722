"""Length in characters and words."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.length import Length, lengths


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]))))
def test_lengths_are_those_python_counts(texts):
    expected = [[len(text), len(re.findall(r"\S+", text))] for text in texts]
    np.testing.assert_array_equal(lengths(texts), np.array(expected, np.float32).reshape(len(texts), 2))


@pytest.mark.parametrize(
    ("text", "characters", "words"),
    [
        ("", 0, 0),
        (" \n\t", 3, 0),
        ("你好世界", 4, 1),
        ("👩‍🚀 👍🏽", 6, 2),
        ("one  two\nthree", 14, 3),
        ("a" * 3_000_001, 3_000_001, 1),
    ],
    ids=["empty", "blank", "Chinese", "emoji of several code points", "three words", "very long"],
)
def test_length_of(text, characters, words):
    assert Length().score(ScoreBatch(texts=[text]), np.random.default_rng(0)).tolist() == [[characters, words]]
