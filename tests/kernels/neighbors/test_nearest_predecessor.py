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


@pytest.mark.parametrize("columns", [16, 4096])
@pytest.mark.parametrize("start", [0, 5, 150])
def test_a_range_of_prefixes_is_the_same_as_an_array(monkeypatch, columns, start):
    monkeypatch.setattr(nearest_predecessor, "_COLUMNS", columns)
    x, prefixes = rows(200, 3), range(start, start + 50)
    expected = most_similar_in_prefix(x[start : start + 50], x, np.array(prefixes), 0.5)
    for values, result in zip(expected, most_similar_in_prefix(x[start : start + 50], x, prefixes, 0.5), strict=True):
        assert values.tolist() == result.tolist()


@pytest.mark.parametrize("pairs", [1, 100, 10**6])
def test_small_groups_together_have_the_results_of_each(monkeypatch, pairs):
    x, rank = rows(90, 4), np.random.default_rng(5).permutation(90)
    parts = [part[np.argsort(rank[part])] for part in np.split(np.arange(90), [1, 3, 40, 60])]
    alone = [next(most_similar_predecessors(x, rank, [(part, part)], 0.5)) for part in parts]
    monkeypatch.setattr(nearest_predecessor, "_TASK", pairs)
    together = list(most_similar_predecessors(x, rank, [(part, part) for part in parts], 0.5))
    assert len(together) == {1: 5, 100: 3, 10**6: 1}[pairs]
    for expected, result in zip(zip(*alone, strict=True), zip(*together, strict=True), strict=True):
        assert np.concatenate(expected).tolist() == np.concatenate(result).tolist()
    mixed = list(most_similar_predecessors(x, rank, [(parts[2], parts[2]), (parts[2], parts[2][::2])], 0.5))
    assert [len(queries) for queries, _, _ in mixed] == [37, 19]
