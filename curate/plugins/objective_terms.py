"""Objectives as a configuration names them, and the functions of a pool's rows that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Literal, cast

import numpy as np
import polars as pl
from annotated_types import Ge, Gt, Le, MinLen
from numpy.typing import NDArray
from scipy import sparse

from curate.errors import PluginError
from curate.kernels.stats.distributions import share_of_range
from curate.kernels.submodular import objectives
from curate.kernels.submodular.objectives import Objective
from curate.kernels.submodular.similarities import Similarities
from curate.kernels.text.char_ngrams import text_blocks, trigrams
from curate.kernels.types import Vector
from curate.plugins.batches import Pool, given
from curate.plugins.interfaces import ColumnName, ScoreName

Share = Annotated[float, Ge(0), Le(1)]

KEYS: dict[str, tuple[str, ...]] = {
    "facility_location": (),
    "saturated_coverage": ("saturation",),
    "graph_cut": ("redundancy",),
    "log_determinant": (),
    "feature_based": ("by", "column", "concave"),
    "group_balance": ("column",),
    "quality": ("by",),
}
"""The objectives, and the other keys that each reads."""

OF_SIMILARITIES = ("facility_location", "saturated_coverage", "graph_cut")


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One objective with its weight, and the keys that only some objectives read."""

    facility_location: Share | None = None
    """Every row of the pool has a similar one among those kept."""

    saturated_coverage: Share | None = None
    """Every row of the pool has enough similar ones among those kept; what is beyond ``saturation`` counts nothing."""

    graph_cut: Share | None = None
    """Rows similar to many of the pool, less ``redundancy`` for what they are similar to among those kept."""

    log_determinant: Share | None = None
    """Rows that span a large volume: variety."""

    feature_based: Share | None = None
    """Much of every feature, each with falling returns: scores, ``by``, or the character trigrams of ``column``."""

    group_balance: Share | None = None
    """Rows of every group, with falling returns: the values of ``column``, such as source, label or cluster."""

    quality: Share | None = None
    """Rows of high quality, or of a high score ``by``, from 0 for the worst of the pool to 1 for the best."""

    by: Annotated[tuple[ScoreName, ...], MinLen(1)] | ScoreName | None = None
    """The scores that are features, or the score that is quality."""

    column: ColumnName | None = None
    """The column of groups, or of texts."""

    saturation: Annotated[float, Gt(0), Le(1)] | None = None
    """The share of all its similarity that is enough for a row; without it, the budget's share of the pool."""

    redundancy: Annotated[float, Ge(0), Le(0.5)] | None = None
    """What similarity to a row kept costs; without it 0.5, beyond which fewer rows could be better than more."""

    concave: Literal["sqrt", "log"] | None = None
    """How a feature's returns fall: its square root, unless said, or log(1 + x)."""

    def __post_init__(self) -> None:
        named = [name for name in KEYS if getattr(self, name) is not None]
        if len(named) != 1:
            said = " and ".join(named) or "no objective"
            raise ValueError(f"names {said}: each item has one, with its weight; there are {', '.join(KEYS)}")
        for field in fields(self):
            if field.name not in (*KEYS, *KEYS[named[0]]) and getattr(self, field.name) is not None:
                raise ValueError(f"{field.name}: {named[0]} reads no {field.name}")
        if self.feature_based is not None and (self.by is None) == (self.column is None):
            raise ValueError("feature_based: give either the scores, by, or the column of texts")
        if self.group_balance is not None and self.column is None:
            raise ValueError("group_balance: give the column of groups")
        if self.quality is not None and isinstance(self.by, tuple):
            raise ValueError("by: quality is one score")

    @property
    def name(self) -> str:
        """The objective's name."""
        return next(name for name in KEYS if getattr(self, name) is not None)

    @property
    def weight(self) -> float:
        """The objective's weight."""
        return float(getattr(self, self.name))


def function(  # noqa: PLR0911 - one for each objective
    term: Term, pool: Pool, budget: int, similar: Callable[[], Similarities]
) -> Objective:
    """The function that ``term`` stands for.

    Parameters
    ----------
    similar : gives the similarities of the pool's rows; asked only by objectives that read them

    Raises
    ------
    PluginError : if a score or a column has values that the objective is not defined for
    """
    match term.name:
        case "facility_location":
            return objectives.FacilityLocation(similar())
        case "saturated_coverage":
            return objectives.SaturatedCoverage(similar(), term.saturation or budget / len(pool))
        case "graph_cut":
            return objectives.GraphCut(similar(), 0.5 if term.redundancy is None else term.redundancy)
        case "log_determinant":
            return objectives.LogDeterminant(pool.embeddings)
        case "feature_based":
            return objectives.FeatureBased(_features(term, pool), term.concave or "sqrt")
        case "group_balance":
            return objectives.FeatureBased(_groups(given(pool.frame)[cast("str", term.column)]), "sqrt")
    quality = pool.quality if term.by is None else pool.known(cast("str", term.by), "submodular", oriented=True)
    return objectives.Modular(share_of_range(quality))


def at_least_0(values: pl.Series | Vector, what: str) -> NDArray[np.float64]:
    """(n,) float64.

    Raises
    ------
    PluginError : naming ``what``, if a value is missing, infinite or negative
    """
    if isinstance(values, pl.Series):
        if not values.dtype.is_numeric():
            raise PluginError(f"{what} holds {values.dtype}, no numbers", hint="name a column of numbers")
        values = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if wrong := np.count_nonzero(~(np.isfinite(values) & (values >= 0))):
        raise PluginError(
            f"{what} is missing, infinite or negative for {wrong} rows",
            hint="drop those with an entry {use: where}, or name another",
        )
    return values.astype(np.float64)


def trigram_features(texts: pl.Series) -> sparse.csr_array:
    """(n, u) float32: how often each text has each character trigram, times log(n / texts that have it); null is "".

    >>> trigram_features(pl.Series(["ab", "ab", "b"])).toarray().round(1)
    array([[0.4, 0. , 0.4],
           [0.4, 0. , 0.4],
           [0. , 1.1, 0. ]], dtype=float32)
    """
    strings = texts.cast(pl.String).fill_null("").to_list()
    found = [trigrams(strings[block]) for block in text_blocks(strings)]
    grams, columns = np.unique(np.concatenate([grams for grams, _ in found]), return_inverse=True)
    starts = np.cumsum(np.concatenate([[0], *(np.diff(offsets) for _, offsets in found)]))
    counts = sparse.csr_array((np.ones(len(columns), np.float32), columns, starts), shape=(len(strings), len(grams)))
    counts.sum_duplicates()
    having = np.bincount(counts.indices, minlength=len(grams))
    counts.data *= np.log(len(strings) / having).astype(np.float32)[counts.indices]
    return counts


def _features(term: Term, pool: Pool) -> sparse.csr_array:
    if term.column is not None:
        return trigram_features(given(pool.frame)[term.column])
    names = (term.by,) if isinstance(term.by, str) else term.by or ()
    scores = [at_least_0(pool.scores[name], f"feature_based: the score {name!r}") for name in names]
    return sparse.csr_array(np.stack(scores, axis=1))


def _groups(values: pl.Series) -> sparse.csr_array:
    """(n, g) float32, 1 where a row is of a group; rows without a value are a group too."""
    codes = values.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    n = len(codes)
    return sparse.csr_array((np.ones(n, np.float32), codes, np.arange(n + 1)), shape=(n, int(codes.max()) + 1))
