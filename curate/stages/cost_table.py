"""Estimated time, memory and disk of a step that never ran, from a table of measurements in the package.

``benchmarks/calibration.py`` writes the table. Other machines and texts differ by a factor of up to three.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.config.model import Entry

TABLE = Path(__file__).with_name("calibration.json")


@dataclass(frozen=True, slots=True)
class Cost:
    """Estimated cost of a step."""

    seconds: float
    """Duration in seconds."""

    memory: int
    """Peak memory of a process in bytes."""

    disk: int
    """Size of the written files, in bytes."""


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def estimate(stage: str, entry: Entry | None, rows: int, bytes_per_row: float) -> Cost | None:
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
    """
    table = _table()
    measured = table["steps"].get(f"{stage} {entry.spec.name}" if entry is not None else stage)
    if measured is None:
        return None
    traits = entry.spec.plugin().traits if entry is not None else None
    reads = traits.reads if traits is not None else {"text"}
    size = bytes_per_row / table["bytes_per_row"] if "text" in reads else 1.0
    if entry is not None and stage == "embed":
        dimensions = dict(entry.spec.fields).get("dimensions")
        disk_size = dimensions / table["dimensions"] if isinstance(dimensions, int) else 1.0
    else:
        disk_size = size
    law = rows**2 if stage == "select" and traits is not None and traits.quadratic else rows
    (base, each), memory, disk = measured["seconds"], measured["memory"], measured["disk"]
    return Cost(
        round(base + each * law * size, 1),
        round(memory[0] + memory[1] * rows * size),
        round(disk[0] + disk[1] * rows * disk_size),
    )
