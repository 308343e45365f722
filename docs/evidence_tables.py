"""Tables of docs/explanation/evidence.md and of the README, from the results in docs/evidence/*.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from curate.kernels.stats.intervals import holm

RESULTS = Path(__file__).parent / "evidence"
SETS = ("CLINC150", "Banking77", "SNIPS", "GoEmotions", "MNIST")
UNIFORM = "uniform"
ACCURACY, MACRO_F1 = "logistic_probe_accuracy", "logistic_probe_macro_f1"
SIGNIFICANT = 0.05
HEADLINE = ("herding_in_labels", "facility_location", "ccs_el2n_cut_10", "k_center", "top_k_el2n")
HEADLINE_RATE = 0.9


@dataclass(frozen=True)
class Results:
    """Results on one data set."""

    name: str
    found: Mapping[str, Any]

    @property
    def first(self) -> Mapping[str, Any]:
        """Comparison of the selectors without a filter."""
        return self.found["comparisons"][0]

    @property
    def rates(self) -> list[float]:
        return sorted({cell["prune_rate"] for cell in self.first["cells"]})

    @property
    def selectors(self) -> dict[str, list[Mapping[str, Any]]]:
        """Entries of each contender by its name: a filter first, if there is one."""
        return {
            entry.get("name", entry["use"]): [*comparison["select"][: len(comparison["filters"])], entry]
            for comparison in self.found["comparisons"]
            for entry in comparison["select"][len(comparison["filters"]) :]
        }

    def cell(self, selector: str, rate: float) -> Mapping[str, Any] | None:
        """Return the cell of a selector and a prune rate; None if it was not tested."""
        for comparison in self.found["comparisons"]:
            for cell in comparison["cells"]:
                if (cell["selector"], cell["prune_rate"]) == (selector, rate) and not cell["untested"]:
                    return cell
        return None

    @cached_property
    def p(self) -> dict[tuple[str, float], float]:
        """Holm-corrected p values of every selector and rate, with and without a filter."""
        each = {
            (cell["selector"], cell["prune_rate"]): cell["differences"][ACCURACY]["p"]
            for comparison in self.found["comparisons"]
            for cell in comparison["cells"]
            if ACCURACY in cell["differences"]
        }
        raw = [math.nan if p is None else p for p in each.values()]
        return dict(zip(each, holm(raw).tolist(), strict=True))

    def outcome(self, selector: str, rate: float) -> int:
        """Return 1 if a selector is significantly better than uniform, -1 if it is worse, else 0."""
        if not self.p.get((selector, rate), math.nan) < SIGNIFICANT:
            return 0
        return 1 if self.value(selector, rate, "differences")["mean"] > 0 else -1

    @property
    def full(self) -> Mapping[str, Any]:
        """Accuracy with all rows."""
        return self.first["full"][ACCURACY]

    def value(self, selector: str, rate: float, kind: str = "values", measure: str = ACCURACY) -> Mapping[str, Any]:
        """Return the mean and half width of a measure."""
        cell = self.cell(selector, rate)
        return {"mean": math.nan, "half_width": None} if cell is None else cell[kind][measure]


def results() -> list[Results]:
    """Load the results of every data set that has been run."""
    files = [(name, RESULTS / f"{name.lower()}.json") for name in SETS]
    return [Results(name, json.loads(file.read_text(encoding="utf-8"))) for name, file in files if file.exists()]


# ---------------------------------------------------------------- table of the README


def headline(found: Sequence[Results]) -> str:
    """Return the table of accuracies at one prune rate, selectors × data sets."""
    rows = [["all rows", *(_percent(one.full) for one in found)]]
    rows.append(["**uniform**", *(_percent(one.value(UNIFORM, HEADLINE_RATE)) for one in found)])
    rows += [[f"`{name}`", *(_headline_cell(one, name) for one in found)] for name in HEADLINE]
    return _table([f"test accuracy, prune rate {HEADLINE_RATE:g}", *(one.name for one in found)], rows)


def _headline_cell(one: Results, name: str) -> str:
    return f"{100 * one.value(name, HEADLINE_RATE)['mean']:.1f} ({_difference(one, name, HEADLINE_RATE)})"


# ---------------------------------------------------------------- tables of the page


def summary(found: Sequence[Results]) -> str:
    """Return the table of wins, draws and losses of each selector against uniform, with time and stability."""
    rates = found[0].rates
    header = ["selector", *(f"prune rate {rate:g}" for rate in rates), "all", "time", "over seeds", "with 99 % of rows"]
    rows = []
    for name in found[0].selectors:
        each = [[one.outcome(name, rate) for one in found] for rate in rates]
        total = [outcome for column in each for outcome in column]
        cells = [cell for one in found for rate in rates if (cell := one.cell(name, rate))]
        rows.append(
            (
                sum(total),
                [
                    f"`{name}`",
                    *(_tally(column) for column in each),
                    f"**{_tally(total)}**",
                    f"{median(cell['seconds'] for cell in cells):.2f} s",
                    *(_mean(cells, f"jaccard_{key}") for key in ("over_seeds", "without_one_percent")),
                ],
            )
        )
    return _table(header, [row for _, row in sorted(rows, key=lambda row: -row[0])])


def agreement(found: Sequence[Results]) -> str:
    """Return a sentence on the agreement between logistic regression and the vote of nearest neighbors."""
    both = [
        (one.value(name, rate, "differences"), one.value(name, rate, "differences", "knn_probe_accuracy"))
        for one in found
        for name in one.selectors
        for rate in one.rates
        if one.outcome(name, rate)
    ]
    same = sum(first["mean"] * second["mean"] > 0 for first, second in both)
    return (
        f"Of the {len(both)} differences that are significant with the logistic regression, {same} have the same "
        "sign with a vote of the nearest neighbors.\n"
    )


def sections(found: Sequence[Results]) -> str:
    """Return one section for each data set."""
    return "\n".join("\n".join(_section(one)) for one in found)


def selectors(found: Sequence[Results]) -> str:
    """Return the table of the entries of each contender."""
    rows = [
        [f"`{name}`", ", then ".join(f"`{_yaml(entry)}`" for entry in entries)]
        for name, entries in found[0].selectors.items()
    ]
    return _table(["name", "entries of the select section"], rows)


def _section(one: Results) -> Iterator[str]:
    first = one.first
    yield f"## {one.name}\n"
    yield (
        f"{first['rows']:,} rows to select from, {first['test_rows']:,} test rows, {first['seeds']} seeds. "
        f"Accuracy with all rows: {_percent(one.full)}.\n"
    )
    yield f"`curate compare`: *{first['sentence']}.*\n"
    reasons = {
        "overlapping": "with a text in the pool",
        "unlabeled": "without a label",
        "unknown": "with an unknown label",
    }
    left_out = {key: first["left_out"][key] for key in reasons}
    excluded = [
        f"{rows if isinstance(rows, int) else len(rows):,} {reasons[key]}" for key, rows in left_out.items() if rows
    ]
    if excluded:
        yield f"Excluded test rows: {', '.join(excluded)}.\n"
    names = sorted(one.selectors, key=lambda name: -sum(_gain(one, name, rate) for rate in one.rates))
    best = {rate: max(names, key=lambda name, rate=rate: _gain(one, name, rate)) for rate in one.rates}
    f1 = _percent(one.value(UNIFORM, HEADLINE_RATE, measure=MACRO_F1))
    rows = [["**uniform**", *(_percent(one.value(UNIFORM, rate)) for rate in one.rates), f1]]
    for name in names:
        cells = [_difference(one, name, rate, interval=True) for rate in one.rates]
        bold = [f"**{cell}**" if best[rate] == name else cell for cell, rate in zip(cells, one.rates, strict=True)]
        f1 = _points(one.value(name, HEADLINE_RATE, "differences", MACRO_F1), interval=True)
        rows.append([f"`{name}`", *bold, f1])
    header = ["accuracy; difference from uniform", *(f"prune rate {rate:g}" for rate in one.rates)]
    yield _table([*header, f"macro-F1, {HEADLINE_RATE:g}"], rows)


def _gain(one: Results, name: str, rate: float) -> float:
    mean = float(one.value(name, rate, "differences")["mean"])
    return -math.inf if math.isnan(mean) else mean


def _tally(outcomes: Sequence[int]) -> str:
    return f"{outcomes.count(1)}–{outcomes.count(0)}–{outcomes.count(-1)}"


def _mean(cells: Sequence[Mapping[str, Any]], key: str) -> str:
    known = [cell[key] for cell in cells if cell[key] is not None]
    return f"{sum(known) / len(known):.2f}" if known else "—"


def _percent(estimate: Mapping[str, Any]) -> str:
    width = estimate["half_width"]
    return f"{100 * estimate['mean']:.1f}" + ("" if width is None else f" ± {100 * width:.1f}")


def _difference(one: Results, name: str, rate: float, *, interval: bool = False) -> str:
    """Return a difference in percentage points, with * if it is significant."""
    if one.cell(name, rate) is None:
        return "—"
    points = _points(one.value(name, rate, "differences"), interval=interval)
    return f"{points}{'*' if one.outcome(name, rate) else ''}"


def _points(found: Mapping[str, Any], *, interval: bool) -> str:
    if math.isnan(found["mean"]):
        return "—"
    width = f" ± {100 * found['half_width']:.1f}" if interval and found["half_width"] is not None else ""
    mean = round(100 * found["mean"], 1) or 0.0  # not -0.0
    return f"{mean:+.1f}{width}".replace("-", "−")


def _yaml(entry: Mapping[str, Any]) -> str:
    pairs = (f"{key}: {value}" for key, value in entry.items() if key != "name")
    return f"{{{', '.join(pairs)}}}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
