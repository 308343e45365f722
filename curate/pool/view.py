"""View of the pool and of the outputs of earlier stages, which the pipeline builds and passes to every stage.

The rows of the pool are the input rows that every embedder could embed, in input order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache, partial
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
from curate.kernels.types import Codes, Flags, Images, Matrix, Rows, Texts, Vector, Vectors, freeze
from curate.plugins.batches import TargetRows
from curate.plugins.language_models import ModelRequest, Outputs
from curate.pool import embedding_matrix
from curate.pool.model_outputs import ModelOutput, find_output, to_arrays
from curate.pool.stage_outputs import (
    ClusterOutput,
    DecontaminateOutput,
    EmbedOutput,
    HeldOutOutput,
    ProxyOutput,
    ReviewOutput,
    ScoreOutput,
    SelectOutput,
    SplitOutput,
    TargetOutput,
)
from curate.store import image_files, parquet_io
from curate.store.arrow_values import leaf_types
from curate.store.inputs import IMAGE_DATA, Inputs
from curate.store.ledger import to_polars

T = TypeVar("T")

_LEDGER = ("id", "selected", "dropped_by", "reason", "representative", "similarity")

_HITS = pa.schema([("row", pa.int64()), ("kind", pa.string()), ("set", pa.string()), ("similarity", pa.float32())])


@dataclass(frozen=True)
class PoolView:
    """View of the n rows of the pool, with the outputs of all finished stages.

    Every column is read from disk on first use, and then cached. The cache is not sent to workers.
    """

    inputs: Inputs
    memory_limit: int
    """Size in bytes above which embeddings are memory-mapped from a file in ``scratch``."""

    scratch: Path
    embed_outputs: tuple[EmbedOutput, ...] = ()
    cluster_result: ClusterOutput | None = None
    proxy_output: ProxyOutput | None = None
    held_out_output: HeldOutOutput | None = None
    target_output: TargetOutput | None = None
    score_outputs: tuple[ScoreOutput, ...] = ()
    review_output: ReviewOutput | None = None
    decontaminate_output: DecontaminateOutput | None = None
    select_result: SelectOutput | None = None
    split_output: SplitOutput | None = None
    model_outputs: tuple[ModelOutput, ...] = ()
    only: tuple[int, ...] | None = None
    """Numbers of the shards in this view; None for all."""

    def __reduce__(self) -> tuple[object, ...]:
        return PoolView, tuple(getattr(self, field.name) for field in fields(self))

    # ------------------------------------------------------------ results of stages

    @property
    def cluster_output(self) -> ClusterOutput:
        """Output of the cluster stage."""
        return _require(self.cluster_result, "cluster")

    @property
    def select_output(self) -> SelectOutput:
        """Output of the select stage."""
        return _require(self.select_result, "select")

    def target_rows(self, embedding: str | None, *, texts: bool = False) -> TargetRows:
        """Return the rows of the target, with the vectors of the embed entry with a name; None for the first entry."""
        return _require(self.target_output, "target").rows(self.embedding(embedding).name, texts=texts)

    def target_texts(self) -> list[str]:
        """Return the texts of the rows of the target that selections see."""
        return _require(self.target_output, "target").texts()

    @property
    def target_fingerprint(self) -> str:
        """Fingerprint of the rows of the target."""
        return _require(self.target_output, "target").fingerprint

    def target_test_rows(self) -> Flags:
        """Return which rows of the target no selection sees, of all its rows."""
        return _require(self.target_output, "target").test_rows()

    def target_test_vectors(self, embedding: str | None) -> Matrix:
        """Return the vectors of the test rows of the target that are not in the pool, (m, d) float32."""
        return _require(self.target_output, "target").test_vectors(self.embedding(embedding).name)

    def embedding(self, name: str | None) -> EmbedOutput:
        """Return the output of the embed entry with a name; None for the first entry."""
        for entry in self.embed_outputs:
            if name in (None, entry.name):
                return entry
        raise ConfigError(f"there is no embed entry {name!r}")

    def model_output(self, request: ModelRequest) -> ModelOutput:
        """Return the outputs of a language model for a request."""
        return find_output(self.model_outputs, request)

    def read_model_outputs(self, request: ModelRequest) -> Outputs:
        """Read the outputs of a language model for a request as arrays, n rows each."""
        return to_arrays(pa.concat_tables([shard.stored_model_outputs(request) for shard in self.shards()]))

    # ------------------------------------------------------------ shards

    @property
    def numbers(self) -> Sequence[int]:
        """Numbers of the shards in this view, in order."""
        return range(len(self.inputs.shards)) if self.only is None else self.only

    def restrict(self, number: int) -> PoolView:
        """Return a view of the rows of one shard, which shares the cached ids, but no column."""
        view = replace(self, only=(number,))
        vars(view).update(_ids=self._ids, _masks=self._masks, _positions=self._positions)
        return view

    @cached_property
    def shard_sizes(self) -> tuple[int, ...]:
        """Number of pool rows in each shard."""
        if len(self.embed_outputs) == 1:
            return tuple(self.embed_outputs[0].rows[number] for number in self.numbers)
        return tuple(len(chunk) for chunk in self.ids.chunks)

    def __len__(self) -> int:
        return sum(self.shard_sizes)

    @property
    def digests(self) -> list[dict[str, str]]:
        """Fingerprints of the rows of each shard and of how their vectors are computed."""
        recipes = {entry.name: entry.recipe for entry in self.embed_outputs}
        return [{"rows": digest, **recipes} for digest in self.inputs.digests]

    def shard(self, number: int) -> PoolShard:
        """Return the rows of one shard."""
        return PoolShard(self, number)

    def shards(self) -> Iterator[PoolShard]:
        """Yield every shard, in order."""
        return map(self.shard, self.numbers)

    def source_counts(self) -> dict[str, int]:
        """Return the number of rows of each source, sorted by name."""
        counts = sum((shard.sources() for shard in self.shards()), Counter[str]())
        return dict(sorted(counts.items()))

    def fingerprint_inputs(self) -> dict[str, object]:
        """Return the fingerprints that a stage depends on if it reads these rows and their embeddings."""
        return {
            "input": self.inputs.stored_fingerprint,
            **({"annotate": [one.fingerprint for one in self.inputs.added]} if self.inputs.added else {}),
            "embed": {entry.name: entry.fingerprint for entry in self.embed_outputs},
        }

    # ------------------------------------------------------------ columns

    @cached_property
    def ids(self) -> pa.ChunkedArray:
        """Row ids, (n,) strings, with one chunk per shard."""
        return pa.chunked_array([shard.ids for shard in self.shards()], pa.string())

    @cached_property
    def _ids(self) -> dict[int, pa.Array]:
        """Cached row ids by shard."""
        return {}

    @cached_property
    def _masks(self) -> dict[tuple[str, int], pa.Array]:
        """Masks of the rows that are in the pool, by embed entry and shard, for shards with rows that are not."""
        return {}

    @cached_property
    def _positions(self) -> dict[int, Rows]:
        """Cached positions of the pool rows in their input shards."""
        return {}

    @cached_property
    def hashes(self) -> pa.ChunkedArray:
        """Hashes of the rows' texts, (n,) of 16 bytes."""
        return self.read(("hash",))["hash"]

    @cached_property
    def cluster(self) -> Codes:
        """Cluster of each row, (n,) int32, -1 for rows in none."""
        tables = [self.cluster_output.read(number) for number in self.numbers]
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
            tables = [entry.read(number) for number in self.numbers]
            for column in entry.columns:
                scores[column.removeprefix("score_")] = freeze(np.concatenate([t[column].to_numpy() for t in tables]))
        return scores

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Whether a higher value is better, for every score."""
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
        output = self.decontaminate_output
        for number, size in zip(self.numbers, self.shard_sizes, strict=True) if output is not None else ():
            hits = _require(output, "decontaminate").read(number, ["id", *columns])
            if len(hits):
                position = pc.index_in(hits["id"].combine_chunks(), self.shard(number).ids)
                row = pc.add(position.cast(pa.int64()), start)
                tables.append(pa.table([row, *hits.select(columns).columns], _HITS))
            start += size
        return to_polars(pa.concat_tables(tables))

    @cached_property
    def contaminated(self) -> NDArray[np.bool_]:
        """Whether each row is dropped because of an evaluation text, (n,)."""
        mask = np.zeros(len(self), np.bool_)
        mask[self.hits["row"].to_numpy()] = True
        return mask

    @property
    def ledger(self) -> pl.DataFrame:
        """Ledger of the pool, one line for each of the n rows."""
        return to_polars(pa.concat_tables([self._ledger(shard, _LEDGER) for shard in self.shards()]))

    def read_ledger_rows(self, rows: Rows) -> pl.DataFrame:
        """Return the ledger lines of some rows; reads one shard at a time."""
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], np.cumsum((0, *self.shard_sizes)))
        tables: list[pa.Table] = []
        for shard, start in zip(self.shards(), np.cumsum((0, *self.shard_sizes[:-1])).tolist(), strict=True):
            positions = rows[order[ends[shard.number] : ends[shard.number + 1]]] - start
            if len(positions):
                tables.append(self._ledger(shard, _LEDGER).take(positions))
        lines = pa.concat_tables(tables or [self._ledger(self.shard(0), _LEDGER).slice(0, 0)])
        return to_polars(lines.take(np.argsort(order, kind="stable")))

    def find_rows(self, ids: Collection[str]) -> dict[str, int]:
        """Return the row of each id that is in the pool; reads one shard at a time."""
        wanted, rows_by_id, start = pa.array(list(ids), pa.string()), dict[str, int](), 0
        for shard in self.shards() if len(ids) else ():
            shard_ids = self._ledger(shard, ["id"])["id"]
            rows = np.flatnonzero(pc.is_in(shard_ids, wanted).to_numpy())
            rows_by_id |= dict(zip(shard_ids.take(rows).to_pylist(), (rows + start).tolist(), strict=True))
            start += len(shard)
        return rows_by_id

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Mask of the rows that were selected, (n,) bool."""
        return np.concatenate([self._ledger(shard, ["selected"])["selected"].to_numpy() for shard in self.shards()])

    def rows_dropped_by(self, entry: str) -> Rows:
        """Return the rows that a select entry dropped, in ascending order; reads one shard at a time."""
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
        """Return a column to group rows by, (n,): cluster, label, source, or a column of the input."""
        if name == "cluster":
            return pl.Series(self.cluster)
        if name in ("label", "source"):
            return {"label": self.label, "source": self.source}[name]
        return self._input_column(name)

    def frame(self, names: Sequence[str]) -> pl.DataFrame:
        """Return a frame of columns: scores (``score_<name>``), input columns, cluster, tokens, label and source."""
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
                columns[name] = pl.Series(name, self._input_column(name))
        return pl.DataFrame(columns)

    def _input_column(self, name: str) -> pl.Series:
        if name not in self.inputs.columns:
            known = [*(f"score_{score}" for score in self.scores), *self.inputs.columns]
            derived = "cluster, label, source, tokens"
            raise DataError(f"there is no column {name!r}", hint=f"there are: {', '.join(known)}; and {derived}")
        return to_series(self.read(columns=(name,))[name], name)

    def read(self, roles: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> pa.Table:
        """Read columns of the input for all rows; see ``Inputs.read``."""
        return pa.concat_tables([shard.read(roles, columns) for shard in self.shards()])

    # ------------------------------------------------------------ embeddings and texts

    @cached_property
    def _matrices(self) -> dict[str, Matrix]:
        return {}

    def embeddings(self, name: str | None) -> Matrix:
        """Return the vectors of one embed entry, (n, d) float32, read-only; only those of the last entry are cached."""
        entry = self.embedding(name).name
        if entry not in self._matrices:
            self._matrices.clear()
            vectors = self.stream_embeddings(name)
            self._matrices[entry] = embedding_matrix.gather_vectors(vectors, self.memory_limit, self.scratch)
        return self._matrices[entry]

    def release_embeddings(self) -> None:
        """Release the vectors that ``embeddings`` caches."""
        self._matrices.clear()

    def stream_embeddings(self, name: str | None) -> Vectors:
        """Return the vectors of one embed entry, which are read one shard at a time."""
        return Vectors(
            len(self), self.embedding(name).dimensions, lambda: map(methodcaller("vectors", name), self.shards())
        )

    def read_vectors(self, name: str | None, rows: Rows) -> Matrix:
        """Return the vectors of some rows, given in ascending order; reads one shard at a time."""
        x = np.empty((len(rows), self.embedding(name).dimensions), np.float32)
        ends = np.cumsum((0, *self.shard_sizes))
        cuts = np.searchsorted(rows, ends).tolist()
        for shard, start, low, high in zip(self.shards(), ends.tolist(), cuts[:-1], cuts[1:], strict=False):
            if low < high:
                x[low:high] = shard.vectors(name)[rows[low:high] - start]
        return x

    def texts(self) -> Texts:
        """Return the texts of all rows, which are read one shard at a time; those of a single shard are read once."""
        return self._texts

    @cached_property
    def _texts(self) -> Texts:

        numbers = self.numbers

        def hashes(number: int) -> NDArray[np.uint64]:
            return to_hash_halves(self.shard(numbers[number]).read(("hash",))["hash"])

        def read(number: int) -> list[str]:
            texts: list[str] = self.shard(numbers[number]).read(("text",))["text"].to_pylist()
            return texts

        return Texts(self.shard_sizes, read if len(numbers) > 1 else lru_cache(maxsize=1)(read), hashes)

    def read_image_paths(self, rows: Rows) -> list[str]:
        """Return the paths of the images of some rows, given in ascending order; "" for bytes in a column."""
        names: list[str] = []
        ends = np.cumsum((0, *self.shard_sizes))
        cuts = np.searchsorted(rows, ends).tolist()
        for shard, start, low, high in zip(self.shards(), ends.tolist(), cuts[:-1], cuts[1:], strict=False):
            if low < high:
                stored = pc.struct_field(shard.read(("image",))["image"], "path").take(rows[low:high] - start)
                names += stored.fill_null("").to_pylist()
        return names

    def images(self) -> Images | None:
        """Return the images of all rows, which are read one by one; None for a pool without images."""
        return self._images

    @cached_property
    def _images(self) -> Images | None:
        if not self.inputs.has_images:
            return None
        shards = list(self.shards())
        facts = [image_files.to_images(shard.read(("image",))["image"], None) for shard in shards]
        load = lru_cache(maxsize=1)(lambda part: shards[part].images())
        parts = [replace(part, read=partial(_read_image, load, number)) for number, part in enumerate(facts)]
        return Images.concatenate(parts)

    def read_texts(self, rows: Rows) -> list[str]:
        """Return the texts of some rows, given in ascending order; reads one shard at a time."""
        return [text for block in self.texts().take(rows).blocks() for text in block]


class PoolShard:
    """View of the m pool rows of one shard."""

    def __init__(self, pool: PoolView, number: int) -> None:
        self.pool, self.number = pool, number

    def __len__(self) -> int:
        embedded = self.pool.embed_outputs
        return embedded[0].rows[self.number] if len(embedded) == 1 else len(self.ids)

    @property
    def ids(self) -> pa.Array:
        """Ids of the rows that every embedder could embed, (m,) strings."""
        self._load_ids()
        return self.pool._ids[self.number]

    def _load_ids(self) -> None:
        """Read the ids of every embed entry once, and store which of its rows are in the pool."""
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
        cached = self.pool._positions
        if self.number not in cached:
            everything = self.pool.inputs.read(self.number, ["id"])["id"].combine_chunks()
            cached[self.number] = np.asarray(pc.index_in(self.ids, everything).to_numpy(), np.intp)
        return cached[self.number]

    def take_pool_rows(self, table: pa.Table) -> pa.Table:
        """Return the pool rows of a table that has one line for each row of the input shard."""
        return table if self.complete and len(table) == len(self) else table.take(self.positions)

    def read(self, roles: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> pa.Table:
        """Read columns of the input; see ``Inputs.read``."""
        return self.take_pool_rows(self.pool.inputs.read(self.number, roles, columns))

    def images(self) -> Images:
        """Return the images of the rows, which are read one by one."""
        table = self.read(("image", IMAGE_DATA))
        return image_files.to_images(table["image"], table[IMAGE_DATA])

    def stored_model_outputs(self, request: ModelRequest) -> pa.Table:
        """Read the outputs of a language model for a request, m rows."""
        return self.take_pool_rows(self.pool.model_output(request).read(self.number))

    def read_model_outputs(self, request: ModelRequest) -> Outputs:
        """Read the outputs of a language model for a request as arrays, m rows each."""
        return to_arrays(self.stored_model_outputs(request))

    def sources(self) -> Counter[str]:
        """Return the number of rows of each source."""
        return Counter(self.read(("source",))["source"].to_pylist())

    def vectors(self, name: str | None) -> Matrix:
        """Read the embeddings of one embed entry, (m, d) float32."""
        return embedding_matrix.to_matrix(self.stored_vectors(name))

    def stored_vectors(self, name: str | None) -> pa.ChunkedArray:
        """Read the embeddings of one embed entry as they are stored, (m,) lists."""
        entry = self.pool.embedding(name)
        table = parquet_io.read(entry.path(self.number), ["embedding"])
        if len(table) > len(self):
            self._load_ids()
            table = table.filter(self.pool._masks[entry.name, self.number])
        return table["embedding"]


def _read_image(load: Callable[[int], Images], part: int, row: int) -> bytes:
    return load(part)[row]


def to_hash_halves(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Return a column of hashes of 16 bytes as two halves, (n, 2)."""
    stored = column.combine_chunks()
    both = np.frombuffer(stored.buffers()[1], np.uint64, 2 * len(stored), 16 * stored.offset)
    return both.reshape(-1, 2)


def _ids(entry: EmbedOutput, shard: int) -> pa.Array:
    return parquet_io.read(entry.path(shard), ["id"])["id"].combine_chunks()


def _require(result: T | None, stage: str) -> T:
    if result is None:
        raise LookupError(f"the {stage} stage has not run")
    return result


def to_series(column: pa.ChunkedArray, name: str) -> pl.Series:
    """Return a column of the input as a Polars Series, for conditions and groups.

    JSON texts are parsed to objects if one type with the fields of all of them exists.

    Raises
    ------
    DataError
        If Polars cannot represent the type of the column.
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
            hint=f"read the column as text: input.types: {{{name}: string}}",
        ) from error


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = [text for chunk in column.chunks for text in chunk.storage.to_pylist()]
    try:
        return pa.chunked_array([pa.array([None if text is None else orjson.loads(text) for text in texts])])
    except (pa.ArrowException, OverflowError):
        return pa.chunked_array([pa.array(texts, pa.large_string())])
