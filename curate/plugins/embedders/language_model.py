"""Embedder of the hidden states of a language model, as RDS+ compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Le, MinLen

from curate.kernels.types import Matrix
from curate.plugins.interfaces import embedder
from curate.plugins.language_models import HiddenRequest, ModelRequest, Outputs, Pooling


@embedder(version=1, reads="model")
@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """Hidden states of a language model for prompt and response, pooled over the tokens.

    Use it with a section ``target`` and the selector ``rds_plus``, with the model that is to be trained. It needs no
    gradients, so it is about three times as fast as ``gradients``. For deduplication and clusters,
    ``sentence_transformers`` is smaller and was trained to compare texts.

    Rows without a token are quarantined.

    References
    ----------
    Ivison et al. (2025), "Large-Scale Data Selection for Instruction Tuning", arXiv:2503.01807, section 3, for RDS+:
    the last layer, and weights by position, from Muennighoff (2022), SGPT, arXiv:2202.08904. Padding has no weight; in
    the published code it does, if batches have more than one row.
    """

    model: Annotated[str, MinLen(1)] | None = None
    """Name of the model entry; null = the first entry."""

    pooling: Pooling = "weighted"
    """Pooling: the last token, the mean over the tokens, or their mean weighted by the position, 1 for the first."""

    layer: Annotated[int, Le(-1)] = -1
    """Layer, counted from the last one, which is -1."""

    def requests(self, *, target: bool) -> tuple[ModelRequest, ...]:  # noqa: ARG002 - the same for both
        return (ModelRequest(HiddenRequest(pooling=self.pooling, layer=self.layer), self.model),)

    def encode(self, outputs: tuple[Outputs, ...]) -> Matrix:
        return outputs[0]["vector"]
