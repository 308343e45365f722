"""Causal language model of the transformers library: losses, hidden states, answers and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, MinLen

from curate.errors import PluginError
from curate.kernels.parallel import block_slices
from curate.kernels.types import Advance, Numbers, Rows
from curate.plugins.causal_models import (
    CPU_BATCH,
    GPU_BATCH,
    Encoded,
    LoadedModel,
    ModelSource,
    check_model,
    compute_last_logits,
    context_length,
    encode_examples,
    estimate_seconds,
    identify_model,
    load,
    pool_hidden_states,
    render_prompt,
    resolve_dtype,
    run_batches,
    to_batch,
)
from curate.plugins.interfaces import ContentPath, ExecutionOnly, model
from curate.plugins.language_models import (
    AnswerRequest,
    Example,
    GradientRequest,
    HiddenRequest,
    LossRequest,
    Outputs,
    Request,
    Turn,
)
from curate.plugins.model_files import RequestedDtype
from curate.plugins.model_gradients import project_gradients
from curate.plugins.questions import fill_question, has_parts

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles of the losses of the tokens of a row."""

_LOGITS = 2**25
"""Number of logits that are in memory at once."""


def measure_losses(loaded: LoadedModel, rows: Sequence[Encoded], advance: Advance) -> Outputs:
    """Measure the losses of the tokens of the responses; see ``LossRequest``.

    Notes
    -----
    Logits are computed at the positions of responses only, in blocks of positions; the logarithms are in float32. A
    model that scales or caps its logits computes those of a batch at once.
    """
    n, is_plain = len(rows), loaded.has_plain_head
    loss, first_loss = np.full((2, n), np.nan, np.float32)
    quantiles = np.full((n, len(QUANTILES)), np.nan, np.float32)

    def run(model: LoadedModel, part: Rows) -> None:
        batch = [rows[row] for row in part.tolist()]
        losses = _token_losses(model, batch, is_plain=is_plain)
        ends = np.cumsum([row.predicted for row in batch])
        for row, values in zip(part.tolist(), np.split(losses, ends[:-1]), strict=True):
            loss[row], quantiles[row] = values.mean(), np.quantile(values, QUANTILES)
            if rows[row].first > 0:
                first_loss[row] = values[0]

    run_batches(loaded, [len(row.ids) if row.predicted > 0 else 0 for row in rows], run, advance)
    return {
        "loss": loss,
        "tokens": np.array([max(0, row.predicted) for row in rows], np.int32),
        "prompt_tokens": np.array([len(row.ids) - max(0, row.predicted) for row in rows], np.int32),
        "truncated": np.array([row.truncated for row in rows], np.bool_),
        "quantiles": quantiles,
        "first_loss": first_loss,
    }


def _token_losses(model: LoadedModel, batch: Sequence[Encoded], *, is_plain: bool) -> Numbers:
    """Return the losses of the predicted tokens of all rows of a batch, one row after another."""
    import torch

    inputs = to_batch(model, batch)
    network, count = model.network, max(row.predicted for row in batch)
    with torch.inference_mode():
        if is_plain:
            head = network.get_output_embeddings()
            states = network.base_model(**inputs, use_cache=False).last_hidden_state
        else:
            head = torch.nn.Identity()
            states = compute_last_logits(model, inputs, count + 1)
        flat = torch.cat([states[number, -row.predicted - 1 : -1] for number, row in enumerate(batch)])
        targets = torch.cat([inputs["input_ids"][number, -row.predicted :] for number, row in enumerate(batch)])
        losses = [
            torch.nn.functional.cross_entropy(head(flat[block]).float(), targets[block], reduction="none")
            for block in block_slices(len(flat), max(1, _LOGITS // model.vocabulary))
        ]
        values: Numbers = torch.cat(losses).double().cpu().numpy()
    return values


def measure_answers(
    loaded: LoadedModel, examples: Sequence[Example], request: AnswerRequest, advance: Advance
) -> Outputs:
    """Measure the probabilities of answers to a question about each row; see ``AnswerRequest``.

    Raises
    ------
    PluginError
        Two answers begin with the same token.

    Notes
    -----
    The logits of the answers are in float32, since those of bfloat16 have steps of up to 0.125, which would give many
    rows the same score. A model that scales or caps its logits has those of its precision.
    """
    first, unanswerable = _first_tokens(loaded, request.answers), Encoded((), 0, truncated=False)
    rows = [
        _encode_question(loaded, one, request.question) if has_parts(request.question, one) else unanswerable
        for one in examples
    ]
    values = np.full((len(rows), len(first)), np.nan, np.float32)
    head = loaded.network.get_output_embeddings() if loaded.has_plain_head else None

    def run(model: LoadedModel, part: Rows) -> None:
        import torch

        inputs = to_batch(model, [rows[row] for row in part.tolist()])
        with torch.inference_mode():
            if isinstance(head, torch.nn.Linear):
                states = model.network.base_model(**inputs, use_cache=False).last_hidden_state[:, -1]
                bias = None if head.bias is None else head.bias[list(first)].float()
                logits = head(states).float()
                logits[:, list(first)] = torch.nn.functional.linear(
                    states.float(), head.weight[list(first)].float(), bias
                )
            else:
                logits = compute_last_logits(model, inputs, 1)[:, -1].float()
            values[part] = logits.log_softmax(-1)[:, list(first)].cpu().numpy()

    run_batches(loaded, [len(row.ids) for row in rows], run, advance)
    return {
        "log_probabilities": values,
        "tokens": np.array([len(row.ids) for row in rows], np.int32),
        "truncated": np.array([row.truncated for row in rows], np.bool_),
    }


def _first_tokens(loaded: LoadedModel, answers: Sequence[str]) -> tuple[int, ...]:
    """Return the first token of each answer, after a space that some tokenizers put before each."""
    tokens = [loaded.tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
    shortest = min(map(len, tokens))
    if shortest > 1 and len({ids[0] for ids in tokens}) == 1 and not loaded.tokenizer.decode(tokens[0][:1]).strip():
        tokens = [ids[1:] for ids in tokens]
    first = tuple(ids[0] if ids else -1 for ids in tokens)
    for number, token in enumerate(first):
        if token == -1 or token in first[:number]:
            other = answers[first.index(token)]
            message = f"the answers {other!r} and {answers[number]!r} begin with the same token of {loaded.name!r}"
            raise PluginError(message, hint="use answers that differ in their first letters")
    return first


def _encode_question(loaded: LoadedModel, example: Example, question: str) -> Encoded:
    """Return the tokens of a question about a row, whose response is shortened if the question exceeds the context."""
    prompt = "\n".join(turn.content for turn in example.prompt)

    def render(prompt: str, response: str) -> tuple[int, ...]:
        filled = fill_question(question, Example((Turn("user", prompt),) if prompt else (), response))
        ids = loaded.tokenizer(render_prompt(loaded, [Turn("user", filled)]), add_special_tokens=False)["input_ids"]
        return tuple(ids) if loaded.chat else (*loaded.prefix, *ids)

    ids = render(prompt, example.response)
    if len(ids) <= loaded.context:
        return Encoded(ids, len(ids), truncated=False)
    excess = len(ids) - loaded.context
    for part in ("response", "prompt"):
        text = example.response if part == "response" else prompt
        tokens = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        shorter = loaded.tokenizer.decode(tokens[: max(0, len(tokens) - excess - 8)])
        ids = render(prompt, shorter) if part == "response" else render(shorter, "")
        if len(ids) <= loaded.context:
            break
        excess = len(ids) - loaded.context
    return Encoded(ids[-loaded.context :], loaded.context, truncated=True)


# ---------------------------------------------------------------- the plugin


@model(
    version=2,
    abilities=("loss", "hidden", "answers", "gradients"),
    check=True,
    example={"model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CausalLM:
    """Causal language model of the transformers library, from the hub, a directory or a GGUF file.

    Needs the extra ``language-model``. Code that comes with a model is never run. A model in the hub cache is used
    unchanged, even if the hub has a newer one: the commit is part of the identity of the result.

    Rows are batched by their number of tokens, padding is masked, and logits are computed only where they are needed.
    Quantized GGUF files are converted to ``dtype`` when they are loaded.

    References
    ----------
    Wolf et al. (2020), "Transformers: State-of-the-Art Natural Language Processing", EMNLP, arXiv:1910.03771.
    """

    model: Annotated[str, MinLen(1), ContentPath()]
    """Path of a model directory or of a .gguf file, or name on the hub (``HuggingFaceTB/SmolLM2-135M-Instruct``)."""

    dtype: RequestedDtype = "auto"
    """Precision. ``auto`` is bfloat16 where the processor or GPU has it, and otherwise float32 (float16 on older GPUs);
    losses in bfloat16 differ by about one percent. Set float32 for the same numbers on every machine."""

    device: Annotated[str | None, ExecutionOnly()] = None
    """Device: cpu, cuda, cuda:1, …; null = a GPU if torch finds one."""

    max_tokens: Annotated[int, Ge(2)] | None = None
    """Maximum number of tokens of a row; null = the context of the model. Longer rows are truncated, and counted: the
    response keeps its beginning, the prompt its end."""

    chat_template: bool | Literal["auto"] = "auto"
    """Whether the tokenizer's chat template renders prompts and questions; ``auto``: if it has one. Without it, the
    messages of a prompt are lines before the response."""

    batch_tokens: Annotated[Annotated[int, Ge(1)] | None, ExecutionOnly()] = None
    """Maximum number of tokens of a batch; null = 1,024 on a CPU and 16,384 on a GPU. A batch for which memory is too
    small is halved."""

    def run(self, examples: Sequence[Example], request: Request, advance: Advance) -> Outputs:
        loaded = self.load()
        match request:
            case LossRequest():
                rows = encode_examples(loaded, examples, with_prompt=request.with_prompt)
                return measure_losses(loaded, rows, advance)
            case HiddenRequest():
                rows = encode_examples(loaded, examples)
                return pool_hidden_states(loaded, rows, request.pooling, request.layer, advance)
            case AnswerRequest():
                return measure_answers(loaded, examples, request, advance)
            case GradientRequest():
                return project_gradients(loaded, examples, request, advance)

    def load(self) -> LoadedModel:
        """Return the model in memory."""
        network, tokenizer = load(ModelSource(self.model), self.device, resolve_dtype(self.dtype, self.device))
        has_template = bool(tokenizer.chat_template)
        if self.chat_template is True and not has_template:
            message = f"the tokenizer of {self.model!r} has no chat template"
            raise PluginError(message, hint="use a model for chats, or set chat_template: auto")
        on_cpu = network.device.type == "cpu"
        return LoadedModel(
            network=network,
            tokenizer=tokenizer,
            name=self.model,
            context=context_length(network, tokenizer, self.max_tokens),
            chat=has_template if self.chat_template == "auto" else self.chat_template,
            batch_tokens=self.batch_tokens or (CPU_BATCH if on_cpu else GPU_BATCH),
        )

    def check(self) -> Sequence[str]:
        return check_model(ModelSource(self.model), self.dtype, self.device)

    def estimate_seconds(self, tokens: float) -> float | None:
        return estimate_seconds(ModelSource(self.model), self.dtype, self.device, tokens)

    def revision(self) -> str:
        """Return a sha256 of the files of the model, or the hub's commit; and the precision of "auto"."""
        return identify_model(ModelSource(self.model), self.dtype, self.device, self.load)
