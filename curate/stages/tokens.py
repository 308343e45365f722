"""How many tokens a text has: from a column, from a tokenizer, or estimated."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import DataError, PluginError, missing_extra

BYTES_PER_TOKEN = 4
"""The usual rule of thumb for English text under a subword vocabulary."""


_FILE = "tokenizer.json"


def estimate(texts: pa.Array) -> pa.Array:
    """One token for every four bytes of UTF-8, rounded up; (n,) int32."""
    return pc.cast(np.ceil(pc.binary_length(texts).to_numpy(zero_copy_only=False) / BYTES_PER_TOKEN), pa.int32())


def column(counts: pa.Array, name: str) -> pa.Array:
    """Return the token counts in a column of the input, (n,) int64.

    Raises
    ------
    DataError : the column does not hold whole numbers
    """
    try:
        return counts.cast(pa.int64())
    except pa.ArrowException as error:
        raise DataError(f"input.tokens: column {name!r} does not hold whole numbers: {error}") from error


def is_file(name: str) -> bool:
    """Return whether ``name`` is a tokenizer's file, or a folder that has one."""
    path = Path(name)
    return path.is_file() or (path / _FILE).is_file()


def counter(tokenizer: str) -> Callable[[pa.Array], pa.Array]:
    """Counts tokens with the tokenizer of that name, or in that file or folder."""
    encode = _load(tokenizer)

    def count(texts: pa.Array) -> pa.Array:
        return pa.array(encode(texts.to_pylist()), pa.int32())

    return count


@lru_cache(maxsize=2)
def _load(name: str) -> Callable[[list[str]], list[int]]:
    try:
        import tokenizers
    except ImportError as error:
        raise missing_extra(
            "tokenizers", "tokenizers", f"input.tokens: {name!r} is no column, and as a tokenizer it"
        ) from error
    path = Path(name)
    try:
        if path.exists():
            loaded = tokenizers.Tokenizer.from_file(str(path / _FILE if path.is_dir() else path))
        else:
            loaded = tokenizers.Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises bare Exception
        raise PluginError(
            f"input.tokens: {name!r} is neither a column of the input nor a tokenizer that can be loaded: {error}",
            hint="name a column, a tokenizer.json, or a tokenizer on the hub while it can be reached",
        ) from error
    loaded.no_truncation()
    loaded.no_padding()
    return lambda texts: [len(encoding.ids) for encoding in loaded.encode_batch(texts, add_special_tokens=False)]
