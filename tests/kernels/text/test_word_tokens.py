"""Words agree with brute force, and equal ids are equal words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.shingles import hash_shingles
from curate.kernels.text.word_tokens import number_words, split_words

texts = st.text(st.sampled_from("aB. \t\n\u3000\0é你ทか、\ud800🎉\x1c"), max_size=30) | st.text(max_size=30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(" Don't  stop,\nnow. ", ["Don't", "stop,", "now."], id="white-space"),
        pytest.param("", [], id="empty"),
        pytest.param(" \n\u3000", [], id="blank"),
        pytest.param("café\u00a0au\u2003lait", ["café", "au", "lait"], id="white-space-beyond-ascii"),
        pytest.param("say 你好。now", ["say", "你", "好", "。", "now"], id="characters-of-a-script-without-blanks"),
        pytest.param("안녕 세계", ["안녕", "세계"], id="korean"),
        pytest.param("שלום, עולם", ["שלום,", "עולם"], id="right-to-left"),
        pytest.param("\ud800\udc00 a\0b", ["\ud800\udc00", "a\0b"], id="lone-surrogates-and-nul"),
    ],
)
def test_words(text, expected):
    assert split_words(text) == expected


@given(st.lists(texts, max_size=5))
def test_there_are_as_many_words_as_shingles_of_one_word(sample):
    """The two read texts in different ways, and must agree on what a word is."""
    expected = np.diff(hash_shingles(sample, 1, "word")[1]).tolist()
    assert [max(1, len(split_words(text))) for text in sample] == expected


@given(st.lists(texts, max_size=5))
def test_equal_numbers_are_equal_words_of_one_text(sample):
    numbers, characters, offsets = number_words(sample)
    flat = [(row, word) for row, text in enumerate(sample) for word in split_words(text)]
    assert np.diff(offsets).tolist() == [len(split_words(text)) for text in sample]
    assert characters.tolist() == [len(word) for _, word in flat]
    assert len(set(zip(numbers.tolist(), flat, strict=True))) == len(set(flat)) == len(set(numbers.tolist()))
    assert all(0 <= number < len(flat) for number in numbers.tolist())
