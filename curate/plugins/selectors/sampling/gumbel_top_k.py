"""Gumbel-top-k: rows drawn without replacement, with weights that grow exponentially with their quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from curate.kernels.stats.weighted_sampling import draw_rows
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


@selector(
    version=1,
    scope="merge",
    needs_quality=True,
    reads={"quality"},
    prefix=True,
    cost="O(n log n)",
    guarantee="none",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GumbelTopK:
    """Draw rows at random with weights exp(quality / temperature), so that better rows are kept more often.

    Use it instead of ``top_k`` to keep the variety of the pool. With ``quality: dsir`` and a temperature of 1 it is the
    selection of DSIR, whose scores are logarithms of importance weights; with ``quality: pds`` and 0.1 that of PDS.
    Near a temperature of 0 it keeps the rows of highest quality; with a large one it is ``uniform``. The unit of the
    temperature is that of the score.

    The gain of a row is its quality.

    References
    ----------
    Kool, van Hoof & Welling (2019), "Stochastic Beams and Where to Find Them", ICML, arXiv:1903.06059. Xie et al.
    (2023), DSIR, arXiv:2302.03169, section 3.
    """

    temperature: Annotated[float, Ge(1e-12)] = 1.0
    """Difference of quality that makes a row e = 2.718 times as likely to be drawn."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        rows = draw_rows(pool.quality.astype(np.float64) / self.temperature, budget, rng)
        return Selection(rows, pool.quality[rows], reasons=("not drawn",))
