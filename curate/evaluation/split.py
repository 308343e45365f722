"""What a choice is made from and tested on: the pool and test files, or the pool with a share of it held out."""

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
from curate.stages.embed.stage import embed
from curate.stages.embed.vector_reuse import text_keys
from curate.stages.ingest import source_names
from curate.stages.ingest.stage import ingest, match_files
from curate.store import manifest
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import RunConfig

FOLDER = "evaluate"
"""Where, in a run's folder, everything stands that evaluating it leaves behind."""


@dataclass(frozen=True, slots=True)
class Split:
    """A handle on the rows to choose from and the rows to test on; small, and cheap to send to a worker."""

    config: RunConfig = field(compare=False)
    pool: PoolView
    """All rows of the run; those that evaluation texts are in are neither chosen from nor tested on."""

    test: PoolView | None = None
    """The rows of the test files."""

    holdout_rate: float = 0.0
    """Without test files: the share of the pool that is held out; 0 leaves nothing to test on."""

    @property
    def folder(self) -> Path:
        return self.context.folder / FOLDER

    @property
    def context(self) -> Context:
        return Context(self.config, Serial(), NullProgress())

    def pool_parts(self) -> dict[str, object]:
        """What the rows to choose from are made from."""
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
        """What the test rows are made from, besides the pool."""
        return {} if self.test is None else self.test.fingerprint_inputs()


def split_all(context: Context, pool: PoolView) -> Split:
    """The pool of a run, all of it but for contaminated rows to choose from, and nothing to test on."""
    return Split(context.config, pool)


def split_pool(context: Context, pool: PoolView) -> Split:
    """The same with test rows, as the configuration says: those of files, or a share of the pool held out."""
    asked = context.config.evaluate
    if asked.files is None:
        return replace(split_all(context, pool), holdout_rate=asked.holdout_rate)
    files = (asked.files,) if isinstance(asked.files, str) else asked.files
    return replace(split_all(context, pool), test=read_test_files(context, pool, files))


def read_test_files(context: Context, pool: PoolView, files: Sequence[str]) -> PoolView:
    """The rows of the test files, read and embedded as the pool was: with the same fit, and setting the same aside."""
    config = context.config
    match_files("evaluate.files", *files)  # said of these files, and not of the input's
    key = manifest.fingerprint({"files": list(files)})[:12]
    read = replace(config.input, files=tuple(files), source=source_names.source_column(config.input))
    own = replace(config, run=str(context.folder / FOLDER / "test" / key), input=read)
    testing = Context(own, context.executor, context.progress)
    source, record = ingest(testing)
    embedded = [embed(testing, source, entry, context.folder / "embed" / entry.name) for entry in config.embed]
    for mine, _ in embedded:
        if mine.dimensions != (wanted := pool.embedding(mine.name).dimensions):
            told = f"embed {mine.name}: the test rows have {mine.dimensions} dimensions, the pool {wanted}"
            raise DataError(told, where=", ".join(files))
    records: list[Record[StageResult]] = [record, *(record for _, record in embedded)]
    for done in records:
        if done.count.quarantined:
            context.progress.warn(f"test rows: {done.count.quarantined:,} set aside by {done.stage} {done.name}")
    return PoolView(source, config.memory_limit, testing.scratch, tuple(mine for mine, _ in embedded))


def hold_out(hashes: NDArray[np.uint64], rate: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out: a share ``rate`` of the different texts, decided by each one's hash and the seed.

    >>> hashes = np.array([7, 8, 7, 9, 10, 11], np.uint64)
    >>> held = hold_out(hashes, 0.5, seed=0)
    >>> bool(held[0] == held[2]), held.dtype
    (True, dtype('bool'))
    """
    salt = rng_for(seed, "evaluate/holdout").integers(2**64, dtype=np.uint64)
    return mix_bits(hashes ^ salt) < np.uint64(rate * 2.0**64)


class RowSubset:
    """Some of the rows of a pool or of the test files, by position; each column is read when it is first asked for."""

    def __init__(self, pool: PoolView, positions: Rows) -> None:
        self._pool, self.positions = pool, positions
        self._vectors: dict[str | None, Matrix] = {}

    def __len__(self) -> int:
        return len(self.positions)

    def column(self, role: str) -> pa.ChunkedArray:
        """One of id, text, label, source, tokens, hash."""
        whole = self._pool.read((role,))[role]
        return whole if len(self) == len(whole) else whole.take(pa.array(self.positions))

    def vectors(self, name: str | None) -> Matrix:
        """(m, d) float32 by the embed entry of that name; only the last one asked for is held."""
        if name not in self._vectors:
            whole = self._pool.embeddings(name)
            self._vectors = {name: whole if len(self) == len(whole) else freeze(whole[self.positions])}
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

    def take(self, some: NDArray[np.bool_]) -> RowSubset:
        """Those of the rows."""
        return RowSubset(self._pool, self.positions[some])


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedRows:
    """Test rows that are not tested on, and why."""

    overlapping: tuple[str, ...] = ()
    """Ids of rows of the test files whose text stands in the pool."""

    unlabelled: int = 0
    """Rows without a label, left out by metrics that read labels."""

    unknown: int = 0
    """Rows with a label that no row to choose from has, left out by the same."""


class SplitRows:
    """The rows of a split."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.pool = split.pool
        hashes = self.pool.hashes
        texts = text_keys(hashes)
        clean = ~self.pool.contaminated
        out = np.zeros(len(self.pool), bool)
        self._overlapping: tuple[str, ...] = ()
        if split.test is not None:
            theirs = split.test.read(("id", "hash"))
            again = pc.is_in(theirs["hash"], pc.unique(hashes.combine_chunks())).to_numpy()
            self._overlapping = tuple(theirs["id"].filter(pa.array(again)).to_pylist())
            self.test = RowSubset(split.test, np.flatnonzero(~again))
        else:
            out = hold_out(texts, split.holdout_rate, split.config.seed)
            self.test = RowSubset(self.pool, np.flatnonzero(out & clean))
        self.train = RowSubset(self.pool, np.flatnonzero(~out & clean))
        self.content = freeze(np.unique(texts[~out & clean], return_inverse=True)[1].astype(np.int32))
        """(n,) the same for train rows of the same text."""
        self._check()

    def _check(self) -> None:
        config = self.split.config
        if self.split.test is not None and not len(self.test):
            told = f"every one of the {len(self._overlapping):,} test rows stands in the pool too"
            raise DataError(told, hint="test on rows that the pool does not have")
        if self.split.holdout_rate and not (len(self.test) and len(self.train)):
            told = f"evaluate.holdout_rate {config.evaluate.holdout_rate} leaves nothing to "
            told += "test on" if not len(self.test) else "choose from"
            raise ConfigError(told, where=config.source, hint="change it, or name evaluate.files")

    # ------------------------------------------------------------ labels

    @cached_property
    def classes(self) -> list[str]:
        """The labels of the rows to choose from, sorted."""
        return list(self.train.labels.drop_nulls().unique().sort())

    @cached_property
    def label(self) -> Codes:
        """(n,) of the rows to choose from, -1 without one."""
        return _coded(self.train.labels, self.classes)

    @cached_property
    def test_label(self) -> Codes:
        """(m,) of all test rows, -1 without one or with one that no row to choose from has."""
        return _coded(self.test.labels, self.classes)

    @cached_property
    def labelled(self) -> RowSubset:
        """The test rows with a label that can be learnt."""
        return self.test.take(self.test_label >= 0)

    def left(self) -> ExcludedRows:
        """Which test rows are not tested on."""
        unlabelled = int(self.test.labels.null_count())
        unknown = int((self.test_label < 0).sum()) - unlabelled
        return ExcludedRows(overlapping=self._overlapping, unlabelled=unlabelled, unknown=unknown)

    # ------------------------------------------------------------ groups

    @cached_property
    def source(self) -> Codes:
        """(n,) one code a source."""
        return _coded(self.train.sources, list(self.train.sources.unique().sort()))

    def test_clusters(self) -> Codes:
        """(m,) of the labelled test rows: the cluster of the pool whose centre is the most similar."""
        clustered = self.pool.cluster_output
        if self.split.test is None:
            return np.asarray(self.pool.cluster[self.labelled.positions], np.int32)
        return lloyd.assign(self.labelled.vectors(clustered.embedding), clustered.centroids())[0]


@lru_cache(maxsize=2)
def open_split(split: Split) -> SplitRows:
    """The rows of a split, read once a process."""
    return SplitRows(split)


def _coded(values: pl.Series, names: list[str]) -> Codes:
    codes = values.cast(pl.Enum(names), strict=False).to_physical().cast(pl.Int32).fill_null(-1)
    return freeze(codes.to_numpy(writable=True))
