"""Results of ``curate evaluate`` in a run directory, read as untrusted data, for the report of the same selection."""

from __future__ import annotations

from pathlib import Path

from curate.pool.stage_outputs import SelectOutput
from curate.report.evaluation_data import Evaluation
from curate.stages.base import Context
from curate.store import parquet_io
from curate.store.json_shape import parse_dataclass

COMPARISON = "compare.html"
"""File name of the page of ``curate compare``, next to the report."""


def evaluation_path(folder: Path) -> Path:
    """Return the path of the evaluation in a run directory."""
    return folder / "evaluate" / "evaluate.json"


def read(context: Context, selected: SelectOutput) -> tuple[Evaluation | None, str]:
    """Return the evaluation of this selection, or a line that explains why there is none and how to get one."""
    file, reason = evaluation_path(context.folder), ""
    evaluation = parse_dataclass(Evaluation, parquet_io.read_json(file), null_is_nan=True)
    if not file.exists():
        reason = "The selection has not been evaluated"
        if file.parent.exists():
            context.progress.warn(f"{file} is missing: an evaluation was interrupted, or its result is lost")
    elif evaluation is None:
        reason = f"{file} is corrupt, or from another release"
        context.progress.warn(f"{reason}: the measurements are lost; run curate evaluate {context.config.run}")
    elif evaluation.select != selected.fingerprint:
        reason, evaluation = "The last evaluation is of an earlier selection", None
    return evaluation, f"{reason}; run: curate evaluate {context.config.run}" if reason else ""


def find_comparison_page(context: Context) -> str:
    """Return the name of the page of ``curate compare`` next to the report; empty if there is none."""
    return COMPARISON if (context.folder / COMPARISON).exists() else ""
