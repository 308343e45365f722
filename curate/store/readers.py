"""Readers of pool files (JSON, CSV, TSV, Parquet, Arrow), batch by batch; bad records are part of the result."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Literal
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from curate import paths
from curate.errors import DataError
from curate.store import arrow_records, csv_records, decompression, json_records, parquet_records
from curate.store.decompression import Compression
from curate.store.expansion import Expansion, count_expansion
from curate.store.records import BadRecord, Batch, Piece, ReadOptions

__all__ = [
    "BadRecord",
    "Batch",
    "Piece",
    "ReadOptions",
    "add_partitions",
    "detect_format",
    "find_data_in_header",
    "parse_partitions",
    "read",
    "read_column_names",
    "scan",
    "strip_format",
]

Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow"]

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
BINARY = ("parquet", "arrow")
"""Formats that are not text: each file lists its columns, and compression is part of the format."""

_BLOCK = 1 << 22


def detect_format(path: Path) -> tuple[Format, Compression]:
    """Return the format and the compression of a file, by its name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression: Compression = ""
    if suffixes and suffixes[-1] in decompression.SUFFIXES:
        compression = decompression.SUFFIXES[suffixes.pop()]
    kind = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if kind is None or (kind in BINARY and compression):
        raise _unknown_format(path, suffixes[-1] if suffixes else "")
    return kind, compression


def is_known(name: str) -> bool:
    """Return whether a file name has a known format.

    >>> is_known("a.jsonl.gz"), is_known("README.md"), is_known("a.parquet.gz")
    (True, False, False)
    """
    root, suffix = os.path.splitext(name.lower())  # noqa: PTH122 - for speed
    if suffix in decompression.SUFFIXES:
        return _SUFFIXES.get(os.path.splitext(root)[1], "parquet") not in BINARY  # noqa: PTH122 - for speed
    return suffix in _SUFFIXES


def _unknown_format(path: Path, suffix: str) -> DataError:
    endings = ", ".join(decompression.SUFFIXES)
    hint = (
        f"rename the file to end in .jsonl, .json, .csv, .tsv (optionally followed by {endings}), .parquet, .arrow or "
        ".feather"
    )
    for suffixes, advice in _OTHER_FORMATS.items():
        if suffix in suffixes:
            hint = advice
    return DataError("the file name has no known format", where=str(path), hint=hint)


_OTHER_FORMATS = {
    (".warc", ".wet", ".wat", ".html", ".htm", ".xhtml"): (
        "extract the texts first, for example with trafilatura, or with datatrove for complete crawls, as JSON Lines"
    ),
    (".pdf", ".docx", ".epub"): "extract the texts first, for example with docling, as JSON Lines",
    (
        ".h5",
        ".hdf5",
        ".hdf",
    ): "store vectors as .npy (input.vectors) and rows as .parquet, for example with h5py and pyarrow",
    (".npy", ".npz"): "an array is not a file of rows: set it as input.vectors, next to the files of the rows",
    (".xlsx", ".xls", ".ods"): "save the sheet as .csv",
    (".orc", ".avro", ".tfrecord", ".tfrecords"): "convert the file to .parquet, for example with pyarrow or datasets",
    (".txt", ".md"): 'write one row per text as JSON Lines, such as {"text": …}',
}
"""Advice for other formats, by suffix."""


def strip_format(path: Path) -> str:
    """Return the name of a file without the suffixes of its format and compression.

    >>> strip_format(Path("pool/a.b.jsonl.gz"))
    'a.b'
    """
    endings = 2 if detect_format(path)[1] else 1
    return path.name.removesuffix("".join(path.suffixes[-endings:]))


def scan(path: Path, rows_per_piece: int) -> tuple[str, list[tuple[int, int, int]] | None]:
    """Hash a file, and find the positions at which it can be split.

    Returns
    -------
    sha256 : str
        sha256 of the file's bytes.
    cuts : list[tuple[int, int, int]] | None
        (start, first row, rows) of each run of about ``rows_per_piece`` records; None if only reading can find them.
    """
    kind, compression = detect_format(path)
    digest = hashlib.sha256()
    cuts: list[tuple[int, int, int]] = [(0, 0, 0)]
    lines = offset = 0
    with paths.open_binary(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if kind == "jsonl" and not compression:
                newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
                while lines + len(newlines) >= (boundary := len(cuts) * rows_per_piece):
                    cuts.append((offset + int(newlines[boundary - lines - 1]) + 1, boundary, 0))
                lines += len(newlines)
                offset += len(block)
    if kind == "parquet":
        return digest.hexdigest(), parquet_records.cut_row_groups(path, rows_per_piece)
    if kind == "arrow":
        return digest.hexdigest(), arrow_records.cut_batches(path, rows_per_piece)
    if kind != "jsonl" or compression:
        return digest.hexdigest(), None
    if cuts[-1][0] == offset and len(cuts) > 1:  # the file ends on a boundary
        cuts.pop()
    ends_at = [first for _, first, _ in cuts[1:]] + [max(lines, cuts[-1][1] + 1)]
    return digest.hexdigest(), [
        (start, first, end - first) for (start, first, _), end in zip(cuts, ends_at, strict=True)
    ]


def read(piece: Piece, options: ReadOptions | None = None) -> Iterator[Batch]:
    """Read the records of ``piece``, a few thousand at a time.

    Folders such as ``lang=en`` in the path become columns, unless the file has a column of that name.

    Raises
    ------
    DataError
        The file cannot be read, or expands beyond the limit.
    """
    path = paths.parse_path(piece.path)
    partitions = parse_partitions(piece.path)
    with paths.convert_store_errors(path):
        try:
            batches = _read(path, piece, options or ReadOptions())
            yield from (add_partitions(batch, partitions) for batch in batches)
        except (*decompression.ERRORS, pa.ArrowException) as error:
            hint = "check that the file is complete; to be safe, write files elsewhere and move them here when complete"
            raise DataError(f"cannot read the file: {error}", where=piece.path, hint=hint) from error


def _read(path: Path, piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    kind, compression = detect_format(path)
    if kind == "parquet":
        yield from parquet_records.read_parquet(path, piece, options.as_text)
        return
    if kind == "arrow":
        yield from arrow_records.read_arrow(path, piece, options.as_text)
        return
    with paths.open_binary(path) as packed, decompression.open_decompressed(packed, compression) as plain:
        if not compression:
            yield from _records(plain, kind, piece, options)
            return
        remedy = "decompress it first" if compression != "gz" else "decompress it first: gunzip FILE"
        expansion = Expansion(piece.path, _size(packed), remedy)
        for batch in _records(count_expansion(plain, expansion), kind, piece, options):
            expansion.add(rows=len(batch.rows) + len(batch.bad_records))
            yield replace(batch, expansion=expansion.ratio)


def _records(file: IO[bytes], kind: Format, piece: Piece, options: ReadOptions) -> Iterator[Batch]:
    if kind == "jsonl":
        yield from json_records.read_lines(file, piece, options)
    elif kind == "json":
        yield from json_records.read_json(file, piece, options)
    elif _has_tabs(kind, options):
        yield from csv_records.read_tsv(file, piece, options)
    else:
        yield from csv_records.read_csv(file, piece, options)


def _has_tabs(kind: Format, options: ReadOptions) -> bool:
    return kind == "tsv" and options.delimiter in (None, "\t")


def find_data_in_header(path: Path, options: ReadOptions) -> str:
    """Return the first column name of a CSV or TSV file that looks like data; "" if there is none."""
    kind, compression = detect_format(path)
    if kind not in ("csv", "tsv") or options.header is not True:
        return ""
    try:
        with (
            paths.convert_store_errors(path),
            paths.open_binary(path) as packed,
            decompression.open_decompressed(packed, compression) as plain,
        ):
            names = csv_records.read_header(plain, str(path), tabs=_has_tabs(kind, options), options=options)
    except decompression.ERRORS:  # reported when the file is read
        return ""
    return next(filter(csv_records.looks_like_data, names), "")


def _size(file: IO[bytes]) -> int:
    """Return the size in bytes of a file that is open at its beginning."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


# ---------------------------------------------------------------- partition folders


_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def parse_partitions(path: str) -> dict[str, str | None]:
    """Return the columns encoded in the folders of a path, as Hive writes them.

    >>> parse_partitions("pool/lang=en/year=2024/a.jsonl")
    {'lang': 'en', 'year': '2024'}
    """
    folders = path.partition("://")[2].split("/")[1:-1] if "://" in path else Path(path).parts[:-1]
    partitions: dict[str, str | None] = {}
    for folder in folders:
        name, equals, value = folder.partition("=")
        if equals and name.isidentifier():
            partitions[name] = None if value == _NO_VALUE else unquote(value)
    return partitions


def add_partitions(batch: Batch, partitions: Mapping[str, str | None]) -> Batch:
    """Add the columns encoded in the folders of the file to a batch; see ``parse_partitions``."""
    table, cells = batch.table, set(batch.cells)
    for name, value in partitions.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * len(table), pa.string()))
            cells.add(name)
    return batch if table is batch.table else replace(batch, table=table, cells=frozenset(cells))


def read_column_type(path: Path, name: str) -> pa.DataType | None:
    """Return the type of a column of a file that lists its columns; None for other formats and missing columns."""
    kind = detect_format(path)[0]
    if kind not in BINARY:
        return None
    with paths.convert_store_errors(path):
        if kind == "arrow":
            schema = arrow_records.read_schema(path)
        else:
            with parquet_records.open_parquet(path) as file:
                schema = file.schema_arrow
    return schema.field(name).type if name in schema.names else pa.null()


def read_column_names(path: Path, options: ReadOptions | None = None) -> list[str]:
    """Return the column names of the first records of a file."""
    batch = next(read(Piece(str(path), 0), options), None)
    return [] if batch is None else list(batch.table.column_names)
