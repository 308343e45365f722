"""Repeated n-grams agree with a count of every n-gram."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.ngrams import repeated_ngrams, repetition_rates
from curate.kernels.text.word_tokens import number_words, split_words

LENGTHS = (2, 3, 4, 5, 6, 7, 8, 9, 10)
texts = st.lists(
    st.lists(st.sampled_from(["a", "a", "bb", "ccc", "你", "d\0"]), max_size=40).map(" ".join)
    | st.integers(0, 40).map(lambda times: "x yy " * times),
    max_size=4,
)


def slow(text, n):
    """Return the positions of each n-gram of a text, in reading order."""
    tokens = split_words(text)
    result: dict[tuple[str, ...], list[int]] = {}
    for position in range(len(tokens) - n + 1):
        result.setdefault(tuple(tokens[position : position + n]), []).append(position)
    return result


def slow_rate(text, places, n):
    tokens = split_words(text)
    within = {position + further for position in places for further in range(n)}
    return sum(len(tokens[position]) for position in within) / max(1, sum(map(len, tokens)))


def slow_top(text, n):
    several = {gram: positions for gram, positions in slow(text, n).items() if len(positions) > 1}
    if not several:
        return 0
    best = max(several, key=lambda gram: (len(several[gram]), sum(map(len, gram)), -several[gram][0]))
    return slow_rate(text, several[best], n)


def slow_duplicate(text, n):
    return slow_rate(text, [position for positions in slow(text, n).values() for position in positions[1:]], n)


@given(texts)
def test_both_rates_are_those_of_counting_every_ngram(sample):
    top, duplicate = repetition_rates(*number_words(sample), top_sizes=LENGTHS, duplicate_sizes=LENGTHS)
    for n in LENGTHS:
        assert top[n].tolist() == [slow_top(text, n) for text in sample]
        assert duplicate[n].tolist() == [slow_duplicate(text, n) for text in sample]


@given(texts)
def test_the_ngrams_found_are_all_that_a_text_has_twice_and_no_other(sample):
    numbers, _, offsets = number_words(sample)
    for n, positions, grams in repeated_ngrams(numbers, 6):
        expected = sorted(
            offsets[row] + position
            for row, text in enumerate(sample)
            for some in slow(text, n).values()
            for position in some
            if len(some) > 1
        )
        assert positions.tolist() == expected
        meanings = {
            (gram, tuple(numbers[position : position + n])) for position, gram in zip(positions, grams, strict=True)
        }
        assert max(Counter(gram for gram, _ in meanings).values(), default=1) == 1
        assert len(meanings) == len({meaning for _, meaning in meanings})


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        pytest.param("a b c a b d", 4 / 6, id="plain"),
        pytest.param("a b c d e f", 0, id="once-is-not-frequent"),
        pytest.param("a a a a x", 4 / 5, id="overlapping-itself-each-character-once"),
        pytest.param("a b - cccc d - a b + cccc d", 10 / 17, id="the-longest-of-equally-frequent"),
        pytest.param("aa b - c dd - aa b + c dd", 6 / 15, id="of-equally-long-ones-the-first"),
    ],
)
def test_the_most_frequent_2gram(text, rate):
    assert repetition_rates(*number_words([text]), top_sizes=[2], duplicate_sizes=[])[0][2].tolist() == [rate]


def test_ngrams_do_not_reach_from_a_text_into_the_next():
    """Two pairs of neighbors, in which the end of one and the start of the next are the same."""
    top, duplicate = repetition_rates(
        *number_words(["x a", "b y", "", "z a", "b w"]), top_sizes=[2], duplicate_sizes=[2]
    )
    assert not top[2].any()
    assert not duplicate[2].any()


def test_only_the_requested_lengths_are_returned():
    top, duplicate = repetition_rates(*number_words(["a a a a"]), top_sizes=[3], duplicate_sizes=[])
    assert list(top) == [3]
    assert duplicate == {}


def test_no_texts():
    top, duplicate = repetition_rates(*number_words([]), top_sizes=[2], duplicate_sizes=[5])
    assert top[2].shape == duplicate[5].shape == (0,)
    assert top[2].dtype == duplicate[5].dtype == np.float64
