"""Invalid selections are refused, and epoch plans are built from valid ones."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.types import Texts
from curate.plugins.batches import Pool
from curate.plugins.results import Selection


def rows(*numbers):
    return np.array(numbers, np.intp)


def plan(*epochs):
    return Selection.from_epochs(epochs, np.arange(9, dtype=np.float32), ("in no epoch",))


def test_a_plan_keeps_every_row_of_it_by_first_use_weighted_by_its_epochs():
    selection = plan(rows(4, 2), rows(2, 7)).check(9, 2)
    assert selection.indices.tolist() == [4, 2, 7]
    assert selection.gain.tolist() == [4, 2, 7]
    assert selection.weight.tolist() == [1, 2, 1]
    assert plan(rows(), rows()).check(9, 0).indices.tolist() == []


def test_a_plan_of_one_epoch_is_an_ordinary_selection():
    selection = plan(rows(4, 2)).check(9, 2)
    assert selection.indices.tolist() == [4, 2]
    assert selection.gain.tolist() == [4, 2]
    assert selection.weight is None
    assert selection.epochs is None


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (plan(rows(4, 2), rows(7)), "1 rows in epoch 1, expected 2 \\(the budget\\)"),
        (plan(rows(4, 4), rows(4, 2)), "a row occurs twice in epoch 0"),
        (Selection(rows(4, 3), np.ones(2, np.float32), epochs=(rows(4, 2),)), "are not the rows of the epochs"),
        (Selection(rows(4), np.ones(1, np.float32)), "1 rows selected, expected 2 \\(the budget\\)"),
        (Selection(rows(4, 4), np.ones(2, np.float32)), "selected twice"),
        (Selection(rows(4, 9), np.ones(2, np.float32)), "outside 0..8"),
        (Selection(rows(4, 8), np.ones(3, np.float32)), "gain has shape"),
    ],
)
def test_a_broken_selection_is_refused(selection, message):
    with pytest.raises(PluginError, match=message):
        selection.check(9, 2)


# ---------------------------------------------------------------- texts


def read(texts):
    return [text for block in texts.blocks() for text in block]


@pytest.mark.parametrize("rows", [[], [0], [1, 4, 5, 9], list(range(10)), [7, 2, 2, 0]])
def test_texts_are_read_in_the_requested_order_block_by_block(rows):
    words = [f"w{i}" for i in range(10)]
    texts = Texts.from_list(words, block=4)
    assert [len(block) for block in texts.blocks()] == [4, 4, 2]
    taken = texts.take(np.array(rows, np.intp))
    assert taken.rows == len(rows)
    assert read(taken) == read(taken) == [words[row] for row in rows]


def test_only_blocks_with_requested_rows_are_read():
    queries = []
    texts = Texts((3, 0, 2, 4), lambda number: queries.append(number) or [f"{number}{i}" for i in range(4)])
    taken = texts.take(np.array([2, 6, 8], np.intp))
    assert queries == []
    assert taken.sizes == (1, 2)
    assert read(taken.take(np.array([1, 2], np.intp))) == ["31", "33"]
    assert queries == [3]


def test_texts_go_with_the_rows_of_a_pool():
    numbers = np.arange(3, dtype=np.float32)
    some = Pool(np.zeros((3, 0), np.float32), numbers, np.zeros(3, np.int32), texts=Texts.from_list(["a", "b", "c"]))
    assert read(some.take(rows(2, 0)).texts) == ["c", "a"]
    with pytest.raises(PluginError, match="there are 2 texts, but embeddings have 3 rows"):
        Pool(np.zeros((3, 0), np.float32), numbers, np.zeros(3, np.int32), texts=Texts.from_list(["a", "b"]))


def test_rows_that_fail_no_rule_pass_and_the_others_name_theirs():
    selection = Selection.from_failed_rules(np.array([-1, 1, 0, -1], np.int16), ["short", "long"]).check(4, None)
    assert (selection.indices.tolist(), selection.gain.tolist()) == ([0, 3], [0, 0])
    assert [selection.reasons[number] for number in selection.reason[1:3]] == ["long", "short"]
    assert Selection.from_failed_rules(np.array([-1], np.int16), []).reasons == ("no rule",)
