"""Exporter of folders that ``datasets.load_from_disk`` opens without a conversion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from curate.errors import PluginError
from curate.kernels.arrow_lists import is_list, join_lists, split_lists, split_maps
from curate.plugins.interfaces import exporter
from curate.plugins.results import DataFileInfo

ROWS_PER_BATCH = 1_000
"""Number of rows of a record batch, as in ``datasets``: what a random access reads."""


def write_arrow_stream(table: pa.Table, path: Path) -> None:
    """Write ``table`` to ``path`` as a stream of record batches, in types that ``datasets`` has.

    Parameters
    ----------
    table : rows to write
    path : output file

    Raises
    ------
    PluginError : if ``datasets`` has no type for a column

    Notes
    -----
    Cost: O(bytes) time; memory for one record batch plus the table.
    """
    schema = stored_schema(table.schema)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for start in range(0, len(table), ROWS_PER_BATCH):
            rows = table.slice(start, ROWS_PER_BATCH)
            every = pa.array(range(len(rows)))  # a copy, as the bytes of a slice depend on how the table is chunked
            arrays = [
                to_stored(_one_chunk(column), name).take(every)
                for name, column in zip(rows.column_names, rows.columns, strict=True)
            ]
            stream.write_batch(pa.record_batch(arrays, schema=schema))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of the stored columns, with the metadata of the columns.

    Raises
    ------
    PluginError : if ``datasets`` has no type for a column
    """
    fields = [pa.field(field.name, to_stored(pa.nulls(0, field.type), field.name).type) for field in schema]
    return pa.schema(fields, schema.metadata)


def to_stored(array: pa.Array, name: str) -> pa.Array:
    """Convert an array to types that ``datasets`` has, at any depth.

    Dictionaries, runs, views and extensions become the values that they represent, and maps lists of objects with
    ``key`` and ``value``. JSON stays text.

    Parameters
    ----------
    array : (n,) of any type
    name : name of the column, for the error

    Raises
    ------
    PluginError : if ``datasets`` has no equivalent type
    """
    array = _decode(array)
    kind = array.type
    if types.is_union(kind) or types.is_interval(kind) or (types.is_struct(kind) and not kind.num_fields):
        raise PluginError(
            f"column {name!r} is {kind}, for which datasets has no type",
            hint="leave the column out with export.drop, or export to parquet",
        )
    if types.is_struct(kind):
        children = [to_stored(child, f"{name}.{one.name}") for child, one in zip(array.flatten(), kind, strict=True)]
        return pa.StructArray.from_arrays(children, names=[one.name for one in kind], mask=array.is_null())
    if is_list(kind):
        lengths, values = split_lists(array)
        values = to_stored(values, name)
        large = types.is_large_list(kind) or types.is_large_list_view(kind)
        stored = pa.large_list(values.type) if large else pa.list_(values.type, getattr(kind, "list_size", -1))
        return join_lists(lengths, values, stored, array.is_null())
    return array


def _decode(array: pa.Array) -> pa.Array:
    """Return the values that extensions, dictionaries, runs and views represent, and maps as lists of objects."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        array = _decode(array.storage)
    elif types.is_dictionary(kind):
        array = _decode(array.dictionary_decode())
    elif types.is_run_end_encoded(kind):
        array = _decode(pc.run_end_decode(array))
    elif types.is_string_view(kind):
        array = array.cast(pa.large_string())
    elif types.is_binary_view(kind):
        array = array.cast(pa.large_binary())
    elif types.is_fixed_size_binary(kind):
        array = array.cast(pa.binary())
    elif types.is_map(kind):
        lengths, keys, items = split_maps(array)
        pairs = pa.StructArray.from_arrays([keys, items], names=["key", "value"])
        array = join_lists(lengths, pairs, pa.list_(pairs.type), array.is_null())
    return array


@exporter(version=1, schema=True, types=True, index=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Datasets:
    """Folder of Arrow files that ``datasets.load_from_disk`` opens without a conversion or a cache.

    Use it for trainers that use ``datasets`` and read the files from a disk: they are memory-mapped. They are not
    compressed; ``parquet`` takes a third of the space, and ``load_dataset`` reads it as well, once it has converted
    the files into its cache. Class labels and other features in the metadata of the input are kept.
    """

    suffix: ClassVar[str] = ".arrow"

    def check_types(self, schema: pa.Schema) -> None:
        """Raise a PluginError for the first column for which ``datasets`` has no type."""
        stored_schema(schema)

    def write(self, table: pa.Table, path: Path) -> None:
        """Write one file; the same table gives the same bytes."""
        write_arrow_stream(table, path)

    def index(self, files: Sequence[DataFileInfo], schema: pa.Schema) -> Mapping[str, str]:  # noqa: ARG002
        """Return the files with which ``datasets`` finds the data; the features are in the data files."""
        names = [{"filename": file.name} for file in files]
        content = json.dumps([[file.name, file.sha256] for file in files])
        state: dict[str, object] = {
            "_data_files": names,
            "_fingerprint": hashlib.sha256(content.encode()).hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        info = {"citation": "", "description": "", "homepage": "", "license": ""}
        return {
            name: json.dumps(data, indent=2) + "\n"
            for name, data in (("dataset_info.json", info), ("state.json", state))
        }
