"""AutoCoreset: rows and weights on which training resembles training on all rows, found by repeated training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.linalg.leverage import row_space
from curate.kernels.parallel import block_slices, map_blocks, one_blas_thread
from curate.kernels.stats.systematic_sampling import systematic_sample
from curate.kernels.types import Matrix, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import ScoreName, selector
from curate.plugins.results import Selection

Summary = Literal["importance", "caratheodory"]
Model = TypeVar("Model")

_BLOCK = 8192
_ZERO = 1e-12  # of the largest weight
_DEPENDENT = 1e-10  # of the largest coordinate


def autocoreset(
    n: int,
    budget: int,
    train: Callable[[Rows, Numbers], Model],
    losses: Callable[[Model], Numbers],
    rng: np.random.Generator,
    *,
    summary: Summary = "importance",
    n_initial_models: int = 3,
    patience: int = 5,
) -> tuple[Rows, Numbers, Numbers]:
    """Search for rows and weights whose model has a low loss on all rows.

    A few models are trained on uniform samples, and each gives a column of M, the losses of all n rows. Each round then
    chooses rows and weights whose weighted sum of rows of M is about the sum of all, trains a model on them, and adds
    its losses as a column. The result is the round whose model has the least loss on all rows.

    Parameters
    ----------
    n : number of rows in the pool
    budget : number of rows to keep, 0 <= budget <= n
    train : train a model on rows with weights
    losses : compute the loss of a model on each row; (n,) float64 >= 0
    summary : how rows and weights are chosen. ``importance``: at random, in proportion to the length of the row of M
        (plus an even share of one row), weights the inverse. ``caratheodory``: rows are eliminated until there are
        ``budget``, such that the sums of the columns stay the same; it reads no more columns than that
    n_initial_models : models trained on uniform samples
    patience : rounds in a row without a lower loss, after which the search ends

    Returns
    -------
    order : (budget,) rows, of falling mean loss over the models, ties to the lowest index
    weights : (budget,) float64 >= 0, of sum n: in expectation with ``importance``, exactly with ``caratheodory``
    mean_loss : (n,) mean loss of each row over the models met

    Notes
    -----
    Guarantee: in each round, the weighted losses of the models trained before are unbiased (``importance``) or equal to
    the losses on all rows (``caratheodory``). There is none for the model trained in the round, whose rows it fits, nor
    after the best round is chosen: with 50 of 1,000 rows in 5 dimensions with noise, the weighted loss of the model
    returned is 9 % below its loss on all rows, with 100 rows in 20 dimensions 21 %, and with ``caratheodory`` up to
    93 %. Do not use the weighted loss to estimate the loss on the pool.

    Deviations: ``importance`` draws different rows, with the same proportions, instead of with replacement, and
    ``caratheodory`` stops at the budget instead of at q + 1 rows, with a column of ones that keeps the sum of weights.

    Cost: n_initial_models + patience trainings and passes over the rows, and one for each round that lowers the loss;
    ``caratheodory`` with q columns: O(n q³) time a round. O(n × trainings) memory.

    References
    ----------
    Maalouf, Tukan, Braverman & Rus (2023), "AutoCoreset: an automatic practical coreset construction framework",
    arXiv:2305.11980, Alg. 1.

    Examples
    --------
    >>> y = np.array([0.0, 0.0, 3.0])
    >>> train, losses = lambda rows, weights: np.average(y[rows], weights=weights), lambda mean: (y - mean) ** 2
    >>> order, weights, _ = autocoreset(3, 2, train, losses, np.random.default_rng(0), summary="caratheodory")
    >>> sorted(weights.round(6).tolist())
    [1.0, 2.0]
    """
    if not budget:
        return np.empty(0, np.intp), np.empty(0), np.zeros(n)
    columns = [
        losses(train(rng.choice(n, budget, replace=False), np.full(budget, n / budget)))
        for _ in range(n_initial_models)
    ]
    least, stale = np.inf, 0
    while stale < patience:
        if summary == "importance":
            rows, weights = systematic_sample(np.linalg.norm(columns, axis=0), budget, rng)
        else:
            kept = [np.ones(n), *columns][:budget]
            rows, weights = caratheodory(np.stack(kept, axis=1), budget, rng)
        columns.append(losses(train(rows, weights)))
        loss = float(columns[-1].sum())
        stale += 1
        if loss < least:
            least, stale, best = loss, 0, (rows, weights)
        if summary == "caratheodory" and len(columns) >= budget:
            break
    rows, weights = best
    mean_loss = np.mean(columns, axis=0)
    by_row = np.argsort(rows)
    by_loss = by_row[np.argsort(-mean_loss[rows[by_row]], kind="stable")]
    return rows[by_loss], weights[by_loss], mean_loss


def caratheodory(points: Numbers, size: int, rng: np.random.Generator) -> tuple[Rows, Numbers]:
    """Points and weights >= 0 whose weighted sum is the sum of all points.

    In random order, as soon as q + 1 points are at hand, their weights are moved along a combination of them that is 0,
    until one weight is 0: that point is left out.

    Parameters
    ----------
    points : (n, q) float64, q <= size
    size : number of points to keep, at most n

    Returns
    -------
    rows : (size,) points
    weights : (size,) float64 >= 0

    Cost: O((n − size) q³) time, O(n) memory.

    References
    ----------
    Carathéodory's theorem for cones: Schrijver (1986), Theory of Linear and Integer Programming, section 7.7.

    >>> rows, weights = caratheodory(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), 2, np.random.default_rng(0))
    >>> (weights[:, None] * np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])[rows]).sum(axis=0).round(9).tolist()
    [3.0, 3.0]
    """
    n, q = points.shape
    waiting = rng.permutation(n)
    weights = np.ones(n)
    active, waiting = waiting[: q + 1], waiting[q + 1 :]
    scaled = points / np.maximum(np.abs(points).max(axis=0, initial=0), np.finfo(float).tiny)
    for _ in range(n - size):
        null = _null_vector(scaled[active])  # q + 1 points: more than size >= q remain
        step = np.divide(weights[active], null, out=np.full(len(active), np.inf), where=null > _ZERO)
        out = int(step.argmin())
        weights[active] = np.maximum(weights[active] - step[out] * null, 0)
        active, waiting = np.append(np.delete(active, out), waiting[:1]), waiting[1:]
    rows = np.concatenate((active, waiting))
    return rows, weights[rows]


def _null_vector(points: Numbers) -> Numbers:
    """Return coefficients of a combination of q + 1 points that is 0: (q + 1,), the largest of them 1.

    The first point that depends on those before it is written as their combination. So the result does not depend on
    the processor, as a basis of a null space of several dimensions does.
    """
    from scipy.linalg import solve_triangular

    upper = np.linalg.qr(points.T).R
    diagonal = np.abs(np.diagonal(upper))
    dependent = np.flatnonzero(diagonal <= _DEPENDENT * np.abs(upper).max(initial=0))
    last = int(dependent[0]) if len(dependent) else len(diagonal)
    null: Numbers = np.zeros(len(points))
    null[:last] = solve_triangular(upper[:last, :last], -upper[:last, last])
    null[last] = 1
    magnitude = np.abs(null)
    null /= null[np.argmax(magnitude >= magnitude.max() * (1 - _DEPENDENT))]
    return null


def least_squares(x: Matrix, y: Vector) -> tuple[Callable[[Rows, Numbers], Numbers], Callable[[Numbers], Numbers]]:
    """How to train a linear model of ``y`` with a constant, on some rows with weights, and its squared errors on all.

    Parameters
    ----------
    x : (n, d) float32
    y : (n,) float32

    Where rows leave coefficients open, they are the shortest.

    >>> train, losses = least_squares(np.array([[0], [1], [2]], np.float32), np.array([1, 3, 6], np.float32))
    >>> losses(train(np.array([0, 1]), np.ones(2))).round(9).tolist()
    [0.0, 0.0, 1.0]
    """
    features = np.column_stack((x, np.ones(len(x), np.float32)))
    target = y.astype(np.float64)

    def train(rows: Rows, weights: Numbers) -> Numbers:
        coordinates = row_space(features[rows], np.sqrt(weights)).whitening()
        moments = features[rows].T.astype(np.float64) @ (weights * target[rows])
        return coordinates @ (coordinates.T @ moments)

    def losses(model: Numbers) -> Numbers:
        found = np.empty(len(x))

        def block(rows: slice) -> None:
            found[rows] = (features[rows].astype(np.float64) @ model - target[rows]) ** 2

        for _ in map_blocks(block, block_slices(len(x), _BLOCK)):
            pass
        return found

    return train, losses


@selector(
    version=1,
    reads={"embedding", "scores"},
    example={"predict": "prototypicality"},
    cost="O(n d²) a model, some ten models",
    guarantee="unbiased losses of models met before a draw; none for the model trained on it",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AutoCoreset:
    """Keep rows, with training weights, on which a linear model predicts a score nearly as well as trained on all rows.

    The gain of a row is its mean squared error over the models met. The weighted loss on the rows kept is too low as an
    estimate of the loss on all rows, because the model was trained on them.

    References
    ----------
    Maalouf, Tukan, Braverman & Rus (2023), "AutoCoreset: an automatic practical coreset construction framework",
    arXiv:2305.11980, Alg. 1.
    """

    predict: ScoreName
    """The score that the linear model of the embeddings predicts."""

    summary: Summary = "importance"
    """``importance``: rows that some model predicts badly are drawn more often; ``caratheodory``: rows are eliminated
    one by one, so that the total losses of the models met stay the same. Weights are then very uneven; the model is
    mostly nearer to that of all rows, and sometimes far from it."""

    n_initial_models: Annotated[int, Ge(1), Le(1_000)] = 3
    """Models trained on uniform samples to begin with."""

    patience: Annotated[int, Ge(1), Le(1_000)] = 5
    """Rounds in a row without a better model, after which the search ends."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        score = pool.require_score(self.predict, "autocoreset")
        with one_blas_thread():
            train, losses = least_squares(pool.embeddings, score)
            order, weights, mean_loss = autocoreset(
                len(pool),
                budget,
                train,
                losses,
                rng,
                summary=self.summary,
                n_initial_models=self.n_initial_models,
                patience=self.patience,
            )
        gains, weight = mean_loss[order].astype(np.float32), weights.astype(np.float32)
        return Selection(order, gains, weight, reasons=("not among the rows the best model was trained on",))
