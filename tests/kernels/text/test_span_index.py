"""Repeated windows agree with a dictionary of every window."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text import span_index
from curate.kernels.text.span_index import (
    WindowHashes,
    find_repeated_spans,
    find_repeated_windows,
    find_spans_with_earlier,
    remove_spans,
)
from curate.kernels.text.word_tokens import split_words, word_spans

texts = st.lists(
    st.lists(st.sampled_from(["a", "a", "A", "bb", "你", "d\0", "\ud800", "longer-than-eight"]), max_size=25).map(
        " ".join
    )
    | st.integers(0, 9).map(lambda times: "x yy " * times),
    max_size=7,
)


def found(sample, length, block=3):
    """Return the texts and word positions of each window; window ids are compared only for equality."""
    windows = find_repeated_windows(lambda: (sample[i : i + block] for i in range(0, len(sample), block)), length)
    assert windows.words.tolist() == [max(1, len(split_words(text))) for text in sample]
    by_number: dict[int, list[tuple[int, int]]] = {}
    for text in range(len(sample)):
        for start, number in zip(*(part.tolist() for part in windows.get(text)), strict=True):
            assert number < windows.n_distinct
            by_number.setdefault(number, []).append((text, start))
    return sorted(by_number.values())


def slow(sample, length):
    by_window: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for text, own in enumerate(split_words(text.lower()) for text in sample):
        for start in range(len(own) - length + 1):
            by_window.setdefault(tuple(own[start : start + length]), []).append((text, start))
    return sorted(positions for positions in by_window.values() if len(positions) > 1)


@given(texts, st.integers(2, 9), st.integers(1, 4))
def test_they_are_those_of_a_dictionary(sample, length, block):
    assert found(sample, length, block) == slow(sample, length)


@given(texts, st.integers(2, 5))
def test_windows_with_one_equal_hash_are_distinguished_by_the_other(sample, length):
    """The first hash has two bits."""
    true = span_index._hash_windows

    def weak(words, places, length, seed):
        hashes = true(words, places, length, seed)
        return hashes & np.uint64(3) if seed == 0 else hashes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(span_index, "_hash_windows", weak)
        assert found(sample, length) == slow(sample, length)


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "passes"), [(40, 33), (4000, 2)])
def test_more_windows_than_fit_in_memory_need_more_passes_and_lose_none(monkeypatch, at_once, passes):
    """One of them stands 60 times, which no range of hashes is without."""
    monkeypatch.setattr(span_index, "_MAX_HASHES", at_once)
    monkeypatch.setattr(span_index, "_CHARACTERS", 50)
    true, fixed, began = span_index._limit_to_two, [], []
    monkeypatch.setattr(span_index, "_limit_to_two", lambda *parts: fixed.append(sum(map(len, parts))) or true(*parts))
    r = np.random.default_rng(0)
    sample = [" ".join(f"w{word}" for word in r.integers(0, 6, 9)) for _ in range(240)] + ["always the same text"] * 60

    def read():
        began.append(1)
        return [sample[:100], [], sample[100:]]

    windows, expected = find_repeated_windows(read, 4), slow(sample, 4)
    assert len(windows.starts) == sum(map(len, expected))
    assert len(np.unique(windows.numbers)) == len(expected)
    assert len(began) == passes
    assert max(fixed) <= at_once + 50


def test_texts_of_at_most_one_word_have_no_window():
    windows = find_repeated_windows(lambda: [["", "", "a", "a", " \n"]], 2)
    assert windows.words.tolist() == [1] * 5
    assert windows.offsets.tolist() == [0] * 6
    assert find_repeated_windows(lambda: [], 2).offsets.tolist() == [0]


def test_a_window_is_within_one_text():
    assert found(["a b", "c a b", "c"], 3) == []


def test_a_text_is_held_against_itself():
    assert found(["a b c a b c a b"], 3) == [[(0, 0), (0, 3)], [(0, 1), (0, 4)], [(0, 2), (0, 5)]]


# ---------------------------------------------------------------- copies


@given(texts, st.integers(2, 5))
def test_repeats_are_removed_and_the_rest_is_kept(sample, length):
    seen: dict[tuple[str, ...], tuple[int, int]] = {}
    removed = [set() for _ in sample]
    for text, own in enumerate(split_words(text.lower()) for text in sample):
        for start in range(len(own) - length + 1):
            where = seen.setdefault(tuple(own[start : start + length]), (text, start))
            if where[0] != text or where[1] + length <= start:
                removed[text] |= set(range(start, start + length))
    runs = list(
        zip(
            *(part.tolist() for part in find_repeated_spans(find_repeated_windows(lambda: [sample], length))),
            strict=True,
        )
    )
    for text, before in enumerate(sample):
        own = [(first, end) for of, first, end in runs if of == text]
        assert {word for run in own for word in range(*run)} == removed[text]
        assert all(one[1] < other[0] for one, other in pairwise(own))
        assert split_words(remove_spans(before, own)) == [
            word for i, word in enumerate(split_words(before)) if i not in removed[text]
        ]


@given(st.text(max_size=60))
def test_word_positions_match_the_windows(text):
    assert max(1, len(word_spans(text))) == find_repeated_windows(lambda: [[text]], 2).words[0]


def test_what_is_left_keeps_its_white_space():
    assert remove_spans(" a  b\n\nc d ", [(0, 1), (2, 3)]) == " b\n\nd "
    assert remove_spans("a  b c\n", [(1, 3)]) == "a  "


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=12).map(" ".join), min_size=1, max_size=12),
    st.lists(st.integers(0, 12), max_size=3),
    st.integers(2, 4),
)
def test_spans_of_divided_texts_are_those_of_all_texts(texts, cuts, length):
    expected = find_repeated_spans(find_repeated_windows(lambda: [texts], length))
    bounds = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    seen, spans = set(), []
    for start, stop in pairwise(bounds):
        windows = WindowHashes.from_texts(lambda part=texts[start:stop]: [part], length)
        pairs = set(zip(windows.first.tolist(), windows.second.tolist(), strict=True))
        earlier = tuple(np.array(part, np.uint64) for part in zip(*sorted(pairs & seen), strict=True))
        text, first, end = find_spans_with_earlier(windows, length, earlier or (np.zeros(0, np.uint64),) * 2)
        spans += zip((text + start).tolist(), first.tolist(), end.tolist(), strict=True)
        seen |= pairs
    assert spans == list(zip(*(part.tolist() for part in expected), strict=True))
