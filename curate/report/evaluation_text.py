"""Sentences and tables of an evaluation, for the report and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.report.evaluation_data import SIGNIFICANT, Estimate, Evaluation, Line, Slice
from curate.report.formatting import capitalize, number, plural, plus_minus, points, probability, short, signed, value

WORST = 10
"""Maximum number of groups of test rows that are shown, those with the largest loss."""

SETS = ("selection", "uniform", "full")
"""Attributes of the three compared sets of rows."""

Table = tuple[list[str], list[list[str]]]
"""Header and rows of a table."""


def title(line: Line) -> str:
    """Return the name of a measure with spaces, and with a capital letter."""
    return capitalize(line.name.replace("_", " "))


def group_name(group: Slice) -> str:
    """Return the name of a group, with its kind if the name is a number."""
    return f"{group.grouping} {group.name}" if group.name.isdecimal() else group.name


def headline(evaluation: Evaluation) -> str:
    """Return a short verdict on the gain of the selection and the cost of pruning; "" without a primary metric."""
    line = evaluation.line(evaluation.primary)
    if line is None:
        return ""
    verdicts = {
        1: "Better than the random baseline",
        -1: "Worse than the random baseline",
        0: "Not significantly different from the random baseline",
    }
    verdict = verdicts[_side(line, line.difference, line.p)]
    if line.cost is None:
        return verdict
    amount = points(line.cost.mean, line.cost.half_width, rate=line.rate)
    costs = {
        1: f"{amount} better than all rows",
        -1: f"{amount} worse than all rows",
        0: "no significant cost of pruning",
    }
    return f"{verdict}; {costs[_side(line, line.cost, line.cost.p)]}"


def sentence(evaluation: Evaluation) -> str:
    """Return the verdict with numbers; "" without a primary metric."""
    line = evaluation.line(evaluation.primary)
    if line is None:
        return ""
    reached = plus_minus(line.selection, rate=line.rate)
    if not line.learns:
        return f"{title(line)} of the selection is {reached}: {describe_comparison(line)}."
    return (
        f"A model trained on the selection reaches a {title(line).lower()} of {reached}: {describe_comparison(line)}."
    )


def describe_comparison(line: Line) -> str:
    """Return a phrase that compares the selection with the random baseline and with all rows."""
    parts = [_than(line, line.difference, line.p, "the random baseline", few_seeds(line))]
    return ", ".join(parts + ([_than(line, line.cost, line.cost.p, "all rows")] if line.cost else []))


def describe_result(line: Line) -> str:
    """Return ``better`` or ``worse`` if the difference from the random baseline is significant, else ""."""
    return {1: "better", -1: "worse", 0: ""}[_side(line, line.difference, line.p)]


def few_seeds(line: Line) -> str:
    """Return a remark on the number of seeds needed; "" if it does not apply."""
    return seeds_needed(line.seeds_needed)


def seeds_needed(number: int | None) -> str:
    """Return a remark on the number of seeds at which an effect would be significant.

    >>> seeds_needed(12), seeds_needed(None), seeds_needed(0)
    ('too few seeds for this effect: about 12 are needed', 'more seeds alone would not make it significant', '')
    """
    if number is None:
        return "more seeds alone would not make it significant"
    return f"too few seeds for this effect: about {number} are needed" if number else ""


def _side(line: Line, difference: Estimate, p: float) -> int:
    """Return 1 if the selection is significantly better, −1 if significantly worse, else 0."""
    if not line.sign or not p < SIGNIFICANT:
        return 0
    return 1 if difference.mean * line.sign > 0 else -1


def _than(line: Line, difference: Estimate, p: float, other: str, remark: str = "") -> str:
    amount = points(difference.mean, difference.half_width, rate=line.rate)
    if side := _side(line, difference, p):
        return f"{amount} {'better' if side > 0 else 'worse'} than {other}"
    if math.isnan(p):
        return f"{signed(difference, rate=line.rate)} compared with {other} (not tested)"
    interval = signed(difference, rate=line.rate)
    return f"not significantly different from {other} ({'; '.join(filter(None, [interval, remark]))})"


# ---------------------------------------------------------------- tables


def metrics(lines: Sequence[Line]) -> Table:
    """Return the table of all measures."""
    rows, resampled = [], any(line.resampled for line in lines)
    for line in lines:
        estimates = (line.selection, line.uniform, line.full)
        values = ["" if each is None else plus_minus(each, rate=line.rate) for each in estimates]
        ends = [signed(Estimate(end, math.nan, math.nan), rate=line.rate) for end in line.resampled]
        differences = [signed(line.difference, rate=line.rate), *([" to ".join(ends)] if resampled else [])]
        test = ("exploratory (Holm)" if line.exploratory else "primary") if line.sign else ""
        rows.append(
            [line.name, *values, *differences, probability(line.p), test, describe_result(line) or few_seeds(line)]
        )
    differences_head = ["difference from baseline", *(["95 % interval by paired bootstrap"] if resampled else [])]
    return ["metric", "selection", "random baseline", "all rows", *differences_head, "p", "test", "result"], rows


def groups(evaluation: Evaluation) -> Table:
    """Return the table of the groups of test rows with the largest loss compared with all rows."""
    rate = _sliced_rate(evaluation)
    rows = [
        [
            f"{group.grouping} {short(group.name, 60)}",
            f"{group.rows:,}",
            *(number(getattr(group, name), rate=rate) for name in SETS),
            signed(group.lost, rate=rate),
        ]
        for group in evaluation.slices[:WORST]
    ]
    header = ["group of test rows", "rows", "selection", "random baseline", "all rows", "difference from all rows"]
    return header, rows


def worst(evaluation: Evaluation) -> Table:
    """Return the table of the worst group of each kind, for each set of rows."""
    rate, rows = _sliced_rate(evaluation), []
    for kind in dict.fromkeys(group.grouping for group in evaluation.slices):
        groups = [group for group in evaluation.slices if group.grouping == kind]
        least = {name: min(groups, key=lambda group, name=name: (getattr(group, name), group.name)) for name in SETS}  # type: ignore[misc]
        cells = [f"{number(getattr(g, name), rate=rate)} ({short(group_name(g), 40)})" for name, g in least.items()]
        rows.append([f"worst {kind}", *cells])
    return ["", "selection", "random baseline", "all rows"], rows


def stability(evaluation: Evaluation) -> Table:
    """Return the table of the stability of the selection and of the random baseline."""
    titles = {"over_seeds": "with another seed", "when_removed": "after removing 1 % of the rows"}
    rows = [
        [title, *(value(getattr(each, key)) for each in evaluation.stability.values())] for key, title in titles.items()
    ]
    names = ["random baseline" if name == "uniform" else name for name in evaluation.stability]
    return ["Jaccard index of two selections", *names], rows if evaluation.stability else []


def _sliced_rate(evaluation: Evaluation) -> bool:
    line = evaluation.line(evaluation.sliced)
    return line is not None and line.rate


def tables(evaluation: Evaluation) -> list[Table]:
    """Return all tables that have rows."""
    each = (metrics(evaluation.metrics), groups(evaluation), worst(evaluation), stability(evaluation))
    return [table for table in each if table[1]]


def lines(evaluation: Evaluation) -> list[str]:
    """Return the lines of text for the terminal, the verdict last."""
    rows = f"{evaluation.rows:,} of {evaluation.pool:,} rows selected"
    data = f"{rows}; {plural(evaluation.seeds, 'seed')}; {evaluation.tested}"
    return [data, *evaluation.notes, *filter(None, [sentence(evaluation)])]
