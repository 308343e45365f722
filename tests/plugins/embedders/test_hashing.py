"""The hashing embedder, which is not fitted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.char_ngrams import signed_hashing, trigrams
from curate.plugins.embedders.hashing import Hashing, hashing


@given(st.lists(st.text(), max_size=6), st.integers(1, 9))
def test_vectors_are_the_signed_hashes_of_the_trigrams(texts, dimensions):
    expected = signed_hashing(*trigrams(texts), dimensions)
    assert Hashing(dimensions=dimensions).encode(texts).tobytes() == expected.tobytes()


def test_texts_that_share_spelling_are_more_similar():
    base, near, far = hashing(
        ["a recipe for apple cake", "recipes for apple cakes", "quantum field theory"], dimensions=512
    )

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(base, near) > 0.6
    assert cosine(base, far) < 0.3
