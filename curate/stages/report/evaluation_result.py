"""What ``curate evaluate`` left in a run folder, read as strangers' data, for the report of the same selection."""

from __future__ import annotations

from pathlib import Path

from curate.pool.stage_outputs import SelectOutput
from curate.report.evaluation_data import Evaluation
from curate.stages.base import Context
from curate.store import parquet_io
from curate.store.json_shape import parse_dataclass

COMPARISON = "compare.html"
"""Beside the report: the page of ``curate compare``."""


def evaluation_path(folder: Path) -> Path:
    """Where in a run's folder the evaluation stands."""
    return folder / "evaluate" / "evaluate.json"


def read(context: Context, selected: SelectOutput) -> tuple[Evaluation | None, str]:
    """Return the evaluation of this very selection, or a line that says why there is none and how to get one."""
    file, why = evaluation_path(context.folder), ""
    found = parse_dataclass(Evaluation, parquet_io.read_json(file), null_is_nan=True)
    if not file.exists():
        why = "Whether it trains a better model has not been measured"
        if file.parent.exists():
            context.progress.warn(f"{file} is missing: an evaluation has not ended, or its result is lost")
    elif found is None:
        why = f"{file} is not as this release writes it"
        context.progress.warn(f"{why}: what was measured is lost; run curate evaluate {context.config.run}")
    elif found.select != selected.fingerprint:
        why, found = "Whether it trains a better model was measured on an earlier selection", None
    return found, f"{why}: run curate evaluate {context.config.run}" if why else ""


def find_comparison_page(context: Context) -> str:
    """Return the name of the page of ``curate compare`` next to the report; empty if there is none."""
    return COMPARISON if (context.folder / COMPARISON).exists() else ""
