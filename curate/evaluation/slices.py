"""Accuracy on slices of the test rows, with the selection, the random baseline, and all rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.evaluation.estimates import estimate
from curate.evaluation.metric_values import Measure
from curate.evaluation.split import SplitRows
from curate.evaluation.trials import TrialResult
from curate.kernels.types import Flags
from curate.report.evaluation_data import Slice
from curate.store import parquet_io
from curate.store.schemas import CENTROIDS

FEWEST = 10
"""Minimum number of test rows in a reported slice, as the accuracy on fewer rows is too noisy."""


def compare_slices(
    rows: SplitRows,
    measure: Measure,
    selection: Sequence[TrialResult],
    uniform: Sequence[TrialResult],
    full: Sequence[TrialResult],
) -> list[Slice]:
    """Return all slices with enough test rows, largest loss first; none if the metric predicts no labels."""
    selected, random, everything = (measure.hits(results) for results in (selection, uniform, full))
    if selected is None or random is None or everything is None:
        return []
    slices = []
    for grouping, groups in _groups(rows).items():
        for name, members in groups.items():
            if members.sum() >= FEWEST and len(groups) > 1:
                difference = selected[:, members] - everything[:, members]
                slices.append(
                    Slice(
                        grouping=grouping,
                        name=name,
                        rows=int(members.sum()),
                        selection=float(selected[:, members].mean()),
                        uniform=float(random[:, members].mean()),
                        full=float(everything[:, members].mean()),
                        lost=estimate(difference.mean(1), difference),
                    )
                )
    return sorted(slices, key=lambda group: (group.lost.mean, group.grouping, group.name))


def _groups(rows: SplitRows) -> dict[str, dict[str, Flags]]:
    """Return the masks of the labeled test rows in each group."""
    test = rows.labeled
    clusters = rows.test_clusters()
    table = parquet_io.read(rows.split.pool.cluster_output.folder / CENTROIDS, ["cluster", "name"])
    names = {int(code): name or str(code) for code, name in zip(*(column.to_pylist() for column in table), strict=True)}
    labels, sources = test.labels.to_numpy(), test.sources.to_numpy()
    return {
        "label": {name: labels == name for name in rows.classes},
        "source": {str(name): sources == name for name in np.unique(sources)},
        "cluster": {names[code]: clusters == code for code in np.unique(clusters).tolist() if code >= 0},
    }
