"""Verdict of a comparison in one sentence, and its tables."""

from __future__ import annotations

import math

from curate.evaluation.comparison_result import Cell, Comparison
from curate.evaluation.contenders import UNIFORM
from curate.evaluation.estimates import replace_nan
from curate.evaluation.metric_notes import excluded_rows_notes
from curate.evaluation.metric_values import Measure
from curate.report import evaluation_text
from curate.report.evaluation_data import SIGNIFICANT
from curate.report.formatting import DASH, join_words, plural, plus_minus, points, probability, seconds, signed, value


def as_dict(comparison: Comparison) -> dict[str, object]:
    """Return the comparison and its verdict as plain data."""
    return replace_nan({"sentence": sentence(comparison), "price": price(comparison), **comparison.as_dict()})


def tables(comparison: Comparison) -> list[tuple[list[str], list[list[str]]]]:
    """Return the headers and rows of all tables."""
    return [grid_table(comparison), rank_table(comparison), measure_table(comparison)]


def lines(comparison: Comparison) -> list[str]:
    """Return the lines of text for the terminal, the verdict last."""
    return [*about(comparison), price(comparison), sentence(comparison)]


def sentence(comparison: Comparison) -> str:
    """Return the verdict: the selector and prune rate with the largest gain, and how the other selectors compare."""
    if comparison.seeds < 2:
        return "one seed is not enough for a statistical test: use --seeds 2 or more"
    cells = [cell for cell in comparison.cells.values() if cell.differences]
    if not cells:
        return f"there is nothing to compare: only the random baseline ({UNIFORM}) was run"
    winners = [cell for cell in cells if comparison.better(cell)]
    if not winners:
        losers = sorted({cell.selector for cell in cells if comparison.worse(cell)})
        lost = f"; {join_words(losers)} {_is(losers)} significantly worse at some prune rate" if losers else ""
        undecided = [cell for cell in cells if cell.seeds_needed and comparison.gain(cell) > 0]
        first = min(undecided, key=lambda cell: cell.seeds_needed or 0, default=None)
        more = "" if first is None else f"; testing whether {first.selector} is needs about {first.seeds_needed} seeds"
        return f"no selector is significantly better than the random baseline: use {UNIFORM}{more}{lost}"
    best = max(winners, key=comparison.gain)
    others = [cell for cell in cells if cell.rate == best.rate and cell is not best]
    gain = _gain(comparison, best)
    parts = [f"use {best.selector} at prune rate {best.rate:g}: it is better than the random baseline by {gain}"]
    better_too = [cell.selector for cell in others if comparison.better(cell)]
    worse = [cell.selector for cell in others if comparison.worse(cell)]
    equal = [cell.selector for cell in others if cell.selector not in (*better_too, *worse)]
    if better_too:
        parts.append(f"{join_words(better_too)} {_is(better_too)} better as well")
    if equal:
        parts.append(f"{join_words(equal)} {'does' if len(equal) == 1 else 'do'} not differ significantly from it")
    if worse:
        parts.append(f"{join_words(worse)} {_is(worse)} worse than it")
    return "; ".join(parts)


def price(comparison: Comparison) -> str:
    """Return the cost of pruning compared with all rows, at the prune rate of the verdict, or else at the lowest."""
    winners = [cell for cell in comparison.cells.values() if cell.differences and comparison.better(cell)]
    best = max(winners, key=comparison.gain) if winners else comparison.cells[UNIFORM, comparison.rates[0]]
    name, rate = comparison.primary.name, comparison.primary.rate
    selected, all_rows = plus_minus(best.values[name], rate=rate), plus_minus(comparison.full[name], rate=rate)
    return (
        f"{name}: {selected} with {best.selector} on {best.rows:,} rows, {all_rows} with all {comparison.rows:,} rows"
    )


def about(comparison: Comparison) -> list[str]:
    """Return lines on the data, the tests, and the interpretation of the results."""
    held_out = "held out from the pool (clusters and scores were computed on all rows)"
    where = held_out if comparison.held_out else "from the test files"
    data = (
        f"{comparison.rows:,} rows to select from, {comparison.test_rows:,} test rows {where}, "
        f"{plural(comparison.seeds, 'seed')}"
    )
    filters = f"filters that run before every selector except {UNIFORM}: {join_words(list(comparison.filters))}"
    return [
        data,
        *([filters] if comparison.filters else []),
        *visible_notes(comparison),
        tested_sentence(comparison),
        *few_seeds_notes(comparison),
        *excluded_rows_notes(comparison.excluded),
        *comparison.notes,
    ]


def tested_sentence(comparison: Comparison) -> str:
    """Return a sentence on the primary metric and on the correction of p values."""
    number = comparison.comparisons
    correction = f"Holm-corrected for {number} comparisons with the random baseline" if number > 1 else "not corrected"
    others = (
        "; the other metrics are exploratory, and corrected among themselves" if len(comparison.measures) > 1 else ""
    )
    return f"the primary metric is {comparison.primary.name}; its p values are {correction}{others}"


def few_seeds_notes(comparison: Comparison) -> list[str]:
    """Return notes on differences that are not significant with this number of seeds."""
    cells = [cell for cell in comparison.cells.values() if cell.differences]
    lines = [
        f"{cell.selector} at {cell.rate:g}: {evaluation_text.seeds_needed(cell.seeds_needed)}"
        for cell in cells
        if cell.seeds_needed
    ]
    never = [f"{cell.selector} at {cell.rate:g}" for cell in cells if cell.seeds_needed is None]
    return [*lines, *([f"{join_words(never)}: {evaluation_text.seeds_needed(None)}"] if never else [])]


def grid_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the primary measure by selector and prune rate, with the difference from the random baseline in brackets.

    Significant differences are marked with *.
    """
    title = f"{comparison.primary.name} (difference from {UNIFORM})"
    header = [title, *(f"prune rate {rate:g}" for rate in comparison.rates)]
    rows = [
        [
            f"{name}{_mark(comparison, name)}",
            *(_cell(comparison, comparison.cells[name, rate]) for rate in comparison.rates),
        ]
        for name in (*comparison.selectors, UNIFORM)
    ]
    all_rows = plus_minus(comparison.full[comparison.primary.name], rate=comparison.primary.rate)
    return header, [*rows, ["all rows", *(all_rows for _ in comparison.rates)]]


def rank_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the mean rank, the significant wins and losses, the time and the stability of every selector."""
    header = [
        "selector",
        "reads",
        "mean rank",
        "better than random at",
        "worse than random at",
        "time",
        "overlap between seeds",
        "overlap with 99 % of rows",
    ]
    rows = []
    for name in (*comparison.selectors, UNIFORM):
        cells = [comparison.cells[name, rate] for rate in comparison.rates if not comparison.cells[name, rate].untested]
        ranked = [comparison.rank(cell) for cell in cells if cell in comparison.tested(cell.rate)]
        mean = sum(ranked) / len(ranked) if ranked else math.nan
        wins = ", ".join(f"{cell.rate:g}" for cell in cells if comparison.better(cell)) or DASH
        losses = ", ".join(f"{cell.rate:g}" for cell in cells if comparison.worse(cell)) or DASH
        means = [
            sum(values) / len(values) if (values := [getattr(cell, key) for cell in cells]) else math.nan
            for key in ("seconds", "same_over_seeds", "same_when_removed")
        ]
        stable = [value(share) for share in means[1:]]
        rows.append(
            (mean, [name, visible_cell(comparison, name), value(mean), wins, losses, seconds(means[0]), *stable])
        )
    ordered = sorted(rows, key=lambda row: (math.isnan(row[0]), row[0]))
    return header, [row for _, row in ordered]


def visible_cell(comparison: Comparison, name: str) -> str:
    """Return the labels and groups that a selector reads, as one cell of a table."""
    return ", ".join(comparison.visible.get(name, ())) or DASH


def visible_notes(comparison: Comparison) -> list[str]:
    """Return one line on the selectors that read labels or groups, unlike the random baseline; none if none does."""
    names = [f"{name} ({', '.join(read)})" for name in comparison.selectors if (read := comparison.visible.get(name))]
    return [f"unlike {UNIFORM}, these selectors read labels or groups: {', '.join(names)}"] if names else []


def measure_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the p values of the primary measure, and all other measures, by selector and prune rate."""
    others = [one for one in comparison.measures if one is not comparison.primary]
    name = comparison.primary.name
    corrected = [f"p, Holm-corrected for {comparison.comparisons} comparisons"] if comparison.comparisons > 1 else []
    header = ["selector", "prune rate", f"p of {name}", *corrected, *(f"{one.name} (exploratory)" for one in others)]
    rows = []
    for cell in comparison.cells.values():
        if not cell.untested:
            raw = cell.differences[name].p if cell.differences else math.nan
            tested = [probability(raw), *([probability(cell.p)] if corrected else [])]
            rows.append([cell.selector, f"{cell.rate:g}", *tested, *(_other(cell, one) for one in others)])
    return header, rows


def _other(cell: Cell, measure: Measure) -> str:
    """Return the mean of an exploratory measure and its difference from the random baseline, with * if significant."""
    mean = plus_minus(cell.values[measure.name], rate=measure.rate)
    if not cell.differences:
        return mean
    mark = "*" if cell.exploratory.get(measure.name, math.nan) < SIGNIFICANT else ""
    return f"{mean} ({signed(cell.differences[measure.name], rate=measure.rate)}{mark})"


def _cell(comparison: Comparison, cell: Cell) -> str:
    if cell.untested:
        return DASH
    text = plus_minus(cell.values[comparison.primary.name], rate=comparison.primary.rate)
    if not cell.differences:
        return text
    mark = "*" if cell.p < SIGNIFICANT else ""
    needed = f"; needs about {cell.seeds_needed} seeds" if cell.seeds_needed else ""
    return f"{text} ({signed(cell.differences[comparison.primary.name], rate=comparison.primary.rate)}{mark}{needed})"


def _mark(comparison: Comparison, name: str) -> str:
    """Return the mark of a selector that reads labels or groups."""
    read = comparison.visible.get(name, ())
    return f" (reads {', '.join(read)})" if read else ""


def _gain(comparison: Comparison, cell: Cell) -> str:
    """Return the gain over the random baseline as text, without a sign."""
    difference = cell.differences[comparison.primary.name]
    text = points(difference.mean, difference.half_width, rate=comparison.primary.rate)
    return f"{text} {'of' if comparison.primary.rate else 'in'} {comparison.primary.name}"


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
