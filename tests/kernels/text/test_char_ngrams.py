"""Trigrams and their hashes."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.char_ngrams import WHITE_SPACE, signed_hashing, text_blocks, text_of_each, trigrams

texts = st.lists(st.text(), max_size=8)


def slow_trigrams(text):
    """Reference implementation."""
    plain = f" {''.join(' ' if c.isspace() else c for c in text.lower())} "
    return [plain[i - 1 : i + 2] for i in range(1, len(plain) - 1) if plain[i] != " "]


def spelled(grams):
    return ["".join(chr(int(gram) >> shift & 0x1FFFFF) for shift in (42, 21, 0)) for gram in grams]


@given(texts)
def test_trigrams_agree_with_brute_force(sample):
    grams, offsets = trigrams(sample)
    assert len(offsets) == len(sample) + 1
    for i, text in enumerate(sample):
        assert spelled(grams[offsets[i] : offsets[i + 1]]) == slow_trigrams(text)


def test_white_space_is_what_python_calls_so():
    listed = {code for first, last in WHITE_SPACE for code in range(first, last + 1)}
    assert listed == {code for code in range(0x110000) if chr(code).isspace()}


@pytest.mark.parametrize(
    "text", ["!", "\0", "🎉", "\u200b", "你", "\ud800", "İ", unicodedata.lookup("COMBINING ACUTE ACCENT")]
)
def test_only_a_blank_text_has_no_trigram(text):
    assert len(trigrams([text])[0]) >= 1


def test_trigrams_do_not_reach_into_the_next_text():
    grams, offsets = trigrams(["ab", "cd"])
    assert spelled(grams) == [" ab", "ab ", " cd", "cd "]
    assert text_of_each(offsets).tolist() == [0, 0, 1, 1]


@given(texts, st.integers(1, 40))
def test_blocks_cover_all_texts_in_order_and_stay_small(sample, characters):
    blocks = list(text_blocks(sample, characters))
    assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(len(sample)))
    for block in blocks:
        assert block.stop - block.start == 1 or sum(map(len, sample[block])) <= characters


@given(texts, st.integers(1, 5))
def test_only_a_blank_text_hashes_to_zero_even_where_signs_cancel_out(sample, dimensions):
    rows = signed_hashing(*trigrams(sample), dimensions)
    assert rows.shape == (len(sample), dimensions)
    assert rows.any(axis=1).tolist() == [bool(text.strip()) for text in sample]


def test_signs_that_cancel_out_are_left_off():
    both = next(
        pair
        for pair in (f"{chr(a)} {chr(b)}" for a in range(97, 123) for b in range(a, 123))
        if sum(signed_hashing(*trigrams([letter]), 1)[0, 0] for letter in pair.split()) == 0
    )
    assert signed_hashing(*trigrams([both]), 1).tolist() == [[2.0]]


def test_inner_products_of_hashes_are_those_of_the_counts_on_average():
    """Two texts share four of their six trigrams; 2,000 pairs of them in other letters."""
    rng = np.random.default_rng(0)
    letters = [rng.permutation(500) + 0x4E00 for _ in range(2_000)]
    first = ["".join(map(chr, word[:6])) for word in letters]
    second = ["".join(map(chr, [*word[:5], word[6]])) for word in letters]
    a, b = (signed_hashing(*trigrams(sample), 64) for sample in (first, second))
    products = (a * b).sum(axis=1)
    assert abs(products.mean() - 4) < 4 * products.std() / np.sqrt(len(products))


def test_hashes_are_the_same_in_a_process_with_another_hash_seed():
    call = "signed_hashing(*trigrams(['Some text', 'größer 你好']), 16).tolist()"
    program = f"from curate.kernels.text.char_ngrams import *; print({call})"
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert runs == {f"{signed_hashing(*trigrams(['Some text', 'größer 你好']), 16).tolist()}\n"}
