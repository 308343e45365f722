"""Causal language models of the transformers library: loading, tokens of prompts and responses, and batches."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import struct
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import PluginError, missing_extra_error
from curate.kernels.parallel import map_blocks
from curate.kernels.types import Advance, Matrix, Rows
from curate.paths import hash_content
from curate.plugins.language_models import Example, Outputs, Pooling, Turn
from curate.plugins.model_files import (
    Dtype,
    RequestedDtype,
    batches,
    cpu_has_bfloat16,
    hub_names,
    quiet_libraries,
    share_weights,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EXTRA = "language-model"
CPU_BATCH, GPU_BATCH = 1_024, 16_384
"""Maximum number of tokens of a batch by default."""

ADAPTERS = "adapter_config.json"
"""File with the settings of the adapters of the library peft."""

_UNLIMITED = 1_000_000
"""Context length from which a tokenizer's limit means none."""

_DEFAULT_CONTEXT = 2_048
_TODAY = date(2024, 7, 26)
"""Date for chat templates that contain the current one, so that results do not depend on it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of a row: those of the prompt, followed by those of the response."""

    ids: tuple[int, ...]
    first: int
    """Position of the first token of the response."""

    truncated: bool

    @property
    def predicted(self) -> int:
        """Number of tokens of the response that have a predecessor, so that the model predicts them."""
        return len(self.ids) - max(1, self.first) if len(self.ids) else 0


@dataclass(frozen=True)
class LoadedModel:
    """Model in memory, with its tokenizer."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    """Path or name, for messages."""

    context: int
    """Maximum number of tokens of a row."""

    chat: bool
    """Whether prompts are rendered by the chat template of the tokenizer."""

    batch_tokens: int
    """Maximum number of tokens of a batch, including padding."""

    causal: bool = True
    """Whether a token reads the tokens before it only."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        device: torch.device = self.network.device
        return device

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on the CPU, where batches run in parallel, each on one thread."""
        return self.device.type == "cpu"

    @cached_property
    def prefix(self) -> tuple[int, ...]:
        """Tokens that the tokenizer adds before a text, such as the one of its beginning."""
        with_special = self.tokenizer("a")["input_ids"]
        plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        return tuple(with_special[: with_special.index(plain[0])]) if plain and plain[0] in with_special else ()

    @cached_property
    def takes_positions(self) -> bool:
        """Whether the network takes the positions of tokens, which padding on the left shifts."""
        return "position_ids" in inspect.signature(self.network.base_model.forward).parameters

    @cached_property
    def has_plain_head(self) -> bool:
        """Whether logits are the head of the last hidden states, without a scale or a cap."""
        import torch

        head, ids = self.network.get_output_embeddings(), torch.tensor([[1, 2]], device=self.device)
        with torch.inference_mode():
            hidden = getattr(self.network.base_model(input_ids=ids), "last_hidden_state", None)
            logits = self.network(input_ids=ids).logits
            return head is not None and hidden is not None and torch.allclose(head(hidden), logits, equal_nan=True)

    @property
    def padding(self) -> int:
        """Token that fills batches; the model never reads it."""
        token = self.tokenizer.pad_token_id
        return int(token) if token is not None and token < self.vocabulary else 0

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the network has embeddings of."""
        return int(self.network.get_input_embeddings().weight.shape[0])


# ---------------------------------------------------------------- tokens


def encode_examples(loaded: LoadedModel, examples: Sequence[Example], *, with_prompt: bool = True) -> list[Encoded]:
    """Return the tokens of examples.

    The response has the same tokens with and without the prompt, also if it is truncated. A row that is longer than the
    context keeps the beginning of its response, at least half of the context if the response is that long, and the end
    of its prompt.
    """
    responses = _tokenize(loaded, [one.response for one in examples])
    prompts = [loaded.prefix] * len(examples)
    rows = [number for number, one in enumerate(examples) if one.prompt]
    rendered = [render_prompt(loaded, examples[row].prompt) for row in rows]
    for row, ids in zip(rows, _tokenize(loaded, rendered, () if loaded.chat else loaded.prefix), strict=True):
        prompts[row] = ids
    encoded = [_join(prompt, response, loaded.context) for prompt, response in zip(prompts, responses, strict=True)]
    return encoded if with_prompt else [_drop_prompt(row, loaded.prefix, loaded.context) for row in encoded]


def encode_texts(loaded: LoadedModel, examples: Sequence[Example]) -> list[Encoded]:
    """Return the tokens of the prompt and the response as one text, with special tokens, for an encoder."""
    texts = ["\n".join([*(turn.content for turn in one.prompt), one.response]) for one in examples]
    if not texts:
        return []
    with quiet_libraries():
        every = loaded.tokenizer(texts, truncation=False)["input_ids"]
        shown = loaded.tokenizer(texts, truncation=True, max_length=loaded.context)["input_ids"]
    return [
        Encoded(tuple(ids), len(ids), len(all_ids) > len(ids)) if text.strip() else Encoded((), 0, truncated=False)
        for ids, all_ids, text in zip(shown, every, texts, strict=True)
    ]


def render_prompt(loaded: LoadedModel, turns: Sequence[Turn]) -> str:
    """Return the text of the messages of a prompt: by the chat template of the model, or one after another.

    Raises
    ------
    PluginError
        The template does not accept the messages.
    """
    if not loaded.chat:
        return "".join(f"{turn.content}\n" for turn in turns)
    messages = [{"role": turn.role or "user", "content": turn.content} for turn in turns]
    try:
        text: str = loaded.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, strftime_now=_TODAY.strftime
        )
    except Exception as error:  # the template raises what its author chose
        roles = ", ".join(message["role"] for message in messages)
        message = f"the chat template of {loaded.name!r} does not accept the roles {roles}: {error}"
        raise PluginError(message, hint="set chat_template: false, or change the messages") from error
    return text


def _tokenize(loaded: LoadedModel, texts: Sequence[str], prefix: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    if not texts:
        return []
    with quiet_libraries():
        found = loaded.tokenizer(list(texts), add_special_tokens=False, truncation=False)["input_ids"]
    return [(*prefix, *ids) for ids in found]


def _join(prompt: tuple[int, ...], response: tuple[int, ...], context: int) -> Encoded:
    """Return a row that fits into the context.

    >>> _join((1, 2, 3, 4), (5, 6, 7, 8), 6)
    Encoded(ids=(2, 3, 4, 5, 6, 7), first=3, truncated=True)
    """
    truncated = len(prompt) + len(response) > context
    if truncated:
        response = response[: max(context - len(prompt), context // 2)]
        room = context - len(response)
        prompt = prompt[len(prompt) - room :] if room < len(prompt) else prompt
    return Encoded((*prompt, *response), len(prompt), truncated)


def _drop_prompt(row: Encoded, prefix: tuple[int, ...], context: int) -> Encoded:
    """Return a row with the tokens that begin a text in place of its prompt."""
    alone = _join(prefix, row.ids[row.first :], context)
    return replace(alone, truncated=row.truncated or alone.truncated)


# ---------------------------------------------------------------- batches


def run_batches(
    loaded: LoadedModel,
    lengths: Sequence[int],
    run: Callable[[LoadedModel, Rows], None],
    advance: Advance,
) -> None:
    """Run a function on batches of rows of similar length.

    On a CPU, batches run in parallel, each on one thread, so results do not depend on the number of threads. A batch
    for which memory is too small is halved.

    Parameters
    ----------
    loaded : LoadedModel
        Model.
    lengths : sequence of int
        Number of tokens of each row; rows without tokens are in no batch.
    run : callable
        Function of a model, which shares the weights of ``loaded``, and the rows of a batch.
    advance : callable
        Receives the number of finished rows.

    Raises
    ------
    PluginError
        The memory is too small for a single row.
    """
    counts = np.asarray(lengths, np.int64)
    rows = np.flatnonzero(counts)
    batchable = loaded.takes_positions or not loaded.causal  # padding on the left would shift the positions
    parts = (rows[part] for part in batches(counts[rows], loaded.batch_tokens, None if batchable else 1))
    advance(len(counts) - len(rows))

    def run_batch(model: LoadedModel, part: Rows) -> None:
        try:
            run(model, part)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(part) == 1:
                message = f"the memory is too small for a row of {counts[part[0]]:,} tokens: {error}"
                raise PluginError(message, hint="lower max_tokens, or use a smaller model") from error
            _release_memory(loaded)
            run_batch(model, part[: len(part) // 2])
            run_batch(model, part[len(part) // 2 :])

    if not loaded.on_cpu:
        for part in parts:
            run_batch(loaded, part)
            advance(len(part))
        return
    own = threading.local()

    def run_on_one_thread(part: Rows) -> int:
        import torch

        if not hasattr(own, "model"):
            own.model = replace(loaded, network=share_weights(loaded.network))
            torch.set_num_threads(1)
        run_batch(own.model, part)
        return len(part)

    for count in map_blocks(run_on_one_thread, parts):
        advance(count)


def to_batch(loaded: LoadedModel, rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    """Return the inputs of the network for a batch.

    Padding is on the left for a causal model, so that the responses end together, and on the right for an encoder. The
    mask of the tokens is in ``attention_mask``.
    """
    import torch

    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), loaded.padding, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        start = longest - len(row.ids) if loaded.causal else 0
        ids[number, start : start + len(row.ids)] = torch.tensor(row.ids, dtype=torch.long)
        mask[number, start : start + len(row.ids)] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if loaded.causal and loaded.takes_positions:
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
    return {name: tensor.to(loaded.device) for name, tensor in inputs.items()}


def compute_last_logits(
    loaded: LoadedModel, inputs: Mapping[str, torch.Tensor], count: int, call: Callable[..., Any] | None = None
) -> torch.Tensor:
    """Compute the logits at the last positions of a batch, (b, count, vocabulary); most networks compute no others.

    ``call`` replaces the call of the network, for one with other weights.
    """
    keeps = "logits_to_keep" in inspect.signature(loaded.network.forward).parameters
    options = {"logits_to_keep": count} if keeps else {}
    logits: torch.Tensor = (call or loaded.network)(**inputs, **options, use_cache=False).logits
    return logits[:, -count:]


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "not enough memory" in text


def _release_memory(loaded: LoadedModel) -> None:
    if loaded.device.type == "cuda":
        import torch

        torch.cuda.empty_cache()


def pool_hidden_states(
    loaded: LoadedModel, rows: Sequence[Encoded], pooling: Pooling, layer: int, advance: Advance
) -> Outputs:
    """Pool the hidden states of the tokens of each row; see ``HiddenRequest``.

    Raises
    ------
    PluginError
        The model has fewer layers.
    """
    vectors: list[Matrix | None] = [None] * len(rows)
    config = loaded.network.config.get_text_config()
    layers = config.num_hidden_layers
    if not -layers <= layer <= -1:
        raise PluginError(f"layer must be between {-layers} and -1, as the model has {layers} layers; got {layer}")

    def run(model: LoadedModel, part: Rows) -> None:
        import torch

        inputs = to_batch(model, [rows[row] for row in part.tolist()])
        options = {"use_cache": False} if model.causal else {}
        with torch.inference_mode():
            states = model.network.base_model(**inputs, **options, output_hidden_states=layer != -1)
            hidden = (states.last_hidden_state if layer == -1 else states.hidden_states[layer]).float()
            pooled = pool_tokens(hidden, inputs["attention_mask"], pooling).cpu().numpy()
        for number, row in enumerate(part.tolist()):
            vectors[row] = pooled[number]

    run_batches(loaded, [len(row.ids) for row in rows], run, advance)
    width = next((len(vector) for vector in vectors if vector is not None), config.hidden_size)
    missing = np.full(width, np.nan, np.float32)
    return {
        "vector": np.stack([missing if vector is None else vector for vector in vectors]).reshape(len(rows), width),
        "tokens": np.array([len(row.ids) for row in rows], np.int32),
        "truncated": np.array([row.truncated for row in rows], np.bool_),
    }


def pool_tokens(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool hidden states (b, tokens, d) over the tokens that ``mask`` (b, tokens) marks.

    ``weighted`` weights the token at position i, 1 for the first, with i, as RDS+ does (arXiv:2503.01807).
    """
    if pooling == "last":
        return hidden[range(len(hidden)), mask.cumsum(1).argmax(1)]
    weights = (mask.cumsum(1) * mask if pooling == "weighted" else mask).to(hidden.dtype)
    return (hidden * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1)


# ---------------------------------------------------------------- loading


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Place of a model: a directory, a GGUF file, or a name on the hub."""

    name: str

    @property
    def path(self) -> Path:
        """Path, if the model is not on the hub."""
        return Path(self.name).expanduser()

    @property
    def is_gguf(self) -> bool:
        """Whether the model is a file in the GGUF format."""
        return self.name.endswith(".gguf")

    @property
    def is_local(self) -> bool:
        """Whether the model is a directory or a file on this machine."""
        return self.path.exists()

    def load_arguments(self) -> tuple[str, dict[str, Any]]:
        """Return the arguments of ``from_pretrained``; by default, it would offer to run code of the model."""
        options: dict[str, Any] = {"trust_remote_code": False}
        if self.is_gguf:
            return str(self.path.parent), {**options, "gguf_file": self.path.name}
        if self.is_local:
            return str(self.path), {**options, "local_files_only": True}
        return self.name, {**options, "local_files_only": self.commit() is not None}

    def commit(self) -> str | None:
        """Return the commit of the model of the hub in the local cache; None if there is none."""
        from huggingface_hub import try_to_load_from_cache

        cached = (try_to_load_from_cache(repo, "config.json") for repo in hub_names(self.name)[:1])
        return next((Path(path).parent.name for path in cached if isinstance(path, str)), None)

    def base(self) -> ModelSource | None:
        """Return the model that a directory of adapters belongs to; None for a complete model.

        Raises
        ------
        PluginError
            The file with the settings of the adapters is corrupt.
        """
        if not (self.path / ADAPTERS).is_file() or (self.path / "config.json").is_file():
            return None
        try:
            name = json.loads((self.path / ADAPTERS).read_text(encoding="utf-8"))["base_model_name_or_path"]
            return ModelSource(str(name))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _load_error(self, error) from error

    def content_hash(self) -> str | None:
        """Return a hash of the files of a local model, and of the base of adapters; None for one on the hub."""
        if not self.is_local:
            return None
        base = self.base()
        return hash_content(self.path) + ("" if base is None else f" {base.content_hash() or base.commit()}")

    def check(self) -> Sequence[str]:
        """Return notes on a planned download; raise an error if a package or the model is missing."""
        check_packages(gguf=self.is_gguf)
        if (base := self.base()) is not None:
            if importlib.util.find_spec("peft") is None:
                message = f"the model {self.name!r} has adapters, which need the package peft"
                raise PluginError(message, hint="pip install peft")
            return base.check()
        if self.is_local:
            if self.path.is_dir() and not (self.path / "config.json").is_file():
                raise _load_error(self, FileNotFoundError("it has no config.json"))
            return ()
        if self.is_gguf or not hub_names(self.name):
            raise _load_error(self, FileNotFoundError("it does not exist"))
        if self.commit() is not None:
            return ()
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
            raise _load_error(self, FileNotFoundError("it is not in the hub cache"))
        return (f"the model {self.name!r} is not in the hub cache and will be downloaded",)

    def count_parameters(self) -> int | None:
        """Return the number of parameters, from the headers of the files of a local model; None if it is unknown.

        Raises
        ------
        PluginError
            A file is corrupt.
        """
        try:
            if self.is_gguf and self.is_local:
                return _count_gguf_parameters(str(self.path), self.path.stat().st_size)
            files = sorted(self.path.glob("*model*.safetensors")) if self.path.is_dir() else []  # not consolidated.*
            base = self.base()
            others = 0 if base is None else base.count_parameters() or 0
            return sum(map(_count_safetensors_parameters, files)) + others if files else None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError, struct.error) as error:
            raise _load_error(self, error) from error


def check_packages(*, gguf: bool) -> None:
    """Raise an error if a package is not installed."""
    needed = ["torch", "transformers", *(["gguf", "accelerate"] if gguf else [])]
    for package in needed:
        if importlib.util.find_spec(package) is None:
            raise missing_extra_error(package, EXTRA, "a language model" + " in a GGUF file" * gguf)


def check_device(device: str | None) -> None:
    """Raise an error if there is no such device."""
    if device is None or device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = textwrap.shorten(str(error), 200)
        hint = "set device: cpu, or remove it for a GPU if torch finds one"
        raise PluginError(f"cannot use the device {device!r}: {reason}", hint=hint) from error


def check_memory(source: ModelSource, dtype: Dtype, device: str | None) -> None:
    """Raise an error if the weights of a model need more memory than is free.

    Raises
    ------
    PluginError
        The memory is too small.
    """
    parameters, free = source.count_parameters(), free_memory()
    needed = (parameters or 0) * ((4 if dtype == "float32" else 2) + (4 if source.is_gguf else 0))
    if free is not None and needed > free and runs_on_cpu(device):
        conversion = " with a copy in float32 for the conversion" if source.is_gguf else ""
        message = (
            f"the weights of {source.name!r} need {needed / 2**30:.1f} GiB in {dtype}{conversion}, "
            f"and {free / 2**30:.1f} GiB of memory are free"
        )
        raise PluginError(message, hint="use a smaller model, or set dtype: bfloat16")


def check_model(source: ModelSource, dtype: RequestedDtype, device: str | None) -> list[str]:
    """Return notes about a model before a run; raise an error if it cannot be used. Nothing is loaded."""
    notes = [*source.check()]
    check_device(device)
    if dtype != "auto":
        check_memory(source, dtype, device or "cpu")
    if dtype == "bfloat16" and not cpu_has_bfloat16() and (device or "cpu") == "cpu":
        notes.append("bfloat16 is several times slower than float32 on this processor; set `dtype` to auto")
    return notes


_OPERATIONS = {"float32": 1.9e11, "bfloat16": 5.4e11, "float16": 5.4e11}
"""Operations in a second that a model of 135 million parameters reaches on the machine of the cost table."""


def estimate_seconds(source: ModelSource, dtype: RequestedDtype, device: str | None, tokens: float) -> float | None:
    """Estimate the seconds of a CPU to read a number of tokens: two operations for each parameter and token.

    None for a GPU, and for a model whose size is unknown before it is downloaded.
    """
    if not source.is_local or (device is not None and not device.startswith("cpu")):
        return None
    check_packages(gguf=source.is_gguf)
    parameters = source.count_parameters()
    if parameters is None or not runs_on_cpu(device):
        return None
    return 2 * parameters * tokens / _OPERATIONS[resolve_dtype(dtype, device)]


def identify_model(
    source: ModelSource, dtype: RequestedDtype, device: str | None, download: Callable[[], object]
) -> str:
    """Return a sha256 of the files of a local model, or the hub's commit; and the precision of "auto".

    A model that is not in the hub cache yet is downloaded.
    """
    if source.is_local:
        identity = f"sha256:{source.content_hash()}"
    else:
        check_packages(gguf=False)
        if source.commit() is None:
            download()
        identity = source.commit() or "unknown"
    return f"{identity} {resolve_dtype(dtype, device)}" if dtype == "auto" else identity


def free_memory() -> int | None:
    """Return the number of free bytes of memory; None if it is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def runs_on_cpu(device: str | None) -> bool:
    """Return whether a model with this device, or the best one by default, runs on the CPU."""
    if device is not None:
        return device.startswith("cpu")
    import torch

    return not torch.cuda.is_available()


def resolve_dtype(dtype: RequestedDtype, device: str | None) -> Dtype:
    """Return the precision that "auto" selects: bfloat16 where the processor or the GPU has it, otherwise float32."""
    if dtype != "auto":
        return dtype
    if runs_on_cpu(device):
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


_loading = threading.Lock()


def load(
    source: ModelSource, device: str | None, dtype: Dtype, *, causal: bool = True
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer once per process, and again if the files have changed.

    Code that comes with a model is never run.

    Raises
    ------
    PluginError
        A package or the model is missing, the memory is too small, or the model cannot be loaded.
    """
    with _loading:
        return _load(source, device, dtype, causal, source.content_hash())


@lru_cache(maxsize=3)
def _load(
    source: ModelSource,
    device: str | None,
    dtype: Dtype,
    causal: bool,
    content_hash: str | None,  # noqa: ARG001 - cache key
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    check_packages(gguf=source.is_gguf)
    check_device(device)
    check_memory(source, dtype, device)
    import torch
    import transformers

    place, options = source.load_arguments()
    factory = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
    with quiet_libraries():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
            network, report = factory.from_pretrained(
                place, dtype=getattr(torch, dtype), output_loading_info=True, **options
            )
        except Exception as error:
            raise _load_error(source, error) from error
    missing = sorted(name for name in report["missing_keys"] if causal or "pooler" not in name.split("."))
    if missing:  # transformers fills them with random numbers
        kind = "a causal language model" if causal else "an encoder"
        message = f"the model {source.name!r} lacks {len(missing)} weights of {kind}, such as {missing[0]}"
        raise PluginError(message, hint="use a complete model with the architecture that its config.json names")
    if network.config.is_encoder_decoder:
        message = f"the model {source.name!r} has an encoder and a decoder"
        raise PluginError(message, hint="use a model with a decoder only, or with an encoder only")
    try:
        network.to(device or ("cpu" if runs_on_cpu(None) else "cuda")).eval().requires_grad_(False)
    except RuntimeError as error:  # out of memory
        raise _load_error(source, error) from error
    if causal and _reads_ahead(network):
        message = f"the model {source.name!r} is no causal language model: it reads the tokens that it should predict"
        raise PluginError(message, hint="use a causal language model, or the model encoder for hidden states")
    known, tokens = network.get_input_embeddings().weight.shape[0], len(tokenizer)
    if tokens > known:
        message = f"the tokenizer of {source.name!r} has {tokens:,} tokens, and the model {known:,}"
        raise PluginError(message, hint="use the tokenizer that belongs to the model")
    return network, tokenizer


def _reads_ahead(network: PreTrainedModel) -> bool:
    """Return whether the output at a token depends on the next tokens, as in a masked language model."""
    import torch

    ids = torch.tensor([[1] * 8, [1] + [2] * 7], device=network.device)
    with torch.inference_mode():
        first, second = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, 0].float()
    noise = 4 * torch.finfo(network.dtype).eps * float(first.abs().max())
    return bool((first - second).abs().max() > noise)  # not if an output is NaN


def context_length(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None) -> int:
    """Return the maximum number of tokens of a row.

    Raises
    ------
    PluginError
        ``max_tokens`` exceeds the context of the model.
    """
    limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(limit, int):
        limit = tokenizer.model_max_length if tokenizer.model_max_length < _UNLIMITED else None
    for name, module in network.named_modules():  # RoBERTa has no position for the padding and the tokens before it
        if limit is not None and name.endswith("position_embeddings"):
            padding = getattr(module, "padding_idx", None)
            limit -= 0 if padding is None else padding + 1
    if max_tokens is not None and limit is not None and max_tokens > limit:
        raise PluginError(f"max_tokens is {max_tokens:,}, but the model reads at most {limit:,} tokens")
    return max_tokens or limit or _DEFAULT_CONTEXT


def _load_error(source: ModelSource, error: Exception) -> PluginError:
    """Return the error for a model that cannot be loaded, with a remedy."""
    if "trust_remote_code" in str(error):
        message = f"the model {source.name!r} comes with code, which is never run"
        return PluginError(message, hint="use a model whose architecture is part of transformers")
    reason = f"{type(error).__name__}: {textwrap.shorten(str(error), 200)}"
    if source.is_local:
        hint = "it needs the files that save_pretrained of a model and of its tokenizer write, or use a .gguf file"
        return PluginError(f"cannot load the language model: {reason}", where=str(source.path.resolve()), hint=hint)
    if source.is_gguf or not hub_names(source.name):
        message = f"no model: there is no file or directory {source.path.absolute()}"
        return PluginError(message, hint="set `model` to the path of a model directory or of a .gguf file")
    offline = "HF_HUB_OFFLINE=0 " if os.environ.get("HF_HUB_OFFLINE") else ""
    command = f"{offline}hf download {source.name}"
    hint = f"there is no directory {source.path.absolute()}; with access to the hub, run: {command}"
    return PluginError(f"cannot load the model {source.name!r}: {reason}", hint=hint)


def _count_safetensors_parameters(path: Path) -> int:
    """Return the number of parameters in a safetensors file, from its header."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    shapes: Iterator[Sequence[int]] = (entry["shape"] for name, entry in header.items() if name != "__metadata__")
    return sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes)


@lru_cache(maxsize=4)
def _count_gguf_parameters(path: str, size: int) -> int:  # noqa: ARG001 - cache key
    from gguf import GGUFReader

    return sum(int(tensor.n_elements) for tensor in GGUFReader(path).tensors)
