"""Estimated time, memory and disk of a step that never ran, from a table of measurements in the package.

``benchmarks/calibration.py`` writes the table on one machine; the speed of another is measured once, in half a second.
The table has the processor seconds of the main thread, and of all others, among which the cores are divided.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.kernels.parallel import thread_count
from curate.plugins.interfaces import PROXY_READS
from curate.stages.entry_tasks import ONE_PROCESS, describe_tasks

if TYPE_CHECKING:
    from curate.config.model import Entry

TABLE = Path(__file__).with_name("calibration.json")


@dataclass(frozen=True, slots=True)
class Cost:
    """Estimated cost of a step."""

    seconds: float
    """Duration in seconds on the machine of the table, with as many cores as this one."""

    memory: int
    """Peak memory of a process in bytes; 0 if it is unknown."""

    disk: int
    """Size of the written files, in bytes."""


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


_REPETITIONS = ("models", "subsets", "trainings")
"""Fields of scorers that train the proxy repeatedly, to which their time is proportional."""

_OF_OUTPUTS = {"score": "score length", "embed": "embed column"}
"""Measured step that costs about as much as one that only reads the outputs of a language model, by stage."""

_DRIVER_BYTES = 100
"""Memory of a run for each row of the pool, in bytes, for a step whose rows are divided over tasks."""


def estimate(
    stage: str,
    entry: Entry | None,
    rows: int,
    bytes_per_row: float,
    proxy: Entry | None = None,
    *,
    rows_per_shard: int,
) -> Cost | None:
    """Estimate the cost of a step; return None if its plugin was never measured.

    Parameters
    ----------
    stage : str
        Name of the stage.
    entry : Entry or None
        Entry of the step, if it has a plugin.
    rows : int
        Number of input rows.
    bytes_per_row : float
        Mean size of a row in the input files.
    proxy : Entry, optional
        Proxy of the run, whose epochs the steps that read its predictions process.
    rows_per_shard : int
        Number of rows that a task processes, if the step has tasks.
    """
    table = _table()
    name = stage if entry is None else f"{stage} {entry.spec.name}"
    if entry is not None and entry.spec.plugin().traits.reads_model and entry.spec.plugin().traits.within == "shard":
        name = _OF_OUTPUTS.get(stage, name)
    measured = table["steps"].get(name)
    if measured is None:
        return None
    size = bytes_per_row / table["bytes_per_row"] if reads_text(entry) else 1.0
    width = 1.0
    if entry is not None and stage == "embed":
        dimensions = dict(entry.spec.fields).get("dimensions")
        width = dimensions / table["dimensions"] if isinstance(dimensions, int) else 1.0
    memory, disk = measured["memory"], measured["disk"]
    main, threads = (interpolate(measured["rows"], measured[part], rows) for part in ("main", "threads"))
    epochs = 1.0 if proxy is None else _count_epochs(proxy)
    if stage in ("proxy", "held_out") or (entry is not None and entry.spec.plugin().traits.reads & PROXY_READS):
        main, threads = main * epochs, threads * epochs
    if entry is not None and "learner" in entry.spec.plugin().traits.reads:
        repetitions = _scale(entry, _REPETITIONS)
        main, threads = main * repetitions, threads * repetitions
    if stage == "cluster" and entry is not None:
        threads *= _count_products(entry, rows)
    rows_at_once, parallel, driver = rows, 1, 0
    if entry is None or describe_tasks(entry) != ONE_PROCESS:
        rows_at_once, driver = min(rows, rows_per_shard), _DRIVER_BYTES * rows
        parallel = min(thread_count(), -(-rows // rows_per_shard))
    return Cost(
        (main / parallel + threads / thread_count()) * size * (1 + 3 * width) / 4,
        round(memory[0] + memory[1] * rows_at_once * size) + driver,
        round(disk[0] + disk[1] * rows * (epochs if stage == "proxy" else width if stage == "embed" else size)),
    )


def _count_products(entry: Entry, rows: int) -> float:
    """Return the products of rows and centroids as a multiple of the default, with which a clusterer was measured."""
    given, count = dict(entry.spec.fields), 1.0
    if isinstance(n_clusters := given.get("n_clusters"), int):
        count *= n_clusters / max(1, min(10_000, math.isqrt(rows)))
    return count


def _count_epochs(proxy: Entry) -> float:
    """Return the epochs of all runs of a proxy as a multiple of the default, with which it was measured."""
    return _scale(proxy, ("epochs", "runs"))


def _scale(entry: Entry, names: Collection[str]) -> float:
    """Return the product of some fields of a plugin as a multiple of that of their defaults."""
    given, product = dict(entry.spec.fields), 1.0
    for field in fields(entry.spec.plugin().cls):
        if field.name in names and isinstance(field.default, int):
            product *= given[field.name] / field.default
    return product


def slowdown(entry: Entry | None) -> float:
    """Return how many times as long a step takes on this machine as on the one of the table."""
    from curate.stages import machine_speed

    work: machine_speed.Work = "text" if reads_text(entry) else "matrix"
    return float(machine_speed.seconds()[work] / _table()["machine"][work])


def reads_text(entry: Entry | None) -> bool:
    """Return whether the time of a step grows with the length of the texts."""
    return entry is None or "text" in entry.spec.plugin().traits.reads


def interpolate(rows: Sequence[int], seconds: Sequence[float], n: int) -> float:
    """Return the seconds for n rows: on straight lines between measurements, and beyond the last on a line or a power.

    A power of the number of rows describes steps whose time grows faster than the rows.

    >>> interpolate([10, 20], [1.0, 2.0], 15), interpolate([10, 20], [1.0, 4.0], 40)
    (1.5, 16.0)
    """
    if len(rows) == 1:
        return seconds[0] * max(1.0, n / rows[0])
    last = next((position for position in range(1, len(rows)) if n <= rows[position]), len(rows) - 1)
    (x, y), (s, t) = rows[last - 1 : last + 1], seconds[last - 1 : last + 1]
    line = max(0.0, s + (t - s) * (n - x) / (y - x))
    if n <= y or t <= s or s <= 0:
        return max(line, t if n > y else 0.0)
    exponent = min(2.0, math.log(t / s) / math.log(y / x))
    return max(line, t * math.pow(n / y, exponent))
