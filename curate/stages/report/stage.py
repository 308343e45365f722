"""What a run shows for itself: the report and the dataset card, filled from what the stages left behind.

Every figure stands beside a uniform selection of the same budget.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curate import paths
from curate.config import yaml_positions
from curate.config.model import DECONTAMINATE, Entry
from curate.config.sections import ENTRIES
from curate.errors import DataError
from curate.kernels.neighbors.knn import nearest_similarity
from curate.kernels.types import Matrix, Rows
from curate.pool.columns import PoolColumns
from curate.report import card_features, contents, dataset_card, ground_truth_table, run_page, statistics
from curate.report.charts import projection
from curate.report.summary import summary
from curate.seeds import rng_for
from curate.stages.context import Context
from curate.stages.decontaminate.stage import NGRAM
from curate.stages.export.stage import Before, columns, data_folder
from curate.stages.report import evaluation_result
from curate.stages.report.ground_truth import read as read_key
from curate.store import manifest, parquet_io, redaction
from curate.store.json_shape import read_as
from curate.store.manifest import Count, Record
from curate.version import __version__

if TYPE_CHECKING:
    from curate.config.model import RunConfig

_PROBES = 2_000
"""Rows whose nearest neighbour is looked for in each set."""

_EXAMPLES = 8
"""Rows shown of the kept, and of those that each entry dropped."""

_CONFLICTS = 10
"""Texts with different labels that are shown; the labels of each; and the rows of each label."""

_HITS = 20
"""Rows shown beside the evaluation text that they share something with."""

_LOOKED = "Look for evaluation texts among the pool's rows"
_DROPPED = "Drop the rows that share too much with an evaluation text"

_GROUPS = 500
"""Labels beyond which their shares are not drawn."""


def card(context: Context, before: Before, changed: Mapping[str, Any]) -> str:
    """Return the dataset card.

    It is deterministic and has no times in it.

    Parameters
    ----------
    context, before
        The run, and the results of the stages before the export.
    changed : mapping
        What the export masked and cut, as its record counts it.
    """
    config = context.config.export
    folder = data_folder(before, 0 if before.epochs else None)
    export = _exported(config.spec.build().suffix, folder, columns(config, before), _described(before))
    told = _outline(context, before, before.records)
    name, recipe = Path(context.config.source).stem, yaml_positions.dump(context.recipe)
    told = replace(told, run=name, masked=_masked(changed), cut=_cut(changed), config=recipe, reproduce=())
    return dataset_card.card(told, export)


def _described(before: Before) -> dict[str, Any]:
    """Return the features that the input's files have in the metadata of their schemas, by column."""
    metadata = before.rows.source.schema.metadata or {}
    found: dict[str, Any] = json.loads(metadata.get(b"huggingface", '{"info": {"features": {}}}'))["info"]["features"]
    return found


def _exported(
    suffix: str, folder: str, types: Mapping[str, pa.DataType], described: Mapping[str, Any]
) -> dataset_card.Export:
    """Return what the card says of the files and their columns; ``described`` are the input's own features."""
    as_json = ".jsonl" in suffix
    named = tuple((name, str(kind)) for name, kind in types.items())
    notes: tuple[str, ...] = ()
    if as_json and any("uint64" in kind for _, kind in named):
        notes = ("Most readers of JSON Lines cannot read an integer of 2^63 or more exactly.",)
    try:
        known = card_features.overrides(described, as_json=as_json)
        found, unreadable = card_features.features(types, as_json=as_json, known=known), ""
    except card_features.UnknownTypeError as error:
        found, unreadable = [], str(error)
    return dataset_card.Export(
        suffix=suffix, folder=folder, columns=named, features=found, unreadable=unreadable, notes=notes
    )


def report(
    context: Context,
    before: Before,
    records: Sequence[Record],
    publication: Mapping[str, Any] | None,
    warnings: Sequence[str] = (),
    reused: Collection[str] = (),
) -> tuple[str, dict[str, Any]]:
    """Render the report.

    Parameters
    ----------
    context, before
        The run, and the results of the stages before the export.
    records : sequence of Record
        The records of every step.
    publication : mapping or None
        The line of the history for the export that the report is of.
    warnings : sequence of str
        Shown first.
    reused : collection of str
        The fingerprints of steps that were done before this run.

    Returns
    -------
    page : str
        The HTML file.
    summary : dict
        The same content as plain data.
    """
    context.progress.begin("writing the report", 6)
    facts = _Facts(context, before)
    steps: dict[str, Callable[[], Any]] = {
        "scores": facts.histograms,
        "shares": facts.shares,
        "neighbours": facts.neighbours,
        "map": facts.map,
        "conflicts": facts.conflicts,
        "answers": facts.answers,
        "examples": facts.examples,
    }
    outline = _outline(context, before, records, reused)
    parts: dict[str, Any] = {"warnings": tuple(warnings), "change": _change(publication)}
    parts |= evaluation_result.parts(context, before.selected)
    for name, step in steps.items():
        parts[name] = step()
        context.progress.advance(1)
    if outline.decontamination is not None:
        parts["decontamination"] = replace(outline.decontamination, hits=facts.hits())
    told = replace(outline, **parts)
    return run_page.render(told), summary(told)


# ---------------------------------------------------------------- the accounts


def _outline(
    context: Context, before: Before, records: Sequence[Record], reused: Collection[str] = ()
) -> contents.Report:
    """The report without its figures."""
    config = context.config
    selected = next(record for record in records if record.stage == "select")
    how = before.rows.source.tokens
    return contents.Report(
        run=config.run,
        seed=config.seed,
        version=__version__,
        stages=tuple(_stages(context, records, reused)),
        unlisted_sources=max(0, len(records[0].sources) - manifest.MOST_SOURCES),
        epochs=tuple(selected.epochs),
        retained=tuple(_retained(selected)),
        tokens=contents.Tokens(
            selected.facts["tokens"], selected.facts["tokens_kept"], how, estimated=how.startswith("estimated")
        ),
        masked=next((_masked(record.facts) for record in records if record.stage == "export"), None),
        cut=next((_cut(record.facts) for record in records if record.stage == "export"), None),
        config=context.yaml,
        reproduce=(f"curate run {config.run}/config.yaml",),
        decontamination=_decontamination(config, records),
    )


def _decontamination(config: RunConfig, records: Sequence[Record]) -> contents.Decontamination | None:
    """What the pool was checked against, without the hits."""
    asked = config.decontaminate
    if asked is None:
        return None
    facts = next(record.facts for record in records if record.stage == DECONTAMINATE)
    return contents.Decontamination(
        sets=tuple(
            contents.EvaluationSet(**{**told, "files": tuple((file["path"], file["sha256"]) for file in told["files"])})
            for told in facts["sets"]
        ),
        ngram=asked.ngram,
        min_words=asked.min_words,
        min_overlap_rate=asked.min_overlap_rate,
        max_ngram_rows=asked.max_ngram_rows,
        min_similarity=asked.min_similarity,
        embedding=asked.embedding or config.embed[0].name,
        rows=facts["rows"],
        total=facts["hits"],
    )


def _stages(context: Context, records: Sequence[Record], reused: Collection[str]) -> Iterator[contents.Stage]:
    config = context.config
    entries: list[Entry] = [
        *config.embed,
        config.cluster,
        *([config.proxy] if config.proxy else []),
        *config.score,
        *config.select,
        config.export,
    ]
    about = {DECONTAMINATE: _LOOKED, f"selector {DECONTAMINATE}": _DROPPED, "input": "Read the pool's files"}
    about |= {f"{entry.spec.kind} {entry.name}": entry.spec.plugin().summary() for entry in entries}
    listed = manifest.largest(records[0].sources, manifest.MOST_SOURCES)
    for record in manifest.lines(records):
        section = ENTRIES.get(record.stage)
        yield contents.Stage(
            name=f"{record.stage} {record.name}" if section and section.many else record.stage,
            what=about[f"{section.kind} {record.name}" if section else record.stage],
            rows=_account(record.count),
            sources=_accounts(record.sources, listed),
            seconds=record.seconds,
            peak_bytes=record.peak_memory,
            reused=record.fingerprint in reused,
            refreshed=_refreshed(record),
        )


def _retained(selected: Record) -> Iterator[contents.Retained]:
    for entry in selected.facts["entries"]:
        if "retention" in entry:
            found = read_as(contents.Retained, {"entry": entry["name"], **entry["retention"]})
            if found is None:
                raise DataError(f"select {entry['name']}: its manifest tells no curve of rows kept by threshold")
            yield found


def _refreshed(record: Record) -> str:
    """What the step took over from before the pool changed, and how far that has drifted."""
    told = []
    encoded, drift = record.facts.get("encoded"), record.facts.get("drift")
    if encoded is not None and encoded < record.count.rows_in:
        told.append(f"{encoded:,} rows embedded, the others' vectors taken over")
    if drift:
        told.append(f"what it learnt before drifted by {drift:.2%}")
    return "; ".join(told)


def _masked(changed: Mapping[str, Any]) -> contents.Masked | None:
    counts = changed["masked"]
    return None if counts is None else contents.Masked(counts["rows"], counts["spans"])


def _cut(changed: Mapping[str, Any]) -> contents.Cut | None:
    counts = changed["cut"]
    return None if counts is None else contents.Cut(**{name: counts[name] for name in manifest.CUT})


def _change(line: Mapping[str, Any] | None) -> contents.Change | None:
    """Return what a publication changed; None if no version was replaced."""
    if line is None or "over" not in line:
        return None
    return contents.Change(before=line["over"], added=line["added"], removed=line["removed"], rate=line["churn_rate"])


def _account(count: Count) -> contents.Account:
    return contents.Account(count.rows_in, count.kept, count.dropped, count.quarantined)


def _accounts(sources: Mapping[str, Count], listed: Collection[str]) -> dict[str, contents.Account]:
    """Return the account of each of the ``listed`` sources, and one for all others if there are any."""
    if len(listed) <= 1:
        return {}
    counts, others = manifest.divided(sources, listed)
    accounts = {name: _account(count) for name, count in counts.items()}
    return accounts | ({contents.OTHERS: _account(others)} if len(sources) > len(counts) else {})


# ---------------------------------------------------------------- the figures


class _Facts:
    """The selection over the pool's n rows, beside a uniform one of the same size."""

    def __init__(self, context: Context, before: Before) -> None:
        self.context, self.before = context, before
        self.columns = PoolColumns(context, before.rows, before.clustered, before.scored, before.decontaminated)
        self.n = self.columns.n
        self.kept: NDArray[np.bool_] = self.ledger["selected"].to_numpy()
        rng = rng_for(context.config.seed, "report/uniform")
        self.uniform = np.zeros(self.n, bool)
        clean = np.flatnonzero(~self.columns.contaminated)
        self.uniform[rng.choice(clean, int(self.kept.sum()), replace=False)] = True

    @cached_property
    def ledger(self) -> pl.DataFrame:
        """The pool rows' lines in the ledger."""
        rows, selected = self.before.rows, self.before.selected
        columns = ["id", "selected", "dropped_by", "reason", "representative", "similarity"]
        tables = [
            selected.read(shard, columns).take(rows.positions(shard, rows.ids(shard)))
            for shard in range(len(rows.rows))
        ]
        frame = pl.from_arrow(pa.concat_tables(tables))
        return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()

    @cached_property
    def embeddings(self) -> Matrix:
        return self.columns.embeddings(self.before.clustered.embedding)

    @cached_property
    def cluster_names(self) -> list[str]:
        names = parquet_io.read(self.before.clustered.folder / "centroids.parquet", ["name"])["name"].to_pylist()
        return [str(number) if name is None else name for number, name in enumerate(names)]

    def histograms(self) -> tuple[contents.Histogram, ...]:
        learnt = {record.name: record.facts.get("learnt") for record in self.before.records if record.stage == "score"}
        columns = [
            (name, column, learnt.get(entry.name))
            for entry in self.context.config.score
            for name, column in zip(_columns(entry.name, entry), entry.spec.plugin().traits.columns, strict=True)
        ]
        return tuple(
            replace(
                statistics.histogram(
                    name,
                    self.columns.scores[name],
                    self.kept,
                    self.uniform,
                    unit=column.unit,
                    higher_is_better=column.higher_is_better,
                ),
                learnt=told if isinstance(told, str) else "",
            )
            for name, column, told in columns
        )

    def shares(self) -> tuple[contents.Shares, ...]:
        parts = [statistics.shares("cluster", self.columns.cluster, self.cluster_names, self.kept, self.uniform)]
        for of, series in (("source", self.columns.source), ("label", self.columns.label)):
            names = series.cast(pl.String).unique().drop_nulls().sort()
            if 1 < len(names) <= _GROUPS:
                codes = series.cast(pl.String).cast(pl.Enum(names)).to_physical().cast(pl.Int32).fill_null(-1)
                parts.append(statistics.shares(of, codes.to_numpy(), names.to_list(), self.kept, self.uniform))
        return tuple(part for part in parts if len(part.names) > 1)

    def neighbours(self) -> contents.Neighbours | None:
        if self.kept.sum() < 2:
            return None
        rng = rng_for(self.context.config.seed, "report/neighbours")
        probes = min(_PROBES, int(self.kept.sum()))
        similarities = []
        for rows in (np.arange(self.n), np.flatnonzero(self.kept), np.flatnonzero(self.uniform)):
            vectors = self.embeddings if len(rows) == self.n else self.embeddings[rows]
            similarities.append(nearest_similarity(vectors, np.sort(rng.choice(len(rows), probes, replace=False))))
        how = "" if probes == self.n else f"for {probes:,} rows of each, among all of its rows"
        return contents.Neighbours(before=similarities[0], after=similarities[1], uniform=similarities[2], how=how)

    def map(self) -> contents.Map:
        rng = rng_for(self.context.config.seed, "report/map")
        rows = np.sort(rng.choice(self.n, min(self.n, projection.SAMPLE), replace=False))
        ledger = self.ledger[rows]
        clusters = self.columns.cluster[rows]
        return contents.Map(
            places=projection.project(self.embeddings[rows]),
            ids=tuple(ledger["id"]),
            texts=tuple(self.texts(rows)),
            kept=self.kept[rows],
            uniform=self.uniform[rows],
            dropped_by=tuple(ledger["dropped_by"].fill_null("")),
            reasons=tuple(ledger["reason"].fill_null("")),
            clusters=tuple("none" if code < 0 else self.cluster_names[code] for code in clusters),
            sources=tuple(self.columns.source[rows].cast(pl.String)) if self.columns.source.n_unique() > 1 else (),
            pool_rows=self.n,
        )

    def answers(self) -> contents.Answers | None:
        key = self.context.config.evaluate.key
        if key is None:
            return None
        droppers = [entry["name"] for entry in self.before.records[-1].facts["entries"]]
        return ground_truth_table.confusion(read_key(paths.place(key)), self.ledger, droppers)

    def conflicts(self) -> contents.Conflicts | None:
        rows = self.before.rows
        if "label" not in rows.source.roles:
            return None
        found = statistics.conflicts(pl.Series(rows.columns(("hash",))["hash"]), self.columns.label)
        firsts = found["first"].unique(maintain_order=True).head(_CONFLICTS)
        texts = self.texts(firsts.to_numpy())
        shown = found.filter(pl.col("first").is_in(firsts.implode()))
        lines = shown.with_columns(id=self.ledger["id"][shown["row"]], label=self.columns.label[shown["row"]])
        return contents.Conflicts(
            texts=found["first"].n_unique(),
            rows=len(found),
            kept=int(self.kept[found["row"].to_numpy()].sum()),
            groups=tuple(
                _conflict(text, lines.filter(pl.col("first") == first))
                for text, first in zip(texts, firsts, strict=True)
            ),
        )

    def examples(self) -> tuple[contents.Examples, ...]:
        rng = rng_for(self.context.config.seed, "report/examples")
        by = self.ledger["dropped_by"]
        groups = [("", np.flatnonzero(self.kept))]
        droppers = [] if self.before.decontaminated is None else [DECONTAMINATE]
        droppers += [entry.name for entry in self.context.config.select]
        groups += [(name, (by == name).arg_true().to_numpy()) for name in droppers]
        chosen = {
            name: np.sort(rng.choice(rows, min(_EXAMPLES, len(rows)), replace=False))
            for name, rows in groups
            if len(rows)
        }
        totals = {name: len(rows) for name, rows in groups}
        return tuple(self._examples(name, rows, totals[name]) for name, rows in chosen.items())

    def _examples(self, entry: str, rows: Rows, total: int) -> contents.Examples:
        lines = self.ledger[rows].to_dicts()
        stands = [line["representative"] for line in lines if line["representative"] is not None]
        found_at = self.ledger.with_row_index("row").filter(pl.col("id").is_in(stands))
        places: dict[str, int] = dict(zip(found_at["id"], found_at["row"], strict=True))
        found = dict(zip(sorted(places.values()), self.texts(np.array(sorted(places.values()), np.intp)), strict=True))
        examples = []
        for row, text, line in zip(rows, self.texts(rows), lines, strict=True):
            stand = line["representative"]
            examples.append(
                contents.Example(
                    id=line["id"],
                    text=text,
                    reason=line["reason"] or "",
                    source=str(self.columns.source[int(row)]),
                    cluster=self.cluster_names[self.columns.cluster[row]] if self.columns.cluster[row] >= 0 else "",
                    scores={name: float(score[row]) for name, score in self.columns.scores.items()},
                    representative=stand or "",
                    representative_text=_text_of(stand, places, found),
                    similarity=float("nan") if line["similarity"] is None else line["similarity"],
                )
            )
        return contents.Examples(entry=entry, total=total, rows=tuple(examples))

    def hits(self) -> tuple[contents.Hit, ...]:
        """The first rows that share too much with an evaluation text, beside that."""
        found: list[contents.Hit] = []
        kinds = self.context.config.export.mask
        for shard in range(len(self.before.rows.rows)):
            if self.before.decontaminated is None or len(found) == _HITS:
                break
            lines = self.before.decontaminated.read(shard).slice(0, _HITS - len(found)).to_pylist()
            found += [
                contents.Hit(
                    id=line["id"],
                    by_words=line["kind"] == NGRAM,
                    name=line["set"],
                    similarity=line["similarity"],
                    shared=redaction.quoted(line["shared"] or "", kinds),
                    text=redaction.quoted(line["text"], kinds),
                    evaluation_text=redaction.quoted(line["evaluation_text"], kinds),
                    place=f"{line['evaluation_file']}:{line['evaluation_line']}",
                    texts=line["evaluation_texts"],
                )
                for line in lines
            ]
        return tuple(found)

    def texts(self, rows: Rows) -> list[str]:
        """The texts of some of the pool's rows, in ascending order, as they may be shown; reads a shard at a time."""
        texts: list[str] = []
        start = 0
        for shard, count in enumerate(self.before.rows.rows):
            mine = rows[(rows >= start) & (rows < start + count)] - start
            if len(mine):
                texts += self.before.rows.input(shard, ("text",))["text"].take(pa.array(mine)).to_pylist()
            start += count
        return [redaction.quoted(text, self.context.config.export.mask) for text in texts]


def _conflict(text: str, rows: pl.DataFrame) -> contents.Conflict:
    """One text, from the ids and labels of its rows."""
    labels = rows.group_by("label", maintain_order=True).agg(rows=pl.len(), ids=pl.col("id").head(_CONFLICTS))
    return contents.Conflict(
        text=text,
        rows=len(rows),
        different=len(labels),
        labels=tuple(
            contents.Labelled(label=line["label"], rows=line["rows"], ids=tuple(line["ids"]))
            for line in labels.head(_CONFLICTS).to_dicts()
        ),
    )


def _text_of(stand: str | None, places: Mapping[str, int], texts: Mapping[int, str]) -> str:
    """Of a row that stands for another; one that was published may have left the pool since."""
    if stand is None:
        return ""
    return texts[places[stand]] if stand in places else "(published before, and no longer in the pool)"


def _columns(name: str, entry: Any) -> list[str]:
    return [f"{name}_{column.name}" if column.name else name for column in entry.spec.plugin().traits.columns]
