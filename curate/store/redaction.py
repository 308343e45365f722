"""What is left out of every text that is quoted from a run: what its export masks, no story or comparison shows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from curate.errors import DataError
from curate.kernels.text.pii_patterns import PII_KINDS, PiiKind, mask_pii
from curate.store import parquet_io
from curate.store.json_shape import has_shape

NAME = "mask.json"


def write(folder: Path, kinds: Collection[PiiKind]) -> None:
    """Say in a run's folder, before anything else is in it, which kinds are masked."""
    parquet_io.write_json(folder / NAME, {"mask": [kind for kind in PII_KINDS if kind in kinds]})


def read(folder: Path) -> tuple[PiiKind, ...]:
    """Return the kinds that the run in ``folder`` masks.

    Raises
    ------
    DataError
        If that is not known: a text that is quoted might hold what must not be shown.
    """
    data = parquet_io.read_json(folder / NAME)
    if data is None or not has_shape(data, {"mask": [str]}):
        what = "is corrupt" if parquet_io.exists(folder / NAME) else "is missing"
        message = f"the file that says what is masked {what}, so no text is shown"
        raise DataError(message, where=str(folder / NAME), hint=f"run again: curate run {folder / 'config.yaml'}")
    return tuple(kind for kind in PII_KINDS if kind in data["mask"])


def redact(text: str, kinds: Collection[PiiKind]) -> str:
    """The text as it may be shown."""
    return mask_pii(text, kinds)[0] if kinds else text
