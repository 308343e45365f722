import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.types import Texts, Vectors, freeze


@given(st.integers(0, 20), st.integers(1, 7), st.data())
def test_texts_are_read_in_row_order_from_the_blocks_with_requested_rows(n, block, data):
    texts = Texts.from_list([f"row {i}" for i in range(n)], block)
    rows = data.draw(st.lists(st.integers(0, n - 1), unique=True)) if n else []
    taken = texts.take(np.array(rows, np.intp))
    assert [text for some in taken.blocks() for text in some] == [f"row {row}" for row in rows]
    assert taken.rows == len(rows)


def test_hashes_follow_their_texts():
    texts = Texts(
        (2, 3), lambda _: [], lambda number: np.arange(10, dtype=np.uint64).reshape(5, 2)[[[0, 1], [2, 3, 4]][number]]
    )
    taken = texts.take(np.array([1, 4]))
    assert [taken.hashes(number).tolist() for number in range(2)] == [[[2, 3]], [[8, 9]]]


def test_vectors_start_another_pass_each_time():
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    vectors = Vectors.from_array(x, block=2)
    assert (vectors.rows, vectors.dimensions) == (5, 2)
    for _ in range(2):
        assert np.concatenate(list(vectors.blocks())).tolist() == x.tolist()


def test_frozen_arrays_are_the_same_and_read_only():
    x = np.zeros(2)
    assert freeze(x) is x
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 1
