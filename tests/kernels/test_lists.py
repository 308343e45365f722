"""Lists are put together as they were, whatever their kind, from whatever slice."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.kernels.lists import is_list, lists_from, lists_of

VALUES = [["a", None], None, [], ["c", "d", "e"]]
KINDS = [pa.list_(pa.string()), pa.large_list(pa.string()), pa.list_view(pa.string()), pa.large_list_view(pa.string())]
OTHERS = [pa.map_(pa.string(), pa.int8()), pa.struct([]), pa.string()]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("cut", range(4))
def test_lists_are_put_together_as_they_were(kind, cut):
    array = pa.array(VALUES, kind).slice(cut)
    lengths, values = lists_of(array)
    assert lengths.tolist() == [len(one or ()) for one in VALUES[cut:]]
    for wanted in KINDS[:2]:
        again = lists_from(lengths, values, wanted, array.is_null())
        again.validate(full=True)
        assert again.type == wanted
        assert again.to_pylist() == VALUES[cut:]


@pytest.mark.parametrize("cut", range(3))
def test_lists_of_a_fixed_size_keep_their_nulls(cut):
    rows = [[1, 2], None, [3, None]]
    array = pa.array(rows, pa.list_(pa.int8(), 2)).slice(cut)
    again = lists_from(*lists_of(array), array.type, array.is_null())
    again.validate(full=True)
    assert again.to_pylist() == rows[cut:]


def test_a_list_of_another_size_is_refused():
    lengths, values = lists_of(pa.array([[1, 2], [3]]))
    with pytest.raises(pa.ArrowInvalid, match="not of 2 elements"):
        lists_from(lengths, values, pa.list_(pa.int64(), 2), pa.array([False, False]))


def test_a_map_is_no_list():
    assert all(map(is_list, [*KINDS, pa.list_(pa.int8(), 2)]))
    assert not any(map(is_list, OTHERS))
