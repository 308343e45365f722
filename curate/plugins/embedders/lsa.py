"""Latent semantic analysis: TF-IDF vectors of character trigrams, projected on their leading singular directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.linalg.randomized_svd import randomized_svd
from curate.kernels.neighbors.hash_index import HashIndex
from curate.kernels.parallel import map_blocks, one_blas_thread
from curate.kernels.text.char_ngrams import signed_hashing, text_blocks, text_of_each, trigrams
from curate.kernels.types import Counts, FittedState, Hashes, Matrix, Positions, Vector
from curate.plugins.interfaces import Embedder, embedder

if TYPE_CHECKING:
    from scipy import sparse

_FIT_CHARACTERS = 1 << 25  # 32 Mi; about 60,000 documents of 90 words, and half a gigabyte of memory
_POWER_ITERATIONS = 7
_OVERSAMPLING = 64  # additional directions of the randomized SVD; half the number of directions if that is more
_NEGLIGIBLE = 1e-5  # smaller shares of the first singular value are float32 rounding noise


def lsa_fit(
    sample: Sequence[str], rng: np.random.Generator, *, dimensions: int, max_features: int
) -> tuple[Hashes, Matrix, Vector]:
    """Fit the trigrams of a corpus, and the directions in which its texts differ most.

    Text i is the vector with (1 + ln count) · idf for each trigram that occurs in it, scaled to unit length; idf is 1 +
    ln((1 + n) / (1 + number of texts with the trigram)). The directions are the leading right singular vectors of the
    matrix of all texts.

    Parameters
    ----------
    sample : n strings; of a sample of more than 32 Mi characters, a random subset that fits is used
    rng : random generator that draws the subset, and seeds the randomized decomposition
    dimensions : d, the number of directions; fewer are returned if the sample spans fewer
    max_features : f, the number of trigrams: those in most texts, ties to the lower code points

    Returns
    -------
    features : (f,) uint64, the trigrams, sorted
    projection : (f, d) float32, idf times direction; (0, ``dimensions``) for a sample of blank texts
    idf : (f,) float32

    Notes
    -----
    Cost: O(m d) time for m distinct trigrams of a text, summed over the texts, in 16 passes; O(m + f d) memory.

    Guarantee: close to the exact decomposition. Of 20,000 texts at d = 256, .999 (short questions, 2.5 s on two cores)
    and .993 (prompts, 13 s) have the nearest neighbor of the exact decomposition; with 2 iterations and an oversampling
    of 10, .938 (1.6 s) and .916 (5.4 s). ``benchmarks/lsa.py`` measures it.

    Deviations: TF-IDF weights instead of raw counts, and trigrams within words instead of words: they match inflected,
    misspelled and unknown words by their parts, and need no vocabulary of any language.

    References
    ----------
    Deerwester et al. (1990), doi:10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9. Halko, Martinsson &
    Tropp (2011), arXiv:0909.4061, algorithms 4.4 and 5.1: the randomized decomposition.

    Examples
    --------
    >>> features, projection, idf = lsa_fit(["a b", "a b", "c"], np.random.default_rng(0), dimensions=8, max_features=9)
    >>> projection.shape  # three trigrams, but only two texts that differ
    (3, 2)
    """
    from scipy import sparse

    sample = _limit_characters(sample, rng)
    blocks = list(map_blocks(lambda rows: trigrams(sample[rows]), text_blocks(sample)))
    features, document_counts = _most_frequent(blocks, max_features)
    if not len(features):
        return features, np.empty((0, dimensions), np.float32), np.empty(0, np.float32)
    idf = (1 + np.log((1 + len(sample)) / (1 + document_counts))).astype(np.float32)
    index = HashIndex.from_keys(features)
    texts = sparse.vstack(list(map_blocks(lambda block: _weights(*block, index), blocks)), format="csr")
    texts.data *= idf[texts.indices]
    texts.data /= np.repeat(np.sqrt(texts.power(2).sum(axis=1)), np.diff(texts.indptr))
    values, directions = _truncated_svd(texts, dimensions, int(rng.integers(2**31)))
    significant = values > _NEGLIGIBLE * values[0]
    return features, np.ascontiguousarray(directions[significant].T * idf[:, None], dtype=np.float32), idf


def lsa_encode(texts: Sequence[str], index: HashIndex, projection: Matrix) -> Matrix:
    """Project texts on the directions of ``lsa_fit``.

    A text without any known trigram gets its signed hash instead: such texts are compared by spelling, and only a blank
    text has a zero vector.

    Parameters
    ----------
    texts : n strings
    index : index of the f features
    projection : (f, d) float32

    Returns
    -------
    (n, d) float32, of any length

    Notes
    -----
    Cost: O(m d) for m distinct trigrams of a text, summed over the texts; O(f + n d) memory.

    Guarantee: the vector of a text does not depend, in any bit, on the other texts or on the number of threads.
    """
    vectors = np.empty((len(texts), projection.shape[1]), np.float32)

    def encode(rows: slice) -> None:
        grams, offsets = trigrams(texts[rows])
        weights = _weights(grams, offsets, index)
        vectors[rows] = weights @ projection
        unknown_texts = np.flatnonzero(np.diff(weights.indptr) == 0)
        if len(unknown_texts):
            vectors[rows][unknown_texts] = signed_hashing(grams, offsets, projection.shape[1])[unknown_texts]

    for _ in map_blocks(encode, text_blocks(texts)):
        pass
    return vectors


def lsa_fidelity(texts: Sequence[str], index: HashIndex, projection: Matrix, idf: Vector) -> Vector:
    """Compute the share of each text that the directions of ``lsa_fit`` express.

    It is the squared length of a text's projection as a share of that of its TF-IDF vector, in which an unknown trigram
    counts as the rarest feature. It is lower for texts on other topics than the fitted ones, and for texts with other
    trigrams.

    Parameters
    ----------
    texts : n strings
    index, projection : as for ``lsa_encode``
    idf : (f,) float32

    Returns
    -------
    (n,) float32 in [0, 1]; 0 for a blank text

    Notes
    -----
    Cost: as ``lsa_encode``.
    """
    fidelity = np.zeros(len(texts), np.float32)
    rarest = float(idf.max(initial=1))

    def measure(rows: slice) -> None:
        grams, offsets = trigrams(texts[rows])
        weights = _weights(grams, offsets, index)
        n_unknown = np.bincount(text_of_each(offsets)[index.find(grams) < 0], minlength=weights.shape[0])
        total = np.asarray(weights.multiply(idf).power(2).sum(axis=1)).ravel() + n_unknown * rarest**2
        projected = np.square(weights @ projection).sum(axis=1)
        fidelity[rows] = np.divide(projected, total, out=np.zeros(len(total)), where=total > 0)

    for _ in map_blocks(measure, text_blocks(texts)):
        pass
    return np.clip(fidelity, 0, 1)


def _truncated_svd(matrix: sparse.csr_array, count: int, seed: int) -> tuple[Vector, Matrix]:
    """Compute the ``count`` leading singular values and right singular vectors; exact for small matrices."""
    if min(matrix.shape) <= count:
        with one_blas_thread():
            _, values, directions = np.linalg.svd(matrix.toarray(), full_matrices=False)
        return values, directions
    oversampling = max(_OVERSAMPLING, count // 2)
    return randomized_svd(matrix, count, n_oversamples=oversampling, n_iter=_POWER_ITERATIONS, seed=seed)


def _limit_characters(sample: Sequence[str], rng: np.random.Generator) -> Sequence[str]:
    """Return the sample, or a random subset, in order, of at most ``_FIT_CHARACTERS`` characters."""
    if sum(map(len, sample)) <= _FIT_CHARACTERS:
        return sample
    order = rng.permutation(len(sample)).tolist()
    sizes = accumulate(len(sample[i]) for i in order)
    count = max(1, sum(size <= _FIT_CHARACTERS for size in sizes))
    return [sample[i] for i in sorted(order[:count])]


def _most_frequent(blocks: list[tuple[Hashes, Positions]], max_features: int) -> tuple[Hashes, Counts]:
    """Return the trigrams in most texts, sorted, and the number of texts of each."""
    counts_by_block = list(map_blocks(lambda block: _document_counts(*block), blocks))
    empty = np.empty(0, np.uint64)
    features, positions = np.unique(
        np.concatenate([empty, *(grams for grams, _ in counts_by_block)]), return_inverse=True
    )
    document_counts = np.zeros(len(features), np.int64)
    np.add.at(
        document_counts, positions, np.concatenate([empty, *(counts for _, counts in counts_by_block)]).astype(np.int64)
    )
    selected = np.sort(np.argsort(-document_counts, kind="stable")[:max_features])
    return features[selected], document_counts[selected]


def _document_counts(grams: Hashes, offsets: Positions) -> tuple[Hashes, Counts]:
    """Return the distinct trigrams of a block, sorted, and the number of texts of each."""
    features, positions = np.unique(grams, return_inverse=True)
    pairs = np.unique(text_of_each(offsets) * len(features) + positions)
    return features, np.bincount(pairs % max(len(features), 1), minlength=len(features))


def _weights(grams: Hashes, offsets: Positions, index: HashIndex) -> sparse.csr_array:
    """Compute 1 + ln(count) of the features in each text; (n, f) float32, columns ascending."""
    from scipy import sparse

    n, f = len(offsets) - 1, len(index)
    positions = index.find(grams)
    is_known = positions >= 0
    pairs = np.sort(text_of_each(offsets)[is_known] * f + positions[is_known])
    pair_starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    counts = np.diff(pair_starts, append=len(pairs))
    pairs = pairs[pair_starts]
    rows = np.searchsorted(pairs, np.arange(n + 1) * f)
    weights = 1 + np.log(counts.astype(np.float32))
    columns = (pairs % max(f, 1)).astype(np.int32)
    return sparse.csr_array((weights, columns, rows.astype(np.int32)), shape=(n, f))


@embedder(version=2, fits=True, fidelity=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Lsa:
    """Latent semantic analysis: TF-IDF of character trigrams, then truncated SVD.

    Use it for any language when no model can be downloaded, on machines without a GPU: it is fast, and good at
    near-duplicates and topics. ``sentence_transformers`` is better at paraphrases.

    Texts are similar if they share parts of words that distinguish texts of this pool, or words that occur with them.
    The embedder is fitted on a sample of the pool, then frozen.

    References
    ----------
    Deerwester et al. (1990), doi:10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9.
    Halko, Martinsson & Tropp (2011), arXiv:0909.4061.
    """

    dimensions: Annotated[int, Ge(1), Le(1024)] = 256
    """Length of the vectors; shorter if the sample has fewer distinct texts or trigrams."""

    max_features: Annotated[int, Ge(1), Le(1 << 24)] = 65_536
    """Number of trigrams, the most frequent first; memory is 4 bytes × ``dimensions`` for each."""

    sample_size: Annotated[int, Ge(1)] = 20_000
    """Number of texts to fit on; fewer if they have more than 32 Mi characters in total."""

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> FittedState:
        arrays = lsa_fit(sample, rng, dimensions=self.dimensions, max_features=self.max_features)
        return dict(zip(("features", "projection", "idf"), arrays, strict=True))

    def restore(self, state: FittedState) -> Embedder:
        return FittedLsa(HashIndex.from_keys(state["features"]), state["projection"], state["idf"])


@dataclass(frozen=True, slots=True)
class FittedLsa:
    """Fitted ``Lsa``, ready to encode."""

    index: HashIndex
    projection: Matrix
    idf: Vector

    def encode(self, texts: Sequence[str]) -> Matrix:
        return lsa_encode(texts, self.index, self.projection)

    def fidelity(self, texts: Sequence[str]) -> Vector:
        return lsa_fidelity(texts, self.index, self.projection, self.idf)
