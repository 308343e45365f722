"""Rows of repeated spans are dropped only if the rows with the same spans are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.word_tokens import split_words
from curate.kernels.types import Texts
from curate.plugins.batches import Pool
from curate.plugins.selectors.duplicates.repeated_spans import RepeatedSpans, repeated_spans


def run(texts, *, quality=None, min_words=3, min_repeated_rate=0.8, block=2):
    quality = np.zeros(len(texts)) if quality is None else np.asarray(quality)
    source = Texts.from_list(texts, block=block)
    return repeated_spans(source, quality.astype(np.float32), min_words=min_words, min_repeated_rate=min_repeated_rate)


def stands(texts, **fields):
    return run(texts, **fields)[0].tolist()


def select(texts, quality=None, **fields):
    n = len(texts)
    quality = np.zeros(n, np.float32) if quality is None else np.array(quality, np.float32)
    pool = Pool(np.zeros((n, 0), np.float32), quality, np.zeros(n, np.int32), texts=Texts.from_list(texts))
    return RepeatedSpans(**fields).select(pool, None, np.random.default_rng(0))


def numbered(*ranges):
    return " ".join(f"w{word}" for first, last in ranges for word in range(first, last))


# ---------------------------------------------------------------- which are dropped


def slow(texts, quality, min_words, min_repeated_rate):
    """Reference implementation of the docstring, word by word."""
    holder: dict[tuple[str, ...], int] = {}
    representative, repeated = [-1] * len(texts), [0.0] * len(texts)
    for row in sorted(range(len(texts)), key=lambda row: (-quality[row], row)):
        own = split_words(texts[row])
        windows = [tuple(own[i : i + min_words]) for i in range(len(own) - min_words + 1)]
        owed = {}
        for start, window in enumerate(windows):
            if window in holder:
                owed |= dict.fromkeys(range(start, start + min_words), holder[window])
        repeated[row] = len(owed) / max(1, len(own))
        if repeated[row] >= min_repeated_rate:
            rows = sorted(owed.values())
            representative[row] = max(sorted(set(rows)), key=rows.count)
        else:
            holder = dict.fromkeys(windows, row) | holder
    return representative, repeated


@given(
    st.lists(st.lists(st.sampled_from("aabc你"), max_size=20).map(" ".join), max_size=12),
    st.lists(st.integers(0, 2), min_size=12, max_size=12),
    st.integers(2, 5),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
def test_rows_agree_with_brute_force(texts, quality, min_words, min_repeated_rate):
    quality = quality[: len(texts)]
    representative, repeated = run(texts, quality=quality, min_words=min_words, min_repeated_rate=min_repeated_rate)
    expected = slow(texts, quality, min_words, min_repeated_rate)
    assert representative.tolist() == expected[0]
    np.testing.assert_allclose(repeated, expected[1], rtol=1e-6)
    selection = select(texts, quality, min_words=min_words, min_repeated_rate=min_repeated_rate)
    assert selection.indices.tolist() == [row for row, of in enumerate(expected[0]) if of == -1]
    assert selection.retention.kept()[round(100 * min_repeated_rate)] == len(selection.indices)


def test_a_text_within_a_longer_one_and_one_put_together_from_two_are_dropped():
    texts = [numbered((0, 20)), numbered((20, 50)), numbered((5, 15)), numbered((0, 8), (22, 30), (60, 62))]
    representative, repeated = run(texts)
    assert representative.tolist() == [-1, -1, 0, 0]
    np.testing.assert_allclose(repeated, [0, 0, 1, 16 / 18], rtol=1e-6)


def test_the_representative_shares_most_words():
    texts = [numbered((0, 20)), numbered((20, 50)), numbered((0, 4), (22, 42))]
    assert stands(texts) == [-1, -1, 1]


def test_what_only_a_dropped_row_has_drops_no_other():
    """The second row brings three new words, and the third is made of them."""
    texts = [numbered((0, 20)), numbered((0, 20), (50, 53)), numbered((50, 53))]
    assert stands(texts) == [-1, 0, -1]


def test_a_row_that_repeats_itself_is_kept():
    assert run(["to be or not " * 10])[1].tolist() == [0]


@pytest.mark.parametrize("shared", [49, 50])
@pytest.mark.parametrize("own", [12, 13])
def test_published_lengths_and_rates_are_the_defaults(shared, own):
    """Runs of 50 (Lee et al.), four fifths of a text (Li et al.): 50 words of 62 are above, 50 of 63 below."""
    dropped = len(select([numbered((0, 200)), numbered((0, shared), (300, 300 + own))]).indices) == 1
    assert dropped == (shared == 50 and own == 12)


def test_a_row_at_the_rate_is_dropped():
    assert stands([numbered((0, 20)), numbered((0, 4), (30, 31))]) == [-1, 0]


# ---------------------------------------------------------------- odd texts


@pytest.mark.slow
def test_a_hundred_thousand_identical_documents():
    texts = ["the same document as all the others are"] * 100_000
    representative, repeated = run(texts, block=65_536)
    assert representative.tolist() == [-1] + [0] * 99_999
    assert repeated.tolist() == [0] + [1] * 99_999


def test_pages_of_one_template_with_enough_unique_text_are_kept():
    """They share 40 words; every other page has sixty unique words, and those between have three, which is too few."""
    template = numbered((0, 40))
    texts = [f"{template} {numbered((100 * i, 100 * i + (60 if i % 2 else 3)))}" for i in range(1, 300)]
    result = stands(texts)
    assert result == [-1, *(-1 if i % 2 else 0 for i in range(2, 300))]


def test_short_texts_are_kept_and_those_of_other_scripts_are_taken_apart():
    assert stands(["", "", "yes", "yes", "of two", "of two", "\ud800", "\ud800"]) == [-1] * 8
    chinese = "数据选择是训练语言模型之前的重要步骤"
    hebrew = "בראשית ברא אלהים את השמים ואת הארץ"
    texts = [chinese, f"{chinese}啊", hebrew, f"{hebrew} והארץ", "\ud800 \ud801 a", "\ud800 \ud801 A"]
    assert stands(texts) == [-1, 0, -1, 2, -1, 4]


def test_no_text_at_all():
    assert [part.tolist() for part in run([])] == [[], []]


# ---------------------------------------------------------------- the plugin


def test_selection_has_gain_reason_and_similarity():
    texts = [numbered((0, 20)), numbered((0, 8), (30, 32)), numbered((0, 5), (40, 50)), "other words"]
    selection = select(texts, min_words=4, min_repeated_rate=0.75)
    assert selection.indices.tolist() == [0, 2, 3]
    np.testing.assert_allclose(selection.gain, [1, 10 / 15, 1], rtol=1e-6)
    assert selection.representative.tolist() == [-1, 0, -1, -1]
    np.testing.assert_allclose(selection.similarity, [np.nan, 0.8, np.nan, np.nan], rtol=1e-6)
    assert selection.reasons == ("at least 75 % of its words are in spans of 4 or more words of kept rows",)
    assert [selection.retention.kept()[hundredths] for hundredths in (1, 33, 34, 80, 81)] == [2, 2, 3, 3, 4]


def test_the_best_row_is_kept_or_the_earliest_if_configured():
    texts = [numbered((0, 20)), numbered((0, 21))]
    assert select(texts, [0, 1], min_words=5).indices.tolist() == [1]
    assert select(texts, [0, 1], min_words=5, keep="first").indices.tolist() == [0]
