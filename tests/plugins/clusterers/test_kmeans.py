import numpy as np
import pytest

from curate.kernels.clustering.lloyd import assign
from curate.kernels.types import Vectors
from curate.plugins.clusterers.kmeans import KMeans


def unit(rng, n, d):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def in_blocks(x, *cuts):
    return Vectors(len(x), x.shape[1], lambda: iter(np.split(x, cuts)))


def test_auto_is_what_an_unset_number_means():
    x = unit(np.random.default_rng(0), 400, 6)
    clustering = KMeans(max_iterations=1).fit(Vectors.from_array(x), np.random.default_rng(0))
    assert len(clustering.centroids) == 20


def test_finds_planted_groups():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 6, 900)
    x = np.eye(9, dtype=np.float32)[labels] + 0.05 * rng.standard_normal((900, 9)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    clustering = KMeans(n_clusters=6).fit(in_blocks(x, 300, 301), np.random.default_rng(3))
    cluster, similarity = assign(x, clustering.centroids)
    assert len(set(zip(labels.tolist(), cluster.tolist(), strict=True))) == 6
    assert similarity.min() > 0.9


@pytest.mark.parametrize("n", [1, 2, 7])
def test_fewer_rows_than_clusters_gives_a_cluster_a_row(n):
    x = unit(np.random.default_rng(4), n, 5)
    clustering = KMeans(n_clusters=10).fit(Vectors.from_array(x), np.random.default_rng(0))
    assert len(clustering.centroids) == n
    np.testing.assert_allclose(assign(x, clustering.centroids)[1], 1, atol=1e-6)


def test_rows_that_are_all_the_same_make_one_cluster():
    x = np.tile(unit(np.random.default_rng(5), 1, 5), (100, 1))
    clustering = KMeans(n_clusters=4).fit(Vectors.from_array(x), np.random.default_rng(0))
    np.testing.assert_allclose(clustering.centroids, x[:1], atol=1e-6)
    assert clustering.facts["inertia"] < 1e-3
    assert clustering.facts["converged"] == 1


def test_facts_describe_the_fit():
    x = unit(np.random.default_rng(6), 500, 4)
    clustering = KMeans(n_clusters=8, max_iterations=3, tolerance=0.0).fit(
        Vectors.from_array(x), np.random.default_rng(0)
    )
    facts = clustering.facts
    assert set(facts) == {"clusters", "inertia", "mean_similarity", "iterations", "converged"}
    assert (facts["clusters"], facts["iterations"]) == (8, 3)
    assert facts["mean_similarity"] == pytest.approx(1 - facts["inertia"] / 500)
    assert facts["mean_similarity"] <= assign(x, clustering.centroids)[1].mean() + 1e-6  # the last move came after it


def test_ends_nearly_as_well_as_the_best_of_five_runs_of_scikit_learn():
    from sklearn.cluster import KMeans as Peer

    rng = np.random.default_rng(7)
    x = unit(rng, 12, 10)[rng.integers(0, 12, 3_000)] + 0.1 * rng.standard_normal((3_000, 10)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    ours = KMeans(n_clusters=12, max_iterations=100, tolerance=0.0, sample_per_cluster=100).fit(
        Vectors.from_array(x), rng
    )
    theirs = Peer(12, n_init=5, random_state=0).fit(x).cluster_centers_.astype(np.float32)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    assert assign(x, ours.centroids)[1].mean() > 0.98 * assign(x, theirs)[1].mean()


def test_the_same_bytes_for_any_number_of_threads(monkeypatch):
    x = unit(np.random.default_rng(8), 20_000, 12)
    runs = []
    for count in ("1", "4"):
        monkeypatch.setenv("CURATE_THREADS", count)
        fit = KMeans(n_clusters=40, max_iterations=4).fit(Vectors.from_array(x, 7_000), np.random.default_rng(1))
        runs.append((fit.centroids.tobytes(), dict(fit.facts)))
    assert runs[0] == runs[1]
