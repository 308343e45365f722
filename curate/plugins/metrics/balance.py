"""Shares of labels and sources in the selection, compared with the pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.stats.distributions import normalized_entropy, total_variation
from curate.kernels.types import Codes, Counts, Rows
from curate.plugins.batches import MetricInput
from curate.plugins.interfaces import OutputColumn, metric
from curate.plugins.results import MetricResult

_INFINITY = float("inf")


def group_counts(codes: Codes, selected: Rows) -> tuple[Counts, Counts]:
    """Count the rows of the pool and the selected rows in each group of the pool, in code order.

    Parameters
    ----------
    codes : (n,) int32, group of each row, -1 for none
    selected : (k,) row indices

    Returns
    -------
    pool_counts, selected_counts : (g,) int64

    Examples
    --------
    >>> pool, selection = group_counts(np.array([5, 5, -1, 7], np.int32), np.array([1, 2]))
    >>> pool.tolist(), selection.tolist()
    ([2, 1], [1, 0])
    """
    groups, pool_counts = np.unique(codes[codes >= 0], return_counts=True)
    selected_codes = codes[selected][codes[selected] >= 0]
    return pool_counts, np.bincount(np.searchsorted(groups, selected_codes), minlength=len(groups))


@metric(
    version=1,
    reads={"label", "source"},
    measures=(
        OutputColumn(name="label_distance", higher_is_better=None, unit="total variation", range=(0, 1)),
        OutputColumn(name="labels_missing", higher_is_better=False, unit="labels", range=(0, _INFINITY)),
        OutputColumn(name="smallest_label", higher_is_better=True, unit="rows", range=(0, _INFINITY)),
        OutputColumn(name="label_entropy", higher_is_better=None, unit="share of the maximum", range=(0, 1)),
        OutputColumn(name="source_distance", higher_is_better=None, unit="total variation", range=(0, 1)),
        OutputColumn(name="sources_missing", higher_is_better=False, unit="sources", range=(0, _INFINITY)),
        OutputColumn(name="source_entropy", higher_is_better=None, unit="share of the maximum", range=(0, 1)),
    ),
    random=False,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Distance of the label and source shares of the selection from those of the pool, and missing groups.

    Use it to see whether a selection loses or favors labels or sources: small groups disappear first. For groups of
    similar rows without labels, see ``coverage``.

    The distance is the total variation: the share of the selected rows that would have to be replaced to have the
    shares of the pool. Missing labels and sources are those in the pool but not in the selection. The smallest label is
    the smallest number of selected rows of any label. The entropy is 1 if all labels (or sources) of the pool have
    equally many rows, 0 if one has all, NaN if the pool has only one. Rows without a label are ignored; all measures of
    labels are NaN if the pool has none, and distance and entropy if no selected row has one.

    References
    ----------
    Total variation distance: Levin & Peres (2017), Markov Chains and Mixing Times, section 4.1. Normalized entropy:
    Pielou (1966), doi:10.1016/0022-5193(66)90013-0.
    """

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:  # noqa: ARG002 - nothing is drawn
        none = np.full(inputs.n, -1, np.int32)
        labels = group_counts(none if inputs.label is None else inputs.label, inputs.selected)
        sources = group_counts(none if inputs.source is None else inputs.source, inputs.selected)
        by_label, by_source = _group_measures(*labels), _group_measures(*sources)
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
            notes.append("no selected row has a label")
        return MetricResult(values, notes=tuple(notes))


def _group_measures(pool: Counts, selected: Counts) -> dict[str, float]:
    if not len(pool):
        return dict.fromkeys(("distance", "missing", "smallest", "entropy"), float("nan"))
    return {
        "distance": total_variation(selected, pool),
        "missing": float(np.count_nonzero(selected == 0)),
        "smallest": float(selected.min()),
        "entropy": normalized_entropy(selected),
    }
