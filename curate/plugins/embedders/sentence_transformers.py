"""Any model of the sentence-transformers library, fed batches of texts of similar length."""

from __future__ import annotations

import importlib.util
import logging
import os
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Ge, MinLen

from curate.errors import PluginError, missing_extra_error
from curate.kernels.parallel import block_slices, thread_count
from curate.kernels.types import Counts, Matrix, Rows
from curate.paths import hash_content
from curate.plugins.interfaces import ContentPath, ExecutionOnly, embedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Backend = Literal["torch", "openvino", "onnx"]
Dtype = Literal["float32", "bfloat16", "float16"]

_NEEDS: dict[Backend, tuple[tuple[str, str], ...]] = {  # modules, and the packages they come from
    "torch": (),
    "openvino": (("openvino", "openvino"), ("optimum", "optimum-intel"), ("optimum.intel", "optimum-intel")),
    "onnx": (("onnxruntime", "onnxruntime"), ("optimum", "optimum-onnx"), ("optimum.onnxruntime", "optimum-onnx")),
}
_EXTRA: dict[Backend, str] = {"torch": "sentence-transformers", "openvino": "openvino", "onnx": "onnx"}
_PRECISION: dict[Dtype, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}  # as OpenVINO calls them
_CPU_BATCH, _GPU_BATCH = 1_024, 32_768  # tokens
_TOKENIZED = 1_024  # texts that are tokenized at once to learn their lengths


def batches(lengths: Counts, tokens: int, size: int | None = None) -> Iterator[Rows]:
    """Rows in batches of similar length, the longest first.

    Every text of a batch is padded to the longest of it. Sorting by the number of tokens keeps that small; the longest
    go first so that a lack of memory shows at once.

    Parameters
    ----------
    lengths : (n,) tokens of each text
    tokens : of a batch, with what pads its texts to the longest; a text that has more is a batch of its own
    size : rows in a batch, instead

    Yields
    ------
    Rows; rows of equal length in their order

    >>> [rows.tolist() for rows in batches(np.array([3, 9, 3, 3]), 9)]
    [[1], [0, 2, 3]]
    """
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        end = begin + (size or max(1, tokens // max(1, int(lengths[order[begin]]))))
        yield order[begin:end]
        begin = end


def encode(
    model: SentenceTransformer, texts: Sequence[str], *, prompt: str, tokens: int, size: int | None = None
) -> Matrix:
    """The model's vectors of the texts.

    Parameters
    ----------
    model : from ``load``
    texts : n strings
    prompt : put before every text
    tokens, size : as ``batches`` takes them

    Returns
    -------
    (n, d) float32

    Cost: the model's; the texts are tokenized twice, once to learn their lengths. Guarantee: the same texts give the
    same vectors; in other company a text's vector may differ by rounding.
    """
    vectors = np.empty((len(texts), model.get_embedding_dimension() or 0), np.float32)
    for rows in batches(_lengths(model, texts, prompt), tokens, size):
        batch = [texts[row] for row in rows.tolist()]
        vectors[rows] = model.encode(batch, batch_size=len(batch), prompt=prompt or None, show_progress_bar=False)
    return vectors


def _lengths(model: SentenceTransformer, texts: Sequence[str], prompt: str) -> Counts:
    """The number of tokens of each text, no more than the model reads; characters if it has no tokenizer to ask."""
    tokenizer = getattr(model, "tokenizer", None)
    if not callable(tokenizer):
        return np.array([len(text) for text in texts], np.int64)
    lengths = np.empty(len(texts), np.int64)
    for rows in block_slices(len(texts), _TOKENIZED):
        chunk = [prompt + text for text in texts[rows]]
        tokens = tokenizer(chunk, truncation=model.max_seq_length is not None, max_length=model.max_seq_length)
        lengths[rows] = [len(ids) for ids in tokens["input_ids"]]
    return lengths


# ---------------------------------------------------------------- loading


def _check_packages(backend: Backend) -> None:
    """Refuse a backend of which a package is not installed."""
    for module, package in (("sentence_transformers", "sentence-transformers"), *_NEEDS[backend]):
        if importlib.util.find_spec(module) is None:
            raise missing_extra_error(
                package, _EXTRA[backend], f"embedder 'sentence_transformers' with backend {backend!r}"
            )


@lru_cache(maxsize=2)
def load(
    name: str,
    backend: Backend,
    device: str | None,
    dtype: Dtype,
    max_tokens: int | None,
    held: str | None = None,  # noqa: ARG001 - part of the key
) -> SentenceTransformer:
    """Load a model once a process: from the folder ``name``, else from the hub's cache, else from the hub.

    Code that comes with a model is never run. For openvino and onnx a model that was not exported is exported to a
    temporary folder; the model's own folder is only read.

    Parameters
    ----------
    name : str
        A folder, or a name on the hub.
    backend, device, dtype, max_tokens
        The fields of the embedder.
    held : str, optional
        Identifies what the folder holds, so that a model replaced under its name is loaded again.

    Raises
    ------
    PluginError
        If a package or the model is missing, or the model cannot be loaded.
    """
    _check_packages(backend)
    import sentence_transformers
    import torch

    options = _options(backend, device, dtype)
    folder = Path(name).expanduser()
    torch.set_num_threads(thread_count())
    with _quiet():
        try:
            model: SentenceTransformer = sentence_transformers.SentenceTransformer(
                str(folder) if folder.is_dir() else name,
                backend=backend,
                device="cpu" if backend == "openvino" else device,
                local_files_only=folder.is_dir() or _commit(name) is not None,
                model_kwargs=options,
            )
        except Exception as error:
            raise _unloadable(name, folder, error) from error
    if backend == "torch":
        model.to(torch.float32 if model.device.type == "cpu" else getattr(torch, dtype))
    if max_tokens is not None:
        limit = getattr(getattr(model[0], "config", None), "max_position_embeddings", None)
        if limit is not None and max_tokens > limit:
            raise PluginError(f"max_tokens is {max_tokens}, but the model {name!r} reads at most {limit} tokens")
        model.max_seq_length = max_tokens
    return model


def _options(backend: Backend, device: str | None, dtype: Dtype) -> dict[str, object]:
    """What the backend is told; for torch the precision is set after loading."""
    if backend == "openvino":
        if device not in (None, "cpu"):
            raise PluginError(f"backend 'openvino' runs on the CPU, not on {device!r}", hint="leave out device")
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _PRECISION[dtype]}
        return {"ov_config": {**hints, "INFERENCE_NUM_THREADS": thread_count()}}
    if backend == "onnx":
        if dtype != "float32":
            raise PluginError(f"backend 'onnx' computes in float32, not in {dtype}", hint="use torch or openvino")
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = thread_count()
        gpu = (device or "cpu").startswith("cuda")
        return {"provider": "CUDAExecutionProvider" if gpu else "CPUExecutionProvider", "session_options": session}
    return {}


@contextmanager
def _precision(model: SentenceTransformer, backend: Backend, dtype: Dtype) -> Iterator[None]:
    """On a CPU torch keeps float32 weights and multiplies in ``dtype``: as fast, a third of the error."""
    if backend != "torch" or dtype == "float32" or model.device.type != "cpu":
        yield
        return
    import torch

    with torch.autocast("cpu", getattr(torch, dtype)):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' advice to save what they export into the model's folder."""
    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers", "optimum", "nncf")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _unloadable(name: str, folder: Path, error: Exception) -> PluginError:
    """What to do about a model that cannot be loaded."""
    reason = f"{type(error).__name__}: {textwrap.shorten(str(error), 200)}"
    if folder.is_dir():
        return PluginError(
            f"the model in this folder cannot be loaded: {reason}",
            where=str(folder.resolve()),
            hint="it must hold what SentenceTransformer.save_pretrained writes (modules.json, config.json, …)",
        )
    if not _hub_names(name):
        return PluginError(
            f"no model: there is no folder {folder.absolute()}", hint="give the path of a model's folder"
        )
    offline = "HF_HUB_OFFLINE=0 " if os.environ.get("HF_HUB_OFFLINE") else ""
    return PluginError(
        f"the model {name!r} cannot be loaded: {reason}",
        hint=f"there is no folder {folder.absolute()}, nor a copy in the hub's cache; with access to the hub, "
        f"run: {offline}hf download {_hub_names(name)[-1]}",
    )


# ---------------------------------------------------------------- which model it is


def _hub_names(name: str) -> tuple[str, ...]:
    """The names that ``name`` may mean on the hub: none for a path; without an owner, sentence-transformers is one."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined,unused-ignore]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return ()
    return (name,) if "/" in name else (name, f"sentence-transformers/{name}")


def _commit(name: str) -> str | None:
    """The commit of the hub's model that lies in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    files = ("modules.json", "config.json")
    found = (try_to_load_from_cache(repo, file) for repo in _hub_names(name) for file in files)
    return next((Path(path).parent.name for path in found if isinstance(path, str)), None)


# ---------------------------------------------------------------- the plugin


@embedder(version=1, revision=True, check=True, example={"model": "sentence-transformers/all-MiniLM-L6-v2"})
@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceTransformers:
    """A model of the sentence-transformers library, from the hub or from a folder.

    Needs the extra ``sentence-transformers`` (or ``openvino``, or ``onnx``). Texts are batched by their number of
    tokens over the whole shard, so that little is padded. A model in the hub's cache is used as it is there, even if
    the hub has a newer one: the commit is part of the result's identity, and changes only when you download again.

    References
    ----------
    Reimers & Gurevych (2019), arXiv:1908.10084.
    """

    model: Annotated[str, MinLen(1), ContentPath()]
    """A name on the hub (``sentence-transformers/all-MiniLM-L6-v2``) or the path of a model's folder."""

    backend: Backend = "torch"
    """What computes; openvino is the fastest on most CPUs. A model that was not exported is exported when loaded."""

    device: Annotated[str | None, ExecutionOnly()] = None
    """cpu, cuda, cuda:1, mps, …; null = a GPU if torch finds one."""

    dtype: Dtype = "float32"
    """Precision; bfloat16 doubles the speed, or more, of CPUs that have it (avx512_bf16, amx), and of no others. It is
    never chosen by the machine, because it changes the vectors."""

    prompt: str = ""
    """Put before every text, for models that were trained with one (``passage: ``)."""

    truncate_dimension: Annotated[int, Ge(1)] | None = None
    """Keep only so many leading numbers of each vector, for models that were trained for it (Matryoshka)."""

    max_tokens: Annotated[int, Ge(1)] | None = None
    """Read only so many tokens of each text; null = as many as the model says."""

    batch_size: Annotated[Annotated[int, Ge(1)] | None, ExecutionOnly()] = None
    """Texts at a time; null = as many as have 1,024 tokens on a CPU, where more is slower, and 32,768 elsewhere."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        model = self._loaded()
        tokens = _CPU_BATCH if model.device.type == "cpu" else _GPU_BATCH
        with _precision(model, self.backend, self.dtype):
            vectors = encode(model, texts, prompt=self.prompt, tokens=tokens, size=self.batch_size)
        width = vectors.shape[1]
        if self.truncate_dimension is not None and self.truncate_dimension > width:
            raise PluginError(
                f"truncate_dimension is {self.truncate_dimension}, but {self.model!r} gives vectors of {width} numbers"
            )
        return np.ascontiguousarray(vectors[:, : self.truncate_dimension])

    def check(self) -> Sequence[str]:
        _check_packages(self.backend)
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
                raise _unloadable(self.model, folder, FileNotFoundError("it has no modules.json and no config.json"))
            return ()
        if _hub_names(self.model) and _commit(self.model) is not None:
            return ()
        if not _hub_names(self.model) or os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
            raise _unloadable(self.model, folder, FileNotFoundError("it is not in the hub's cache"))
        return (f"the model {self.model!r} is not in the hub's cache, and will be downloaded",)

    def revision(self) -> str:
        """Return the hub's commit of the model, or a sha256 of the files in its folder."""
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            return f"sha256:{hash_content(folder)}"
        if importlib.util.find_spec("huggingface_hub") is None or _commit(self.model) is None:
            self._loaded()
        return _commit(self.model) or "unknown"

    def _loaded(self) -> SentenceTransformer:
        """Return the model, loaded again in this process if its folder has changed."""
        folder = Path(self.model).expanduser()
        held = hash_content(folder) if folder.is_dir() else None
        return load(self.model, self.backend, self.device, self.dtype, self.max_tokens, held)
