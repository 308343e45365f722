"""Dataset card: the README.md of an export, for people and for dataset hubs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curate.accounting import Count, sum_counts
from curate.errors import escape_controls
from curate.report import contamination_text, sentences, split_text
from curate.report.card_features import Feature
from curate.report.formatting import DASH, compact, count, join_words, plural, share
from curate.report.report_data import Report

SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
"""Bounds of the size categories of the hub, each ten times the previous one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Description of an export for the card."""

    suffix: str
    """Suffix of the file names, which begin with the name of the split and a dash."""

    folder: str = "data"
    """Directory of the files; for an epoch plan, that of the first epoch."""

    has_index: bool = False
    """Whether the format lists the files of a split in an index, so that each split has a directory in ``folder``."""

    columns: tuple[tuple[str, str], ...] = ()
    """Name and type of every column."""

    features: Sequence[Feature] = ()
    """Features of the columns for the front matter; see ``card_features.describe_columns``."""

    unreadable: str = ""
    """Reason why the ``datasets`` library cannot read the export; empty if it can."""

    notes: tuple[str, ...] = ()
    """Sentences on types that some readers cannot represent."""


def card(report: Report, export: Export) -> str:
    """Return the card as Markdown with YAML front matter.

    The card is deterministic: it contains no times and no memory use. Names and texts are escaped, so that they cannot
    break a table, open a tag or end the front matter.
    """
    parts = [
        _front(report, export),
        f"# {_plain(report.run)}",
        f"{_plain(sentences.describe_kept(report))}. {_plain(sentences.describe_drops(report))}",
        _tokens(report),
        _plain(sentences.describe_export_changes(report)),
        *_section("Processing", _stages(report)),
        *_section("Overlap with evaluation sets", _checked(report)),
        *_section("Splits", _splits(report)),
        *_section("Rows by source", _sources(report)),
        *_section("Comparison with a random baseline of the same size", _evidence(report)),
        *_section("Columns", _columns(export)),
        *_section("Loading the data", _loading(report, export)),
        *_section("Reproducing the data", _again(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def size_category(rows: int) -> str:
    """Return the size category of the hub for a number of rows.

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
    data = [
        {"split": name, "path": f"{folders}/{f'{name}/' * export.has_index}{name}-*{export.suffix}"}
        for name in _split_names(report)
    ]
    front: dict[str, object] = {
        "pretty_name": " ".join(report.run.split()),  # on one line, so that it cannot end the front matter
        "size_categories": [size_category(sum(report.epochs) or report.rows.kept)],
        "tags": ["curate", "data-selection"],
    }
    if export.suffix not in _WITHOUT_BUILDER:
        front["configs"] = [{"config_name": "default", "data_files": data}]
    if export.features:  # otherwise the library infers types from the first file, where a column may be all null
        front["dataset_info"] = {"features": [dict(feature) for feature in export.features]}
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1_000)
    if yaml.safe_load(text) != front or escape_controls(text) != text:  # a name that must be escaped
        text = yaml.safe_dump(front, sort_keys=False, width=1_000)
    return f"---\n{text}---"


def _tokens(report: Report) -> str:
    if report.tokens is None:
        return ""
    kept = f"{'about ' if report.tokens.estimated else ''}{compact(report.tokens.kept)}"
    method = _plain(report.tokens.method)
    return f"The kept rows contain {kept} of the {compact(report.tokens.pool)} tokens of the pool ({method})."


def _section(title: str, body: str) -> tuple[str, ...]:
    return (f"## {title}", body) if body else ()


def _stages(report: Report) -> str:
    steps = []
    for number, stage in enumerate(report.stages, 1):
        description = _plain(stage.description).rstrip(".")
        steps.append(f"{number}. **{_plain(stage.name)}**: {description}. {_outcome(stage.rows)}")
    head = ("Stage", "Rows in", "Kept", "Dropped", "Quarantined")
    body = [(stage.name, *_numbers(stage.rows)) for stage in report.stages]
    table = _table(head, [*body, ("total", *_numbers(report.rows))])
    return "\n".join(steps) + f"\n\nFor every stage, rows in = kept + dropped + quarantined:\n\n{table}"


def _outcome(rows: Count) -> str:
    if rows.kept == rows.rows_in:
        return f"All {plural(rows.rows_in, 'row')} were kept." if rows.rows_in != 1 else "The one row was kept."
    outcomes = [f"{count(rows.kept)} {'was' if rows.kept == 1 else 'were'} kept"]
    outcomes += [f"{count(rows.dropped)} dropped"] if rows.dropped else []
    outcomes += [f"{count(rows.quarantined)} quarantined"] if rows.quarantined else []
    return f"Of {plural(rows.rows_in, 'row')}, {join_words(outcomes)}."


def _split_names(report: Report) -> list[str]:
    return [one.name for one in report.splits] or ["train"]


def _sources(report: Report) -> str:
    accounts = report.sources
    lines = []
    for name, members in sentences.source_groups(report):
        rows = sum_counts(tuple(accounts[member] for member in members))
        lines.append((name, *_numbers(rows), share(rows.kept, rows.rows_in)))
    return _table(("Source", "Rows in", "Kept", "Dropped", "Quarantined", "Kept share"), lines) if lines else ""


def _checked(report: Report) -> str:
    """Return the section on the decontamination: method, result, evaluation sets and their files."""
    if report.decontamination is None:
        return ""
    method = " ".join(_plain(sentence) for sentence in contamination_text.method(report.decontamination))
    outcome = _plain(contamination_text.outcome(report.decontamination))
    head, rows = contamination_text.sets(report.decontamination)
    files = [(path, digest) for one in report.decontamination.sets for path, digest in one.files]
    return "\n\n".join((f"{method} {outcome}", _table(head, rows), _table(("File", "sha256"), files, "---")))


def _splits(report: Report) -> str:
    return f"{split_text.METHOD}\n\n{_table(*split_text.table(report.splits))}" if report.splits else ""


def _evidence(report: Report) -> str:
    rows = [(row.name, *row.words()) for row in sentences.evidence(report)]
    return _table(("Measure", "Pool", "Kept", "Random baseline"), rows) if rows else ""


def _columns(export: Export) -> str:
    return _table(("Column", "Type"), export.columns, "---") if export.columns else ""


_WITHOUT_BUILDER = (".mds",)
"""Suffixes of formats that ``datasets.load_dataset`` cannot read."""

_LOAD_DATASET = """from datasets import load_dataset
rows = load_dataset("path/to/this/folder"{only}, split="{split}")"""
_POLARS = """from pathlib import Path
import polars as pl
files = sorted(Path("path/to/this/folder").glob("{files}"))
rows = pl.concat([pl.read_ndjson(file, infer_schema_length=None) for file in files], how="diagonal_relaxed")"""

_SNIPPETS = {
    "parquet": (
        _LOAD_DATASET,
        """import polars as pl
rows = pl.read_parquet("path/to/this/folder/{files}")""",
    ),
    "jsonl": (_LOAD_DATASET, _POLARS),
    "csv": (
        _LOAD_DATASET,
        """from pathlib import Path
import polars as pl
files = sorted(Path("path/to/this/folder").glob("{files}"))
schema = pl.read_csv(files[0], infer_schema_length=None).schema
rows = pl.concat([pl.read_csv(file, schema=schema) for file in files])""",
    ),
    "tar": (
        """from pathlib import Path
import webdataset
files = sorted(map(str, Path("path/to/this/folder").glob("{files}")))
rows = webdataset.WebDataset(files, shardshuffle=False).decode()""",
    ),
    "arrow": (
        """from datasets import load_from_disk
rows = load_from_disk("path/to/this/folder/{folder}")""",
    ),
    "mds": (
        """from streaming import StreamingDataset
rows = StreamingDataset(local="path/to/this/folder/{folder}", shuffle=False, batch_size=1)""",
    ),
}
"""Snippets for each format; the files of JSON Lines are read one by one, as a column may be all null in one."""


def _loading(report: Report, export: Export) -> str:
    """Return a snippet for each library that can read the export, with notes."""
    kind = next((kind for kind in _SNIPPETS if export.suffix.startswith(f".{kind}")), "")
    if not kind:
        return ""
    first = _split_names(report)[0]
    folder = f"{export.folder}{f'/{first}' * export.has_index}"
    files = f"{folder}/{first}-*{export.suffix}"
    only = f', data_files="{files}"' if report.epochs else ""
    snippets = [
        snippet.replace("{files}", files).replace("{only}", only).replace("{folder}", folder).replace("{split}", first)
        for snippet in _SNIPPETS[kind]
        if snippet != _LOAD_DATASET or not export.unreadable
    ]
    has_builder = _LOAD_DATASET in _SNIPPETS[kind]
    note = "This loads the first epoch"
    note += "; without `data_files`, all epochs are loaded, one after the other." if has_builder else "."
    before = [note] if report.epochs else []
    after = [_plain(note) for note in export.notes]
    if export.unreadable and has_builder:
        after.append(f"The `datasets` library cannot read the export: {_plain(export.unreadable)}.")
    elif export.suffix.endswith(".zst"):
        after.append("`datasets` needs the package `zstandard` to read these files.")
    return "\n\n".join((*before, _fenced("\n\n".join(snippets), "python"), *after))


def _again(report: Report) -> str:
    commands = _fenced("\n".join(report.reproduce), "shell") if report.reproduce else ""
    origin = f"Created with curate {_plain(report.version)} and seed {report.seed}."
    config = f"Resolved configuration:\n\n{_fenced(report.config, 'yaml')}" if report.config else ""
    return "\n\n".join(part for part in (origin, commands, config) if part)


def _numbers(rows: Count) -> tuple[str, ...]:
    numbers = (rows.rows_in, rows.kept, rows.dropped, rows.quarantined)
    return tuple(count(number) if number or column < 2 else DASH for column, number in enumerate(numbers))


def _table(head: Sequence[str], body: Sequence[Sequence[str]], other: str = "---:") -> str:
    rule = ["---", *(other for _ in head[1:])]
    rows = [list(head), rule, *([_plain(cell) for cell in row] for row in body)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _plain(text: str) -> str:
    """Return a text on one line that Markdown shows literally, with control characters escaped."""
    safe = escape_controls(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", safe)


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
