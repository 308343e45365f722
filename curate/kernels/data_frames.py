"""Data of notebooks (DataFrames, Arrow tables, tensors, arrays, lists) as arrays and columns, and rows of such data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import ConfigError
from curate.kernels.types import AnyArray, Rows

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_HINT = "pass an array, a tensor, a Series or a list with one number for each row"


def library_of(data: object) -> str:
    """Return the name of the library that defines the type of some data.

    >>> library_of(np.zeros(3)), library_of([1, 2])
    ('numpy', 'builtins')
    """
    return type(data).__module__.partition(".")[0]


def to_frame(data: object) -> pl.DataFrame | None:
    """Return a DataFrame, an Arrow table or a dataset as a Polars frame; None for other data."""
    library, kind = library_of(data), type(data).__name__
    if (library, kind) not in (
        ("polars", "DataFrame"),
        ("polars", "LazyFrame"),
        ("pandas", "DataFrame"),
        ("pyarrow", "Table"),
        ("pyarrow", "RecordBatch"),
        ("datasets", "Dataset"),
    ):
        return None
    import polars as pl
    import pyarrow as pa

    source: Any = data
    if library == "polars":
        polars_frame: pl.DataFrame = source.collect() if kind == "LazyFrame" else source
        return polars_frame
    if library == "pandas":
        return pl.from_pandas(source)
    table = source.with_format("arrow")[:] if library == "datasets" else source
    frame = pl.from_arrow(pa.table(table) if isinstance(table, pa.RecordBatch) else table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def vector_columns(frame: pl.DataFrame) -> list[str]:
    """Return the columns of a frame that are lists of numbers."""
    import polars as pl

    return [
        name
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.List | pl.Array) and getattr(dtype, "inner", pl.String()).is_numeric()
    ]


def to_array(name: str, values: object) -> AnyArray:
    """Return an argument as an array of numbers.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    values : array_like
        Array, list, tensor of any type on any device, Series, or Arrow array; a column of lists becomes a matrix.

    Raises
    ------
    ConfigError
        If the values are not numbers, or lists of different lengths.
    """
    try:
        array = np.asarray(_plain(name, values))
    except ConfigError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{name}: cannot be converted to an array: {error}", hint=_HINT) from error
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{name}: must be numbers; got an array of {array.dtype}", hint=_HINT)
    return array


def _plain(name: str, values: Any) -> Any:
    """Return values that NumPy can convert."""
    library, kind = library_of(values), type(values).__name__
    if library == "torch":
        tensor = values.detach().to("cpu")
        return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()
    if library == "polars" and kind == "Series":
        return _matrix(name, values.to_arrow()) if values.dtype.is_nested() else values.to_numpy()
    if library == "pyarrow" and kind.endswith("Array"):
        import pyarrow as pa

        array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        return _matrix(name, array) if pa.types.is_nested(array.type) else array.to_numpy(zero_copy_only=False)
    if library == "pandas" and kind == "Series" and values.dtype == object and len(values):
        return np.stack(values.to_list())
    return values


def _matrix(name: str, column: pa.Array) -> AnyArray:
    """Return a column of lists of numbers as a matrix."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column)
    if column.null_count or pc.count_distinct(lengths).as_py() > 1:
        expected = lengths[0].as_py()
        row = next(row for row, length in enumerate(lengths.to_pylist()) if length is None or length != expected)
        got = "null" if lengths[row].as_py() is None else f"{lengths[row].as_py():,} numbers"
        raise ConfigError(f"{name}: row {row} is {got}; row 0 has {expected} numbers")
    values = column.flatten()
    if values.null_count:
        raise ConfigError(f"{name}: a vector contains null")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), -1)


def to_series(name: str, values: object) -> pl.Series:
    """Return an argument as a column.

    Raises
    ------
    ConfigError
        If the values have no common type.
    """
    import polars as pl

    library = library_of(values)
    source: Any = values
    try:
        if library == "torch" or (library == "numpy" and source.dtype != object):
            return pl.Series(name, to_array(name, source) if library == "torch" else source)
        if library == "pyarrow":
            return pl.Series(name, pl.from_arrow(source))
        plain = source.tolist() if library == "numpy" else source
        return pl.Series(name, plain, strict=True)
    except (TypeError, ValueError, RuntimeError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{name}: must be a list of values of one type, one for each row: {error}") from error


def take_rows(data: object, rows: Rows) -> Any:
    """Return some rows of a DataFrame, table, dataset, tensor, array or list, in the given order.

    >>> take_rows(["a", "b", "c"], np.array([2, 0]))
    ['c', 'a']
    """
    source: Any = data
    library = library_of(data)
    if library == "torch":
        import torch

        return source[torch.from_numpy(rows).to(source.device)]
    if library == "polars" and type(data).__name__ == "LazyFrame":
        return source.collect()[rows]
    if isinstance(data, list | tuple):
        return [data[row] for row in rows.tolist()]
    if library == "pandas":
        return source.iloc[rows]
    if library in ("pyarrow", "datasets"):
        return source.take(rows) if library == "pyarrow" else source.select(rows)
    return source[rows] if library == "polars" else np.asarray(source)[rows]
