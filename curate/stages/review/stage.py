"""Review stage: list the rows whose label is most likely wrong, for people who correct them.

Rows are ordered by their mean rank over several scores. Each listed row has a suggested label and its nearest labeled
rows. The list is for the report, and ``review.csv`` in the run directory is for a spreadsheet. Memory: three numbers
for each row of the pool and score, the listed rows with their neighbors, and one shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate.config.model import REVIEW, to_plain
from curate.kernels.arrow_categories import encode_categories, unique_categories
from curate.kernels.neighbors.nearest_labeled import NearestLabeled
from curate.kernels.parallel import one_blas_thread
from curate.kernels.stats.rank_ensemble import ranks_by_score, worst_first
from curate.kernels.types import Codes, Numbers, Rows, Vector
from curate.pool.stage_outputs import ReviewOutput
from curate.pool.view import PoolView
from curate.report.report_data import LabelNoise
from curate.stages.base import CompletedStages, Context, Outcome, Stage, Step, count_all_kept, run_step
from curate.stages.review import answers, label_noise
from curate.store import parquet_io, redaction, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import ReviewConfig

_VERSION = 1
_LENGTH = 1_000  # characters of a text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewResult(StageResult):
    """Result of the review stage, as stored in its manifest."""

    scores: tuple[str, ...]
    """Scores whose ranks are averaged; a "-" before a name inverts the score."""

    listed: int
    """Number of listed rows."""

    ranked: int
    """Number of rows that have all the scores."""

    suggested_by: str
    """Origin of the suggested labels, as a phrase."""

    noise: LabelNoise | None
    """Estimate of the wrong labels of the pool; None without held-out predictions."""


class Review(Stage["ReviewConfig", ReviewOutput]):
    """Stage that lists rows whose label is probably wrong."""

    name = REVIEW
    section = REVIEW
    result = ReviewResult
    summary = "List the labels to review"
    has_single_step = True
    extra_outputs = (answers.NAME,)

    def run(
        self, context: Context, done: CompletedStages, entry: ReviewConfig
    ) -> tuple[ReviewOutput, Record[ReviewResult]]:
        return review(context, done.pool, entry)

    def extend(self, context: Context, done: CompletedStages, results: Sequence[ReviewOutput]) -> CompletedStages:
        done.pool.release_embeddings()
        return replace(done, view=replace(done.pool, review_output=results[0]))


def review(context: Context, pool: PoolView, config: ReviewConfig) -> tuple[ReviewOutput, Record[ReviewResult]]:
    """Run the review section."""
    folder = context.folder / REVIEW
    names = config.by or default_scores(context)
    inputs = {
        "version": _VERSION,
        **to_plain(config),
        "by": list(names),
        "scores": {entry.name: entry.fingerprint for entry in pool.score_outputs if _is_used(entry.columns, names)},
        "held_out": None if pool.held_out_output is None else pool.held_out_output.fingerprint,
        "input": pool.inputs.fingerprint,
        "embed": pool.embedding(config.embedding).fingerprint,
        "mask": list(context.config.export.mask_pii),
    }
    record = run_step(
        Step(context, REVIEW, REVIEW, folder, ReviewResult),
        inputs,
        lambda key: _work(context, pool, config, names, key),
    )
    output = ReviewOutput(folder / schemas.REVIEW_FILE, record.fingerprint)
    if context.plan is None and not parquet_io.exists(context.folder / answers.NAME):
        answers.write(context, pool, output.read(), names)
    return output, record


def default_scores(context: Context) -> tuple[str, ...]:
    """Return the scores of the configuration that find wrong labels, oriented so that lower values are worse."""
    names = []
    for entry in context.config.score:
        for column in entry.spec.plugin().traits.columns:
            name = f"{entry.name}_{column.name}" if column.name else entry.name
            if column.label_errors is not None:
                names.append(name if (column.label_errors == "low") == column.higher_is_better else f"-{name}")
    return tuple(names)


def _is_used(columns: Sequence[str], names: Sequence[str]) -> bool:
    return bool({column.removeprefix("score_") for column in columns} & {name.removeprefix("-") for name in names})


def _work(
    context: Context, pool: PoolView, config: ReviewConfig, names: Sequence[str], fingerprint: str
) -> Outcome[ReviewResult]:
    context.progress.begin("listing labels to review", len(pool))
    ranks = ranks_by_score([pool.quality(name) for name in names])
    order = worst_first(ranks)
    listed = order[: config.rows]
    rows = np.sort(listed)
    with one_blas_thread():
        found, labels = _search(context, pool, config, rows)
    suggested, confidence, origin = _suggest(pool, rows, found, labels)
    table = _table(context, pool, rows, _Columns(found, labels, suggested, confidence, ranks[:, rows]))
    table = table.take(pa.array(np.argsort(np.argsort(listed, kind="stable"), kind="stable")))
    table = table.set_column(0, "rank", pa.array(np.arange(1, len(table) + 1, dtype=np.int32)))
    parquet_io.write(
        schemas.check(table, schemas.REVIEW, REVIEW), context.folder / REVIEW / schemas.REVIEW_FILE, fingerprint
    )
    answers.write(context, pool, table, names)
    noise = None
    if pool.held_out_output is not None and pool.proxy_output is not None:
        noise = label_noise.estimate(pool, pool.held_out_output, pool.proxy_output.class_names())
    result = ReviewResult(scores=tuple(names), listed=len(table), ranked=len(order), suggested_by=origin, noise=noise)
    return Outcome(sources=count_all_kept(pool.source_counts()), shards=0, result=result)


# ---------------------------------------------------------------- neighbors


def _search(context: Context, pool: PoolView, config: ReviewConfig, rows: Rows) -> tuple[NearestLabeled, pa.Array]:
    """Return the nearest labeled rows of some rows, and all labels of the pool, which the codes refer to."""
    unique = [unique_categories(shard.read(("label",))["label"]) for shard in pool.shards()]
    names = unique_categories(pa.concat_arrays(unique))
    queries = pool.read_vectors(config.embedding, rows)
    found = NearestLabeled.start(queries, _read_codes(pool, rows, names), rows, config.n_neighbors)
    start = 0
    for shard in pool.shards():
        found.add(shard.vectors(config.embedding), encode_categories(shard.read(("label",))["label"], names), start)
        start += len(shard)
        context.progress.advance(len(shard))
    return found, names


def _read_codes(pool: PoolView, rows: Rows, names: pa.Array) -> Codes:
    """Return the codes of the labels of some rows, given in ascending order; reads one shard at a time."""
    parts = [
        encode_categories(pool.shard(number).read(("label",))["label"], names)[positions]
        for number, positions in _by_shard(pool, rows)
    ]
    return np.concatenate([np.empty(0, np.int32), *parts])


def _by_shard(pool: PoolView, rows: Rows) -> Iterator[tuple[int, Rows]]:
    """Yield each shard with some of the rows, given in ascending order, and their positions in it."""
    ends = np.cumsum((0, *pool.shard_sizes))
    cuts = np.searchsorted(rows, ends)
    for number, start, low, high in zip(pool.numbers, ends.tolist(), cuts[:-1], cuts[1:], strict=False):
        if low < high:
            yield number, rows[low:high] - start


# ---------------------------------------------------------------- suggested labels


def _suggest(pool: PoolView, rows: Rows, found: NearestLabeled, names: pa.Array) -> tuple[Codes, Vector, str]:
    """Return the suggested label of each row, -1 for none, how sure it is, and where suggestions come from."""
    held_out = pool.held_out_output
    if held_out is None or pool.proxy_output is None:
        codes, shares = _vote(found, _read_codes_of(pool, found.rows, names), len(names))
        return codes, shares, "the nearest labeled rows, weighted by their similarity"
    parts = [label_noise.read_mean(held_out, number)[0][positions] for number, positions in _by_shard(pool, rows)]
    mean = np.concatenate([np.empty((0, held_out.classes), np.float32), *parts])
    codes_of_classes = encode_categories(pool.proxy_output.class_names(), names)
    best = mean.argmax(axis=1)
    return codes_of_classes[best], mean.max(axis=1).astype(np.float32), "models that were not trained on the row"


def _read_codes_of(pool: PoolView, rows: Rows, names: pa.Array) -> Codes:
    """Return the codes of the labels of an array of rows; -1 for the row -1."""
    distinct = np.unique(rows[rows >= 0])
    codes = np.append(_read_codes(pool, distinct, names), np.int32(-1))
    return codes[np.where(rows >= 0, np.searchsorted(distinct, rows), len(distinct))]


def _vote(found: NearestLabeled, codes: Codes, classes: int) -> tuple[Codes, Vector]:
    """Return the label with the largest similarity in sum, ties to the lowest, and its share of the sum."""
    totals: Numbers = np.zeros((len(codes), classes))
    weights = np.where(codes >= 0, np.maximum(found.similarities, np.float32(1e-6)), 0)
    np.add.at(totals, (np.arange(len(codes))[:, None], np.maximum(codes, 0)), weights)
    sums = totals.sum(axis=1)
    best = totals.argmax(axis=1) if classes else np.zeros(len(codes), np.intp)
    shares = totals.max(axis=1, initial=0) / np.where(sums > 0, sums, 1)
    return np.where(sums > 0, best, -1).astype(np.int32), np.where(sums > 0, shares, np.nan).astype(np.float32)


# ---------------------------------------------------------------- the list


@dataclass(frozen=True, slots=True)
class _Columns:
    """Values of the listed rows, in ascending order of the rows."""

    found: NearestLabeled
    names: pa.Array
    suggested: Codes
    confidence: Vector
    ranks: Numbers


def _table(context: Context, pool: PoolView, rows: Rows, columns: _Columns) -> pa.Table:
    """Return the lines of the listed rows, without their ranks."""
    neighbors = columns.found.rows
    distinct = np.union1d(rows, neighbors[neighbors >= 0])
    ids = np.concatenate([np.empty(0, object), *(_ids(pool, *part) for part in _by_shard(pool, distinct))])
    texts = _texts(context, pool, distinct)
    codes = _read_codes(pool, distinct, columns.names)
    labels = [*columns.names.to_pylist(), None]
    place = np.searchsorted(distinct, rows)

    def describe(line: int) -> list[dict[str, object]]:
        near = neighbors[line][neighbors[line] >= 0]
        return [
            {"id": ids[at], "label": labels[codes[at]], "similarity": similarity, "text": texts[at]}
            for at, similarity in zip(
                np.searchsorted(distinct, near).tolist(), columns.found.similarities[line].tolist(), strict=False
            )
        ]

    confidence = pa.array(columns.confidence, from_pandas=True)
    return pa.table(
        [
            pa.nulls(len(rows), pa.int32()),
            pa.array(ids[place].tolist(), pa.string()),
            pa.array([texts[at] for at in place], pa.string()),
            pa.array([labels[codes[at]] for at in place], pa.string()),
            pa.array([labels[code] for code in columns.suggested], pa.string()),
            confidence,
            pa.array(columns.ranks.T.tolist(), schemas.REVIEW.field("ranks").type),
            pa.array([describe(line) for line in range(len(rows))], schemas.REVIEW.field("neighbors").type),
        ],
        names=schemas.REVIEW.names,
    )


def _ids(pool: PoolView, number: int, positions: Rows) -> np.ndarray:
    return np.array(pool.shard(number).ids.take(pa.array(positions)).to_pylist(), object)


def _texts(context: Context, pool: PoolView, rows: Rows) -> list[str]:
    """Return the masked and shortened texts of some rows, or the paths of their images, in ascending order."""
    if context.config.input.text is None:
        return pool.read_image_paths(rows)
    kinds = context.config.export.mask_pii
    texts = (redaction.redact(text, kinds) for block in pool.texts().take(rows).blocks() for text in block)
    return [text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…" for text in texts]
