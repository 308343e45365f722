"""Submodular selection: a weighted sum of objectives with falling returns, and a greedy way to look for the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Literal, cast

import numpy as np
import polars as pl
from annotated_types import Ge, Gt, Le, Lt, MinLen

from curate.errors import PluginError
from curate.kernels.stats.distributions import min_max_scale
from curate.kernels.submodular import greedy, objectives
from curate.kernels.submodular.feature_matrices import group_features, trigram_features
from curate.kernels.submodular.greedy import GreedyResult
from curate.kernels.submodular.objectives import FacilityLocation, Objective, WeightedSum, find_representatives
from curate.kernels.submodular.similarities import (
    DENSE_ROWS,
    DenseSimilarities,
    GraphSimilarities,
    Similarities,
    similarity_graph,
)
from curate.kernels.types import Codes, Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import ColumnName, ScoreName, selector
from curate.plugins.results import Selection

if TYPE_CHECKING:
    from scipy import sparse

Optimizer = Literal["lazy", "naive", "stochastic", "threshold", "distributed", "distorted"]
Search = Callable[[Objective], GreedyResult]


def submodular(
    terms: Sequence[Objective],
    weights: Sequence[float],
    budget: int,
    search: Search,
    prices: Numbers | None = None,
    cost_weight: float = 0.5,
) -> GreedyResult:
    """Maximize a weighted sum of objectives, each as a share of what the search reaches with it alone.

    Parameters
    ----------
    terms : objectives with no row taken
    weights : of each objective
    budget : number of rows to keep, at least 1
    search : how ``budget`` rows are looked for
    prices : (n,) at least 0; given, ``search`` only scales the terms, and the rows are those of ``worth_its_cost``
    cost_weight : see ``worth_its_cost``

    Returns
    -------
    order : (budget,) rows in the order they were taken
    gains : (budget,) float64

    Notes
    -----
    Cost and guarantee: those of the search, and one search more for each term if there are several.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971. Bilmes (2022), arXiv:2202.00132.
    """
    f = normalised(terms, weights, search)
    return search(f.fresh()) if prices is None else worth_its_cost(f, prices, budget, cost_weight)


def normalised(terms: Sequence[Objective], weights: Sequence[float], search: Search) -> Objective:
    """The sum of ``terms``, each as a share of what ``search`` reaches with it alone, times its weight.

    Else a weight would mean nothing: one objective counts rows of the pool, another the logarithm of a volume. A term
    of which nothing can be had counts 0. One term by itself is left as it is.

    >>> from curate.kernels.submodular.objectives import Modular
    >>> terms = [Modular(np.array([10.0, 0.0])), Modular(np.array([0.0, 4.0]))]
    >>> f = normalised(terms, [1.0, 0.5], lambda f: greedy.lazy(f, np.arange(2), 1))
    >>> f.gains(np.arange(2)).tolist()
    [1.0, 0.5]
    """
    if len(terms) == 1:
        return terms[0]
    reached = [float(search(term.fresh())[1].sum()) for term in terms]
    scales = [weight / most if most > 0 else 0.0 for weight, most in zip(weights, reached, strict=True)]
    return WeightedSum(terms, scales)


def worth_its_cost(f: Objective, prices: Numbers, budget: int, cost_weight: float) -> GreedyResult:
    """Distorted greedy for (1 − w) f(S) / f of the greedy − w × price of S / price of ``budget`` average rows."""
    rows = np.arange(len(prices))
    reached = float(greedy.lazy(f.fresh(), rows, budget)[1].sum())
    average = float(prices.mean()) * budget
    scaled = WeightedSum([f.fresh()], [(1 - cost_weight) / (reached or 1.0)])
    return greedy.distorted(scaled, prices * (cost_weight / (average or 1.0)), rows, budget)


def searcher(
    optimizer: Optimizer, n: int, budget: int, rng: np.random.Generator, *, epsilon: float, parts: int
) -> Search:
    """Return the search for ``budget`` of n rows that ``optimizer`` names; for "distorted", that of the scales."""
    rows = np.arange(n)
    match optimizer:
        case "naive":
            return partial(greedy.naive, rows=rows, budget=budget)
        case "stochastic":
            return partial(greedy.stochastic, rows=rows, budget=budget, epsilon=epsilon, rng=rng)
        case "threshold":
            return partial(greedy.threshold, rows=rows, budget=budget, epsilon=epsilon)
        case "distributed":
            return partial(greedy.distributed, rows=rows, budget=budget, parts=parts, rng=rng)
    return partial(greedy.lazy, rows=rows, budget=budget)


def similarities(embeddings: Matrix, cluster: Codes, n_neighbors: int | Literal["all"], n_probe: int) -> Similarities:
    """Return the similarities of rows with their ``n_neighbors``.

    Raises
    ------
    PluginError : if all similarities are too many to hold
    """
    if n_neighbors != "all":
        return GraphSimilarities(similarity_graph(embeddings, cluster, n_neighbors, n_probe))
    if len(embeddings) > DENSE_ROWS:
        raise PluginError(
            f"submodular: with n_neighbors: all, {len(embeddings):,} rows are too many; the most is {DENSE_ROWS:,}",
            hint="give a number of neighbours, or select within: cluster",
        )
    return DenseSimilarities(embeddings)


# ---------------------------------------------------------------- objectives as a configuration names them


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
            return objectives.FeatureBased(_groups(require(pool.frame)[cast("str", term.column)]), "sqrt")
    quality = pool.quality if term.by is None else pool.require_score(cast("str", term.by), "submodular", oriented=True)
    return objectives.Modular(min_max_scale(quality))


def at_least_0(values: pl.Series | Vector, what: str) -> Numbers:
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


def _prices(pool: Pool, column: str) -> Numbers:
    return at_least_0(require(pool.frame)[column], f"submodular: the column {column!r}")


def _representatives(functions: Sequence[Objective], order: Rows) -> tuple[Rows, Vector] | tuple[None, None]:
    """Return what ``find_representatives`` does where facility location is among the objectives, else nothing."""
    covering = next((f for f in functions if isinstance(f, FacilityLocation)), None)
    return (None, None) if covering is None else find_representatives(covering.similar, order)


def _features(term: Term, pool: Pool) -> sparse.csr_array:
    from scipy import sparse

    if term.column is not None:
        return trigram_features(require(pool.frame)[term.column].cast(pl.String).fill_null("").to_list())
    names = (term.by,) if isinstance(term.by, str) else term.by or ()
    scores = [at_least_0(pool.scores[name], f"feature_based: the score {name!r}") for name in names]
    return sparse.csr_array(np.stack(scores, axis=1))


def _groups(values: pl.Series) -> sparse.csr_array:
    """Return the features of groups; rows without a value are a group too."""
    return group_features(values.rank("dense").fill_null(0).to_numpy().astype(np.int64))


@selector(
    version=2,
    reads={"embedding", "quality", "cluster", "scores", "frame"},
    random={"optimizer": ("stochastic", "distributed")},
    cost="a neighbour graph, and some gains a row",
    guarantee="by optimizer: 1 − 1/e of the optimum on the graph; less ε; half of it on average",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Submodular:
    """Keep the rows that are best by a weighted sum of objectives, each with falling returns.

    The objectives are monotone and submodular, so taking the best row again and again comes near the best set there is.
    With several, each counts as a share of what the same search reaches with it alone at the same budget: weights of 1
    and 0.5 mean that the first matters twice as much. That takes one search more for each. Gains are such shares; with
    one objective, in its own unit. Where facility location is among them, dropped rows name the kept row most similar.

    With a ``cost``, the search looks for rows that are worth their price. The rest of the budget goes to the rows that
    lose least, and their gains are negative.

    Notes
    -----
    Shares of the optimum that are guaranteed for the weighted sum, on the neighbor graph where similarities are read:
    ``lazy`` and ``naive`` 1 − 1/e; ``threshold`` 1 − 1/e − ε; ``stochastic`` 1 − 1/e − ε in expectation;
    ``distributed`` (1 − 1/e) / 2 in expectation. ``distorted`` guarantees f(S) − cost(S) >= (1 − 1/e) f(O) − cost(O)
    for every set O within the budget, before the rest of the budget is filled.

    Deviations: character trigrams replace words among features.

    References
    ----------
    Nemhauser, Wolsey & Fisher (1978), doi:10.1007/BF01588971. Bilmes (2022), "Submodularity in machine learning and
    artificial intelligence", arXiv:2202.00132. Each objective and search names its source in ``curate.kernels``.
    """

    objective: Annotated[tuple[Term, ...], MinLen(1)] = (Term(facility_location=1.0),)
    """Objectives and their weights, such as [{facility_location: 1.0}, {quality: 0.5, by: el2n}]."""

    optimizer: Optimizer = "lazy"
    """``lazy``: the greedy; ``naive``: the same rows, slowly; ``stochastic``: the best of a random sample each time;
    ``threshold``: all that reach a falling threshold; ``distributed``: the greedy in random parts, then among what
    those gave; ``distorted``: for objectives less a cost."""

    n_neighbors: Annotated[int, Ge(1)] | Literal["all"] = 64
    """Most similar rows that a row is compared with; all: every row, for pools or groups of up to 16,384."""

    n_probe: Annotated[int, Ge(1)] = 4
    """Above 20,000 rows: clusters in which the neighbours of a row are looked for; more cost time, and bring little."""

    epsilon: Annotated[float, Gt(0), Lt(1)] = 0.01
    """What stochastic and threshold may lose of the guarantee, for speed."""

    n_partitions: Annotated[int, Ge(1), Le(100_000)] = 8
    """The number of parts of distributed."""

    cost: ColumnName | None = None
    """A column of prices, at least 0, such as tokens; goes with distorted."""

    cost_weight: Share = 0.5
    """0: prices do not count; 1: nothing else does. A price counts as a share of that of as many average rows."""

    def __post_init__(self) -> None:
        if not any(term.weight for term in self.objective):
            raise ValueError("objective: every weight is 0")
        if (self.cost is not None) != (self.optimizer == "distorted"):
            raise ValueError("optimizer: distorted and a cost go together")

    def columns(self) -> tuple[str, ...]:
        """The columns of groups, texts and prices."""
        return tuple(dict.fromkeys(name for name in (*(t.column for t in self.objective), self.cost) if name))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        terms = [term for term in self.objective if term.weight]
        compared = f", as {self.n_neighbors} neighbours tell" * any(t.name in OF_SIMILARITIES for t in terms)
        reason = f"adds less to the objective than the rows kept{compared}"
        if not budget:
            return Selection(np.empty(0, np.intp), np.empty(0, np.float32), reasons=(reason,))
        similar = cache(partial(similarities, pool.embeddings, pool.cluster, self.n_neighbors, self.n_probe))
        functions = [function(term, pool, budget, similar) for term in terms]
        search = searcher(self.optimizer, len(pool), budget, rng, epsilon=self.epsilon, parts=self.n_partitions)
        prices = None if self.cost is None else _prices(pool, self.cost)
        order, gains = submodular(functions, [t.weight for t in terms], budget, search, prices, self.cost_weight)
        nearest, similarity = _representatives(functions, order)
        return Selection(
            order, gains.astype(np.float32), reasons=(reason,), representative=nearest, similarity=similarity
        )
