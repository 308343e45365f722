"""Signed feature hashing of character trigrams."""

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
    """Hash texts into vectors whose inner product estimates that of their trigram counts.

    Parameters
    ----------
    texts : n strings
    dimensions : d

    Returns
    -------
    (n, d) float32, integers; zero for a blank text

    Notes
    -----
    Cost: O(characters + n d) time, O(n d) memory.

    Guarantee: the same text has the same vector in every process and on every machine, whatever the other texts; the
    inner product is unbiased, with variance O(1 / d).

    Deviations: a text whose trigrams all cancel out is hashed without signs, so that its vector is not zero.

    References
    ----------
    Weinberger et al. (2009), arXiv:0902.2206, section 3.

    Examples
    --------
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
    """Signed hashes of character trigrams: fast, without fitted state or download.

    Use it for tests, and for pools processed independently, where no sample can be shared. Texts are similar if they
    share spelling, and every trigram has the same weight; ``lsa`` is better for real work.

    References
    ----------
    Weinberger et al. (2009), arXiv:0902.2206.
    """

    dimensions: Annotated[int, Ge(1), Le(65_536)] = 256
    """Length of the vectors."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        return hashing(texts, dimensions=self.dimensions)
