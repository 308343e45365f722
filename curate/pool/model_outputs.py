"""Outputs of language models as later stages read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.kernels.types import AnyArray, freeze
from curate.plugins.language_models import ModelRequest, Outputs, Request
from curate.pool import embedding_matrix
from curate.store import parquet_io

PART_ROWS = 256
"""Maximum number of rows in a part, the unit of work of a language model."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of an input shard that a language model processes together, and whose outputs are in one file."""

    number: int
    """Number of the part in the pool."""

    shard: int
    """Number of the input shard."""

    rows: slice
    """Rows of the shard."""


def divide_shards(shards: Sequence[int]) -> Iterator[Part]:
    """Yield the parts of all shards, given their numbers of rows, in order."""
    number = 0
    for shard, n in enumerate(shards):
        for start in range(0, n, PART_ROWS):
            yield Part(number, shard, slice(start, min(n, start + PART_ROWS)))
            number += 1


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """Outputs of a model for one request, for every row of the input."""

    model: str
    """Name of the model entry."""

    request: Request
    folder: Path
    fingerprint: str
    recipe: str
    """Fingerprint of how outputs are computed, independent of the pool."""

    shards: tuple[int, ...]
    """Number of rows in each input shard."""

    reads_text: bool
    """Whether the model reads nothing but the text of a row."""

    def read(self, shard: int) -> pa.Table:
        """Read the outputs of the rows of an input shard."""
        parts = [part for part in divide_shards(self.shards) if part.shard == shard]
        tables = [parquet_io.read(parquet_io.shard_path(self.folder, part.number)) for part in parts]
        return pa.concat_tables(tables).drop_columns(["id", "content_hash"])


def find_output(outputs: Sequence[ModelOutput], request: ModelRequest) -> ModelOutput:
    """Return the outputs of the model that a request names, or of the first one.

    Raises
    ------
    LookupError
        The model has not run for this request.
    """
    for output in outputs:
        if output.request == request.request and request.model in (None, output.model):
            return output
    raise LookupError(f"the model stage has no output for {request}")


def to_arrays(outputs: pa.Table) -> Outputs:
    """Return the columns of a table of outputs as read-only arrays, (n,) or (n, d)."""
    return {name: freeze(_to_array(outputs[name])) for name in outputs.column_names}


def _to_array(column: pa.ChunkedArray) -> AnyArray:
    if pa.types.is_fixed_size_list(column.type):
        return embedding_matrix.to_stored_matrix(column)
    return np.asarray(column.to_numpy())
