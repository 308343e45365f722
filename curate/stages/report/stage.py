"""The report of a run, filled from what the stages left behind.

Every figure stands beside a uniform selection of the same budget.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

from curate.report import run_page
from curate.report.summary import summary
from curate.stages.base import Context, Progressed
from curate.stages.export.stage import ExportResult
from curate.stages.report import evaluation_result
from curate.stages.report.figures import Figures
from curate.stages.report.outline import change, outline
from curate.store.versions import Publication

T = TypeVar("T")


def report(
    context: Context,
    done: Progressed,
    publication: Publication | None,
    reused: Collection[str] = (),
) -> tuple[str, dict[str, object]]:
    """Render the report.

    Parameters
    ----------
    context, done
        The run, and the results of its stages.
    publication : mapping or None
        The line of the history for the export that the report is of.
    reused : collection of str
        The fingerprints of steps that were done before this run.

    Returns
    -------
    page : str
        The HTML file.
    summary : dict
        The same content as plain data.
    """
    progress = context.progress
    progress.begin("writing the report", 7, "parts")

    def advanced(part: T) -> T:
        progress.advance(1)
        return part

    figures, exported = Figures(context, done), done.one("export", ExportResult).result
    evaluation, unevaluated = evaluation_result.read(context, done.pool.selected)
    contents = replace(
        outline(context, done, reused),
        warnings=done.warnings,
        masked=exported.masked,
        cut=exported.cut,
        change=change(publication),
        evaluation=evaluation,
        unevaluated=unevaluated,
        comparison=evaluation_result.comparison(context),
        scores=advanced(figures.histograms()),
        shares=advanced(figures.shares()),
        neighbours=advanced(figures.neighbours()),
        map=advanced(figures.map()),
        conflicts=advanced(figures.conflicts()),
        answers=advanced(figures.answers()),
        examples=advanced(figures.examples()),
    )
    if contents.decontamination is not None:
        contents = replace(contents, decontamination=replace(contents.decontamination, hits=figures.hits()))
    return run_page.render(contents), summary(contents)
