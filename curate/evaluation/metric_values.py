"""Choice of metrics, and their values over several trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curate.errors import ConfigError
from curate.evaluation.estimates import estimate, seeds_needed
from curate.evaluation.trials import TrialResult
from curate.kernels.stats.intervals import paired_bootstrap
from curate.kernels.types import Numbers
from curate.plugins import registry
from curate.plugins.fields import fields
from curate.plugins.interfaces import OutputColumn
from curate.report.evaluation_data import SIGNIFICANT, Estimate
from curate.report.formatting import join_words
from curate.seeds import rng_for

if TYPE_CHECKING:
    from curate.config.model import MetricEntry, RunConfig


_RESAMPLES = 2_000

_OF_TARGET = ("mauve", "mmd", "optimal_transport", "sliced_wasserstein")
"""Metrics that also compare the selection with the target by default."""

_NOTHING = 0.0005
"""Difference of shares that is treated as zero, because it is printed as 0.0 points."""

_FIRST = ("logistic_probe", "density_perplexity")
"""Default primary metrics, in order of preference."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One value of a metric."""

    entry: str
    """Name of the metric entry."""

    column: OutputColumn
    learns: bool
    """Whether the metric trains a model."""

    reads_labels: bool
    """Whether the metric reads labels, and so ignores rows without a label."""

    @property
    def name(self) -> str:
        """Name of the measure, from the entry and the value."""
        return f"{self.entry}_{self.column.name}" if self.column.name else self.entry

    @property
    def rate(self) -> bool:
        """Whether the value is a share, which is shown in percent."""
        return self.column.unit.startswith("share of ") and self.column.range == (0, 1)

    @property
    def sign(self) -> int:
        """Orientation: 1 if higher is better, −1 if lower is better, 0 if neither."""
        return {True: 1, False: -1, None: 0}[self.column.higher_is_better]

    def values(self, results: Sequence[TrialResult]) -> Numbers:
        """Return one value per trial."""
        return np.array([trial.measured[self.entry].values[self.column.name] for trial in results])

    def hits(self, results: Sequence[TrialResult]) -> Numbers | None:
        """Return the outcomes of test rows, (s, m), whose means are the values; None if there are none."""
        each = [trial.measured[self.entry].hits for trial in results]
        known = [hits for hits in each if hits is not None]
        if len(known) < len(each):
            return None
        rows = np.stack(known).astype(np.float64)
        return rows if np.allclose(rows.mean(1), self.values(results), atol=1e-6) else None

    def contributions(self, results: Sequence[TrialResult]) -> Numbers | None:
        """Return what each test row, or each part of the target, contributes, (s, m); None if it is unknown."""
        parts = [trial.measured[self.entry].parts for trial in results]
        known = [one[self.column.name] for one in parts if one is not None]
        return np.stack(known) if len(known) == len(parts) else self.hits(results)

    def estimate(self, results: Sequence[TrialResult]) -> Estimate:
        """Estimate the mean over trials."""
        return estimate(self.values(results), self.contributions(results))

    def difference(self, results: Sequence[TrialResult], others: Sequence[TrialResult]) -> Estimate:
        """Estimate the mean difference from other trials, paired by seed and test row."""
        return estimate(*self._differences(results, others), one_draw=_one_draw(results, others))

    def seeds_needed(
        self, results: Sequence[TrialResult], others: Sequence[TrialResult], comparisons: int
    ) -> int | None:
        """Return the number of seeds needed for a significant difference among several comparisons.

        It is 0 for a measure without an orientation; see ``estimates.seeds_needed``.
        """
        level = SIGNIFICANT / max(1, comparisons)
        differences, rows = self._differences(results, others)
        if not self.sign or (self.rate and abs(float(differences.mean())) < _NOTHING):
            return 0
        return seeds_needed(differences, rows, one_draw=_one_draw(results, others), level=level)

    def _differences(
        self, results: Sequence[TrialResult], others: Sequence[TrialResult]
    ) -> tuple[Numbers, Numbers | None]:
        mine, theirs = self.contributions(results), self.contributions(others)
        rows = None if mine is None or theirs is None else mine - theirs
        return self.values(results) - self.values(others), rows

    def resampled(self, results: Sequence[TrialResult], others: Sequence[TrialResult]) -> tuple[float, ...]:
        """Return the bounds of the paired bootstrap interval of the difference; empty without outcomes of test rows."""
        hits, other_hits = self.hits(results), self.hits(others)
        if hits is None or other_hits is None or not hits.size:
            return ()
        result = paired_bootstrap(hits, other_hits, rng_for(0, f"evaluate/{self.name}"), n_resamples=_RESAMPLES)
        return tuple(result.interval)


def _one_draw(results: Sequence[TrialResult], others: Sequence[TrialResult]) -> bool:
    """Return whether a selection that is the same with every seed is compared with random selections."""
    return _is_constant(results) and not _is_constant(others)


def _is_constant(results: Sequence[TrialResult]) -> bool:
    """Return whether all trials select the same rows."""
    first = np.sort(results[0].chosen.indices)
    return all(np.array_equal(np.sort(other.chosen.indices), first) for other in results[1:])


def list_measures(entries: Iterable[MetricEntry]) -> list[Measure]:
    """Return all measures of the metric entries, in order."""
    measures = []
    for entry in entries:
        traits = entry.spec.plugin().traits
        measures += [Measure(entry.name, column, traits.learns, "label" in traits.reads) for column in traits.measures]
    return measures


def choose_primary(measures: Sequence[Measure], name: str | None) -> Measure | None:
    """Return the primary measure; None if no measure has an orientation.

    Parameters
    ----------
    measures : sequence of Measure
        All measures.
    name : str or None
        Value of ``evaluate.primary``; None for the first measure of a metric that trains a model, else the first one.

    Raises
    ------
    ConfigError
        If the metric cannot be computed on this pool.
    """
    oriented = [measure for measure in measures if measure.sign]
    if name is not None:
        entry, _, column = name.partition(".")
        oriented = [one for one in oriented if one.entry == entry and column in ("", one.column.name)]
        if not oriented:
            message = f"evaluate.primary: {name!r} cannot be computed on this pool"
            raise ConfigError(message, hint="choose another metric, or set input.label if the metric reads labels")
    return next((measure for measure in oriented if measure.learns), next(iter(oriented), None))


def choose_metrics(config: RunConfig, names: Sequence[str] = ()) -> tuple[tuple[MetricEntry, ...], tuple[str, ...]]:
    """Return the metrics of the configuration, or by default those in ``names``, or all metrics if that is empty.

    Returns
    -------
    entries : tuple of MetricEntry
        Metrics that can be computed on the data.
    notes : tuple of str
        Notes on default metrics that cannot be computed.
    """
    from curate.config.loader import config_from_dict

    if config.metrics:
        return config.metrics, ()
    available = registry.names("metric", config.plugins)
    possible: list[str] = []
    impossible: list[str] = []
    primary = (config.evaluate.primary or "").partition(".")[0]
    candidates = list(dict.fromkeys([*(name for name in names if name in available), *([primary] if primary else [])]))
    candidates = candidates if names else available
    for name in sorted(candidates, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST)):
        plugin = registry.get("metric", name, config.plugins)
        if any(field.required for field in fields(plugin.cls)):
            continue  # its required options have no defaults
        if {"text", "tokens"} & plugin.traits.reads and config.input.text is None:
            continue  # images have no words
        unlabeled = "label" in plugin.traits.reads and config.input.label is None
        (impossible if unlabeled else possible).append(name)
    if not possible:
        raise ConfigError("no metric can be computed on this pool", where=config.source, hint="add one to metrics")
    metrics: list[dict[str, str]] = [{"use": name} for name in possible]
    if config.target is not None and config.target.test_share:
        metrics += [{"use": name, "name": f"{name}_target", "reference": "target"} for name in _OF_TARGET]
    data = {**config.resolved, "metrics": metrics}
    note = f"without labels (input.label), {join_words(impossible)} cannot be computed; only {join_words(possible)} can"
    return config_from_dict(data).metrics, (note,) if impossible else ()
