"""Evaluation sets, and the pool rows that overlap one of their texts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Evaluation set, and how much of it was found in the pool."""

    name: str
    files: tuple[tuple[str, str], ...]
    """Path and sha256 of each file."""

    texts: int
    empty: int
    """Number of additional rows without a text."""

    short: int
    """Number of texts with too few words for the comparison by n-grams."""

    found: int
    """Number of texts that overlap a pool row, or whose embedding is the most similar one to a dropped row."""

    rows: int
    """Number of pool rows that overlap this set; a row may overlap several sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Evaluation text that overlaps most with a pool row."""

    set: str
    """Name of the evaluation set."""

    file: str
    line: int
    similarity: float | None
    """Share of the evaluation text's n-grams that the row contains, or the cosine similarity of the embeddings."""

    shared: str | None
    """Longest run of words that both texts contain; None for a match by embeddings."""

    text: str
    """Evaluation text."""
