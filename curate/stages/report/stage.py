"""The report of a run, filled from what the stages left behind.

Every figure shows a uniform selection of the same budget as well.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from curate.accounting import Count
from curate.executors.base import peak_memory, reset_peak_memory
from curate.report import report_data, run_page
from curate.report.summary import summary
from curate.stages.base import CompletedStages, Context
from curate.stages.export.stage import ExportResult
from curate.stages.report import evaluation_result
from curate.stages.report.figures import Figures
from curate.stages.report.outline import build_outline, describe_publication
from curate.store.versions import Publication

T = TypeVar("T")

NAME = "report"
"""Name of the report in tables of stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedReport:
    """A report, and what it cost."""

    page: str
    """The HTML file."""

    summary: dict[str, object]
    """The same content as plain data."""

    account: report_data.Stage
    """The rows that it is of, and its cost."""


def render_report(
    context: Context,
    done: CompletedStages,
    publication: Publication | None,
    reused: Collection[str] = (),
) -> RenderedReport:
    """Render the report.

    Parameters
    ----------
    context, done
        The run, and the results of its stages.
    publication : mapping or None
        The line of the history for the export that the report is of.
    reused : collection of str
        The fingerprints of steps that were done before this run.
    """
    begun, progress = time.perf_counter(), context.progress
    reset_peak_memory()
    progress.begin("writing the report", 7, "parts")

    def advanced(part: T) -> T:
        progress.advance(1)
        return part

    figures, exported = Figures(context, done), done.record_of("export", ExportResult).result
    evaluation, unevaluated = evaluation_result.read(context, done.pool.select_output)
    filled = replace(
        build_outline(context, done, reused),
        warnings=done.warnings,
        masked=exported.masked,
        cut=exported.cut,
        change=describe_publication(publication),
        evaluation=evaluation,
        unevaluated=unevaluated,
        comparison=evaluation_result.find_comparison_page(context),
        scores=advanced(figures.histograms()),
        shares=advanced(figures.shares()),
        clusters=figures.clusters(),
        neighbors=advanced(figures.neighbors()),
        map=advanced(figures.map()),
        conflicts=advanced(figures.conflicts()),
        ground_truth=advanced(figures.ground_truth()),
        examples=advanced(figures.examples()),
    )
    if filled.decontamination is not None:
        filled = replace(filled, decontamination=replace(filled.decontamination, hits=figures.hits()))
    own = report_data.Stage(
        name=NAME,
        description="Measure the selection, draw the figures and write this page.",
        rows=_all_kept(filled.stages[-1].rows),
        sources={source: _all_kept(count) for source, count in filled.stages[-1].sources.items()},
        seconds=time.perf_counter() - begun,
        peak_bytes=peak_memory(),
    )
    filled = replace(filled, stages=(*filled.stages, own))
    page, data = run_page.render(filled), summary(filled)
    took = time.perf_counter() - begun
    progress.note(f"report: {filled.rows.kept:,} rows in, written in {took:.1f} s")
    return RenderedReport(page=page, summary=data, account=replace(own, seconds=took))


def _all_kept(rows: Count) -> Count:
    return Count(rows.kept, rows.kept)
