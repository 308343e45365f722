"""GIO that stops when the divergence of the target from the selection falls no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from curate.plugins.batches import Pool, TargetRows, require
from curate.plugins.divergence_descent import Descent, gains_of
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


@selector(
    version=1,
    scope="pool",
    reads={"embedding", "target"},
    budgeted=False,
    cost="a clustering, and O((steps m + c) d) for each of the added clusters",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GIORatio(Descent):
    """GIO with a stopping rule: add rows while they lower the divergence of the target from the selection.

    See ``gio``, which selects a given number of rows. Needs a section ``target`` with at least two distinct rows.

    The gain of a row is the decrease of the divergence, in nats, when its cluster was added.

    Notes
    -----
    Deviations: as for ``gio``. The published rule ``sequential_increase_tolerance`` never stops, because its counter
    does not increase; here it does, and the clusters that raised the divergence are not kept.

    References
    ----------
    Everaert & Potts (2023), "GIO: Gradient Information Optimization for Training Dataset Selection", ICLR 2024,
    arXiv:2306.11670.
    """

    stop: Literal["increase", "min_difference", "min_divergence", "max_increases"] = "increase"
    """Stop before the first cluster that raises the divergence, or lowers it by less than ``min_difference``, or brings
    it below ``min_divergence``; or before ``max_increases`` such clusters in sequence."""

    min_difference: Annotated[float, Ge(0)] = 0.0
    """Decrease of the divergence, in nats."""

    min_divergence: Annotated[float, Ge(-1_000)] = 0.0
    """Divergence, in nats."""

    max_increases: Annotated[int, Ge(1)] = 3
    """Number of clusters in sequence that raise the divergence."""

    max_clusters: Annotated[int, Ge(1)] = 100
    """Maximum number of clusters, or of rows of a pool that is not clustered."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        target: TargetRows = require(pool.target)
        rows, gains, increases, raised = [np.empty(0, np.intp)], [np.empty(0, np.float32)], 0, 0
        for members, before, after in self.add_clusters(pool.embeddings, target.embeddings, rng):
            increases = increases + 1 if after > before else 0
            if self._stops(before, after, increases):
                break
            rows.append(members)
            gains.append(gains_of(members, before, after))
            raised = increases
            if len(rows) > self.max_clusters:
                break
        kept = len(rows) - (raised if self.stop == "max_increases" else 0)
        order, gain = np.concatenate(rows[:kept]), np.concatenate(gains[:kept])
        return Selection(order, gain, reasons=("not needed to resemble the target",))

    def _stops(self, before: float, after: float, increases: int) -> bool:
        """Return whether the cluster with which the estimate changed is not added."""
        if self.stop == "increase":
            return after > before
        if self.stop == "min_difference":
            return before - after < self.min_difference
        if self.stop == "min_divergence":
            return after < self.min_divergence
        return increases >= self.max_increases
