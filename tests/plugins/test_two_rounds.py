"""Selectors in two rounds: the contract of selectors, the guarantees, and the same bytes by tasks."""

from __future__ import annotations

import dataclasses
import json
import pickle
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate.plugins.batches import Pool
from curate.plugins.interfaces import is_random
from curate.plugins.selectors.coverage.facility_location import FacilityLocation
from curate.plugins.selectors.coverage.k_center import KCenter
from curate.plugins.selectors.coverage.submodular import Submodular, Term
from curate.plugins.two_rounds import PartSelection, combine, represented_rows, union_rows

MIXED = (Term(facility_location=1.0), Term(quality=0.5), Term(group_balance=0.5, column="source"))
MAKE = {
    "facility_location": lambda p: FacilityLocation(n_partitions=p),
    "k_center": lambda p: KCenter(n_partitions=p),
    "k_center, random": lambda p: KCenter(n_partitions=p, first="random"),
    "submodular": lambda p: Submodular(optimizer="distributed", n_partitions=p),
    "submodular, mixed": lambda p: Submodular(optimizer="distributed", n_partitions=p, objective=MIXED),
    "submodular, saturated_coverage": lambda p: Submodular(
        optimizer="distributed", n_partitions=p, objective=(Term(saturated_coverage=1.0),), n_neighbors="all"
    ),
    "submodular, graph_cut": lambda p: Submodular(
        optimizer="distributed", n_partitions=p, objective=(Term(graph_cut=1.0),)
    ),
    "submodular, log_determinant": lambda p: Submodular(
        optimizer="distributed", n_partitions=p, objective=(Term(log_determinant=1.0),)
    ),
}
every_selector = pytest.mark.parametrize("name", MAKE)


def plain(name):
    plugin = MAKE[name](2)
    one = {"optimizer": "lazy"} if isinstance(plugin, Submodular) else {"n_partitions": None}
    return dataclasses.replace(plugin, **one)


def make_pool(n, seed=0, d=4, *, twins=False):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: (n + 1) // 2] = x[:1]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    quality = rng.permutation(n).astype(np.float32)
    return Pool(x, quality, np.zeros(n, np.int32), frame=pl.DataFrame({"source": [f"s{i % 3}" for i in range(n)]}))


def select(plugin, pool, budget, seed=0):
    return plugin.select(pool, budget, np.random.default_rng(seed)).check(len(pool), budget)


def arrays(selection):
    fields = (getattr(selection, field.name) for field in dataclasses.fields(selection))
    return [value.tobytes() for value in fields if isinstance(value, np.ndarray)]


# ---------------------------------------------------------------- the contract


@every_selector
@given(st.integers(0, 30), st.integers(2, 40), st.integers(0, 99), st.booleans(), st.data())
def test_budget_representatives_and_finite_gains_for_any_pool(name, n, n_partitions, seed, twins, data):
    """Empty pools, copies, more partitions than rows, budgets of none and of all."""
    pool, budget = make_pool(n, seed, twins=twins), data.draw(st.integers(0, n))
    selection = select(MAKE[name](n_partitions), pool, budget, seed)
    assert selection.indices.dtype == np.intp
    assert selection.gain.dtype == np.float32
    assert np.isfinite(selection.gain).all()
    assert all(reason.strip() for reason in selection.reasons)
    if selection.representative is not None:
        nearest = selection.representative
        assert (nearest[selection.indices] == -1).all()
        represented = np.flatnonzero(nearest >= 0)
        assert np.isin(nearest[represented], selection.indices).all()
        cosines = (pool.embeddings[represented] * pool.embeddings[nearest[represented]]).sum(axis=1)
        np.testing.assert_allclose(selection.similarity[represented], cosines, atol=1e-5)
        assert (selection.similarity[represented] > 0).all()
        assert np.isnan(selection.similarity[nearest < 0]).all()


@every_selector
def test_a_pool_is_partitioned_only_on_request(name):
    assert plain(name).partition(100, np.random.default_rng(0)) is None
    assert type(plain(name))().partition(100, np.random.default_rng(0)) is None
    assert len(MAKE[name](4).partition(100, np.random.default_rng(0))) == 4


@every_selector
def test_same_seed_same_bytes_and_other_seeds_draw_other_partitions(name):
    pool, plugin = make_pool(300), MAKE[name](5)
    assert is_random(plugin)
    assert arrays(select(plugin, pool, 20, 3)) == arrays(select(plugin, pool, 20, 3))
    assert len({select(plugin, pool, 20, seed).indices.tobytes() for seed in range(5)}) > 1


@every_selector
@given(st.integers(1, 25), st.integers(0, 99), st.data())
def test_partitions_no_larger_than_the_budget_are_at_least_as_good_as_one_machine(name, n, seed, data):
    """All rows reach the second round, each with a weight of 1. An answer of the first round may be better still."""
    n_partitions = data.draw(st.integers(2, 30))
    smallest = -(-n // min(n, n_partitions))
    pool, budget = make_pool(n, seed), data.draw(st.integers(smallest, n))
    two, one = select(MAKE[name](n_partitions), pool, budget, seed), select(plain(name), pool, budget)
    if name in ("facility_location", "k_center"):
        assert two.indices.tolist() == one.indices.tolist()
        assert two.gain.tolist() == one.gain.tolist()
    elif name != "k_center, random":  # which draws the first row again
        assert two.gain.sum(dtype=np.float64) >= one.gain.sum(dtype=np.float64) - 1e-5


@every_selector
def test_tasks_of_a_driver_give_the_bytes_of_select(name):
    """In any order, with data that travels between processes."""
    pool, plugin, budget = make_pool(200), MAKE[name](6), 15
    rng = np.random.default_rng(11)
    partitions = plugin.partition(len(pool), rng)
    *part_rngs, merge_rng = rng.spawn(len(partitions) + 1)
    tasks = list(zip(partitions, part_rngs, strict=True))
    answers = {}
    for number in reversed(range(len(tasks))):
        remote, rows, part_rng = pickle.loads(pickle.dumps((plugin, *tasks[number])))
        selection = remote.select_part(pool.take(rows), min(budget, len(rows)), part_rng)
        answers[number] = pickle.loads(pickle.dumps(selection))
    parts = [PartSelection(rows, answers[number]) for number, rows in enumerate(partitions)]
    merged = plugin.merge(pool.take(union_rows(parts)), parts, budget, merge_rng)
    assert arrays(combine(pool, parts, merged)) == arrays(select(plugin, pool, budget, 11))


# ---------------------------------------------------------------- the guarantees


def distances(x):
    return np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=2)


@given(st.integers(1, 11), st.integers(2, 5), st.integers(0, 1000), st.booleans(), st.data())
def test_k_center_is_within_four_times_the_optimal_radius(n, n_partitions, seed, twins, data):
    """Brute force over all sets of k centers."""
    pool, k = make_pool(n, seed, 2, twins=twins), data.draw(st.integers(1, n))
    between = distances(pool.embeddings)
    optimum = min(between[:, list(centers)].min(axis=1).max() for centers in combinations(range(n), k))
    indices = select(KCenter(n_partitions=n_partitions), pool, k, seed).indices
    assert between[:, indices].min(axis=1).max() <= 4 * optimum + 2e-3


def rounds(plugin, pool, partitions, budget):
    rngs = np.random.default_rng(0).spawn(len(partitions) + 1)
    parts = [
        PartSelection(rows, plugin.select_part(pool.take(rows), min(budget, len(rows)), rng))
        for rows, rng in zip(partitions, rngs, strict=False)
    ]
    return parts, plugin.merge(pool.take(union_rows(parts)), parts, budget, rngs[-1])


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 12), st.integers(0, 1000), st.floats(0, 20), st.data())
def test_coverage_is_at_least_the_bound_from_the_gains_for_any_partition(n, n_parts, n_neighbors, seed, pull, data):
    """And each round is within 1 − 1/e of its optimum, by brute force. Rows near one direction make the bound tight."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, 3)) + pull * np.eye(3)[0]).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pool, k = Pool(x, np.zeros(n, np.float32), np.zeros(n, np.int32)), data.draw(st.integers(1, min(n, 4)))
    part_of = np.array(data.draw(st.lists(st.integers(0, n_parts - 1), min_size=n, max_size=n)))
    partitions = [rows for number in range(n_parts) if len(rows := np.flatnonzero(part_of == number))]
    parts, merged = rounds(FacilityLocation(n_partitions=2, n_neighbors=n_neighbors), pool, partitions, k)
    weights, union = represented_rows(parts), union_rows(parts)
    cosines = np.clip(x.astype(np.float64) @ x.T, 0, 1)
    np.fill_diagonal(cosines, 1)
    coverage = cosines[:, union[merged.indices]].max(axis=1).sum()
    gains = sum(part.selection.gain.sum(dtype=np.float64) for part in parts) + merged.gain.sum(dtype=np.float64)
    assert coverage >= 2 * gains - 3 * weights.sum() - 1e-4
    if n_neighbors >= n:
        among = cosines[np.ix_(union, union)]
        optimum = max(weights @ among[:, list(rows)].max(axis=1) for rows in combinations(range(len(union)), k))
        assert merged.gain.sum(dtype=np.float64) >= (1 - 1 / np.e) * optimum - 1e-4


def similar_pool(n, seed=0):
    """Return rows near one direction, so that every similarity is above 0."""
    x = (np.random.default_rng(seed).standard_normal((n, 3)) + 3).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Pool(x, np.zeros(n, np.float32), np.zeros(n, np.int32))


@pytest.mark.parametrize("name", ["saturated_coverage", "graph_cut", "facility_location"])
def test_the_second_round_of_submodular_counts_represented_rows(name):
    """Its gains sum to the objective by definition, with weights and similarities from plain products."""
    pool, k = similar_pool(50), 4
    plugin = Submodular(optimizer="distributed", n_partitions=3, objective=(Term(**{name: 1.0}),), n_neighbors="all")
    parts, merged = rounds(plugin, pool, plugin.partition(50, np.random.default_rng(3)), k)
    cosines, union, weights = pool.embeddings @ pool.embeddings.T, union_rows(parts), np.zeros(50)
    np.fill_diagonal(cosines, 1)
    for part in parts:
        for row in part.rows:
            weights[row if row in part.selected else part.selected[cosines[row, part.selected].argmax()]] += 1
    w, s, chosen = weights[union], cosines[np.ix_(union, union)].astype(np.float64), merged.indices
    value = {
        "facility_location": w @ s[:, chosen].max(axis=1),
        "saturated_coverage": w @ np.minimum(s[:, chosen].sum(axis=1), k / 50 * (s @ w)),
        "graph_cut": (w @ s)[chosen].sum() - 0.5 * s[np.ix_(chosen, chosen)].sum(),
    }[name]
    assert merged.gain.sum(dtype=np.float64) == pytest.approx(value, rel=1e-5)
    assert (merged.representative is not None) == (name == "facility_location")


@pytest.mark.parametrize("name", ["facility_location", "k_center", "submodular"])
def test_every_dropped_row_of_similar_rows_is_represented_also_those_of_the_union(name):
    pool, plugin, k = similar_pool(60), MAKE[name](4), 5
    selection = select(plugin, pool, k, 9)
    assert (selection.representative < 0).sum() == k
    parts, merged = rounds(plugin, pool, plugin.partition(60, np.random.default_rng(9)), k)
    union = union_rows(parts)
    combined = combine(pool, parts, merged)
    dropped = np.flatnonzero(merged.representative >= 0)
    assert len(dropped) == len(union) - k > 0
    assert combined.representative[union[dropped]].tolist() == union[merged.representative[dropped]].tolist()


def test_weights_count_all_rows_of_a_complete_graph_of_similar_rows():
    """Every row is in the union or represented by one of its rows."""
    pool, plugin = similar_pool(60), FacilityLocation(n_partitions=4)
    parts, _ = rounds(plugin, pool, plugin.partition(60, np.random.default_rng(0)), 3)
    assert represented_rows(parts).sum() == 60
    assert represented_rows(parts).min() >= 1


def test_coverage_is_near_that_of_one_machine_on_clusters_of_different_sizes():
    """Without weights, the second round would cover small clusters as eagerly as large ones."""
    rng = np.random.default_rng(2)
    centers = rng.standard_normal((40, 8))
    sizes = np.maximum(600 / np.arange(1, 41) ** 1.2, 5).astype(int)
    x = (np.repeat(centers, sizes, axis=0) + 0.3 * rng.standard_normal((sizes.sum(), 8))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pool = Pool(x, np.zeros(len(x), np.float32), np.zeros(len(x), np.int32))

    def coverage(indices):
        return (x @ x[indices].T).max(axis=1).clip(0).sum()

    one = coverage(select(FacilityLocation(n_neighbors=500), pool, 30).indices)
    two = coverage(select(FacilityLocation(n_neighbors=500, n_partitions=6), pool, 30).indices)
    random = coverage(rng.choice(len(x), 30, replace=False))
    assert two >= 0.99 * one
    assert two - random >= 0.9 * (one - random)


# ---------------------------------------------------------------- budgets of tokens


@pytest.mark.slow
def test_a_budget_of_tokens_is_not_exceeded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [{"text": " ".join(f"w{i}" for i in rng.integers(60, size=rng.integers(1, 60)))} for _ in range(600)]
    rows = [row | {"tokens": len(row["text"].split())} for row in rows]
    Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curate.run(
        {
            "curate": 1,
            "run": "run",
            "input": {"files": "pool.jsonl", "text": "text", "tokens": "tokens"},
            "embed": {"use": "hashing", "dimensions": 32},
            "cluster": {"use": "kmeans", "n_clusters": 4},
            "select": [{"use": "facility_location", "keep_tokens": 1000, "n_partitions": 5}],
        }
    )
    files = Path("run/export/current").rglob("*.parquet")
    assert sum(pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files])["tokens"]) <= 1000
