"""The most similar earlier row agrees with brute force for any block size; ties go to the first."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.neighbors import nearest_predecessor
from curate.kernels.neighbors.nearest_predecessor import most_similar_in_prefix, most_similar_predecessors


def rows(n, seed):
    """Return unit rows of few directions, so that there are ties."""
    x = np.random.default_rng(seed).integers(-1, 2, (n, 3)).astype(np.float32)
    x[~x.any(axis=1)] = 1
    return normalize_rows(x)


@pytest.mark.parametrize("blocks", [(1, 2), (5, 7), (128, 4096)])
@pytest.mark.parametrize("threshold", [-1.0, 0.7, 2.0])
def test_same_as_brute_force(monkeypatch, blocks, threshold):
    monkeypatch.setattr(nearest_predecessor, "_ROWS", blocks[0])
    monkeypatch.setattr(nearest_predecessor, "_COLUMNS", blocks[1])
    x, rank = rows(40, 1), np.random.default_rng(2).permutation(40)
    indices = np.argsort(rank)
    asking = indices[::3]
    [(who, similarity, closest), (same, own, _)] = most_similar_predecessors(
        x, rank, [(indices, asking), (indices, indices)], threshold
    )
    assert who.tolist() == asking.tolist()
    assert same.tolist() == indices.tolist()
    np.testing.assert_allclose(own[::3], similarity, atol=1e-6)
    for row, near, position in zip(asking, similarity, closest, strict=True):
        before = indices[: rank[row]]
        if not len(before):
            assert (near, position) == (-np.inf, -1)
            continue
        products = x[before] @ x[row]
        assert near == pytest.approx(products.max(), abs=1e-6)
        if products.max() < threshold - 1e-6:
            assert position == -1
        else:
            assert position in before[products >= products.max() - 1e-6]


def test_ties_go_to_the_first_across_blocks(monkeypatch):
    monkeypatch.setattr(nearest_predecessor, "_COLUMNS", 2)
    x = np.tile(np.array([[1, 0]], np.float32), (6, 1))
    similarity, position = most_similar_in_prefix(x, x, np.arange(6), 0.9)
    assert position.tolist() == [-1, 0, 0, 0, 0, 0]
    assert similarity.tolist() == [-np.inf, 1, 1, 1, 1, 1]
