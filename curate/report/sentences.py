"""Sentences of a report, and the comparison of the selection with the random baseline."""

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
    capitalize,
    compact,
    count,
    describe_masked,
    describe_removed_spans,
    format_epochs,
    join_words,
    plural,
    share,
    short,
    value,
)
from curate.report.report_data import OTHERS, Conflict, Conflicts, Example, Histogram, Neighbors, Report, Shares, Stage

T = TypeVar("T")

SOURCES = 20
"""Maximum number of sources listed one by one; smaller sources are summed."""

LEADING = 4
"""Number of scores shown by default; the others are in a collapsed section."""

NAMED = 3
"""Maximum number of entries listed one by one in the sentence under the title."""

EXCERPT = 200
"""Maximum number of characters of a text in a table."""

EFFECTIVE = "number of groups of equal size with the same diversity (exponential of the entropy)"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Measure of the pool, the selection, and the random baseline."""

    name: str
    pool: float
    selection: float
    uniform: float
    description: str = ""
    """Explanation of the measure; "" if the name is sufficient."""

    rate: bool = False
    """Whether the numbers are shares in [0, 1]."""

    def words(self) -> tuple[str, str, str]:
        """Return the three numbers as text."""
        write = share if self.rate else value
        return write(self.pool), write(self.selection), write(self.uniform)


def evidence(report: Report) -> list[Evidence]:
    """Return all measures of the pool, the selection and the random baseline; of the scores, only the leading ones."""
    rows: list[Evidence] = []
    if report.neighbors is not None:
        sets = (report.neighbors.before, report.neighbors.after, report.neighbors.uniform)
        least = report.neighbors.copies.similarity
        near = f"rows with a cosine similarity of at least {value(least)} to another row of the same set"
        rows.append(
            _measured(
                "Rows with a near-duplicate",
                lambda similarities: statistics.copies(similarities, least),
                sets,
                near,
                rate=True,
            )
        )
        rows.append(_measured("Median similarity to the nearest neighbor", statistics.median, sets))
    for part in report.shares:
        counts = (part.before, part.after, part.uniform)
        if len(part.names) > 1:
            rows.append(_measured(f"Number of {part.grouping}s", np.count_nonzero, counts))
            rows.append(
                _measured(f"Effective number of {part.grouping}s", statistics.effective_groups, counts, EFFECTIVE)
            )
    for score in scores(report).leading:
        rows.append(Evidence(f"Median {score.name}", score.pool_median, score.medians[0], score.medians[2]))
    return rows


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores, sorted by how much they differ between kept and dropped rows."""

    leading: list[Histogram]
    others: list[Histogram]
    constant: list[Histogram]
    """Scores that have the same value in all rows with a value."""


def scores(report: Report) -> Scores:
    """Sort the scores by the difference between kept and dropped rows."""
    constant = [score for score in report.scores if np.count_nonzero(score.kept + score.dropped) <= 1]
    varied = [score for score in report.scores if np.count_nonzero(score.kept + score.dropped) > 1]
    varied.sort(key=lambda score: -_separation(score))
    return Scores(varied[:LEADING], varied[LEADING:], constant)


def _improved(score: Histogram) -> bool:
    """Return whether the median of the kept rows is better than that of the random baseline."""
    kept, _, uniform = score.medians
    if score.higher_is_better is None or value(kept) == value(uniform):
        return False
    return kept > uniform if score.higher_is_better else kept < uniform


def _separation(score: Histogram) -> float:
    """Return the total variation distance between the scores of kept and dropped rows, in [0, 1]."""
    return float(np.abs(fractions(score.kept) - fractions(score.dropped)).sum() / 2)


def describe_kept(report: Report) -> str:
    """Return the number of kept rows as a phrase."""
    rows, planned = report.rows, format_epochs(report.epochs)
    if rows.kept == rows.rows_in:
        every = f"All {plural(rows.rows_in, 'row')}" if rows.rows_in != 1 else "The one row"
        return f"{every} kept{planned}"
    return f"{count(rows.kept)} of {plural(rows.rows_in, 'row')} kept{planned}"


def headline(report: Report) -> str:
    """Return the title of the report: the numbers of kept rows, removed duplicates and contaminated rows."""
    copies = sum(stage.rows.dropped for stage in report.stages if stage.removed_kind == "duplicate")
    contaminated = report.decontamination.rows if report.decontamination else 0
    removed = ((copies, "duplicate"), (contaminated, "contaminated row"))
    removed_rows = join_words([plural(number, noun) for number, noun in removed if number])
    return f"{describe_kept(report)}, {removed_rows} removed" if removed_rows else describe_kept(report)


def describe_drops(report: Report) -> str:
    """Return one sentence with the number of rows that each step dropped."""
    rows = report.rows
    droppers = [stage for stage in report.stages if stage.rows.dropped]
    if not droppers and not rows.quarantined:
        return "No row was dropped or quarantined."
    first = "; ".join(filter(None, (_dropped(droppers), _quarantined(rows.quarantined)))) + "."
    return first[0].upper() + first[1:]


def list_gains(report: Report) -> list[str]:
    """Return sentences that compare the selection with the pool and with the random baseline."""
    lines: list[str] = []
    if report.rows.kept == report.rows.rows_in:
        return lines
    if report.neighbors is not None and len(report.neighbors.after):
        lines.append(f"{describe_neighbors(report.neighbors)}.")
    clusters = next((part for part in report.shares if part.grouping == "cluster" and len(part.names) > 1), None)
    if clusters is not None and clusters.after.sum():
        lines.append(f"The selection {_reach(clusters)}.")
    if (better := next(filter(_improved, scores(report).leading), None)) is not None:
        lines.append(f"{describe_score(better)}{f' ({describe_axis(better)})' if better.higher_means else ''}.")
    return lines


def describe_change(report: Report) -> str:
    """Return a sentence on the difference from the previously published version; "" for the first version."""
    if report.change is None:
        return ""
    moved = f"{plural(report.change.added, 'row')} added, {count(report.change.removed)} removed"
    return f"Compared with the previous version ({report.change.before}): {moved}, {share(report.change.rate)} churn."


def describe_export_changes(report: Report) -> str:
    """Return sentences on corrected labels, masked personal data and removed spans; "" if there are none."""
    parts = [f"the labels of {plural(report.corrected, 'row')} of the pool were corrected"] if report.corrected else []
    parts += [describe_masked(report.masked.rows, report.masked.spans)] if report.masked else []
    parts += [describe_removed_spans(**dataclasses.asdict(report.cut))] if report.cut else []
    return " ".join(f"{capitalize(part)}." for part in parts)


def describe_conflicts(part: Conflicts) -> str:
    """Return a phrase on the number of texts with conflicting labels."""
    if not part.texts:
        return "No text has conflicting labels"
    texts = "1 text has" if part.texts == 1 else f"{count(part.texts)} texts have"
    kept = "none of these rows was kept" if not part.kept else f"{count(part.kept)} of them {_were(part.kept)} kept"
    shown = f"; shown: the first {count(len(part.groups))}" if len(part.groups) < part.texts else ""
    return f"{texts} conflicting labels, in {plural(part.rows, 'row')}: {kept}{shown}"


def describe_conflict(part: Conflict) -> str:
    """Return the labels of a text, with the ids of their rows."""
    parts = []
    for each in part.labels:
        more = [f"{count(each.rows - len(each.ids))} more"] if each.rows > len(each.ids) else []
        parts.append(f"{short(each.label, 60)} ({join_words([*(short(name, 60) for name in each.ids), *more])})")
    unlisted = part.n_labels - len(part.labels)
    return "; ".join([*parts, *([f"{plural(unlisted, 'more label')}"] if unlisted else [])])


def tokens(report: Report) -> tuple[str, str]:
    """Return the number of kept tokens, and a note on the total and the method of counting."""
    if report.tokens is None:
        return DASH, ""
    mark = "≈ " if report.tokens.estimated else ""
    return f"{mark}{compact(report.tokens.kept)}", f"of {mark}{compact(report.tokens.pool)}, {report.tokens.method}"


def source_groups(report: Report) -> list[tuple[str, list[str]]]:
    """Return the lines of a table of sources: a name and its sources; smaller sources share the last line."""
    names = list(report.sources)
    if len(names) <= SOURCES + 1 and OTHERS not in names:
        return [(name, [name]) for name in names]
    first, rest = [name for name in names if name != OTHERS][:SOURCES], names[SOURCES:]
    return [*((name, [name]) for name in first), (f"{count(report.source_count - len(first))} other sources", rest)]


def describe_axis(score: Histogram) -> str:
    """Return the meaning of a higher score, for the axis of its chart.

    >>> from curate.report.statistics import histogram
    >>> describe_axis(histogram("length", np.ones(1), np.ones(1, bool), np.ones(1, bool), higher_is_better=True))
    'higher is better'
    """
    if score.higher_means:
        return f"higher = {score.higher_means}"
    return {None: "", True: "higher is better", False: "lower is better"}[score.higher_is_better]


def describe_representative(example: Example) -> tuple[str, str, str]:
    """Return the sentence on the representative of a dropped row: the part before its id, the id, and the part after.

    If the representative was dropped later, the last part names the row that was kept instead.
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


def describe_score(score: Histogram) -> str:
    """Return the title of the histogram of a score."""
    kept, dropped, uniform = score.medians
    if math.isnan(kept):
        return f"No kept row has a value of {score.name}"
    if math.isnan(dropped):
        return f"Median {score.name} is {value(kept)}; no row was dropped"
    if value(kept) == value(uniform):
        return f"Kept rows have the same median {score.name} as the random baseline, {value(kept)}"
    side = "higher" if kept > uniform else "lower"
    return f"Kept rows have {side} {score.name}: median {value(kept)}, random baseline {value(uniform)}"


def describe_neighbors(part: Neighbors) -> str:
    """Return a phrase on the share of rows with near-duplicates."""
    before, after, uniform = near_duplicate_shares(part)
    baseline = f"(random baseline: {share(uniform)})"
    if math.isnan(after):
        return "Too few rows were kept to compare them with neighbors"
    if share(before) == share(after):
        return f"{share(after)} of kept rows have a near-duplicate, as in the pool {baseline}"
    if not after:
        return f"No kept row has a near-duplicate, compared with {share(before)} in the pool {baseline}"
    change = "down" if after < before else "up"
    return f"{share(after)} of kept rows have a near-duplicate, {change} from {share(before)} in the pool {baseline}"


def near_duplicate_shares(part: Neighbors) -> tuple[float, float, float]:
    """Return the shares of rows with a near-duplicate in the pool, the selection and the random baseline."""
    least = part.copies.similarity
    return (
        statistics.copies(part.before, least),
        statistics.copies(part.after, least),
        statistics.copies(part.uniform, least),
    )


def describe_threshold(threshold: CopyThreshold) -> str:
    """Return a phrase on the origin of the similarity threshold for near-duplicates."""
    least, overlap = value(threshold.similarity), f"{OVERLAP:.0%}".replace("%", " %")
    copies, compared = count(threshold.copies), plural(threshold.pairs, "pair")
    pairs = f"{copies} of {compared} of nearest neighbors are copies by their characters"
    if not threshold.pairs:
        return f"Near-duplicates: similarity of at least {least}, the default"
    if not threshold.calibrated:
        return f"Near-duplicates: similarity of at least {least}, the default; {pairs}, too few for a calibration"
    return (
        f"Near-duplicates: similarity of at least {least}, calibrated for this embedder; {pairs} (at least {overlap} "
        f"of 4-grams in common), and this threshold separates them best (F1 {threshold.agreement:.2f})"
    )


def describe_shares(part: Shares) -> str:
    """Return a phrase on the shares of groups: the diversity of many groups, or the largest change of a few groups."""
    if len(part.names) == 1:
        return f"All rows have the same {part.grouping}, {short(part.names[0], 40)}"
    before, after = fractions(part.before), fractions(part.after)
    if not after.any():
        return "No row was kept"
    if len(part.names) > 12:
        pool, kept, uniform = (value(statistics.effective_groups(c)) for c in (part.before, part.after, part.uniform))
        return f"Effective number of {part.grouping}s: {kept}, in the pool {pool} (random baseline: {uniform})"
    largest = int(np.abs(after - before).argmax())
    if abs(after[largest] - before[largest]) < 0.005:
        return f"The share of every {part.grouping} is unchanged"
    change = "grows" if after[largest] > before[largest] else "shrinks"
    name = short(part.names[largest], 40)
    return f"The share of {name} {change} from {share(before[largest])} to {share(after[largest])}"


def describe_map(report: Report) -> str:
    """Return the title of the map."""
    part = next((part for part in report.shares if part.grouping == "cluster" and len(part.names) > 1), None)
    if part is None:
        return "Kept and dropped rows in the pool"
    return f"The selection {_reach(part)}"


def entry_name(stage: str) -> str:
    """Return the name of an entry as in the ledger.

    >>> entry_name("select semdedup"), entry_name("embed lsa")
    ('semdedup', 'embed lsa')
    """
    return stage.removeprefix("select ")


def fractions(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of each group; zeros if there are no rows."""
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
    """Return a phrase such as ``852 rows were dropped by where, 930 by semdedup and 12 by 2 other entries``."""
    listed_stages = droppers if len(droppers) <= NAMED + 1 else _largest(droppers)
    numbers = [(stage.rows.dropped, entry_name(stage.name)) for stage in listed_stages]
    rest = [stage.rows.dropped for stage in droppers if stage not in listed_stages]
    numbers += [(sum(rest), f"{count(len(rest))} other entries")] if rest else []
    if not numbers:
        return ""
    first, entry = numbers[0]
    acts = [f"{plural(first, 'row')} {_were(first)} dropped by {entry}"]
    return join_words([*acts, *(f"{count(number)} by {entry}" for number, entry in numbers[1:])])


def _quarantined(number: int) -> str:
    return f"{plural(number, 'row')} could not be used and {_were(number)} quarantined" if number else ""


def _reach(clusters: Shares) -> str:
    """Return a phrase such as ``covers 47 of 48 clusters, as does the random baseline``."""
    every, kept, uniform = (int((each > 0).sum()) for each in (clusters.before, clusters.after, clusters.uniform))
    covered = f"covers {f'all {count(every)}' if kept == every else f'{count(kept)} of {count(every)}'} clusters"
    if kept == uniform:
        return f"{covered}, as does a random baseline of the same size"
    side = "more" if kept > uniform else "fewer"
    return f"{covered}, {count(abs(kept - uniform))} {side} than a random baseline of the same size"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
