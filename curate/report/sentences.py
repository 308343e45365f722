"""Sentences of a report, and the table that compares the selection with a uniform one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.report import statistics
from curate.report.copy_threshold import OVERLAP, CopyThreshold
from curate.report.formatting import (
    DASH,
    begun,
    compact,
    count,
    cut,
    in_epochs,
    listed,
    masked,
    plural,
    share,
    short,
    value,
)
from curate.report.report_data import OTHERS, Conflict, Conflicts, Example, Histogram, Neighbors, Report, Shares, Stage

T = TypeVar("T")

SOURCES = 20
"""Sources listed one by one; the smaller ones are summed."""

LEADING = 4
"""Scores shown at once; the others are folded away."""

NAMED = 3
"""Entries named one by one in the sentence under the title."""

EXCERPT = 200
"""Characters of a text in a table."""

EFFECTIVE = "how many groups of equal size would be as varied"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measure of the pool, of the selection, and of a uniform selection of the same size."""

    name: str
    pool: float
    selection: float
    uniform: float
    description: str = ""
    """What the measure is, where its name does not say it."""

    rate: bool = False
    """The numbers are shares of a whole, in [0, 1]."""

    def words(self) -> tuple[str, str, str]:
        """The three numbers as they are written."""
        write = share if self.rate else value
        return write(self.pool), write(self.selection), write(self.uniform)


def evidence(report: Report) -> list[Evidence]:
    """The selection beside the pool and a uniform selection, in every measure; of the scores, the leading ones."""
    rows: list[Evidence] = []
    if report.neighbors is not None:
        sets = (report.neighbors.before, report.neighbors.after, report.neighbors.uniform)
        least = report.neighbors.copies.similarity
        near = f"cosine similarity to another row of the same set is at least {value(least)}"
        rows.append(
            _measured("Rows with a near-copy", lambda found: statistics.copies(found, least), sets, near, rate=True)
        )
        rows.append(_measured("Median similarity to the nearest row", statistics.median, sets))
    for part in report.shares:
        counts = (part.before, part.after, part.uniform)
        if len(part.names) > 1:
            rows.append(_measured(f"{part.grouping.capitalize()}s with a row", np.count_nonzero, counts))
            rows.append(_measured(f"Effective {part.grouping}s", statistics.effective_groups, counts, EFFECTIVE))
    for score in scores(report).leading:
        rows.append(Evidence(f"Median {score.name}", score.pool_median, score.medians[0], score.medians[2]))
    return rows


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores, by how far apart they put kept and dropped rows."""

    leading: list[Histogram]
    others: list[Histogram]
    constant: list[Histogram]
    """All rows, or all but those without a value, have the same."""


def scores(report: Report) -> Scores:
    """The scores in the order in which they are worth looking at."""
    constant = [score for score in report.scores if np.count_nonzero(score.kept + score.dropped) <= 1]
    varied = [score for score in report.scores if np.count_nonzero(score.kept + score.dropped) > 1]
    varied.sort(key=lambda score: -_separation(score))
    return Scores(varied[:LEADING], varied[LEADING:], constant)


def _improved(score: Histogram) -> bool:
    """Return whether the kept rows' median is better than that of as many rows drawn at random."""
    kept, _, uniform = score.medians
    if score.higher_is_better is None or value(kept) == value(uniform):
        return False
    return kept > uniform if score.higher_is_better else kept < uniform


def _separation(score: Histogram) -> float:
    """Total variation between the kept and the dropped rows' distributions, in [0, 1]."""
    return float(np.abs(fractions(score.kept) - fractions(score.dropped)).sum() / 2)


def kept(report: Report) -> str:
    """Return how many rows were kept, in a few words."""
    rows, planned = report.rows, in_epochs(report.epochs)
    if rows.kept == rows.rows_in:
        every = f"All {plural(rows.rows_in, 'row')}" if rows.rows_in != 1 else "The one row"
        return f"{every} kept{planned}"
    return f"{count(rows.kept)} of {plural(rows.rows_in, 'row')} kept{planned}"


def headline(report: Report) -> str:
    """Return what the run kept and what it removed, in a few words."""
    copies = sum(stage.rows.dropped for stage in report.stages if stage.removed_kind == "duplicate")
    contaminated = report.decontamination.rows if report.decontamination else 0
    removed = ((copies, "duplicate"), (contaminated, "contaminated row"))
    gone = listed([plural(number, noun) for number, noun in removed if number])
    return f"{kept(report)}, {gone} removed" if gone else kept(report)


def story(report: Report) -> str:
    """Return which steps dropped how many rows, in one sentence."""
    rows = report.rows
    droppers = [stage for stage in report.stages if stage.rows.dropped]
    if not droppers and not rows.quarantined:
        return "Nothing was dropped and nothing quarantined."
    first = "; ".join(filter(None, (_dropped(droppers), _quarantined(rows.quarantined)))) + "."
    return first[0].upper() + first[1:]


def gains(report: Report) -> list[str]:
    """Return what the selection gained, compared with the pool and with as many rows drawn at random."""
    found: list[str] = []
    if report.rows.kept == report.rows.rows_in:
        return found
    if report.neighbors is not None and len(report.neighbors.after):
        found.append(f"{of_neighbors(report.neighbors)}.")
    clusters = next((part for part in report.shares if part.grouping == "cluster" and len(part.names) > 1), None)
    if clusters is not None and clusters.after.sum():
        left = share(report.rows.kept, report.rows.rows_in)
        found.append(f"The {left} that is left {_reach(clusters)} of the same size.")
    if (better := next(filter(_improved, scores(report).leading), None)) is not None:
        found.append(f"{of_scores(better)}{f' ({axis(better)})' if better.higher_means else ''}.")
    return found


def change(report: Report) -> str:
    """How the export differs from the one before; "" for the first."""
    if report.change is None:
        return ""
    moved = f"{plural(report.change.added, 'row')} added, {count(report.change.removed)} removed"
    return f"Since the export before ({report.change.before}): {moved}, {share(report.change.rate)} churn."


def changes(report: Report) -> str:
    """What was masked and cut in the export; "" if nothing was to be."""
    told = [masked(report.masked.rows, report.masked.spans)] if report.masked else []
    told += [cut(**dataclasses.asdict(report.cut))] if report.cut else []
    return " ".join(f"{begun(part)}." for part in told)


def of_conflicts(part: Conflicts) -> str:
    """How many texts have different labels."""
    if not part.texts:
        return "No text has different labels"
    texts = "1 text has" if part.texts == 1 else f"{count(part.texts)} texts have"
    kept = "none of them was kept" if not part.kept else f"{count(part.kept)} of them {_were(part.kept)} kept"
    shown = f"; the first {count(len(part.groups))} are shown" if len(part.groups) < part.texts else ""
    return f"{texts} different labels, in {plural(part.rows, 'row')}: {kept}{shown}"


def of_conflict(part: Conflict) -> str:
    """Which labels one text has, and in which rows."""
    told = []
    for each in part.labels:
        more = [f"{count(each.rows - len(each.ids))} more"] if each.rows > len(each.ids) else []
        told.append(f"{short(each.label, 60)} ({listed([*(short(name, 60) for name in each.ids), *more])})")
    left = part.n_labels - len(part.labels)
    return "; ".join([*told, *([f"{plural(left, 'more label')}"] if left else [])])


def tokens(report: Report) -> tuple[str, str]:
    """The kept tokens, and where the number comes from."""
    if report.tokens is None:
        return DASH, ""
    mark = "≈ " if report.tokens.estimated else ""
    return f"{mark}{compact(report.tokens.kept)}", f"of {mark}{compact(report.tokens.pool)}, {report.tokens.method}"


def source_groups(report: Report) -> list[tuple[str, list[str]]]:
    """Return the lines of a table of sources: a name, and the sources it represents; together they are all of them."""
    names = list(report.sources)
    if len(names) <= SOURCES + 1 and OTHERS not in names:
        return [(name, [name]) for name in names]
    first, rest = [name for name in names if name != OTHERS][:SOURCES], names[SOURCES:]
    return [*((name, [name]) for name in first), (f"{count(report.source_count - len(first))} other sources", rest)]


def axis(score: Histogram) -> str:
    """Return what a higher value of a score says, for the axis of its chart.

    >>> from curate.report.statistics import histogram
    >>> axis(histogram("length", np.ones(1), np.ones(1, bool), np.ones(1, bool), higher_is_better=True))
    'higher is better'
    """
    if score.higher_means:
        return f"higher = {score.higher_means}"
    return {None: "", True: "higher is better", False: "lower is better"}[score.higher_is_better]


def of_representative(example: Example) -> tuple[str, str, str]:
    """Return what is said before the id of the row that a dropped row names, that id, and what is said after it.

    The id is that of the row it was dropped for; where that was dropped later, the last part says which row was kept.
    """
    near = "" if math.isnan(example.similarity) else f", similarity {value(example.similarity)}"
    name = short(example.representative, 80)
    if example.kept_instead == example.representative:
        return f"{example.relation} ", name, f"{near}; that row was kept"
    later = f"{near}; that row was dropped later"
    if example.representative_dropped_by:
        later += f" by {example.representative_dropped_by}"
    if example.kept_instead:
        return f"{example.relation} ", name, f"{later}, and {short(example.kept_instead, 80)} was kept in its place"
    if not example.representative_dropped_by:
        return f"{example.relation} ", name, f"{near}; that row is not in the export"
    return f"{example.relation} ", name, f"{later}, and no row was kept in its place"


def of_scores(score: Histogram) -> str:
    """Return what a score's histogram shows."""
    kept, dropped, uniform = score.medians
    if math.isnan(kept):
        return f"No kept row has a {score.name}"
    if math.isnan(dropped):
        return f"Median {score.name} is {value(kept)}; no row was dropped"
    if value(kept) == value(uniform):
        return f"Kept rows have the median {score.name} of a uniform selection, {value(kept)}"
    side = "higher" if kept > uniform else "lower"
    return f"Kept rows have {side} {score.name}: median {value(kept)}, uniform {value(uniform)}"


def of_neighbors(part: Neighbors) -> str:
    """What the similarities to the nearest rows show."""
    before, after, uniform = copied(part)
    if math.isnan(after):
        return "Too few rows were kept for any to have a neighbor"
    if share(before) == share(after):
        return f"{share(after)} of kept rows have a near-copy, as in the pool (uniform: {share(uniform)})"
    if not after:
        return f"No kept row has a near-copy; {share(before)} of the pool’s rows do (uniform: {share(uniform)})"
    way = "down" if after < before else "up"
    return f"{share(after)} of kept rows have a near-copy, {way} from {share(before)} (uniform: {share(uniform)})"


def copied(part: Neighbors) -> tuple[float, float, float]:
    """Return the shares of rows with a near-copy in the pool, the selection and a uniform selection."""
    least = part.copies.similarity
    return (
        statistics.copies(part.before, least),
        statistics.copies(part.after, least),
        statistics.copies(part.uniform, least),
    )


def of_threshold(found: CopyThreshold) -> str:
    """Return where the similarity comes from that separates near-copies from other rows."""
    least, overlap = value(found.similarity), f"{OVERLAP:.0%}".replace("%", " %")
    pairs = f"of {plural(found.pairs, 'pair')} of nearest rows, {count(found.copies)} are copies by their characters"
    if not found.calibrated:
        return f"Near-copies: similarity {least} or more, a default; {pairs}, too few to calibrate it"
    return (
        f"Near-copies: similarity {least} or more, calibrated for this embedder; {pairs} (at least {overlap} of "
        f"4-grams in common), and this similarity finds them best (F1 {found.agreement:.2f})"
    )


def of_shares(part: Shares) -> str:
    """What the groups' shares show: how varied many groups are, or which of a few changed most."""
    if len(part.names) == 1:
        return f"All rows are of one {part.grouping}, {short(part.names[0], 40)}"
    before, after = fractions(part.before), fractions(part.after)
    if not after.any():
        return f"No row of any {part.grouping} was kept"
    if len(part.names) > 12:
        pool, kept, uniform = (value(statistics.effective_groups(c)) for c in (part.before, part.after, part.uniform))
        return f"As varied as {kept} equal {part.grouping}s, the pool as {pool} (uniform: {uniform})"
    most = int(np.abs(after - before).argmax())
    if abs(after[most] - before[most]) < 0.005:
        return f"Every {part.grouping} keeps its share"
    way = "grows" if after[most] > before[most] else "shrinks"
    return f"{short(part.names[most], 40)} {way} from {share(before[most])} to {share(after[most])}"


def of_map(report: Report) -> str:
    """What the map shows."""
    part = next((part for part in report.shares if part.grouping == "cluster" and len(part.names) > 1), None)
    if part is None:
        return "Where the kept rows lie in the pool"
    return f"The selection {_reach(part)}"


def entry_name(stage: str) -> str:
    """An entry's own name, as the ledger has it.

    >>> entry_name("select semdedup"), entry_name("embed lsa")
    ('semdedup', 'embed lsa')
    """
    return stage.removeprefix("select ")


def fractions(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each group's share of the rows; zeros if there are none."""
    return counts / max(1, int(counts.sum()))


def _measured(
    name: str, number: Callable[[T], float], sets: tuple[T, T, T], what: str = "", *, rate: bool = False
) -> Evidence:
    pool, selection, uniform = (float(number(each)) for each in sets)
    return Evidence(name, pool, selection, uniform, what, rate)


def _largest(stages: list[Stage]) -> list[Stage]:
    chosen = sorted(stages, key=lambda stage: -stage.rows.dropped)[:NAMED]
    return [stage for stage in stages if stage in chosen]


def _dropped(droppers: list[Stage]) -> str:
    """``852 rows were dropped by where, 930 by semdedup and 12 by 2 other entries``."""
    named = droppers if len(droppers) <= NAMED + 1 else _largest(droppers)
    numbers = [(stage.rows.dropped, entry_name(stage.name)) for stage in named]
    rest = [stage.rows.dropped for stage in droppers if stage not in named]
    numbers += [(sum(rest), f"{count(len(rest))} other entries")] if rest else []
    if not numbers:
        return ""
    first, by = numbers[0]
    acts = [f"{plural(first, 'row')} {_were(first)} dropped by {by}"]
    return listed([*acts, *(f"{count(number)} by {by}" for number, by in numbers[1:])])


def _quarantined(number: int) -> str:
    return f"{plural(number, 'row')} could not be used and {_were(number)} quarantined" if number else ""


def _reach(clusters: Shares) -> str:
    """``reaches 47 of 48 clusters, as many as a uniform one``."""
    every, kept, uniform = (int((each > 0).sum()) for each in (clusters.before, clusters.after, clusters.uniform))
    reached = f"reaches {f'all {count(every)}' if kept == every else f'{count(kept)} of {count(every)}'} clusters"
    if kept == uniform:
        return f"{reached}, as does a uniform selection"
    side = "more" if kept > uniform else "fewer"
    return f"{reached}, {count(abs(kept - uniform))} {side} than a uniform selection"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
