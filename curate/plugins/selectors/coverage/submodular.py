"""Submodular selection: a weighted sum of objectives with falling returns, and a greedy way to look for the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt, MinLen

from curate.errors import PluginError
from curate.kernels.submodular import greedy
from curate.kernels.submodular.greedy import Chosen
from curate.kernels.submodular.objectives import FacilityLocation, Objective, WeightedSum
from curate.kernels.submodular.similarities import DENSE_ROWS, Complete, Neighbours, Similarities
from curate.kernels.types import Rows, Vector
from curate.plugins.batches import Pool, given
from curate.plugins.interfaces import ColumnName, selector
from curate.plugins.objective_terms import OF_SIMILARITIES, Share, Term, at_least_0, function
from curate.plugins.results import Selection
from curate.plugins.selectors.coverage.facility_location import similarity_graph

Search = Callable[[Objective], Chosen]


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


def worth_its_cost(f: Objective, prices: greedy.Numbers, budget: int, cost_weight: float) -> Chosen:
    """Distorted greedy for (1 − w) f(S) / f of the greedy − w × price of S / price of ``budget`` average rows."""
    rows = np.arange(len(prices))
    reached = float(greedy.lazy(f.fresh(), rows, budget)[1].sum())
    average = float(prices.mean()) * budget
    scaled = WeightedSum([f.fresh()], [(1 - cost_weight) / (reached or 1.0)])
    return greedy.distorted(scaled, prices * (cost_weight / (average or 1.0)), rows, budget)


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

    optimizer: Literal["lazy", "naive", "stochastic", "threshold", "distributed", "distorted"] = "lazy"
    """``lazy``: the greedy; ``naive``: the same rows, slowly; ``stochastic``: the best of a random sample each time;
    ``threshold``: all that reach a falling threshold; ``distributed``: the greedy in random parts, then among what
    those gave; ``distorted``: for objectives less a cost."""

    neighbours: Annotated[int, Ge(1)] | Literal["all"] = 64
    """Most similar rows that a row is compared with; all: every row, for pools or groups of up to 16,384."""

    probes: Annotated[int, Ge(1)] = 4
    """Above 20,000 rows: clusters in which the neighbours of a row are looked for; more cost time, and bring little."""

    epsilon: Annotated[float, Gt(0), Lt(1)] = 0.01
    """What stochastic and threshold may lose of the guarantee, for speed."""

    parts: Annotated[int, Ge(1)] = 8
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
        compared = f", as {self.neighbours} neighbours tell" * any(t.name in OF_SIMILARITIES for t in terms)
        reason = f"adds less to the objective than the rows kept{compared}"
        if not budget:
            return Selection(np.empty(0, np.intp), np.empty(0, np.float32), reasons=(reason,))
        similar = lru_cache(partial(self._similarities, pool))
        functions = [function(term, pool, budget, similar) for term in terms]
        search = partial(self._search, rows=np.arange(len(pool)), budget=budget, rng=rng)
        f = normalised(functions, [term.weight for term in terms], search)
        if self.cost is None:
            order, gains = search(f.fresh())
        else:
            prices = at_least_0(given(pool.frame)[self.cost], f"submodular: the column {self.cost!r}")
            order, gains = worth_its_cost(f, prices, budget, self.cost_weight)
        nearest, similarity = None, None
        if covering := next((f for f in functions if isinstance(f, FacilityLocation)), None):
            nearest, similarity = _nearest(covering, order)
        return Selection(
            order, gains.astype(np.float32), reasons=(reason,), representative=nearest, similarity=similarity
        )

    def _similarities(self, pool: Pool) -> Similarities:
        if self.neighbours != "all":
            return Neighbours(similarity_graph(pool.embeddings, pool.cluster, self.neighbours, self.probes))
        if len(pool) > DENSE_ROWS:
            raise PluginError(
                f"submodular: with neighbours: all, {len(pool):,} rows are too many; the most is {DENSE_ROWS:,}",
                hint="give a number of neighbours, or select within: cluster",
            )
        return Complete(pool.embeddings)

    def _search(self, f: Objective, *, rows: Rows, budget: int, rng: np.random.Generator) -> Chosen:
        match self.optimizer:
            case "naive":
                return greedy.naive(f, rows, budget)
            case "stochastic":
                return greedy.stochastic(f, rows, budget, self.epsilon, rng)
            case "threshold":
                return greedy.threshold(f, rows, budget, self.epsilon)
            case "distributed":
                return greedy.distributed(f, rows, budget, self.parts, rng)
        return greedy.lazy(f, rows, budget)


def _nearest(covering: FacilityLocation, order: Rows) -> tuple[Rows, Vector]:
    """The kept row most similar to each dropped one, and how similar."""
    covering = covering.fresh()
    for row in order.tolist():
        covering.take(row)
    covering.nearest[order] = -1
    similarity: Vector = covering.covered
    similarity[covering.nearest < 0] = np.nan
    return covering.nearest, similarity
