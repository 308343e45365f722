import numpy as np
import pytest

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics
from curate.plugins.scorers.el2n import EL2N

LABELS = np.array([1, 0, -1], np.int32)


def dynamics(*runs):
    """Return two-class dynamics from the probability of class 0 by run, epoch and row."""
    p = np.array(runs, np.float32)
    return Dynamics.from_probabilities(LABELS, np.stack([p, 1 - p], axis=-1))


def score(judged, **fields):
    return EL2N(**fields).score(ScoreBatch(dynamics=judged), np.random.default_rng(0))


def error_norm(p, labels):
    return np.linalg.norm(p - np.eye(p.shape[1])[labels], axis=1)


def test_the_published_figure():
    judged = Dynamics.from_probabilities(np.array([1], np.int32), np.array([[[[0.7, 0.2, 0.1]]]], np.float32))
    np.testing.assert_allclose(score(judged), [1.06771], atol=1e-5)


def test_a_right_and_sure_row_scores_0_and_a_wrong_and_sure_one_root_2():
    result = score(dynamics([[0.0, 0.0, 0.5]]))
    assert result[:2].tolist() == [0, np.float32(np.sqrt(2))]


def test_it_is_the_mean_over_runs_and_their_first_epochs():
    judged = dynamics([[0.9, 0.9, 0.5], [0.4, 0.6, 0.5], [0, 1, 0.5]], [[0.7, 0.7, 0.5], [0.2, 0.8, 0.5], [0, 1, 0.5]])
    root = np.sqrt(2)  # of two classes, the length is √2 times the probability of the wrong one
    np.testing.assert_allclose(score(judged, epochs=1)[:2], [0.8 * root, 0.2 * root], rtol=1e-6)
    np.testing.assert_allclose(score(judged, epochs=2)[:2], [0.55 * root, 0.25 * root], rtol=1e-6)


def test_more_epochs_than_there_are_are_all_of_them():
    judged = dynamics([[0.9, 0.9, 0.5], [0.4, 0.6, 0.5]])
    assert score(judged, epochs=99)[:2].tolist() == score(judged, epochs=2)[:2].tolist()


def test_ten_epochs_are_a_tenth_of_the_sum_that_the_code_of_ccs_takes():
    p = np.random.default_rng(3).random((1, 12, 3)).astype(np.float32)
    judged = dynamics(*p)
    total = sum(error_norm(judged.probabilities(0, epoch)[:2], LABELS[:2]) for epoch in range(10))
    np.testing.assert_allclose(score(judged)[:2], total / 10, rtol=1e-5)


def test_a_row_without_a_label_has_no_score():
    assert np.isnan(score(dynamics([[0.9, 0.9, 0.5]]))).tolist() == [False, False, True]


@pytest.mark.parametrize("wrong", [-0.5, np.nan])
def test_what_is_no_probability_is_refused(wrong):
    from curate.errors import PluginError

    with pytest.raises(PluginError, match="dynamics: the probabilities after epoch 0 of run 0 do not sum to 1"):
        p = np.full((3, 2), wrong, np.float32)
        Dynamics(LABELS, 2, 1, 1, (), lambda name: p, lambda run, epoch: p).probabilities(0, 0)
