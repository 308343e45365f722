from __future__ import annotations

import numpy as np
import pytest

from curate.errors import DataError
from curate.kernels.types import Texts
from curate.plugins.batches import Pool, TargetRows
from curate.plugins.selectors.targeted.cynical import Cynical


def select(texts, targets, budget, **fields):
    n, m = len(texts), len(targets)
    target = TargetRows(np.zeros((m, 0), np.float32), np.full(m, -1, np.int32), np.zeros(m, np.int32), tuple(targets))
    pool = Pool(
        np.zeros((n, 0), np.float32),
        np.zeros(n, np.float32),
        np.zeros(n, np.int32),
        texts=Texts.from_list(texts, block=3),
        target=target,
    )
    return Cynical(**fields).select(pool, budget, np.random.default_rng(0))


def test_words_that_the_selection_lacks_come_before_more_of_the_same():
    texts = ["alpha alpha", "Alpha, alpha", "beta beta", "gamma delta", "unrelated words only here"]
    chosen = select(texts, ["alpha alpha beta"], 2, smoothing=1).indices.tolist()
    assert chosen == [0, 2]


def test_gains_turn_negative_when_rows_only_dilute():
    selection = select(["beta", "noise noise", "more noise here"], ["alpha", "beta beta"], 3, smoothing=1)
    assert selection.indices[0] == 0
    assert (selection.gain > 0).tolist() == [True, False, False]


@pytest.mark.parametrize("budget", [0, 1, 4])
def test_rows_without_words_of_the_target_and_one_target_row(budget):
    assert len(select(["x", "y y", "", " \n"], ["alpha"], budget).indices) == budget


def test_target_without_words():
    with pytest.raises(DataError, match="no words"):
        select(["x"], ["", " "], 1)


def test_a_target_larger_than_the_pool():
    targets = [f"word{i} word{i % 7}" for i in range(500)]
    assert sorted(select(targets[:5], targets, 5).indices.tolist()) == [0, 1, 2, 3, 4]
