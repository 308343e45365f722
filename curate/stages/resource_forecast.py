"""Forecast of the disk space and memory of a first run, compared with the available amounts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from curate import paths
from curate.stages import cost_table
from curate.stages.config_references import iterate_entries
from curate.stages.findings import Findings
from curate.stages.pool_sample import PoolSample


def check_resources(findings: Findings, folder: Path, pool: PoolSample, size: int, *, refuse: bool) -> None:
    """Compare the estimated disk and memory of a first run, from the table of measurements, with the available amounts.

    A run does not stop for an estimate: it notes what ``curate check`` reports as an error.
    """
    rows = pool.row_count.rows
    shard = findings.config.input.rows_per_shard
    estimates = [cost_table.estimate("input", None, rows, size / rows, rows_per_shard=shard)]
    for section, _, entry in iterate_entries(findings.config):
        if section.name != "metrics":
            proxy = findings.config.proxy
            estimates.append(cost_table.estimate(section.name, entry, rows, size / rows, proxy, rows_per_shard=shard))
    costs = [cost for cost in estimates if cost is not None]
    disk, memory = sum(cost.disk for cost in costs), max(cost.memory for cost in costs)
    existing = next((one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir()), None)
    free = None if paths.is_object(folder) or existing is None else shutil.disk_usage(existing).free
    if free is not None and disk > free:
        needed = f"a first run writes ≈ {disk / 2**30:,.1f} GiB, but only {free / 2**30:,.1f} GiB are free"
        if refuse and disk > 3 * free:  # estimates are wrong by a smaller factor
            findings.add(("run",), needed, "use a directory on another disk, or free disk space")
        else:
            findings.notes.append(f"run: {needed} on the disk of {existing}")
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory > available:
        needed = f"a process needs ≈ {memory / 2**30:,.1f} GiB of memory"
        findings.notes.append(f"{needed}, but the machine has {available / 2**30:,.1f} GiB")
