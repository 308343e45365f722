"""List arrays are rebuilt unchanged, for every list type and every slice."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.kernels.arrow_lists import is_list, join_lists, join_maps, split_lists, split_maps

VALUES = [["a", None], None, [], ["c", "d", "e"]]
KINDS = [pa.list_(pa.string()), pa.large_list(pa.string()), pa.list_view(pa.string()), pa.large_list_view(pa.string())]
OTHERS = [pa.map_(pa.string(), pa.int8()), pa.struct([]), pa.string()]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("cut", range(4))
def test_lists_are_put_together_as_they_were(kind, cut):
    array = pa.array(VALUES, kind).slice(cut)
    lengths, values = split_lists(array)
    assert lengths.tolist() == [len(one or ()) for one in VALUES[cut:]]
    for wanted in KINDS[:2]:
        again = join_lists(lengths, values, wanted, array.is_null())
        again.validate(full=True)
        assert again.type == wanted
        assert again.to_pylist() == VALUES[cut:]


@pytest.mark.parametrize("cut", range(3))
def test_lists_of_a_fixed_size_keep_their_nulls(cut):
    rows = [[1, 2], None, [3, None]]
    array = pa.array(rows, pa.list_(pa.int8(), 2)).slice(cut)
    again = join_lists(*split_lists(array), array.type, array.is_null())
    again.validate(full=True)
    assert again.to_pylist() == rows[cut:]


def test_a_list_of_another_size_is_refused():
    lengths, values = split_lists(pa.array([[1, 2], [3]]))
    with pytest.raises(pa.ArrowInvalid, match="does not have 2 elements"):
        join_lists(lengths, values, pa.list_(pa.int64(), 2), pa.array([False, False]))


def test_a_map_is_no_list():
    assert all(map(is_list, [*KINDS, pa.list_(pa.int8(), 2)]))
    assert not any(map(is_list, OTHERS))


@pytest.mark.parametrize("kind", [pa.int8(), pa.null(), pa.list_(pa.null(), 2), pa.list_(pa.uuid())], ids=str)
@pytest.mark.parametrize("null", [[False] * 4, [True, False, True, False], [False, True, False, True], [True] * 4])
@pytest.mark.parametrize("cut", range(4))
def test_maps_are_rebuilt_unchanged_whatever_their_null_slots_contain(kind, null, cut):
    offsets, keys = pa.array([0, 1, 1, 3, 4], pa.int32()), pa.array(list("abcd"))
    items = pa.nulls(4, kind) if not pa.types.is_nested(kind) else _lists_of_two(kind)
    array = pa.MapArray.from_arrays(offsets, keys, items, type=pa.map_(pa.string(), kind), mask=pa.array(null)).slice(
        cut
    )
    lengths, each, values = split_maps(array)
    expected = [[] if removed else keys_ for keys_, removed in zip([["a"], [], ["b", "c"], ["d"]], null, strict=True)][
        cut:
    ]
    assert lengths.tolist() == [len(one) for one in expected]
    assert each.to_pylist() == [key for one in expected for key in one]
    values.validate(full=True)
    again = join_maps(lengths, each, values, array.type, array.is_null())
    again.validate(full=True)
    assert again.to_pylist() == array.to_pylist()


def _lists_of_two(kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.nulls(8), type=kind)
    values = pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([bytes([number] * 16) for number in range(8)], pa.binary(16))
    )
    return pa.ListArray.from_arrays(pa.array(range(0, 9, 2), pa.int32()), values, type=kind)
