"""Pointwise V-information of a response: bits that the prompt saves a language model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.language_models import LossRequest, ModelRequest, sum_same_losses


@scorer(
    version=2,
    reads={"model"},
    columns=(OutputColumn(higher_is_better=True, unit="bits", higher_means="the prompt tells more of the response"),),
    cost="two passes of the models over each row",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PVILM:
    """Pointwise V-information (PVI) of a response: log₂ p(response | prompt) − log₂ p(response).

    Use it to find rows whose response cannot be derived from the prompt, which have low or negative values. ``pvi``
    measures labels with a small proxy.

    The definition trains two models, one with and one without prompts: name the second one in ``null_model``. With one
    model for both, the value is that of a model that was not trained for the task. It is a sum over the response, so
    long responses have larger values; the first token counts only if the model predicts it without a prompt, after a
    token for the beginning of a text. Two models need the same context and the same kind of tokenizer. NaN for a row
    whose response has no token that the models predict.

    References
    ----------
    Ethayarajh et al. (2022), arXiv:2110.08420.
    """

    model: str | None = None
    """Name of the model entry that reads prompts; the first by default."""

    null_model: str | None = None
    """Name of the model entry that reads no prompts; by default, the same model."""

    def requests(self) -> tuple[ModelRequest, ...]:
        alone = ModelRequest(LossRequest(with_prompt=False), self.null_model or self.model)
        return (ModelRequest(LossRequest(), self.model), alone)

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - interface
        with_prompt, alone = require(batch.outputs)
        conditional, unconditional, _ = sum_same_losses(with_prompt, alone)
        bits: Vector = ((unconditional - conditional) / np.log(2)).astype(np.float32)
        return bits
