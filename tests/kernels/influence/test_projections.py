"""Kronecker factors of attention projections, next to the dense solve on a layer small enough for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from curate.kernels.influence.projections import (
    ProjectionTokens,
    mean_projection_gradient,
    projection_factors,
    projection_influence,
)

NAMES = ("query", "key", "value", "output")
WIDTH, CLASSES, LENGTH = 4, 3, 5


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attention_loss(weights, x, label):
    """Return the loss of one example (length, width), and the inputs and output gradients of each projection.

    A head of attention with its output projection, the mean over the positions, and a fixed linear classifier.
    """
    q, k, v = (x @ weights[name].T for name in NAMES[:3])
    a = softmax(q @ k.T / np.sqrt(WIDTH))
    mixed = a @ v
    y = mixed @ weights["output"].T
    p = softmax(y.mean(axis=0) @ weights["classifier"].T)
    dy = np.tile((p - np.eye(CLASSES)[label]) @ weights["classifier"] / len(x), (len(x), 1))
    dmixed = dy @ weights["output"]
    da = dmixed @ v.T
    ds = a * (da - (da * a).sum(axis=1, keepdims=True)) / np.sqrt(WIDTH)
    gradients = {"query": ds @ k, "key": ds.T @ q, "value": a.T @ dmixed, "output": dy}
    return -np.log(p[label]), {name: (mixed if name == "output" else x, gradients[name]) for name in NAMES}


def random_weights(rng):
    shapes = dict.fromkeys(NAMES, (WIDTH, WIDTH)) | {"classifier": (CLASSES, WIDTH)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def tokens_of(weights, examples, labels):
    parts = [attention_loss(weights, x, label)[1] for x, label in zip(examples, labels, strict=True)]
    number = np.repeat(np.arange(len(examples)), [len(x) for x in examples]).astype(np.int32)
    return {
        name: ProjectionTokens(
            *(np.concatenate([part[name][side] for part in parts]).astype(np.float32) for side in (0, 1)), number
        )
        for name in NAMES
    }


def random_examples(rng, n):
    return [rng.standard_normal((LENGTH, WIDTH)) for _ in range(n)], rng.integers(0, CLASSES, n)


def dense_token_influence(rows, targets, n, damping):
    """Return the influence by the dense empirical Fisher matrix of the tokens, one block for each projection."""
    total = np.zeros(n)
    for name, one in rows.items():
        delta, x = one.gradients.astype(np.float64), one.inputs.astype(np.float64)
        gradients = np.einsum("ta,tb->tab", delta, x).reshape(len(one), -1)
        fisher = gradients.T @ gradients / len(one)
        a, b = projection_factors(one)
        level = damping * np.trace(a) * np.trace(b) / len(fisher)
        target = mean_projection_gradient(targets[name]).ravel()
        solution = np.linalg.solve(fisher + level * np.eye(len(fisher)), target)
        np.add.at(total, one.examples, gradients @ solution)
    return total


def test_the_gradients_of_the_attention_layer_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    weights = random_weights(rng)
    (x,), (label,) = random_examples(rng, 1)
    tokens = tokens_of(weights, [x], [label])
    for name in NAMES:
        gradient = mean_projection_gradient(tokens[name])
        for index in np.ndindex(WIDTH, WIDTH):
            losses = []
            for step in (1e-5, -1e-5):
                moved = weights[name].copy()
                moved[index] += step
                losses.append(attention_loss({**weights, name: moved}, x, label)[0])
            assert gradient[index] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-6)


def test_it_is_the_dense_solve_where_the_factors_are_exact():
    """If every input occurs with every gradient, the second moment of their product is the Kronecker product."""
    rng = np.random.default_rng(1)
    n, inputs, gradients = 6, rng.standard_normal((5, 3)), rng.standard_normal((6, 2))
    pairs = np.indices((5, 6)).reshape(2, -1)
    tokens = ProjectionTokens(
        inputs[pairs[0]].astype(np.float32),
        gradients[pairs[1]].astype(np.float32),
        (np.arange(30) % n).astype(np.int32),
    )
    targets = {"value": ProjectionTokens(tokens.inputs[:7], tokens.gradients[:7], np.zeros(7, np.int32))}
    found = projection_influence({"value": tokens}, targets, n, 0.1)
    expected = dense_token_influence({"value": tokens}, targets, n, 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_values_and_outputs_are_exact_if_all_tokens_are_equal():
    """The inputs of a projection are one vector, and the factors are exact; queries and keys have no gradients."""
    rng = np.random.default_rng(2)
    weights = random_weights(rng)
    same = np.tile(rng.standard_normal(WIDTH), (LENGTH, 1))
    rows = tokens_of(weights, [same] * 9, rng.integers(0, CLASSES, 9))
    targets = tokens_of(weights, *random_examples(rng, 3))
    rows = {name: rows[name] for name in ("value", "output")}
    found = projection_influence(rows, targets, 9, 0.1)
    np.testing.assert_allclose(found, dense_token_influence(rows, targets, 9, 0.1), rtol=1e-6, atol=1e-9)


def test_on_an_attention_layer_it_correlates_with_the_dense_solve():
    rng = np.random.default_rng(3)
    weights = random_weights(rng)
    rows = tokens_of(weights, *random_examples(rng, 80))
    targets = tokens_of(weights, *random_examples(rng, 20))
    found = projection_influence(rows, targets, 80, 0.1)
    expected = dense_token_influence(rows, targets, 80, 0.1)
    assert spearmanr(found, expected).statistic > 0.9
    assert np.corrcoef(found, expected)[0, 1] > 0.9


def test_with_much_damping_it_is_the_gradient_product_of_each_projection():
    rng = np.random.default_rng(4)
    weights = random_weights(rng)
    examples, labels = random_examples(rng, 12)
    rows, targets = tokens_of(weights, examples, labels), tokens_of(weights, *random_examples(rng, 4))
    rows, targets = {"key": rows["key"]}, {"key": targets["key"]}
    found = projection_influence(rows, targets, 12, 1e9)
    products = [
        np.vdot(
            mean_projection_gradient(tokens_of(weights, [x], [label])["key"]),
            mean_projection_gradient(targets["key"]),
        )
        for x, label in zip(examples, labels, strict=True)
    ]
    np.testing.assert_allclose(found / np.abs(found).max(), products / np.abs(products).max(), atol=1e-6)


def test_the_gradient_of_the_mean_loss_is_the_sum_over_tokens_and_the_mean_over_examples():
    tokens = ProjectionTokens(
        np.array([[1], [2], [4]], np.float32), np.array([[1], [1], [3]], np.float32), np.array([0, 0, 1], np.int32)
    )
    assert mean_projection_gradient(tokens).tolist() == [[(1 + 2 + 12) / 2]]


def test_rows_without_tokens_and_projections_without_gradients_contribute_nothing():
    tokens = ProjectionTokens(np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32), np.zeros(1, np.int32))
    assert projection_influence({"value": tokens}, {"value": tokens}, 2, 0.1).tolist() == [0, 0]


@pytest.mark.parametrize("threads", ["1", "3"])
def test_any_number_of_threads_gives_the_same_bytes(monkeypatch, threads):
    rng = np.random.default_rng(5)
    tokens = ProjectionTokens(
        rng.standard_normal((9000, 3)).astype(np.float32),
        rng.standard_normal((9000, 2)).astype(np.float32),
        np.repeat(np.arange(900), 10).astype(np.int32),
    )
    monkeypatch.setenv("CURATE_THREADS", "2")
    expected = projection_influence({"query": tokens}, {"query": tokens}, 900, 0.1)
    monkeypatch.setenv("CURATE_THREADS", threads)
    assert projection_influence({"query": tokens}, {"query": tokens}, 900, 0.1).tobytes() == expected.tobytes()
