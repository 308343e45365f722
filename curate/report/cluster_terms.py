"""Names clusters by the words that set their texts apart."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

from curate.kernels.text.word_tokens import split_words
from curate.kernels.types import Codes

TERMS = 3
"""Words in the name of a cluster."""

_COMMON = 0.2
"""Share of the clusters in which a word is common from which it names none of them."""

_OFTEN = 0.1
"""Share of a cluster's texts from which a word is common in it."""

_PUNCTUATION = re.compile(r"[!-/:-@\[-^`{-~]+")
_CHARACTERS = 600
_SHORTEST, _LONGEST = 3, 24
_FEWEST = 2


def top_terms(texts: Sequence[str], clusters: Codes) -> dict[int, tuple[str, ...]]:
    """Return the most telling words of each cluster, best first; nothing of a cluster that no word sets apart.

    Parameters
    ----------
    texts : n strings
        Texts of a sample of each cluster.
    clusters : (n,) int
        The cluster of each text.

    Notes
    -----
    A word counts once a text. Words are ranked by p log(p / q), where p is the share of the cluster's texts that have
    the word, and q that of all texts: a cluster's part of the Kullback-Leibler divergence. Words that are common in a
    fifth of the clusters are left out, and so are words that begin as a better one does.

    Examples
    --------
    >>> import numpy as np
    >>> top_terms(["rye bread", "the bread", "the tide", "ebb tide"], np.array([0, 0, 1, 1]))
    {0: ('bread',), 1: ('tide',)}
    """
    found = [_terms(text) for text in texts]
    everywhere = Counter(term for terms in found for term in terms)
    counts, sizes = dict[int, Counter[str]](), Counter(clusters.tolist())
    for terms, cluster in zip(found, clusters.tolist(), strict=True):
        counts.setdefault(cluster, Counter()).update(terms)
    common = Counter(
        term for cluster, own in counts.items() for term, number in own.items() if number >= _OFTEN * sizes[cluster]
    )
    most = max(1.0, _COMMON * len(counts))
    named: dict[int, tuple[str, ...]] = {}
    for cluster, own in sorted(counts.items()):
        scores: dict[str, float] = {}
        for term, number in own.items():
            p, q = number / sizes[cluster], everywhere[term] / len(found)
            if number >= _FEWEST and p > q and common[term] <= most:
                scores[term] = p * math.log(p / q)
        if terms_of := _distinct(sorted(scores, key=lambda term: (-scores[term], term))):
            named[cluster] = terms_of
    return named


def _distinct(ranked: Sequence[str]) -> tuple[str, ...]:
    chosen: list[str] = []
    for term in ranked:
        if len(chosen) == TERMS:
            break
        if not any(term.startswith(other[:4]) and other.startswith(term[:4]) for other in chosen):
            chosen.append(term)
    return tuple(chosen)


def _terms(text: str) -> set[str]:
    """Return what may name a cluster of a text's beginning: words, or pairs of characters where there are no blanks."""
    tokens = split_words(_PUNCTUATION.sub(" ", text[:_CHARACTERS]).lower())
    terms = {token for token in tokens if _SHORTEST <= len(token) <= _LONGEST and any(map(str.isalpha, token))}
    return terms | {one + other for one, other in itertools.pairwise(tokens) if _unspaced(one, other)}


def _unspaced(one: str, other: str) -> bool:
    return len(one) == len(other) == 1 and not (one + other).isascii() and (one + other).isalpha()
