"""Second-split forgetting: time until a proxy forgets a row that it is no longer trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.stats.hash_folds import assign_vector_folds
from curate.kernels.types import Flags, Matrix, Numbers, Rows
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.dynamics import Learner
from curate.plugins.interfaces import OutputColumn, scorer


def learning_epoch(is_correct: Flags) -> Numbers:
    """Return the first epoch after which each row stays correct, counted from 1; one more than all if there is none.

    Parameters
    ----------
    is_correct : (epochs, n) bool

    Examples
    --------
    >>> learning_epoch(np.array([[True, False, True], [False, True, True], [False, True, True]])).tolist()
    [4.0, 2.0, 1.0]
    """
    epochs = len(is_correct)
    last_wrong: Numbers = np.where(is_correct, 0.0, np.arange(1, epochs + 1)[:, None]).max(axis=0)
    return last_wrong + 1


def forgetting_epoch(is_correct: Flags) -> Numbers:
    """Return the first epoch after which each row stays wrong, counted from 1; one more than all if there is none.

    Parameters
    ----------
    is_correct : (epochs, n) bool

    Examples
    --------
    >>> forgetting_epoch(np.array([[True, False, True], [False, True, True], [False, True, True]])).tolist()
    [2.0, 4.0, 4.0]
    """
    return learning_epoch(~is_correct)


def second_split_forgetting(learner: Learner, rng: np.random.Generator) -> Matrix:
    """Train the proxy on one half of the rows, then on the other, and observe the first half in both trainings.

    Halves change roles, so that every row is observed. Rows are divided by a hash of their vectors, so that copies
    share a half.

    Parameters
    ----------
    learner : proxy and n rows
    rng : random generator

    Returns
    -------
    (n, 2) float32: epoch in which a row is forgotten, and epoch in which it was learned, in the mean over the runs; NaN
    for rows without a label, and for all rows if there is only one vector with labels

    Notes
    -----
    Cost: two trainings on each half, and runs × epochs predictions of every row; O(epochs n) memory.
    """
    labeled = np.flatnonzero(learner.labels >= 0)
    rounded = learner.embeddings[labeled].astype(np.float16).astype(np.float32)  # the same for storage in float16
    half = assign_vector_folds(rounded, 2, rng)
    score = np.full((len(learner), 2), np.nan, np.float32)
    if not half.any():
        return score

    def observe(task: tuple[Rows, Rows, np.random.Generator]) -> Numbers:
        first, second, task_rng = task
        learned = learner.train(first, task_rng)
        replaced = learner.train(second, task_rng, start=learned)
        epochs = np.zeros((2, len(first)))
        for run in range(learner.runs):
            for column, (state, find) in enumerate(((replaced, forgetting_epoch), (learned, learning_epoch))):
                logits = (learner.logits(state, first, run, epoch) for epoch in range(learner.epochs))
                epochs[column] += find(np.array([each.argmax(axis=1) == learner.labels[first] for each in logits]))
        return epochs / learner.runs

    halves = [labeled[half == 0], labeled[half == 1]]
    tasks = [(halves[0], halves[1], rng.spawn(1)[0]), (halves[1], halves[0], rng.spawn(1)[0])]
    for (first, _, _), epochs in zip(tasks, map_blocks(observe, tasks), strict=True):
        score[first] = epochs.T
    return score


@scorer(
    version=1,
    reads={"learner"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="epochs",
            range=(1, float("inf")),
            higher_means="remembered longer",
            label_errors="low",
        ),
        OutputColumn(
            name="learned",
            higher_is_better=False,
            unit="epochs",
            range=(1, float("inf")),
            higher_means="harder to learn",
        ),
    ),
    cost="two trainings on each half of the rows",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SecondSplitForgetting:
    """Second-split forgetting time: epochs until a proxy forgets a row after training continues on other rows.

    Use it to tell wrong labels from rare rows: both are learned late, but wrong labels are forgotten at once, because
    no other row supports them, and rare rows are not.

    The proxy is trained on one half of the pool, then on the other half. The score is the first epoch of the second
    training from which the row is wrong until its end, one more than the number of epochs if it is not forgotten;
    ``second_split_forgetting_learned`` is the first epoch of the first training from which the row is right until its
    end. NaN for a row without a label.

    Notes
    -----
    Deviations: the halves change roles, so that every row is observed; the mean over the runs of the proxy.

    References
    ----------
    Maini, Garg, Lipton & Kolter (2022), Characterizing Datapoints via Second-Split Forgetting, arXiv:2210.15031,
    section 3.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:
        return second_split_forgetting(require(batch.learner), rng)
