"""Cells: which cells rows search, in which order, and how large clusters are split."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.neighbors import cells as module
from curate.kernels.neighbors.cells import Cells
from curate.kernels.parallel import THREADS_VARIABLE


def rows_of(n, d=8, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def cells_of(x, cluster=None, quality=None, *, first="farthest", **options):
    n = len(x)
    cluster = np.zeros(n) if cluster is None else np.asarray(cluster)
    quality = np.zeros(n) if quality is None else np.asarray(quality)
    return Cells.from_clusters(x, cluster.astype(np.int32), quality.astype(np.float32), first=first, **options)


def directions(x, cluster):
    means = np.stack([x[cluster == c].mean(axis=0) for c in range(cluster.max() + 1)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


# ---------------------------------------------------------------- where rows look, and their order


@pytest.mark.parametrize("n_probe", [1, 2, 5, 9])
def test_a_row_probes_its_cell_and_those_with_the_nearest_means(n_probe):
    x, cluster = rows_of(300), np.random.default_rng(1).integers(0, 8, 300)
    cells = cells_of(x, cluster, n_probe=n_probe)
    similarity = x @ directions(x, cluster).T
    similarity[np.arange(300), cluster] = 2
    expected = np.argsort(-similarity, axis=1)[:, :n_probe]
    assert cells.probed_cells.shape == (300, min(n_probe, 8))
    assert (cells.probed_cells[:, 0] == cluster).all()
    assert np.sort(cells.probed_cells, axis=1)[:, -expected.shape[1] :].tolist() == np.sort(expected, axis=1).tolist()
    assert cells.all_compared == (n_probe >= 8)


def test_probed_cells_are_among_the_nearest(monkeypatch):
    """Row 0 is nearer to the cell at -30 degrees than to that at 20, to which the mean of its cell is nearer."""
    degrees = np.radians([-12, 16, -30, 20])
    x = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
    assert cells_of(x, [0, 0, 1, 2], n_probe=2).probed_cells[0].tolist() == [0, 1]
    monkeypatch.setattr(module, "_NEARBY", 1)
    assert cells_of(x, [0, 0, 1, 2], n_probe=2).probed_cells[0].tolist() == [0, 2]


def test_many_cells_find_their_neighbors_by_clustering_the_cells(monkeypatch):
    x = rows_of(400, d=3)
    exact = cells_of(x, np.arange(400), n_probe=4).probed_cells
    monkeypatch.setattr(module, "EXACT_ROWS", 100)
    assert (np.sort(cells_of(x, np.arange(400), n_probe=4).probed_cells) == np.sort(exact)).mean() > 0.95


def test_one_order_of_all_rows_and_that_of_each_cell_is_part_of_it():
    x, cluster = rows_of(200), np.random.default_rng(2).integers(-1, 4, 200)
    to_mean = np.einsum("ij,ij->i", x, directions(x, cluster + 1)[cluster + 1])
    for first, key in (("farthest", to_mean), ("nearest", -to_mean)):
        rank = cells_of(x, cluster, first=first).rank
        assert sorted(rank.tolist()) == list(range(200))
        assert (np.diff(key[np.argsort(rank)]) > -1e-6).all()
    assert cells_of(x, cluster, np.arange(200) // 2, first="best_quality").rank[:4].tolist() == [198, 199, 196, 197]


def test_two_rows_of_a_cell_are_equally_far_from_its_mean_and_in_the_order_of_all():
    """They lie 40 degrees from it; of the other cell, 49, 1 and 46 degrees from its own."""
    degrees = np.radians([80, 0, 175, 225, 270])
    x = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
    mean = directions(x, np.array([0, 0, 1, 1, 1]))[1]
    indices = np.argsort([np.cos(np.radians(40)), np.cos(np.radians(40)), *(x[2:] @ mean)], kind="stable")
    assert np.argsort(cells_of(x, [0, 0, 1, 1, 1]).rank).tolist() == indices.tolist()


def test_rows_without_a_cluster_are_one():
    cell = cells_of(rows_of(4), [-1, 3, -1, 7]).cell
    assert cell.tolist() == [0, 1, 0, 2]


def test_some_rows_only():
    cells = cells_of(rows_of(5), rows=np.array([1, 4]), n_probe=2)
    assert (cells.cell >= 0).tolist() == [False, True, False, False, True]
    assert (cells.rank >= 0).tolist() == [False, True, False, False, True]
    assert all(np.isin(rows, [1, 4]).all() for both in cells.iter_groups() for rows in both)


def test_groups_are_the_declared_pairs():
    x, cluster = rows_of(60), np.random.default_rng(3).integers(0, 6, 60)
    for n_probe in (1, 3):
        cells = cells_of(x, cluster, n_probe=n_probe)
        pairs = {(a, b) for members, asking in cells.iter_groups() for a in asking.tolist() for b in members.tolist()}
        ordered = {(a, b) for a, b in pairs if cells.rank[b] < cells.rank[a]}
        one, other = np.triu_indices(60, 1)
        message = cells.are_compared(one, other)
        assert {frozenset(pair) for pair in zip(one[message].tolist(), other[message].tolist(), strict=True)} == {
            frozenset(pair) for pair in ordered
        }


# ---------------------------------------------------------------- large clusters


def test_large_clusters_are_split_and_others_are_left():
    x, cluster = rows_of(1000), (np.arange(1000) < 100).astype(int)
    complete, split = cells_of(x, cluster, max_cluster_rows=None), cells_of(x, cluster, max_cluster_rows=120)
    assert np.bincount(split.cell).max() <= 120
    assert len(np.unique(split.cell[100:])) >= 8
    assert len(np.unique(split.cell[:100])) == 1
    assert not np.isin(split.cell[100:], split.cell[:100]).any()
    assert (np.diff(split.rank[:100][np.argsort(complete.rank[:100])]) > 0).all()
    same = [tuple(np.sort(c.rank).tolist()) for c in (complete, split)]
    assert same[0] == same[1]


def test_neighbors_are_in_the_same_partition():
    """Two blobs far from each other, of 150 rows each, are not mixed."""
    x = np.repeat(np.eye(2, 8), 150, axis=0) + 0.05 * rows_of(300)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    cell = cells_of(x, max_cluster_rows=200).cell
    assert not np.isin(cell[:150], cell[150:]).any()


def test_copies_in_a_large_cluster_are_one_row():
    x = rows_of(10)[np.arange(1000) % 10]
    cells = cells_of(x, max_cluster_rows=20)
    assert (cells.copy_of[10:] == np.arange(10, 1000) % 10).all()
    assert (cells.cell >= 0).sum() == 10
    assert (cells_of(x, max_cluster_rows=1000).copy_of == -1).all()
    best = cells_of(x, quality=np.arange(1000), first="best_quality", max_cluster_rows=20).copy_of
    assert (best[:990] == 990 + np.arange(990) % 10).all()


def test_rows_that_k_means_cannot_separate_are_split():
    """Some differ in the last bits only; others do not."""
    x = np.repeat(rows_of(1), 500, axis=0)
    x[:, 0] += np.arange(500, dtype=np.float32) * np.spacing(x[0, 0])
    cell = cells_of(np.concatenate([x, rows_of(20, seed=5)]), max_cluster_rows=100).cell
    assert np.bincount(cell).max() <= 100
    assert (np.diff(np.unique(cell)) == 1).all()


def test_parts_do_not_depend_on_threads(monkeypatch):
    x, result = rows_of(5000), []
    for threads in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, threads)
        cells = cells_of(x, max_cluster_rows=700, n_probe=3)
        result.append((cells.probed_cells.tobytes(), cells.rank.tobytes()))
    assert result[0] == result[1]
