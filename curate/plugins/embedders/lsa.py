"""Latent semantic analysis: TF-IDF vectors of character trigrams, projected on their leading singular directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.neighbors.hash_index import HashIndex
from curate.kernels.parallel import map_blocks, one_blas_thread
from curate.kernels.text.char_ngrams import signed_hashing, text_blocks, text_of_each, trigrams
from curate.kernels.types import Counts, FittedState, Hashes, Matrix, Positions, Vector
from curate.plugins.interfaces import Embedder, embedder

if TYPE_CHECKING:
    from scipy import sparse

_FIT_CHARACTERS = 1 << 25  # 32 Mi; about 60,000 documents of 90 words, and half a gigabyte of memory
_POWER_ITERATIONS = 7
_OVERSAMPLING = 64  # directions that are searched besides those that are kept, or half as many as those if that is more
_NEGLIGIBLE = 1e-5  # singular values below this share of the first are rounding noise in float32


def lsa_fit(
    sample: Sequence[str], rng: np.random.Generator, *, dimensions: int, max_features: int
) -> tuple[Hashes, Matrix, Vector]:
    """Learn which trigrams a corpus has, and the directions in which its texts differ most.

    Text i is the vector with (1 + ln count) · idf for each trigram that occurs in it, scaled to unit length; idf is
    1 + ln((1 + n) / (1 + number of texts with the trigram)). The directions are the leading right singular vectors of
    the matrix of all texts.

    Parameters
    ----------
    sample : n strings; of a sample of more than 32 Mi characters, as many texts as fit are taken, at random
    rng : picks those, and starts the randomised decomposition
    dimensions : d, the number of directions; fewer come back where the sample spans fewer
    max_features : f, the number of trigrams to know: those in most texts, ties to the lower code points

    Returns
    -------
    features : (f,) uint64, the trigrams, sorted
    projection : (f, d) float32, idf times direction; (0, ``dimensions``) for a sample of blank texts
    idf : (f,) float32

    Cost: O(m d) time for m different trigrams of a text, summed over the texts, in 16 passes; O(m + f d) memory.
    Guarantee: near the exact decomposition. Of 20,000 texts at d = 256, .999 (short questions, 2.5 s on two cores) and
    .993 (prompts, 13 s) have the nearest neighbor that the exact one gives; with 2 iterations and an oversampling of
    10, .938 (1.6 s) and .916 (5.4 s). ``benchmarks/lsa.py`` measures it.

    References
    ----------
    Deerwester et al. (1990), doi:10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9.
    Halko, Martinsson & Tropp (2011), arXiv:0909.4061, algorithms 4.4 and 5.1: the randomised decomposition.

    Deviations: TF-IDF weights in place of raw counts, and trigrams within words in place of words: they match
    inflected, misspelt and unknown words by their parts, and need no list of words for any language.

    >>> features, projection, idf = lsa_fit(["a b", "a b", "c"], np.random.default_rng(0), dimensions=8, max_features=9)
    >>> projection.shape  # three trigrams, but only two texts that differ
    (3, 2)
    """
    from scipy import sparse

    sample = _affordable(sample, rng)
    blocks = list(map_blocks(lambda rows: trigrams(sample[rows]), text_blocks(sample)))
    features, documents = _most_frequent(blocks, max_features)
    if not len(features):
        return features, np.empty((0, dimensions), np.float32), np.empty(0, np.float32)
    idf = (1 + np.log((1 + len(sample)) / (1 + documents))).astype(np.float32)
    index = HashIndex.from_keys(features)
    texts = sparse.vstack(list(map_blocks(lambda block: _weights(*block, index), blocks)), format="csr")
    texts.data *= idf[texts.indices]
    texts.data /= np.repeat(np.sqrt(texts.power(2).sum(axis=1)), np.diff(texts.indptr))
    values, directions = _singular(texts, dimensions, int(rng.integers(2**31)))
    kept = values > _NEGLIGIBLE * values[0]
    return features, np.ascontiguousarray(directions[kept].T * idf[:, None], dtype=np.float32), idf


def lsa_encode(texts: Sequence[str], index: HashIndex, projection: Matrix) -> Matrix:
    """Project texts on the directions that ``lsa_fit`` found.

    A text none of whose trigrams is a feature gets their signed hash instead: two such texts are as similar as their
    spelling, and only a blank text has a zero vector.

    Parameters
    ----------
    texts : n strings
    index : of the f features
    projection : (f, d) float32

    Returns
    -------
    (n, d) float32, of any length

    Cost: O(m d) for m different trigrams of a text, summed over the texts; O(f + n d) memory. Guarantee: a text's
    vector does not depend, in any bit, on the texts beside it or on the number of threads.
    """
    vectors = np.empty((len(texts), projection.shape[1]), np.float32)

    def encode(rows: slice) -> None:
        grams, offsets = trigrams(texts[rows])
        weights = _weights(grams, offsets, index)
        vectors[rows] = weights @ projection
        unknown = np.flatnonzero(np.diff(weights.indptr) == 0)
        if len(unknown):
            vectors[rows][unknown] = signed_hashing(grams, offsets, projection.shape[1])[unknown]

    for _ in map_blocks(encode, text_blocks(texts)):
        pass
    return vectors


def lsa_fidelity(texts: Sequence[str], index: HashIndex, projection: Matrix, idf: Vector) -> Vector:
    """How much of each text the directions that ``lsa_fit`` found express.

    The squared length of a text's projection as a share of that of its TF-IDF vector, in which a trigram that is no
    feature counts as the rarest feature does: so it falls where texts are about something else than those of the fit,
    and where they are written with other trigrams.

    Parameters
    ----------
    texts : n strings
    index, projection : as for ``lsa_encode``
    idf : (f,) float32

    Returns
    -------
    (n,) float32 in [0, 1]; 0 for a blank text

    Cost: as ``lsa_encode``.
    """
    expressed = np.zeros(len(texts), np.float32)
    rarest = float(idf.max(initial=1))

    def measure(rows: slice) -> None:
        grams, offsets = trigrams(texts[rows])
        weights = _weights(grams, offsets, index)
        unknown = np.bincount(text_of_each(offsets)[index.find(grams) < 0], minlength=weights.shape[0])
        whole = np.asarray(weights.multiply(idf).power(2).sum(axis=1)).ravel() + unknown * rarest**2
        kept = np.square(weights @ projection).sum(axis=1)
        expressed[rows] = np.divide(kept, whole, out=np.zeros(len(whole)), where=whole > 0)

    for _ in map_blocks(measure, text_blocks(texts)):
        pass
    return np.clip(expressed, 0, 1)


def _singular(matrix: sparse.csr_array, count: int, seed: int) -> tuple[Vector, Matrix]:
    """The leading singular values and right singular vectors; exact where the matrix has no more than ``count``."""
    from sklearn.utils.extmath import randomized_svd

    with one_blas_thread():
        if min(matrix.shape) <= count:
            _, values, directions = np.linalg.svd(matrix.toarray(), full_matrices=False)
        else:
            oversampling = max(_OVERSAMPLING, count // 2)
            _, values, directions = randomized_svd(
                matrix, count, n_iter=_POWER_ITERATIONS, n_oversamples=oversampling, random_state=seed
            )
    return values, directions


def _affordable(sample: Sequence[str], rng: np.random.Generator) -> Sequence[str]:
    """The sample, or as many of its texts, picked at random but in its order, as have ``_FIT_CHARACTERS`` together."""
    if sum(map(len, sample)) <= _FIT_CHARACTERS:
        return sample
    order = rng.permutation(len(sample)).tolist()
    sizes = accumulate(len(sample[i]) for i in order)
    count = max(1, sum(size <= _FIT_CHARACTERS for size in sizes))
    return [sample[i] for i in sorted(order[:count])]


def _most_frequent(blocks: list[tuple[Hashes, Positions]], max_features: int) -> tuple[Hashes, Counts]:
    """The trigrams in most texts, sorted, and in how many texts each is."""
    found = list(map_blocks(lambda block: _document_counts(*block), blocks))
    empty = np.empty(0, np.uint64)
    features, place = np.unique(np.concatenate([empty, *(grams for grams, _ in found)]), return_inverse=True)
    documents = np.zeros(len(features), np.int64)
    np.add.at(documents, place, np.concatenate([empty, *(counts for _, counts in found)]).astype(np.int64))
    kept = np.sort(np.argsort(-documents, kind="stable")[:max_features])
    return features[kept], documents[kept]


def _document_counts(grams: Hashes, offsets: Positions) -> tuple[Hashes, Counts]:
    """The different trigrams of a block, sorted, and in how many of its texts each is."""
    features, place = np.unique(grams, return_inverse=True)
    pairs = np.unique(text_of_each(offsets) * len(features) + place)
    return features, np.bincount(pairs % max(len(features), 1), minlength=len(features))


def _weights(grams: Hashes, offsets: Positions, index: HashIndex) -> sparse.csr_array:
    """(n, f) float32: 1 + ln(count) of the features that occur in each text, columns in ascending order."""
    from scipy import sparse

    n, f = len(offsets) - 1, len(index)
    places = index.find(grams)
    known = places >= 0
    pairs = np.sort(text_of_each(offsets)[known] * f + places[known])
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    counts = np.diff(first, append=len(pairs))
    pairs = pairs[first]
    rows = np.searchsorted(pairs, np.arange(n + 1) * f)
    weights = 1 + np.log(counts.astype(np.float32))
    columns = (pairs % max(f, 1)).astype(np.int32)
    return sparse.csr_array((weights, columns, rows.astype(np.int32)), shape=(n, f))


@embedder(version=2, fits=True, fidelity=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Lsa:
    """Latent semantic analysis (TF-IDF of character trigrams, then truncated SVD): no download, no GPU, any language.

    Texts are similar where they share the parts of words that set texts of this pool apart, and words that go with
    them. Fitted on a sample of the pool, then frozen.

    References
    ----------
    Deerwester et al. (1990), doi:10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9.
    Halko, Martinsson & Tropp (2011), arXiv:0909.4061.
    """

    dimensions: Annotated[int, Ge(1), Le(1024)] = 256
    """Length of the vectors; shorter where the sample has fewer different texts or trigrams."""

    max_features: Annotated[int, Ge(1), Le(1 << 24)] = 65_536
    """How many trigrams to know, the most widespread first; memory is 4 bytes × ``dimensions`` for each."""

    sample_size: Annotated[int, Ge(1)] = 20_000
    """How many texts of the pool to fit on; fewer of them where they have more than 32 Mi characters together."""

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> FittedState:
        learnt = lsa_fit(sample, rng, dimensions=self.dimensions, max_features=self.max_features)
        return dict(zip(("features", "projection", "idf"), learnt, strict=True))

    def restore(self, state: FittedState) -> Embedder:
        return FittedLsa(HashIndex.from_keys(state["features"]), state["projection"], state["idf"])


@dataclass(frozen=True, slots=True)
class FittedLsa:
    """What ``Lsa.fit`` learnt, ready to encode."""

    index: HashIndex
    projection: Matrix
    idf: Vector

    def encode(self, texts: Sequence[str]) -> Matrix:
        return lsa_encode(texts, self.index, self.projection)

    def fidelity(self, texts: Sequence[str]) -> Vector:
        return lsa_fidelity(texts, self.index, self.projection, self.idf)
