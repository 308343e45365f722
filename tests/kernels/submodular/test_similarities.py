"""The two kinds of similarities that sums run over say the same where they store the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from curate.kernels.submodular.similarities import Complete, Neighbours, degrees, on_grid

N = 9
X = np.random.default_rng(2).standard_normal((N, 4)).astype(np.float32)
X /= np.linalg.norm(X, axis=1, keepdims=True)
S = np.clip(X.astype(np.float64) @ X.T, 0, 1)


def dense_as_graph():
    return Neighbours(sparse.csr_array(Complete(X).values))


def test_complete_similarities_are_symmetric_on_the_grid_and_0_below_0():
    values = Complete(X).values
    assert (values == values.T).all()
    assert (values * 2.0**24 == np.round(values * 2.0**24)).all()
    assert np.diagonal(values).tolist() == [1] * N
    assert (values == 0).any()
    np.testing.assert_allclose(values, S, atol=1e-6)


def test_the_grid_ends_at_0_and_1():
    assert on_grid(np.array([-0.5, 1.5, 2.0**-26, 0.75], np.float32)).tolist() == [0, 1, 0, 0.75]


@pytest.mark.parametrize("similar", [Complete(X), dense_as_graph()], ids=["complete", "graph"])
def test_totals_lines_and_degrees_are_those_of_the_definition(similar):
    state = np.linspace(0, 1, N)
    rows = np.array([7, 0, 3])
    total = similar.total(rows, np.minimum, state)
    np.testing.assert_allclose(total, np.minimum(S[rows], state).sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(degrees(similar), S.sum(axis=1), atol=1e-5)
    line = np.zeros(N)
    others, values = similar.of(4)
    line[others] = values
    np.testing.assert_allclose(line, S[4], atol=1e-6)
