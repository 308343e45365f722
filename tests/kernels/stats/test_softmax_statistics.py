"""Statistics of a softmax layer: the definitions, in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.softmax_statistics import STATISTICS, softmax_statistics


@given(seed=st.integers(0, 1 << 32), classes=st.integers(2, 6), scale=st.sampled_from([0.1, 3, 50]))
def test_every_statistic_is_its_definition(seed, classes, scale):
    rng = np.random.default_rng(seed)
    z = (scale * rng.standard_normal((8, classes))).astype(np.float32).astype(np.float64)
    labels = rng.integers(-1, classes, 8).astype(np.int32)
    h = rng.standard_normal((8, 4))
    found = softmax_statistics(z, labels, (h**2).sum(axis=1) + 1)
    assert tuple(found) == STATISTICS
    for row, label in enumerate(labels):
        values = {name: found[name][row] for name in STATISTICS}
        if label < 0:
            assert np.isnan(list(values.values())).all()
            continue
        p = np.exp(z[row] - z[row].max())
        p /= p.sum()
        error = p - np.eye(classes)[label]
        gradient = np.outer(np.append(h[row], 1), error)
        expected = {
            "loss": -np.log(p[label]) if p[label] > 1e-30 else values["loss"],
            "margin": z[row, label] - np.delete(z[row], label).max(),
            "error": np.linalg.norm(error),
            "correct": float(z[row].argmax() == label),
            "gradient": np.linalg.norm(gradient),
        }
        assert values == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_published_figures_of_el2n_and_grand():
    found = softmax_statistics(np.log([[0.7, 0.2, 0.1]]), np.array([1], np.int32), np.array([5.0]))
    assert found["error"][0] == pytest.approx(1.06771, abs=1e-5)
    assert found["gradient"][0] == pytest.approx(2.38747, abs=1e-5)


def test_without_norms_there_is_no_gradient_and_of_equal_logits_the_first_is_predicted():
    found = softmax_statistics(np.zeros((2, 3)), np.array([0, 1], np.int32), None)
    assert "gradient" not in found
    assert found["correct"].tolist() == [1, 0]
    assert found["margin"].tolist() == [0, 0]
