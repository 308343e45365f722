from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.batches import ScoreBatch, TargetRows
from curate.plugins.scorers.ngram_overlap import NgramOverlap

texts_of_words = st.lists(st.lists(st.sampled_from(["a", "B", "c."]), max_size=6).map(" ".join), min_size=1, max_size=6)


def ngrams(text, n):
    words = text.lower().split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)] or [tuple(words)]


@given(texts=texts_of_words, targets=texts_of_words, n=st.integers(1, 4))
def test_the_share_of_ngrams_that_a_target_row_has(texts, targets, n):
    m = len(targets)
    target = TargetRows(np.zeros((m, 1), np.float32), np.full(m, -1, np.int32), np.zeros(m, np.int32), tuple(targets))
    values = NgramOverlap(ngram_size=n).score(ScoreBatch(texts=texts, target=target), np.random.default_rng(0))
    wanted = {gram for text in targets for gram in ngrams(text, n)}
    expected = [np.mean([gram in wanted for gram in ngrams(text, n)]) for text in texts]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
