"""Masking of personal data in quoted texts: kinds that the export masks are masked in all output as well."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from curate.errors import DataError
from curate.kernels.text.pii_patterns import PII_KINDS, PiiKind, mask_pii
from curate.store import parquet_io
from curate.store.json_shape import has_shape

NAME = "mask.json"


def write(folder: Path, kinds: Collection[PiiKind]) -> None:
    """Write the masked kinds to the run directory, before any other file is written."""
    parquet_io.write_json(folder / NAME, {"mask": [kind for kind in PII_KINDS if kind in kinds]})


def read(folder: Path) -> tuple[PiiKind, ...]:
    """Return the kinds of personal data that the run in ``folder`` masks.

    Raises
    ------
    DataError
        The file is missing or corrupt, so that a quoted text might show personal data.
    """
    data = parquet_io.read_json(folder / NAME)
    if data is None or not has_shape(data, {"mask": [str]}):
        problem = "is corrupt" if parquet_io.exists(folder / NAME) else "is missing"
        message = f"the list of masked personal data {problem}, so texts cannot be shown safely"
        raise DataError(message, where=str(folder / NAME), hint=f"run again: curate run {folder / 'config.yaml'}")
    return tuple(kind for kind in PII_KINDS if kind in data["mask"])


def redact(text: str, kinds: Collection[PiiKind]) -> str:
    """Return the text with personal data masked."""
    return mask_pii(text, kinds)[0] if kinds else text
