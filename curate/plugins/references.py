"""Comparison of a selection with the pool, or with the test rows of the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from curate.kernels.stats.hash_sampling import content_order
from curate.kernels.stats.jackknife import pseudo_values
from curate.kernels.types import Matrix, Rows
from curate.plugins.batches import MetricInput, require
from curate.plugins.results import MetricResult

Reference = Literal["pool", "target"]

PARTS = 10
"""Number of parts of the target rows, each of which is left out once."""

FEWEST = 3
"""Minimum number of target rows for a comparison."""


def compare_with_target(
    inputs: MetricInput,
    names: tuple[str, ...],
    sample_size: int | None,
    salt: int,
    prepare: Callable[[Matrix, Matrix], Callable[[Rows], Mapping[str, float]]],
) -> MetricResult:
    """Measure how far the selected rows are from the target rows, with the contribution of each part of the target.

    Parameters
    ----------
    inputs : MetricInput
        Inputs of the metric.
    names : tuple of str
        Names of the values.
    sample_size : int or None
        Maximum number of rows on each side; None for all.
    salt : int
        Determines the sample of the selected rows, with their content. That of the target and its parts depend only on
        the content of its rows, so that contributions to several selections can be compared part by part.
    prepare : callable
        Receives the vectors of the selected rows (k, d) and of the target rows (t, d). Returns a function of some
        target rows, all of them or those outside of a part, that computes the values.

    Returns
    -------
    MetricResult
        NaN for fewer than three target rows.
    """
    target = require(inputs.target)
    if len(target) < FEWEST:
        note = f"the target has {len(target)} test rows: add rows, or raise target.test_share"
        return MetricResult(dict.fromkeys(names, float("nan")), notes=(note,))
    chosen = require(inputs.embeddings)[inputs.selected]
    chosen = chosen[content_order(chosen, salt)[:sample_size]]
    target = target[content_order(target, 0)[:sample_size]]
    measure = prepare(chosen, target)
    rows = np.arange(len(target))
    part = rows % min(PARTS, len(target))
    values = measure(rows)
    left_out = [measure(rows[part != number]) for number in range(int(part.max()) + 1)]
    parts = {name: pseudo_values(values[name], np.array([one[name] for one in left_out])) for name in names}
    return MetricResult(values, parts=parts)
