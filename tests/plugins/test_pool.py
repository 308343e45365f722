"""Selections that break their promises are refused, and what an epoch plan makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import PluginError
from curate.plugins.pool import Selection


def rows(*numbers):
    return np.array(numbers, np.intp)


def plan(*epochs):
    return Selection.planned(epochs, np.arange(9, dtype=np.float32), ("in no epoch",))


def test_a_plan_keeps_every_row_of_it_by_first_use_weighted_by_its_epochs():
    selection = plan(rows(4, 2), rows(2, 7)).check(9, 2)
    assert selection.order.tolist() == [4, 2, 7]
    assert selection.gain.tolist() == [4, 2, 7]
    assert selection.weight.tolist() == [1, 2, 1]
    assert plan(rows(), rows()).check(9, 0).order.tolist() == []


def test_a_plan_of_one_epoch_is_an_ordinary_selection():
    selection = plan(rows(4, 2)).check(9, 2)
    assert selection.order.tolist() == [4, 2]
    assert selection.gain.tolist() == [4, 2]
    assert selection.weight is None
    assert selection.epochs is None


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (plan(rows(4, 2), rows(7)), "1 rows in epoch 1, the budget of each is 2"),
        (plan(rows(4, 4), rows(4, 2)), "a row is twice in epoch 0"),
        (Selection(rows(4, 3), np.ones(2, np.float32), epochs=(rows(4, 2),)), "not those of the epochs"),
        (Selection(rows(4), np.ones(1, np.float32)), "1 rows chosen, the budget is 2"),
        (Selection(rows(4, 4), np.ones(2, np.float32)), "chosen twice"),
        (Selection(rows(4, 9), np.ones(2, np.float32)), "outside 0..8"),
        (Selection(rows(4, 8), np.ones(3, np.float32)), "gain has shape"),
    ],
)
def test_a_broken_selection_is_refused(selection, message):
    with pytest.raises(PluginError, match=message):
        selection.check(9, 2)
