"""Shingles agree with brute force, hashed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.shingles import UNSPACED_SCRIPTS, hash_shingles

letters = st.text(st.sampled_from("abAB \t\n\u3000.\0é你ทか\ud800🎉ßİ"), max_size=30)
texts = st.lists(letters | st.text(max_size=30), max_size=6)


def slow_shingles(text, length, unit):
    """Reference implementation of the definition in the docstring."""
    if unit == "word":
        text = "".join(
            f" {c} " if any(a <= ord(c) <= b for a, b in UNSPACED_SCRIPTS) and not c.isspace() else c for c in text
        )
        tokens = text.split()
    else:
        tokens = list(text)
    return [tuple(tokens[i : i + length]) for i in range(max(1, len(tokens) - length + 1))]


@given(texts, st.integers(1, 6), st.sampled_from(["word", "character"]))
def test_equal_hashes_are_equal_reference_shingles(sample, length, unit):
    hashes, offsets = hash_shingles(sample, length, unit)
    slow = [slow_shingles(text, length, unit) for text in sample]
    assert np.diff(offsets).tolist() == [len(some) for some in slow]
    flat = [one for some in slow for one in some]
    meaning = dict(zip(hashes.tolist(), flat, strict=True))
    assert [meaning[value] for value in hashes.tolist()] == flat
    assert len(meaning) == len(set(flat))


@given(texts, st.sampled_from(["word", "character"]))
def test_a_text_has_the_same_hashes_alone_and_among_others(sample, unit):
    """Texts in ASCII and other texts, which take another code path, give the same result."""
    hashes, offsets = hash_shingles(["plain", *sample, "café 你"], 2, unit)
    for i, text in enumerate(sample, 1):
        assert hashes[offsets[i] : offsets[i + 1]].tolist() == hash_shingles([text], 2, unit)[0].tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a" * 16, "a" * 17),
        ("12345678abcdefgh", "abcdefgh12345678"),
        ("12345678", "12345678\0"),
        ("12345678abcdefgh12345678x", "12345678abcdefgh12345678y"),
    ],
)
def test_long_words_are_read_to_their_ends_and_in_order(one, other):
    hashes, _ = hash_shingles([one, other], 1, "word")
    assert hashes[0] != hashes[1]


def test_scripts_without_spaces_are_split_into_characters_and_korean_into_words():
    assert np.diff(hash_shingles(["这是一个测试文本", "これはペンです", "ภาษาไทย"], 5, "word")[1]).tolist() == [4, 3, 3]
    assert np.diff(hash_shingles(["안녕하세요 세계 여러분"], 2, "word")[1]).tolist() == [2]
    chinese, mixed = (hash_shingles([text], 2, "word")[0] for text in ("你好吗", "say 你好吗 now"))
    assert np.isin(chinese, mixed).all()


def test_right_to_left_words_are_words():
    hashes, offsets = hash_shingles(["שלום עולם טוב", "שלום  עולם\nטוב"], 2, "word")
    assert offsets.tolist() == [0, 2, 4]
    assert hashes[:2].tolist() == hashes[2:].tolist()
