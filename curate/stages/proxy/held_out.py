"""Held-out stage: predict every row by proxies that were trained on other rows, for the scorers that read this.

Rows are divided into folds by a hash of their vectors, so that copies share a fold; each run divides them differently.
A row without a label is predicted by the model of its fold, too.

Memory: for training, the pool's embeddings (in memory within ``memory_limit``, memory-mapped beyond), and the memory
that the proxy documents, for each thread; the predictions are in memory-mapped files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.stats.hash_folds import assign_vector_folds
from curate.kernels.stats.softmax import half_precision_logs, softmax
from curate.kernels.types import Codes
from curate.plugins.dynamics import compute_logits
from curate.pool import embedding_matrix
from curate.pool.stage_outputs import HeldOutOutput, ProxyOutput
from curate.pool.view import PoolView
from curate.seeds import rng_for
from curate.stages.base import (
    CompletedStages,
    Context,
    Outcome,
    Stage,
    Step,
    count_all_kept,
    plugin_call,
    run_step,
)
from curate.store import parquet_io, schemas
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.config.model import ProxyEntry, RunConfig

FOLDS = 5
"""Number of folds: each model is trained on four fifths of the rows."""

_ROWS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutResult(StageResult):
    """Result of the held-out stage, as stored in its manifest."""

    runs: int
    """Number of divisions into folds."""

    accuracy: float
    """Share of the labeled rows whose label is predicted, in the mean over the runs."""


class HeldOutPredictions(Stage["ProxyEntry", HeldOutOutput]):
    """Stage that predicts every row by proxies that were trained on other rows."""

    name = "held_out"
    section = "proxy"
    result = HeldOutResult
    has_single_step = True

    def entries(self, config: RunConfig) -> Sequence[ProxyEntry]:
        is_read = any("held_out" in entry.spec.plugin().traits.reads for entry in config.score)
        return (config.proxy,) if config.proxy is not None and is_read else ()

    def run(
        self, context: Context, done: CompletedStages, entry: ProxyEntry
    ) -> tuple[HeldOutOutput, Record[HeldOutResult]]:
        pool, folder = done.pool, context.folder / self.name
        trained = pool.proxy_output
        if trained is None:
            raise ValueError("the proxy stage comes first")
        parts = {**entry.fingerprint_parts(), "proxy": trained.fingerprint, "folds": FOLDS}
        record = run_step(
            Step(context, self.name, entry.name, folder, HeldOutResult),
            parts,
            lambda key: _work(context, pool, entry, trained, key),
        )
        return HeldOutOutput(folder, record.fingerprint, trained.classes, record.result.runs), record

    def extend(self, context: Context, done: CompletedStages, results: Sequence[HeldOutOutput]) -> CompletedStages:
        return replace(done, view=replace(done.pool, held_out_output=results[0]))


def _work(
    context: Context, pool: PoolView, entry: ProxyEntry, trained: ProxyOutput, fingerprint: str
) -> Outcome[HeldOutResult]:
    n, runs, classes = len(pool), trained.runs, trained.classes
    labels = trained.labels(range(len(pool.shard_sizes)))
    labeled = np.flatnonzero(labels >= 0)
    x = pool.embeddings(entry.embedding)
    plugin = replace(entry.spec.build(), runs=1)
    predictions = [embedding_matrix.allocate_mapped(context.scratch, np.float16, (n, classes)) for _ in range(runs)]
    context.progress.begin(f"training {entry.name} on folds", runs * n)
    folds = [
        assign_vector_folds(x, FOLDS, rng_for(context.config.seed, f"held_out/{entry.name}", run), labeled)
        for run in range(runs)
    ]

    def predict(task: tuple[int, int]) -> tuple[int, int]:
        run, fold = task
        held_out = np.flatnonzero(folds[run] == fold)
        training = labeled[folds[run][labeled] != fold]
        if not len(training):  # all labeled rows have the same vector
            predictions[run][held_out] = half_precision_logs(np.full((1, classes), 1 / classes, np.float32))
            return len(held_out), 0
        rng = rng_for(context.config.seed, f"held_out/{entry.name}/train", run * FOLDS + fold)
        state = plugin.train(x[training], labels[training], classes, rng)
        correct = 0
        for block in block_slices(len(held_out), _ROWS):
            rows = held_out[block]
            logits = compute_logits(plugin, state, x[rows], 0, plugin.epochs - 1)
            predictions[run][rows] = half_precision_logs(softmax(logits))
            correct += int((logits.argmax(axis=1) == labels[rows]).sum())
        return len(held_out), correct

    right = 0
    with plugin_call(entry.spec, entry.name):
        for rows, correct in map_blocks(predict, [(run, fold) for run in range(runs) for fold in range(FOLDS)]):
            context.progress.advance(rows)
            right += correct
    pool.release_embeddings()
    _write(context, pool, predictions, labels, fingerprint, entry.name)
    accuracy = right / (runs * len(labeled))
    context.progress.note(f"proxy {entry.name}: {accuracy:.1%} of the held-out labels are predicted")
    return Outcome(
        sources=count_all_kept(pool.source_counts()),
        shards=len(pool.shard_sizes),
        peak_memory=0,
        result=HeldOutResult(runs=runs, accuracy=accuracy),
    )


def _write(
    context: Context, pool: PoolView, predictions: Sequence[np.ndarray], labels: Codes, fingerprint: str, model: str
) -> None:
    schema = schemas.held_out(len(predictions), predictions[0].shape[1], {"model": model, "folds": str(FOLDS)})
    start = 0
    for shard, ids in enumerate(pool.ids.chunks):
        rows = slice(start, start + len(ids))
        columns = [
            pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(one[rows]).ravel()), one.shape[1])
            for one in predictions
        ]
        table = pa.table([ids, pa.array(labels[rows]), *columns], names=schema.names)
        path = parquet_io.shard_path(context.folder / "held_out", shard)
        parquet_io.write(schemas.check(table, schema, str(path)), path, fingerprint)
        start = rows.stop
