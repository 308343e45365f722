"""Cross-tabulation of ground-truth kinds with outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from curate.report.formatting import DASH, count, plural, short
from curate.report.html.tables import table
from curate.report.html.tags import Markup, tag
from curate.report.report_data import GroundTruthTable

KEPT = "kept"
OTHERS = "no ground truth"


def tabulate_outcomes(key: pl.DataFrame, ledger: pl.DataFrame, entries: Sequence[str]) -> GroundTruthTable:
    """Count the rows of each kind that were kept, and that were dropped by each entry.

    Any one of an original and its copies may be kept: if a copy is kept in place of the original, their outcomes are
    exchanged.

    Parameters
    ----------
    key : polars.DataFrame
        Ground truth with the columns ``id`` (unique), ``kind`` and ``of``, the id of the original of a copy or null.
    ledger : polars.DataFrame
        Columns ``id``, ``dropped_by`` and ``representative`` of all pool rows.
    entries : sequence of str
        Names of the entries that can drop rows, in order.

    Examples
    --------
    >>> key = pl.DataFrame({"id": ["b"], "kind": ["copy"], "of": ["a"]})
    >>> outcomes = {"id": ["a", "b"], "dropped_by": ["minhash", None], "representative": ["b", None]}
    >>> tabulate_outcomes(key, pl.DataFrame(outcomes), ["minhash"]).rows
    (('copy', (0, 1)), ('no ground truth', (1, 0)))
    """
    outcome_of: dict[str, str | None] = dict(zip(ledger["id"], ledger["dropped_by"], strict=True))
    stands = dict(zip(ledger["id"], ledger["representative"], strict=True))
    known = key.filter(pl.col("id").is_in(ledger["id"].implode()))
    original = dict(known.filter(pl.col("of").is_not_null()).select("id", "of").iter_rows())
    for first in dict.fromkeys(original.values()):
        chain = [first]
        while (stand := stands.get(chain[-1])) is not None and original.get(stand) == first and stand not in chain:
            chain.append(stand)
        if len(chain) > 1 and outcome_of[chain[-1]] is None:
            of_chain = [outcome_of[name] for name in chain]
            outcome_of |= dict(zip(chain, [of_chain[-1], *of_chain[:-1]], strict=True))
    kinds = dict(known.select("id", "kind").iter_rows())
    counts = Counter((kinds.get(name), outcome) for name, outcome in outcome_of.items())
    return GroundTruthTable(
        outcomes=(KEPT, *entries),
        rows=tuple(
            (OTHERS if kind is None else kind, tuple(counts[kind, outcome] for outcome in (None, *entries)))
            for kind in [*dict.fromkeys(known["kind"]), None]
        ),
        unknown=len(key) - len(known),
    )


def section(table_data: GroundTruthTable | None) -> list[Markup | None]:
    """Return the section of the report; empty without ground truth."""
    if table_data is None:
        return []
    columns = [
        number
        for number in range(len(table_data.outcomes))
        if not number or any(each[number] for _, each in table_data.rows)
    ]
    head = ("Kind", "Rows", *(short(table_data.outcomes[number], 28) for number in columns))
    body = [
        (tag("strong", short(kind, 60)), count(sum(each)), *(count(each[n]) if each[n] else DASH for n in columns))
        for kind, each in table_data.rows
    ]
    note = "If a copy is kept in place of its original, the outcomes of the two are exchanged."
    if table_data.unknown:
        note += f" {plural(table_data.unknown, 'row')} of the ground truth {_are(table_data.unknown)} not in the pool."
    caption = "Ground truth: number of rows of each kind that were kept, or dropped by each entry"
    return [table(caption, head, body), tag("p", note, class_="aside")]


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
