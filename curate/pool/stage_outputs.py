"""Outputs of the stages as later stages read them: small handles on Parquet shards that are cheap to send to workers.

Shard *i* of every output contains rows of input shard *i*, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Matrix, freeze
from curate.plugins.batches import Dynamics
from curate.pool import embedding_matrix
from curate.store import parquet_io, schemas


@dataclass(frozen=True, slots=True)
class EmbedOutput:
    """Embeddings of one entry of the embed section."""

    name: str
    folder: Path
    fingerprint: str
    recipe: str
    """Fingerprint of how vectors are computed, independent of the pool."""

    rows: tuple[int, ...]
    """Number of rows in each shard, without the quarantined rows of the input shard."""

    dimensions: int

    def path(self, shard: int) -> Path:
        """Return the path of a shard."""
        return parquet_io.shard_path(self.folder, shard)


@dataclass(frozen=True, slots=True)
class ClusterOutput:
    """Cluster of every row, and the centroids."""

    folder: Path
    fingerprint: str
    recipe: str
    """Fingerprint of how rows are assigned, independent of the pool."""

    embedding: str | None
    """Name of the embed entry that was clustered; None for the first."""

    def read(self, shard: int) -> pa.Table:
        """Read the columns ``id``, ``cluster`` and ``centroid_similarity`` of a shard."""
        return parquet_io.read(parquet_io.shard_path(self.folder, shard), schemas.CLUSTER)

    def centroids(self) -> Matrix:
        """Read the centroids, (k, d) float32, rows of unit length."""
        table = parquet_io.read(self.folder / schemas.CENTROIDS, ["centroid"])
        return embedding_matrix.to_matrix(table["centroid"])

    def names(self) -> list[str]:
        """Read the names of the clusters, or their numbers if they have no names."""
        names = parquet_io.read(self.folder / schemas.CENTROIDS, ["name"])["name"].to_pylist()
        return [str(number) if name is None else name for number, name in enumerate(names)]


@dataclass(frozen=True, slots=True)
class ProxyOutput:
    """Training dynamics of a proxy: the probabilities of all classes after each epoch of each training run."""

    folder: Path
    fingerprint: str
    classes: int
    runs: int
    epochs: int

    def dynamics(self, numbers: Sequence[int]) -> Dynamics:
        """Return the dynamics of the rows of some shards; only one epoch is in memory at a time."""
        shard_paths = [parquet_io.shard_path(self.folder, number) for number in numbers]
        names = schemas.dynamics(self.runs, self.epochs)

        def read(run: int, epoch: int) -> Matrix:
            name = names[run * self.epochs + epoch]
            logs = (embedding_matrix.to_stored_matrix(parquet_io.read(path, [name])[name]) for path in shard_paths)
            return np.concatenate([softmax(each) for each in logs])

        labels = np.concatenate([parquet_io.read(path, ["label"])["label"].to_numpy() for path in shard_paths])
        return Dynamics(freeze(labels), self.classes, self.runs, self.epochs, read)


@dataclass(frozen=True, slots=True)
class ScoreOutput:
    """Scores of one entry of the score section."""

    name: str
    folder: Path
    fingerprint: str
    columns: tuple[str, ...]
    """Names of the columns in the shards, ``score_<name>`` first."""

    higher_is_better: tuple[bool, ...]

    def read(self, shard: int) -> pa.Table:
        """Read the score columns of a shard."""
        return parquet_io.read(parquet_io.shard_path(self.folder, shard), self.columns)


@dataclass(frozen=True, slots=True)
class DecontaminateOutput:
    """Rows that overlap an evaluation text, each with that text."""

    folder: Path
    fingerprint: str

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the hits of one shard, in the order of its rows; for one row, n-gram hits come first."""
        return parquet_io.read(parquet_io.shard_path(self.folder, shard), columns)


@dataclass(frozen=True, slots=True)
class SelectOutput:
    """Ledger of the selection."""

    folder: Path
    fingerprint: str
    epochs: tuple[int, ...] = ()
    """Number of rows in each epoch of an epoch plan; empty without one."""

    compared_versions: tuple[str, ...] = ()
    """Published versions that select entries compared rows with."""

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the ledger of one input shard, with one line per row."""
        return parquet_io.read(parquet_io.shard_path(self.folder, shard), columns)


@dataclass(frozen=True, slots=True)
class SplitOutput:
    """Splits of the selected rows."""

    folder: Path
    fingerprint: str
    names: tuple[str, ...]
    """Names of the splits, the one to train on first."""

    def read(self, shard: int) -> pa.ChunkedArray:
        """Read the split of each ledger row of one input shard, strings; null for a row that was not selected."""
        return parquet_io.read(parquet_io.shard_path(self.folder, shard), schemas.SPLIT)["split"]
