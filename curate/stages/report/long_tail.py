"""Long tail of the pool: where the rows are that models memorize, and what their removal costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from curate.kernels.types import Flags, Indices
from curate.report.report_data import LongTail, MemorizedRow, TailGroup
from curate.stages.report.figures import Figures
from curate.stages.score.stage import ScoreResult

MEMORIZATION = "memorization"
"""Name of the scorer."""

_ROWS, _GROUPS = 20, 10
"""Largest numbers of shown rows, and of labels and clusters."""


def long_tails(figures: Figures) -> tuple[LongTail, ...]:
    """Return the long tail by each entry of the scorer ``memorization``."""
    return tuple(
        _long_tail(figures, entry.name, entry.spec.build().threshold)
        for entry in figures.context.config.score
        if entry.spec.name == MEMORIZATION
    )


def _long_tail(figures: Figures, name: str, threshold: float) -> LongTail:
    pool = figures.pool
    values, errors = pool.scores[name], pool.scores[f"{name}_error"]
    scored, memorized = ~np.isnan(values), values > np.float32(threshold)
    results = {one.name: one.result for one in figures.records if isinstance(one.result, ScoreResult)}
    measured = results[name].measured
    rows = np.flatnonzero(memorized)
    most = np.sort(rows[np.argsort(-values[rows], kind="stable")[:_ROWS]])
    lines = pool.read_ledger_rows(most)
    examples = [
        MemorizedRow(
            id=identifier,
            text=text,
            label=str(label),
            memorization=float(values[row]),
            error=float(errors[row]),
            kept=bool(figures.kept[row]),
        )
        for row, identifier, text, label in zip(
            most.tolist(), lines["id"], figures.texts(most), pool.label[most].cast(pl.String), strict=True
        )
    ]
    labels = pool.label.cast(pl.String)
    label_names = labels.unique().drop_nulls().sort()
    label_codes = labels.cast(pl.Enum(label_names)).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
    return LongTail(
        score=name,
        threshold=threshold,
        rows=int(scored.sum()),
        memorized=len(rows),
        kept=int(figures.kept[rows].sum()),
        accuracy=measured.get("accuracy", np.nan),
        accuracy_without_memorized=measured.get("accuracy_without_memorized", np.nan),
        accuracy_without_random=measured.get("accuracy_without_random", np.nan),
        cost=measured.get("removal_cost", np.nan),
        cost_error=measured.get("removal_cost_error", np.nan),
        labels=_groups(label_codes, label_names.to_list(), scored, memorized),
        clusters=_groups(pool.cluster, figures.cluster_names, scored, memorized),
        examples=tuple(sorted(examples, key=lambda row: -row.memorization)),
    )


def _groups(codes: Indices, names: Sequence[str], scored: Flags, memorized: Flags) -> tuple[TailGroup, ...]:
    """Return the groups with the most memorized rows, ties by the largest share; none if there is only one group."""
    if len(names) < 2:
        return ()
    rows, tail = (np.bincount(codes[each & (codes >= 0)], minlength=len(names)) for each in (scored, memorized))
    order = np.lexsort((np.arange(len(names)), -tail / np.maximum(rows, 1), -tail))[:_GROUPS]
    return tuple(
        TailGroup(name=names[code], rows=int(rows[code]), memorized=int(tail[code])) for code in order if tail[code]
    )
