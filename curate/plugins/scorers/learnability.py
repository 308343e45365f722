"""Learnability: how much more a trained model knows of a row than another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import MinLen

from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.language_models import LossRequest, ModelRequest


@scorer(
    version=1,
    reads={"model"},
    columns=(OutputColumn(higher_is_better=True, unit="nats per token", higher_means="still to be learned"),),
    cost="two passes of the models over each row",
    example={"reference": "trained"},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Learnability:
    """Loss of the response under a model minus its loss under a reference model that was trained longer or on more.

    Use it to skip what a model knows already and what cannot be learned: both have the same loss under both models.
    With a reference that was trained on held-out data of the task, it is the reducible holdout loss; with two
    checkpoints of one training, it is the progress in between.

    Both models need the same tokenizer for comparable losses. NaN for a row whose response has no token that the models
    predict.

    References
    ----------
    Mindermann et al. (2022), arXiv:2206.07137.
    """

    reference: Annotated[str, MinLen(1)]
    """Name of the model entry of the reference."""

    model: str | None = None
    """Name of the model entry to train; the first by default."""

    def requests(self) -> tuple[ModelRequest, ...]:
        return (ModelRequest(LossRequest(), self.model), ModelRequest(LossRequest(), self.reference))

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - interface
        current, reference = require(batch.outputs)
        excess: Vector = current["loss"] - reference["loss"]
        return excess
