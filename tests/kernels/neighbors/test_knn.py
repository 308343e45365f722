import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.neighbors.knn import knn, nearest_similarity


def unit(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def on_a_grid(rng, n, d):
    """Return unit rows with many ties whose products are exact in float32: entries 0 and ±1/2."""
    return (rng.integers(0, 2, (n, 4)).astype(np.float32) - 0.5) @ np.eye(4, d, dtype=np.float32)


def slow(x, k, queries=None):
    """Sort all similarities of each row by (-similarity, index)."""
    indices, similarities = [], []
    for row in range(len(x)) if queries is None else queries:
        cosine = np.minimum(x @ x[row], 1)
        others = [int(j) for j in np.lexsort((np.arange(len(x)), -cosine)) if j != row][:k]
        indices.append(others + [-1] * (k - len(others)))
        similarities.append([cosine[j] for j in others] + [-np.inf] * (k - len(others)))
    return np.array(indices).reshape(-1, k), np.array(similarities).reshape(-1, k)


@pytest.fixture
def cells(monkeypatch):
    """Enable cell probing for pools of any size."""
    monkeypatch.setattr("curate.kernels.neighbors.knn.EXACT_ROWS", 0)


@given(n=st.integers(1, 60), k=st.integers(1, 70), d=st.integers(4, 9), seed=st.integers(0, 999))
def test_exact_equals_the_slow_version_ties_to_the_lowest_index(n, k, d, seed):
    x = on_a_grid(np.random.default_rng(seed), n, d)
    indices, similarities = knn(x, k)
    expected = slow(x, k)
    assert indices.dtype == np.int32
    assert similarities.dtype == np.float32
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_array_equal(similarities, expected[1])


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_exact_over_many_blocks(order):
    """More rows and columns than one block holds; sorted rows make every block bring better ones than the last."""
    rng = np.random.default_rng(0)
    x = unit(rng, 9_000, 8)
    if order == "sorted":
        x = x[np.argsort(x[:, 0])]
    indices, similarities = knn(x, 5)
    rows = np.r_[0:3, 1020:1030, 4090:4100, 8990:9000]
    expected = slow(x, 5, rows)
    np.testing.assert_allclose(similarities[rows], expected[1], atol=1e-6)
    cosine = np.einsum("nd,nkd->nk", x, x[indices])
    np.testing.assert_allclose(cosine, similarities, atol=1e-6)
    assert (np.diff(similarities, axis=1) <= 0).all()
    assert not (indices == np.arange(len(x))[:, None]).any()
    assert all(len(set(row)) == 5 for row in indices.tolist())


@pytest.mark.slow
def test_all_rows_identical_gives_the_lowest_other_indices():
    x = np.tile(unit(np.random.default_rng(0), 1, 5), (5_000, 1))
    indices, similarities = knn(x, 3)
    assert indices[0].tolist() == [1, 2, 3]
    assert indices[1].tolist() == [0, 2, 3]
    assert indices[4_999].tolist() == [0, 1, 2]
    assert similarities.min() == similarities.max() <= 1


def test_a_row_alone_has_no_neighbors():
    indices, similarities = knn(np.ones((1, 1), np.float32), 2)
    assert indices.tolist() == [[-1, -1]]
    assert similarities.tolist() == [[-np.inf, -np.inf]]


def test_queries_give_the_same_rows_as_the_full_result():
    x = on_a_grid(np.random.default_rng(1), 50, 6)
    queries = np.array([7, 3, 3, 49])
    complete, some = knn(x, 4), knn(x, 4, queries=queries)
    np.testing.assert_array_equal(some[0], complete[0][queries])
    np.testing.assert_array_equal(some[1], complete[1][queries])


def test_nearest_similarity_is_the_first_of_knn():
    x = unit(np.random.default_rng(2), 300, 6)
    np.testing.assert_array_equal(nearest_similarity(x), knn(x, 1)[1][:, 0])
    np.testing.assert_array_equal(nearest_similarity(x, np.array([4, 2])), knn(x, 1)[1][[4, 2], 0])
    among = np.arange(1, len(x), 2)
    np.testing.assert_array_equal(nearest_similarity(x, candidates=among), nearest_similarity(x[among]))
    np.testing.assert_array_equal(
        nearest_similarity(x, among[[2, 0]], candidates=among), nearest_similarity(x[among], [2, 0])
    )


@pytest.mark.parametrize("probing", [False, True])
def test_the_same_bytes_for_any_number_of_threads(monkeypatch, probing):
    rng = np.random.default_rng(3)
    x = unit(rng, 6_000, 24)
    centroids = unit(rng, 12, 24)
    more = {"centroids": centroids, "cluster": (x @ centroids.T).argmax(1).astype(np.int32), "n_probe": 3}
    monkeypatch.setattr("curate.kernels.neighbors.knn.EXACT_ROWS", 0)
    runs = []
    for count in ("1", "4"):
        monkeypatch.setenv("CURATE_THREADS", count)
        runs.append([array.tobytes() for array in knn(x, 7, **(more if probing else {}))])
    assert runs[0] == runs[1]


@given(n=st.integers(1, 80), c=st.integers(1, 8), k=st.integers(1, 9), seed=st.integers(0, 999))
def test_probing_every_cell_equals_exact(n, c, k, seed):
    rng = np.random.default_rng(seed)
    x, centroids = on_a_grid(rng, n, 5), unit(rng, c, 5)
    cluster = rng.integers(-1, c, n, dtype=np.int32)  # any cells at all, also rows in none
    expected = knn(x, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.kernels.neighbors.knn.EXACT_ROWS", 0)
        result = knn(x, k, centroids=centroids, cluster=cluster, n_probe=c + 2)
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])


@given(
    n=st.integers(1, 80), c=st.integers(1, 20), k=st.integers(1, 9), n_probe=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_probing_looks_into_more_cells_until_it_has_met_k_rows(n, c, k, n_probe, seed):
    rng = np.random.default_rng(seed)
    x, centroids = on_a_grid(rng, n, 5), unit(rng, c, 5)
    cluster = rng.integers(-1, c, n, dtype=np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.kernels.neighbors.knn.EXACT_ROWS", 0)
        indices, similarities = knn(x, k, centroids=centroids, cluster=cluster, n_probe=n_probe)
    assert ((indices >= 0).sum(1) == min(k, n - 1)).all()
    real = indices >= 0
    rows = np.broadcast_to(np.arange(n)[:, None], indices.shape)
    np.testing.assert_array_equal(np.einsum("id,id->i", x[rows[real]], x[indices[real]]), similarities[real])
    assert not (indices == rows).any()


def test_probing_one_cell_finds_the_nearest_within_it(cells):
    rng = np.random.default_rng(5)
    x = on_a_grid(rng, 90, 6)
    cluster = rng.integers(0, 3, 90, dtype=np.int32)
    indices, _ = knn(x, 4, centroids=unit(rng, 3, 6), cluster=cluster, n_probe=1)
    for c in range(3):
        rows = np.flatnonzero(cluster == c)
        np.testing.assert_array_equal(indices[rows], rows[slow(x[rows], 4)[0]])


def test_probing_recalls_most_neighbors_of_clustered_rows(cells):
    rng = np.random.default_rng(6)
    centroids = unit(rng, 40, 16)
    x = centroids[rng.integers(0, 40, 4_000)] + 0.1 * rng.standard_normal((4_000, 16)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cluster = (x @ centroids.T).argmax(1).astype(np.int32)
    result = knn(x, 8, centroids=centroids, cluster=cluster, n_probe=4)[0]
    truth = knn(x, 8)[0]
    recall = np.mean([len(set(a) & set(b)) / 8 for a, b in zip(result.tolist(), truth.tolist(), strict=True)])
    assert recall > 0.95


def test_small_pools_are_exact_even_with_centroids():
    rng = np.random.default_rng(7)
    x = unit(rng, 200, 6)
    result = knn(x, 3, centroids=unit(rng, 9, 6), cluster=rng.integers(0, 9, 200, dtype=np.int32), n_probe=1)
    np.testing.assert_array_equal(result[0], knn(x, 3)[0])


def test_memory_stays_far_below_a_matrix_of_all_pairs(monkeypatch):
    """12,000 rows: all pairs would be 549 MiB; one thread needs a block of similarities and its candidates."""
    import tracemalloc

    x = unit(np.random.default_rng(8), 12_000, 8)
    monkeypatch.setenv("CURATE_THREADS", "1")
    tracemalloc.start()
    knn(x, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


def test_inputs_may_be_read_only_and_stay_as_they_were():
    x = unit(np.random.default_rng(9), 40, 4)
    before = x.copy()
    x.flags.writeable = False
    knn(x, 3)
    np.testing.assert_array_equal(x, before)
