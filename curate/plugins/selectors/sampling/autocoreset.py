"""AutoCoreset: weighted rows on which training resembles training on all rows, found by repeated training."""

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
_ZERO = 1e-12  # relative to the largest weight
_DEPENDENT = 1e-10  # relative to the largest coordinate


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
    chooses rows and weights whose weighted sum of rows of M approximates the sum of all, trains a model on them, and
    adds its losses as a column. The result is the round whose model has the lowest loss on all rows.

    Parameters
    ----------
    n : number of rows in the pool
    budget : number of rows to keep, 0 <= budget <= n
    train : function of row indices and weights that returns a model
    losses : function of a model that returns the loss on each row; (n,) float64 >= 0
    rng : random generator
    summary : method of choosing rows and weights. ``importance``: at random, in proportion to the length of the row of
        M (plus an even share of one row), weights the inverse. ``caratheodory``: rows are eliminated until there are
        ``budget``, such that the sums of the columns stay the same; it reads no more columns than that
    n_initial_models : models trained on uniform samples
    patience : rounds in a row without a lower loss, after which the search ends

    Returns
    -------
    indices : (budget,) rows, by descending mean loss over the models, ties to the lowest index
    weights : (budget,) float64 >= 0, of sum n: in expectation with ``importance``, exactly with ``caratheodory``
    mean_loss : (n,) mean loss of each row over the trained models

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
    >>> indices, weights, _ = autocoreset(3, 2, train, losses, np.random.default_rng(0), summary="caratheodory")
    >>> sorted(weights.round(6).tolist())
    [1.0, 2.0]
    """
    if not budget:
        return np.empty(0, np.intp), np.empty(0), np.zeros(n)
    columns = [
        losses(train(rng.choice(n, budget, replace=False), np.full(budget, n / budget)))
        for _ in range(n_initial_models)
    ]
    lowest_loss, n_stale = np.inf, 0
    while n_stale < patience:
        if summary == "importance":
            rows, weights = systematic_sample(np.linalg.norm(columns, axis=0), budget, rng)
        else:
            moments = [np.ones(n), *columns][:budget]
            rows, weights = caratheodory(np.stack(moments, axis=1), budget, rng)
        columns.append(losses(train(rows, weights)))
        loss = float(columns[-1].sum())
        n_stale += 1
        if loss < lowest_loss:
            lowest_loss, n_stale, best = loss, 0, (rows, weights)
        if summary == "caratheodory" and len(columns) >= budget:
            break
    rows, weights = best
    mean_loss = np.mean(columns, axis=0)
    by_row = np.argsort(rows)
    by_loss = by_row[np.argsort(-mean_loss[rows[by_row]], kind="stable")]
    return rows[by_loss], weights[by_loss], mean_loss


def caratheodory(points: Numbers, size: int, rng: np.random.Generator) -> tuple[Rows, Numbers]:
    """Find points and weights >= 0 whose weighted sum is the sum of all points.

    In random order, as soon as q + 1 points are available, their weights are moved along a linear dependency until one
    weight is 0; that point is removed.

    Parameters
    ----------
    points : (n, q) float64, q <= size
    size : number of points to keep, at most n
    rng : random generator

    Returns
    -------
    rows : (size,) points
    weights : (size,) float64 >= 0

    Notes
    -----
    Cost: O((n − size) q³) time, O(n) memory.

    References
    ----------
    Carathéodory's theorem for cones: Schrijver (1986), Theory of Linear and Integer Programming, section 7.7.

    Examples
    --------
    >>> rows, weights = caratheodory(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), 2, np.random.default_rng(0))
    >>> (weights[:, None] * np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])[rows]).sum(axis=0).round(9).tolist()
    [3.0, 3.0]
    """
    n, q = points.shape
    remaining = rng.permutation(n)
    weights = np.ones(n)
    active, remaining = remaining[: q + 1], remaining[q + 1 :]
    scaled = points / np.maximum(np.abs(points).max(axis=0, initial=0), np.finfo(float).tiny)
    for _ in range(n - size):
        coefficients = _null_vector(scaled[active])  # q + 1 points: more than size >= q remain
        step = np.divide(weights[active], coefficients, out=np.full(len(active), np.inf), where=coefficients > _ZERO)
        removed = int(step.argmin())
        weights[active] = np.maximum(weights[active] - step[removed] * coefficients, 0)
        active, remaining = np.append(np.delete(active, removed), remaining[:1]), remaining[1:]
    rows = np.concatenate((active, remaining))
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
    """Return functions that train a linear model of ``y`` with intercept, and compute its squared errors.

    If rows do not determine the coefficients, those of smallest norm are used.

    Parameters
    ----------
    x : (n, d) float32
    y : (n,) float32

    Returns
    -------
    train : function of row indices and weights that returns a model
    losses : function of a model that returns the squared errors of all rows, (n,) float64

    Examples
    --------
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
        errors = np.empty(len(x))

        def block(rows: slice) -> None:
            errors[rows] = (features[rows].astype(np.float64) @ model - target[rows]) ** 2

        for _ in map_blocks(block, block_slices(len(x), _BLOCK)):
            pass
        return errors

    return train, losses


@selector(
    version=1,
    scope="pool",
    reads={"embedding", "scores"},
    example={"predict": "prototypicality"},
    cost="O(n d²) per model, about ten models",
    guarantee="unbiased losses of earlier models; none for the model trained on the selection",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AutoCoreset:
    """Keep weighted rows on which a linear model predicts a score nearly as well as if trained on all rows.

    Use it to shrink data for regression on a score or target, with training weights. For classification or generic
    training, ``craig`` or ``grad_match`` are more suitable; ``sensitivity`` and ``volume_sampling`` do not need a
    target.

    The gain of a row is its mean squared error over the trained models. The weighted loss on the kept rows
    underestimates the loss on all rows, because the model was trained on them.

    References
    ----------
    Maalouf, Tukan, Braverman & Rus (2023), "AutoCoreset: an automatic practical coreset construction framework",
    arXiv:2305.11980, Alg. 1.
    """

    predict: ScoreName
    """Score that the linear model of the embeddings predicts."""

    summary: Summary = "importance"
    """``importance``: rows that some model predicts badly are drawn more often; ``caratheodory``: rows are removed one
    by one, such that the total losses of the trained models stay the same. Its weights are very uneven; the model is
    mostly closer to that of all rows, and sometimes far from it."""

    n_initial_models: Annotated[int, Ge(1), Le(1_000)] = 3
    """Number of models initially trained on uniform samples."""

    patience: Annotated[int, Ge(1), Le(1_000)] = 5
    """Number of rounds in a row without a better model, after which the search ends."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        score = pool.require_score(self.predict, "autocoreset")
        with one_blas_thread():
            train, losses = least_squares(pool.embeddings, score)
            indices, weights, mean_loss = autocoreset(
                len(pool),
                budget,
                train,
                losses,
                rng,
                summary=self.summary,
                n_initial_models=self.n_initial_models,
                patience=self.patience,
            )
        gains, weight = mean_loss[indices].astype(np.float32), weights.astype(np.float32)
        return Selection(indices, gains, weight, reasons=("not among the training rows of the best model",))
