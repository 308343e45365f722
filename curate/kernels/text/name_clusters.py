"""Merging of similar names into the most frequent one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def merge_names(counts: Mapping[str, int], min_similarity: float) -> dict[str, str]:
    """Map names to the most frequent similar name.

    Parameters
    ----------
    counts : number of occurrences of each name
    min_similarity : cosine similarity of the TF-IDF vectors of letter n-grams from which names are merged, in (0, 1]

    Returns
    -------
    the name to use, by name

    Notes
    -----
    Names are visited from the most frequent one; each goes to the most similar kept name, or is kept itself. So a chain
    of similar names is not merged into one, and every name is at least ``min_similarity`` similar to the one it goes
    to. Cost: O(names × kept names), in blocks.

    Examples
    --------
    >>> merge_names({"linear equations": 3, "linear equation": 1, "poetry": 1}, 0.8)
    {'linear equations': 'linear equations', 'linear equation': 'linear equations', 'poetry': 'poetry'}
    """
    names = sorted(counts, key=lambda name: (-counts[name], name))
    if min_similarity >= 1 or len(names) < 2:
        return {name: name for name in names}
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)).fit_transform(names).tocsr()
    kept: list[int] = []
    merged: dict[str, str] = {}
    for number, name in enumerate(names):
        if kept:
            similarity = (vectors[kept] @ vectors[number].T).toarray().ravel()
            nearest = int(np.argmax(similarity))
            if similarity[nearest] >= min_similarity:
                merged[name] = names[kept[nearest]]
                continue
        kept.append(number)
        merged[name] = name
    return merged
