import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.clustering.kmeans_plusplus import choose_seeds
from curate.kernels.clustering.lloyd import assign, lloyd


def unit(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def groups(rng, n, k, d, spread=0.15):
    x = unit(rng, k, d)[rng.integers(0, k, n)] + spread * rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def one_block(x):
    return lambda: iter([x])


def slow_iteration(x, centroids):
    """Run one Lloyd iteration row by row, in float64."""
    sums = np.zeros(centroids.shape)
    inertia = 0.0
    for row in x.astype(np.float64):
        cosine = [float(row @ c) for c in centroids.astype(np.float64)]
        sums[int(np.argmax(cosine))] += row
        inertia += 1 - max(cosine)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True), inertia


class TestAssign:
    def test_equals_the_slow_version_over_many_blocks(self):
        rng = np.random.default_rng(0)
        x, centroids = unit(rng, 5_000, 7), unit(rng, 20, 7)
        cluster, similarity = assign(x, centroids)
        cosine = x @ centroids.T
        assert cluster.dtype == np.int32
        assert similarity.dtype == np.float32
        np.testing.assert_array_equal(cluster, cosine.argmax(1))
        np.testing.assert_allclose(similarity, cosine.max(1), atol=1e-6)

    def test_ties_go_to_the_lowest_cluster(self):
        centroids = np.array([[0, 1], [1, 0], [1, 0]], np.float32)
        assert assign(np.array([[1, 0], [0, -1]], np.float32), centroids)[0].tolist() == [1, 1]

    def test_similarity_never_leaves_its_range(self):
        x = unit(np.random.default_rng(1), 3_000, 384)
        assert assign(x, x[:50])[1].max() == 1
        assert assign(x[:1], -x[:1])[1].min() == -1

    def test_the_same_bytes_for_any_number_of_threads(self, monkeypatch):
        rng = np.random.default_rng(2)
        x, centroids = unit(rng, 9_000, 16), unit(rng, 33, 16)
        runs = []
        for count in ("1", "4"):
            monkeypatch.setenv("CURATE_THREADS", count)
            runs.append([array.tobytes() for array in assign(x, centroids)])
        assert runs[0] == runs[1]


class TestLloyd:
    @given(n=st.integers(20, 120), k=st.integers(1, 5), seed_=st.integers(0, 999))
    def test_one_iteration_equals_the_slow_version(self, n, k, seed_):
        rng = np.random.default_rng(seed_)
        x = unit(rng, n, 6)
        fit = lloyd(one_block(x), x[:k], max_iterations=1, tolerance=0.0)
        centroids, inertia = slow_iteration(x, x[:k])
        np.testing.assert_allclose(fit.centroids, centroids, atol=1e-5)
        np.testing.assert_allclose(fit.inertia, inertia, rtol=1e-5, atol=1e-5)
        assert (fit.iterations, fit.converged) == (1, False)

    def test_many_blocks_give_the_result_of_one(self):
        """Sums over superblocks and over blocks of any length add up to those of a single block."""
        rng = np.random.default_rng(3)
        x = groups(rng, 40_000, 12, 8)
        start = x[choose_seeds(x[:1000], 12, rng)]
        single = lloyd(one_block(x), start, max_iterations=4, tolerance=0.0)
        parts = lloyd(lambda: iter(np.split(x, [1, 700, 30_000])), start, max_iterations=4, tolerance=0.0)
        np.testing.assert_allclose(parts.centroids, single.centroids, atol=1e-4)
        np.testing.assert_allclose(parts.inertia, single.inertia, rtol=1e-5)

    def test_the_same_bytes_for_any_number_of_threads(self, monkeypatch):
        rng = np.random.default_rng(4)
        x = groups(rng, 50_000, 30, 12)
        runs = []
        for count in ("1", "4"):
            monkeypatch.setenv("CURATE_THREADS", count)
            fit = lloyd(one_block(x), x[:30], max_iterations=5, tolerance=0.0)
            runs.append((fit.centroids.tobytes(), fit.inertia))
        assert runs[0] == runs[1]

    def test_inertia_never_rises(self):
        x = groups(np.random.default_rng(5), 2_000, 10, 6, spread=0.4)
        inertia = [lloyd(one_block(x), x[:10], max_iterations=i, tolerance=0.0).inertia for i in range(1, 12)]
        assert all(after <= before * (1 + 1e-6) for before, after in itertools.pairwise(inertia))
        assert inertia[-1] < 0.9 * inertia[0]

    def test_stops_when_the_inertia_falls_by_no_more_than_the_tolerance(self):
        x = groups(np.random.default_rng(6), 2_000, 10, 6, spread=0.4)
        fit = lloyd(one_block(x), x[:10], max_iterations=100, tolerance=0.01)
        assert fit.converged
        assert 1 < fit.iterations < 100
        before = [
            lloyd(one_block(x), x[:10], max_iterations=i, tolerance=0.0).inertia for i in range(1, fit.iterations)
        ]
        assert all(b - a > 0.01 * b for b, a in itertools.pairwise(before))
        assert before[-1] - fit.inertia <= 0.01 * before[-1]

    def test_finds_groups_that_are_far_apart(self):
        rng = np.random.default_rng(7)
        labels = rng.integers(0, 5, 600)
        x = np.eye(8, dtype=np.float32)[labels] + 0.05 * rng.standard_normal((600, 8)).astype(np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        fit = lloyd(one_block(x), x[choose_seeds(x, 5, rng)], max_iterations=20, tolerance=0.0)
        cluster = assign(x, fit.centroids)[0]
        assert len({(int(a), int(b)) for a, b in zip(labels, cluster, strict=True)}) == 5

    def test_an_empty_cluster_starts_again_at_the_farthest_row(self):
        x = np.array([[1, 0, 0]] * 5 + [[0.8, 0.6, 0]] * 3 + [[0, 0, 1]], np.float32)
        start = np.array([[1, 0, 0], [-1, 0, 0]], np.float32)  # nothing is near the second
        fit = lloyd(one_block(x), start, max_iterations=10, tolerance=0.0)
        assert assign(x, fit.centroids)[0].tolist() == [0] * 8 + [1]

    def test_a_cluster_that_stays_empty_is_left_out(self):
        x = np.tile(np.array([[0.6, 0.8]], np.float32), (50, 1))
        fit = lloyd(
            one_block(x), np.array([[1, 0], [0.6, 0.8], [0.6, 0.8]], np.float32), max_iterations=9, tolerance=0.0
        )
        np.testing.assert_allclose(fit.centroids, [[0.6, 0.8]], atol=1e-6)
        assert fit.converged

    def test_a_cluster_whose_rows_cancel_out_stays_where_it_was(self):
        x = np.array([[1, 0], [-1, 0]], np.float32)
        fit = lloyd(one_block(x), np.array([[0, 1]], np.float32), max_iterations=3, tolerance=0.0)
        assert fit.centroids.tolist() == [[0, 1]]

    def test_duplicating_every_row_moves_nothing(self):
        x = groups(np.random.default_rng(8), 500, 4, 5)
        once = lloyd(one_block(x), x[:4], max_iterations=5, tolerance=0.0)
        twice = lloyd(one_block(np.repeat(x, 2, axis=0)), x[:4], max_iterations=5, tolerance=0.0)
        np.testing.assert_allclose(twice.centroids, once.centroids, atol=1e-5)
        np.testing.assert_allclose(twice.inertia, 2 * once.inertia, rtol=1e-5)

    def test_the_blocks_are_not_held(self, monkeypatch):
        """200,000 × 16 rows are 12 MiB; a pass over blocks made as they are read stays below half of that."""
        import tracemalloc

        monkeypatch.setenv("CURATE_THREADS", "1")

        def blocks():
            rng = np.random.default_rng(9)
            for _ in range(100):
                yield unit(rng, 2_000, 16)

        start = unit(np.random.default_rng(10), 8, 16)
        tracemalloc.start()
        lloyd(blocks, start, max_iterations=2, tolerance=0.0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6 * 2**20
