"""VoG: the published figures, and the definition with the gradients of a network."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import ScoreBatch
from curate.plugins.dynamics import Dynamics, ProxyModel
from curate.plugins.proxies.mlp import MLP
from curate.plugins.scorers.vog import VoG, gradient_variance


def setting(n=40):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 5)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = rng.integers(0, 3, n).astype(np.int32)
    proxy = MLP(hidden_size=6, epochs=5, runs=2, batch_size=8)
    state = proxy.train(x, labels, 3, np.random.default_rng(1))
    return proxy, state, x, labels


def score(proxy, state, x, labels, **fields):
    dynamics = Dynamics.from_logits(labels, np.zeros((2, 5, len(x), 3)), ProxyModel(x, proxy, state))
    return VoG(**fields).score(ScoreBatch(dynamics=dynamics), np.random.default_rng(0))


def test_the_published_figures():
    checkpoints = [np.array([[value, 0]], np.float32) for value in (1, 2, 3)]
    assert gradient_variance(checkpoints, "std")[0] == pytest.approx(0.40825, abs=1e-5)
    assert gradient_variance(checkpoints, "var")[0] == pytest.approx(0.33333, abs=1e-5)


@pytest.mark.parametrize("statistic", ["std", "var"])
def test_it_is_the_mean_over_coordinates_and_runs_and_normalized_within_a_class(statistic):
    proxy, state, x, labels = setting()
    raw = []
    for run in range(2):
        gradients = np.array([proxy.input_gradients(state, x, labels, run, epoch) for epoch in range(5)], np.float64)
        raw.append((gradients.std(axis=0) if statistic == "std" else gradients.var(axis=0)).mean(axis=1))
    raw = np.mean(raw, axis=0)
    plain = score(proxy, state, x, labels, statistic=statistic, normalize="none")
    np.testing.assert_allclose(plain, raw, rtol=1e-4)
    by_class = score(proxy, state, x, labels, statistic=statistic)
    for label in range(3):
        of_class = raw[labels == label]
        np.testing.assert_allclose(
            by_class[labels == label], (of_class - of_class.mean()) / of_class.std(), rtol=1e-3, atol=1e-3
        )
    pool = score(proxy, state, x, labels, statistic=statistic, normalize="pool")
    np.testing.assert_allclose(pool, (raw - raw.mean()) / raw.std(), rtol=1e-3, atol=1e-3)


def test_a_class_of_one_row_has_the_value_0_and_a_row_without_a_label_none():
    proxy, state, x, labels = setting()
    labels[labels == 2] = -1
    labels[0] = 2
    values = score(proxy, state, x, labels)
    assert values[0] == 0
    assert np.isnan(values[labels < 0]).all()
    assert np.isfinite(values[labels >= 0]).all()


def test_no_label_at_all():
    proxy, state, x, labels = setting()
    assert np.isnan(score(proxy, state, x, np.full_like(labels, -1))).all()
