"""Outline of the report: the account of every step from the records, without figures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from curate.accounting import Count
from curate.config.model import SPLIT
from curate.plugins.registry import Plugin
from curate.report import report_data
from curate.stages.base import CompletedStages, Context
from curate.stages.decontaminate.stage import DecontaminateResult
from curate.stages.split.stage import SplitResult
from curate.store import manifest
from curate.store.inputs import InputResult
from curate.store.ledger import SelectResult
from curate.store.manifest import EntryAccount
from curate.store.versions import Publication
from curate.version import __version__

if TYPE_CHECKING:
    from curate.config.model import RunConfig


def build_outline(context: Context, done: CompletedStages, reused: Collection[str] = ()) -> report_data.Report:
    """Build the report without its figures and without the changes of the export.

    Parameters
    ----------
    context, done
        Context of the run, and the completed stages, at least up to select.
    reused : collection of str
        Fingerprints of the steps that were reused.
    """
    config, selected = context.config, done.record_of("select", SelectResult)
    tokens, how = selected.result, done.pool.inputs.tokens
    read = done.record_of("input", InputResult)
    corrections = read.result.corrections
    return report_data.Report(
        run=config.run,
        seed=config.seed,
        version=__version__,
        stages=tuple(_stages(context, done, reused)),
        unlisted_sources=max(0, len(read.sources) - manifest.MAX_SOURCES),
        epochs=tokens.epochs,
        retention=tuple(_retention_curves(selected.entries)),
        tokens=report_data.Tokens(tokens.tokens, tokens.tokens_kept, how, estimated=how.startswith("estimated"))
        if tokens.tokens
        else None,
        corrected=0 if corrections is None else corrections.rows,
        config=context.yaml,
        reproduce=(f"curate run {config.run}/config.yaml",),
        decontamination=_decontamination(config, done),
        splits=done.record_of(SPLIT, SplitResult).result.splits if config.split is not None else (),
    )


def _decontamination(config: RunConfig, done: CompletedStages) -> report_data.Decontamination | None:
    """Return the evaluation sets that the pool was checked against, without the hits."""
    section = config.decontaminate
    if section is None:
        return None
    result = done.record_of("decontaminate", DecontaminateResult).result
    return report_data.Decontamination(
        sets=result.sets,
        ngram_size=section.ngram_size,
        min_words=section.min_words,
        min_overlap_rate=section.min_overlap_rate,
        max_ngram_rows=section.max_ngram_rows,
        min_similarity=section.min_similarity,
        embedding=section.embedding or config.embed[0].name,
        rows=result.rows,
        total=result.hits,
    )


def _stages(context: Context, done: CompletedStages, reused: Collection[str]) -> Iterator[report_data.Stage]:
    listed = manifest.largest(done.records[0].sources, manifest.MAX_SOURCES)
    removing = {entry.name for entry in context.config.select if _removes_duplicates(entry.spec.plugin())}
    for stage in context.stages:
        summaries: dict[str, str] = {}
        for entry in stage.entries(context.config):
            summaries |= stage.describe(entry)
        for record in done.records_of(stage.name):
            for line in manifest.expand_entries([record]):
                yield report_data.Stage(
                    name=stage.name if stage.has_single_step and not record.entries else f"{stage.name} {line.name}",
                    description=summaries[line.name],
                    rows=line.count,
                    sources=_accounts(line.sources, listed),
                    seconds=line.seconds,
                    peak_bytes=line.peak_memory,
                    reused=line.fingerprint in reused,
                    removed_kind="duplicate" if stage.section == "select" and line.name in removing else "",
                    reuse_note="; ".join(stage.remarks(record)),
                )


def _removes_duplicates(plugin: Plugin) -> bool:
    """Return whether a selector drops only duplicates."""
    return plugin.traits.sketch is not None or ".duplicates." in plugin.cls.__module__


def _retention_curves(entries: Sequence[EntryAccount]) -> Iterator[report_data.EntryRetention]:
    for entry in entries:
        if (curve := entry.retention) is not None:
            yield report_data.EntryRetention(
                entry=entry.name, **{one.name: getattr(curve, one.name) for one in fields(curve)}
            )


def describe_publication(line: Publication | None) -> report_data.Change | None:
    """Return the changes of a publication; None if no version was replaced."""
    if line is None or "over" not in line:
        return None
    return report_data.Change(
        before=line["over"], added=line["added"], removed=line["removed"], rate=line["churn_rate"]
    )


def _accounts(sources: Mapping[str, Count], listed: Collection[str]) -> dict[str, Count]:
    """Return the account of each of the ``listed`` sources, and one for all other sources if there are any."""
    if len(listed) <= 1:
        return {}
    counts, others = manifest.split_sources(sources, listed)
    return counts | ({report_data.OTHERS: others} if len(sources) > len(counts) else {})
