import numpy as np
import pytest

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics
from curate.plugins.scorers.forgetting import Forgetting


def score(*runs, **fields):
    """Score rows given as strings of correct (1) and wrong (0) epochs; the last row has no label."""
    right = np.array([[[int(epoch) for epoch in row] for row in run.split()] for run in runs], np.float32)
    n = right.shape[1]
    labels = np.append(np.zeros(n - 1, np.int32), np.int32(-1))
    p = 0.25 + 0.5 * right
    judged = Dynamics.from_probabilities(labels, np.stack([p, 1 - p], axis=-1).transpose(0, 2, 1, 3))
    return Forgetting(**fields).score(ScoreBatch(dynamics=judged), np.random.default_rng(0)).tolist()


@pytest.mark.parametrize(
    ("epochs", "events"), [("1111", 0), ("0011", 0), ("1011", 1), ("1010", 2), ("0101", 1), ("0110", 1), ("1000", 1)]
)
def test_an_event_is_right_and_then_wrong(epochs, events):
    assert score(f"{epochs} 1111")[0] == events


def test_it_is_the_mean_over_runs():
    assert score("1010 1111", "1111 1111")[0] == 1


def test_a_never_learned_row_ranks_first_or_has_no_score():
    """Of five epochs no row can be forgotten more than twice."""
    assert score("00000 10101 11111", never_learned="most")[:2] == [3, 2]
    assert score("00000 10101 11111", never_learned="none")[:2] == [0, 2]
    assert score("00000 11111", "10101 11111", never_learned="most")[0] == 2.5


def test_a_never_learned_row_is_forgotten_infinitely_often_as_published():
    assert score("00000 10101 11111", never_learned="infinite")[:2] == [np.inf, 2]
    assert score("00000 11111", "10101 11111", never_learned="infinite")[0] == np.inf


def test_a_row_without_a_label_has_no_score():
    assert np.isnan(score("1010 1010")[1])
