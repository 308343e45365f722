"""Tests of the table of ground truth: each row is counted once, and copies may replace their originals."""

from __future__ import annotations

import polars as pl

from curate.report.ground_truth_table import OTHERS, section, tabulate_outcomes


def key(**kinds):
    rows = [{"id": name, "kind": kind, "of": of} for name, (kind, of) in kinds.items()]
    return pl.DataFrame(rows, schema={"id": pl.String, "kind": pl.String, "of": pl.String})


def ledger(**fates):
    rows = [{"id": name, "dropped_by": by, "representative": of} for name, (by, of) in fates.items()]
    return pl.DataFrame(rows, schema={"id": pl.String, "dropped_by": pl.String, "representative": pl.String})


KEPT = (None, None)
ENTRIES = ("rules", "exact", "near")


def counts(known, fates):
    return dict(tabulate_outcomes(known, fates, ENTRIES).rows)


def test_every_row_is_counted_once_by_its_kind_and_by_the_entry_that_dropped_it():
    known = key(a=("junk", None), b=("junk", None), gone=("junk", None), c=("rare", None))
    fates = ledger(a=("rules", None), b=KEPT, c=KEPT, d=("near", "b"), e=KEPT)
    found = tabulate_outcomes(known, fates, ENTRIES)
    assert dict(found.rows) == {"junk": (1, 1, 0, 0), "rare": (1, 0, 0, 0), OTHERS: (1, 0, 0, 1)}
    assert found.outcomes == ("kept", *ENTRIES)
    assert found.unknown == 1


def test_a_copy_that_replaces_its_original_counts_as_the_original():
    known = key(copy=("exact_copy", "original"), other=("exact_copy", "original"))
    fates = ledger(copy=KEPT, original=("exact", "copy"), other=("exact", "copy"))
    assert counts(known, fates) == {"exact_copy": (0, 0, 2, 0), OTHERS: (1, 0, 0, 0)}


def test_in_a_chain_of_copies_each_counts_as_the_row_that_it_replaced():
    """The original was dropped for its copy, and the copy for a near-duplicate."""
    known = key(copy=("exact_copy", "original"), near=("near_copy", "original"))
    fates = ledger(copy=("near", "near"), original=("exact", "copy"), near=KEPT)
    assert counts(known, fates) == {"exact_copy": (0, 0, 1, 0), "near_copy": (0, 0, 0, 1), OTHERS: (1, 0, 0, 0)}


def test_an_original_that_a_different_row_replaces_is_lost():
    known = key(copy=("exact_copy", "original"))
    fates = ledger(original=("near", "stranger"), copy=("exact", "original"), stranger=KEPT)
    assert counts(known, fates) == {"exact_copy": (0, 0, 1, 0), OTHERS: (1, 0, 0, 1)}
    fates = ledger(original=("rules", None), copy=KEPT, stranger=KEPT)
    assert counts(known, fates) == {"exact_copy": (1, 0, 0, 0), OTHERS: (1, 1, 0, 0)}


def test_entries_and_kinds_may_have_the_names_of_our_columns():
    found = tabulate_outcomes(key(a=(OTHERS, None)), ledger(a=("kept", None), b=KEPT), ["kept"])
    assert found.outcomes == ("kept", "kept")
    assert found.rows == ((OTHERS, (0, 1)), (OTHERS, (1, 0)))


def test_the_table_shows_the_entries_that_dropped_something_and_what_is_unknown():
    found = tabulate_outcomes(key(a=("<b>", None), x=("junk", None)), ledger(a=("near", "b"), b=KEPT), ENTRIES)
    told = "".join(map(str, section(found)))
    assert "&lt;b&gt;" in told
    assert "near" in told
    assert "rules" not in told
    assert "1 row of the ground truth is not in the pool" in told
    assert section(None) == []
