"""MASS: importance of the skills that a row resembles, from a graph of skills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from curate.errors import DataError
from curate.kernels.text.skill_graph import Normalization, SkillGraph, graph_scores
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ColumnName, OutputColumn, scorer
from curate.plugins.results import Scores


@scorer(
    version=1,
    reads={"embedding", "column"},
    within="corpus",
    columns=(
        OutputColumn(
            higher_is_better=True, unit="weighted similarity", range=(0, np.inf), higher_means="more important skills"
        ),
    ),
    example={"column": "skills"},
    cost="O(n v d) for v skills",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SkillGraphScore:
    """MASS: similarity of a row to skills that many rows need, alone and together with other skills.

    Some rows have a list of skills in a column, such as that of the annotator ``skills`` with a ``sample_size``. They
    form a graph: the weight of a skill is the number of rows that have it, that of a pair the number of rows that have
    both. A row scores the sum of its similarities to all skills, each times the weights of the skill and its pairs.
    Keep the best third to half with ``top_k``, as published. The score favors frequent skills, also in a pool that has
    too many of them: compare with a random selection.

    The vector of a skill is the mean direction of the embeddings of the rows that have it.

    Notes
    -----
    Deviations: skills are compared by the rows that have them, where the paper embeds their names; the reference set
    are rows of the pool. The paper states neither the normalization nor a threshold.

    References
    ----------
    Li et al. (2025), "MASS: Mathematical Data Selection via Skill Graphs for Pretraining Large Language Models",
    arXiv:2503.14917.
    """

    column: ColumnName
    """Column with a list of skills; null for rows without one."""

    normalization: Normalization = "log"
    """Weights: the numbers of rows divided by the largest (``max``), or the same of ln(1 + number) (``log``)."""

    min_rows: Annotated[int, Ge(1)] = 1
    """Number of rows that a skill needs; rarer ones are left out."""

    min_similarity: Annotated[float, Ge(0), Le(1)] = 0.0
    """Similarities below it count as 0."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:  # noqa: ARG002 - nothing is drawn
        values = require(batch.column)
        skills = [self._check(value) for value in values]
        graph = SkillGraph.from_lists(skills, self.min_rows)
        if not graph.names:
            message = f"skill_graph: column {self.column!r} has no skill of {self.min_rows} rows"
            raise DataError(message, hint="lower min_rows, or add the annotator skills")
        x = require(batch.embeddings)
        adjacency = graph.adjacency(self.normalization)
        facts = {
            "skills": float(len(graph.names)),
            "pairs": float((adjacency.nnz - len(graph.names)) // 2),
            "rows": float(sum(bool(one) for one in skills)),
        }
        return Scores(graph_scores(x, graph.centroids(x), adjacency, self.min_similarity), facts=facts)

    def _check(self, value: object) -> list[str]:
        """Return a list of skills.

        Raises
        ------
        DataError
            The value is no list of strings.
        """
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value if one is not None):
            message = f"skill_graph: column {self.column!r} has {value!r:.60}, but must have lists of strings"
            raise DataError(message, hint="name the column that an annotator skills writes")
        return [one for one in value if one]
