"""Figures of the report: the selection compared with a random selection of the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate import paths
from curate.contamination import Hit
from curate.kernels.neighbors.knn import nearest_similarity
from curate.kernels.types import Matrix, Rows
from curate.report import cluster_terms, ground_truth_table, report_data, statistics
from curate.report.charts import bars
from curate.seeds import rng_for
from curate.stages.base import CompletedStages, Context
from curate.stages.decontaminate.stage import NGRAM
from curate.stages.report import pool_measures, thumbnails
from curate.stages.report.ground_truth import read as read_key
from curate.stages.report.pool_measures import PoolMeasures
from curate.stages.review.stage import ReviewResult
from curate.stages.score.stage import ScoreResult
from curate.store import ledger, redaction

if TYPE_CHECKING:
    from curate.config.model import Entry

_EXAMPLES = 8
"""Number of example rows of the kept rows, and of the rows that each entry dropped."""

_CONFLICTS = 10
"""Largest number of shown texts with different labels, of labels of each text, and of rows of each label."""

_REVIEWED = 50
"""Largest number of shown labels to review."""

_HITS = 20
"""Largest number of shown rows that overlap an evaluation text."""

_GROUPS = 500
"""Largest number of labels or sources whose shares are drawn."""

_NAMED, _SAMPLED = 100, 20
"""Number of clusters that are named by their words, and number of rows of each that are read for the names."""

_EXAMPLE_BYTES, _ATLAS_BYTES = 150_000, 200_000
"""Maximum size in bytes of the thumbnails of all example rows, and of the map."""

_NO_LONGER = "(published earlier, no longer in the pool)"
"""Placeholder for the text of a published row that is no longer in the pool."""


class Figures:
    """Figures of the selection from the pool's n rows, compared with a random selection of the same size."""

    def __init__(self, context: Context, done: CompletedStages) -> None:
        self.context, self.records, self.pool = context, done.records, done.pool
        self.n = len(self.pool)
        self.entries = [entry.name for record in done.records_of("select") for entry in record.entries]
        self.kept: NDArray[np.bool_] = self.pool.kept
        rng = rng_for(context.config.seed, "report/uniform")
        self.uniform = np.zeros(self.n, bool)
        clean = np.flatnonzero(~self.pool.contaminated)
        self.uniform[rng.choice(clean, int(self.kept.sum()), replace=False)] = True

    @property
    def embeddings(self) -> Matrix:
        """Vectors of the embed entry that was clustered, shape (n, d), float32."""
        return self.pool.embeddings(self.pool.cluster_output.embedding)

    @cached_property
    def cluster_names(self) -> list[str]:
        """Names of the clusters: those of the user, or numbers with the distinctive words of the largest clusters."""
        names = self.pool.cluster_output.names()
        rng = rng_for(self.context.config.seed, "report/clusters")
        numbered = [code for code in self._largest(_NAMED) if names[code] == str(code)]
        order, starts = self._by_cluster
        samples = []
        for code in numbered:
            rows = order[starts[code] : starts[code + 1]]
            samples.append(rows if len(rows) <= _SAMPLED else rng.choice(rows, _SAMPLED, replace=False))
        rows = np.sort(np.concatenate(samples)) if samples else np.zeros(0, np.intp)
        terms = cluster_terms.top_terms(self._read_texts(rows), self.pool.cluster[rows])
        return [" · ".join(filter(None, (name, ", ".join(terms.get(code, ()))))) for code, name in enumerate(names)]

    @cached_property
    def _by_cluster(self) -> tuple[Rows, NDArray[np.int64]]:
        """Rows sorted by cluster and number, and the bounds of the rows of each cluster."""
        clusters = self.pool.cluster
        order = np.argsort(clusters, kind="stable")
        return order, np.searchsorted(clusters[order], np.arange(len(self.pool.cluster_output.names()) + 1))

    def _largest(self, number: int) -> list[int]:
        """Return the largest clusters, largest first; ties go to the lowest number."""
        sizes = np.diff(self._by_cluster[1])
        collected: list[int] = np.argsort(-sizes, kind="stable")[:number].tolist()
        return [code for code in collected if sizes[code]]

    def clusters(self) -> tuple[report_data.Cluster, ...]:
        """Return the largest clusters, each with its most central row."""
        order, starts = self._by_cluster
        largest = self._largest(bars.GROUPS)
        if len(largest) < 2:
            return ()
        tables = [self.pool.cluster_output.read(number) for number in range(len(self.pool.shard_sizes))]
        central = np.concatenate([table["centroid_similarity"].to_numpy() for table in tables])
        members = [order[starts[code] : starts[code + 1]] for code in largest]
        middles = [int(rows[central[rows].argmax()]) for rows in members]
        ascending = sorted(middles)
        texts = dict(zip(ascending, self.texts(np.array(ascending, np.intp)), strict=True))
        return tuple(
            report_data.Cluster(
                name=self.cluster_names[code], rows=len(rows), kept=int(self.kept[rows].sum()), example=texts[middle]
            )
            for code, rows, middle in zip(largest, members, middles, strict=True)
        )

    def histograms(self) -> tuple[report_data.Histogram, ...]:
        summaries = {one.name: one.result.fit_summary for one in self.records if isinstance(one.result, ScoreResult)}
        columns = [
            (name, column, summaries[entry.name])
            for entry in self.context.config.score
            for name, column in zip(_columns(entry.name, entry), entry.spec.plugin().traits.columns, strict=True)
        ]
        return tuple(
            replace(
                statistics.histogram(
                    name,
                    self.pool.scores[name],
                    self.kept,
                    self.uniform,
                    unit=column.unit,
                    higher_is_better=column.higher_is_better,
                ),
                higher_means=column.higher_means,
                fit_note=summary,
            )
            for name, column, summary in columns
        )

    def shares(self) -> tuple[report_data.Shares, ...]:
        parts = [statistics.shares("cluster", self.pool.cluster, self.cluster_names, self.kept, self.uniform)]
        for of, series in (("source", self.pool.source), ("label", self.pool.label)):
            names = series.cast(pl.String).unique().drop_nulls().sort()
            if 1 < len(names) <= _GROUPS:
                codes = series.cast(pl.String).cast(pl.Enum(names)).to_physical().cast(pl.Int32).fill_null(-1)
                parts.append(statistics.shares(of, codes.to_numpy(), names.to_list(), self.kept, self.uniform))
        return tuple(part for part in parts if len(part.names) > 1)

    @cached_property
    def measures(self) -> PoolMeasures:
        """Measures of the pool that do not depend on the selection."""
        return pool_measures.load_measures(self.context, self.pool)

    def neighbors(self) -> report_data.Neighbors | None:
        if self.kept.sum() < 2:
            return None
        most = pool_measures.MAX_PROBES
        rng = rng_for(self.context.config.seed, "report/neighbors")
        similarities = [np.array(self.measures.nearest, np.float32)]
        for rows in (np.flatnonzero(self.kept), np.flatnonzero(self.uniform)):
            queries = rows if len(rows) <= most else rows[np.sort(rng.choice(len(rows), most, replace=False))]
            similarities.append(nearest_similarity(self.embeddings, queries, candidates=rows))
        return report_data.Neighbors(
            before=similarities[0],
            after=similarities[1],
            uniform=similarities[2],
            method="" if self.n <= most else f"for at most {most:,} rows of each, among all of its rows",
            copies=self.measures.copies,
        )

    def map(self) -> report_data.PoolMap:
        rows = pool_measures.map_rows(self.context, self.pool)
        lines = self.pool.read_ledger_rows(rows)
        clusters = self.pool.cluster[rows]
        images = self.pool.images()
        atlas = ("", 1) if images is None else thumbnails.encode_atlas(images.take(rows), _ATLAS_BYTES)
        return report_data.PoolMap(
            positions=self.measures.positions,
            ids=tuple(lines["id"]),
            texts=tuple(self.texts(rows)),
            kept=self.kept[rows],
            uniform=self.uniform[rows],
            dropped_by=tuple(lines["dropped_by"].fill_null("")),
            reasons=tuple(lines["reason"].fill_null("")),
            clusters=tuple("none" if code < 0 else self.cluster_names[code] for code in clusters),
            sources=tuple(self.pool.source[rows].cast(pl.String)) if self.pool.source.n_unique() > 1 else (),
            atlas=atlas[0],
            atlas_columns=atlas[1],
            pool_rows=self.n,
        )

    def ground_truth(self) -> report_data.GroundTruthTable | None:
        key = self.context.config.evaluate.ground_truth
        if key is None:
            return None
        return ground_truth_table.tabulate_outcomes(read_key(paths.parse_path(key)), self.pool.ledger, self.entries)

    def conflicts(self) -> report_data.Conflicts | None:
        if "label" not in self.pool.inputs.roles:
            return None
        collected = statistics.conflicts(pl.Series(self.pool.hashes), self.pool.label)
        firsts = collected["first"].unique(maintain_order=True).head(_CONFLICTS)
        texts = self.texts(firsts.to_numpy())
        shown = collected.filter(pl.col("first").is_in(firsts.implode()))
        ids = self.pool.read_ledger_rows(shown["row"].to_numpy())["id"]
        lines = shown.with_columns(id=ids, label=self.pool.label[shown["row"]])
        return report_data.Conflicts(
            texts=collected["first"].n_unique(),
            rows=len(collected),
            kept=int(self.kept[collected["row"].to_numpy()].sum()),
            groups=tuple(
                _conflict(text, lines.filter(pl.col("first") == first))
                for text, first in zip(texts, firsts, strict=True)
            ),
        )

    def review(self) -> report_data.Review | None:
        """Return the first labels to review; None without the section review."""
        output = self.pool.review_output
        result = next((one.result for one in self.records if isinstance(one.result, ReviewResult)), None)
        if output is None or result is None:
            return None
        return report_data.Review(
            scores=result.scores,
            listed=result.listed,
            ranked=result.ranked,
            suggested_by=result.suggested_by,
            noise=result.noise,
            rows=tuple(
                report_data.ReviewRow(
                    id=line["id"],
                    text=line["text"],
                    label=line["label"],
                    suggestion=line["suggestion"],
                    confidence=line["confidence"],
                    ranks=tuple(line["ranks"]),
                    neighbors=tuple(report_data.ReviewNeighbor(**one) for one in line["neighbors"]),
                )
                for line in output.read().slice(0, _REVIEWED).to_pylist()
            ),
        )

    def examples(self) -> tuple[report_data.Examples, ...]:
        rng = rng_for(self.context.config.seed, "report/examples")
        groups = [("", np.flatnonzero(self.kept))]
        groups += [(name, self.pool.rows_dropped_by(name)) for name in self.entries]
        chosen = {
            name: np.sort(rng.choice(rows, min(_EXAMPLES, len(rows)), replace=False))
            for name, rows in groups
            if len(rows)
        }
        totals = {name: len(rows) for name, rows in groups}
        return tuple(self._examples(name, rows, totals[name]) for name, rows in chosen.items())

    def _examples(self, entry: str, rows: Rows, total: int) -> report_data.Examples:
        lines = self.pool.read_ledger_rows(rows).to_dicts()
        chains = self._chains([line["representative"] for line in lines])
        shown = {chain.shown for chain in chains.values()}
        positions = self.pool.find_rows(shown)
        ascending = sorted(positions.values())
        texts = dict(zip(ascending, self.texts(np.array(ascending, np.intp)), strict=True))
        images = self._thumbnails([*rows.tolist(), *ascending])
        examples = []
        for row, text, line in zip(rows, self.texts(rows), lines, strict=True):
            example = report_data.Example(
                id=line["id"],
                text=text,
                thumbnail=images.get(int(row), ""),
                reason=line["reason"] or "",
                source=str(self.pool.source[int(row)]),
                cluster=self.cluster_names[self.pool.cluster[row]] if self.pool.cluster[row] >= 0 else "",
                scores={name: float(score[row]) for name, score in self.pool.scores.items()},
            )
            if (representative := line["representative"]) is not None:
                chain = chains[representative]
                location = positions.get(chain.shown)
                example = replace(
                    example,
                    relation=self.relations[entry],
                    representative=representative,
                    representative_dropped_by=chain.dropped_by,
                    kept_instead=chain.kept or "",
                    representative_text=_NO_LONGER if location is None else texts[location],
                    representative_thumbnail="" if location is None else images.get(location, ""),
                    similarity=float("nan") if line["similarity"] is None else line["similarity"],
                )
            examples.append(example)
        return report_data.Examples(entry=entry, total=total, rows=tuple(examples))

    @cached_property
    def relations(self) -> dict[str, str]:
        """Relation of a dropped row to its representative, by the entry that dropped it."""
        return {entry.name: ledger.relation(entry.budget) for entry in self.context.config.select}

    def _chains(self, ids: Sequence[str | None]) -> dict[str, _Chain]:
        """Follow each representative to the row that was kept in its place."""
        lines: dict[str, Mapping[str, Any]] = {}
        pending = {name for name in ids if name is not None}
        while pending:
            positions = self.pool.find_rows(sorted(pending))
            collected = self.pool.read_ledger_rows(np.array(sorted(positions.values()), np.intp)).to_dicts()
            lines |= {line["id"]: {**line, "status": "chosen" if line["selected"] else "dropped"} for line in collected}
            pending = {
                line["representative"] for line in collected if line["representative"] is not None
            } - lines.keys()
        return {name: _chain(name, lines) for name in ids if name is not None}

    def hits(self) -> tuple[report_data.ContaminatedRow, ...]:
        """Return the first rows that overlap an evaluation text, with that text."""
        collected: list[report_data.ContaminatedRow] = []
        kinds = self.context.config.export.mask_pii
        hits = self.pool.decontaminate_output
        for shard in range(len(self.pool.shard_sizes)):
            if hits is None or len(collected) == _HITS:
                break
            lines = hits.read(shard).slice(0, _HITS - len(collected)).to_pylist()
            collected += [
                report_data.ContaminatedRow(
                    id=line["id"],
                    text=redaction.redact(line["text"], kinds),
                    hit=Hit(
                        set=line["set"],
                        file=line["evaluation_file"],
                        line=line["evaluation_line"],
                        similarity=line["similarity"],
                        shared=redaction.redact(line["shared"] or "", kinds) if line["kind"] == NGRAM else None,
                        text=redaction.redact(line["evaluation_text"], kinds),
                    ),
                    texts=line["evaluation_texts"],
                )
                for line in lines
            ]
        return tuple(collected)

    def _thumbnails(self, rows: Sequence[int]) -> dict[int, str]:
        """Return the thumbnails of some rows of the pool."""
        images, distinct = self.pool.images(), sorted(set(rows))
        if images is None:
            return {}
        encoded = thumbnails.encode(images.take(np.array(distinct, np.intp)), _EXAMPLE_BYTES // (1 + len(self.entries)))
        return dict(zip(distinct, encoded, strict=True))

    def texts(self, rows: Rows) -> list[str]:
        """Return what is shown of some rows of the pool, in ascending order: their texts or the paths of their images.

        Texts are masked. Reads one shard at a time.
        """
        if self.context.config.input.text is None:
            return self.pool.read_image_paths(rows)
        return self._read_texts(rows)

    def _read_texts(self, rows: Rows) -> list[str]:
        return [redaction.redact(text, self.context.config.export.mask_pii) for text in self.pool.read_texts(rows)]


def _conflict(text: str, rows: pl.DataFrame) -> report_data.Conflict:
    """Return the conflict of one text, from the ids and labels of its rows."""
    labels = rows.group_by("label", maintain_order=True).agg(rows=pl.len(), ids=pl.col("id").head(_CONFLICTS))
    return report_data.Conflict(
        text=text,
        rows=len(rows),
        n_labels=len(labels),
        labels=tuple(
            report_data.LabelGroup(label=line["label"], rows=line["rows"], ids=tuple(line["ids"]))
            for line in labels.head(_CONFLICTS).to_dicts()
        ),
    )


@dataclass(frozen=True, slots=True)
class _Chain:
    """Outcome of a representative."""

    dropped_by: str
    """Entry that dropped the representative later; empty if none did."""

    kept: str | None
    """Row kept in place of the representative, itself if it was kept; None if none was kept."""

    shown: str
    """Row whose text is shown: the kept row, or the representative."""


def _chain(name: str, lines: Mapping[str, Mapping[str, Any]]) -> _Chain:
    dropped_by = lines[name]["dropped_by"] or "" if name in lines else ""
    kept = ledger.follow_chain(name, lines)
    return _Chain(dropped_by, kept, kept or name)


def _columns(name: str, entry: Entry) -> list[str]:
    return [f"{name}_{column.name}" if column.name else name for column in entry.spec.plugin().traits.columns]
