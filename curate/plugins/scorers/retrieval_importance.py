"""Importance of the rows of a retrieval corpus for the answers of its application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen

from curate.kernels.types import Matrix
from curate.kernels.valuation.retrieval_importance import retrieval_importance
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ConfigReference, ContentPath, ExistingFiles, OutputColumn, scorer


@scorer(
    version=1,
    reads={"retrievals", "group"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True, unit="probability of existence", range=(0, 1), higher_means="improves the answers"
        ),
        OutputColumn(
            name="queries",
            higher_is_better=True,
            unit="queries",
            range=(0, float("inf")),
            higher_means="retrieved more often",
        ),
    ),
    example={"files": "retrievals.jsonl"},
    cost="O(s r k) for s steps, r retrievals and k rows that a query reads",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalImportance:
    """Importance of a row of a retrieval corpus: the probability with which it should exist.

    Use it to prune a corpus for retrieval-augmented generation, or to weigh its rows, with a log of the queries of a
    validation set. Rows above 0.5 improve the answers. Rows below 0.5 make them worse, because they displace rows
    that would answer better: drop those, or multiply similarities by the score.

    A line of the log has the columns ``query`` (any name), ``id`` (of a row of the pool), ``rank`` (1 = most similar)
    or else ``similarity``, and ``utility``: what an answer from this row alone is worth, such as 1 if it is correct
    and 0 if not. Log more rows for each query than the application reads, so that it is known what moves up when a
    row is dropped: several times ``top_k``. Rows of the log that are not in the pool are left out.

    ``retrieval_importance_queries`` is the number of queries that retrieved the row. A row that no query retrieved
    keeps 0.5, unless its ``group`` moves: nothing is known about it.

    Notes
    -----
    Cost: O(steps r k) time for r lines of the log.

    The probabilities maximize the expected utility of the corpus in which every row exists with its probability, by
    projected gradient ascent. The utility of a query is the sum of the utilities of the first K existing rows, divided
    by K. The gradient is exact up to ``tolerance``.

    Deviations: the gradient of a row is averaged over the queries that retrieved it, so that the length of a step does
    not depend on the number of queries. Utilities are not rounded.

    References
    ----------
    Lyu et al. (2023), Improving Retrieval-Augmented Large Language Models via Data Importance Learning,
    arXiv:2307.03027.
    """

    files: Annotated[str, MinLen(1), ContentPath(), ExistingFiles()]
    """Log file, or a glob pattern such as "logs/*.jsonl": JSONL, CSV, TSV or Parquet."""

    top_k: Annotated[int, Ge(1), Le(1_000)] = 10
    """Number of rows that the application reads for each query, K."""

    group: Annotated[str, MinLen(1), ConfigReference("group")] | None = None
    """Rows with the same value in this column share one importance, such as the pages of a domain: a column of the
    input, cluster, label or source. By default, every row has its own."""

    steps: Annotated[int, Ge(1), Le(10_000)] = 50
    """Number of steps of the ascent. One step gives the order of the gradients; many separate good from bad rows."""

    step_size: Annotated[float, Gt(0), Le(1_000)] = 0.1
    """Length of a step, in units of the gradient. Gradients shrink as ``top_k`` grows."""

    tolerance: Annotated[float, Ge(0), Lt(1)] = 0.001
    """Probability that is neglected: the end of a list, which is read only if nearly all rows before it are missing, is
    not processed. The error of a gradient is at most this number divided by ``top_k``, for utilities from 0 to 1."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        log = require(batch.retrievals)
        probabilities = retrieval_importance(
            log.rows,
            log.starts,
            log.utility,
            log.n,
            k=self.top_k,
            steps=self.steps,
            step_size=self.step_size,
            tolerance=self.tolerance,
            groups=batch.groups,
        )
        queries = np.bincount(log.rows, minlength=log.n)
        return np.stack([probabilities, queries], axis=1).astype(np.float32)
