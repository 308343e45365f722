"""DEITA's ratings: complexity of a prompt times quality of its response, by a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import MinLen

from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Matrix, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import ContentPath, OutputColumn, scorer
from curate.plugins.language_models import AnswerRequest, ModelRequest
from curate.plugins.questions import read_question

GRADES = ("1", "2", "3", "4", "5", "6")

COMPLEXITY = """Rate how complex this request of a user is, from 1 for a trivial one to 6 for one that needs expert \
knowledge, several steps or many constraints. Answer with the digit only.

Request:
{prompt}"""

QUALITY = """Rate how well the response answers the request, from 1 for wrong, useless or harmful to 6 for correct, \
complete, clear and helpful. Answer with the digit only.

Request:
{prompt}

Response:
{response}"""


def expected_grade(logs: Matrix) -> Vector:
    """Compute the expected grade from the logarithms of the probabilities of the grades 1, 2, …, g.

    The probabilities are normalized over the grades, so logits give the same result.

    Parameters
    ----------
    logs : (n, g) float32

    Returns
    -------
    (n,) float32, in [1, g]; NaN where an input is NaN

    Examples
    --------
    >>> expected_grade(np.log(np.float32([[0.5, 0.25, 0.25], [0.1, 0.1, 0.2]]))).tolist()
    [1.75, 2.25]
    """
    grades = np.arange(1, logs.shape[1] + 1)
    expected: Vector = (softmax(logs).astype(np.float64) @ grades).astype(np.float32)
    return expected


_RANGE = (1.0, float(len(GRADES)))


@scorer(
    version=1,
    reads={"model"},
    columns=(
        OutputColumn(
            higher_is_better=True, unit="grade", range=(1.0, _RANGE[1] ** 2), higher_means="more complex and better"
        ),
        OutputColumn(
            name="complexity", higher_is_better=True, unit="grade", range=_RANGE, higher_means="a more complex prompt"
        ),
        OutputColumn(
            name="quality", higher_is_better=True, unit="grade", range=_RANGE, higher_means="a better response"
        ),
    ),
    cost="two passes of the models over each row",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DeitaRating:
    """DEITA's ratings of instruction data: complexity of the prompt times quality of the response.

    Use it with the selector ``deita``, which keeps the best rated rows that differ from each other. Each rating is the
    expected grade from 1 to 6 over the probabilities of the six digits.

    DEITA has a model for each of the two ratings, which know only the questions that they were trained on: name the
    models, and put their questions into files. Any instruction model answers the default questions, which are our own
    wording. Differences: only the last turn of a chat is rated, with the messages before it as its prompt, while DEITA
    adds up all turns; a row that cannot be rated, such as one without a prompt, is NaN, not 3.

    References
    ----------
    Liu et al. (2024), arXiv:2312.15685.
    """

    complexity_model: str | None = None
    """Name of the model entry that rates complexity; the first by default."""

    quality_model: str | None = None
    """Name of the model entry that rates quality; the first by default."""

    complexity_question: Annotated[str, MinLen(1), ContentPath()] | None = None
    """Path of a file with the question about complexity, with {prompt} in place of the prompt; null: our own."""

    quality_question: Annotated[str, MinLen(1), ContentPath()] | None = None
    """Path of a file with the question about quality, with {prompt} and {response}; null: our own."""

    def requests(self) -> tuple[ModelRequest, ...]:
        complexity = read_question(self.complexity_question, COMPLEXITY)
        quality = read_question(self.quality_question, QUALITY)
        return (
            ModelRequest(
                AnswerRequest(label="deita_complexity", question=complexity, answers=GRADES), self.complexity_model
            ),
            ModelRequest(AnswerRequest(label="deita_quality", question=quality, answers=GRADES), self.quality_model),
        )

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - interface
        complexity, quality = (expected_grade(one["log_probabilities"]) for one in require(batch.outputs))
        return np.stack([complexity * quality, complexity, quality], axis=1)
