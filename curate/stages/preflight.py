"""Checks of a configuration before anything is computed: files, columns, packages, models and budgets.

The configuration is checked against the first records of its files or, after the input was read, against all of its
columns and its number of rows.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.config.issues import format_path, suggest_name
from curate.config.model import DECONTAMINATE, TARGET, Entry
from curate.config.yaml_positions import KeyPath
from curate.errors import CurateError, PluginError, convert_panics
from curate.judge import client as judge_client
from curate.plugins.batches import Pool
from curate.plugins.fields import fields, find_marked
from curate.plugins.interfaces import ExampleFiles
from curate.pool.view import to_series
from curate.seeds import rng_for
from curate.stages import pool_sample
from curate.stages.column_names import EPOCH, GROUPS, annotated_columns, score_columns
from curate.stages.config_references import (
    COMPUTED_COLUMNS,
    field_with_column,
    iterate_entries,
    referenced_columns,
    referenced_files,
)
from curate.stages.export import hub_upload
from curate.stages.export.exported_columns import added_columns, kept_columns, kept_text_paths, new_names
from curate.stages.findings import Findings, locate
from curate.stages.ingest import source_names, token_counts
from curate.stages.ingest.shard_writer import vectors_path
from curate.stages.ingest.stage import find_input_files, match_files
from curate.stages.ingest.stdin_spool import is_stored_stdin, resolve_stdin
from curate.stages.ingest.text_template import PathCounts, describe_paths_without_text, render, template_columns
from curate.stages.pool_sample import PoolSample
from curate.stages.resource_forecast import check_resources
from curate.store import npy, parquet_io, run_directory
from curate.store.inputs import as_text

if TYPE_CHECKING:
    from curate.config.model import InputConfig, RunConfig
    from curate.paths import FileInfo
    from curate.pool.view import PoolView


def check_ingested_pool(config: RunConfig, pool: PoolView) -> Findings:
    """Check the configuration against an ingested pool, whose columns, rows and labels are all known."""
    findings = Findings(config)
    check_pool(findings, pool_sample.sample_inputs(pool.inputs, {one.column for one in referenced_columns(config)}))
    _check_token_budgets(findings, pool)
    if config.proxy is not None and config.input.label is not None:
        labels = {
            label for table in pool.inputs.iterate_shards(("label",)) for label in table["label"].unique().to_pylist()
        }
        logs = match_files("proxy.files", config.proxy.spec.build().files) if _reads_log(config) else ()
        check_proxy(findings, list(logs), labels - {None}, exact=True)
    return findings


def _check_token_budgets(findings: Findings, pool: PoolView) -> None:
    """Add an error for every budget of more tokens than the pool has."""
    budgets = [(index, entry, entry.budget) for index, entry in enumerate(findings.config.select) if entry.budget]
    if not any(budget.keep_tokens for _, _, budget in budgets):
        return
    total = sum(int(pc.sum(table["tokens"]).as_py() or 0) for table in pool.inputs.iterate_shards(("tokens",)))
    for index, entry, budget in budgets:
        try:
            budget.resolve_tokens(total, entry.name)
        except CurateError as error:
            location, _ = locate(findings.config, ("select", index, "keep_tokens"))
            findings.errors.append(type(error)(error.message, where=location, hint=error.hint))


def _reads_log(config: RunConfig) -> bool:
    return config.proxy is not None and "log" in config.proxy.spec.plugin().traits.reads


# ---------------------------------------------------------------- before the input is read


SECONDS = 0.5
"""Time in seconds for opening the files of the pool and counting their records; the rest is estimated."""


@convert_panics()
def check_without_run(config: RunConfig) -> Findings:
    """Check a configuration without starting a run, in about a second."""
    _prevent_pandas_import()
    folder = paths.parse_path(config.run)
    config = resolve_stdin(config)
    findings = Findings(config)
    with findings.collect_errors(), paths.convert_store_errors(folder):
        _check_folder(findings, folder)
    return check_config(config, folder, findings, provisional=True)


def _prevent_pandas_import() -> None:
    """Keep pyarrow from importing pandas, which takes half a second and is not needed.

    pyarrow tries the import once, and again only when a conversion to pandas is requested.
    """
    if "pandas" not in sys.modules:
        finder = _NoPandas()
        sys.meta_path.insert(0, finder)
        try:
            pa.array([0])
        finally:
            sys.meta_path.remove(finder)


class _NoPandas(MetaPathFinder):
    """Import finder that reports pandas as not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Raise an error for pandas; leave other modules to other finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError(name=fullname)


def check_config(
    config: RunConfig, folder: Path, findings: Findings | None = None, *, provisional: bool = False
) -> Findings:
    """Check a configuration as far as possible before a run; nothing is written or downloaded, and no model is loaded.

    Parameters
    ----------
    config : RunConfig
        Configuration to check.
    folder : Path
        Run directory.
    found : Findings, optional
        Earlier findings to extend.
    guess : bool
        Check values as well whose type may change with later records.
    """
    findings = findings or Findings(config)
    matches: dict[KeyPath, Mapping[str, Any]] = {}
    for path, pattern in referenced_files(config):
        if path == ("input", "files") and is_stored_stdin(config) and not parquet_io.exists(paths.parse_path(pattern)):
            findings.notes.append("input.files: standard input is read when a run starts; its columns are not checked")
            continue
        try:
            matched = match_files(format_path(path), pattern, folders=path != ("evaluate", "ground_truth"))
            run_directory.refuse_run_files(matched, folder, format_path(path))
            matches[path] = matched
        except CurateError as error:
            location, name = locate(config, path)
            message = error.message.removeprefix(f"{format_path(path)}: ")
            hint = "; ".join(filter(None, (error.where and f"in {error.where}", error.hint)))
            findings.errors.append(type(error)(f"{name}: {message}", where=location, hint=hint))
    _check_plugins(findings)
    _check_judge(findings)
    _check_upload(findings, folder)
    files: dict[str, FileInfo] = {}
    if all(path in matches for path, _ in referenced_files(config) if path[:2] == ("input", "files")):
        with findings.collect_errors():
            files = find_input_files(config.input)
            for name in files:
                source_names.source_from_path(config.input, name)
            findings.pool = pool_sample.sample_files(config.input, files, SECONDS)
            check_pool(findings, findings.pool, provisional=provisional)
            if provisional:  # a run counts all bad records, and the texts at paths, while reading
                _check_bad(findings, findings.pool)
                _check_paths(findings, findings.pool)
            _check_arrays(findings, files, findings.pool)
    _check_texts(findings, matches)
    first = provisional or not paths.list_names(folder / "input")
    if first and not findings.errors and findings.pool is not None and findings.pool.row_count.rows:
        check_resources(
            findings, folder, findings.pool, sum(facts["size"] for facts in files.values()), refuse=provisional
        )
    return findings


def _check_folder(findings: Findings, folder: Path) -> None:
    """Add an error for a run directory that a run cannot use."""
    if not paths.is_object(folder):
        existing = next((one for one in (folder, *folder.parents) if one.exists()), None)
        if existing is not None and not existing.is_dir():
            findings.add(("run",), f"{existing} is a file, expected a folder", "use another directory")
            return
    run_directory.refuse_foreign(folder)


def _check_plugins(findings: Findings) -> None:
    """Run the checks of all plugins for the packages and models that they need."""
    for _, path, entry in iterate_entries(findings.config):
        if not entry.spec.plugin().traits.check:
            continue
        try:
            findings.notes += [f"{format_path(path)}: {note}" for note in entry.spec.build().check()]
        except CurateError as error:
            findings.add((*path, "use"), error.message, error.hint, type(error))


def _check_judge(findings: Findings) -> None:
    """Add an error for a judge that cannot answer, and notes about it, if a plugin needs it."""
    config = findings.config
    if config.judge is None or not any(
        entry.spec.plugin().traits.reads_judge for _, _, entry in iterate_entries(config)
    ):
        return
    try:
        findings.notes += [f"judge: {note}" for note in judge_client.check(config.judge)]
    except CurateError as error:
        findings.add(("judge",), error.message, error.hint, type(error))


def _check_upload(findings: Findings, folder: Path) -> None:
    """Add an error for an upload that is certain to fail."""
    config = findings.config.export.upload
    if config is None:
        return
    try:
        findings.notes += [f"export.upload: {note}" for note in hub_upload.check(config, folder)]
    except CurateError as error:
        findings.add(("export", "upload"), error.message, error.hint or "", type(error))


# ---------------------------------------------------------------- the pool


def check_pool(findings: Findings, pool: PoolSample, *, provisional: bool = False) -> None:
    """Check the configuration against the columns and rows of the pool.

    With ``guess``, values are checked even if later records may change the type of their column.
    """
    config = findings.config
    if not pool.columns:
        if provisional:
            findings.add(
                ("input", "files"), f"there are no rows in {pool.description}", "check the files and the pattern"
            )
        return  # reported when the input is read
    missing = _check_columns(findings, pool)
    _check_tokens(findings, pool)
    if pool.row_count.rows:
        _check_budgets(findings, pool)
    if missing:
        return
    _check_roles(findings, pool)
    _check_export(findings, pool, provisional=provisional)
    if pool.complete or provisional:
        for section, path, entry in iterate_entries(config):
            reads = entry.spec.plugin().traits.reads
            if section.name == "embed" and "column" in reads:
                _check_vectors(findings, path, entry, pool)
            elif section.name == "select" and reads == {"frame"}:
                _check_frame(findings, path, entry, pool)


def _check_columns(findings: Findings, pool: PoolSample) -> bool:
    """Add an error for every column that no file has; return whether there are any."""
    missing, added = False, annotated_columns(findings.config)
    for one in referenced_columns(findings.config):
        if one.column in pool.columns or one.column in one.other_names or one.column in added:
            continue
        if not pool.complete and _may_occur_later(one.column, pool):
            continue
        missing = True
        candidates = [
            *pool.columns,
            *added,
            *(name for name in one.other_names if name.startswith("score_") or name in GROUPS),
        ]
        score = f"there is no score {one.column!r}, and" if one.column.startswith("score_") else ""
        message = f"{score} no input file has a column {one.column!r}".strip()
        findings.add(one.path, message, f"{suggest_name(one.column, candidates)} ({pool.description})")
    return missing


_SEARCHED = 1 << 28
"""Number of bytes of input files that are searched for a column that the first records lack."""


def _may_occur_later(column: str, pool: PoolSample) -> bool:
    """Return whether records after the first ones may have a column."""
    import json

    forms = {json.dumps(column)[1:-1].encode(), json.dumps(column, ensure_ascii=False)[1:-1].encode(errors="replace")}
    remaining = _SEARCHED
    for name in pool.files:
        location = paths.parse_path(name)
        if location.suffix not in (".jsonl", ".ndjson", ".json"):
            return True  # compressed
        tail = b""
        with paths.convert_store_errors(location), paths.open_binary(location) as file:
            while block := file.read(1 << 22):
                if any(form in tail + block for form in forms):
                    return True
                tail = block[-max(map(len, forms)) :]
                remaining -= len(block)
                if remaining < 0:
                    return True
    return False


def _check_roles(findings: Findings, pool: PoolSample) -> None:
    """Add an error for every column whose type does not fit its role."""
    config = findings.config.input
    for role, name in (("id", config.id), ("label", config.label), ("source", source_names.source_column(config))):
        kind = pool.columns.get(name) if name is not None else None
        if kind is not None and pa.types.is_nested(kind):
            message = f"column {name!r} is {kind}; it must be text or a number"
            findings.add(("input", role), message, "choose another column")


def _check_paths(findings: Findings, pool: PoolSample) -> None:
    """Add a note for every path of the text at which none of the first rows has a text."""
    text = findings.config.input.text
    if text is None or template_columns(text) is None or not len(pool.table):
        return
    counts = PathCounts()
    render(text, pool.table, counts)
    findings.notes += [
        f"input.text: {message} (examined: the first {len(pool.table):,} rows of {pool.files[0]})"
        for message in describe_paths_without_text(text, counts)
    ]


def _check_export(findings: Findings, pool: PoolSample, *, provisional: bool) -> None:
    """Add an error for exported columns that have the same name, and for columns that the format cannot represent."""
    config = findings.config.export
    kept = kept_columns(config, list(pool.columns))
    types = {name: pool.columns.get(name) for name in kept} | added_columns(config, score_columns(findings.config))
    names = new_names(config, list(types))
    if not kept:
        findings.add(("export", "drop"), "no input column is left to export", "drop fewer columns")
        return
    for old, new in (config.rename or {}).items():
        if names.count(new) > 1 and old in types:
            findings.add(("export", "rename", old), f"two columns would be called {new!r}", "choose another name")
            return
        if new == EPOCH and findings.config.select[-1].epochs > 1:
            message = f"a column {EPOCH!r} conflicts with the epoch in the folder names of the export"
            findings.add(("export", "rename", old), message, "choose another name")
    if not kept_text_paths(config, findings.config.input):
        for key in ("mask_pii", "remove_repeated_spans"):
            if getattr(config, key):
                message = "no column of input.text is exported, so no text can be changed"
                findings.add(("export", key), message, "export a text column, or remove the key")
    if (pool.complete or provisional) and config.spec.plugin().traits.types:
        known = [(name, kind) for name, kind in zip(names, types.values(), strict=True) if kind is not None]
        try:
            config.spec.build().check_types(pa.schema(known))
        except CurateError as error:
            findings.add(("export", "use"), error.message, error.hint, type(error))


def _check_tokens(findings: Findings, pool: PoolSample) -> None:
    """Add an error for a tokenizer that cannot be loaded, as far as that is known without loading it."""
    name = findings.config.input.tokens
    if name is None or name in pool.columns or (not pool.complete and _may_occur_later(name, pool)):
        return
    try:
        findings.notes += token_counts.check(name)
    except PluginError as error:
        near = suggest_name(name, pool.columns)
        hint = f"{near}; {error.hint}" if near.startswith("did") else error.hint
        findings.add(("input", "tokens"), error.message.removeprefix("input.tokens: "), hint, PluginError)


def _check_vectors(findings: Findings, path: KeyPath, entry: Entry, pool: PoolSample) -> None:
    """Try an embedder that reads a column on its first values."""
    built = entry.spec.build()
    if built.column is None:
        if findings.config.input.vectors is None:
            hint = "set the column, or the array files: input.vectors: embeddings.npy"
            findings.add((*path, "column"), "there are no vectors: neither a column nor input.vectors is set", hint)
        return
    if built.column not in pool.table.column_names:
        return
    values = pool.table[built.column]
    try:
        state = built.fit(values, np.random.default_rng(0)) if entry.spec.plugin().traits.fits else None
        encoder = built if state is None else built.restore(state)
        vectors = encoder.encode(values)
    except CurateError as error:
        findings.add((*path, "column"), f"column {built.column!r}: {error.message}", error.hint)
        return
    if len(vectors) and not np.isfinite(vectors).all(axis=1).any():
        message = f"column {built.column!r} has no vector in {pool.description}"
        findings.add((*path, "column"), message, "choose another column")


def _check_frame(findings: Findings, path: KeyPath, entry: Entry, pool: PoolSample) -> None:
    """Try a selector that reads only columns on the first rows."""
    built, n = entry.spec.build(), len(pool.table)
    names, available = built.columns(), {*pool.table.column_names, *COMPUTED_COLUMNS, *score_columns(findings.config)}
    if not n or not available.issuperset(names):
        return
    try:
        import polars as pl

        columns = {name: _column(name, pool, n, findings.config.input) for name in names}
        frame = pl.DataFrame(columns)
        no_embeddings = np.zeros((n, 0), np.float32)
        batch = Pool(no_embeddings, np.zeros(n, np.float32), np.zeros(n, np.int32), {}, {}, frame, None, None)
        budgeted = entry.spec.plugin().traits.budgeted
        built.select(batch, min(1, n) if budgeted else None, rng_for(0, "check"))
    except CurateError as error:
        message = error.message.removeprefix("drop: ")
        findings.add((*path, *field_with_column(type(built), built, names[0])), message, error.hint, type(error))


def _column(name: str, pool: PoolSample, n: int, config: InputConfig) -> Any:
    """Return the first values of a column that conditions use; zeros for a column that is not computed yet."""
    import polars as pl

    if name in pool.table.column_names:
        return to_series(pool.table[name], name)
    if name in ("label", "source"):
        column = getattr(config, name)
        values = pool.table[column].to_pylist() if column in pool.table.column_names else [None] * n
        return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)
    kind = pl.Float32 if name.startswith("score_") else pl.Int32
    return pl.zeros(n, kind, eager=True).alias(name)


# ---------------------------------------------------------------- budgets and guards


def _check_budgets(findings: Findings, pool: PoolSample) -> None:
    """Add an error for budgets and guards that no selection from the pool can satisfy."""
    guard, rows = findings.config.guard, pool.row_count.max_rows
    most = rows
    for index, entry in enumerate(findings.config.select):
        if entry.budget is None or entry.budget.keep_tokens is not None:
            continue
        try:
            most = min(most, entry.budget.resolve_rows(most, entry.name) or 0)
        except CurateError as error:
            location, _ = locate(findings.config, ("select", index, "keep"))
            findings.errors.append(type(error)(error.message, where=location, hint=error.hint))
            return
    about = "at most " * bool(pool.row_count.error)
    if guard.min_rows is not None and most < guard.min_rows:
        message = f"only {about}{most:,} of {rows:,} rows would be exported; guard.min_rows requires {guard.min_rows:,}"
        findings.add_guard_error(("guard", "min_rows"), message, "lower guard.min_rows, or raise the budgets of select")
    dropped = rows - most
    if not pool.row_count.error and dropped > guard.max_drop_rate * rows:
        message = f"{dropped:,} of {rows:,} rows ({dropped / rows:.2%}) would be dropped"
        message += f"; guard.max_drop_rate allows {guard.max_drop_rate:.2%}"
        hint = "raise guard.max_drop_rate, or raise the budgets of select"
        findings.add_guard_error(("guard", "max_drop_rate"), message, hint)


def _check_bad(findings: Findings, pool: PoolSample) -> None:
    """Add an error or a note about bad records among the first ones."""
    allowed, bad = findings.config.guard.max_quarantine_rate, len(pool.bad_records)
    if not bad:
        return
    path, first = pool.bad_records[0]
    message = f"{bad:,} of the first {pool.examined:,} records cannot be read; {path}:{first.line}: {first.reason}"
    complete = pool.examined == pool.row_count.rows and not pool.row_count.error
    if complete and bad > allowed * pool.examined:
        hint = "fix the input, or raise the guard if these rows may be lost"
        findings.add(("guard", "max_quarantine_rate"), f"{message}; {allowed:.2%} may be quarantined", hint)
    else:
        findings.notes.append(message)


def _check_arrays(findings: Findings, files: Mapping[str, object], pool: PoolSample) -> None:
    """Add an error for input files without the array of their vectors."""
    config, rows_known = findings.config.input, not pool.row_count.error and not pool.bad_records
    together = config.vectors_file is not None
    for name in ["the input files"] if together else files if config.vectors is not None else ():
        path = paths.parse_path(config.vectors_file or str(vectors_path(paths.parse_path(name), str(config.vectors))))
        try:
            rows = npy.read_shape(path)[0]
        except (OSError, ValueError, OverflowError) as error:
            reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
            hint = "set an array file, or the suffix of an array file next to each input file, such as .npy"
            findings.add(("input", "vectors"), f"cannot read the vectors of {name} in {path}: {reason}", hint)
            return
        if (together or len(files) == 1) and rows_known and rows < pool.row_count.rows:
            message = f"{path} has {rows:,} vectors, but {name} has {pool.row_count.rows:,} rows"
            findings.add(("input", "vectors"), message, "write one vector for every row")


# ---------------------------------------------------------------- other texts


@dataclass(frozen=True, slots=True)
class _Texts:
    """Files of texts that do not belong to the pool."""

    path: KeyPath
    """Path of the configuration value with the files."""

    text_path: KeyPath
    """Path of the configuration value with the text template."""

    files: tuple[str, ...]
    text: str | None
    at_least: int = 1
    """Smallest number of texts."""


def _check_texts(findings: Findings, matches: Mapping[KeyPath, Mapping[str, Any]]) -> None:
    """Check the columns and numbers of rows of all files that do not belong to the pool."""
    config, reported = findings.config, set[tuple[KeyPath, str]]()
    for one in (*_target_rows(config), *_evaluation_sets(config), *_examples(config), *_test_rows(config)):
        patterns = [path for path, _ in referenced_files(config) if path[: len(one.path)] == one.path]
        if not all(path in matches for path in patterns):
            continue  # already an error
        with findings.collect_errors():
            plain = replace(
                config.input, corrections=None, id=None, label=None, source=None, tokens=None, types=None, vectors=None
            )
            if one.path[0] not in ("evaluate", TARGET):  # these files have the same format as the input
                plain = replace(plain, text=one.text, image=None, image_folder=None, header=True, delimiter=None)
            how = replace(plain, files=one.files, text=one.text)
            every = match_files(format_path(one.path), *one.files)
            texts = pool_sample.sample_files(how, every, 0.2)
            if not texts.columns:
                findings.add(one.path, f"there are no rows in {texts.description}", "check the files and the pattern")
                continue
            for name in template_columns(one.text) or ([] if one.text is None else [one.text]):
                exists = name in texts.columns or (not texts.complete and _may_occur_later(name, texts))
                if not exists and (one.text_path, name) not in reported:
                    reported.add((one.text_path, name))
                    message = f"no file of {format_path(one.path)} has a column {name!r}"
                    findings.add(one.text_path, message, f"{suggest_name(name, texts.columns)} ({texts.description})")
            if not texts.row_count.error and texts.row_count.rows < one.at_least:
                message = f"there are {texts.row_count.rows:,} texts, at least {one.at_least} are needed"
                findings.add(one.path, message, f"add more files ({texts.description})")
    for check in (_check_log, _check_retrievals, _check_ground_truth):
        check(findings, matches)


def _target_rows(config: RunConfig) -> Iterator[_Texts]:
    section = config.target
    if section is None:
        return
    path, files = (TARGET, "files"), (section.files,) if isinstance(section.files, str) else section.files
    yield _Texts(path, path if section.text is None else (TARGET, "text"), files, section.text or config.input.text)
    if section.label is not None:
        yield _Texts(path, (TARGET, "label"), files, section.label)
    if section.task is not None:
        yield _Texts(path, (TARGET, "task"), files, section.task)


def _evaluation_sets(config: RunConfig) -> Iterator[_Texts]:
    section = config.decontaminate
    if section is None:
        return
    for name, patterns in section.sets.items():
        text = (DECONTAMINATE, "text", name) if isinstance(section.text, Mapping) else (DECONTAMINATE, "text")
        path: KeyPath = (DECONTAMINATE, "files", name) if name else (DECONTAMINATE, "files")
        text_path = text if section.text is not None else path
        yield _Texts(path, text_path, patterns, section.text_for_set(name, config.input.text))


def _examples(config: RunConfig) -> Iterator[_Texts]:
    for _, path, entry in iterate_entries(config):
        built = entry.spec.build()
        for one in fields(type(built)):
            value = getattr(built, one.name)
            mark = next((mark for _, mark, _ in find_marked(one.type, value, ExampleFiles)), None)
            if mark is not None:
                text = getattr(built, "text", None)
                files = (value,) if isinstance(value, str) else tuple(value)
                key = (*path, "text" if text else one.name)
                yield _Texts((*path, one.name), key, files, text or config.input.text, mark.min_texts)


def _test_rows(config: RunConfig) -> Iterator[_Texts]:
    files = config.evaluate.files
    if files is not None:
        path: KeyPath = ("evaluate", "files")
        yield _Texts(path, path, (files,) if isinstance(files, str) else files, config.input.text)


def _check_log(findings: Findings, matches: Mapping[KeyPath, Mapping[str, Any]]) -> None:
    """Check the labels of the proxy, and the first lines of its training log."""
    if ("proxy", "files") in matches and findings.config.input.label is not None:
        check_proxy(findings, list(matches["proxy", "files"]), _labels(findings), exact=False)


def _check_retrievals(findings: Findings, matches: Mapping[KeyPath, Mapping[str, Any]]) -> None:
    """Check the first lines of the logs of retrievals."""
    from curate.stages.score import retrieval_log

    for number, entry in enumerate(findings.config.score):
        path: KeyPath = ("score", number, "files")
        if "retrievals" not in entry.spec.plugin().traits.reads:
            continue
        for name in matches.get(path, ()):
            try:
                retrieval_log.check(paths.parse_path(name))
            except CurateError as error:
                message = ": ".join(filter(None, (error.where, error.message)))
                findings.add(path, message, error.hint, type(error))
                break


def check_proxy(findings: Findings, logs: Sequence[str], labels: Collection[str], *, exact: bool) -> None:
    """Check some labels (with ``exact``, all labels) of the pool, and the first lines of the training logs."""
    from curate.stages.proxy import training_logs

    entry = findings.config.proxy
    if entry is None:
        return
    built = entry.spec.build()
    if exact and len(labels) < 2:
        problem = f"every label is {next(iter(labels))!r}" if labels else "no row has a label"
        message = f"proxy {entry.name}: {problem}"
        findings.add(("input", "label"), message, "a proxy needs at least two classes; choose another column")
    classes = getattr(built, "classes", ())
    if strange := sorted({*labels} - {*classes}) if classes else []:
        findings.add(("proxy", "classes"), f"the list lacks the label {strange[0]!r} of the pool", "list every label")
    for name in logs:
        try:
            logged = training_logs.check(built, paths.parse_path(name), labels, exact=exact)
        except CurateError as error:
            findings.add(
                ("proxy", "files"), ": ".join(filter(None, (error.where, error.message))), error.hint, type(error)
            )
            return
        for number, score in enumerate(findings.config.score):
            missing = [one for one in score.spec.plugin().traits.statistics if logged is not None and one not in logged]
            if missing:
                message = f"the training log contains no {missing[0]!r}, which {score.spec.name!r} needs"
                hint = "log the probabilities or logits of each row, or the columns that the proxy recorded lists"
                findings.add(("score", number, "use"), message, hint)


def _labels(findings: Findings) -> set[str]:
    """Return the labels of the first records."""
    name = findings.config.input.label
    if findings.pool is None or name not in findings.pool.table.column_names:
        return set()
    return {text for text in as_text(findings.pool.table[name]).to_pylist() if text is not None}


def _check_ground_truth(findings: Findings, matches: Mapping[KeyPath, Mapping[str, Any]]) -> None:
    """Check that the ground truth of an evaluation can be read."""
    from curate.stages.report import ground_truth

    if ("evaluate", "ground_truth") in matches:
        with findings.collect_errors():
            ground_truth.check_readable(findings.config)
