"""What an evaluation comes to, in sentences and in tables, for the page and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.report.evaluation_data import SIGNIFICANT, Estimate, Evaluation, Line, Slice
from curate.report.formatting import begun, number, plural, plus_minus, points, probability, short, signed, value

WORST = 10
"""Groups of test rows that are told of, those that lose most."""

WAYS = {"selection": "the selection", "uniform": "uniform", "full": "every row"}

Table = tuple[list[str], list[list[str]]]
"""A header and rows."""


def titled(line: Line) -> str:
    """Its name as words."""
    return begun(line.name.replace("_", " "))


def named(group: Slice) -> str:
    """Its name; a bare number says what it numbers."""
    return f"{group.grouping} {group.name}" if group.name.isdecimal() else group.name


def headline(found: Evaluation) -> str:
    """Whether the choice paid and what pruning cost, in a few words; "" without a primary metric."""
    line = found.line(found.primary)
    if line is None:
        return ""
    beside = {1: "Better than chance", -1: "Worse than chance", 0: "No better than chance, as far as this can tell"}
    told = beside[_side(line, line.difference, line.p)]
    if line.cost is None:
        return told
    by = points(line.cost.mean, line.cost.half_width, rate=line.rate)
    lost = {1: f"{by} better than every row", -1: f"pruning cost {by}", 0: "no cost of pruning to be seen"}
    return f"{told}; {lost[_side(line, line.cost, line.cost.p)]}"


def sentence(found: Evaluation) -> str:
    """The same with its numbers."""
    line = found.line(found.primary)
    if line is None:
        return ""
    reached = plus_minus(line.selection, rate=line.rate)
    if not line.learns:
        return f"{titled(line)} of the selection is {reached}: {beside(line)}."
    return f"Trained on what is left, a model reaches a {titled(line).lower()} of {reached}: {beside(line)}."


def beside(line: Line) -> str:
    """How the selection's number stands to those of uniform ones and of every row."""
    told = [_than(line, line.difference, line.p, "uniform", few_seeds(line))]
    return ", ".join(told + ([_than(line, line.cost, line.cost.p, "every row")] if line.cost else []))


def better(line: Line) -> str:
    """Whether the selection is better than chance, in a word."""
    return {1: "better", -1: "worse", 0: ""}[_side(line, line.difference, line.p)]


def few_seeds(line: Line) -> str:
    """Return how many more seeds would show the difference to uniform; "" where there is nothing to say."""
    return seeds_needed(line.seeds_needed)


def seeds_needed(number: int | None) -> str:
    """
    >>> seeds_needed(12), seeds_needed(None), seeds_needed(0)
    ('too few seeds for this effect: about 12 would show it', 'more seeds alone would hardly show this effect', '')
    """
    if number is None:
        return "more seeds alone would hardly show this effect"
    return f"too few seeds for this effect: about {number} would show it" if number else ""


def _side(line: Line, difference: Estimate, p: float) -> int:
    """1 where the selection is better beyond chance, −1 where worse."""
    if not line.sign or not p < SIGNIFICANT:
        return 0
    return 1 if difference.mean * line.sign > 0 else -1


def _than(line: Line, difference: Estimate, p: float, other: str, remark: str = "") -> str:
    by = points(difference.mean, difference.half_width, rate=line.rate)
    if side := _side(line, difference, p):
        return f"{by} {'better' if side > 0 else 'worse'} than {other}"
    if math.isnan(p):
        return f"{signed(difference, rate=line.rate)} to {other}, which may be chance"
    interval = signed(difference, rate=line.rate)
    return f"not different from {other} by this test ({'; '.join(filter(None, [interval, remark]))})"


# ---------------------------------------------------------------- tables


def metrics(lines: Sequence[Line]) -> Table:
    """Every number of the selection beside that of uniform ones."""
    rows, resampled = [], any(line.resampled for line in lines)
    for line in lines:
        told = (line.selection, line.uniform, line.full)
        values = ["" if each is None else plus_minus(each, rate=line.rate) for each in told]
        ends = [signed(Estimate(end, math.nan, math.nan), rate=line.rate) for end in line.resampled]
        differences = [signed(line.difference, rate=line.rate), *([" to ".join(ends)] if resampled else [])]
        test = ("exploratory (Holm)" if line.exploratory else "primary") if line.sign else ""
        rows.append([line.name, *values, *differences, probability(line.p), test, better(line) or few_seeds(line)])
    beside = ["difference to uniform", *(["by paired bootstrap"] if resampled else [])]
    return ["metric", "selection", "uniform", "every row", *beside, "p", "test", ""], rows


def groups(found: Evaluation) -> Table:
    """The groups of test rows that lose most against every row; then the worst group of each kind with each choice."""
    rate = _sliced_rate(found)
    rows = [
        [
            f"{group.grouping} {short(group.name, 60)}",
            f"{group.rows:,}",
            *(number(getattr(group, way), rate=rate) for way in WAYS),
            signed(group.lost, rate=rate),
        ]
        for group in found.slices[:WORST]
    ]
    return ["group of test rows", "rows", "selection", "uniform", "every row", "difference to every row"], rows


def worst(found: Evaluation) -> Table:
    """The lowest number of any group, and which group it is, with each choice."""
    rate, rows = _sliced_rate(found), []
    for by in dict.fromkeys(group.grouping for group in found.slices):
        own = [group for group in found.slices if group.grouping == by]
        least = {way: min(own, key=lambda group, way=way: (getattr(group, way), group.name)) for way in WAYS}  # type: ignore[misc]
        told = [f"{number(getattr(g, way), rate=rate)} ({short(named(g), 40)})" for way, g in least.items()]
        rows.append([f"worst {by}", *told])
    return ["", "selection", "uniform", "every row"], rows


def stability(found: Evaluation) -> Table:
    """How much of the choice, and of a uniform one, stays the same."""
    ways = {"over_seeds": "with another seed", "when_removed": "with 1 % of the rows taken away"}
    rows = [[told, *(value(getattr(each, key)) for each in found.stability.values())] for key, told in ways.items()]
    return ["rows that stay the same (Jaccard)", *found.stability], rows if found.stability else []


def _sliced_rate(found: Evaluation) -> bool:
    line = found.line(found.sliced)
    return line is not None and line.rate


def tables(found: Evaluation) -> list[Table]:
    """All of them that have rows."""
    each = (metrics(found.metrics), groups(found), worst(found), stability(found))
    return [table for table in each if table[1]]


def lines(found: Evaluation) -> list[str]:
    """What else a reader must know; last, what it comes to."""
    told = f"{found.rows:,} of {found.pool:,} rows selected; {plural(found.seeds, 'seed')}; {found.tested}"
    return [told, *found.notes, *filter(None, [sentence(found)])]
