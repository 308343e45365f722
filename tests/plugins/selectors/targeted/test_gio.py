from __future__ import annotations

import numpy as np
import pytest

from curate.errors import DataError
from curate.kernels.linalg.cosines import normalize_rows
from curate.plugins.batches import Pool, TargetRows
from curate.plugins.selectors.targeted.gio import GIO
from curate.plugins.selectors.targeted.gio_ratio import GIORatio


def vectors(n, center, seed, spread=0.3):
    return normalize_rows(np.random.default_rng(seed).standard_normal((n, 4)) * spread + center)


def select(plugin, x, targets, budget):
    m = len(targets)
    target = TargetRows(targets, np.full(m, -1, np.int32), np.zeros(m, np.int32))
    pool = Pool(x, np.zeros(len(x), np.float32), np.zeros(len(x), np.int32), target=target)
    return plugin.select(pool, budget, np.random.default_rng(0)).check(len(x), budget)


E = np.eye(4)
POOL = np.concatenate([vectors(80, E[0], 0), vectors(80, E[1], 1), vectors(80, -E[0], 2)])


@pytest.mark.parametrize("rule", ["all", "nearest"])
@pytest.mark.parametrize("start", ["mean", "previous", "random"])
def test_rows_like_the_target_are_added(rule, start):
    selection = select(GIO(rule=rule, start=start), POOL, vectors(30, E[1], 3), 40)
    assert (selection.indices // 80 == 1).mean() > 0.9


def test_clusters_are_added_completely_but_for_the_last():
    plugin = GIO(n_clusters=12)
    larger = select(plugin, POOL, vectors(30, E[1], 3), 60)
    smaller = select(plugin, POOL, vectors(30, E[1], 3), 35)
    assert larger.indices[:35].tolist() == smaller.indices.tolist()
    assert len(np.unique(larger.gain)) < 12
    assert (larger.indices // 80 == 1).mean() > 0.9


@pytest.mark.parametrize("budget", [0, 1, 240])
def test_any_budget(budget):
    assert len(select(GIO(n_clusters=20), POOL, vectors(9, E[1], 4), budget).indices) == budget


def test_a_target_larger_than_the_pool_and_equal_to_it():
    assert len(select(GIO(), POOL[:10], vectors(300, E[1], 5), 7).indices) == 7
    assert len(select(GIO(rule="nearest"), POOL[:30], POOL[:30], 30).indices) == 30


@pytest.mark.parametrize("plugin", [GIO(), GIORatio()])
def test_one_distinct_target_row(plugin):
    with pytest.raises(DataError, match=r"1 distinct row, .*rds_plus"):
        select(plugin, POOL, np.repeat(vectors(1, E[1], 6), 3, axis=0), None if isinstance(plugin, GIORatio) else 5)


def test_stopping_rules():
    targets = vectors(30, E[1], 7)
    by_increase = select(GIORatio(rule="nearest"), POOL, targets, None)
    assert (by_increase.gain >= 0).all()
    assert 0 < len(by_increase.indices) < 100
    patient = select(GIORatio(rule="nearest", stop="max_increases", max_increases=4), POOL, targets, None)
    assert len(patient.indices) >= len(by_increase.indices)
    assert patient.gain[-1] >= 0
    assert (select(GIORatio(stop="min_difference", min_difference=0.01), POOL, targets, None).gain >= 0.01).all()
    few = select(GIORatio(stop="min_divergence", min_divergence=900.0), POOL, targets, None)
    assert len(few.indices) == 0
    assert len(select(GIORatio(max_clusters=7), POOL, targets, None).indices) == 7
