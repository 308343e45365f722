"""Stands in for methods that plan epochs: chance draws anew for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


@selector(version=1, reads=frozenset())
@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Other rows in every epoch."""

    epochs: Annotated[int, Ge(1)] = 5
    """How many are planned."""

    forgets: bool = False
    """Whether it plans one less than it should."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        plan = [rng.permutation(len(pool))[:budget] for _ in range(self.epochs - self.forgets)]
        return Selection.from_epochs(plan, np.zeros(len(pool), np.float32), ("in no epoch",))
