"""The Arrow schema of every sidecar, and the check that what is written keeps to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from curate.errors import PluginError

_ID = pa.field("id", pa.string(), nullable=False)

QUARANTINE = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("record", pa.string()),
    ]
)
"""Rows set aside: where they stood, why, and the record itself where it was at hand."""

CLUSTER = pa.schema(
    [
        _ID,
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("centroid_similarity", pa.float32(), nullable=False),
    ]
)

CENTROIDS = "centroids.parquet"
"""File name of the centroids, next to the cluster shards."""

SELECT = pa.schema(
    [
        _ID,
        pa.field("selected", pa.bool_(), nullable=False),
        pa.field("rank", pa.int32()),
        pa.field("gain", pa.float32()),
        pa.field("weight", pa.float32()),
        pa.field("epochs", pa.list_(pa.int32())),
        pa.field("dropped_by", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("representative", pa.string()),
        pa.field("similarity", pa.float32()),
    ]
)
"""One row for every input row: chosen or not, by which entry, and why."""


CUTS = pa.schema([pa.field(name, pa.int32(), nullable=False) for name in ("text", "first", "end")])
"""``cut``: of each shard, which words are cut out of which string of its text columns, by number."""

OVERLAPS = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("ngram", pa.int32()),
        pa.field("text", pa.int32()),
        pa.field("similarity", pa.float32()),
        pa.field("texts", pa.int32()),
    ]
)
"""``decontaminate/found``: of each shard, which rows have which n-gram of the evaluation texts, by number, and which
evaluation text of each set has the most similar embedding."""


def hits(texts: str) -> pa.Schema:
    """The schema of a decontaminate shard: rows of the pool, each beside the evaluation text that it shares most with.

    ``texts`` in its metadata says which of the evaluation texts stand in these rows: a bit each, as hexadecimal digits.
    """
    return pa.schema(
        [
            _ID,
            pa.field("kind", pa.string(), nullable=False),
            pa.field("set", pa.string(), nullable=False),
            pa.field("similarity", pa.float32(), nullable=False),
            pa.field("shared", pa.string()),
            pa.field("text", pa.string(), nullable=False),
            pa.field("evaluation_text", pa.string(), nullable=False),
            pa.field("evaluation_file", pa.string(), nullable=False),
            pa.field("evaluation_line", pa.int64(), nullable=False),
            pa.field("evaluation_texts", pa.int32(), nullable=False),
        ],
        metadata={"curate.texts": texts},
    )


def published(sketch: pa.Schema | None = None) -> pa.Schema:
    """The schema of a part of ``published``: which rows, and their sketches in columns that the selector names."""
    keys = [_ID, pa.field("content_hash", pa.binary(16), nullable=False)]
    return pa.schema([*keys, *(sketch or ())])


def embed(dimensions: int, precision: str, facts: Mapping[str, str]) -> pa.Schema:
    """The schema of an embed shard; ``precision`` is float32 or float16, ``facts`` says which model made it."""
    value = pa.float16() if precision == "float16" else pa.float32()
    return pa.schema(
        [
            _ID,
            pa.field("content_hash", pa.binary(16), nullable=False),
            pa.field("embedding", pa.list_(value, dimensions), nullable=False),
        ],
        metadata={f"curate.{key}": text for key, text in facts.items()},
    )


def centroids(dimensions: int) -> pa.Schema:
    """The schema of ``cluster/centroids.parquet``."""
    return pa.schema(
        [
            pa.field("cluster", pa.int32(), nullable=False),
            pa.field("name", pa.string()),
            pa.field("centroid", pa.list_(pa.float32(), dimensions), nullable=False),
        ]
    )


def dynamics(runs: int, epochs: int) -> list[str]:
    """The columns of a proxy shard: one for each epoch of each run, in that order."""
    return [f"log_probabilities_r{run:02d}_e{epoch:03d}" for run in range(runs) for epoch in range(epochs)]


def proxy(runs: int, epochs: int, classes: int, facts: Mapping[str, str]) -> pa.Schema:
    """The schema of a proxy shard; ``facts`` says which model it was.

    Probabilities are stored as their natural logarithms: half precision holds those down to any probability to one
    part in 2,000, where it would take a probability below 3e-8 for 0, and so lose the margins of mislabelled rows.
    """
    told = {**facts, "runs": str(runs), "epochs": str(epochs), "classes": str(classes)}
    judged = pa.list_(pa.float16(), classes)
    return pa.schema(
        [
            _ID,
            pa.field("label", pa.int32(), nullable=False),
            *(pa.field(name, judged, nullable=False) for name in dynamics(runs, epochs)),
        ],
        metadata={f"curate.{key}": text for key, text in told.items()},
    )


CLASSES = pa.schema([pa.field("class", pa.int32(), nullable=False), pa.field("label", pa.string(), nullable=False)])
"""``proxy/classes.parquet``: what the numbers in the column ``label`` of a proxy shard stand for."""


def score(columns: Sequence[str], facts: Mapping[str, str]) -> pa.Schema:
    """The schema of a score shard: ``id`` and one float32 column a score."""
    fields = [pa.field(name, pa.float32()) for name in columns]
    return pa.schema([_ID, *fields], metadata={f"curate.{key}": text for key, text in facts.items()})


def check(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """The table with ``schema`` as its schema, if it keeps to it.

    Raises
    ------
    PluginError : if a column is missing, of another type, or null where it may not be
    """
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise PluginError(f"columns are {table.schema.names}, expected {schema.names}", where=where)
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise PluginError(f"column {field.name!r} holds nulls", where=where)
    return table.cast(schema).replace_schema_metadata(schema.metadata)
