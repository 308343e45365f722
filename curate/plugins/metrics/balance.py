"""How the labels and sources of the chosen rows are shared out, beside those of the pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.stats.distributions import normalized_entropy, total_variation
from curate.kernels.types import Codes, Counts, Rows
from curate.plugins.batches import MetricInput
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult

_ANY = float("inf")


def group_counts(codes: Codes, chosen: Rows) -> tuple[Counts, Counts]:
    """Rows of the pool and chosen rows in each group that the pool has, in the order of the codes; -1 is no group.

    >>> pool, kept = group_counts(np.array([5, 5, -1, 7], np.int32), np.array([1, 2]))
    >>> pool.tolist(), kept.tolist()
    ([2, 1], [1, 0])
    """
    groups, pool = np.unique(codes[codes >= 0], return_counts=True)
    inside = codes[chosen][codes[chosen] >= 0]
    return pool, np.bincount(np.searchsorted(groups, inside), minlength=len(groups))


@metric(
    version=1,
    reads={"label", "source"},
    measures=(
        OutputColumn(name="label_distance", higher_is_better=None, unit="total variation", range=(0, 1)),
        OutputColumn(name="labels_missing", higher_is_better=False, unit="labels", range=(0, _ANY)),
        OutputColumn(name="smallest_label", higher_is_better=True, unit="rows", range=(0, _ANY)),
        OutputColumn(name="label_entropy", higher_is_better=None, unit="share of the largest", range=(0, 1)),
        OutputColumn(name="source_distance", higher_is_better=None, unit="total variation", range=(0, 1)),
        OutputColumn(name="sources_missing", higher_is_better=False, unit="sources", range=(0, _ANY)),
        OutputColumn(name="source_entropy", higher_is_better=None, unit="share of the largest", range=(0, 1)),
    ),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How far the shares of labels and of sources among the chosen rows lie from the pool's, and who is left out.

    The distance is the total variation: the share of the chosen rows that would have to be others to have the pool's
    shares. Missing is a label or source that the pool has and the choice has not. The smallest label is the number of
    chosen rows of the label that has fewest. The entropy is 1 where all labels (or sources) of the pool have equally
    many rows, 0 where one has all, NaN where the pool has but one. Rows without a label are left out; everything about
    labels is NaN where the pool has none, and distance and entropy are where no chosen row has one.

    References
    ----------
    Total variation distance: Levin & Peres (2017), Markov Chains and Mixing Times, section 4.1. Normalised entropy:
    Pielou (1966), doi:10.1016/0022-5193(66)90013-0.
    """

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        none = np.full(trial.n, -1, np.int32)
        labels = group_counts(none if trial.label is None else trial.label, trial.chosen)
        sources = group_counts(none if trial.source is None else trial.source, trial.chosen)
        by_label, by_source = _told(*labels), _told(*sources)
        values = {
            "label_distance": by_label["distance"],
            "labels_missing": by_label["missing"],
            "smallest_label": by_label["smallest"],
            "label_entropy": by_label["entropy"],
            "source_distance": by_source["distance"],
            "sources_missing": by_source["missing"],
            "source_entropy": by_source["entropy"],
        }
        notes = [
            f"the pool has no {name}" for name, (pool, _) in (("labels", labels), ("sources", sources)) if not len(pool)
        ]
        notes += [
            f"all rows have the same {name}"
            for name, (pool, _) in (("label", labels), ("source", sources))
            if len(pool) == 1
        ]
        if len(labels[0]) and not labels[1].sum():
            notes.append("no chosen row has a label")
        return MetricResult(values, notes=tuple(notes))


def _told(pool: Counts, chosen: Counts) -> dict[str, float]:
    if not len(pool):
        return dict.fromkeys(("distance", "missing", "smallest", "entropy"), float("nan"))
    return {
        "distance": total_variation(chosen, pool),
        "missing": float(np.count_nonzero(chosen == 0)),
        "smallest": float(chosen.min()),
        "entropy": normalized_entropy(chosen),
    }
