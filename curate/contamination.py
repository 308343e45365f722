"""Evaluation sets and the rows of the pool that match one of their texts, as stages find, store and show them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Texts that must not be trained on, and how many of them the pool had."""

    name: str
    files: tuple[tuple[str, str], ...]
    """Path and sha256."""

    texts: int
    empty: int
    """Rows without a text, besides."""

    short: int
    """Texts that were not compared by words, as they have too few."""

    found: int
    """Texts that some row has enough words of, or that some row's embedding is the most similar to."""

    rows: int
    """Rows of the pool that were dropped for the set, or would have been for it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Evaluation text of a set that a row has most in common with."""

    set: str
    """Name of the evaluation set."""

    file: str
    line: int
    similarity: float | None
    """Share of the evaluation text's runs of words that the row has, or the cosine of their embeddings."""

    shared: str | None
    """Longest run of words that both have; None where their embeddings are similar."""

    text: str
    """The evaluation text."""
