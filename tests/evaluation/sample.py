"""Comparison with a better and a worse selector, a cell without numbers, and a name with markup."""

from __future__ import annotations

import math

from curate.evaluation.comparison_result import Cell, Comparison
from curate.evaluation.metric_values import Measure
from curate.evaluation.split import ExcludedRows
from curate.plugins.interfaces import OutputColumn
from curate.report.evaluation_data import Estimate

ACCURACY = Measure(
    "probe",
    OutputColumn(name="accuracy", higher_is_better=True, unit="share of the test rows", range=(0, 1)),
    learns=True,
    reads_labels=True,
)
SPREAD = Measure("spread", OutputColumn(higher_is_better=False), learns=False, reads_labels=False)
EVIL = "</script><img src=x onerror=alert(1)>"


def cell(selector: str, rate: float, mean: float, gain: float, p: float, seconds: float) -> Cell:
    values = {"probe_accuracy": Estimate(mean, 0.01, 0.0), "spread": Estimate(2.0, math.nan, math.nan)}
    differences = {"probe_accuracy": Estimate(gain, 0.02, p), "spread": Estimate(0.1, math.nan, math.nan)}
    return Cell(
        selector=selector,
        rate=rate,
        rows=round(1000 * (1 - rate)),
        values=values,
        differences={} if selector == "uniform" else differences,
        p=p,
        seconds=seconds,
        same_over_seeds=1.0,
        same_when_removed=0.9,
    )


def comparison(name: str = "ccs") -> Comparison:
    cells = [
        cell("facility_location", 0.5, 0.95, 0.01, 0.2, 2.0),
        cell("facility_location", 0.9, 0.90, 0.10, 0.001, 1.0),
        cell(name, 0.5, 0.93, -0.01, 0.4, 0.1),
        cell(name, 0.9, 0.60, -0.20, 0.001, 0.1),
        cell("uniform", 0.5, 0.94, 0, math.nan, 0.001),
        cell("uniform", 0.9, 0.80, 0, math.nan, 0.001),
        Cell(
            selector="top_k", rate=0.5, rows=500, untested="the filters leave 300 rows, fewer than the 500 of this rate"
        ),
        cell("top_k", 0.9, 0.81, 0.01, 0.9, 0.01),
    ]
    return Comparison(
        run="runs/sample",
        rows=1000,
        test_rows=300,
        held_out=False,
        seeds=5,
        filters=("semdedup",),
        selectors=("facility_location", name, "top_k"),
        rates=(0.5, 0.9),
        visible={"top_k": ("labels", "groups of source")},
        measures=(ACCURACY, SPREAD),
        primary=ACCURACY,
        cells={(each.selector, each.rate): each for each in cells},
        full={"probe_accuracy": Estimate(0.955, 0.01, 0), "spread": Estimate(2.1, math.nan, math.nan)},
        excluded=ExcludedRows(overlapping=("a", "b", "c", "d"), unlabeled=1, unknown=2),
        notes=("a note",),
    )
