"""What a comparison comes to, in one plain sentence; and its tables."""

from __future__ import annotations

import math

from curate.evaluation.comparison_result import Cell, Comparison
from curate.evaluation.contenders import UNIFORM
from curate.evaluation.estimates import replace_nan
from curate.evaluation.metric_notes import excluded_rows_notes
from curate.evaluation.metric_values import Measure
from curate.report import evaluation_text
from curate.report.evaluation_data import SIGNIFICANT
from curate.report.formatting import DASH, listed, plural, plus_minus, points, probability, seconds, signed, value


def as_dict(found: Comparison) -> dict[str, object]:
    """Return the comparison and its verdict as plain data."""
    return replace_nan({"sentence": sentence(found), "price": price(found), **found.as_dict()})


def tables(found: Comparison) -> list[tuple[list[str], list[list[str]]]]:
    """Headers and rows, for people."""
    return [grid_table(found), rank_table(found), measure_table(found)]


def lines(found: Comparison) -> list[str]:
    """What was tested on what; and last, what it comes to."""
    return [*about(found), price(found), sentence(found)]


def sentence(found: Comparison) -> str:
    """Which selector to use, and what of the others: for the prune rate where the most is won over random."""
    if found.seeds < 2:
        return "one seed cannot tell a difference from chance: compare with --seeds 2 or more"
    cells = [cell for cell in found.cells.values() if cell.differences]
    if not cells:
        return f"nothing could be compared with random: {UNIFORM} is the only one that was tried"
    winners = [cell for cell in cells if found.better(cell)]
    if not winners:
        losers = sorted({cell.selector for cell in cells if found.worse(cell)})
        lost = f"; {listed(losers)} {_is(losers)} worse than random at some rate" if losers else ""
        hopes = [cell for cell in cells if cell.seeds_needed and found.gain(cell) > 0]
        first = min(hopes, key=lambda cell: cell.seeds_needed or 0, default=None)
        hope = "" if first is None else f"; about {first.seeds_needed} seeds would show whether {first.selector} does"
        return f"nothing beats random here: use {UNIFORM}{hope}{lost}"
    best = max(winners, key=found.gain)
    others = [cell for cell in cells if cell.rate == best.rate and cell is not best]
    parts = [f"use {best.selector} at prune rate {best.rate:g}: it beats random by {_by(found, best)}"]
    also = [cell.selector for cell in others if found.better(cell)]
    bad = [cell.selector for cell in others if found.worse(cell)]
    same = [cell.selector for cell in others if cell.selector not in (*also, *bad)]
    if also:
        parts.append(f"{listed(also)} {'beats' if len(also) == 1 else 'beat'} it too")
    if same:
        parts.append(f"{listed(same)} {'does' if len(same) == 1 else 'do'} not differ from random")
    if bad:
        parts.append(f"{listed(bad)} {_is(bad)} worse than random")
    return "; ".join(parts)


def price(found: Comparison) -> str:
    """What pruning costs against training on every row, at the rate of the sentence or else the lowest."""
    winners = [cell for cell in found.cells.values() if cell.differences and found.better(cell)]
    best = max(winners, key=found.gain) if winners else found.cells[UNIFORM, found.rates[0]]
    own, whole = best.values[found.primary.name], found.full[found.primary.name]
    return (
        f"{found.primary.name}: {plus_minus(own, rate=found.primary.rate)} with {best.selector} on {best.rows:,} rows, "
        f"{plus_minus(whole, rate=found.primary.rate)} with all {found.rows:,}"
    )


def about(found: Comparison) -> list[str]:
    """What was tested on what, and what a reader must know."""
    where = "held out of the pool, which clusters and scores have seen" if found.held_out else "of the test files"
    told = f"{found.rows:,} rows to choose from, {found.test_rows:,} test rows {where}, {plural(found.seeds, 'seed')}"
    filtered = [f"before every selector but {UNIFORM}: {listed(list(found.filters))}"] if found.filters else []
    return [
        told,
        *filtered,
        *visible_notes(found),
        tested_sentence(found),
        *few_seeds_notes(found),
        *excluded_rows_notes(found.left),
        *found.notes,
    ]


def tested_sentence(found: Comparison) -> str:
    """Return which measure is tested, and for how many comparisons its p values are corrected."""
    number = found.comparisons
    corrected = f"corrected for {number} comparisons with random (Holm)" if number > 1 else "not corrected"
    others = "; the other metrics are exploratory, and corrected among themselves" if len(found.measures) > 1 else ""
    return f"{found.primary.name} is the primary metric, {corrected}{others}"


def few_seeds_notes(found: Comparison) -> list[str]:
    """Return the differences that more seeds would show, or would not."""
    cells = [cell for cell in found.cells.values() if cell.differences]
    lines = [
        f"{cell.selector} at {cell.rate:g}: {evaluation_text.seeds_needed(cell.seeds_needed)}"
        for cell in cells
        if cell.seeds_needed
    ]
    never = [f"{cell.selector} at {cell.rate:g}" for cell in cells if cell.seeds_needed is None]
    return [*lines, *([f"{listed(never)}: {evaluation_text.seeds_needed(None)}"] if never else [])]


def grid_table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Selectors × rates of the primary measure: the mean, and the difference to uniform, with * beyond chance."""
    header = [f"{found.primary.name}, difference to {UNIFORM}", *(f"prune {rate:g}" for rate in found.rates)]
    rows = [
        [f"{name}{_mark(found, name)}", *(_cell(found, found.cells[name, rate]) for rate in found.rates)]
        for name in (*found.selectors, UNIFORM)
    ]
    whole = plus_minus(found.full[found.primary.name], rate=found.primary.rate)
    return header, [*rows, ["every row", *(whole for _ in found.rates)]]


def rank_table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Each selector's mean rank, where it beats random and where it loses, its time and its stability."""
    header = [
        "selector",
        "sees",
        "mean rank",
        "beats random at",
        "loses at",
        "time",
        "same over seeds",
        "same with 99 % of rows",
    ]
    rows = []
    for name in (*found.selectors, UNIFORM):
        cells = [found.cells[name, rate] for rate in found.rates if not found.cells[name, rate].untested]
        ranked = [found.rank(cell) for cell in cells if cell in found.tested(cell.rate)]
        mean = sum(ranked) / len(ranked) if ranked else math.nan
        wins = ", ".join(f"{cell.rate:g}" for cell in cells if found.better(cell)) or DASH
        losses = ", ".join(f"{cell.rate:g}" for cell in cells if found.worse(cell)) or DASH
        means = [
            sum(values) / len(values) if (values := [getattr(cell, key) for cell in cells]) else math.nan
            for key in ("seconds", "same_over_seeds", "same_when_removed")
        ]
        stable = [value(share) for share in means[1:]]
        rows.append((mean, [name, visible_cell(found, name), value(mean), wins, losses, seconds(means[0]), *stable]))
    ordered = sorted(rows, key=lambda row: (math.isnan(row[0]), row[0]))
    return header, [row for _, row in ordered]


def visible_cell(found: Comparison, name: str) -> str:
    """Return what a selector sees of labels and groups, as one cell of a table."""
    return ", ".join(found.visible.get(name, ())) or DASH


def visible_notes(found: Comparison) -> list[str]:
    """Return one line on the selectors that see labels or groups, which uniform does not; none if none does."""
    names = [f"{name} ({', '.join(seen)})" for name in found.selectors if (seen := found.visible.get(name))]
    return [f"sees what {UNIFORM} does not: {', '.join(names)}"] if names else []


def measure_table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the p values of the primary measure and every other measure, a line for each selector and rate."""
    others = [one for one in found.measures if one is not found.primary]
    name = found.primary.name
    corrected = [f"corrected for {found.comparisons} (Holm)"] if found.comparisons > 1 else []
    header = ["selector", "prune rate", f"p of {name}", *corrected, *(f"{one.name} (exploratory)" for one in others)]
    rows = []
    for cell in found.cells.values():
        if not cell.untested:
            raw = cell.differences[name].p if cell.differences else math.nan
            tested = [probability(raw), *([probability(cell.p)] if corrected else [])]
            rows.append([cell.selector, f"{cell.rate:g}", *tested, *(_other(cell, one) for one in others)])
    return header, rows


def _other(cell: Cell, measure: Measure) -> str:
    """Return a mean of an exploratory measure and its difference to uniform, with * where it is significant."""
    mean = plus_minus(cell.values[measure.name], rate=measure.rate)
    if not cell.differences:
        return mean
    mark = "*" if cell.exploratory.get(measure.name, math.nan) < SIGNIFICANT else ""
    return f"{mean} ({signed(cell.differences[measure.name], rate=measure.rate)}{mark})"


def _cell(found: Comparison, cell: Cell) -> str:
    if cell.untested:
        return DASH
    told = plus_minus(cell.values[found.primary.name], rate=found.primary.rate)
    if not cell.differences:
        return told
    mark = "*" if cell.p < SIGNIFICANT else ""
    needed = f"; needs about {cell.seeds_needed} seeds" if cell.seeds_needed else ""
    return f"{told} ({signed(cell.differences[found.primary.name], rate=found.primary.rate)}{mark}{needed})"


def _mark(found: Comparison, name: str) -> str:
    """Return the mark of a selector that sees labels or groups."""
    seen = found.visible.get(name, ())
    return f" (sees {', '.join(seen)})" if seen else ""


def _by(found: Comparison, cell: Cell) -> str:
    """How much is won over random, without a sign."""
    difference = cell.differences[found.primary.name]
    told = points(difference.mean, difference.half_width, rate=found.primary.rate)
    return f"{told} {'of' if found.primary.rate else 'in'} {found.primary.name}"


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
