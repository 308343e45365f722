"""The pool as every stage after embed sees it: built once by the pipeline, and passed on.

The rows of the pool are those input rows that every embedder could embed, in input order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from operator import methodcaller
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import ConfigError, DataError
from curate.kernels.text.json_values import is_json
from curate.kernels.types import Codes, Matrix, Rows, Texts, Vector, Vectors, freeze
from curate.pool import embedding_matrix
from curate.pool.stage_outputs import (
    ClusterOutput,
    DecontaminateOutput,
    EmbedOutput,
    ProxyOutput,
    ScoreOutput,
    SelectOutput,
)
from curate.store import parquet_io
from curate.store.arrow_values import leaf_types
from curate.store.inputs import Inputs

T = TypeVar("T")

_LEDGER = ("id", "selected", "dropped_by", "reason", "representative", "similarity")

_HITS = pa.schema([("row", pa.int64()), ("kind", pa.string()), ("set", pa.string()), ("similarity", pa.float32())])


@dataclass(frozen=True)
class PoolView:
    """The pool's n rows, and what each stage that is done knows of them.

    Every column is read from disk when it is first needed, and then kept. A copy that is sent to a worker is small:
    it takes no column along.
    """

    inputs: Inputs
    memory_limit: int
    """Bytes of embeddings that may be held in memory; beyond, they are mapped from a file in ``scratch``."""

    scratch: Path
    embed_outputs: tuple[EmbedOutput, ...] = ()
    cluster_result: ClusterOutput | None = None
    proxy_output: ProxyOutput | None = None
    score_outputs: tuple[ScoreOutput, ...] = ()
    decontaminate_output: DecontaminateOutput | None = None
    select_result: SelectOutput | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return PoolView, tuple(getattr(self, field.name) for field in fields(self))

    # ------------------------------------------------------------ results of stages

    @property
    def cluster_output(self) -> ClusterOutput:
        """The result of the cluster stage."""
        return _done(self.cluster_result, "cluster")

    @property
    def select_output(self) -> SelectOutput:
        """The result of the select stage."""
        return _done(self.select_result, "select")

    def embedding(self, name: str | None) -> EmbedOutput:
        """Return the embed entry of that name; the first for None."""
        for entry in self.embed_outputs:
            if name in (None, entry.name):
                return entry
        raise ConfigError(f"there is no embed entry {name!r}")

    # ------------------------------------------------------------ shards

    @cached_property
    def shard_sizes(self) -> tuple[int, ...]:
        """Number of pool rows in each shard."""
        if len(self.embed_outputs) == 1:
            return self.embed_outputs[0].rows
        return tuple(len(chunk) for chunk in self.ids.chunks)

    def __len__(self) -> int:
        return sum(self.shard_sizes)

    @property
    def digests(self) -> list[dict[str, str]]:
        """What the rows of each shard and their vectors are made from."""
        recipes = {entry.name: entry.recipe for entry in self.embed_outputs}
        return [{"rows": digest, **recipes} for digest in self.inputs.digests]

    def shard(self, number: int) -> PoolShard:
        """Return one shard's rows."""
        return PoolShard(self, number)

    def shards(self) -> Iterator[PoolShard]:
        """Yield every shard, in order."""
        return map(self.shard, range(len(self.inputs.shards)))

    def source_counts(self) -> dict[str, int]:
        """Return the number of rows from each source, by name in order."""
        counts = sum((shard.sources() for shard in self.shards()), Counter[str]())
        return dict(sorted(counts.items()))

    def fingerprint_inputs(self) -> dict[str, object]:
        """Return what a stage that reads these rows and their embeddings is made from."""
        return {
            "input": self.inputs.fingerprint,
            "embed": {entry.name: entry.fingerprint for entry in self.embed_outputs},
        }

    # ------------------------------------------------------------ columns

    @cached_property
    def ids(self) -> pa.ChunkedArray:
        """Row ids, (n,) strings, a chunk for each shard."""
        return pa.chunked_array([shard.ids for shard in self.shards()], pa.string())

    @cached_property
    def _ids(self) -> dict[int, pa.Array]:
        """Ids of the shards that were read."""
        return {}

    @cached_property
    def _masks(self) -> dict[tuple[str, int], pa.Array]:
        """Which rows of an embed entry's shard are in the pool, where not all are, by entry and shard."""
        return {}

    @cached_property
    def _positions(self) -> dict[int, Rows]:
        """Positions of the pool's rows in the input shards whose ids were compared."""
        return {}

    @cached_property
    def hashes(self) -> pa.ChunkedArray:
        """Hashes of the rows' texts, (n,) of 16 bytes."""
        return self.read(("hash",))["hash"]

    @cached_property
    def cluster(self) -> Codes:
        """Cluster of each row, (n,) int32, -1 for rows in none."""
        tables = [self.cluster_output.read(number) for number in range(len(self.shard_sizes))]
        return np.concatenate([table["cluster"].to_numpy() for table in tables])

    @cached_property
    def tokens(self) -> NDArray[np.int32]:
        """Number of tokens of each row, (n,) int32."""
        return np.asarray(self.read(("tokens",))["tokens"].to_numpy())

    @cached_property
    def source(self) -> pl.Series:
        """Source of each row, (n,) categories."""
        return pl.Series(self.read(("source",))["source"]).cast(pl.Categorical)

    @cached_property
    def label(self) -> pl.Series:
        """Label of each row, (n,) strings or nulls."""
        return pl.Series(self.read(("label",))["label"])

    @cached_property
    def scores(self) -> dict[str, Vector]:
        """Score columns, (n,) float32 each, by their names without ``score_``."""
        scores: dict[str, Vector] = {}
        for entry in self.score_outputs:
            tables = [entry.read(number) for number in range(len(self.shard_sizes))]
            for column in entry.columns:
                scores[column.removeprefix("score_")] = freeze(np.concatenate([t[column].to_numpy() for t in tables]))
        return scores

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Orientation of every score column."""
        return {
            column.removeprefix("score_"): better
            for entry in self.score_outputs
            for column, better in zip(entry.columns, entry.higher_is_better, strict=True)
        }

    @cached_property
    def hits(self) -> pl.DataFrame:
        """Overlaps with evaluation texts: ``row`` in the pool, ``kind``, ``set`` and ``similarity``."""
        columns = ["kind", "set", "similarity"]
        tables = [_HITS.empty_table()]
        start = 0
        for number, size in enumerate(self.shard_sizes if self.decontaminate_output is not None else ()):
            found = _done(self.decontaminate_output, "decontaminate").read(number, ["id", *columns])
            if len(found):
                place = pc.index_in(found["id"].combine_chunks(), self.shard(number).ids)
                row = pc.add(place.cast(pa.int64()), start)
                tables.append(pa.table([row, *found.select(columns).columns], _HITS))
            start += size
        return _frame(pa.concat_tables(tables))

    @cached_property
    def contaminated(self) -> NDArray[np.bool_]:
        """Whether each row is dropped because of an evaluation text, (n,)."""
        mask = np.zeros(len(self), np.bool_)
        mask[self.hits["row"].to_numpy()] = True
        return mask

    @property
    def ledger(self) -> pl.DataFrame:
        """The rows' lines in the ledger, n of them."""
        return _frame(pa.concat_tables([self._ledger(shard, _LEDGER) for shard in self.shards()]))

    def read_ledger_rows(self, rows: Rows) -> pl.DataFrame:
        """Return the lines of some rows in the ledger; reads one shard at a time."""
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], np.cumsum((0, *self.shard_sizes)))
        tables: list[pa.Table] = []
        for shard, start in zip(self.shards(), np.cumsum((0, *self.shard_sizes[:-1])).tolist(), strict=True):
            some = rows[order[ends[shard.number] : ends[shard.number + 1]]] - start
            if len(some):
                tables.append(self._ledger(shard, _LEDGER).take(some))
        there = pa.concat_tables(tables or [self._ledger(self.shard(0), _LEDGER).slice(0, 0)])
        return _frame(there.take(np.argsort(order, kind="stable")))

    def find_rows(self, ids: Collection[str]) -> dict[str, int]:
        """Return the rows with some ids, those that are in the pool; reads one shard at a time."""
        wanted, found, start = pa.array(list(ids), pa.string()), dict[str, int](), 0
        for shard in self.shards() if len(ids) else ():
            there = self._ledger(shard, ["id"])["id"]
            rows = np.flatnonzero(pc.is_in(there, wanted).to_numpy())
            found |= dict(zip(there.take(rows).to_pylist(), (rows + start).tolist(), strict=True))
            start += len(shard)
        return found

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Mask of the rows that were selected, (n,) bool."""
        return np.concatenate([self._ledger(shard, ["selected"])["selected"].to_numpy() for shard in self.shards()])

    def rows_dropped_by(self, entry: str) -> Rows:
        """Return the rows that a select entry dropped, ascending; reads one shard at a time."""
        columns = (self._ledger(shard, ["dropped_by"])["dropped_by"] for shard in self.shards())
        parts = [pc.equal(column, entry).fill_null(False).to_numpy() for column in columns]
        return np.flatnonzero(np.concatenate(parts))

    def _ledger(self, shard: PoolShard, columns: Sequence[str]) -> pa.Table:
        return shard.take_pool_rows(self.select_output.read(shard.number, columns))

    def quality(self, name: str | None) -> Vector:
        """Return the score ``name`` with its sign turned so that higher = keep, (n,) float32; zeros for None.

        A leading ``-`` inverts it.
        """
        if name is None:
            return np.zeros(len(self), np.float32)
        plain = name.removeprefix("-")
        score = self.scores[plain]
        return score if self.higher_is_better[plain] == (name == plain) else -score

    def groups(self, name: str) -> pl.Series:
        """Return a column to group rows by: cluster, label, source, or one of the input, (n,)."""
        if name == "cluster":
            return pl.Series(self.cluster)
        return {"label": self.label, "source": self.source}[name] if name in ("label", "source") else self._own(name)

    def frame(self, names: Sequence[str]) -> pl.DataFrame:
        """Return score columns (``score_<name>``), columns of the input, and cluster, tokens, label and source."""
        scores = {f"score_{name}": values for name, values in self.scores.items()}
        columns: dict[str, pl.Series] = {}
        for name in names:
            if name in scores:
                columns[name] = pl.Series(name, scores[name])
            elif name in ("cluster", "label", "source") and name not in self.inputs.columns:
                columns[name] = pl.Series(name, self.groups(name))
            elif name == "tokens" and name not in self.inputs.columns:
                columns[name] = pl.Series(name, self.tokens)
            else:
                columns[name] = pl.Series(name, self._own(name))
        return pl.DataFrame(columns)

    def _own(self, name: str) -> pl.Series:
        if name not in self.inputs.columns:
            known = [*(f"score_{score}" for score in self.scores), *self.inputs.columns]
            ours = "cluster, label, source, tokens"
            raise DataError(f"there is no column {name!r}", hint=f"there are: {', '.join(known)}; and {ours}")
        return to_series(self.read(columns=(name,))[name], name)

    def read(self, roles: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> pa.Table:
        """Read columns of the input for all rows, as ``Inputs.read`` returns them."""
        return pa.concat_tables([shard.read(roles, columns) for shard in self.shards()])

    # ------------------------------------------------------------ embeddings and texts

    @cached_property
    def _matrices(self) -> dict[str, Matrix]:
        return {}

    def embeddings(self, name: str | None) -> Matrix:
        """Return the vectors of one embed entry, (n, d) float32, read-only; only the last ones are kept."""
        entry = self.embedding(name).name
        if entry not in self._matrices:
            self._matrices.clear()
            vectors = self.stream_embeddings(name)
            self._matrices[entry] = embedding_matrix.gather_vectors(vectors, self.memory_limit, self.scratch)
        return self._matrices[entry]

    def release_embeddings(self) -> None:
        """Release the vectors that ``embeddings`` keeps."""
        self._matrices.clear()

    def stream_embeddings(self, name: str | None) -> Vectors:
        """Return the vectors of one embed entry, read one shard at a time."""
        return Vectors(
            len(self), self.embedding(name).dimensions, lambda: map(methodcaller("vectors", name), self.shards())
        )

    def texts(self) -> Texts:
        """Return the texts of all rows, read one shard at a time."""

        def hashes(number: int) -> NDArray[np.uint64]:
            stored = self.shard(number).read(("hash",))["hash"].combine_chunks()
            both = np.frombuffer(stored.buffers()[1], np.uint64, 2 * len(stored), 16 * stored.offset)
            return both.reshape(-1, 2)

        return Texts(self.shard_sizes, lambda number: self.shard(number).read(("text",))["text"].to_pylist(), hashes)

    def read_texts(self, rows: Rows) -> list[str]:
        """Return the texts of some rows, which ascend; reads one shard at a time."""
        return [text for block in self.texts().take(rows).blocks() for text in block]


class PoolShard:
    """One shard's m rows of the pool; a view reads their ids once."""

    def __init__(self, pool: PoolView, number: int) -> None:
        self.pool, self.number = pool, number

    def __len__(self) -> int:
        return self.pool.shard_sizes[self.number]

    @property
    def ids(self) -> pa.Array:
        """Ids of the rows that every embedder could embed, (m,) strings."""
        self._load_ids()
        return self.pool._ids[self.number]

    def _load_ids(self) -> None:
        """Read the ids of every embed entry, once, and note which of its rows are in the pool."""
        if self.number in self.pool._ids:
            return
        every = {entry.name: _ids(entry, self.number) for entry in self.pool.embed_outputs}
        first, *others = every.values()
        for other in others:
            first = first.filter(pc.is_in(first, other))
        self.pool._ids[self.number] = first
        masks = {name: pc.is_in(ids, first) for name, ids in every.items() if len(ids) > len(first)}
        self.pool._masks.update({(name, self.number): mask for name, mask in masks.items()})

    @property
    def complete(self) -> bool:
        """Whether every row of the input shard is in the pool."""
        return len(self) == self.pool.inputs.shards[self.number]

    @property
    def positions(self) -> Rows:
        """Position of each row in its input shard, (m,)."""
        if self.complete:
            return np.arange(len(self))
        known = self.pool._positions
        if self.number not in known:
            everything = self.pool.inputs.read(self.number, ["id"])["id"].combine_chunks()
            known[self.number] = np.asarray(pc.index_in(self.ids, everything).to_numpy(), np.intp)
        return known[self.number]

    def take_pool_rows(self, table: pa.Table) -> pa.Table:
        """Return the pool rows of a table that has a line for each row of the input shard."""
        return table if self.complete and len(table) == len(self) else table.take(self.positions)

    def read(self, roles: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> pa.Table:
        """Read columns of the input, as ``Inputs.read`` returns them."""
        return self.take_pool_rows(self.pool.inputs.read(self.number, roles, columns))

    def sources(self) -> Counter[str]:
        """Count the rows of each source."""
        return Counter(self.read(("source",))["source"].to_pylist())

    def vectors(self, name: str | None) -> Matrix:
        """Read the embeddings by one embed entry, (m, d) float32."""
        entry = self.pool.embedding(name)
        table = parquet_io.read(entry.path(self.number), ["embedding"])
        if len(table) > len(self):
            self._load_ids()
            table = table.filter(self.pool._masks[entry.name, self.number])
        return embedding_matrix.to_matrix(table["embedding"])


def _ids(entry: EmbedOutput, shard: int) -> pa.Array:
    return parquet_io.read(entry.path(shard), ["id"])["id"].combine_chunks()


def _done(result: T | None, stage: str) -> T:
    if result is None:
        raise LookupError(f"the {stage} stage has not run")
    return result


def to_series(column: pa.ChunkedArray, name: str) -> pl.Series:
    """Return a column of the input for conditions and groups.

    JSON texts become the objects that they represent, with all fields of all of them, if one type holds those.

    Raises
    ------
    DataError
        Polars, which computes these, cannot represent its type.
    """
    if is_json(column.type):
        column = _parsed(column)
    try:
        if any(map(pa.types.is_decimal256, leaf_types(column.type))):
            raise pl.exceptions.InvalidOperationError("decimals of more than 38 digits are not supported")
        return pl.Series(column)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"column {name!r} is {column.type}, which conditions and groups cannot use: {str(error).splitlines()[0]}",
            hint=f"read it as text: input.types: {{{name}: string}}",
        ) from error


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = [text for chunk in column.chunks for text in chunk.storage.to_pylist()]
    try:
        return pa.chunked_array([pa.array([None if text is None else orjson.loads(text) for text in texts])])
    except (pa.ArrowException, OverflowError):
        return pa.chunked_array([pa.array(texts, pa.large_string())])


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()
