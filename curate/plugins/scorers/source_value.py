"""Relevance and diversity of the source of a row for a buyer of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, Lt, MinLen

from curate.errors import PluginError
from curate.kernels.valuation.source_value import source_values
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ConfigReference, OutputColumn, scorer
from curate.plugins.results import Scores

_LISTED = 5  # groups that an error lists


@scorer(
    version=1,
    reads={"embedding", "group"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="relevance of the source",
            range=(0, 1),
            higher_means="a source that varies like the buyer's data",
        ),
        OutputColumn(
            name="diversity",
            higher_is_better=True,
            unit="diversity of the source",
            range=(0, 1),
            higher_means="a source that varies unlike the buyer's data",
        ),
    ),
    example={"buyer": "manual"},
    cost="O(n d² + d³)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SourceValue:
    """Relevance and diversity of the source of a row for a buyer, who has one of the sources already.

    Use it to compare sources before you pay for them, or for labeling them: no label, and no training, is needed. Both
    numbers are properties of the source: all of its rows have the same. Relevance is 1 and diversity is near 0 for a
    source that varies as the buyer's data do. A useful source is relevant, and diverse enough to add something; what
    it adds for a task, only training shows.

    They compare the variance of the source with that of the buyer's data along the directions in which the buyer's data
    vary most. ``source_value`` is the relevance, the geometric mean of the ratios of the smaller to the larger
    variance. ``source_value_diversity`` is the geometric mean of their relative differences. A single direction with
    equal variances, or without variance, would make a mean 0; therefore each factor is at least ``floor``, and the
    means are computed in logarithms. NaN for rows without a source, and for all rows if the buyer's rows do not vary.

    The numbers are noisy for sources with fewer rows than the embedding has dimensions.

    Notes
    -----
    Cost: O(n d r) time for r directions, and O(d³).

    Deviations: the floor. Variances are not standardized column by column, as the columns of embeddings share a unit.
    The seller's noise for privacy is not added: all data are at hand.

    References
    ----------
    Amiri et al. (2023), Fundamentals of Task-Agnostic Data Valuation, doi:10.1609/aaai.v37i8.26106.
    """

    buyer: Annotated[str, MinLen(1)]
    """Name of the source that the buyer has."""

    group: Annotated[str, MinLen(1), ConfigReference("group")] = "source"
    """Column that names the source of a row: a column of the input, cluster, label or source."""

    min_variance: Annotated[float, Ge(0), Le(1_000)] = 0.04
    """Smallest variance of a direction, in units of the buyer's mean variance over all directions."""

    max_directions: Annotated[int, Ge(1), Le(100_000)] = 32
    """Maximum number of directions, those of the largest variances."""

    floor: Annotated[float, Ge(0), Lt(1)] = 0.001
    """Smallest value of each factor of the means; 0 as published."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:  # noqa: ARG002 - nothing is drawn
        groups, names = require(batch.groups), require(batch.group_names)
        if self.buyer not in names:
            known = ", ".join(map(repr, names[:_LISTED])) + (", …" if len(names) > _LISTED else "")
            raise PluginError(
                f"source_value: no row of the pool has the {self.group} {self.buyer!r}",
                hint=f"set `buyer` to one of {known}" if names else f"check the column {self.group!r}",
            )
        values, directions = source_values(
            require(batch.embeddings),
            groups,
            names.index(self.buyer),
            len(names),
            min_variance=self.min_variance,
            max_directions=self.max_directions,
            floor=self.floor,
        )
        result = np.full((len(groups), 2), np.nan, np.float32)
        result[groups >= 0] = values[groups[groups >= 0]]
        warnings = (
            () if directions else (f"the rows of {self.buyer!r} are all the same, so that no source has a value",)
        )
        return Scores(result, warnings=warnings, facts={"directions": float(directions)})
