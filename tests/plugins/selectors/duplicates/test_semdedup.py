"""SemDeDup drops what the published rule drops, and names the representative of each dropped row."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from curate.errors import PluginError
from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.neighbors import nearest_predecessor
from curate.kernels.neighbors.cells import Cells
from curate.plugins.batches import Pool, PublishedRows
from curate.plugins.selectors.duplicates import semdedup as module
from curate.plugins.selectors.duplicates.semdedup import SemDeDup, missed_pairs, semdedup


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def run(x, *, quality=None, cluster=None, min_similarity=0.95, first="best_quality", **options):
    """Run the selector with ``quality`` as the order; by default the order of the pool."""
    n = len(x)
    quality = -np.arange(n) if quality is None else np.asarray(quality)
    cluster = np.zeros(n) if cluster is None else np.asarray(cluster)
    x = np.ascontiguousarray(x, np.float32)
    cells = Cells.from_clusters(x, cluster.astype(np.int32), quality.astype(np.float32), first=first, **options)
    return semdedup(x, cells, min_similarity=min_similarity)


def slow_reference(x, order, threshold):
    """Apply the rule of the docstring row by row; return the kept rows and the representatives."""
    similarity = x.astype(np.float64) @ x.T
    kept, representatives = {}, {}
    for position, j in enumerate(order):
        earlier = order[:position]
        kept[j] = not any(similarity[i, j] >= threshold - 1e-6 for i in earlier)
        if not kept[j]:
            similar = [i for i in earlier if kept[i] and similarity[i, j] >= threshold - 1e-6]
            if similar:
                representatives[j] = max(similar, key=lambda i: similarity[i, j])
            else:
                nearest = max(earlier, key=lambda i: similarity[i, j])
                representatives[j] = nearest if kept[nearest] else representatives[nearest]
    return kept, representatives


# ---------------------------------------------------------------- the published rule


@pytest.mark.parametrize("first", ["farthest", "nearest", "best_quality"])
def test_three_equal_rows_and_an_orthogonal_one_leave_two(first):
    kept, representative, _ = run(np.eye(2)[[0, 0, 0, 1]], first=first)
    assert kept.tolist() == [True, False, False, True]
    assert representative.tolist() == [-1, 0, 0, -1]


@pytest.mark.parametrize("d", [3, 7, 384])
def test_exact_duplicates_go_at_similarity_1_despite_rounding(d):
    """Their float32 similarity is often a little below 1; and nothing else goes."""
    x = np.random.default_rng(d).standard_normal((200, d)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kept, representative, _ = run(np.concatenate([x, x]), min_similarity=1.0)
    assert kept.tolist() == [True] * 200 + [False] * 200
    assert representative[200:].tolist() == list(range(200))


def test_exact_duplicates_stored_in_float16_go_too():
    """Rounding to float16 leaves rows that are not quite of unit length; reading scales them."""
    x = np.random.default_rng(0).standard_normal((50, 64))
    x = normalize_rows((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16))
    assert run(np.concatenate([x, x]), min_similarity=1.0)[0].tolist() == [True] * 50 + [False] * 50


def test_chain_is_cut_to_its_first_row():
    """a ~ b ~ c but not a ~ c: b goes because of a, and c because of b, although b is gone; a represents both."""
    kept, representative, nearest = run(on_circle(0, 15, 30))
    assert kept.tolist() == [True, False, False]
    assert representative.tolist() == [-1, 0, 0]
    np.testing.assert_allclose(nearest, [-1, np.cos(np.radians(15)), np.cos(np.radians(15))], atol=1e-6)


def test_kept_duplicate_is_named_before_a_nearer_dropped_one():
    """The third row is nearer to the second, which is dropped, than to the first, which is kept and similar too."""
    kept, representative, _ = run(on_circle(0, 8, 14))
    assert kept.tolist() == [True, False, False]
    assert representative.tolist() == [-1, 0, 0]


def test_similarity_of_the_threshold_itself_is_a_duplicate():
    x = np.array([[1, 0], [0.6, 0.8]], np.float32)
    assert run(x, min_similarity=0.6)[0].tolist() == [True, False]
    assert run(x, min_similarity=0.6001)[0].tolist() == [True, True]


def test_lowest_threshold_leaves_one_row_a_cluster():
    kept, representative, _ = run(on_circle(0, 90, 180, 0, 180), cluster=[0, 0, 0, 1, 1], min_similarity=-1.0)
    assert kept.tolist() == [True, False, False, True, False]
    assert representative.tolist() == [-1, 0, 0, -1, 3]


# ---------------------------------------------------------------- the order


def test_farthest_keeps_the_row_far_from_the_centre_and_nearest_the_one_near_it():
    """Row 1 of the similar rows 0 and 1 is nearer to the mean, which row 2 pulls to its side."""
    x = on_circle(0, 10, 90)
    assert run(x, first="farthest")[0].tolist() == [True, False, True]
    assert run(x, first="nearest")[0].tolist() == [False, True, True]


def test_best_quality_keeps_the_better_row_ties_to_the_lowest_index():
    x = on_circle(0, 0, 0)
    assert run(x, quality=[1, 3, 3])[0].tolist() == [False, True, False]


def test_pair_is_equally_far_from_its_centre_so_the_first_in_the_pool_stays():
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((1, 16)) + 0.05 * np.random.default_rng(99).random((2, 16))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        for first in ("farthest", "nearest"):
            assert run(x, first=first)[0].tolist() == [True, False]


# ---------------------------------------------------------------- clusters and blocks


def test_rows_of_other_clusters_are_not_compared_and_those_of_none_are_one_cluster():
    x = on_circle(0, 0, 0, 0, 0)
    kept, representative, nearest = run(x, cluster=[4, -1, 2, -1, 4])
    assert kept.tolist() == [True, True, True, False, False]
    assert representative.tolist() == [-1, -1, -1, 1, 0]
    assert nearest[:3].tolist() == [-1, -1, -1]


@given(
    st.integers(1, 60),
    st.integers(0, 1000),
    st.sampled_from([0.5, 0.8, 0.95]),
    st.sampled_from([1, 4, 1024]),
    st.sampled_from(["farthest", "nearest", "best_quality"]),
)
def test_same_as_the_slow_reference_for_any_block_size(n, seed, min_similarity, block, first):
    """Three clusters, and the rows of none; many chains, because the rows lie on a circle."""
    r = np.random.default_rng(seed)
    x, cluster = on_circle(*r.uniform(0, 360, n)), r.integers(-1, 3, n).astype(np.int32)
    quality = r.permutation(n).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_predecessor, "_ROWS", block)
        patch.setattr(nearest_predecessor, "_COLUMNS", 2 * block)
        kept, representative, _ = run(x, quality=quality, cluster=cluster, min_similarity=min_similarity, first=first)
    for c in range(-1, 3):
        rows = np.flatnonzero(cluster == c)
        if len(rows) < 2:
            assert kept[rows].all()
            continue
        to_mean = np.einsum("ij,j->i", x[rows], x[rows].mean(axis=0)) if len(rows) > 2 else np.zeros(2)
        key = {"farthest": to_mean, "nearest": -to_mean, "best_quality": -quality[rows]}[first]
        expected, representatives = slow_reference(x, rows[np.argsort(key, kind="stable")].tolist(), min_similarity)
        assert {row: bool(kept[row]) for row in rows.tolist()} == expected
        assert {row: int(representative[row]) for row in rows.tolist() if not kept[row]} == representatives


def test_large_cluster_is_worked_on_in_blocks():
    """2,500 rows are many blocks; each of 500 rows has four copies, scattered over them."""
    r = np.random.default_rng(2)
    x = r.standard_normal((500, 32)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    source = r.permutation(np.repeat(np.arange(500), 5))
    kept, representative, _ = run(x[source])
    firsts = np.unique(source, return_index=True)[1]
    assert np.flatnonzero(kept).tolist() == sorted(firsts.tolist())
    dropped = np.flatnonzero(~kept)
    assert representative[dropped].tolist() == firsts[source[dropped]].tolist()


# ---------------------------------------------------------------- other cells, and what was published

FACES = np.array([*itertools.product((-0.5, 0.5), repeat=4), *np.eye(4), *-np.eye(4)], np.float32)
"""24 vectors whose similarities, -1, -.5, 0, .5 and 1, are exact: many are alike, and none by rounding."""


def by_definition(x, cells, threshold, published):
    """Apply the docstring row by row; return kept rows, representatives and nearest rows."""
    n, seen = len(x), np.concatenate([x, published]).astype(np.float64)
    representative, nearest = np.full(n, -1), np.full(n, -1.0)
    kept = np.ones(n, bool)
    for j in np.argsort(cells.rank).tolist():
        if cells.rank[j] < 0:
            continue
        looks = (cells.cell[:, None] == cells.probed_cells[j][None, :]).any(axis=1)
        before = np.flatnonzero(looks & (cells.rank < cells.rank[j]) & (cells.rank >= 0))
        before = [*range(n, len(seen)), *before[np.argsort(cells.rank[before])].tolist()]
        if not before:
            continue
        similarity = dict(zip(before, (seen[before] @ seen[j]).tolist(), strict=True))
        nearest[j] = max(similarity.values())
        kept[j] = nearest[j] < threshold
        if kept[j]:
            continue
        near = [i for i in before if similarity[i] >= threshold and (i >= n or kept[i])]
        first = max(near or before, key=similarity.get)
        representative[j] = first if first >= n or kept[first] else representative[first]
    return kept, representative, nearest


@given(
    st.integers(1, 60),
    st.integers(0, 2**16),
    st.integers(1, 5),
    st.sampled_from([0.5, 1.0, -1.0]),
    st.sampled_from([1, 3, 1024]),
    st.lists(st.integers(0, 9), max_size=3),
)
def test_same_as_the_definition_with_ties_probes_and_published_rows(n, seed, n_probe, min_similarity, block, parts):
    r = np.random.default_rng(seed)
    x, cluster = FACES[r.integers(0, len(FACES), n)], r.integers(-1, 5, n).astype(np.int32)
    quality = r.integers(0, 4, n).astype(np.float32)
    fixed = r.random(n) < 0.2
    sketches = [FACES[r.integers(0, len(FACES), m)][:, :4] for m in parts]
    known = published_as(fixed, sketches)
    cells = Cells.from_clusters(x, cluster, quality, first="best_quality", n_probe=n_probe, rows=known.new_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_predecessor, "_ROWS", block)
        patch.setattr(nearest_predecessor, "_COLUMNS", 2 * block)
        patch.setattr(module, "_BLOCK", block)
        result = semdedup(x, cells, min_similarity=min_similarity, published=known)
    for got, expected in zip(
        result, by_definition(x, cells, min_similarity, np.concatenate([FACES[:0], *sketches])), strict=True
    ):
        assert got.tolist() == expected.tolist()


@pytest.mark.parametrize("first", ["farthest", "nearest", "best_quality"])
def test_enough_probes_keep_no_two_duplicates_and_one_of_each_group(first):
    """As if all rows were one cluster, but for the order."""
    r = np.random.default_rng(4)
    x, cluster = on_circle(*r.uniform(0, 360, 150)), r.integers(0, 6, 150)
    kept, representative, _ = run(
        x, cluster=cluster, quality=r.permutation(150), min_similarity=0.999, first=first, n_probe=6
    )
    similarity = x @ x.T - 2 * np.eye(150)
    assert similarity[np.ix_(kept, kept)].max() < 0.999
    _, group = connected_components(similarity >= 0.999 - 1e-6)
    assert set(group[kept]) == set(group)
    assert (group[representative[~kept]] == group[~kept]).all()


def test_duplicates_on_two_sides_of_a_border_are_found_with_2_probes():
    x, cluster = on_circle(0, 40, 44, 90), [0, 0, 1, 1]
    assert run(x, cluster=cluster, min_similarity=0.99)[0].all()
    kept, representative, _ = run(x, cluster=cluster, min_similarity=0.99, n_probe=2)
    assert kept.tolist() == [True, True, False, True]
    assert representative.tolist() == [-1, -1, 1, -1]


# ---------------------------------------------------------------- large clusters, and what is missed


@pytest.mark.parametrize("first", ["farthest", "nearest", "best_quality"])
def test_copies_in_a_split_cluster_have_the_results_of_an_unsplit_one(first):
    """Ten copies each of 30 rows, which fit in a cluster of 50."""
    r = np.random.default_rng(6)
    x, quality = FACES[r.integers(0, 24, 300)], r.integers(0, 3, 300)
    complete, split = (run(x, quality=quality, first=first, max_cluster_rows=most) for most in (None, 50))
    for one, other in zip(complete[:2], split[:2], strict=True):  # in their mean, and so the order, copies do not count
        assert one.tolist() == other.tolist()
    assert first != "best_quality" or (complete[2] == split[2]).all()


def test_identical_rows_leave_one_however_many_they_are():
    kept, representative, nearest = run(np.eye(3)[np.zeros(5000, int)], max_cluster_rows=100)
    assert np.flatnonzero(kept).tolist() == [0]
    assert (representative[1:] == 0).all()
    assert (nearest[1:] == 1).all()


def test_missed_pairs_are_those_across_borders():
    r = np.random.default_rng(7)
    x, cluster = on_circle(*r.uniform(0, 360, 200)), r.integers(0, 12, 200).astype(np.int32)
    near = np.triu(x @ x.T >= 0.99, 1)
    apart = near & (cluster[:, None] != cluster)
    cells = Cells.from_clusters(x, cluster, np.zeros(200, np.float32), first="nearest")
    message = missed_pairs(x, cells, 0.99, 1000)
    assert (message.rows, message.pairs, message.missed) == (200, 2 * near.sum(), 2 * apart.sum())
    sampled = missed_pairs(x, cells, 0.99, 20)
    assert sampled.rows == 20
    assert 0 < sampled.missed < sampled.pairs < message.pairs
    assert missed_pairs(x, cells, 0.99, 0) is None
    some = [Cells.from_clusters(x, cluster, np.zeros(200, np.float32), first="nearest", n_probe=p) for p in (3, 12)]
    assert missed_pairs(x, some[0], 0.99, 1000).missed < message.missed
    assert missed_pairs(x, some[1], 0.99, 1000) is None


# ---------------------------------------------------------------- across runs


def published_as(held, parts):
    """Return the published rows with the vectors ``parts``, as sketches of the selector."""
    tables = [SemDeDup().sketch(pool_of(part)) for part in parts]
    return PublishedRows(held, tuple(map(len, parts)), lambda number, columns: tables[number].select(columns))


def pool_of(x, published=None):
    n = len(x)
    quality = -np.arange(n, dtype=np.float32)
    return Pool(np.ascontiguousarray(x), quality, np.zeros(n, np.int32), published=published)


def test_published_rows_stay_and_new_ones_like_them_go():
    """Row 0 was published, and its twin, row 1, is new; row 3 is like a row that is not in the pool any more, and row 4
    like row 3.
    """
    x = on_circle(0, 1, 90, 180, 190, 270)
    known = published_as(np.arange(6) == 0, [x[:0], x[:1], on_circle(45, 175)])
    selection = (
        SemDeDup(keep="best_quality", min_similarity=0.98)
        .select(pool_of(x, known), None, np.random.default_rng(0))
        .check(6, None)
    )
    assert selection.indices.tolist() == [0, 2, 5]
    assert selection.representative.tolist() == [-1, 6, -1, 6 + 2, 6 + 2, -1]
    np.testing.assert_allclose(selection.similarity[[1, 3, 4]], np.cos(np.radians([1, 5, 15])), atol=1e-6)
    np.testing.assert_allclose(selection.gain, 1 - np.cos(np.radians([180, 45, 80])), atol=1e-6)


def test_published_vectors_of_another_model_are_refused():
    known = published_as(np.zeros(2, bool), [np.eye(3, dtype=np.float32)])
    with pytest.raises(PluginError, match="published vectors have 3 dimensions, those of the pool 2"):
        SemDeDup().select(pool_of(on_circle(0, 90), known), None, np.random.default_rng(0))


# ---------------------------------------------------------------- the plugin


def test_selection_has_gain_reason_and_similarity():
    x = on_circle(0, 15, 30, 120)
    pool = Pool(x, np.array([3, 2, 1, 0], np.float32), np.zeros(4, np.int32))
    selection = SemDeDup(keep="best_quality").select(pool, None, np.random.default_rng(0))
    assert selection.indices.tolist() == [0, 3]
    assert selection.gain[0] == 2
    np.testing.assert_allclose(selection.gain[1], 1, atol=1e-6)
    assert selection.reasons == ("near-duplicate (similarity at least 0.95)",)
    assert selection.representative.tolist() == [-1, 0, 0, -1]
    np.testing.assert_allclose(selection.similarity[1:3], np.cos(np.radians([15, 30])), atol=1e-6)
    assert selection.retention.sample is None


def test_selection_estimates_missed_duplicates_from_a_sample():
    x = on_circle(0, 40, 44, 90, 180)
    pool = Pool(x, np.zeros(5, np.float32), np.array([0, 0, 1, 1, 2], np.int32))
    one = SemDeDup(min_similarity=0.99, n_probe=1)
    sample = one.select(pool, None, np.random.default_rng(0)).retention.sample
    assert (sample.rows, sample.pairs, sample.missed) == (5, 2, 2)
    two = SemDeDup(min_similarity=0.99, n_probe=2).select(pool, None, np.random.default_rng(0)).retention.sample
    assert (two.pairs, two.missed) == (2, 0)
