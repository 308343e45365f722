"""The dataset card: the README.md that goes with exported rows, for people and for dataset hubs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curate.accounting import Count, sum_counts
from curate.errors import escape_controls
from curate.report import contamination_text, sentences
from curate.report.card_features import Feature
from curate.report.formatting import DASH, compact, count, plural, share
from curate.report.report_data import Report

SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
"""The bounds between the hub's size categories, each ten times the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was written, as far as the card tells."""

    suffix: str
    """How the files' names end; they begin with ``train-``."""

    folder: str = "data"
    """Where they lie; those of the first epoch, where epochs are planned."""

    columns: tuple[tuple[str, str], ...] = ()
    """Name and type of every column."""

    features: Sequence[Feature] = ()
    """The columns as ``features.features`` gives them, for the front matter."""

    unreadable: str = ""
    """Reason why the ``datasets`` library cannot read the export; empty if it can."""

    notes: tuple[str, ...] = ()
    """Sentences on types that some readers cannot hold."""


def card(report: Report, export: Export) -> str:
    """The card as Markdown with YAML front matter; says only what is known.

    Deterministic: of the report's stages it leaves out times and memory. Names and texts are escaped, so that none can
    break a table, open a tag or end the front matter.
    """
    parts = [
        _front(report, export),
        f"# {_plain(report.run)}",
        f"{_plain(sentences.kept(report))}. {_plain(sentences.story(report))}",
        _tokens(report),
        _plain(sentences.changes(report)),
        *_section("What was done", _stages(report)),
        *_section("Checked against", _checked(report)),
        *_section("Rows by source", _sources(report)),
        *_section("Beside a uniform selection of the same size", _evidence(report)),
        *_section("Columns", _columns(export)),
        *_section("How to load it", _loading(report, export)),
        *_section("How to make it again", _again(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def size_category(rows: int) -> str:
    """The hub's name for a data set's size.

    >>> size_category(999), size_category(1_000), size_category(123_456), size_category(10**13)
    ('n<1K', '1K<n<10K', '100K<n<1M', 'n>1T')
    """
    above = sum(rows >= 1_000 * 10**power for power in range(len(SIZES)))
    if not above:
        return f"n<{SIZES[0]}"
    return f"n>{SIZES[-1]}" if above == len(SIZES) else f"{SIZES[above - 1]}<n<{SIZES[above]}"


def _front(report: Report, export: Export) -> str:
    import yaml

    folders = "data/epoch=*" if report.epochs else export.folder
    data = {"split": "train", "path": f"{folders}/train-*{export.suffix}"}
    front: dict[str, object] = {
        "pretty_name": " ".join(report.run.split()),  # on one line, so that it cannot end the front matter
        "size_categories": [size_category(sum(report.epochs) or report.rows.kept)],
        "tags": ["curate", "data-selection"],
        "configs": [{"config_name": "default", "data_files": [data]}],
    }
    if export.features:  # else the library takes the types from the first file, where a column may be null throughout
        front["dataset_info"] = {"features": [dict(feature) for feature in export.features]}
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1_000)
    if yaml.safe_load(text) != front or escape_controls(text) != text:  # a name that must be escaped
        text = yaml.safe_dump(front, sort_keys=False, width=1_000)
    return f"---\n{text}---"


def _tokens(report: Report) -> str:
    if report.tokens is None:
        return ""
    about = "About " if report.tokens.estimated else ""
    return (
        f"{about}{compact(report.tokens.kept)} tokens of {compact(report.tokens.pool)}, {_plain(report.tokens.method)}."
    )


def _section(title: str, body: str) -> tuple[str, ...]:
    return (f"## {title}", body) if body else ()


def _stages(report: Report) -> str:
    steps = []
    for number, stage in enumerate(report.stages, 1):
        what = _plain(stage.description).rstrip(".")
        steps.append(f"{number}. **{_plain(stage.name)}**: {what}. {_outcome(stage.rows)}")
    head = ("Stage", "Rows in", "Kept", "Dropped", "Quarantined")
    body = [(stage.name, *_numbers(stage.rows)) for stage in report.stages]
    table = _table(head, [*body, ("whole run", *_numbers(report.rows))])
    return "\n".join(steps) + f"\n\nRows in = kept + dropped + quarantined, for every stage:\n\n{table}"


def _outcome(rows: Count) -> str:
    if rows.kept == rows.rows_in:
        return f"All {plural(rows.rows_in, 'row')} went on." if rows.rows_in != 1 else "The one row went on."
    lost = [f"{count(rows.dropped)} dropped"] if rows.dropped else []
    lost += [f"{count(rows.quarantined)} quarantined"] if rows.quarantined else []
    return f"Of {plural(rows.rows_in, 'row')}, {count(rows.kept)} went on, {', '.join(lost)}."


def _sources(report: Report) -> str:
    accounts = report.sources
    lines = []
    for name, members in sentences.source_groups(report):
        rows = sum_counts(tuple(accounts[member] for member in members))
        lines.append((name, *_numbers(rows), share(rows.kept, rows.rows_in)))
    return _table(("Source", "Rows in", "Kept", "Dropped", "Quarantined", "Kept share"), lines) if lines else ""


def _checked(report: Report) -> str:
    """The evaluation sets that no row shares too much with, how that was told, and what was found."""
    if report.decontamination is None:
        return ""
    told = " ".join(_plain(sentence) for sentence in contamination_text.method(report.decontamination))
    found = _plain(contamination_text.outcome(report.decontamination))
    head, rows = contamination_text.sets(report.decontamination)
    files = [(path, digest) for one in report.decontamination.sets for path, digest in one.files]
    return "\n\n".join((f"{told} {found}", _table(head, rows), _table(("File", "sha256"), files, "---")))


def _evidence(report: Report) -> str:
    rows = [(row.name, *row.words()) for row in sentences.evidence(report)]
    return _table(("Measure", "Pool", "Kept", "Uniform"), rows) if rows else ""


def _columns(export: Export) -> str:
    return _table(("Column", "Type"), export.columns, "---") if export.columns else ""


_POLARS = {
    "parquet": """import polars as pl
rows = pl.read_parquet("path/to/this/folder/{files}")""",
    "jsonl": """from pathlib import Path
import polars as pl
files = sorted(Path("path/to/this/folder").glob("{files}"))
rows = pl.concat([pl.read_ndjson(file, infer_schema_length=None) for file in files], how="diagonal_relaxed")""",
}
"""How Polars reads each format; of JSON Lines each file by itself, as a column may be null throughout one of them."""


def _loading(report: Report, export: Export) -> str:
    """Return a snippet for each library that reads the export, and what to know before."""
    kind = next((kind for kind in _POLARS if f".{kind}" in export.suffix), "")
    if not kind:
        return ""
    files, only = f"{export.folder}/*{export.suffix}", f', data_files="{export.folder}/*{export.suffix}"'
    load = f"""from datasets import load_dataset
rows = load_dataset("path/to/this/folder"{only if report.epochs else ""}, split="train")"""
    polars = _POLARS[kind].format(files=files)
    before = ["The first epoch; without `data_files`, all of them, one after the other."] if report.epochs else []
    after = [_plain(note) for note in export.notes]
    if export.unreadable:
        after.append(f"The `datasets` library cannot read the export: {_plain(export.unreadable)}.")
    elif export.suffix.endswith(".zst"):
        after.append("`datasets` needs the package `zstandard` for this.")
    code = polars if export.unreadable else f"{load}\n\n{polars}"
    return "\n\n".join((*before, _fenced(code, "python"), *after))


def _again(report: Report) -> str:
    commands = _fenced("\n".join(report.reproduce), "shell") if report.reproduce else ""
    made = f"Made with curate {_plain(report.version)} and seed {report.seed}."
    config = f"The resolved configuration:\n\n{_fenced(report.config, 'yaml')}" if report.config else ""
    return "\n\n".join(part for part in (made, commands, config) if part)


def _numbers(rows: Count) -> tuple[str, ...]:
    numbers = (rows.rows_in, rows.kept, rows.dropped, rows.quarantined)
    return tuple(count(number) if number or place < 2 else DASH for place, number in enumerate(numbers))


def _table(head: Sequence[str], body: Sequence[Sequence[str]], other: str = "---:") -> str:
    rule = ["---", *(other for _ in head[1:])]
    rows = [list(head), rule, *([_plain(cell) for cell in row] for row in body)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line, with control characters written out."""
    safe = escape_controls(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", safe)


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
