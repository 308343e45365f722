"""Outputs of the stages as later stages read them: small handles on Parquet shards that are cheap to send to workers.

Shard *i* of every output contains rows of input shard *i*, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Codes, FittedState, Flags, Matrix, freeze
from curate.plugins.batches import TargetRows
from curate.plugins.dynamics import Dynamics, HeldOut, Learner, ProxyModel
from curate.plugins.registry import PluginSpec
from curate.pool import embedding_matrix
from curate.store import npz, parquet_io, schemas


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


TRAINED = "trained.npz"
"""Name of the file with the fitted state of a trained proxy."""


@dataclass(frozen=True, slots=True)
class ProxyOutput:
    """Training dynamics of a proxy: statistics and probabilities after each epoch of each training run."""

    folder: Path
    fingerprint: str
    spec: PluginSpec
    embedding: str | None
    """Name of the embed entry that the proxy reads; None for the first."""

    classes: int
    runs: int
    epochs: int
    statistics: tuple[str, ...]
    """Names of the known statistics."""

    has_probabilities: bool

    @property
    def is_trained(self) -> bool:
        """Whether the proxy was trained, rather than read from a log."""
        return "log" not in self.spec.plugin().traits.reads

    def state(self) -> FittedState:
        """Read the fitted state of a trained proxy."""
        return load_proxy_state(self.folder / TRAINED, self.fingerprint)

    def class_names(self) -> pa.Array:
        """Read the labels by the numbers of their classes, (classes,) strings."""
        return parquet_io.read(self.folder / schemas.CLASSES_FILE, ["label"])["label"].combine_chunks()

    def labels(self, numbers: Sequence[int]) -> Codes:
        """Read the class of each row of some shards, -1 for rows that the proxy was not trained on."""
        paths = (parquet_io.shard_path(self.folder, number) for number in numbers)
        return freeze(np.concatenate([parquet_io.read(path, ["label"])["label"].to_numpy() for path in paths]))

    def dynamics(self, numbers: Sequence[int], embeddings: Matrix | None = None) -> Dynamics:
        """Return the dynamics of the rows of some shards; only one epoch of probabilities is in memory at a time.

        Parameters
        ----------
        numbers : sequence of int
            Numbers of the shards.
        embeddings : (n, d) float32, optional
            Embeddings of their rows, for scorers that read the network.
        """
        shard_paths = [parquet_io.shard_path(self.folder, number) for number in numbers]
        names = schemas.probabilities(self.runs, self.epochs)

        def read_probabilities(run: int, epoch: int) -> Matrix:
            return _read_probabilities(shard_paths, names[run * self.epochs + epoch])

        def read_statistic(statistic: str) -> Matrix:
            columns = schemas.statistics(statistic, self.runs, self.epochs)
            tables = [parquet_io.read(path, columns) for path in shard_paths]
            values = np.empty((len(columns), sum(len(table) for table in tables)), np.float32)
            for epoch, name in enumerate(columns):
                values[epoch] = np.concatenate([table[name].to_numpy() for table in tables])
            return values

        model = None
        if embeddings is not None:
            model = ProxyModel(embeddings)
            if self.is_trained:
                model = ProxyModel(embeddings, self.spec.build(), self.state())
        return Dynamics(
            labels=self.labels(numbers),
            classes=self.classes,
            runs=self.runs,
            epochs=self.epochs,
            statistics=self.statistics,
            read_statistic=read_statistic,
            read_probabilities=read_probabilities if self.has_probabilities else None,
            learning_rate=self.spec.build().learning_rate if self.is_trained else 1.0,
            model=model,
        )

    def learner(self, numbers: Sequence[int], embeddings: Matrix) -> Learner:
        """Return the trained proxy, to train it on parts of the rows of some shards."""
        return Learner(embeddings, self.labels(numbers), self.classes, self.spec.build())


def _read_probabilities(paths: Sequence[Path], name: str) -> Matrix:
    """Return the probabilities in a column of logarithms of some shards, (n, classes) float32."""
    logs = (embedding_matrix.to_stored_matrix(parquet_io.read(path, [name])[name]) for path in paths)
    return np.concatenate([softmax(each) for each in logs])


@lru_cache(maxsize=1)
def load_proxy_state(path: Path, fingerprint: str) -> FittedState:
    """Read the fitted state of a trained proxy; the last one is cached."""
    return npz.load_required(path, fingerprint)


@dataclass(frozen=True, slots=True)
class HeldOutOutput:
    """Predictions of proxies for rows that they were not trained on."""

    folder: Path
    fingerprint: str
    classes: int
    runs: int

    def read(self, numbers: Sequence[int]) -> HeldOut:
        """Return the predictions for the rows of some shards; those of one run are in memory at a time."""
        shard_paths = [parquet_io.shard_path(self.folder, number) for number in numbers]
        names = schemas.held_out_columns(self.runs)

        def read_probabilities(run: int) -> Matrix:
            return _read_probabilities(shard_paths, names[run])

        labels = np.concatenate([parquet_io.read(path, ["label"])["label"].to_numpy() for path in shard_paths])
        return HeldOut(freeze(labels), self.classes, self.runs, read_probabilities)


@dataclass(frozen=True, slots=True)
class TargetOutput:
    """Rows of the task that the selection should serve."""

    folder: Path
    fingerprint: str
    content: str
    """Digest of the rows that selections see: their vectors, labels, tasks and texts."""

    shards: int
    """Number of shards."""

    def rows(self, embedding: str, *, texts: bool = False) -> TargetRows:
        """Read the rows that selections see, with the vectors of one embed entry, and with their texts if needed."""
        name = f"embedding_{embedding}"
        tables = self._read(["label", "task", "test", name, *(["text"] if texts else [])])
        tables = [table.filter(pc.invert(table["test"])) for table in tables]
        return TargetRows(
            np.concatenate([embedding_matrix.to_matrix(table[name]) for table in tables]),
            np.concatenate([table["label"].to_numpy() for table in tables]),
            np.concatenate([table["task"].to_numpy() for table in tables]),
            tuple(text for table in tables for text in table["text"].to_pylist()) if texts else None,
        )

    def texts(self) -> list[str]:
        """Return the texts of the rows that selections see."""
        tables = self._read(["text", "test"])
        return [text for table in tables for text in table.filter(pc.invert(table["test"]))["text"].to_pylist()]

    def test_rows(self) -> Flags:
        """Return which of all rows no selection sees, (m,)."""
        return np.concatenate([table["test"].to_numpy() for table in self._read(["test"])])

    def test_vectors(self, embedding: str) -> Matrix:
        """Read the vectors of the test rows whose content is not in the pool, (m, d) float32."""
        name = f"embedding_{embedding}"
        tables = self._read(["test", "in_pool", name])
        tables = [table.filter(pc.and_not(table["test"], table["in_pool"])) for table in tables]
        return np.concatenate([embedding_matrix.to_matrix(table[name]) for table in tables])

    def _read(self, columns: Sequence[str]) -> list[pa.Table]:
        return [parquet_io.read(parquet_io.shard_path(self.folder, number), columns) for number in range(self.shards)]


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
class ReviewOutput:
    """Rows whose label is probably wrong."""

    path: Path
    fingerprint: str

    def read(self) -> pa.Table:
        """Read the listed rows, the most likely wrong first."""
        return parquet_io.read(self.path, schemas.REVIEW)


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
