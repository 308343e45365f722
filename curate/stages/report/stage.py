"""The report of a run, filled from what the stages left behind.

Every figure stands beside a uniform selection of the same budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from curate.report import run_page
from curate.report.summary import summary
from curate.stages.base import Context, Progressed
from curate.stages.export.stage import ExportResult
from curate.stages.report import evaluation_result
from curate.stages.report.figures import Figures
from curate.stages.report.outline import change, outline
from curate.store.versions import Publication


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
    context.progress.begin("writing the report", 6)
    figures = Figures(context, done)
    steps: dict[str, Callable[[], object]] = {
        "scores": figures.histograms,
        "shares": figures.shares,
        "neighbours": figures.neighbours,
        "map": figures.map,
        "conflicts": figures.conflicts,
        "answers": figures.answers,
        "examples": figures.examples,
    }
    exported = done.one("export", ExportResult).result
    contents = replace(outline(context, done, reused), masked=exported.masked, cut=exported.cut)
    parts: dict[str, Any] = {"warnings": done.warnings, "change": change(publication)}
    parts |= evaluation_result.parts(context, done.pool.selected)
    for name, step in steps.items():
        parts[name] = step()
        context.progress.advance(1)
    if contents.decontamination is not None:
        parts["decontamination"] = replace(contents.decontamination, hits=figures.hits())
    contents = replace(contents, **parts)
    return run_page.render(contents), summary(contents)
