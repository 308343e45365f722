"""Encoder model of the transformers library: pooled hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, MinLen

from curate.errors import PluginError
from curate.kernels.types import Advance
from curate.plugins.causal_models import (
    CPU_BATCH,
    GPU_BATCH,
    LoadedModel,
    ModelSource,
    check_model,
    context_length,
    encode_texts,
    estimate_seconds,
    identify_model,
    load,
    pool_hidden_states,
    resolve_dtype,
)
from curate.plugins.interfaces import ContentPath, ExecutionOnly, model
from curate.plugins.language_models import Example, HiddenRequest, Outputs, Request
from curate.plugins.model_files import RequestedDtype


@model(version=1, abilities=("hidden",), check=True, example={"model": "answerdotai/ModernBERT-base"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Encoder of the transformers library, such as BERT: hidden states, for the embedder ``language_model``.

    Needs the extra ``language-model``. Code that comes with a model is never run. Use the embedder
    ``sentence_transformers`` for models that were trained for similarity; this is for any other encoder.

    The prompt and the response are read as one text, with the special tokens of the tokenizer.

    References
    ----------
    Devlin et al. (2019), "BERT: Pre-training of Deep Bidirectional Transformers", NAACL, arXiv:1810.04805.
    """

    model: Annotated[str, MinLen(1), ContentPath()]
    """Path of a model directory, or name on the hub."""

    dtype: RequestedDtype = "auto"
    """Precision. ``auto`` is bfloat16 where the processor or GPU has it, and otherwise float32 (float16 on older
    GPUs)."""

    device: Annotated[str | None, ExecutionOnly()] = None
    """Device: cpu, cuda, cuda:1, …; null = a GPU if torch finds one."""

    max_tokens: Annotated[int, Ge(2)] | None = None
    """Maximum number of tokens of a row; null = the context of the model. Longer rows are truncated at their end, and
    counted."""

    batch_tokens: Annotated[Annotated[int, Ge(1)] | None, ExecutionOnly()] = None
    """Maximum number of tokens of a batch; null = 1,024 on a CPU and 16,384 on a GPU."""

    def run(self, examples: Sequence[Example], request: Request, advance: Advance) -> Outputs:
        if not isinstance(request, HiddenRequest):
            raise PluginError(f"an encoder computes no {request.ability}", hint="use the model causal_lm")
        loaded = self.load()
        return pool_hidden_states(loaded, encode_texts(loaded, examples), request.pooling, request.layer, advance)

    def load(self) -> LoadedModel:
        """Return the model in memory."""
        dtype = resolve_dtype(self.dtype, self.device)
        network, tokenizer = load(ModelSource(self.model), self.device, dtype, causal=False)
        return LoadedModel(
            network=network,
            tokenizer=tokenizer,
            name=self.model,
            context=context_length(network, tokenizer, self.max_tokens),
            chat=False,
            batch_tokens=self.batch_tokens or (CPU_BATCH if network.device.type == "cpu" else GPU_BATCH),
            causal=False,
        )

    def check(self) -> Sequence[str]:
        return check_model(ModelSource(self.model), self.dtype, self.device)

    def estimate_seconds(self, tokens: float) -> float | None:
        return estimate_seconds(ModelSource(self.model), self.dtype, self.device, tokens)

    def revision(self) -> str:
        """Return a sha256 of the files of the model, or the hub's commit; and the precision of "auto"."""
        return identify_model(ModelSource(self.model), self.dtype, self.device, self.load)
