"""A declared type holds for every format, and a value that is not of it rejects its row."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.stages.ingest.declared_types import convert_columns


@pytest.mark.parametrize(
    ("kind", "given", "values", "lost"),
    [
        ("string", pa.array([1.5, None, 2.0]), ["1.5", None, "2.0"], []),
        ("string", pa.array([b"x", b"\xff", None]), ["x", None, None], [1]),
        ("string", pa.array([["a"], None]), ['["a"]', None], []),
        (
            "int64",
            pa.array(["007", "+5", " 8 ", "1.0", "1.5", "x", None, "9" * 19]),
            [7, 5, 8, 1, None, None, None, None],
            [4, 5, 7],
        ),
        ("int64", pa.array([1.0, 2.5]), [1, None], [1]),
        ("int64", pa.array(["9" * 5_000]), [None], [0]),
        (
            "float64",
            pa.array(["1.10", ".5", "1e3", "9e999", "nan", "x", None]),
            [1.1, 0.5, 1000.0, None, None, None, None],
            [3, 4, 5],
        ),
        ("float64", pa.array([1, None]), [1.0, None], []),
        ("bool", pa.array(["true", "False", "1", "0", "yes", None]), [True, False, True, False, None, None], [4]),
        ("bool", pa.array([True, None]), [True, None], []),
        ("bool", pa.array([1, 0, 2]), [True, False, None], [2]),
    ],
    ids=str,
)
def test_values_become_their_declared_type(kind, given, values, lost):
    table, wrong = convert_columns(pa.table({"n": [0] * len(given), "x": given}), {"x": kind, "absent": "int64"})
    assert table.column_names == ["n", "x"]
    assert table["x"].to_pylist() == values
    assert [row for _, rows in wrong for row in rows.nonzero()[0].tolist()] == lost
    assert all(reason.startswith("column 'x' is not ") for reason, _ in wrong)
