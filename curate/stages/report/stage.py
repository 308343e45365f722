"""Report of a run, from the results of the stages.

Every figure also shows a uniform selection of the same size.
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
from curate.stages.report.long_tail import long_tails
from curate.stages.report.outline import build_outline, describe_publication
from curate.store.versions import Publication

T = TypeVar("T")

NAME = "report"
"""Name of the report in tables of stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedReport:
    """Rendered report, with its cost."""

    page: str
    """HTML page."""

    summary: dict[str, object]
    """Content of the report as plain data."""

    account: report_data.Stage
    """Account of the report: its rows and its cost."""


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
        Context of the run, and the completed stages.
    publication : mapping or None
        History line of the export that the report describes.
    reused : collection of str
        Fingerprints of the steps that were reused.
    """
    begun, progress = time.perf_counter(), context.progress
    reset_peak_memory()
    progress.begin("writing the report", 7, "parts")

    def advance(part: T) -> T:
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
        scores=advance(figures.histograms()),
        shares=advance(figures.shares()),
        clusters=figures.clusters(),
        neighbors=advance(figures.neighbors()),
        map=advance(figures.map()),
        conflicts=advance(figures.conflicts()),
        ground_truth=advance(figures.ground_truth()),
        long_tails=long_tails(figures),
        examples=advance(figures.examples()),
        review=figures.review(),
    )
    if filled.decontamination is not None:
        filled = replace(filled, decontamination=replace(filled.decontamination, hits=figures.hits()))
    account = report_data.Stage(
        name=NAME,
        description="Measure the selection, draw the figures and write this page.",
        rows=_all_kept(filled.stages[-1].rows),
        sources={source: _all_kept(count) for source, count in filled.stages[-1].sources.items()},
        seconds=time.perf_counter() - begun,
        peak_bytes=peak_memory(),
    )
    filled = replace(filled, stages=(*filled.stages, account))
    page, data = run_page.render(filled), summary(filled)
    took = time.perf_counter() - begun
    progress.note(f"report: {filled.rows.kept:,} rows in, written in {took:.1f} s")
    return RenderedReport(page=page, summary=data, account=replace(account, seconds=took))


def _all_kept(rows: Count) -> Count:
    return Count(rows.kept, rows.kept)
