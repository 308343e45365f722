"""Names of clusters, made of the words that distinguish their texts."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

from curate.kernels.text.word_tokens import split_words
from curate.kernels.types import Codes

TERMS = 3
"""Number of words in the name of a cluster."""

_COMMON = 0.2
"""Share of clusters above which a word that is frequent in them is not used in names."""

_OFTEN = 0.1
"""Share of a cluster's texts above which a word is frequent in the cluster."""

_PUNCTUATION = re.compile(r"[!-/:-@\[-^`{-~]+")
_CHARACTERS = 600
_SHORTEST, _LONGEST = 3, 24
_FEWEST = 2


def top_terms(texts: Sequence[str], clusters: Codes) -> dict[int, tuple[str, ...]]:
    """Return the most distinctive words of each cluster, best first; clusters without such words are omitted.

    Parameters
    ----------
    texts : sequence of str
        Texts of a sample of each cluster.
    clusters : ndarray of int of shape (n,)
        Cluster of each text.

    Returns
    -------
    dict
        Words by cluster.

    Notes
    -----
    A word counts once per text. Words are ranked by p log(p / q), where p is the share of the cluster's texts that
    contain the word, and q the share of all texts: the cluster's term in the Kullback-Leibler divergence. Words that
    are frequent in a fifth of the clusters are excluded, and so are words with the same beginning as a better one.

    Examples
    --------
    >>> import numpy as np
    >>> top_terms(["rye bread", "the bread", "the tide", "ebb tide"], np.array([0, 0, 1, 1]))
    {0: ('bread',), 1: ('tide',)}
    """
    terms_by_text = [_terms(text) for text in texts]
    everywhere = Counter(term for terms in terms_by_text for term in terms)
    counts, sizes = dict[int, Counter[str]](), Counter(clusters.tolist())
    for terms, cluster in zip(terms_by_text, clusters.tolist(), strict=True):
        counts.setdefault(cluster, Counter()).update(terms)
    common = Counter(
        term
        for cluster, cluster_counts in counts.items()
        for term, number in cluster_counts.items()
        if number >= _OFTEN * sizes[cluster]
    )
    max_clusters = max(1.0, _COMMON * len(counts))
    names: dict[int, tuple[str, ...]] = {}
    for cluster, cluster_counts in sorted(counts.items()):
        scores: dict[str, float] = {}
        for term, number in cluster_counts.items():
            p, q = number / sizes[cluster], everywhere[term] / len(terms_by_text)
            if number >= _FEWEST and p > q and common[term] <= max_clusters:
                scores[term] = p * math.log(p / q)
        if terms_of := _distinct(sorted(scores, key=lambda term: (-scores[term], term))):
            names[cluster] = terms_of
    return names


def _distinct(ranked: Sequence[str]) -> tuple[str, ...]:
    chosen: list[str] = []
    for term in ranked:
        if len(chosen) == TERMS:
            break
        if not any(term.startswith(other[:4]) and other.startswith(term[:4]) for other in chosen):
            chosen.append(term)
    return tuple(chosen)


def _terms(text: str) -> set[str]:
    """Return candidate terms from the beginning of a text: words, or pairs of characters in scripts without spaces."""
    tokens = split_words(_PUNCTUATION.sub(" ", text[:_CHARACTERS]).lower())
    terms = {token for token in tokens if _SHORTEST <= len(token) <= _LONGEST and any(map(str.isalpha, token))}
    return terms | {one + other for one, other in itertools.pairwise(tokens) if _unspaced(one, other)}


def _unspaced(one: str, other: str) -> bool:
    return len(one) == len(other) == 1 and not (one + other).isascii() and (one + other).isalpha()
