"""Sets what is known of some rows, an answer key, beside what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from curate.report.formatting import DASH, count, short
from curate.report.html.tables import table
from curate.report.html.tags import Markup, tag
from curate.report.report_data import GroundTruthTable

KEPT = "kept"
OTHERS = "not in the key"


def tabulate_outcomes(key: pl.DataFrame, ledger: pl.DataFrame, entries: Sequence[str]) -> GroundTruthTable:
    """How many rows of each kind were kept, and dropped by each entry.

    Of a row and its copies any one may be kept: where another stands for the original, they change places.

    Parameters
    ----------
    key : ``id``, each once, ``kind`` and ``of``: the id of the original of a copy, null for others
    ledger : ``id``, ``dropped_by`` and ``representative`` of every row of the pool
    entries : what can drop rows, in order

    >>> key = pl.DataFrame({"id": ["b"], "kind": ["copy"], "of": ["a"]})
    >>> fates = {"id": ["a", "b"], "dropped_by": ["minhash", None], "representative": ["b", None]}
    >>> tabulate_outcomes(key, pl.DataFrame(fates), ["minhash"]).rows
    (('copy', (0, 1)), ('not in the key', (1, 0)))
    """
    fates: dict[str, str | None] = dict(zip(ledger["id"], ledger["dropped_by"], strict=True))
    stands = dict(zip(ledger["id"], ledger["representative"], strict=True))
    known = key.filter(pl.col("id").is_in(ledger["id"].implode()))
    original = dict(known.filter(pl.col("of").is_not_null()).select("id", "of").iter_rows())
    for first in dict.fromkeys(original.values()):
        chain = [first]
        while (stand := stands.get(chain[-1])) is not None and original.get(stand) == first and stand not in chain:
            chain.append(stand)
        if len(chain) > 1 and fates[chain[-1]] is None:
            told = [fates[name] for name in chain]
            fates |= dict(zip(chain, [told[-1], *told[:-1]], strict=True))
    kinds = dict(known.select("id", "kind").iter_rows())
    counts = Counter((kinds.get(name), fate) for name, fate in fates.items())
    return GroundTruthTable(
        outcomes=(KEPT, *entries),
        rows=tuple(
            (OTHERS if kind is None else kind, tuple(counts[kind, fate] for fate in (None, *entries)))
            for kind in [*dict.fromkeys(known["kind"]), None]
        ),
        unknown=len(key) - len(known),
    )


def section(found: GroundTruthTable | None) -> list[Markup | None]:
    """The table, and what it leaves out."""
    if found is None:
        return []
    shown = [
        number for number in range(len(found.outcomes)) if not number or any(each[number] for _, each in found.rows)
    ]
    head = ("What the key says", "Rows", *(short(found.outcomes[number], 28) for number in shown))
    body = [
        (tag("strong", short(kind, 60)), count(sum(each)), *(count(each[n]) if each[n] else DASH for n in shown))
        for kind, each in found.rows
    ]
    told = "Of a row and its copies any one may be kept."
    if found.unknown:
        told += f" {count(found.unknown)} of the key’s rows are not in the pool."
    caption = "Rows of each kind that were kept, and dropped by each entry"
    return [table(caption, head, body), tag("p", told, class_="aside")]
