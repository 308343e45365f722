"""MASS: importance of the skills that a row resembles, from a graph of skills."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, MinLen

from curate.errors import DataError
from curate.kernels.text.skill_graph import Normalization, SkillGraph, graph_scores
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ColumnName, ContentPath, ExistingFiles, OutputColumn, scorer
from curate.plugins.results import Scores


def read_skills(path: str) -> list[list[str]]:
    """Read the skills of each line of a JSON Lines file.

    Raises
    ------
    DataError
        A line has no list of strings under ``skills``; the error names it.
    """
    skills = []
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)["skills"] if line.strip() else []
            except (ValueError, KeyError, TypeError) as error:
                message = f"skill_graph: the line is no object with a key 'skills': {error!r:.80}"
                raise DataError(message, where=f"{path}:{number}", hint=_LINE) from error
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise DataError("skill_graph: skills is no list of strings", where=f"{path}:{number}", hint=_LINE)
            skills.append(value)
    return skills


_LINE = 'write lines such as {"skills": ["solving linear equations", "unit conversion"]}'


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

    Some rows have a list of skills in a column, such as that of the annotator ``skills`` with a ``sample_size``. They,
    or the rows of a file, form a graph: the weight of a skill is the number of rows that have it, that of a pair the
    number of rows that have both. A row scores the sum of its similarities to all skills, each times the weights of the
    skill and its pairs. Keep the best third to half with ``top_k``, as published. The score favors frequent skills,
    also in a pool that has too many of them: compare with a random selection.

    The vector of a skill is the mean direction of the embeddings of the rows that have it.

    Notes
    -----
    Deviations: skills are compared by the rows that have them, where the paper embeds their names; the reference set
    are rows of the pool or of a file, and skills that no row of the pool has are left out. The paper states neither the
    normalization nor a threshold.

    References
    ----------
    Li et al. (2025), "MASS: Mathematical Data Selection via Skill Graphs for Pretraining Large Language Models",
    arXiv:2503.14917.
    """

    column: ColumnName
    """Column with a list of skills; null for rows without one."""

    normalization: Normalization = "log"
    """Weights: the numbers of rows divided by the largest (``max``), or the same of ln(1 + number) (``log``)."""

    graph: Annotated[str, MinLen(1), ContentPath(), ExistingFiles()] | None = None
    """JSON Lines file with the skills of other rows, a list under ``skills`` in each line, whose graph is used, such as
    those of a collection of problems; by default, that of the column."""

    min_rows: Annotated[int, Ge(1)] = 1
    """Number of rows of the graph that a skill needs; rarer ones are left out."""

    min_similarity: Annotated[float, Ge(0), Le(1)] = 0.0
    """Similarities below it count as 0."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:  # noqa: ARG002 - nothing is drawn
        values = require(batch.column)
        skills = [self._check(value) for value in values]
        own = SkillGraph.from_lists(skills)
        graph = SkillGraph.from_lists(skills if self.graph is None else read_skills(self.graph), self.min_rows)
        known = sorted(set(graph.names) & set(own.names))
        if not known:
            origin = "the pool" if self.graph is None else self.graph
            message = f"skill_graph: column {self.column!r} has no skill that {self.min_rows} rows of {origin} have"
            raise DataError(message, hint="lower min_rows, or add the annotator skills")
        x = require(batch.embeddings)
        vectors = own.take(known).centroids(x)
        adjacency = graph.take(known).adjacency(self.normalization)
        facts = {
            "skills": float(len(known)),
            "pairs": float((adjacency.nnz - len(known)) // 2),
            "rows": float(sum(bool(one) for one in skills)),
        }
        return Scores(graph_scores(x, vectors, adjacency, self.min_similarity), facts=facts)

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
