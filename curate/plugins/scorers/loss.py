"""Loss of the response of a row under a language model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.language_models import LossRequest, ModelRequest


@scorer(
    version=1,
    reads={"model"},
    columns=(
        OutputColumn(
            higher_is_better=False, unit="nats per token", range=(0.0, float("inf")), higher_means="harder to predict"
        ),
    ),
    cost="one pass of the model over each row",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Mean loss of the tokens of the response, given the prompt, under a language model.

    Use it to see what a model already knows: a low loss is familiar or repetitive, a high loss is hard or noise.
    Without a prompt, it is the loss of the text. NaN for a row whose response has no token that the model predicts.

    References
    ----------
    Marion et al. (2023), "When Less is More: Investigating Data Pruning for Pretraining LLMs at Scale",
    arXiv:2309.04564.
    """

    model: str | None = None
    """Name of the model entry; the first by default."""

    prompt: bool = True
    """Whether the model reads the prompt."""

    def requests(self) -> tuple[ModelRequest, ...]:
        return (ModelRequest(LossRequest(with_prompt=self.prompt), self.model),)

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - interface
        loss: Vector = require(batch.outputs)[0]["loss"]
        return loss
