"""Content of a report as plain data for programs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from curate.accounting import Count
from curate.report import evaluation_text, long_tail_text, sentences
from curate.report.formatting import short
from curate.report.report_data import OTHERS, Decontamination, GroundTruthTable, Histogram, LongTail, Report, Review


def summary(report: Report) -> dict[str, object]:
    """Return the numbers and sentences of a report as JSON types, without figures and examples.

    Unknown numbers are None.

    >>> from curate.report.report_data import Stage
    >>> run = Report(run="a", seed=0, version="1", stages=(Stage(name="input", description="", rows=Count(3, 2, 1)),))
    >>> summary(run)["rows"]
    {'rows_in': 3, 'kept': 2, 'dropped': 1, 'quarantined': 0}
    """
    stages = [
        {
            "name": stage.name,
            **_account(stage.rows),
            "seconds": _number(stage.seconds),
            "peak_bytes": stage.peak_bytes,
            "reused": stage.reused,
            "refreshed": stage.reuse_note,
            **_by_source(stage.sources, report.unlisted_sources),
        }
        for stage in report.stages
    ]
    evidence = [
        {
            "measure": row.name,
            "pool": _number(row.pool),
            "kept": _number(row.selection),
            "uniform": _number(row.uniform),
        }
        for row in sentences.evidence(report)
    ]
    return {
        "run": report.run,
        "seed": report.seed,
        "version": report.version,
        "headline": sentences.headline(report),
        "story": sentences.describe_drops(report),
        "gains": sentences.list_gains(report),
        "warnings": list(report.warnings),
        "rows": _account(report.rows),
        "change": dataclasses.asdict(report.change) if report.change else None,
        "masked": dataclasses.asdict(report.masked) if report.masked else None,
        "cut": dataclasses.asdict(report.cut) if report.cut else None,
        "tokens": dataclasses.asdict(report.tokens) if report.tokens else None,
        "stages": stages,
        **_by_source(report.sources, report.unlisted_sources),
        "evidence": evidence,
        "conflicts": _conflicts(report),
        "long_tails": {part.score: _long_tail(part) for part in report.long_tails},
        "ground_truth": None if report.ground_truth is None else _answered(report.ground_truth),
        "decontamination": None if report.decontamination is None else _checked(report.decontamination),
        "review": None if report.review is None else _reviewed(report.review),
        "splits": [dataclasses.asdict(one) for one in report.splits],
        "verdict": evaluation_text.sentence(report.evaluation) if report.evaluation else None,
        "retention": {part.entry: dataclasses.asdict(part) for part in report.retention},
        "scores": {score.name: _medians(score) for score in report.scores},
        "fits": {score.name: score.fit_note for score in report.scores if score.fit_note},
    }


def _answered(data_in: GroundTruthTable) -> dict[str, object]:
    kinds = {kind: dict(zip(data_in.outcomes, counts, strict=True)) for kind, counts in data_in.rows}
    return {"kinds": kinds, "unknown": data_in.unknown}


def _conflicts(report: Report) -> dict[str, object] | None:
    """Return the conflicting labels as plain data, with shortened texts."""
    if report.conflicts is None:
        return None
    data = dataclasses.asdict(report.conflicts)
    groups = [{**group, "text": short(group["text"], sentences.EXCERPT)} for group in data["groups"]]
    return {**data, "finding": sentences.describe_conflicts(report.conflicts), "groups": groups}


def _long_tail(part: LongTail) -> dict[str, object]:
    """Return a long tail as plain data, with shortened texts."""
    data = dataclasses.asdict(part)
    numbers = {key: _number(value) for key, value in data.items() if isinstance(value, float)}
    examples = [{**row, "text": short(row["text"], sentences.EXCERPT)} for row in data["examples"]]
    findings = [long_tail_text.describe_number(part), *long_tail_text.describe_cost(part)]
    return {**data, **numbers, "examples": examples, "findings": findings}


def _checked(data_in: Decontamination) -> dict[str, object]:
    data = dataclasses.asdict(data_in)
    del data["hits"]
    return {**data, "sets": [dict(one, files=dict(one["files"])) for one in data["sets"]]}


def _reviewed(data_in: Review) -> dict[str, object]:
    data = dataclasses.asdict(data_in)
    del data["rows"]
    return data


def _by_source(sources: Mapping[str, Count], unlisted: int) -> dict[str, object]:
    """Return the row counts of each listed source, and the sum of all others if there are any."""
    data: dict[str, object] = {"sources": {name: _account(rows) for name, rows in sources.items() if name != OTHERS}}
    if OTHERS in sources:
        data["other_sources"] = {"sources": unlisted, **_account(sources[OTHERS])}
    return data


def _account(rows: Count) -> dict[str, int]:
    return dataclasses.asdict(rows)


def _medians(score: Histogram) -> dict[str, float | None]:
    medians = dict(zip(("kept", "dropped", "uniform"), score.medians, strict=True))
    return {name: _number(number) for name, number in {"pool": score.pool_median, **medians}.items()}


def _number(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
