"""Split into rows to select from and test rows: the pool and test files, or the pool with a held-out share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.config.model import DECONTAMINATE
from curate.errors import ConfigError, DataError
from curate.executors.serial import Serial
from curate.kernels.clustering import lloyd
from curate.kernels.stats.hash_sampling import mix_bits
from curate.kernels.types import Codes, Matrix, Rows, freeze
from curate.pool.view import PoolView
from curate.progress import NullProgress
from curate.seeds import rng_for
from curate.stages.base import Context
from curate.stages.content_reuse import text_keys
from curate.stages.embed.stage import embed_other_rows
from curate.stages.ingest import source_names
from curate.stages.ingest.stage import ingest, match_files
from curate.stages.target import target_rows
from curate.store import manifest
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import RunConfig

FOLDER = "evaluate"
"""Subdirectory of the run directory with all stored results of evaluations."""


@dataclass(frozen=True, slots=True)
class Split:
    """Handle on the rows to select from and the test rows, which is cheap to send to a worker."""

    config: RunConfig = field(compare=False)
    pool: PoolView
    """All rows of the run; contaminated rows are neither selected nor tested."""

    test: PoolView | None = None
    """Rows of the test files, or of the target; None if rows of the pool are held out."""

    tests_target: bool = False
    """Whether ``test`` has the rows of the target, of which only its test rows are used."""

    holdout_rate: float = 0.0
    """Share of the pool that is held out, without test files; 0 for no test rows."""

    @property
    def folder(self) -> Path:
        """Directory of the stored results."""
        return self.context.folder / FOLDER

    @property
    def context(self) -> Context:
        """Context without workers and progress."""
        return Context(self.config, Serial(), NullProgress())

    def pool_parts(self) -> dict[str, object]:
        """Return the fingerprints that determine the rows to select from."""
        pool, decontaminated = self.pool, self.pool.decontaminate_output
        return {
            **pool.fingerprint_inputs(),
            "cluster": pool.cluster_output.fingerprint,
            "score": {entry.name: entry.fingerprint for entry in pool.score_outputs},
            "holdout_rate": self.holdout_rate,
            "holdout_seed": self.config.seed if self.holdout_rate else None,
            **({} if decontaminated is None else {DECONTAMINATE: decontaminated.fingerprint}),
        }

    def test_parts(self) -> dict[str, object]:
        """Return the fingerprints that determine the test rows, in addition to the pool."""
        return {} if self.test is None else self.test.fingerprint_inputs()


def split_all(context: Context, pool: PoolView) -> Split:
    """Return the split with all rows of the pool but contaminated ones to select from, and no test rows."""
    return Split(context.config, pool)


def split_pool(context: Context, pool: PoolView) -> Split:
    """Return the split with the test rows of the configuration: from files, of a labeled target, or of the pool."""
    section, target = context.config.evaluate, context.config.target
    if section.files is None and target is not None and target.label is not None and pool.target_test_rows().any():
        return replace(split_all(context, pool), test=target_rows.read(context, target), tests_target=True)
    if section.files is None:
        return replace(split_all(context, pool), holdout_rate=section.holdout_rate)
    files = (section.files,) if isinstance(section.files, str) else section.files
    return replace(split_all(context, pool), test=read_test_files(context, pool, files))


def read_test_files(context: Context, pool: PoolView, files: Sequence[str]) -> PoolView:
    """Read and embed the test files in the same way as the pool, with the same fitted state and quarantine rules."""
    config = context.config
    match_files("evaluate.files", *files)  # so that errors name these files, and not input.files
    if config.input.vectors_file is not None:
        raise DataError(
            "evaluate.files: the test rows have no vectors: input.vectors is one array for the pool",
            hint="set input.vectors to a suffix such as .npy, and write an array next to each file",
        )
    key = manifest.fingerprint({"files": list(files)})[:12]
    column = source_names.source_column(config.input)
    read = replace(config.input, files=tuple(files), source=column, corrections=None)
    test_config = replace(config, run=str(context.folder / FOLDER / "test" / key), input=read)
    testing = Context(test_config, context.executor, context.progress)
    source, record = ingest(testing)
    embedded = [embed_other_rows(testing, source, entry, context.folder) for entry in config.embed]
    for output, _ in embedded:
        if output.dimensions != (expected := pool.embedding(output.name).dimensions):
            message = f"embed {output.name}: the test rows have {output.dimensions} dimensions, the pool has {expected}"
            raise DataError(message, where=", ".join(files))
    records: list[Record[StageResult]] = [record, *(record for _, record in embedded)]
    for done in records:
        if done.count.quarantined:
            context.progress.warn(f"{done.count.quarantined:,} test rows were quarantined by {done.stage} {done.name}")
    return PoolView(source, config.memory_limit, testing.scratch, tuple(output for output, _ in embedded))


def hold_out(hashes: NDArray[np.uint64], rate: float, seed: int) -> NDArray[np.bool_]:
    """Return the mask of held-out rows: a share ``rate`` of the distinct texts, determined by text hash and seed.

    >>> hashes = np.array([7, 8, 7, 9, 10, 11], np.uint64)
    >>> held = hold_out(hashes, 0.5, seed=0)
    >>> bool(held[0] == held[2]), held.dtype
    (True, dtype('bool'))
    """
    salt = rng_for(seed, "evaluate/holdout").integers(2**64, dtype=np.uint64)
    return mix_bits(hashes ^ salt) < np.uint64(rate * 2.0**64)


class RowSubset:
    """Subset of the rows of a pool or of the test files, whose columns are read on first use."""

    def __init__(self, pool: PoolView, positions: Rows) -> None:
        self._pool, self.positions = pool, positions
        self._vectors: dict[str | None, Matrix] = {}

    def __len__(self) -> int:
        return len(self.positions)

    def column(self, role: str) -> pa.ChunkedArray:
        """Return one of the columns id, text, label, source, tokens, hash."""
        values = self._pool.read((role,))[role]
        return values if len(self) == len(values) else values.take(pa.array(self.positions))

    def vectors(self, name: str | None) -> Matrix:
        """Return the vectors of an embed entry, (m, d) float32; only those of the last entry are cached."""
        if name not in self._vectors:
            vectors = self._pool.embeddings(name)
            self._vectors = {name: vectors if len(self) == len(vectors) else freeze(vectors[self.positions])}
        return self._vectors[name]

    @cached_property
    def labels(self) -> pl.Series:
        return pl.Series(self.column("label"), dtype=pl.String)

    @cached_property
    def sources(self) -> pl.Series:
        return pl.Series(self.column("source"), dtype=pl.String)

    @cached_property
    def texts(self) -> list[str]:
        return list(self.column("text").to_pylist())

    def take(self, mask: NDArray[np.bool_]) -> RowSubset:
        """Return the rows of a mask."""
        return RowSubset(self._pool, self.positions[mask])


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedRows:
    """Test rows that are excluded from tests, and why."""

    overlapping: tuple[str, ...] = ()
    """Ids of rows in the test files whose text is in the pool."""

    unlabeled: int = 0
    """Number of rows without a label, which metrics that read labels ignore."""

    unknown: int = 0
    """Number of rows whose label is not in the training rows, which metrics that read labels ignore."""


class SplitRows:
    """Rows of a split."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.pool = split.pool
        hashes = self.pool.hashes
        texts = text_keys(hashes)
        clean = ~self.pool.contaminated
        out = np.zeros(len(self.pool), bool)
        self._overlapping: tuple[str, ...] = ()
        if split.test is not None:
            table = split.test.read(("id", "hash"))
            overlaps = pc.is_in(table["hash"], pc.unique(hashes.combine_chunks())).to_numpy()
            tested = split.pool.target_test_rows() if split.tests_target else np.ones(len(overlaps), np.bool_)
            self._overlapping = tuple(table["id"].filter(pa.array(tested & overlaps)).to_pylist())
            self.test = RowSubset(split.test, np.flatnonzero(tested & ~overlaps))
        else:
            out = hold_out(texts, split.holdout_rate, split.config.seed)
            self.test = RowSubset(self.pool, np.flatnonzero(out & clean))
        self.train = RowSubset(self.pool, np.flatnonzero(~out & clean))
        self.content = freeze(np.unique(texts[~out & clean], return_inverse=True)[1].astype(np.int32))
        """Code of the text of each training row, (n,), equal for equal texts."""
        self._check()

    def _check(self) -> None:
        config = self.split.config
        if self.split.test is not None and not len(self.test):
            message = f"the texts of all {len(self._overlapping):,} test rows are also in the pool"
            raise DataError(message, hint="use test rows that are not in the pool")
        if self.split.holdout_rate and not (len(self.test) and len(self.train)):
            message = f"evaluate.holdout_rate {config.evaluate.holdout_rate} leaves no rows to "
            message += "test on" if not len(self.test) else "select from"
            raise ConfigError(message, where=config.source, hint="change it, or set evaluate.files")

    # ------------------------------------------------------------ labels

    @cached_property
    def classes(self) -> list[str]:
        """Labels of the training rows, sorted."""
        return list(self.train.labels.drop_nulls().unique().sort())

    @cached_property
    def label(self) -> Codes:
        """Label code of each training row, (n,), -1 without a label."""
        return _coded(self.train.labels, self.classes)

    @cached_property
    def test_label(self) -> Codes:
        """Label code of each test row, (m,), -1 without a label or if no training row has it."""
        return _coded(self.test.labels, self.classes)

    @cached_property
    def labeled(self) -> RowSubset:
        """Test rows whose label is in the training rows."""
        return self.test.take(self.test_label >= 0)

    def excluded(self) -> ExcludedRows:
        """Return the test rows that are excluded."""
        unlabeled = int(self.test.labels.null_count())
        unknown = int((self.test_label < 0).sum()) - unlabeled
        return ExcludedRows(overlapping=self._overlapping, unlabeled=unlabeled, unknown=unknown)

    # ------------------------------------------------------------ groups

    @cached_property
    def source(self) -> Codes:
        """Source code of each training row, (n,)."""
        return _coded(self.train.sources, list(self.train.sources.unique().sort()))

    def test_clusters(self) -> Codes:
        """Return the cluster of each labeled test row, (m,): the one with the most similar centroid."""
        clustered = self.pool.cluster_output
        if self.split.test is None:
            return np.asarray(self.pool.cluster[self.labeled.positions], np.int32)
        return lloyd.assign(self.labeled.vectors(clustered.embedding), clustered.centroids())[0]


@lru_cache(maxsize=2)
def open_split(split: Split) -> SplitRows:
    """Return the rows of a split, which each process reads once."""
    return SplitRows(split)


def _coded(values: pl.Series, names: list[str]) -> Codes:
    codes = values.cast(pl.Enum(names), strict=False).to_physical().cast(pl.Int32).fill_null(-1)
    return freeze(codes.to_numpy(writable=True))
