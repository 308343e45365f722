"""Who loses when the pool shrinks: the accuracy on groups of the test rows, with the selection and with every row."""

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
"""Test rows that a group must have to be told of: with fewer, its accuracy is chance."""


def compare_slices(
    rows: SplitRows,
    measure: Measure,
    selection: Sequence[TrialResult],
    uniform: Sequence[TrialResult],
    full: Sequence[TrialResult],
) -> list[Slice]:
    """Every group with enough test rows, the one that loses most first; none where the metric predicts no labels."""
    hits = [measure.hits(tried) for tried in (selection, uniform, full)]
    mine, random, whole = hits
    if mine is None or random is None or whole is None:
        return []
    found = []
    for by, groups in _groups(rows).items():
        for name, members in groups.items():
            if members.sum() >= FEWEST and len(groups) > 1:
                difference = mine[:, members] - whole[:, members]
                found.append(
                    Slice(
                        grouping=by,
                        name=name,
                        rows=int(members.sum()),
                        selection=float(mine[:, members].mean()),
                        uniform=float(random[:, members].mean()),
                        full=float(whole[:, members].mean()),
                        lost=estimate(difference.mean(1), difference),
                    )
                )
    return sorted(found, key=lambda group: (group.lost.mean, group.grouping, group.name))


def _groups(rows: SplitRows) -> dict[str, dict[str, Flags]]:
    """Which of the labelled test rows are in each group."""
    test = rows.labelled
    clusters = rows.test_clusters()
    table = parquet_io.read(rows.split.pool.cluster_output.folder / CENTROIDS, ["cluster", "name"])
    names = {int(code): name or str(code) for code, name in zip(*(column.to_pylist() for column in table), strict=True)}
    labels, sources = test.labels.to_numpy(), test.sources.to_numpy()
    return {
        "label": {name: labels == name for name in rows.classes},
        "source": {str(name): sources == name for name in np.unique(sources)},
        "cluster": {names[code]: clusters == code for code in np.unique(clusters).tolist() if code >= 0},
    }
