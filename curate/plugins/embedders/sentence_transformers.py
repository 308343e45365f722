"""Embedder for models of the sentence-transformers library, with batches of texts of similar length."""

from __future__ import annotations

import importlib.util
import os
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Ge, MinLen

from curate.errors import PluginError, missing_extra_error
from curate.kernels.images import codec
from curate.kernels.parallel import block_slices, map_blocks, thread_count
from curate.kernels.types import Counts, Images, Matrix, Rows
from curate.paths import hash_content
from curate.plugins.interfaces import ContentPath, ExecutionOnly, embedder
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
    from sentence_transformers import SentenceTransformer

Backend = Literal["torch", "openvino", "onnx"]

_NEEDS: dict[Backend, tuple[tuple[str, str], ...]] = {  # required modules, and the packages that provide them
    "torch": (),
    "openvino": (("openvino", "openvino"), ("optimum", "optimum-intel"), ("optimum.intel", "optimum-intel")),
    "onnx": (("onnxruntime", "onnxruntime"), ("optimum", "optimum-onnx"), ("optimum.onnxruntime", "optimum-onnx")),
}
_EXTRA: dict[Backend, str] = {"torch": "sentence-transformers", "openvino": "openvino", "onnx": "onnx"}
_PRECISION: dict[Dtype, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}  # names in OpenVINO
_CPU_BATCH, _GPU_BATCH = 1_024, 32_768  # tokens
_CPU_IMAGES, _GPU_IMAGES = 8, 128  # images per batch
_IMAGE_SIDE = 512  # a JPEG image is decoded with at least that many pixels per side
_TOKENIZED = 1_024  # texts tokenized at a time to determine their lengths


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    prompt: str,
    max_tokens: int,
    size: int | None = None,
    dtype: Dtype | None = None,
) -> Matrix:
    """Encode texts with a model.

    Parameters
    ----------
    model : model from ``load``
    texts : n strings
    prompt : prefix of every text
    max_tokens, size : as for ``batches``
    dtype : precision of the products of a torch model on a CPU, whose batches run in parallel, each on one thread; None
        for any other model, whose batches run one after the other

    Returns
    -------
    (n, d) float32

    Notes
    -----
    Cost: that of the model; texts are tokenized twice, once to determine their lengths. One thread for each batch is
    faster than all threads for one batch at a time, as small operations are not worth splitting.

    Guarantee: the same texts give the same vectors; with other texts, the vector of a text may differ by rounding.
    """
    all_batches = batches(_lengths(model, texts, prompt), max_tokens, size)
    return _encode_batches(model, lambda row: texts[row], len(texts), all_batches, prompt, dtype)


def encode_images(model: SentenceTransformer, images: Images, *, size: int, dtype: Dtype | None = None) -> Matrix:
    """Encode images with a model that reads images, such as CLIP.

    Parameters
    ----------
    model : model from ``load``
    images : n encoded images
    size : images per batch
    dtype : as for ``encode``

    Returns
    -------
    (n, d) float32
    """

    def decode(row: int) -> object:
        return codec.decode_image(images[row], _IMAGE_SIDE)

    all_batches = (np.arange(rows.start, rows.stop) for rows in block_slices(len(images), size))
    with warnings.catch_warnings():  # of damaged metadata
        warnings.simplefilter("ignore")
        return _encode_batches(model, decode, len(images), all_batches, "", dtype)


def _encode_batches(
    model: SentenceTransformer,
    read: Callable[[int], object],
    n: int,
    all_batches: Iterable[Rows],
    prompt: str,
    dtype: Dtype | None,
) -> Matrix:
    """Encode n texts or images in batches; see ``encode``."""
    vectors = np.empty((n, model.get_embedding_dimension() or 0), np.float32)

    def encode_batch(model: SentenceTransformer, rows: Rows) -> None:
        batch = [read(row) for row in rows.tolist()]
        vectors[rows] = model.encode(batch, batch_size=len(batch), prompt=prompt or None, show_progress_bar=False)

    if dtype is None:
        for rows in all_batches:
            encode_batch(model, rows)
        return vectors

    own = threading.local()

    def encode_on_one_thread(rows: Rows) -> None:
        import torch

        if not hasattr(own, "model"):
            own.model = share_weights(model)
            torch.set_num_threads(1)
        with torch.autocast("cpu", getattr(torch, dtype), enabled=dtype != "float32"):
            encode_batch(own.model, rows)

    for _ in map_blocks(encode_on_one_thread, all_batches):
        pass
    return vectors


def _lengths(model: SentenceTransformer, texts: Sequence[str], prompt: str) -> Counts:
    """Return the number of tokens that the model reads of each text; characters if it has no tokenizer."""
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
    """Raise an error if a package of a backend is not installed."""
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
    content_hash: str | None = None,  # noqa: ARG001 - cache key
) -> SentenceTransformer:
    """Load a model once per process: from the directory ``name``, else from the hub cache, else from the hub.

    Code that comes with a model is never run. For openvino and onnx, a model that was not exported is exported to a
    temporary directory; the model's own directory is only read.

    Parameters
    ----------
    name : directory, or name on the hub
    backend, device, dtype, max_tokens : the fields of the embedder
    content_hash : identifies the content of the directory, so that a replaced model is loaded again

    Raises
    ------
    PluginError : if a package or the model is missing, or the model cannot be loaded
    """
    _check_packages(backend)
    import sentence_transformers
    import torch

    options = _options(backend, device, dtype)
    folder = Path(name).expanduser()
    torch.set_num_threads(thread_count())
    with quiet_libraries():
        try:
            model: SentenceTransformer = sentence_transformers.SentenceTransformer(
                str(folder) if folder.is_dir() else name,
                backend=backend,
                device="cpu" if backend == "openvino" else device,
                local_files_only=folder.is_dir() or _commit(name) is not None,
                model_kwargs=options,
            )
        except Exception as error:
            raise _load_error(name, folder, error) from error
    if backend == "torch":
        model.to(torch.float32 if model.device.type == "cpu" else getattr(torch, dtype))
    if max_tokens is not None:
        limit = getattr(getattr(model[0], "config", None), "max_position_embeddings", None)
        if limit is not None and max_tokens > limit:
            raise PluginError(f"max_tokens is {max_tokens}, but the model {name!r} reads at most {limit} tokens")
        model.max_seq_length = max_tokens
    return model


def _options(backend: Backend, device: str | None, dtype: Dtype) -> dict[str, object]:
    """Return the options of the backend; for torch the precision is set after loading."""
    if backend == "openvino":
        if device not in (None, "cpu"):
            raise PluginError(f"backend 'openvino' runs on the CPU, not on {device!r}", hint="remove `device`")
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _PRECISION[dtype]}
        return {"ov_config": {**hints, "INFERENCE_NUM_THREADS": thread_count()}}
    if backend == "onnx":
        if dtype != "float32":
            raise PluginError(
                f"backend 'onnx' computes in float32, not in {dtype}", hint="use backend torch or openvino"
            )
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = thread_count()
        gpu = (device or "cpu").startswith("cuda")
        return {"provider": "CUDAExecutionProvider" if gpu else "CPUExecutionProvider", "session_options": session}
    return {}


def resolve_dtype(dtype: RequestedDtype, backend: Backend, device: str | None) -> Dtype:
    """Return the precision that "auto" selects: the fastest that the processor or GPU computes with instructions.

    It is bfloat16 on processors with avx512_bf16 or amx_bf16 and GPUs that have it, float16 on other CUDA GPUs, and
    float32 elsewhere; with backend onnx, always float32.
    """
    if dtype != "auto":
        return dtype
    if backend == "onnx":
        return "float32"
    if _runs_on_cpu(backend, device):
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    import torch

    if not torch.cuda.is_available():
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _runs_on_cpu(backend: Backend, device: str | None) -> bool:
    if backend == "openvino" or (device or "").startswith("cpu"):
        return True
    if device is not None:
        return False
    from sentence_transformers.util import get_device_name

    return bool(get_device_name() == "cpu")


def _load_error(name: str, folder: Path, error: Exception) -> PluginError:
    """Return the error for a model that cannot be loaded, with a remedy."""
    reason = f"{type(error).__name__}: {textwrap.shorten(str(error), 200)}"
    if folder.is_dir():
        return PluginError(
            f"cannot load the model in this directory: {reason}",
            where=str(folder.resolve()),
            hint="it needs the files that SentenceTransformer.save_pretrained writes (modules.json, config.json, …)",
        )
    if not hub_names(name):
        return PluginError(
            f"no model: there is no directory {folder.absolute()}", hint="set `model` to the path of a model directory"
        )
    offline = "HF_HUB_OFFLINE=0 " if os.environ.get("HF_HUB_OFFLINE") else ""
    return PluginError(
        f"cannot load the model {name!r}: {reason}",
        hint=f"there is no directory {folder.absolute()}, and no copy in the hub cache; with access to the hub, "
        f"run: {offline}hf download {hub_names(name)[-1]}",
    )


# ---------------------------------------------------------------- identity of the model


def _commit(name: str) -> str | None:
    """Return the commit of the hub model in the local cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    files = ("modules.json", "config.json")
    cached_paths = (try_to_load_from_cache(repo, file) for repo in hub_names(name) for file in files)
    return next((Path(path).parent.name for path in cached_paths if isinstance(path, str)), None)


# ---------------------------------------------------------------- the plugin


@embedder(
    version=2,
    reads={"text", "image"},
    revision=True,
    check=True,
    example={"model": "sentence-transformers/all-MiniLM-L6-v2"},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceTransformers:
    """Model of the sentence-transformers library, from the hub or from a directory.

    Use it for the best semantic similarity, in particular of paraphrases, and with a GPU for large pools. ``lsa`` needs
    no download and is much faster on a CPU.

    Needs the extra ``sentence-transformers`` (or ``openvino``, or ``onnx``). Texts are batched by number of tokens over
    the complete shard, to limit padding. A model in the hub cache is used unchanged, even if the hub has a newer one:
    the commit is part of the identity of the result, and changes only when you download again.

    Models that read images, such as ``sentence-transformers/clip-ViT-B-32``, embed the images of the pool with
    ``modality: image``.

    References
    ----------
    Reimers & Gurevych (2019), arXiv:1908.10084. CLIP: Radford et al. (2021), arXiv:2103.00020.
    """

    model: Annotated[str, MinLen(1), ContentPath()]
    """Name on the hub (``sentence-transformers/all-MiniLM-L6-v2``) or path of a model directory."""

    modality: Literal["text", "image"] = "text"
    """Input of the model: the texts or the images of the pool. Images need a model for images, and the extra
    ``images``."""

    backend: Backend = "torch"
    """Inference engine; openvino is the fastest on most CPUs. Models that are not exported are exported when loaded."""

    device: Annotated[str | None, ExecutionOnly()] = None
    """Device: cpu, cuda, cuda:1, mps, …; null = a GPU if torch finds one."""

    dtype: RequestedDtype = "float32"
    """Precision. ``auto`` is bfloat16 where the processor or GPU has it, and otherwise float32 (float16 on older GPUs):
    faster, but the vectors then depend on the machine. bfloat16 is four times slower on CPUs without avx512_bf16 or
    amx_bf16."""

    prompt: str = ""
    """Prefix of every text, for models that were trained with one (``passage: ``)."""

    truncate_dimension: Annotated[int, Ge(1)] | None = None
    """Number of leading dimensions to keep, for models trained for truncation (Matryoshka)."""

    max_tokens: Annotated[int, Ge(1)] | None = None
    """Maximum number of tokens read of each text; null = the limit of the model."""

    batch_size: Annotated[Annotated[int, Ge(1)] | None, ExecutionOnly()] = None
    """Number of texts or images per batch; null = up to 1,024 tokens or 8 images on a CPU, where more is slower, and
    32,768 tokens or 128 images on others."""

    def encode(self, texts: Sequence[str] | Images) -> Matrix:
        model = self._loaded()
        on_cpu = model.device.type == "cpu"
        dtype = self._dtype() if self.backend == "torch" and on_cpu else None
        modalities = getattr(model, "modalities", ["text"])
        if self.modality not in modalities:
            raise PluginError(
                f"the model {self.model!r} reads no {self.modality}s, but {' and '.join(modalities)}",
                hint=f"set modality: {modalities[0]}, or use another model",
            )
        if isinstance(texts, Images):
            size = self.batch_size or (_CPU_IMAGES if on_cpu else _GPU_IMAGES)
            vectors = encode_images(model, texts, size=size, dtype=dtype)
        else:
            max_tokens = _CPU_BATCH if on_cpu else _GPU_BATCH
            vectors = encode(model, texts, prompt=self.prompt, max_tokens=max_tokens, size=self.batch_size, dtype=dtype)
        width = vectors.shape[1]
        if self.truncate_dimension is not None and self.truncate_dimension > width:
            raise PluginError(
                f"truncate_dimension is {self.truncate_dimension}, but vectors of {self.model!r} have {width} numbers"
            )
        return np.ascontiguousarray(vectors[:, : self.truncate_dimension])

    def check(self) -> Sequence[str]:
        _check_packages(self.backend)
        if self.modality == "image" and importlib.util.find_spec("PIL") is None:
            raise missing_extra_error("pillow", "images", "embedder 'sentence_transformers' with modality 'image'")
        return (*self._check_model(), *self._check_dtype())

    def _check_dtype(self) -> Sequence[str]:
        if self.dtype != "bfloat16" or cpu_has_bfloat16() or not _runs_on_cpu(self.backend, self.device):
            return ()
        return (
            "bfloat16 is several times slower than float32 on this processor, which has neither avx512_bf16 nor "
            "amx_bf16; set `dtype` to float32 or auto",
        )

    def _check_model(self) -> Sequence[str]:
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
                raise _load_error(self.model, folder, FileNotFoundError("it has neither modules.json nor config.json"))
            return ()
        if hub_names(self.model) and _commit(self.model) is not None:
            return ()
        if not hub_names(self.model) or os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
            raise _load_error(self.model, folder, FileNotFoundError("it is not in the hub cache"))
        return (f"the model {self.model!r} is not in the hub cache and will be downloaded",)

    def revision(self) -> str:
        """Return the hub's commit of the model, or a sha256 of the files in its directory; and the dtype of "auto"."""
        revision = self._model_revision()
        return f"{revision} {self._dtype()}" if self.dtype == "auto" else revision

    def _model_revision(self) -> str:
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            return f"sha256:{hash_content(folder)}"
        if importlib.util.find_spec("huggingface_hub") is None or _commit(self.model) is None:
            self._loaded()
        return _commit(self.model) or "unknown"

    def _loaded(self) -> SentenceTransformer:
        """Return the model; it is loaded again in this process if its directory has changed."""
        folder = Path(self.model).expanduser()
        content_hash = hash_content(folder) if folder.is_dir() else None
        return load(self.model, self.backend, self.device, self._dtype(), self.max_tokens, content_hash)

    def _dtype(self) -> Dtype:
        return resolve_dtype(self.dtype, self.backend, self.device)
