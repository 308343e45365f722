from __future__ import annotations

import numpy as np
import pytest

from curate.errors import DataError
from curate.kernels.linalg.cosines import normalize_rows
from curate.plugins.batches import Pool, TargetRows
from curate.plugins.selectors.targeted.tarot import Tarot
from curate.plugins.selectors.targeted.tarot_ratio import TarotRatio


def vectors(n, d, seed):
    return normalize_rows(np.random.default_rng(seed).standard_normal((n, d)))


def select(plugin, x, targets, budget):
    m = len(targets)
    target = TargetRows(targets, np.full(m, -1, np.int32), np.zeros(m, np.int32))
    pool = Pool(x, np.zeros(len(x), np.float32), np.zeros(len(x), np.int32), target=target)
    return plugin.select(pool, budget, np.random.default_rng(0)).check(len(x), budget)


@pytest.mark.parametrize(
    ("n", "m", "d"), [(30, 1, 4), (3, 50, 4), (20, 5, 40), (1, 1, 2)], ids=["one", "many", "singular", "single"]
)
def test_odd_sizes_give_the_budget(n, m, d):
    x, targets = vectors(n, d, 0), vectors(m, d, 1)
    for budget in {0, 1, n // 2, n}:
        assert len(select(Tarot(), x, targets, budget).indices) == budget
        assert len(select(Tarot(weights=True, last_layer="farthest"), x, targets, budget).indices) == budget


def test_a_target_equal_to_the_pool_selects_each_row_for_itself():
    x = vectors(40, 6, 2)
    assert sorted(select(Tarot(), x, x, 40).indices.tolist()) == list(range(40))
    assert (select(Tarot(), x, x[:10], 10).gain > 0.999).all()


def test_rows_that_are_cheaper_to_transport_have_larger_weights():
    x, targets = vectors(200, 5, 3), vectors(20, 5, 4)
    selection = select(Tarot(weights=True), x, targets, 60)
    assert selection.weight is not None
    assert selection.weight.mean() == pytest.approx(1, rel=1e-5)
    assert selection.weight.min() == 0
    assert np.corrcoef(selection.weight, selection.gain)[0, 1] > 0


def test_the_ratio_depends_on_the_rows_of_the_target_not_on_their_order():
    x, targets = vectors(300, 5, 5), vectors(25, 5, 6)
    selection = select(TarotRatio(), x, targets, None)
    assert 0 < len(selection.indices) < 300
    shuffled = targets[np.random.default_rng(1).permutation(25)]
    assert select(TarotRatio(), x, shuffled, None).indices.tolist() == selection.indices.tolist()


def test_two_target_rows_are_two_folds_and_one_is_an_error():
    x = vectors(30, 4, 7)
    assert len(select(TarotRatio(), x, vectors(2, 4, 8), None).indices) >= 2
    with pytest.raises(DataError, match=r"the target has 1 row, .*use tarot"):
        select(TarotRatio(), x, vectors(1, 4, 8), None)


def test_a_pool_of_copies():
    x = np.repeat(vectors(1, 4, 9), 12, axis=0)
    assert len(select(Tarot(), x, vectors(3, 4, 10), 5).indices) == 5
    assert len(select(TarotRatio(), x, vectors(3, 4, 10), None).indices) <= 12
