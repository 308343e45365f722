"""Arrow schemas of all sidecar files, and the check of tables against them."""

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
"""Schema of quarantined rows: location, reason, and the record itself if it is available."""

CLUSTER = pa.schema(
    [
        _ID,
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("centroid_similarity", pa.float32(), nullable=False),
    ]
)

CORRECTIONS = pa.schema([_ID, pa.field("before", pa.string()), pa.field("label", pa.string(), nullable=False)])
"""Schema of the list of rows whose label was corrected."""

CORRECTIONS_FILE = "corrections.parquet"
"""File name of the list of rows whose label was corrected, next to the input shards."""

REVIEW = pa.schema(
    [
        pa.field("rank", pa.int32(), nullable=False),
        _ID,
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("suggestion", pa.string()),
        pa.field("confidence", pa.float32()),
        pa.field("ranks", pa.list_(pa.float64()), nullable=False),
        pa.field(
            "neighbors",
            pa.list_(
                pa.struct({"id": pa.string(), "label": pa.string(), "similarity": pa.float32(), "text": pa.string()})
            ),
            nullable=False,
        ),
    ]
)
"""Schema of the labels to review, the most likely wrong first; ``ranks`` has a rank for each score, 1 = worst."""

REVIEW_FILE = "rows.parquet"
"""File name of the labels to review in their folder."""

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
"""Schema of the ledger: one row for every input row, with its outcome, the deciding entry and the reason."""


CUTS = pa.schema([pa.field(name, pa.int32(), nullable=False) for name in ("text", "first", "end")])
"""Schema of ``cut`` shards: numbers of the words that are removed from each string of the text columns."""

OVERLAPS = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("ngram", pa.int32()),
        pa.field("text", pa.int32()),
        pa.field("similarity", pa.float32()),
        pa.field("texts", pa.int32()),
    ]
)
"""Schema of ``decontaminate/found`` shards: numbers of the rows with each n-gram of the evaluation texts, and the most
similar evaluation text of each set by embedding."""


def hits(texts: str) -> pa.Schema:
    """Return the schema of a decontaminate shard: rows of the pool with their most similar evaluation text.

    ``texts`` in the metadata marks the evaluation texts that occur in these rows: one bit each, in hexadecimal digits.
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
    """Return the schema of a ``published`` shard: row ids, text hashes, and the sketch columns of the selector."""
    keys = [_ID, pa.field("content_hash", pa.binary(16), nullable=False)]
    return pa.schema([*keys, *(sketch or ())])


SPLIT = pa.schema([_ID, pa.field("split", pa.string())])
"""Schema of a ``split`` shard: the split of each row; null for a row that was not selected."""

SPLIT_HISTORY = pa.schema(
    [
        _ID,
        pa.field("content_hash", pa.binary(16), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)
"""Schema of ``split/history.parquet``: all rows that were ever in a split, so that they stay in it."""


def embed(dimensions: int, precision: str, facts: Mapping[str, str]) -> pa.Schema:
    """Return the schema of an embed shard; ``precision`` is float32 or float16, ``facts`` describes the model."""
    value = pa.float16() if precision == "float16" else pa.float32()
    return pa.schema(
        [
            _ID,
            pa.field("content_hash", pa.binary(16), nullable=False),
            pa.field("embedding", pa.list_(value, dimensions), nullable=False),
        ],
        metadata={f"curate.{key}": text for key, text in facts.items()},
    )


def model_outputs(columns: Mapping[str, pa.DataType], recipe: str) -> pa.Schema:
    """Return the schema of a part of the outputs of a language model, with these columns and a recipe for reuse."""
    return pa.schema(
        [
            _ID,
            pa.field("content_hash", pa.binary(16), nullable=False),
            *(pa.field(name, kind, nullable=False) for name, kind in columns.items()),
        ],
        metadata={"curate.recipe": recipe},
    )


def added_columns(columns: pa.Schema) -> pa.Schema:
    """Return the schema of a shard of added columns."""
    return pa.schema([_ID, *columns])


def centroids(dimensions: int) -> pa.Schema:
    """Return the schema of ``cluster/centroids.parquet``."""
    return pa.schema(
        [
            pa.field("cluster", pa.int32(), nullable=False),
            pa.field("name", pa.string()),
            pa.field("centroid", pa.list_(pa.float32(), dimensions), nullable=False),
        ]
    )


def probabilities(runs: int, epochs: int) -> list[str]:
    """Return the columns of a proxy shard with probabilities: one for each epoch of each run, in this order."""
    return statistics("log_probabilities", runs, epochs)


def statistics(name: str, runs: int, epochs: int) -> list[str]:
    """Return the columns of a proxy shard with a statistic: one for each epoch of each run, in this order."""
    return [f"{name}_r{run:02d}_e{epoch:03d}" for run in range(runs) for epoch in range(epochs)]


def proxy(runs: int, epochs: int, classes: int | None, known: Sequence[str], facts: Mapping[str, str]) -> pa.Schema:
    """Return the schema of a proxy shard.

    Probabilities are stored as natural logarithms: half precision represents the logarithm of any probability to one
    part in 2,000, but rounds a probability below 3e-8 to 0, which would lose the margins of mislabeled rows.

    Parameters
    ----------
    runs, epochs : int
        Number of runs, and of epochs in each.
    classes : int or None
        Number of classes; None for a log without probabilities.
    known : sequence of str
        Names of the statistics.
    facts : mapping of str to str
        Description of the model.
    """
    metadata = {**facts, "runs": str(runs), "epochs": str(epochs), "statistics": ",".join(known)}
    fields = [_ID, pa.field("label", pa.int32(), nullable=False)]
    if classes is not None:
        metadata["classes"] = str(classes)
        logs = pa.list_(pa.float16(), classes)
        fields += [pa.field(name, logs, nullable=False) for name in probabilities(runs, epochs)]
    for statistic in known:
        kind = pa.bool_() if statistic == "correct" else pa.float32()
        fields += [pa.field(name, kind, nullable=False) for name in statistics(statistic, runs, epochs)]
    return pa.schema(fields, metadata={f"curate.{key}": text for key, text in metadata.items()})


def held_out(runs: int, classes: int, facts: Mapping[str, str]) -> pa.Schema:
    """Return the schema of a shard of held-out predictions: logarithms of probabilities, as in a proxy shard."""
    logs = pa.list_(pa.float16(), classes)
    metadata = {**facts, "runs": str(runs), "classes": str(classes)}
    return pa.schema(
        [
            _ID,
            pa.field("label", pa.int32(), nullable=False),
            *(pa.field(name, logs, nullable=False) for name in held_out_columns(runs)),
        ],
        metadata={f"curate.{key}": text for key, text in metadata.items()},
    )


def held_out_columns(runs: int) -> list[str]:
    """Return the columns of a shard of held-out predictions, one for each run."""
    return [f"log_probabilities_r{run:02d}" for run in range(runs)]


CLASSES_FILE = "classes.parquet"
"""Name of the file with the labels of the classes of a proxy, in its folder."""

CLASSES = pa.schema([pa.field("class", pa.int32(), nullable=False), pa.field("label", pa.string(), nullable=False)])
"""Schema of ``proxy/classes.parquet``: labels by the numbers in the column ``label`` of proxy shards."""


def score(columns: Sequence[str], facts: Mapping[str, str]) -> pa.Schema:
    """Return the schema of a score shard: ``id`` and one float32 column per score."""
    fields = [pa.field(name, pa.float32()) for name in columns]
    return pa.schema([_ID, *fields], metadata={f"curate.{key}": text for key, text in facts.items()})


def target(dimensions: Mapping[str, int]) -> pa.Schema:
    """Return the schema of a target shard, with a column of vectors for each embed entry, of these dimensions.

    ``label`` is the number of the label among those of the pool, -1 for none; ``task`` is the number of the task;
    ``in_pool`` marks the rows whose content is also in the pool; ``test`` those that no selection sees.
    """
    return pa.schema(
        [
            _ID,
            pa.field("label", pa.int32(), nullable=False),
            pa.field("task", pa.int32(), nullable=False),
            pa.field("text", pa.string()),
            pa.field("in_pool", pa.bool_(), nullable=False),
            pa.field("test", pa.bool_(), nullable=False),
            *(
                pa.field(f"embedding_{name}", pa.list_(pa.float32(), length), nullable=False)
                for name, length in dimensions.items()
            ),
        ]
    )


def check(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """Return the table with the exact ``schema`` after checking its columns.

    Raises
    ------
    PluginError
        A column is missing, has another type, or has nulls that the schema forbids.
    """
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise PluginError(f"got the columns {table.schema.names}, expected {schema.names}", where=where)
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise PluginError(f"column {field.name!r} has nulls", where=where)
    return table.cast(schema).replace_schema_metadata(schema.metadata)
