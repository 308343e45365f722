"""One trial: a choice of rows, and what the metrics say of it; both are kept, so that nothing is done twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curate.errors import DataError, PluginError
from curate.evaluation.split import Split, SplitRows, open_split
from curate.kernels.parallel import one_blas_thread
from curate.kernels.types import FittedState, Rows, Vector, freeze
from curate.plugins.batches import MetricInput
from curate.plugins.interfaces import is_random
from curate.plugins.results import MetricResult
from curate.pool.stage_outputs import SelectOutput
from curate.seeds import rng_for
from curate.stages.base import Context, plugin_errors, raise_if_failed
from curate.stages.select.run_selector import choose
from curate.store import manifest, npz

if TYPE_CHECKING:
    from curate.config.model import MetricEntry, SelectEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSpec:
    """One way to choose from the rows of a split; with nothing said, all of them are chosen."""

    entries: tuple[SelectEntry, ...] = ()
    """Asked in order, each given the rows that the one before has left."""

    ledger: SelectOutput | None = None
    """The selection of a run, as it was published."""

    removed_rate: float = 0.0
    """The share of the rows to choose from that is taken away first."""

    seed: int

    def parts(self, split: Split) -> dict[str, object]:
        """What the chosen rows are made from."""
        asked = {"entries": [entry.fingerprint_parts() for entry in self.entries], "removed_rate": self.removed_rate}
        drawn = {"seed": self.seed} if self.removed_rate or any(_random(entry) for entry in self.entries) else {}
        ledger = {"ledger": self.ledger.fingerprint} if self.ledger else {}
        return {"version": 1, **split.pool_parts(), **asked, **drawn, **ledger}


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """What a choice came to."""

    indices: Rows
    """(k,) positions among the rows to choose from, best first."""

    weight: Vector | None
    """(k,) training weights; None: all alike."""

    seconds: float
    """What the choosing took."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A choice with what every metric found, by the metric entry's name."""

    chosen: ChosenRows
    measured: dict[str, MetricResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Task:
    split: Split
    choice: ChoiceSpec
    metrics: tuple[MetricEntry, ...]


def run_trials(
    context: Context, what: str, split: Split, choices: Sequence[ChoiceSpec], metrics: Sequence[MetricEntry] = ()
) -> list[TrialResult]:
    """Every choice made and measured, in order; what was done before is read, and the rest is done by the executor."""
    tasks = [_Task(split, choice, tuple(metrics)) for choice in choices]
    different = {_files(task): task for task in tasks}  # where nothing is drawn, one seed tells what all do
    missing = [task for task in different.values() if _load(task) is None]
    if len(missing) < len(different):
        context.progress.note(f"{what}: {len(different) - len(missing):,} of {len(different):,} trials done before")
    if missing:
        _, failed, _ = context.map(what, _try, missing, [1] * len(missing), "trials")
        raise_if_failed(failed)
    return [_read(task) for task in tasks]


def list_missing(
    split: Split, choices: Sequence[ChoiceSpec], metrics: Sequence[MetricEntry] = ()
) -> list[tuple[ChoiceSpec, bool, list[MetricEntry], object]]:
    """Return what ``run`` would do for these choices.

    Returns
    -------
    each : a choice, whether it is still to be made, the metrics that are still to be measured on it, and a key that two
        trials with the same results share
    """
    tasks = {_files(task): task for task in [_Task(split, choice, tuple(metrics)) for choice in choices]}
    found: list[tuple[ChoiceSpec, bool, list[MetricEntry], object]] = []
    for files, task in tasks.items():
        left = [entry for entry in metrics if npz.load(*_measure_file(task, entry)) is None]
        choosing = npz.load(*_chosen_file(split, task.choice)) is None
        if choosing or left:
            found.append((task.choice, choosing, left, files))
    return found


def _try(task: _Task) -> None:
    """Do what is missing of one trial."""
    with one_blas_thread():
        chosen = _chosen(task.split, task.choice)
        for entry in task.metrics:
            path, key = _measure_file(task, entry)
            if npz.load(path, key) is None:
                found = measure(open_split(task.split), chosen, entry, task.choice.seed)
                npz.save(path, key, _packed(found))


def _random(entry: SelectEntry | MetricEntry) -> bool:
    return is_random(entry.spec.build())


def _files(task: _Task) -> tuple[Path, ...]:
    """Where it is kept what comes of a trial."""
    return _chosen_file(task.split, task.choice)[0], *(_measure_file(task, entry)[0] for entry in task.metrics)


def _read(task: _Task) -> TrialResult:
    found = _load(task)
    if found is None:
        raise DataError("what a trial left is gone", where=str(task.split.folder), hint="run the same command again")
    return found


def _load(task: _Task) -> TrialResult | None:
    """What is on disk of a trial, if it is all there."""
    found = npz.load(*_chosen_file(task.split, task.choice))
    if found is None:
        return None
    measured: dict[str, MetricResult] = {}
    for entry in task.metrics:
        values = npz.load(*_measure_file(task, entry))
        if values is None:
            return None
        measured[entry.name] = _unpacked(values)
    return TrialResult(_unpacked_chosen(found), measured)


# ---------------------------------------------------------------- choosing


def _chosen_file(split: Split, choice: ChoiceSpec) -> tuple[Path, str]:
    key = manifest.fingerprint(choice.parts(split))
    return split.folder / "chosen" / f"{key}.npz", key


def _chosen(split: Split, choice: ChoiceSpec) -> ChosenRows:
    """The choice, read if it was made before; so is that of the entries before the last, which several may share."""
    path, key = _chosen_file(split, choice)
    found = npz.load(path, key)
    if found is not None:
        return _unpacked_chosen(found)
    chosen = _made(split, choice)
    weight = {} if chosen.weight is None else {"weight": chosen.weight}
    npz.save(path, key, {"order": chosen.indices, "seconds": np.array(chosen.seconds), **weight})
    return chosen


def _unpacked_chosen(found: FittedState) -> ChosenRows:
    return ChosenRows(found["order"], found.get("weight"), float(found["seconds"]))


def _made(split: Split, choice: ChoiceSpec) -> ChosenRows:
    pool, train = open_split(split).pool, open_split(split).train.positions
    if choice.ledger is not None:
        return published_rows(split, choice.ledger)
    if not choice.entries:
        return ChosenRows(remaining_rows(len(train), choice.removed_rate, choice.seed), None, 0.0)
    *earlier, last = choice.entries
    before = _chosen(split, ChoiceSpec(entries=tuple(earlier), removed_rate=choice.removed_rate, seed=choice.seed))
    survivors = np.sort(before.indices)
    if "embedding" in last.spec.plugin().traits.reads:
        pool.embeddings(last.embedding)  # reading them is no part of the selector's time
    begun = time.perf_counter()
    answer = choose(pool, train[survivors], last, choice.seed)
    seconds = before.seconds + time.perf_counter() - begun
    kept = survivors[answer.indices]
    if last.spec.plugin().traits.budgeted:
        return ChosenRows(kept, answer.weight, seconds)
    stay = np.isin(before.indices, kept)  # a filter leaves the order and the weights as they are
    return ChosenRows(before.indices[stay], None if before.weight is None else before.weight[stay], seconds)


def remaining_rows(n: int, removed_rate: float, seed: int) -> Rows:
    """The positions of n rows, less a share that is taken away by chance."""
    if not removed_rate:
        return np.arange(n)
    away = rng_for(seed, "evaluate/removed").choice(n, max(1, round(removed_rate * n)), replace=False)
    return np.setdiff1d(np.arange(n), away)


def published_rows(split: Split, ledger: SelectOutput) -> ChosenRows:
    """Return the rows of a ledger, best first, of a split that holds the complete pool, less contaminated rows."""
    ranks, weights = [], []
    for shard in split.pool.shards():
        table = shard.take_pool_rows(ledger.read(shard.number, ["rank", "weight"]))
        ranks.append(table["rank"].fill_null(-1).to_numpy())
        weights.append(table["weight"].fill_null(1).to_numpy())
    train = open_split(split).train.positions
    rank, weight = np.concatenate(ranks)[train], np.concatenate(weights)[train]
    kept = np.flatnonzero(rank >= 0)
    order = kept[np.argsort(rank[kept], kind="stable")]
    return ChosenRows(order, None if (weight[order] == 1).all() else weight[order], 0.0)


# ---------------------------------------------------------------- measuring


def _measure_file(task: _Task, entry: MetricEntry) -> tuple[Path, str]:
    reads = entry.spec.plugin().traits.reads
    parts = {
        "chosen": task.choice.parts(task.split),
        "metric": entry.fingerprint_parts(),
        "seed": task.choice.seed if _random(entry) else None,
        "test": task.split.test_parts() if "test" in reads else None,
    }
    key = manifest.fingerprint(parts)
    return task.split.folder / "measured" / f"{key}.npz", key


def measure(rows: SplitRows, chosen: ChosenRows, entry: MetricEntry, seed: int) -> MetricResult:
    """What one metric says of a choice.

    Raises
    ------
    PluginError : for a metric that fails, or does not give what it declared
    """
    declared = entry.spec.plugin().traits
    if not len(chosen.indices):
        raise DataError("a selection without a row cannot be judged", hint="raise the budget")
    trial = _trial(rows, chosen, entry)
    with plugin_errors(entry.spec, entry.name):
        found: MetricResult = entry.spec.build().measure(trial, rng_for(seed, f"metric/{entry.name}"))
    if list(found.values) != (names := [column.name for column in declared.measures]):
        raise PluginError(f"metric {entry.name!r} gave {list(found.values)}; it declares {names}")
    m = len(rows.labelled) if "label" in declared.reads else len(rows.test)
    if found.hits is not None and (found.hits.dtype != np.bool_ or found.hits.shape != (m,)):
        got = f"{found.hits.dtype} {found.hits.shape}"
        raise PluginError(f"metric {entry.name!r} gave hits {got}; expected bool ({m},)")
    return found


def _trial(rows: SplitRows, chosen: ChosenRows, entry: MetricEntry) -> MetricInput:
    """The choice, with what the metric reads."""
    reads = entry.spec.plugin().traits.reads
    train, test = rows.train, rows.labelled if "label" in reads else rows.test
    tested = "test" in reads
    return MetricInput(
        n=len(train),
        chosen=freeze(chosen.indices),
        weight=None if chosen.weight is None else freeze(chosen.weight),
        embeddings=train.vectors(entry.embedding) if "embedding" in reads else None,
        cluster=freeze(rows.pool.cluster[train.positions]) if "cluster" in reads else None,
        label=rows.label if "label" in reads else None,
        classes=tuple(rows.classes) if "label" in reads else (),
        source=rows.source if "source" in reads else None,
        content=rows.content if "content" in reads else None,
        tokens=freeze(rows.pool.tokens[train.positions]) if "tokens" in reads else None,
        texts=train.texts if "text" in reads else None,
        test_embeddings=test.vectors(entry.embedding) if tested and "embedding" in reads else None,
        test_label=freeze(rows.test_label[rows.test_label >= 0]) if tested and "label" in reads else None,
        test_texts=test.texts if tested and "text" in reads else None,
    )


def _packed(found: MetricResult) -> FittedState:
    hits = {} if found.hits is None else {"hits": found.hits}
    names, values = np.array(list(found.values), str), np.array(list(found.values.values()), float)
    return {"names": names, "values": values, "notes": np.array(found.notes, str), **hits}


def _unpacked(found: FittedState) -> MetricResult:
    values = dict(zip(found["names"].tolist(), found["values"].tolist(), strict=True))
    return MetricResult(values, found.get("hits"), tuple(found["notes"].tolist()))
