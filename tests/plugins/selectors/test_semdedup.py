"""SemDeDup drops what the published rule drops, and says which row stands for each dropped one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.plugins.pool import Pool
from curate.plugins.selectors import semdedup as module
from curate.plugins.selectors.semdedup import SemDeDup, semdedup


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def run(x, *, quality=None, cluster=None, min_similarity=0.95, first="best_quality"):
    """Order by ``quality``: by default the order of the pool."""
    n = len(x)
    quality = -np.arange(n) if quality is None else np.asarray(quality)
    cluster = np.zeros(n) if cluster is None else np.asarray(cluster)
    args = np.ascontiguousarray(x, np.float32), cluster.astype(np.int32), quality.astype(np.float32)
    return semdedup(*args, min_similarity=min_similarity, first=first)


def slow_reference(x, order, threshold):
    """The rule, row by row: kept, and whom a dropped row names, from the docstring."""
    similarity = x.astype(np.float64) @ x.T
    kept, stands = {}, {}
    for place, j in enumerate(order):
        earlier = order[:place]
        kept[j] = not any(similarity[i, j] >= threshold - 1e-6 for i in earlier)
        if not kept[j]:
            similar = [i for i in earlier if kept[i] and similarity[i, j] >= threshold - 1e-6]
            if similar:
                stands[j] = max(similar, key=lambda i: similarity[i, j])
            else:
                nearest = max(earlier, key=lambda i: similarity[i, j])
                stands[j] = nearest if kept[nearest] else stands[nearest]
    return kept, stands


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
    """Rounding to float16 leaves rows that are not quite of unit length."""
    x = np.random.default_rng(0).standard_normal((50, 64))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    assert run(np.concatenate([x, x]), min_similarity=1.0)[0].tolist() == [True] * 50 + [False] * 50


def test_chain_is_cut_to_its_first_row():
    """a ~ b ~ c but not a ~ c: b goes because of a, and c because of b, although b is gone; a stands for both."""
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


def test_rows_of_other_clusters_and_of_none_are_not_compared():
    x = on_circle(0, 0, 0, 0, 0)
    kept, representative, nearest = run(x, cluster=[4, -1, 2, -1, 4])
    assert kept.tolist() == [True, True, True, True, False]
    assert representative.tolist() == [-1, -1, -1, -1, 0]
    assert nearest[:4].tolist() == [-1, -1, -1, -1]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 1000),
    st.sampled_from([0.5, 0.8, 0.95]),
    st.sampled_from([1, 4, 1024]),
    st.sampled_from(["farthest", "nearest", "best_quality"]),
)
def test_same_as_the_slow_reference_for_any_block_size(n, seed, min_similarity, block, first):
    """Three clusters and no cluster; many chains, because the rows lie on a circle."""
    r = np.random.default_rng(seed)
    x, cluster = on_circle(*r.uniform(0, 360, n)), r.integers(-1, 3, n).astype(np.int32)
    quality = r.permutation(n).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        kept, representative, _ = run(x, quality=quality, cluster=cluster, min_similarity=min_similarity, first=first)
    assert kept[cluster < 0].all()
    for c in range(3):
        rows = np.flatnonzero(cluster == c)
        if len(rows) < 2:
            assert kept[rows].all()
            continue
        to_mean = np.einsum("ij,j->i", x[rows], x[rows].mean(axis=0)) if len(rows) > 2 else np.zeros(2)
        key = {"farthest": to_mean, "nearest": -to_mean, "best_quality": -quality[rows]}[first]
        expected, stands = slow_reference(x, rows[np.argsort(key, kind="stable")].tolist(), min_similarity)
        assert {row: bool(kept[row]) for row in rows.tolist()} == expected
        assert {row: int(representative[row]) for row in rows.tolist() if not kept[row]} == stands


def test_large_cluster_is_worked_on_in_blocks():
    """2,500 rows are three blocks; each of 500 rows has four copies, scattered over them."""
    r = np.random.default_rng(2)
    x = r.standard_normal((500, 32)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    source = r.permutation(np.repeat(np.arange(500), 5))
    kept, representative, _ = run(x[source])
    firsts = np.unique(source, return_index=True)[1]
    assert np.flatnonzero(kept).tolist() == sorted(firsts.tolist())
    dropped = np.flatnonzero(~kept)
    assert representative[dropped].tolist() == firsts[source[dropped]].tolist()


# ---------------------------------------------------------------- the plugin


def test_selection_says_gain_reason_and_similarity():
    x = on_circle(0, 15, 30, 120)
    pool = Pool(x, np.array([3, 2, 1, 0], np.float32), np.zeros(4, np.int32))
    selection = SemDeDup(first="best_quality").select(pool, None, np.random.default_rng(0))
    assert selection.order.tolist() == [0, 3]
    assert selection.gain[0] == 2
    np.testing.assert_allclose(selection.gain[1], 1, atol=1e-6)
    assert selection.reasons == ("near-duplicate (similarity at least 0.95)",)
    assert selection.representative.tolist() == [-1, 0, 0, -1]
    np.testing.assert_allclose(selection.similarity[1:3], np.cos(np.radians([15, 30])), atol=1e-6)
