"""Trainings of a learner on subsets of its rows, shared by scorers that value rows by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from curate.kernels.stats.hash_folds import assign_vector_folds
from curate.kernels.stats.hash_sampling import content_order, hash_vectors
from curate.kernels.types import Advance, Codes, Matrix, Numbers, Rows, Vector
from curate.kernels.valuation.memorization import Evaluate
from curate.kernels.valuation.semivalues import semivalues
from curate.plugins.dynamics import Learner
from curate.plugins.results import Scores

Measure = Literal["correct", "probability"]
"""Measure of a prediction: 1 if the label is the most probable class and 0 if not, or the probability of the label."""


def order_by_content(learner: Learner, rng: np.random.Generator) -> tuple[Learner, Rows]:
    """Return a learner of the labeled rows in an order by their content, and the rows; random draws follow them."""
    labeled = learner.labels >= 0
    x = learner.embeddings if labeled.all() else learner.embeddings[labeled]
    order = np.flatnonzero(labeled)[content_order(x, int(rng.integers(2**63)), learner.labels[labeled])]
    return learner.take(order), order


def to_pool(learner: Learner, rows: Rows, n: int, columns: tuple[Numbers, ...]) -> Matrix:
    """Return the values of a learner's rows for a pool of n rows, NaN for others; (n, columns) float32.

    Copies of a row with the same label have equal expectations, and get their mean.
    """
    values = np.stack(columns, axis=1)
    hashes = hash_vectors(learner.embeddings, np.random.default_rng(0), learner.labels)
    copies, sizes = np.unique(hashes, return_inverse=True, return_counts=True)[1:]
    means = np.stack([np.bincount(copies, column, len(sizes)) for column in values.T], axis=1) / sizes[:, None]
    result = np.full((n, values.shape[1]), np.nan, np.float32)
    result[rows] = means[copies]
    return result


def describe_missing(values: Vector, field: str) -> tuple[str, ...]:
    """Return a warning if labeled rows have no value, because ``field`` is too small for every row to be left out."""
    missing = int(np.count_nonzero(np.isnan(values)))
    if not missing:
        return ()
    remedy = f"increase `{field}`" if len(values) > 1 else "it is the only row with a label"
    return (f"{missing:,} of {len(values):,} rows with a label have no value, as no model left them out; {remedy}",)


def measure_predictions(probabilities: Matrix, labels: Codes, measure: Measure) -> Vector:
    """Return how well each of m rows is predicted, (m,) float32."""
    if measure == "probability":
        return probabilities[np.arange(len(labels)), labels]
    correct: Vector = (probabilities.argmax(axis=1) == labels).astype(np.float32)
    return correct


def evaluator(learner: Learner, measure: Measure) -> Evaluate:
    """Return a function that trains on some rows, and returns how well others are predicted."""

    def evaluate(training: Rows, rows: Rows, rng: np.random.Generator) -> Vector:
        return measure_predictions(learner.fit_predict(training, rows, rng), learner.labels[rows], measure)

    return evaluate


def score_by_semivalues(
    learner: Learner,
    groups: Codes | None,
    weights: Callable[[int], Numbers],
    *,
    trainings: int,
    test_rows: int,
    measure: Measure,
    rng: np.random.Generator,
    advance: Advance | None = None,
) -> Scores:
    """Value rows, or groups of rows, by a semivalue of their utility for the prediction of held-out rows.

    Labeled rows are divided into two halves by their content. Each half is valued by rows of the other, and half of the
    trainings go to each.

    Parameters
    ----------
    learner : learner of the n rows of a pool
    groups : (n,) group of each row, -1 for none; None = every row is a player
    weights : weights of the sizes for a number of players, see ``semivalues``
    trainings : number of random sets of players
    test_rows : maximum number of test rows of each half
    measure : utility: mean of this measure over the test rows
    rng : random generator
    advance : receives the progress

    Returns
    -------
    Scores of two columns: value and standard error. All rows of a group have the value of the group, the mean of both
    halves. NaN for rows without a label or group, and for all rows if all labeled vectors are the same.
    """
    own, rows = order_by_content(learner, rng)
    n, fold, evaluate = len(own), assign_vector_folds(own.embeddings, 2, rng), evaluator(own, measure)
    player = np.arange(n) if groups is None else groups[rows]
    m = max(1, int(player.max(initial=-1)) + 1)
    sums, squared_errors, counts, utilities = np.zeros(m), np.zeros(m), np.zeros(m), []
    for half in (0, 1):
        candidates = np.flatnonzero((fold == half) & (player >= 0))
        test = np.flatnonzero(fold != half)[:test_rows]  # by content, so a random sample
        if not len(candidates) or not len(test):
            continue
        present, code = np.unique(player[candidates], return_inverse=True)

        def utility(
            members: np.ndarray,
            own_rng: np.random.Generator,
            candidates: Rows = candidates,
            code: Rows = code,
            test: Rows = test,
        ) -> float:
            return float(evaluate(candidates[members[code]], test, own_rng).mean(dtype=np.float64))

        values, errors = semivalues(
            len(present),
            weights(len(present)),
            utility,
            1 / own.classes,
            max(1, trainings // 2),
            rng,
            None if advance is None else lambda share: advance(share / 2),
        )
        sums[present] += values
        squared_errors[present] += errors**2
        counts[present] += 1
        utilities.append(1 / own.classes + values.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        value, error = sums / counts, np.sqrt(squared_errors) / counts
    there = player >= 0
    ungrouped = ("no row with a label has a group, so that no row has a value",) if n and not there.any() else ()
    result = to_pool(own, rows, len(learner), tuple(np.where(there, each[player], np.nan) for each in (value, error)))
    return Scores(
        result, warnings=ungrouped + _noise(value[counts > 0], error[counts > 0], trainings, groups is not None)
    )


def _noise(values: Numbers, errors: Numbers, trainings: int, grouped: bool) -> tuple[str, ...]:
    """Return a warning if most values are smaller than their standard errors."""
    share = float((np.abs(values) < errors).mean()) if len(values) else 0.0
    if share <= 0.5:
        return ()
    players = "groups" if grouped else "rows"
    remedy = "" if grouped else ", or value groups of rows with `group`"
    return (
        f"{share:.0%} of the {len(values):,} {players} have a value that is smaller than its standard error with "
        f"{trainings:,} trainings; increase `trainings`{remedy}",
    )
