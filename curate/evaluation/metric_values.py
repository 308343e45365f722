"""Which metrics are asked, and their numbers over several trials."""

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
from curate.report.formatting import listed
from curate.seeds import rng_for

if TYPE_CHECKING:
    from curate.config.model import MetricEntry, RunConfig


_RESAMPLES = 2_000

_NOTHING = 0.0005
"""Difference of shares that is practically zero: it is printed as 0.0 points."""

_FIRST = ("logistic_probe", "density_perplexity")
"""Metrics that the verdict goes by where the configuration names none."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a metric gives."""

    entry: str
    """The name of its entry."""

    column: OutputColumn
    learns: bool
    of_labels: bool
    """Whether rows without a label are left out of it."""

    @property
    def name(self) -> str:
        return f"{self.entry}_{self.column.name}" if self.column.name else self.entry

    @property
    def rate(self) -> bool:
        """Whether it is a share, which is written in per cent."""
        return self.column.unit.startswith("share of ") and self.column.range == (0, 1)

    @property
    def sign(self) -> int:
        """1 where a better choice has the higher number, −1 where the lower, 0 where neither is better."""
        return {True: 1, False: -1, None: 0}[self.column.higher_is_better]

    def values(self, tried: Sequence[TrialResult]) -> Numbers:
        """One value a trial."""
        return np.array([trial.measured[self.entry].values[self.column.name] for trial in tried])

    def hits(self, tried: Sequence[TrialResult]) -> Numbers | None:
        """(s, m) what the values are the means of; None where they are no means over test rows."""
        each = [trial.measured[self.entry].hits for trial in tried]
        known = [hits for hits in each if hits is not None]
        if len(known) < len(each):
            return None
        rows = np.stack(known).astype(np.float64)
        return rows if np.allclose(rows.mean(1), self.values(tried), atol=1e-6) else None

    def estimate(self, tried: Sequence[TrialResult]) -> Estimate:
        """The mean over trials."""
        return estimate(self.values(tried), self.hits(tried))

    def difference(self, tried: Sequence[TrialResult], others: Sequence[TrialResult]) -> Estimate:
        """Estimate the mean difference to other trials, seed by seed and test row by test row."""
        return estimate(*self._differences(tried, others), one_draw=_one_draw(tried, others))

    def seeds_needed(self, tried: Sequence[TrialResult], others: Sequence[TrialResult], comparisons: int) -> int | None:
        """Return ``estimates.seeds_needed`` of that difference, as one of so many comparisons; 0 without a sign."""
        level = SIGNIFICANT / max(1, comparisons)
        differences, rows = self._differences(tried, others)
        if not self.sign or (self.rate and abs(float(differences.mean())) < _NOTHING):
            return 0
        return seeds_needed(differences, rows, one_draw=_one_draw(tried, others), level=level)

    def _differences(
        self, tried: Sequence[TrialResult], others: Sequence[TrialResult]
    ) -> tuple[Numbers, Numbers | None]:
        mine, theirs = self.hits(tried), self.hits(others)
        rows = None if mine is None or theirs is None else mine - theirs
        return self.values(tried) - self.values(others), rows

    def resampled(self, tried: Sequence[TrialResult], others: Sequence[TrialResult]) -> tuple[float, ...]:
        """The interval of the difference by a paired bootstrap: from and to; empty where rows are not known."""
        mine, theirs = self.hits(tried), self.hits(others)
        if mine is None or theirs is None or not mine.size:
            return ()
        found = paired_bootstrap(mine, theirs, rng_for(0, f"evaluate/{self.name}"), resamples=_RESAMPLES)
        return tuple(found.interval)


def _one_draw(tried: Sequence[TrialResult], others: Sequence[TrialResult]) -> bool:
    """Return whether the same rows are compared, with every seed, with others that chance draws."""
    return _alike(tried) and not _alike(others)


def _alike(tried: Sequence[TrialResult]) -> bool:
    first = np.sort(tried[0].chosen.indices)
    return all(np.array_equal(np.sort(other.chosen.indices), first) for other in tried[1:])


def list_measures(entries: Iterable[MetricEntry]) -> list[Measure]:
    """Every number that the entries give, in order."""
    found = []
    for entry in entries:
        declared = entry.spec.plugin().traits
        found += [
            Measure(entry.name, column, declared.learns, "label" in declared.reads) for column in declared.measures
        ]
    return found


def choose_primary(measures: Sequence[Measure], wanted: str | None) -> Measure | None:
    """Return the measure that the verdict goes by; None if none has a better side.

    Parameters
    ----------
    wanted : ``evaluate.primary``; None: the first measure of a metric that trains a model, else the first of all

    Raises
    ------
    ConfigError : if the wanted metric cannot be measured on this pool
    """
    oriented = [measure for measure in measures if measure.sign]
    if wanted is not None:
        entry, _, column = wanted.partition(".")
        oriented = [one for one in oriented if one.entry == entry and column in ("", one.column.name)]
        if not oriented:
            message = f"evaluate.primary: {wanted!r} cannot be measured on this pool"
            raise ConfigError(message, hint="name another metric, or give the input what it reads (input.label)")
    return next((measure for measure in oriented if measure.learns), next(iter(oriented), None))


def choose_metrics(config: RunConfig, names: Sequence[str] = ()) -> tuple[tuple[MetricEntry, ...], tuple[str, ...]]:
    """The metrics that the configuration lists, else those named, else every one that there is.

    Returns
    -------
    entries : of those that the data allow
    notes : which ones they do not allow
    """
    from curate.config.loader import config_from_dict

    if config.metrics:
        return config.metrics, ()
    there = registry.names("metric", config.plugins)
    possible: list[str] = []
    without: list[str] = []
    named = (config.evaluate.primary or "").partition(".")[0]
    wanted = list(dict.fromkeys([*(name for name in names if name in there), *([named] if named else [])]))
    wanted = wanted if names else there
    for name in sorted(wanted, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST)):
        plugin = registry.get("metric", name, config.plugins)
        if any(field.required for field in fields(plugin.cls)):
            continue  # only the user knows what it should be asked
        unlabelled = "label" in plugin.traits.reads and config.input.label is None
        (without if unlabelled else possible).append(name)
    if not possible:
        raise ConfigError("no metric can be asked of this pool", where=config.source, hint="add one to metrics")
    data = {**config.resolved, "metrics": [{"use": name} for name in possible]}
    told = f"the input has no labels (input.label), so {listed(without)} cannot be asked; {listed(possible)} remain"
    return config_from_dict(data).metrics, (told,) if without else ()
