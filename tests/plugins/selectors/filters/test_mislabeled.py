"""The filter of mislabeled rows: ranks, votes, missing scores, reasons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.rank_ensemble import ranks_by_score, worst_first
from curate.plugins.batches import Pool
from curate.plugins.selectors.filters.mislabeled import Mislabeled, mislabeled


def pool(**scores):
    values = {name: np.array(score, np.float32) for name, score in scores.items()}
    n = len(next(iter(values.values())))
    better = {name: not name.startswith("lower") for name in scores}
    return Pool(np.zeros((n, 0), np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32), values, better)


def dropped(plugin, rows):
    selection = plugin.select(rows, None, np.random.default_rng(0)).check(len(rows), None)
    missing = np.setdiff1d(np.arange(len(rows)), selection.indices)
    return missing.tolist(), [selection.reasons[code] for code in selection.reason[missing]]


@given(seed=st.integers(0, 1 << 32), k=st.integers(1, 4), levels=st.integers(1, 20))
def test_ranks_are_the_mean_position_over_all_orders_of_equal_values(seed, k, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (k, 12)).astype(np.float32)
    scores[rng.random((k, 12)) < 0.1] = np.nan
    ranks = ranks_by_score(list(scores))
    ranked = ~np.isnan(scores).any(axis=0)
    for row, score in zip(ranks, scores, strict=True):
        values = score[ranked]
        expected = [(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values]
        assert row[ranked].tolist() == expected
    assert np.isnan(ranks[:, ~ranked]).all()
    order = worst_first(ranks)
    assert sorted(order.tolist()) == np.flatnonzero(ranked).tolist()
    assert order.tolist() == sorted(order.tolist(), key=lambda row: (ranks[:, row].mean(), row))


def test_scores_count_in_the_direction_in_which_they_are_better():
    rows = pool(margin=[1, 2, 3, 4], lower=[1, 2, 3, 4])
    assert dropped(Mislabeled(by=("margin",), drop_rows=1), rows)[0] == [0]
    assert dropped(Mislabeled(by=("lower",), drop_rows=1), rows)[0] == [3]
    assert dropped(Mislabeled(by=("-margin",), drop_rows=1), rows)[0] == [3]
    assert dropped(Mislabeled(by=("-lower",), drop_rows=1), rows)[0] == [0]
    assert dropped(Mislabeled(by=("margin", "lower"), drop_rows=1), rows)[0] == [0]  # all tie: the lowest row


def test_a_row_without_a_score_is_never_dropped():
    rows = pool(a=[np.nan, 1, 2, 3], b=[0, 1, np.nan, 3])
    assert dropped(Mislabeled(by=("a", "b"), drop_rate=1.0), rows)[0] == [1, 3]
    assert dropped(Mislabeled(by=("a", "b"), drop_rate=0.5), rows)[0] == [1]
    assert dropped(Mislabeled(by=("a", "b"), drop_rows=99, min_votes=1), rows)[0] == [1, 3]


def test_votes_need_that_many_scores():
    a, b, c = [0, 1, 9, 9, 9, 9], [0, 9, 1, 9, 9, 9], [0, 9, 9, 1, 9, 9]
    rows = pool(a=a, b=b, c=c)
    assert dropped(Mislabeled(by=("a", "b", "c"), drop_rows=2, min_votes=3), rows)[0] == [0]
    assert dropped(Mislabeled(by=("a", "b", "c"), drop_rows=2, min_votes=1), rows)[0] == [0, 1, 2, 3]


def test_a_score_of_two_values_votes_for_all_its_low_rows_or_for_none():
    rows = pool(flag=[0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    assert dropped(Mislabeled(by=("flag",), drop_rows=3, min_votes=1), rows)[0] == [0, 1, 2, 3]
    assert dropped(Mislabeled(by=("flag",), drop_rows=2, min_votes=1), rows)[0] == []


def test_reasons_name_the_ranks():
    rows = pool(a=np.arange(200), lower=np.arange(200))
    _, reasons = dropped(Mislabeled(by=("a", "-lower"), drop_rows=5), rows)
    assert reasons[0] == "label probably wrong: in the worst 0.5 % by a, 0.5 % by lower"
    assert reasons[-1] == "label probably wrong: in the worst 5 % by a, 5 % by lower"


def test_no_rows_and_nothing_to_drop():
    assert mislabeled([np.empty(0, np.float32)], rate=1.0)[0].tolist() == []
    assert dropped(Mislabeled(by=("a",), drop_rate=0.0), pool(a=[1, 2]))[0] == []
    assert dropped(Mislabeled(by=("a",), drop_rate=1.0), pool(a=[np.nan, np.nan]))[0] == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"by": ("a",)}, "either drop_rate or drop_rows"),
        ({"by": ("a",), "drop_rate": 0.1, "drop_rows": 1}, "either drop_rate or drop_rows"),
        ({"by": ("a", "-a"), "drop_rows": 1}, "listed twice"),
        ({"by": ("a",), "drop_rows": 1, "min_votes": 2}, "only 1 scores"),
    ],
)
def test_options_that_contradict_each_other(fields, message):
    with pytest.raises(ValueError, match=message):
        Mislabeled(**fields)
