"""Perplexity of the response of a row under a language model."""

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
            higher_is_better=False, unit="perplexity", range=(1.0, float("inf")), higher_means="harder to predict"
        ),
    ),
    cost="one pass of the model over each row",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityLM:
    """Perplexity of the response, given the prompt, under a language model: the exponential of its loss.

    Use it to filter texts by their perplexity under a model of good texts. ``perplexity`` needs no language model. The
    middle of the distribution was the best part to keep in experiments on pretraining. NaN for a row whose response has
    no token that the model predicts.

    References
    ----------
    Marion et al. (2023), arXiv:2309.04564.
    """

    model: str | None = None
    """Name of the model entry; the first by default."""

    def requests(self) -> tuple[ModelRequest, ...]:
        return (ModelRequest(LossRequest(), self.model),)

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - interface
        loss = require(batch.outputs)[0]["loss"].astype(np.float64)
        perplexity: Vector = np.exp(np.minimum(loss, 88.0)).astype(np.float32)  # float32 ends at exp(88.7)
        return perplexity
