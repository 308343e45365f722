import numpy as np
import pytest

from curate.kernels.stats.softmax import softmax
from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics
from curate.plugins.scorers.aum import AUM


def score(probabilities, labels, **fields):
    """Score (runs, epochs, n, classes) probabilities."""
    p = np.asarray(probabilities, np.float32)
    judged = Dynamics.from_probabilities(np.asarray(labels, np.int32), p)
    return AUM(**fields).score(ScoreBatch(dynamics=judged), np.random.default_rng(0))


def test_on_logits_it_is_the_mean_margin_of_logits_though_only_probabilities_are_known():
    z = 4 * np.random.default_rng(0).standard_normal((2, 5, 30, 4))
    labels = np.arange(30) % 4
    p = np.array([[softmax(each) for each in run] for run in z])
    own = np.take_along_axis(z, np.broadcast_to(labels[None, None, :, None], (2, 5, 30, 1)), axis=-1)[..., 0]
    others = z.copy()
    np.put_along_axis(others, np.broadcast_to(labels[None, None, :, None], (2, 5, 30, 1)), -np.inf, axis=-1)
    expected = (own - others.max(axis=-1)).mean(axis=(0, 1))
    np.testing.assert_allclose(score(p, labels), expected, rtol=1e-4, atol=1e-4)


def test_on_probabilities_it_is_the_sum_that_the_code_of_ccs_takes_over_the_number_of_epochs():
    p = [[[[0.7, 0.2, 0.1]], [[0.2, 0.5, 0.3]]]]
    np.testing.assert_allclose(score(p, [1], margin="probabilities"), [(0.2 - 0.7 + 0.5 - 0.3) / 2], atol=1e-7)


@pytest.mark.parametrize("margin", ["logits", "probabilities"])
def test_a_mislabeled_row_is_lowest_and_an_unlabeled_row_is_null(margin):
    p = [[[[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]]]
    result = score(p, [0, 1, 0, -1], margin=margin)
    assert np.argsort(result[:3]).tolist() == [1, 2, 0]
    assert result[1] < 0 < result[2]
    assert np.isnan(result[3])


def test_a_probability_of_0_leaves_a_finite_margin():
    result = score([[[[1.0, 0.0], [0.0, 1.0]]]], [0, 0])
    assert 80 < result[0] < 90
    assert result[1] == -result[0]
