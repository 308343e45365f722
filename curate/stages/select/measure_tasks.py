"""Numbers by which a ``MeasuringSelector`` ranks rows, computed on the workers in two passes over the shards.

Memory: one shard a worker, and 4 bytes a row in the driver. No process holds the embeddings of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curate.kernels.types import FittedState, Rows, Vector
from curate.plugins.batches import Pool
from curate.pool.view import PoolView
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.stages.select.run_selector import build_pool, pool_of_values
from curate.stages.summaries import add_summaries
from curate.store import npz

if TYPE_CHECKING:
    from curate.config.model import SelectEntry


@dataclass(frozen=True, slots=True)
class _Task:
    pool: PoolView
    number: int
    rows: bytes
    """Whether each row of the shard reaches the entry, as packed bits."""

    entry: SelectEntry
    folder: Path
    fingerprint: str

    def path(self, kind: str) -> Path:
        """Return the path of the ``summary`` or the ``values`` of the shard."""
        return self.folder / kind / f"part-{self.number:05d}.npz"

    def read(self, kind: str) -> FittedState:
        """Read a result of the shard."""
        return npz.load_required(self.path(kind), self.fingerprint)

    def build_pool(self) -> Pool:
        """Return the rows of the shard that reach the entry."""
        view = self.pool.restrict(self.number)
        mask = np.unpackbits(np.frombuffer(self.rows, np.uint8), count=len(view))
        return build_pool(view, np.flatnonzero(mask), self.entry)


def measure_rows(
    context: Context, pool: PoolView, before: Rows, entry: SelectEntry, folder: Path, fingerprint: str
) -> tuple[Pool, int]:
    """Return the rows ``before`` with their numbers as a pool without embeddings, and the peak memory of a worker."""
    mask = np.zeros(len(pool), np.bool_)
    mask[before] = True
    parts = np.split(mask, np.cumsum(pool.shard_sizes)[:-1])
    tasks = [
        _Task(pool, number, np.packbits(part).tobytes(), entry, folder, fingerprint)
        for number, part in zip(pool.numbers, parts, strict=True)
    ]
    sizes = [int(part.sum()) for part in parts]
    label = f"selecting with {entry.name}"
    _, failed, peak = context.map(f"{label}: first pass", _summarize, tasks, sizes)
    raise_if_failed(failed)
    total = add_summaries(task.read("summary") for task in tasks)
    npz.save(folder / _TOTAL, fingerprint, total)
    _, failed, other_peak = context.map(label, _measure, tasks, sizes)
    raise_if_failed(failed)
    values = np.concatenate([task.read("values")["values"] for task in tasks])
    return pool_of_values(values), max(peak, other_peak)


_TOTAL = "summary.npz"


def _summarize(task: _Task) -> None:
    if npz.load(task.path("summary"), task.fingerprint) is None:
        pool = task.build_pool()
        with plugin_call(task.entry.spec, task.entry.name):
            summary = task.entry.spec.build().summarize(pool)
        npz.save(task.path("summary"), task.fingerprint, summary)


def _measure(task: _Task) -> None:
    if npz.load(task.path("values"), task.fingerprint) is None:
        total, pool = npz.load_required(task.folder / _TOTAL, task.fingerprint), task.build_pool()
        with plugin_call(task.entry.spec, task.entry.name):
            values: Vector = task.entry.spec.build().measure(pool, total)
        npz.save(task.path("values"), task.fingerprint, {"values": values})
