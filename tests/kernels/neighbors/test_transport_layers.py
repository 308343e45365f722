"""Layers and folds of TAROT, against their definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.neighbors.transport_layers import WhitenedSpace, select_by_folds, select_layers


def cluster(rng, center, n, spread=0.35):
    return rng.standard_normal((n, 8)) * spread + center


def three_clusters(seed, targets=(30, 12, 8)):
    """Return a pool of three clusters and noise, a target in the clusters, and further target rows."""
    rng, e = np.random.default_rng(seed), np.eye(8)
    centers = (2 * e[0], 2 * e[1], e[0] + e[2])

    def target():
        return normalize_rows(np.concatenate([cluster(rng, *one) for one in zip(centers, targets, strict=True)]))

    first, further = target(), target()
    x = np.concatenate([*(cluster(rng, center, 60) for center in centers), rng.standard_normal((300, 8))])
    return normalize_rows(x), first, further


def layers_of(space):
    """Return the layer of each row, from a sort of all cosines."""
    cosines = space.whitening.apply(space.x) @ space.targets.T
    return np.argsort(np.argsort(-cosines, axis=0, kind="stable"), axis=0).min(axis=1)


@pytest.mark.parametrize("budget", [0, 1, 7, 30, 61, 180, 480])
def test_complete_layers_and_exactly_the_budget(budget):
    space = WhitenedSpace.fit(*three_clusters(0)[:2], 1e-5, 0.01)
    rows, similarity = select_layers(space, budget)
    layers = layers_of(space)
    assert len(rows) == len(set(rows.tolist())) == len(similarity) == budget
    if budget:
        last = layers[rows].max()
        assert set(np.flatnonzero(layers < last)) <= set(rows.tolist())


def test_a_layer_that_fits_exactly_adds_nothing_of_the_next():
    """The published code then adds the complete next layer."""
    space = WhitenedSpace.fit(*three_clusters(1)[:2], 1e-5, 0.01)
    layers = layers_of(space)
    budget = int((layers < 2).sum())
    rows, _ = select_layers(space, budget)
    assert set(rows.tolist()) == set(np.flatnonzero(layers < 2))


def test_the_lowest_potentials_bring_the_selection_nearer_than_the_highest():
    closer = 0
    for seed in range(12):
        x, target, further = three_clusters(seed)
        space = WhitenedSpace.fit(x, target, 1e-5, 0.01)
        held_out = WhitenedSpace(x, space.whitening.apply(further), space.whitening, 0.01)
        costs = []
        for farthest in (False, True):
            potentials = held_out.transport(select_layers(space, 60, farthest=farthest)[0], held_out.all_targets)
            costs.append(potentials.f.mean() + potentials.g.mean())
        closer += costs[0] < costs[1]
    assert closer >= 10


def test_folds_select_both_clusters_and_hardly_any_noise():
    x, target, _ = three_clusters(2, targets=(24, 10, 8))
    space = WhitenedSpace.fit(x, target, 1e-5, 0.01)
    folds = np.random.default_rng(0).permutation(len(target)) % 10
    rows, similarity, neighbors = select_by_folds(space, folds, 100)
    kinds = np.bincount(rows // 60, minlength=8)
    assert (kinds[:3] > 5).all()
    assert kinds[3:].sum() <= 0.2 * len(rows)
    assert (similarity > 0).all()
    assert len(neighbors) == 10


def test_folds_stop_before_the_cost_rises():
    x, target, _ = three_clusters(3)
    space = WhitenedSpace.fit(x, target, 1e-5, 0.01)
    folds = np.arange(len(target)) % 5
    _, _, neighbors = select_by_folds(space, folds, 60)
    cosines = space.whitening.apply(x) @ space.targets.T
    ranked = np.argsort(-cosines, axis=0, kind="stable")

    def cost(fold, k):
        members = np.flatnonzero(folds == fold)
        pairs = [(row, target) for target in members for row in ranked[:k, target]]
        rows = np.unique([row for row, target in pairs if cosines[row, target] > 0])
        potentials = space.transport(rows, np.flatnonzero(folds != fold))
        return potentials.f.mean() + potentials.g.mean()

    for fold, k in enumerate(neighbors):
        costs = [cost(fold, number) for number in range(1, k + 2)]
        assert all(after < before for before, after in pairwise(costs[:k]))
        assert costs[k] >= costs[k - 1]


def test_the_mean_similarity_ignores_the_smaller_cluster():
    x, target, _ = three_clusters(4, targets=(40, 5, 0))
    space = WhitenedSpace.fit(x, target, 1e-5, 0.01)
    mean = (space.whitening.apply(x) @ space.targets.T).mean(axis=1)
    by_mean = np.argsort(-mean)[:40] // 60
    by_layers = select_layers(space, 40)[0] // 60
    assert (by_mean != 1).all()
    assert (by_layers == 1).any()
