"""MDS exporter: the shards of the library ``streaming`` (mosaicml-streaming)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pyarrow import types

from curate.errors import PluginError, missing_extra_error
from curate.kernels.text.json_values import dumps, is_binary, is_json, to_json_types
from curate.plugins.interfaces import exporter
from curate.plugins.results import DataFileInfo

ROWS_PER_BATCH = 1_024
MAX_FILE_BYTES = 1 << 32
"""Limit of a file: it stores positions as 32-bit integers."""

_NUMBERS = {
    "bool": "uint8",
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    **{name: name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
}


def encoding(field: pa.Field) -> str:
    """Return the MDS encoding of a column.

    Numbers, booleans (``uint8``) and strings (``str``) without nulls have the encoding of their type, and binary values
    ``bytes``. Everything else is ``json``, which has nulls.

    Raises
    ------
    PluginError : if the column has a type that JSON cannot represent, or binary values with nulls

    Examples
    --------
    >>> encoding(pa.field("n", pa.int32(), nullable=False)), encoding(pa.field("n", pa.int32()))
    ('int32', 'json')
    """
    kind = field.type
    hint = "leave the column out with export.drop, or export to parquet"
    if is_binary(kind) or types.is_fixed_size_binary(kind):
        if field.nullable:
            raise PluginError(f"binary column {field.name!r} has nulls, which MDS cannot represent", hint=hint)
        return "bytes"
    if not field.nullable and not is_json(kind):
        if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
            return "str"
        if str(kind) in _NUMBERS:
            return _NUMBERS[str(kind)]
    if not is_json(kind):
        try:
            to_json_types(pa.nulls(0, kind), field.name)
        except TypeError as error:
            raise PluginError(str(error), hint=hint) from error
    return "json"


def encodings(schema: pa.Schema) -> dict[str, str]:
    """Return the MDS encoding of each column; see ``encoding``."""
    return {field.name: encoding(field) for field in schema}


def write_mds(table: pa.Table, path: Path) -> None:
    """Write ``table`` to ``path`` as one MDS shard.

    Parameters
    ----------
    table : rows to write; only columns with nulls are nullable
    path : output file

    Raises
    ------
    PluginError : if a column cannot be represented, or the file would be larger than 4 GiB

    Notes
    -----
    Cost: O(bytes) time and memory, as the library writes a shard at once.
    """
    from streaming import MDSWriter

    columns = encodings(table.schema)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        writer = MDSWriter(columns=columns, out=f"{folder}/shard", size_limit=None, max_workers=1)
        with writer:
            for start in range(0, len(table), ROWS_PER_BATCH):
                rows = table.slice(start, ROWS_PER_BATCH)
                values = [_values(rows[name], name, columns[name]) for name in columns]
                for row in zip(*values, strict=True):
                    writer.write(dict(zip(columns, row, strict=True)))
                if writer.new_shard_size >= MAX_FILE_BYTES:
                    raise PluginError(
                        "a file of MDS must be smaller than 4 GiB", hint="set export.bytes_per_file: 1GiB"
                    )
            if not len(table):
                writer.flush_shard()
        Path(folder, "shard", "shard.00000.mds").replace(path)


def _values(column: pa.ChunkedArray, name: str, how: str) -> list[Any]:
    """Return the values of a column as the library encodes them."""
    values: list[Any] = []
    for array in column.chunks:
        if how != "json":
            values += array.to_pylist()
        elif is_json(array.type):
            values += [None if text is None else json.loads(text) for text in array.storage.to_pylist()]
        else:
            values += [json.loads(dumps(value)) for value in to_json_types(array, name).to_pylist()]
    return values


@exporter(version=1, schema=True, types=True, index=True, exact_nullability=True, check=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Mds:
    """Shards of mosaicml-streaming (MDS), with an index, for ``StreamingDataset``.

    Use it for training jobs of Composer and LLM Foundry that stream samples from an object store. Columns of numbers
    and strings without any null have the encoding of their type; all other columns are JSON values, in which a missing
    value is null. Binary columns must not have nulls. A file has less than 4 GiB. Needs the extra ``mds``.
    """

    suffix: ClassVar[str] = ".mds"

    def check(self) -> Sequence[str]:
        """Raise a PluginError if the library is not installed."""
        if util.find_spec("streaming") is None:
            raise missing_extra_error("mosaicml-streaming", "mds", "exporter 'mds'")
        return ()

    def check_types(self, schema: pa.Schema) -> None:
        """Raise a PluginError for the first column that MDS cannot represent; nulls are only known to a run."""
        encodings(pa.schema([field.with_nullable(False) for field in schema]))

    def write(self, table: pa.Table, path: Path) -> None:
        """Write one file; the same table gives the same bytes."""
        self.check()
        write_mds(table, path)

    def index(self, files: Sequence[DataFileInfo], schema: pa.Schema) -> Mapping[str, str]:
        """Return the index of the shards in a folder, which the library calls ``index.json``."""
        from streaming import MDSWriter

        with tempfile.TemporaryDirectory() as folder:
            writer = MDSWriter(columns=encodings(schema), out=f"{folder}/shard", size_limit=None, max_workers=1)
            config = writer.get_config()
            writer.executor.shutdown()
        shards = [
            {
                **config,
                "samples": file.rows,
                "raw_data": {"basename": file.name, "bytes": file.bytes, "hashes": {}},
                "zip_data": None,
            }
            for file in files
        ]
        return {"index.json": json.dumps({"version": 2, "shards": shards}, sort_keys=True) + "\n"}
