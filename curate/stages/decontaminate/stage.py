"""Decontaminate stage: find the rows that overlap evaluation texts, shard by shard; the select stage drops them.

The overlaps of each shard are computed once (``found``), independent of the thresholds; the thresholds then yield the
hits. A row is listed once for each set and kind of overlap, with its most similar evaluation text. Memory: all
evaluation texts (about 100 bytes per word) and their vectors in each worker, and the texts or vectors of one shard.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import paths
from curate.config.model import DECONTAMINATE, to_plain
from curate.contamination import EvaluationSet
from curate.kernels.linalg.cosines import similarity_threshold
from curate.kernels.text.ngram_overlap import NgramIndex, match_embeddings
from curate.kernels.text.text_differences import Difference
from curate.kernels.types import AnyArray, Matrix
from curate.pool.stage_outputs import DecontaminateOutput
from curate.pool.view import PoolView
from curate.stages.base import (
    CompletedStages,
    Context,
    Forecast,
    Outcome,
    PlannedStep,
    Stage,
    Step,
    count_all_kept,
    is_current_shard,
    raise_if_failed,
    run_step,
)
from curate.stages.decontaminate import evaluation_sets
from curate.stages.decontaminate.evaluation_sets import EvaluationTexts
from curate.store import manifest, parquet_io, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import DecontaminateConfig, RunConfig

_VERSION = 2
_FOUND = "found"

NGRAM, EMBEDDING = "ngram", "embedding"
"""Kinds of overlap between a row and an evaluation text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecontaminateResult(StageResult):
    """Result of the decontaminate stage, as stored in its manifest."""

    rows: int
    """Number of rows that overlap an evaluation text."""

    hits: int
    """Number of hits: one for each row, set and kind of overlap."""

    sets: tuple[EvaluationSet, ...]


class Decontaminate(Stage["DecontaminateConfig", DecontaminateOutput]):
    """Stage that finds rows that overlap evaluation texts."""

    name = DECONTAMINATE
    section = DECONTAMINATE
    result = DecontaminateResult
    summary = "Find the pool's rows that overlap evaluation texts"
    has_single_step = True

    def prepare(self, context: Context) -> None:
        evaluation_sets.resolve_sets(context.config)

    def run(
        self, context: Context, done: CompletedStages, entry: DecontaminateConfig
    ) -> tuple[DecontaminateOutput, Record[DecontaminateResult]]:
        return decontaminate(context, done.pool, entry)

    def extend(
        self, context: Context, done: CompletedStages, results: Sequence[DecontaminateOutput]
    ) -> CompletedStages:
        return replace(done, view=replace(done.pool, decontaminate_output=results[0]))

    def forecast(self, config: RunConfig, step: PlannedStep, before: Forecast) -> tuple[list[PlannedStep], Forecast]:
        return [replace(step, rows=before.rows)], replace(before, rows=None)


def decontaminate(
    context: Context, pool: PoolView, config: DecontaminateConfig
) -> tuple[DecontaminateOutput, Record[DecontaminateResult]]:
    """Run the decontaminate section.

    Raises
    ------
    DataError
        A file is missing or has no rows, or a column is missing; the error names the set.
    """
    folder = context.folder / DECONTAMINATE
    sets = evaluation_sets.fingerprints(context)
    inputs = {
        "version": _VERSION,
        **{key: value for key, value in to_plain(config).items() if key not in ("files", "text")},
        "sets": sets,
        "order": list(sets),
        "pool": pool.inputs.text_fingerprint,
        "embed": {entry.name: entry.fingerprint for entry in pool.embed_outputs},
    }
    step = Step(context, DECONTAMINATE, DECONTAMINATE, folder, DecontaminateResult, ("*", f"{_FOUND}/*"))
    record = run_step(step, inputs, lambda _: _work(context, pool, config, folder))
    return DecontaminateOutput(folder, record.fingerprint), record


@dataclass(frozen=True, slots=True)
class _Search:
    """Evaluation sets to search for, and the settings of the search."""

    sets: tuple[EvaluationTexts, ...]
    ngram_size: int | None
    min_words: int
    differences: tuple[Difference, ...]
    min_similarity: float | None
    embedding: str | None

    def fingerprint_inputs(self) -> dict[str, object]:
        """Return the inputs that determine the overlaps of a shard, besides its rows."""
        return {
            "version": _VERSION,
            "sets": [[one.source.fingerprint, one.embedded and one.embedded.fingerprint] for one in self.sets],
            "ngram": self.ngram_size and [self.ngram_size, self.min_words, *self.differences],
            "embedding": self.min_similarity and [self.min_similarity, self.embedding],
        }


@dataclass(frozen=True, slots=True)
class _Task:
    search: _Search
    pool: PoolView
    number: int
    folder: Path
    fingerprint: str
    """Fingerprint of the overlaps."""

    @property
    def overlaps(self) -> Path:
        return parquet_io.shard_path(self.folder / _FOUND, self.number)


@dataclass(frozen=True, slots=True)
class _ListTask:
    task: _Task
    min_overlap_rate: float
    common: tuple[int, ...]
    """Numbers of the n-grams that are too common to count."""

    fingerprint: str

    @property
    def path(self) -> Path:
        return parquet_io.shard_path(self.task.folder, self.task.number)


def _work(context: Context, pool: PoolView, config: DecontaminateConfig, folder: Path) -> Outcome[DecontaminateResult]:
    sets, accounts = evaluation_sets.read(context)
    if config.min_similarity is not None:
        entry = next(one for one in context.config.embed if config.embedding in (None, one.name))
        sets = evaluation_sets.embed_sets(context, sets, entry)
    search = _Search(
        tuple(sets), config.ngram_size, config.min_words, config.normalize, config.min_similarity, config.embedding
    )
    keys = [manifest.fingerprint({**search.fingerprint_inputs(), "pool": digest}) for digest in pool.digests]
    tasks = [_Task(search, pool, number, folder, key) for number, key in enumerate(keys)]
    _, failed, peak = context.map("searching for evaluation texts", _write_overlaps, tasks, pool.shard_sizes)
    raise_if_failed(failed)
    common = _find_common_ngrams(tasks, config.max_ngram_rows)
    enough = {"min_overlap_rate": config.min_overlap_rate, "common": common, "names": [one.name for one in sets]}
    listings = [
        _ListTask(task, config.min_overlap_rate, common, manifest.fingerprint({**enough, "found": task.fingerprint}))
        for task in tasks
    ]
    for obsolete in set(paths.list_names(folder / _FOUND)) - {task.overlaps.name for task in tasks}:
        paths.unlink(folder / _FOUND / obsolete)
    _, failed, also = context.map("listing overlaps", _write_hits, listings, pool.shard_sizes)
    raise_if_failed(failed)
    result = _count_hits(search, accounts, listings)
    _corpus.cache_clear()
    sources = count_all_kept(pool.source_counts())
    return Outcome(sources=sources, shards=len(tasks), peak_memory=max(peak, also), result=result)


def _find_common_ngrams(tasks: Sequence[_Task], most: int | None) -> tuple[int, ...]:
    """Return the n-grams that occur in more than ``most`` rows of the pool."""
    if most is None:
        return ()
    counts: Counter[int] = Counter()
    for task in tasks:
        counts.update(parquet_io.read(task.overlaps, ["ngram"])["ngram"].drop_null().to_pylist())
    return tuple(sorted(number for number, rows in counts.items() if rows > most))


def _count_hits(
    search: _Search, accounts: Sequence[evaluation_sets.SetAccount], listings: Sequence[_ListTask]
) -> DecontaminateResult:
    """Count the hits, in total and for each set."""
    corpus = _corpus(search)
    seen = np.zeros(len(corpus.group), np.bool_)
    rows, hits = 0, 0
    of_set: Counter[str] = Counter()
    for listing in listings:
        table = parquet_io.read(listing.path, ["id", "set"])
        rows += len(table["id"].unique())
        hits += len(table)
        of_set.update(name for _, name in {*zip(table["id"].to_pylist(), table["set"].to_pylist(), strict=True)})
        bits = bytes.fromhex((parquet_io.read_schema(listing.path).metadata or {})[b"curate.texts"].decode())
        seen |= np.unpackbits(np.frombuffer(bits, np.uint8), count=len(seen)).astype(np.bool_)
    short = np.zeros(len(seen), np.bool_) if corpus.ngrams is None else corpus.ngrams.n_distinct == 0
    counts = [np.bincount(corpus.group[mask], minlength=len(accounts)).tolist() for mask in (short, seen)]
    sets = tuple(
        EvaluationSet(
            name=account.name,
            files=account.files,
            texts=account.texts,
            empty=account.empty,
            short=counts[0][number],
            found=counts[1][number],
            rows=of_set[account.name],
        )
        for number, account in enumerate(accounts)
    )
    return DecontaminateResult(rows=rows, hits=hits, sets=sets)


# ---------------------------------------------------------------- the evaluation texts


@dataclass(frozen=True, slots=True)
class _Corpus:
    """Texts of all evaluation sets (t in total), one set after the other."""

    texts: list[str]
    locations: list[tuple[str, int]]
    """File and line of each text."""

    group: NDArray[np.int64]
    """Number of the set of each text, shape (t,)."""

    ngrams: NgramIndex | None
    vectors: list[tuple[NDArray[np.int64], Matrix]]
    """Numbers of the embedded texts of each set, and their vectors."""


@lru_cache(maxsize=1)
def _corpus(search: _Search) -> _Corpus:
    texts: list[str] = []
    locations: list[tuple[str, int]] = []
    embedded: list[tuple[NDArray[np.int64], Matrix]] = []
    for one in search.sets:
        if one.embedded is not None:
            embedded.append(_vectors(one, len(texts)))
        files = one.source.files
        for table in one.source.iterate_shards(("text", "file", "line")):
            texts += table["text"].to_pylist()
            locations += [
                (files[file], line)
                for file, line in zip(*(table[name].to_pylist() for name in ("file", "line")), strict=True)
            ]
    group = np.repeat(np.arange(len(search.sets)), [one.source.rows for one in search.sets])
    ngrams = None
    if search.ngram_size is not None:
        ngrams = NgramIndex.from_texts(texts, search.ngram_size, search.min_words, search.differences)
    return _Corpus(texts, locations, group, ngrams, embedded)


def _vectors(one: EvaluationTexts, start: int) -> tuple[NDArray[np.int64], Matrix]:
    """Return the numbers of the texts of a set that could be embedded, and their vectors."""
    pool = PoolView(one.source, 0, Path(), () if one.embedded is None else (one.embedded,))
    numbers, overlaps = [], []
    for shard in pool.shards():
        numbers.append(start + shard.positions)
        overlaps.append(shard.vectors(None))
        start += one.source.shards[shard.number]
    return np.concatenate(numbers), np.concatenate(overlaps)


# ---------------------------------------------------------------- one shard


def _write_overlaps(task: _Task) -> None:
    """Write the overlaps of a shard's rows with the evaluation texts."""
    if is_current_shard(task.overlaps, task.fingerprint):
        return
    corpus, tables, shard = (
        _corpus(task.search),
        [schemas.OVERLAPS.empty_table()],
        task.pool.shard(task.number),
    )
    if corpus.ngrams is not None:
        rows, numbers = corpus.ngrams.find(shard.read(("text",))["text"].to_pylist())
        tables.append(_lines(rows, ngram=numbers))
    if task.search.min_similarity is not None:
        least = similarity_threshold(task.search.min_similarity)
        x = shard.vectors(task.search.embedding)
        for numbers, among in corpus.vectors:
            similarity, nearest, similar = match_embeddings(x, among, least)
            rows = np.flatnonzero(similar)
            text = numbers[nearest[rows]]
            tables.append(_lines(rows, text=text, similarity=similarity[rows], texts=similar[rows]))
    table = schemas.check(pa.concat_tables(tables), schemas.OVERLAPS, str(task.overlaps))
    parquet_io.write(table, task.overlaps, task.fingerprint, compression="zstd")


def _lines(rows: AnyArray, **columns: AnyArray) -> pa.Table:
    """Return lines of overlaps, with nulls in the missing columns."""
    arrays_by_name = {"row": rows, **columns}
    arrays = [
        pa.array(arrays_by_name[field.name]).cast(field.type)
        if field.name in arrays_by_name
        else pa.nulls(len(rows), field.type)
        for field in schemas.OVERLAPS
    ]
    return pa.table(arrays, schema=schemas.OVERLAPS)


@dataclass(frozen=True, slots=True)
class _Match:
    row: int
    kind: str
    text: int
    similarity: float
    texts: int
    shared: str | None = None


def _write_hits(listing: _ListTask) -> None:
    """Write the hits of a shard: the rows whose overlap exceeds a threshold."""
    if is_current_shard(listing.path, listing.fingerprint):
        return
    task, path = listing.task, listing.path
    corpus = _corpus(task.search)
    overlaps = parquet_io.read(task.overlaps)
    by_words = overlaps.filter(overlaps["ngram"].is_valid())
    seen = np.zeros(len(corpus.group), np.bool_)
    hits = [
        *_ngram_hits(corpus, by_words, listing, seen),
        *_embedding_hits(overlaps.filter(overlaps["text"].is_valid())),
    ]
    hits.sort(key=lambda hit: hit.row)  # stable: for each row, hits by words come first, with sets in their order
    seen[[hit.text for hit in hits]] = True
    schema = schemas.hits(np.packbits(seen).tobytes().hex())
    rows = [hit.row for hit in hits]
    shard = task.pool.shard(task.number)
    ids = shard.ids.take(pa.array(rows, pa.int64())).to_pylist()
    texts = shard.read(("text",))["text"] if hits else []
    lines = [
        {
            "id": name,
            "kind": hit.kind,
            "set": task.search.sets[int(corpus.group[hit.text])].name,
            "similarity": hit.similarity,
            "shared": hit.shared,
            "text": texts[hit.row].as_py(),
            "evaluation_text": corpus.texts[hit.text],
            "evaluation_file": corpus.locations[hit.text][0],
            "evaluation_line": corpus.locations[hit.text][1],
            "evaluation_texts": hit.texts,
        }
        for name, hit in zip(ids, hits, strict=True)
    ]
    table = schemas.check(pa.Table.from_pylist(lines, schema), schema, str(path))
    parquet_io.write(table, path, listing.fingerprint, compression="zstd")


def _ngram_hits(corpus: _Corpus, overlaps: pa.Table, listing: _ListTask, seen: NDArray[np.bool_]) -> Iterator[_Match]:
    """Yield the hits by n-grams, row by row and set by set; mark all matching evaluation texts in ``seen``."""
    if corpus.ngrams is None:
        return
    numbers = overlaps["ngram"].to_numpy().astype(np.int64)
    counts = ~np.isin(numbers, listing.common)
    rows, numbers = overlaps["row"].to_numpy()[counts], numbers[counts]
    bounds = [*np.flatnonzero(np.diff(rows, prepend=-1)).tolist(), len(rows)]
    for first, last in itertools.pairwise(bounds):
        row, own_ngrams = int(rows[first]), numbers[first:last]
        for overlap in corpus.ngrams.overlaps(own_ngrams, corpus.group, listing.min_overlap_rate).values():
            seen[list(overlap.texts)] = True
            shared = corpus.ngrams.longest_shared_span(overlap.best_text, own_ngrams)
            yield _Match(row, NGRAM, overlap.best_text, overlap.rate, len(overlap.texts), shared)


def _embedding_hits(overlaps: pa.Table) -> Iterator[_Match]:
    """Yield the hits by embedding, set by set and row by row."""
    for line in overlaps.to_pylist():
        yield _Match(line["row"], EMBEDDING, line["text"], line["similarity"], line["texts"])
