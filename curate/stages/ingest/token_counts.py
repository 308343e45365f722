"""Token counts of texts: from a column, from a tokenizer, or estimated."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.errors import DataError, PluginError, missing_extra_error

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTES_PER_TOKEN = 4
"""Usual number of bytes per token of English text with a subword vocabulary."""


_FILE = "tokenizer.json"


def estimate(texts: pa.Array) -> pa.Array:
    """Estimate one token for every four bytes of UTF-8, rounded up; return shape (n,), int32."""
    return pc.cast(np.ceil(pc.binary_length(texts).to_numpy(zero_copy_only=False) / BYTES_PER_TOKEN), pa.int32())


def read_counts(counts: pa.Array, name: str) -> pa.Array:
    """Return the token counts in a column of the input, shape (n,), int64.

    Raises
    ------
    DataError
        The column does not contain integers.
    """
    try:
        return counts.cast(pa.int64())
    except pa.ArrowException as error:
        message = f"input.tokens: column {name!r} does not contain integers: {error}"
        raise DataError(message, hint="fix the column, or set input.tokens to a tokenizer") from error


def revision(tokenizer: str) -> str:
    """Return a sha256 of the tokenizer with this name, or in this file or folder.

    Raises
    ------
    PluginError
        It is not a file, and cannot be loaded from the hub or its cache.
    """
    return _file_digest(tokenizer) or hashlib.sha256(_load(tokenizer, None).to_str().encode()).hexdigest()


def make_counter(tokenizer: str) -> Callable[[pa.Array], pa.Array]:
    """Return a function that counts tokens with the tokenizer with this name, or in this file or folder."""
    loaded = _load(tokenizer, _file_digest(tokenizer))

    def count(texts: pa.Array) -> pa.Array:
        encoded = loaded.encode_batch(texts.to_pylist(), add_special_tokens=False)
        return pa.array([len(encoding.ids) for encoding in encoded], pa.int32())

    return count


def check(tokenizer: str) -> list[str]:
    """Return notes about downloads that loading a tokenizer requires.

    Raises
    ------
    PluginError
        The tokenizer cannot be loaded, as far as that is known without loading it.
    """
    if importlib.util.find_spec("tokenizers") is None:
        raise _missing(tokenizer)
    if is_file(tokenizer):
        return []
    if (
        _file(tokenizer) is not None
        or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", tokenizer)
        or tokenizer.endswith(".json")
    ):
        raise PluginError(f"input.tokens: {tokenizer!r} is neither a column of the input nor a tokenizer", hint=_HINT)
    if _is_cached(tokenizer):
        return []
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        message = f"input.tokens: {tokenizer!r} is not a column or in the hub's cache, and HF_HUB_OFFLINE is set"
        raise PluginError(message, hint=_HINT)
    return [f"input.tokens: the tokenizer {tokenizer!r} is not in the hub's cache and will be downloaded"]


def _is_cached(tokenizer: str) -> bool:
    if importlib.util.find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(tokenizer, _FILE), str)


_HINT = "use a column, a tokenizer.json, or a tokenizer on the hub while it is reachable"


def _missing(tokenizer: str) -> PluginError:
    return missing_extra_error(
        "tokenizers", "tokenizers", f"input.tokens: {tokenizer!r} is no column, and as a tokenizer it"
    )


def is_file(name: str) -> bool:
    """Return whether ``name`` is the file of a tokenizer, or a folder with one."""
    file = _file(name)
    return file is not None and file.is_file()


def _file(name: str) -> Path | None:
    """Return the file of a tokenizer on a disk; None for one on the hub."""
    path = Path(name)
    if path.is_dir():
        return path / _FILE
    return path if path.exists() else None


def _file_digest(name: str) -> str | None:
    """Return a sha256 of the file of a tokenizer; None if there is none."""
    file = _file(name)
    return paths.hash_content(file) if file is not None and file.is_file() else None


@lru_cache(maxsize=2)
def _load(name: str, content: str | None) -> Tokenizer:  # noqa: ARG001 - the content is part of the cache key
    """Return the tokenizer, loaded once per process and content of its file."""
    try:
        import tokenizers
    except ImportError as error:
        raise _missing(name) from error
    file = _file(name)
    try:
        if file is not None:
            loaded = tokenizers.Tokenizer.from_file(str(file))
        else:
            loaded = tokenizers.Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises bare Exception
        raise PluginError(
            f"input.tokens: {name!r} is neither a column of the input nor a tokenizer that can be loaded: {error}",
            hint=_HINT,
        ) from error
    loaded.no_truncation()
    loaded.no_padding()
    return loaded
