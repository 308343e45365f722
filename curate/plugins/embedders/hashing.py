"""Signed feature hashing of character trigrams: vectors without anything to learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.parallel import map_blocks
from curate.kernels.text.char_ngrams import signed_hashing, text_blocks, trigrams
from curate.kernels.types import Matrix
from curate.plugins.interfaces import embedder


def hashing(texts: Sequence[str], *, dimensions: int) -> Matrix:
    """Vectors whose inner product estimates that of the texts' trigram counts.

    Parameters
    ----------
    texts : n strings
    dimensions : d

    Returns
    -------
    (n, d) float32, whole numbers; zero for a blank text

    Cost: O(characters + n d) time, O(n d) memory. Guarantee: the same vector for the same text in every process, on
    every machine, beside any other texts; the inner product is unbiased, with variance O(1 / d).

    References
    ----------
    Weinberger et al. (2009), arXiv:0902.2206, section 3.

    Deviations: a text whose trigrams all cancel out is hashed without signs, so that its vector is not zero.

    >>> hashing(["go", "Go "], dimensions=4).tolist()
    [[0.0, 0.0, -1.0, 1.0], [0.0, 0.0, -1.0, 1.0]]
    """
    vectors = np.empty((len(texts), dimensions), np.float32)

    def encode(rows: slice) -> None:
        vectors[rows] = signed_hashing(*trigrams(texts[rows]), dimensions)

    for _ in map_blocks(encode, text_blocks(texts)):
        pass
    return vectors


@embedder(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """Signed hashes of character trigrams: fast and stateless, for tests and for pools that share no sample.

    Texts are similar where they share spelling; every trigram counts alike, so prefer ``lsa`` for real work.

    References
    ----------
    Weinberger et al. (2009), arXiv:0902.2206.
    """

    dimensions: Annotated[int, Ge(1), Le(65_536)] = 256
    """Length of the vectors."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        return hashing(texts, dimensions=self.dimensions)
