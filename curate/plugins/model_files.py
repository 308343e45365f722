"""Models from a directory, a file or the hub, as plugins load them: their identity, precision, batches and threads."""

from __future__ import annotations

import copy
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from curate.kernels.types import Counts, Rows

if TYPE_CHECKING:
    from torch.nn import Module

Network = TypeVar("Network", bound="Module")
Dtype = Literal["float32", "bfloat16", "float16"]
RequestedDtype = Literal["auto", "float32", "bfloat16", "float16"]


def cpu_has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16; others convert each number, four times slower than float32."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return False
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    return not flags.isdisjoint(("avx512_bf16", "amx_bf16"))


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Suppress the libraries' advice to save exported models into the model's directory."""
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


def hub_names(name: str) -> tuple[str, ...]:
    """Return the names that ``name`` may refer to on the hub: none for a path; without an owner, two candidates."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined,unused-ignore]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return ()
    return (name,) if "/" in name else (name, f"sentence-transformers/{name}")


def batches(lengths: Counts, max_tokens: int, size: int | None = None) -> Iterator[Rows]:
    """Yield rows in batches of similar length, longest first.

    Every text of a batch is padded to the longest of it. Sorting by the number of tokens limits the padding; the
    longest go first so that a lack of memory shows immediately.

    Parameters
    ----------
    lengths : (n,) number of tokens of each text
    max_tokens : maximum number of tokens of a batch, including padding; a longer text is a separate batch
    size : rows per batch, instead of ``max_tokens``

    Yields
    ------
    row indices; rows of equal length in their order

    Examples
    --------
    >>> [rows.tolist() for rows in batches(np.array([3, 9, 3, 3]), 9)]
    [[1], [0, 2, 3]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        end = start + (size or max(1, max_tokens // max(1, int(lengths[order[start]]))))
        yield order[start:end]
        start = end


_copying = threading.Lock()


def share_weights(model: Network) -> Network:
    """Copy a model without its weights: a tokenizer must not be used by several threads at once."""
    with _copying:
        weights = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
        return copy.deepcopy(model, weights)
