"""The proxy mlp equals the slow version of its training, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.stats.softmax import softmax
from curate.plugins.dynamics import compute_logits
from curate.plugins.proxies.mlp import MLP, train_mlp

OPTIONS = {"hidden_size": 6, "epochs": 3, "learning_rate": 0.05, "batch_size": 7}


def pool(n=40, d=4, classes=3):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d))
    labels = (x @ rng.standard_normal((d, classes))).argmax(axis=1).astype(np.int32)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.5, 0.01)])
def test_equals_the_slow_version(momentum, weight_decay):
    x, labels = pool()
    rates = {"momentum": momentum, "weight_decay": weight_decay}
    hidden, output = train_mlp(x, labels, 3, np.random.default_rng(1), **OPTIONS, **rates)
    rng = np.random.default_rng(1)
    w1 = np.zeros((5, 6))
    w2 = np.zeros((7, 3))
    w1[:-1] = rng.standard_normal((4, 6), np.float32) * np.sqrt(2 / 4)
    w2[:-1] = rng.standard_normal((6, 3), np.float32) * np.sqrt(2 / 6)
    v1, v2 = np.zeros_like(w1), np.zeros_like(w2)
    for epoch in range(3):
        order = rng.permutation(40)
        for start in range(0, 40, 7):
            rows = order[start : start + 7]
            g1, g2 = np.zeros_like(w1), np.zeros_like(w2)
            for row in rows:
                inputs = np.append(2 * x[row].astype(np.float64), 1)  # √4 times the row, and the bias
                h = np.append(np.maximum(inputs @ w1, 0), 1)
                error = softmax((h @ w2)[None])[0] - np.eye(3)[labels[row]]
                g2 += np.outer(h, error) / len(rows)
                g1 += np.outer(inputs, (w2[:-1] @ error) * (h[:-1] > 0)) / len(rows)
            g1[:-1] += weight_decay * w1[:-1]
            g2[:-1] += weight_decay * w2[:-1]
            v1, v2 = momentum * v1 + g1, momentum * v2 + g2
            w1, w2 = w1 - 0.05 * v1, w2 - 0.05 * v2
        np.testing.assert_allclose(hidden[epoch], w1, atol=1e-4)
        np.testing.assert_allclose(output[epoch], w2, atol=1e-4)


def test_runs_differ_and_the_first_does_not_depend_on_how_many_there_are():
    x, labels = pool()
    one, two = (
        MLP(epochs=2, hidden_size=4, runs=runs).train(x, labels, 3, np.random.default_rng(1))["hidden"]
        for runs in (1, 2)
    )
    assert one[0].tobytes() == two[0].tobytes() != two[1].tobytes()


def test_it_learns_what_no_linear_model_can():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 2))
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.int32)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    proxy = MLP(epochs=40, hidden_size=16)
    state = proxy.train(x, labels, 2, rng)
    assert (compute_logits(proxy, state, x, 0, 39).argmax(axis=1) == labels).mean() > 0.95
