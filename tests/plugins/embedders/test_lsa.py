"""Latent semantic analysis."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh

from curate.kernels.parallel import THREADS_VARIABLE
from curate.kernels.text.char_ngrams import trigrams
from curate.plugins.embedders import lsa
from curate.plugins.embedders.lsa import Lsa

POOL = Path(__file__).parents[3] / "data_samples" / "pool"
THINGS = {
    "kitchen": ("bake the bread in the oven", "knead the dough and bake it", "an oven for bread and dough"),
    "sea": ("the ship sails on the sea", "a captain sails his ship", "waves of the sea and a captain"),
    "law": ("the judge reads the verdict", "a verdict of the court", "the court and the judge agree"),
}
TEXTS = [
    f"{text} {extra}"
    for extra in ("today", "again", "at last", "once more")
    for kind in THINGS.values()
    for text in kind
]
words = st.text(alphabet="abcdeé 你🎉.", max_size=12)


def fitted(texts, seed=0, **fields):
    plugin = Lsa(**fields)
    return plugin.restore(plugin.fit(texts, np.random.default_rng(seed)))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow_tfidf(texts):
    """Return (n, f) unit TF-IDF vectors, computed feature by feature."""
    counts = [Counter(trigrams([text])[0].tolist()) for text in texts]
    documents = Counter(gram for count in counts for gram in count)
    features = sorted(documents)
    rows = np.array(
        [
            [
                (1 + log(count[gram])) * (1 + log((1 + len(texts)) / (1 + documents[gram]))) if count[gram] else 0
                for gram in features
            ]
            for count in counts
        ]
    )
    return unit(rows)


def test_at_full_rank_cosines_are_those_of_the_tfidf_vectors():
    """With as many directions as texts nothing is lost, so the obvious TF-IDF is the reference."""
    expected = slow_tfidf(TEXTS)
    vectors = unit(fitted(TEXTS).encode(TEXTS))
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=2e-5)


@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_cosines_are_those_in_the_space_of_the_leading_singular_vectors(dimensions):
    """The full decomposition in float64 is the reference for the randomized one."""
    expected = slow_tfidf(TEXTS)
    directions = np.linalg.svd(expected, full_matrices=False)[2][:dimensions]
    reference = unit(expected @ directions.T)
    vectors = unit(fitted(TEXTS, dimensions=dimensions).encode(TEXTS))
    assert vectors.shape == (len(TEXTS), dimensions)
    np.testing.assert_allclose(vectors @ vectors.T, reference @ reference.T, atol=2e-3)


def test_texts_about_one_thing_are_nearer_than_texts_about_others():
    vectors = unit(fitted(TEXTS, dimensions=6).encode(TEXTS))
    kind = np.arange(len(TEXTS)) // 3 % 3
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    assert (kind[similarity.argmax(axis=1)] == kind).all()


@given(sample=st.lists(words, min_size=1, max_size=8), others=st.lists(words, max_size=6))
def test_a_vector_is_bitwise_independent_of_other_texts(sample, others):
    embedder = fitted(sample)
    texts = [*sample, *others]
    together = embedder.encode(texts)
    assert [row.tobytes() for row in together] == [embedder.encode([text])[0].tobytes() for text in texts]
    assert together.any(axis=1).tolist() == [bool(text.strip()) for text in texts]


def test_blocks_and_threads_do_not_change_a_bit(monkeypatch):
    rng = np.random.default_rng(3)
    vocabulary = ["".join(map(chr, rng.integers(97, 123, size=rng.integers(2, 9)))) for _ in range(3_000)]
    texts = [" ".join(vocabulary[i] for i in rng.zipf(1.3, size=90) % 3_000) for _ in range(1_200)]
    assert sum(map(len, texts)) > 3 * (1 << 17), "several blocks"
    runs = set()
    for count in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        plugin = Lsa(dimensions=24)
        state = plugin.fit(texts[:600], np.random.default_rng(0))
        vectors = plugin.restore(state).encode(texts)
        runs.add((state["features"].tobytes(), state["projection"].tobytes(), vectors.tobytes()))
        backwards = plugin.restore(state).encode(texts[::-1])[::-1]
        assert vectors.tobytes() == backwards.tobytes()
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("sample", "dimensions"),
    [
        (["a text"], 1),
        (["same", "same", "same"], 1),
        (["one two", "three four", "five"], 3),
        (TEXTS, np.linalg.matrix_rank(slow_tfidf(TEXTS), 1e-4)),
        (["", " "], 256),
        ([], 256),
    ],
    ids=["one text", "one text thrice", "three texts", "fewer texts than dimensions", "blank texts", "no text"],
)
def test_a_small_sample_has_as_many_dimensions_as_it_spans(sample, dimensions):
    vectors = fitted(sample).encode(["same", "?!", "new words"])
    assert vectors.shape == (3, dimensions)
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).all()


def test_texts_without_a_known_trigram_are_as_similar_as_their_spelling():
    embedder = fitted(TEXTS, dimensions=24)
    a, b, c = unit(embedder.encode(["ΑΒΓ ΔΕΖ ΗΘΙ", "αβγ δεζ ηθι", "xyzzy qqq"]))
    assert a @ b == pytest.approx(1)
    assert abs(a @ c) < 0.9


def test_the_most_widespread_trigrams_are_kept_ties_to_the_lower_code_points():
    plugin = Lsa(max_features=2)
    state = plugin.fit(["c b", "c a", "c c"], np.random.default_rng(0))
    wanted = np.sort(trigrams(["a c"])[0])
    assert state["features"].tolist() == wanted.tolist()


def test_of_a_sample_that_is_too_large_a_random_part_is_used(monkeypatch):
    monkeypatch.setattr(lsa, "_FIT_CHARACTERS", 40)
    texts = [f"{chr(97 + i) * 9} " for i in range(20)]
    features = {Lsa().fit(texts, np.random.default_rng(seed))["features"].tobytes() for seed in range(3)}
    assert len(features) > 1
    complete = Lsa().fit([texts[0] * 20], np.random.default_rng(0))
    assert len(complete["features"]) == 3, "one text is always taken"


def test_fitted_state_is_arrays_that_numpy_saves_without_pickle(tmp_path):
    plugin = Lsa(dimensions=5)
    state = plugin.fit(TEXTS, np.random.default_rng(0))
    np.savez(tmp_path / "state.npz", allow_pickle=False, **state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        again = plugin.restore(dict(file))
    assert again.encode(TEXTS).tobytes() == plugin.restore(state).encode(TEXTS).tobytes()


def test_fidelity_is_the_share_of_the_tfidf_vector_that_is_expressed():
    everything = fitted(TEXTS).fidelity(TEXTS)
    np.testing.assert_allclose(everything, 1, atol=1e-4)  # as many directions as texts
    model = fitted(TEXTS, dimensions=2)
    features = Lsa(dimensions=2).fit(TEXTS, np.random.default_rng(0))
    directions = features["projection"] / features["idf"][:, None]
    expected = np.square(slow_tfidf(TEXTS) @ directions).sum(axis=1)
    np.testing.assert_allclose(model.fidelity(TEXTS), expected, atol=1e-5)


def test_fidelity_falls_with_what_the_fit_never_saw():
    model = fitted(TEXTS, dimensions=6)
    seen, half, foreign, blank = model.fidelity([TEXTS[0], f"{TEXTS[0]} квантовая физика", "квантовая физика", " "])
    assert seen > half > foreign == blank == 0


def neighbors(texts, dimensions):
    vectors = unit(fitted(texts, dimensions=dimensions).encode(texts))
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    return similarity.argmax(axis=1)


@pytest.mark.slow
def test_98_of_100_texts_have_the_nearest_neighbor_of_the_exact_decomposition(monkeypatch):
    """With 2 iterations and an oversampling of 10, .63 and .85 of these have it."""
    files = [POOL / f"{name}.jsonl" for name in ("encyclopedia", "forum", "manual", "tickets", "web")]
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines() if line.endswith("}")]
    texts = [text for text in dict.fromkeys(f"{row['instruction']} {row['output']}" for row in rows) if len(text) > 30]
    assert len(texts) > 1000
    result = {dimensions: neighbors(texts, dimensions) for dimensions in (32, 128)}

    @cache  # the matrix is the same for both
    def eigenvectors():
        (matrix,) = matrices
        squares, vectors = eigh((matrix @ matrix.T).toarray(), subset_by_index=(len(texts) - 128, len(texts) - 1))
        return np.sqrt(squares[::-1]), vectors[:, ::-1]

    def exact(matrix, count, seed):
        matrices[:] = [matrix.astype(np.float64)]
        values, vectors = eigenvectors()
        return values[:count], (matrices[0].T @ vectors[:, :count] / values[:count]).T

    matrices = []
    monkeypatch.setattr(lsa, "_truncated_svd", exact)
    for dimensions, nearest in result.items():
        assert (nearest == neighbors(texts, dimensions)).mean() >= 0.98
