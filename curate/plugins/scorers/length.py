"""Length of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer


def lengths(texts: Sequence[str]) -> Matrix:
    """Count the characters and words of each text.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    (n, 2) float32, at least 0: characters (Unicode code points, blanks included), and words (runs of characters that
        are not white space; a text in a script without blanks between words counts as one)

    Notes
    -----
    Cost: O(characters).

    Examples
    --------
    >>> lengths(["two words", "", "你好"]).tolist()
    [[9.0, 2.0], [0.0, 0.0], [2.0, 1.0]]
    """
    text = pl.Series(texts, dtype=pl.String).str
    return np.column_stack([text.len_chars().to_numpy(), text.count_matches(r"\S+").to_numpy()]).astype(np.float32)


@scorer(
    version=1,
    reads={"text"},
    columns=(
        OutputColumn(higher_is_better=True, unit="characters", range=(0.0, float("inf")), higher_means="longer"),
        OutputColumn(
            name="words", higher_is_better=True, unit="words", range=(0.0, float("inf")), higher_means="longer"
        ),
    ),
    cost="O(characters)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Number of characters and of words of the text.

    Use it to drop texts that are too short or too long, with ``where``, and as a baseline: on instruction data, keeping
    the longest answers is a baseline that many elaborate scores fail to beat.

    Characters are the main column because they mean the same in every language; tokens belong to one model, and a
    budget in tokens (``keep_tokens``) counts them itself. Longer counts as better.

    References
    ----------
    Zhao, Andriushchenko, Croce & Flammarion (2024), arXiv:2402.04833.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        return lengths(require(batch.texts))
