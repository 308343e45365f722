import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from curate.kernels.stats.softmax import softmax
from curate.plugins.proxies.logistic import Logistic, train_softmax_regression


def pool(n=60, d=4, classes=3):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d))
    labels = (x @ rng.standard_normal((d, classes)) + rng.standard_normal((n, classes))).argmax(axis=1)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), labels.astype(np.int32)


def weights(x, labels, seed=0, **fields):
    plain = {"epochs": 3, "learning_rate": 0.5, "momentum": 0.0, "batch_size": 7, "weight_decay": 0.0}
    return train_softmax_regression(x, labels, 3, np.random.default_rng(seed), **{**plain, **fields})


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.5, 0.01)])
def test_equals_the_slow_version(momentum, weight_decay):
    x, labels = pool()
    result = weights(x, labels, momentum=momentum, weight_decay=weight_decay)
    rng, w, b = np.random.default_rng(0), np.zeros((4, 3)), np.zeros(3)
    dw, db = np.zeros_like(w), np.zeros_like(b)
    for epoch in range(3):
        indices = rng.permutation(60)
        for start in range(0, 60, 7):
            rows = indices[start : start + 7]
            gradient_w, gradient_b = weight_decay * w, np.zeros(3)
            for row in rows:
                error = softmax((x[row] @ w + b)[None])[0] - np.eye(3)[labels[row]]
                gradient_w = gradient_w + np.outer(x[row], error) / len(rows)
                gradient_b = gradient_b + error / len(rows)
            dw, db = momentum * dw + gradient_w, momentum * db + gradient_b
            w, b = w - 0.5 * dw, b - 0.5 * db
        np.testing.assert_allclose(result[epoch], np.vstack([w, b]), atol=1e-4)


def test_in_the_end_it_is_the_model_that_another_library_fits():
    x, labels = pool()
    own = weights(x, labels, epochs=4_000, batch_size=60, learning_rate=2.0, weight_decay=0.01)[-1]
    other = LogisticRegression(C=1 / (0.01 * 60), tol=1e-8, max_iter=10_000).fit(x, labels)
    np.testing.assert_allclose(softmax(x @ own[:-1] + own[-1]), other.predict_proba(x), atol=1e-3)


def test_runs_are_of_different_orders_and_the_first_does_not_depend_on_how_many_there_are():
    x, labels = pool()
    one, two = (
        Logistic(epochs=2, batch_size=8, runs=runs).train(x, labels, 3, np.random.default_rng(1))["weights"]
        for runs in (1, 2)
    )
    assert one[0].tobytes() == two[0].tobytes() != two[1].tobytes()
