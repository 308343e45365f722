"""Finds the rows of the pool that share too much with evaluation texts, shard by shard; the select stage drops them.

What each shard shares is found once (``found``), whatever counts as enough; what that is makes the lists of hits. A row
is listed once for each set and kind of likeness, beside the evaluation text that it shares most with. Memory: all
evaluation texts, some 100 bytes a word of them and their vectors, in each worker; a shard's texts or vectors a worker.
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
"""What a row and an evaluation text have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecontaminateResult(StageResult):
    """What checking the pool against evaluation texts leaves in its manifest."""

    rows: int
    """Number of rows that share too much with an evaluation text."""

    hits: int
    """Number of lines about them: one for each set and kind of likeness."""

    sets: tuple[EvaluationSet, ...]


class Decontaminate(Stage["DecontaminateConfig", DecontaminateOutput]):
    """Rows that share too much with an evaluation text."""

    name = DECONTAMINATE
    section = DECONTAMINATE
    result = DecontaminateResult
    summary = "Look for evaluation texts among the pool's rows"
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
    DataError : naming the set: a file that is missing or has no rows, a column that is not there
    """
    folder = context.folder / DECONTAMINATE
    sets = evaluation_sets.fingerprints(context)
    made_from = {
        "version": _VERSION,
        **{key: value for key, value in to_plain(config).items() if key not in ("files", "text")},
        "sets": sets,
        "order": list(sets),
        "pool": pool.inputs.text_fingerprint,
        "embed": {entry.name: entry.fingerprint for entry in pool.embed_outputs},
    }
    step = Step(context, DECONTAMINATE, DECONTAMINATE, folder, DecontaminateResult, ("*", f"{_FOUND}/*"))
    record = run_step(step, made_from, lambda _: _work(context, pool, config, folder))
    return DecontaminateOutput(folder, record.fingerprint), record


@dataclass(frozen=True, slots=True)
class _Looking:
    """What is looked for, and how."""

    sets: tuple[EvaluationTexts, ...]
    ngram_size: int | None
    min_words: int
    differences: tuple[Difference, ...]
    min_similarity: float | None
    embedding: str | None

    def parts(self) -> dict[str, object]:
        """What decides what is found in a shard, besides its rows."""
        return {
            "version": _VERSION,
            "sets": [[one.source.fingerprint, one.embedded and one.embedded.fingerprint] for one in self.sets],
            "ngram": self.ngram_size and [self.ngram_size, self.min_words, *self.differences],
            "embedding": self.min_similarity and [self.min_similarity, self.embedding],
        }


@dataclass(frozen=True, slots=True)
class _Task:
    looking: _Looking
    pool: PoolView
    number: int
    folder: Path
    fingerprint: str
    """Of what was found."""

    @property
    def found(self) -> Path:
        return parquet_io.shard_path(self.folder / _FOUND, self.number)


@dataclass(frozen=True, slots=True)
class _Listing:
    task: _Task
    min_overlap_rate: float
    common: tuple[int, ...]
    """N-grams that do not count."""

    fingerprint: str

    @property
    def path(self) -> Path:
        return parquet_io.shard_path(self.task.folder, self.task.number)


def _work(context: Context, pool: PoolView, config: DecontaminateConfig, folder: Path) -> Outcome[DecontaminateResult]:
    sets, accounts = evaluation_sets.read(context)
    if config.min_similarity is not None:
        entry = next(one for one in context.config.embed if config.embedding in (None, one.name))
        sets = evaluation_sets.embed_sets(context, sets, entry)
    looking = _Looking(
        tuple(sets), config.ngram_size, config.min_words, config.normalize, config.min_similarity, config.embedding
    )
    keys = [manifest.fingerprint({**looking.parts(), "pool": digest}) for digest in pool.digests]
    tasks = [_Task(looking, pool, number, folder, key) for number, key in enumerate(keys)]
    _, failed, peak = context.map("looking for evaluation texts", _find, tasks, pool.shard_sizes)
    raise_if_failed(failed)
    common = _common(tasks, config.max_ngram_rows)
    enough = {"min_overlap_rate": config.min_overlap_rate, "common": common, "names": [one.name for one in sets]}
    listings = [
        _Listing(task, config.min_overlap_rate, common, manifest.fingerprint({**enough, "found": task.fingerprint}))
        for task in tasks
    ]
    for left_over in set(paths.list_names(folder / _FOUND)) - {task.found.name for task in tasks}:
        paths.unlink(folder / _FOUND / left_over)
    _, failed, also = context.map("listing what was found", _list, listings, pool.shard_sizes)
    raise_if_failed(failed)
    result = _result(looking, accounts, listings)
    _corpus.cache_clear()
    sources = count_all_kept(pool.source_counts())
    return Outcome(sources=sources, shards=len(tasks), peak_memory=max(peak, also), result=result)


def _common(tasks: Sequence[_Task], most: int | None) -> tuple[int, ...]:
    """The n-grams that more than so many rows of the pool have."""
    if most is None:
        return ()
    counts: Counter[int] = Counter()
    for task in tasks:
        counts.update(parquet_io.read(task.found, ["ngram"])["ngram"].drop_null().to_pylist())
    return tuple(sorted(number for number, rows in counts.items() if rows > most))


def _result(
    looking: _Looking, accounts: Sequence[evaluation_sets.SetAccount], listings: Sequence[_Listing]
) -> DecontaminateResult:
    """Count the hits, in all and for each set."""
    corpus = _corpus(looking)
    seen = np.zeros(len(corpus.group), np.bool_)
    rows, hits = 0, 0
    of_set: Counter[str] = Counter()
    for listing in listings:
        table = parquet_io.read(listing.path, ["id", "set"])
        rows += len(table["id"].unique())
        hits += len(table)
        of_set.update(name for _, name in {*zip(table["id"].to_pylist(), table["set"].to_pylist(), strict=True)})
        told = bytes.fromhex((parquet_io.read_schema(listing.path).metadata or {})[b"curate.texts"].decode())
        seen |= np.unpackbits(np.frombuffer(told, np.uint8), count=len(seen)).astype(np.bool_)
    short = np.zeros(len(seen), np.bool_) if corpus.ngrams is None else corpus.ngrams.different == 0
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
    """The t texts of all evaluation sets, one set after the other."""

    texts: list[str]
    place: list[tuple[str, int]]
    """File and line of each."""

    group: NDArray[np.int64]
    """(t,) the number of the set that each is of."""

    ngrams: NgramIndex | None
    vectors: list[tuple[NDArray[np.int64], Matrix]]
    """Of each set: the numbers of the texts that have one, and theirs."""


@lru_cache(maxsize=1)
def _corpus(looking: _Looking) -> _Corpus:
    texts: list[str] = []
    place: list[tuple[str, int]] = []
    embedded: list[tuple[NDArray[np.int64], Matrix]] = []
    for one in looking.sets:
        if one.embedded is not None:
            embedded.append(_vectors(one, len(texts)))
        files = one.source.files
        for table in one.source.iterate_shards(("text", "file", "line")):
            texts += table["text"].to_pylist()
            place += [
                (files[file], line)
                for file, line in zip(*(table[name].to_pylist() for name in ("file", "line")), strict=True)
            ]
    group = np.repeat(np.arange(len(looking.sets)), [one.source.rows for one in looking.sets])
    ngrams = None
    if looking.ngram_size is not None:
        ngrams = NgramIndex.from_texts(texts, looking.ngram_size, looking.min_words, looking.differences)
    return _Corpus(texts, place, group, ngrams, embedded)


def _vectors(one: EvaluationTexts, start: int) -> tuple[NDArray[np.int64], Matrix]:
    """The numbers of the texts of a set that could be embedded, and their vectors."""
    pool = PoolView(one.source, 0, Path(), () if one.embedded is None else (one.embedded,))
    numbers, found = [], []
    for shard in pool.shards():
        numbers.append(start + shard.positions)
        found.append(shard.vectors(None))
        start += one.source.shards[shard.number]
    return np.concatenate(numbers), np.concatenate(found)


# ---------------------------------------------------------------- one shard


def _find(task: _Task) -> None:
    """Write down what a shard's rows have in common with the evaluation texts."""
    if is_current_shard(task.found, task.fingerprint):
        return
    corpus, parts, shard = _corpus(task.looking), [schemas.OVERLAPS.empty_table()], task.pool.shard(task.number)
    if corpus.ngrams is not None:
        rows, numbers = corpus.ngrams.find(shard.read(("text",))["text"].to_pylist())
        parts.append(_lines(rows, ngram=numbers))
    if task.looking.min_similarity is not None:
        least = similarity_threshold(task.looking.min_similarity)
        x = shard.vectors(task.looking.embedding)
        for numbers, among in corpus.vectors:
            similarity, nearest, similar = match_embeddings(x, among, least)
            rows = np.flatnonzero(similar)
            text = numbers[nearest[rows]]
            parts.append(_lines(rows, text=text, similarity=similarity[rows], texts=similar[rows]))
    table = schemas.check(pa.concat_tables(parts), schemas.OVERLAPS, str(task.found))
    parquet_io.write(table, task.found, task.fingerprint, compression="zstd")


def _lines(rows: AnyArray, **columns: AnyArray) -> pa.Table:
    """Lines of what was found, null in the columns that are not given."""
    given = {"row": rows, **columns}
    arrays = [
        pa.array(given[field.name]).cast(field.type) if field.name in given else pa.nulls(len(rows), field.type)
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


def _list(listing: _Listing) -> None:
    """Write the list of a shard's hits: those rows that have enough in common with an evaluation text."""
    if is_current_shard(listing.path, listing.fingerprint):
        return
    task, path = listing.task, listing.path
    corpus = _corpus(task.looking)
    found = parquet_io.read(task.found)
    by_words = found.filter(found["ngram"].is_valid())
    seen = np.zeros(len(corpus.group), np.bool_)
    hits = [*_by_words(corpus, by_words, listing, seen), *_by_embedding(found.filter(found["text"].is_valid()))]
    hits.sort(key=lambda hit: hit.row)  # is stable: of a row, those by words come first, sets in their order
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
            "set": task.looking.sets[int(corpus.group[hit.text])].name,
            "similarity": hit.similarity,
            "shared": hit.shared,
            "text": texts[hit.row].as_py(),
            "evaluation_text": corpus.texts[hit.text],
            "evaluation_file": corpus.place[hit.text][0],
            "evaluation_line": corpus.place[hit.text][1],
            "evaluation_texts": hit.texts,
        }
        for name, hit in zip(ids, hits, strict=True)
    ]
    table = schemas.check(pa.Table.from_pylist(lines, schema), schema, str(path))
    parquet_io.write(table, path, listing.fingerprint, compression="zstd")


def _by_words(corpus: _Corpus, found: pa.Table, listing: _Listing, seen: NDArray[np.bool_]) -> Iterator[_Match]:
    """Row by row, set by set; marks every evaluation text that is ``seen``."""
    if corpus.ngrams is None:
        return
    numbers = found["ngram"].to_numpy().astype(np.int64)
    counts = ~np.isin(numbers, listing.common)
    rows, numbers = found["row"].to_numpy()[counts], numbers[counts]
    bounds = [*np.flatnonzero(np.diff(rows, prepend=-1)).tolist(), len(rows)]
    for first, last in itertools.pairwise(bounds):
        row, own = int(rows[first]), numbers[first:last]
        for overlap in corpus.ngrams.overlaps(own, corpus.group, listing.min_overlap_rate).values():
            seen[list(overlap.texts)] = True
            shared = corpus.ngrams.longest_shared_span(overlap.text, own)
            yield _Match(row, NGRAM, overlap.text, overlap.rate, len(overlap.texts), shared)


def _by_embedding(found: pa.Table) -> Iterator[_Match]:
    """Set by set, row by row."""
    for line in found.to_pylist():
        yield _Match(line["row"], EMBEDDING, line["text"], line["similarity"], line["texts"])
