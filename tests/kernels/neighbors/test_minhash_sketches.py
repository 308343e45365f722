import numpy as np
import pytest

from curate.kernels.neighbors.minhash_sketches import SHINGLES_COLUMN, SKETCH_COLUMNS, Sketcher, read_sets
from curate.kernels.types import Texts

TEXTS = ["to be or not to be", "a", "", "to be or not to be", "one two three four five six"]
SHINGLING = Sketcher("word", 2, 4, 3, ("case",))


@pytest.fixture(scope="module")
def table():
    return SHINGLING.to_table(Texts.from_list(TEXTS, block=2))


def test_equal_texts_have_equal_sketches_and_others_do_not(table):
    sketches = SHINGLING.sketch(Texts.from_list(TEXTS))
    assert (sketches.keys[:, 0] == sketches.keys[:, 3]).all()
    assert (sketches.digests[:, 0] == sketches.digests[:, 3]).all()
    assert len(np.unique(sketches.digests, axis=1).T) == 4


@pytest.mark.parametrize("cut", [0, 2, 5])
def test_a_table_is_restored_for_any_chunks(table, cut):
    parts = [table.slice(0, cut), table.slice(cut)]
    parts = [part for part in parts if len(part)]
    back, expected = (
        SHINGLING.read_table(part.select(SKETCH_COLUMNS) for part in parts),
        SHINGLING.sketch(Texts.from_list(TEXTS)),
    )
    assert (back.keys == expected.keys).all()
    assert (back.digests == expected.digests).all()
    rows = np.array([1, 2, 4])
    sets, wanted = (
        read_sets([part.select([SHINGLES_COLUMN]) for part in parts], rows),
        SHINGLING.shingle_sets(Texts.from_list(TEXTS).take(rows)),
    )
    assert (sets.elements == wanted.elements).all()
    assert (sets.offsets == wanted.offsets).all()


def test_without_a_table_there_is_nothing():
    assert SHINGLING.read_table([]).keys.shape == (4, 0)
    assert len(read_sets([], np.zeros(0, np.intp)).offsets) == 1
