"""Files of selections that workers make: one file for each task, with the selections of its parts one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from curate.kernels.neighbors.retention import RecallSample, Retention
from curate.kernels.types import AnyArray, FittedState
from curate.plugins.results import Selection
from curate.store import npz

_OF_KEPT = ("indices", "gain", "weight")
_OF_ROWS = ("reason", "representative", "similarity")


def save(path: Path, fingerprint: str, sizes: Sequence[int], selections: Sequence[Selection]) -> None:
    """Write the selections of parts of a pool.

    Parameters
    ----------
    sizes : Sequence[int]
        Number of rows in each part.
    selections : Sequence[Selection]
        Selection of each part.
    """
    arrays: dict[str, AnyArray] = {
        "sizes": np.array(sizes, np.int64),
        "kept": np.array([len(each.indices) for each in selections], np.int64),
    }
    for name in (*_OF_KEPT, *_OF_ROWS):
        values = [getattr(each, name) for each in selections]
        arrays[f"has_{name}"] = np.array([value is not None for value in values], np.bool_)
        arrays[name] = _concatenate([value for value in values if value is not None])
    retentions = [each.retention for each in selections]
    arrays["nearest"] = _concatenate([one.nearest for one in retentions if one is not None])
    plans = [None if each.epochs is None else [len(rows) for rows in each.epochs] for each in selections]
    arrays["epochs"] = _concatenate([rows for each in selections for rows in each.epochs or ()])
    details = [
        {"reasons": each.reasons, "retention": _describe(each.retention), "epochs": plan}
        for each, plan in zip(selections, plans, strict=True)
    ]
    arrays["details"] = np.frombuffer(json.dumps(details).encode(), np.uint8)
    npz.save(path, fingerprint, arrays)


def load(path: Path, fingerprint: str) -> list[tuple[int, Selection]]:
    """Read the selections of a file, each with the number of rows of its part.

    Raises
    ------
    DataError
        The file is missing or corrupt, or was made from other inputs.
    """
    return list(_split(npz.load_required(path, fingerprint)))


def is_current(path: Path, fingerprint: str) -> bool:
    """Return whether ``path`` is a complete file with this fingerprint."""
    return npz.load(path, fingerprint) is not None


def _split(arrays: FittedState) -> Iterator[tuple[int, Selection]]:
    position = dict.fromkeys((*_OF_KEPT, *_OF_ROWS, "nearest", "epochs"), 0)

    def take(name: str, length: int) -> AnyArray:
        start = position[name]
        position[name] = start + length
        return arrays[name][start : start + length]

    details = json.loads(arrays["details"].tobytes())
    for part, (detail, n, k) in enumerate(zip(details, arrays["sizes"].tolist(), arrays["kept"].tolist(), strict=True)):
        values: dict[str, Any] = {
            name: take(name, k if name in _OF_KEPT else n) if arrays[f"has_{name}"][part] else None
            for name in (*_OF_KEPT, *_OF_ROWS)
        }
        retention, plan = detail["retention"], detail["epochs"]
        selection = Selection(
            **values,
            reasons=tuple(detail["reasons"]),
            retention=None if retention is None else _restore(retention, take("nearest", n)),
            epochs=None if plan is None else tuple(take("epochs", rows) for rows in plan),
        )
        yield n, selection


def _describe(retention: Retention | None) -> list[object] | None:
    if retention is None:
        return None
    sample = None if retention.sample is None else astuple(retention.sample)
    return [retention.similarity, retention.threshold, retention.compared_rates, sample]


def _restore(described: Sequence[object], nearest: AnyArray) -> Retention:
    similarity, threshold, rates, sample = described
    return Retention(
        similarity,  # type: ignore[arg-type]
        threshold,  # type: ignore[arg-type]
        nearest,
        tuple(rates),  # type: ignore[arg-type]
        None if sample is None else RecallSample(*sample),  # type: ignore[misc]
    )


def _concatenate(parts: Sequence[AnyArray]) -> AnyArray:
    return np.concatenate(parts) if parts else np.zeros(0)
