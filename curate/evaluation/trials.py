"""Trials: selections of rows and the metrics of each selection; both are stored, so that nothing is computed twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.stages.select.run_selector import choose
from curate.store import manifest, npz

if TYPE_CHECKING:
    from curate.config.model import MetricEntry, SelectEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSpec:
    """Specification of a selection from the rows of a split; by default, all rows are selected."""

    entries: tuple[SelectEntry, ...] = ()
    """Select entries, each of which reads the rows that the previous one kept."""

    ledger: SelectOutput | None = None
    """Published selection of a run, used instead of entries."""

    removed_rate: float = 0.0
    """Share of the training rows that is removed first."""

    seed: int
    """Seed of the selection and of the metrics."""

    def parts(self, split: Split) -> dict[str, object]:
        """Return the fingerprints that determine the selected rows."""
        spec = {"entries": [entry.fingerprint_parts() for entry in self.entries], "removed_rate": self.removed_rate}
        drawn = {"seed": self.seed} if self.removed_rate or any(_random(entry) for entry in self.entries) else {}
        ledger = {"ledger": self.ledger.fingerprint} if self.ledger else {}
        return {"version": 1, **split.pool_parts(), **spec, **drawn, **ledger}


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Selected rows of a trial."""

    indices: Rows
    """Positions of the selected rows among the training rows, (k,), best first."""

    weight: Vector | None
    """Training weights, (k,); None for equal weights."""

    seconds: float
    """Duration of the selection."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """Selected rows, with the values of every metric by the name of its entry."""

    chosen: ChosenRows
    measured: dict[str, MetricResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Task:
    split: Split
    choice: ChoiceSpec
    metrics: tuple[MetricEntry, ...]


def run_trials(
    context: Context,
    label: str,
    split: Split,
    choices: Sequence[ChoiceSpec],
    metrics: Sequence[MetricEntry] = (),
    unmeasured: Sequence[ChoiceSpec] = (),
) -> list[TrialResult]:
    """Run all trials, and measure all but the ``unmeasured`` ones; stored results are reused.

    Return the results of ``choices``, followed by those of ``unmeasured``.
    """
    tasks = [_Task(split, choice, tuple(metrics)) for choice in choices]
    tasks += [_Task(split, choice, ()) for choice in unmeasured]
    different = {_files(task): task for task in tasks}  # without random draws, all seeds share one trial
    missing = [task for task in different.values() if _load(task) is None]
    if len(missing) < len(different):
        context.progress.note(f"{label}: {len(different) - len(missing):,} of {len(different):,} trials are reused")
    selections = {_chosen_file(split, task.choice)[0]: replace(task, metrics=()) for task in missing}
    if len(selections) < len(missing):  # first, so that no two workers make the same selection
        _map(context, f"{label}: selecting", [task for task in selections.values() if _load(task) is None])
        missing = [task for task in missing if task.metrics]
    _map(context, label, _share_metrics(missing))
    return [_read(task) for task in tasks]


def _share_metrics(tasks: Sequence[_Task]) -> list[_Task]:
    """Return the tasks, so that of equal measurements, such as those of all seeds, only the first is made."""
    seen: set[Path] = set()
    shared = []
    for task in tasks:
        files = {_measure_file(task, entry)[0]: entry for entry in task.metrics}
        new = tuple(entry for file, entry in files.items() if file not in seen)
        seen.update(files)
        if new or not task.metrics:
            shared.append(replace(task, metrics=new))
    return shared


def _map(context: Context, label: str, tasks: Sequence[_Task]) -> None:
    """Compute the missing parts of some trials on the workers."""
    if tasks:
        _, failed, _ = context.map(label, _try, tasks, [1] * len(tasks), "trials")
        raise_if_failed(failed)


def list_missing(
    split: Split, choices: Sequence[ChoiceSpec], metrics: Sequence[MetricEntry] = ()
) -> list[tuple[ChoiceSpec, bool, list[MetricEntry], object]]:
    """Return the trials that ``run_trials`` would compute.

    Returns
    -------
    list of tuple
        For each trial: its specification, whether the selection is missing, the metrics that are missing, and a key
        that trials with equal results share.
    """
    tasks = {_files(task): task for task in [_Task(split, choice, tuple(metrics)) for choice in choices]}
    result: list[tuple[ChoiceSpec, bool, list[MetricEntry], object]] = []
    for files, task in tasks.items():
        missing_metrics = [entry for entry in metrics if npz.load(*_measure_file(task, entry)) is None]
        choosing = npz.load(*_chosen_file(split, task.choice)) is None
        if choosing or missing_metrics:
            result.append((task.choice, choosing, missing_metrics, files))
    return result


def _try(task: _Task) -> None:
    """Compute the missing parts of one trial."""
    with one_blas_thread():
        chosen = _chosen(task.split, task.choice)
        for entry in task.metrics:
            path, key = _measure_file(task, entry)
            if npz.load(path, key) is None:
                result = measure(open_split(task.split), chosen, entry, task.choice.seed)
                npz.save(path, key, _packed(result))


def _random(entry: SelectEntry | MetricEntry) -> bool:
    return is_random(entry.spec.build())


def _files(task: _Task) -> tuple[Path, ...]:
    """Return the paths of the stored results of a trial."""
    return _chosen_file(task.split, task.choice)[0], *(_measure_file(task, entry)[0] for entry in task.metrics)


def _read(task: _Task) -> TrialResult:
    result = _load(task)
    if result is None:
        raise DataError(
            "the stored results of a trial are missing", where=str(task.split.folder), hint="run the same command again"
        )
    return result


def _load(task: _Task) -> TrialResult | None:
    """Return the stored results of a trial; None if any of them is missing."""
    result = npz.load(*_chosen_file(task.split, task.choice))
    if result is None:
        return None
    measured: dict[str, MetricResult] = {}
    for entry in task.metrics:
        values = npz.load(*_measure_file(task, entry))
        if values is None:
            return None
        measured[entry.name] = _unpacked(values)
    return TrialResult(_unpacked_chosen(result), measured)


# ---------------------------------------------------------------- choosing


def _chosen_file(split: Split, choice: ChoiceSpec) -> tuple[Path, str]:
    key = manifest.fingerprint(choice.parts(split))
    return split.folder / "chosen" / f"{key}.npz", key


def _chosen(split: Split, choice: ChoiceSpec) -> ChosenRows:
    """Return the selection of a trial, stored or new; selections of its first entries are shared between trials."""
    path, key = _chosen_file(split, choice)
    result = npz.load(path, key)
    if result is not None:
        return _unpacked_chosen(result)
    chosen = _select(split, choice)
    weight = {} if chosen.weight is None else {"weight": chosen.weight}
    npz.save(path, key, {"order": chosen.indices, "seconds": np.array(chosen.seconds), **weight})
    return chosen


def _unpacked_chosen(result: FittedState) -> ChosenRows:
    return ChosenRows(result["order"], result.get("weight"), float(result["seconds"]))


def _select(split: Split, choice: ChoiceSpec) -> ChosenRows:
    """Compute the selection of a trial."""
    pool, train = open_split(split).pool, open_split(split).train.positions
    if choice.ledger is not None:
        return published_rows(split, choice.ledger)
    if not choice.entries:
        return ChosenRows(remaining_rows(len(train), choice.removed_rate, choice.seed), None, 0.0)
    *earlier, last = choice.entries
    before = _chosen(split, ChoiceSpec(entries=tuple(earlier), removed_rate=choice.removed_rate, seed=choice.seed))
    survivors = np.sort(before.indices)
    if "embedding" in last.spec.plugin().traits.reads:
        pool.embeddings(last.embedding)  # the time to read them is not part of the selection
    begun = time.perf_counter()
    answer = choose(pool, train[survivors], last, choice.seed)
    seconds = before.seconds + time.perf_counter() - begun
    kept = survivors[answer.indices]
    if last.spec.plugin().traits.budgeted:
        return ChosenRows(kept, answer.weight, seconds)
    stay = np.isin(before.indices, kept)  # a filter does not change the order and the weights
    return ChosenRows(before.indices[stay], None if before.weight is None else before.weight[stay], seconds)


def remaining_rows(n: int, removed_rate: float, seed: int) -> Rows:
    """Return the positions of n rows without a random share of them."""
    if not removed_rate:
        return np.arange(n)
    removed = rng_for(seed, "evaluate/removed").choice(n, max(1, round(removed_rate * n)), replace=False)
    return np.setdiff1d(np.arange(n), removed)


def published_rows(split: Split, ledger: SelectOutput) -> ChosenRows:
    """Return the selected rows of a ledger, best first, for a split of the complete pool without contaminated rows."""
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
        **({"target": task.split.pool.target_fingerprint} if _compares_target(entry) else {}),
    }
    key = manifest.fingerprint(parts)
    return task.split.folder / "measured" / f"{key}.npz", key


def measure(rows: SplitRows, chosen: ChosenRows, entry: MetricEntry, seed: int) -> MetricResult:
    """Compute one metric of a selection.

    Raises
    ------
    DataError
        If the selection is empty.
    PluginError
        If the metric fails, or returns other values than it declares.
    """
    traits = entry.spec.plugin().traits
    if not len(chosen.indices):
        raise DataError("an empty selection cannot be evaluated", hint="raise the budget")
    trial = _trial(rows, chosen, entry)
    with plugin_call(entry.spec, entry.name):
        result: MetricResult = entry.spec.build().measure(trial, rng_for(seed, f"metric/{entry.name}"))
    if list(result.values) != (names := [column.name for column in traits.measures]):
        raise PluginError(f"metric {entry.name!r} returned values {list(result.values)}; it declares {names}")
    m = len(rows.labeled) if "label" in traits.reads else len(rows.test)
    if result.hits is not None and (result.hits.dtype != np.bool_ or result.hits.shape != (m,)):
        got = f"{result.hits.dtype} {result.hits.shape}"
        raise PluginError(f"metric {entry.name!r} returned hits {got}; expected bool ({m},)")
    return result


def _trial(rows: SplitRows, chosen: ChosenRows, entry: MetricEntry) -> MetricInput:
    """Return the trial with the data that the metric reads."""
    reads = entry.spec.plugin().traits.reads
    train, test = rows.train, rows.labeled if "label" in reads else rows.test
    tested, target = "test" in reads, None
    if _compares_target(entry):
        target = freeze(rows.pool.target_test_vectors(entry.embedding))
    return MetricInput(
        n=len(train),
        selected=freeze(chosen.indices),
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
        target=target,
    )


def _compares_target(entry: MetricEntry) -> bool:
    """Return whether a metric compares the selection with the target."""
    return getattr(entry.spec.build(), "reference", None) == "target"


def _packed(result: MetricResult) -> FittedState:
    hits = {} if result.hits is None else {"hits": result.hits}
    names, values = np.array(list(result.values), str), np.array(list(result.values.values()), float)
    parts = {} if result.parts is None else {"parts": np.stack([result.parts[name] for name in result.values])}
    return {"names": names, "values": values, "notes": np.array(result.notes, str), **hits, **parts}


def _unpacked(result: FittedState) -> MetricResult:
    names = result["names"].tolist()
    values = dict(zip(names, result["values"].tolist(), strict=True))
    parts = dict(zip(names, result["parts"], strict=True)) if "parts" in result else None
    return MetricResult(values, result.get("hits"), tuple(result["notes"].tolist()), parts)
