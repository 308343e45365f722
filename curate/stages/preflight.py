"""Check before anything is computed: files, columns, packages, models, budgets, space.

Every check is of the configuration against the first records of its files, or, once the input was read, against all of
its columns and its number of rows. Keys that name columns and files are found by the marks of their fields.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.config import yaml_positions
from curate.config.issues import IssueCollector, format_path, suggest_name
from curate.config.model import DECONTAMINATE, Entry
from curate.config.sections import ENTRY_SECTIONS, SECTIONS, EntrySection, driver_fields
from curate.config.yaml_positions import KeyPath
from curate.errors import (
    ConfigError,
    CurateError,
    DataError,
    GuardrailError,
    PluginError,
    combine_errors,
    convert_panics,
)
from curate.plugins.batches import Pool
from curate.plugins.fields import Field, fields, find_marked
from curate.plugins.interfaces import ConfigReference, ExampleFiles, ExistingFiles, TemplateField
from curate.pool.view import to_series
from curate.seeds import rng_for
from curate.stages import cost_table, pool_sample
from curate.stages.column_names import GROUPS, score_columns
from curate.stages.ingest import source_names, token_counts
from curate.stages.ingest.shard_writer import vectors_path
from curate.stages.ingest.stage import find_input_files, match_files
from curate.stages.ingest.text_template import template_columns
from curate.stages.pool_sample import PoolSample
from curate.store import npy, run_directory
from curate.store.inputs import as_text

if TYPE_CHECKING:
    from curate.config.model import InputConfig, RunConfig
    from curate.paths import FileInfo
    from curate.pool.view import PoolView

COMPUTED_COLUMNS = ("cluster", "label", "source", "tokens")
"""Columns that conditions can use besides those of the input and the scores."""


def check_ingested_pool(config: RunConfig, pool: PoolView) -> Findings:
    """Check a pool that was read, before it is embedded: all of its columns, rows and labels are known."""
    found = Findings(config)
    check_pool(found, pool_sample.sample_inputs(pool.inputs, {one.column for one in referenced_columns(config)}))
    _check_token_budgets(found, pool)
    if config.proxy is not None and config.input.label is not None:
        labels = {
            label for table in pool.inputs.iterate_shards(("label",)) for label in table["label"].unique().to_pylist()
        }
        logs = match_files("proxy.files", config.proxy.spec.build().files) if _reads_log(config) else ()
        check_proxy(found, list(logs), labels - {None}, exact=True)
    return found


def _check_token_budgets(found: Findings, pool: PoolView) -> None:
    """Refuse a budget of more tokens than the pool has."""
    budgets = [(index, entry, entry.budget) for index, entry in enumerate(found.config.select) if entry.budget]
    if not any(budget.keep_tokens for _, _, budget in budgets):
        return
    total = sum(int(pc.sum(table["tokens"]).as_py() or 0) for table in pool.inputs.iterate_shards(("tokens",)))
    for index, entry, budget in budgets:
        try:
            budget.resolve_tokens(total, entry.name)
        except CurateError as error:
            place, _ = _located(found.config, ("select", index, "keep_tokens"))
            found.errors.append(type(error)(error.message, where=place, hint=error.hint))


def _reads_log(config: RunConfig) -> bool:
    return config.proxy is not None and "log" in config.proxy.spec.plugin().traits.reads


@dataclass(slots=True)
class Findings:
    """Everything that was found, in the order of the configuration."""

    config: RunConfig
    errors: list[CurateError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pool: PoolSample | None = None
    """The first records of the pool; None if a file of it cannot be read."""

    def add(self, path: KeyPath, message: str, hint: str = "", kind: type[CurateError] = DataError) -> None:
        """Note a problem with the value at ``path``."""
        place, name = _located(self.config, path)
        self.errors.append(kind(f"{name}: {message}", where=place, hint=hint))

    def add_guard_error(self, path: KeyPath, message: str, hint: str) -> None:
        """Note that a guard, which the message names, cannot hold."""
        self.errors.append(GuardrailError(message, where=_located(self.config, path)[0], hint=hint))

    @contextmanager
    def collect_errors(self) -> Iterator[None]:
        """Note an error that is raised, and go on."""
        try:
            yield
        except CurateError as error:
            if str(error) not in map(str, self.errors):
                self.errors.append(error)

    def raise_if_any(self) -> None:
        """Raise all problems at once."""
        if self.errors:
            raise combine_errors(self.errors)


def _located(config: RunConfig, path: KeyPath) -> tuple[str, str]:
    """Return where the value at ``path`` stands in the configuration's file, and its name there."""
    try:
        document = yaml_positions.parse_yaml(Path(config.source).read_text("utf-8-sig"), config.source)
    except (OSError, ValueError, ConfigError):
        return config.source, format_path(path)
    section = document.data.get(str(path[0])) if path and isinstance(document.data, dict) else None
    name = path
    if isinstance(section, dict) and len(path) > 1 and isinstance(path[1], int):
        name = (path[0], *path[2:])  # the only entry, without a list around it
    written, resolved = _value(document.data, name), _value(config.resolved, path)
    overridden = written is not None and written != resolved and not isinstance(written, dict | list)
    place = config.source if overridden else IssueCollector(config.source, document).location(name).text
    return place, format_path(name)


def _value(data: object, path: KeyPath) -> object:
    for step in path:
        try:
            data = data[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return None
    return data


# ---------------------------------------------------------------- what the configuration names


@dataclass(frozen=True, slots=True)
class ColumnReference:
    """A column that the configuration names."""

    path: KeyPath
    column: str
    other_names: tuple[str, ...] = ()
    """Names that are no columns of the input, and right all the same."""


def iterate_entries(config: RunConfig) -> Iterator[tuple[EntrySection, KeyPath, Entry]]:
    """Yield every entry with its section and its place."""
    for name, section in ENTRY_SECTIONS.items():
        value = getattr(config, name)
        if section.is_list:
            for index, entry in enumerate(value):
                yield section, (name, index), entry
        elif value is not None:
            yield section, (name,), value


def referenced_columns(config: RunConfig) -> Iterator[ColumnReference]:
    """Yield every column of the pool that the configuration names, with the key that does; of templates, each."""
    for one in fields(type(config.input)):
        for below, mark, name in _marked(one, config.input):
            if one.name == "source" and name == "file":
                continue  # the path of the file
            columns = template_columns(name) or [name] if isinstance(mark, TemplateField) else [name]
            yield from (ColumnReference(("input", *below), column) for column in columns)
    scores = tuple(score_columns(config))
    for section, path, entry in iterate_entries(config):
        for one in driver_fields(section):
            for below, mark, name in _marked(one, entry) if hasattr(entry, one.name) else ():
                if isinstance(mark, ConfigReference) and mark.target == "group":
                    yield ColumnReference((*path, *below), name, GROUPS)
        yield from _columns_of_plugin(path, entry, scores)


def _columns_of_plugin(path: KeyPath, entry: Entry, scores: tuple[str, ...]) -> Iterator[ColumnReference]:
    """Yield the columns that the fields of a plugin name, by their marks, and those that its method says it reads."""
    plugin, built = entry.spec.plugin(), entry.spec.build()
    ours = (*scores, *COMPUTED_COLUMNS) if "frame" in plugin.traits.reads else ()
    seen: set[str] = set()
    for one in fields(plugin.cls):
        for below, mark, name in _marked(one, built):
            if isinstance(mark, ConfigReference) and mark.target == "column":
                seen.add(name)
                yield ColumnReference((*path, *below), name, ours)
    for name in built.columns() if "frame" in plugin.traits.reads else ():
        if name not in seen:
            yield ColumnReference((*path, *_naming(plugin.cls, built, name)), name, ours)


def _marked(one: Field, owner: object) -> Iterator[tuple[KeyPath, ConfigReference | TemplateField, str]]:
    value = getattr(owner, one.name)
    for kind in (ConfigReference, TemplateField):
        for below, mark, name in find_marked(one.type, value, kind):
            yield (one.name, *below), mark, name  # type: ignore[misc]


def _naming(cls: type, built: object, column: str) -> KeyPath:
    """Return the field whose text names a column; the entry itself where none does."""
    texts = {one.name: getattr(built, one.name) for one in fields(cls)}
    return next(((name,) for name, text in texts.items() if isinstance(text, str) and column in text), ())


def referenced_files(config: RunConfig) -> Iterator[tuple[KeyPath, str]]:
    """Yield every file or pattern of files that the configuration names, with the key that does; not of models."""
    for name, section in SECTIONS.items():
        value = getattr(config, name)
        if isinstance(section, EntrySection) or value is None:
            continue
        for one in fields(section.cls):
            for below, _, pattern in find_marked(one.type, getattr(value, one.name), ExistingFiles):
                yield (name, one.name, *below), pattern
    for _, path, entry in iterate_entries(config):
        built = entry.spec.build()
        for one in fields(type(built)):
            for mark in (ExistingFiles, ExampleFiles):
                for below, _, pattern in find_marked(one.type, getattr(built, one.name), mark):
                    yield (*path, one.name, *below), pattern


# ---------------------------------------------------------------- before anything is read


SECONDS = 0.5
"""Time for opening the files of the pool and counting their records; what is left is estimated."""


@convert_panics()
def check_without_run(config: RunConfig) -> Findings:
    """Return everything that can be known to be wrong before a run, in about a second."""
    _leave_pandas_out()
    folder = paths.parse_path(config.run)
    found = Findings(config)
    with found.collect_errors(), paths.convert_store_errors(folder):
        _check_folder(found, folder)
    return check_config(config, folder, found, guess=True)


def _leave_pandas_out() -> None:
    """Keep pyarrow from importing pandas, which takes half a second, to recognize its objects: there are none.

    pyarrow tries that once, and again only where a conversion to pandas is requested.
    """
    if "pandas" not in sys.modules:
        finder = _NoPandas()
        sys.meta_path.insert(0, finder)
        try:
            pa.array([0])
        finally:
            sys.meta_path.remove(finder)


class _NoPandas(MetaPathFinder):
    """Finder by which pandas is not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(name=fullname)


def check_config(config: RunConfig, folder: Path, found: Findings | None = None, *, guess: bool = False) -> Findings:
    """Examine everything that can be known before a run; nothing is written, downloaded, or loaded that takes long.

    Parameters
    ----------
    config : RunConfig
        The configuration.
    folder : Path
        The run directory.
    found : Findings, optional
        What was found before.
    guess : bool
        Check values, too, whose type later records may change.
    """
    found = found or Findings(config)
    known: dict[KeyPath, Mapping[str, Any]] = {}
    for path, pattern in referenced_files(config):
        try:
            matched = match_files(format_path(path), pattern)
            run_directory.refuse_run_files(matched, folder, format_path(path))
            known[path] = matched
        except CurateError as error:
            place, name = _located(config, path)
            message = error.message.removeprefix(f"{format_path(path)}: ")
            hint = "; ".join(filter(None, (error.where and f"in {error.where}", error.hint)))
            found.errors.append(type(error)(f"{name}: {message}", where=place, hint=hint))
    _check_plugins(found)
    files: dict[str, FileInfo] = {}
    if all(path in known for path, _ in referenced_files(config) if path[:2] == ("input", "files")):
        with found.collect_errors():
            files = find_input_files(config.input)
            for name in files:
                source_names.source_from_path(config.input, name)
            found.pool = pool_sample.sample_files(config.input, files, SECONDS)
            check_pool(found, found.pool, guess=guess)
            if guess:  # reading the input counts all of them
                _check_bad(found, found.pool)
            _check_arrays(found, files, found.pool)
    _check_texts(found, known)
    first = guess or not paths.list_names(folder / "input")
    if first and not found.errors and found.pool is not None and found.pool.row_count.rows:
        _check_space(found, folder, found.pool, sum(facts["size"] for facts in files.values()), refuse=guess)
    return found


def _check_space(found: Findings, folder: Path, pool: PoolSample, size: int, *, refuse: bool) -> None:
    """Compare what a first run writes and holds, by the table of measurements, with what is free.

    A run is not refused for an estimate: it notes what ``curate check`` refuses.
    """
    rows, costs = (
        pool.row_count.rows,
        [cost_table.estimate("input", None, pool.row_count.rows, size / pool.row_count.rows)],
    )
    for section, _, entry in iterate_entries(found.config):
        if section.name != "metrics":
            costs.append(cost_table.estimate(section.name, entry, rows, size / rows))
    known = [cost for cost in costs if cost is not None]
    disk, memory = sum(cost.disk for cost in known), max(cost.memory for cost in known)
    there = next((one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir()), None)
    free = None if paths.is_object(folder) or there is None else shutil.disk_usage(there).free
    if free is not None and disk > free:
        needed = f"a first run writes ≈ {disk / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free"
        if refuse and disk > 3 * free:  # estimates are off by less
            found.add(("run",), needed, "name a directory on another disk, or make room")
        else:
            found.notes.append(f"run: {needed} on the disk of {there}")
    left = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory > left:
        found.notes.append(f"a process needs ≈ {memory / 2**30:,.1f} GiB of memory, and there are {left / 2**30:,.1f}")


def _check_folder(found: Findings, folder: Path) -> None:
    """Refuse a run directory that a run could not claim."""
    if not paths.is_object(folder):
        there = next((one for one in (folder, *folder.parents) if one.exists()), None)
        if there is not None and not there.is_dir():
            found.add(("run",), f"{there} is a file, where a folder is expected", "name another")
            return
    run_directory.refuse_foreign(folder)


def _check_plugins(found: Findings) -> None:
    """Ask every plugin that declares it whether the packages and models are there that it needs."""
    for _, path, entry in iterate_entries(found.config):
        if not entry.spec.plugin().traits.check:
            continue
        try:
            found.notes += [f"{format_path(path)}: {note}" for note in entry.spec.build().check()]
        except CurateError as error:
            found.add((*path, "use"), error.message, error.hint, type(error))


# ---------------------------------------------------------------- the pool


def check_pool(found: Findings, pool: PoolSample, *, guess: bool = False) -> None:
    """Check what the configuration requests of the columns and rows of the pool.

    With ``guess``, values are checked even if later records may change the type of their column.
    """
    config = found.config
    if not pool.columns:
        if guess:
            found.add(("input", "files"), f"there are no rows in {pool.description}")
        return  # reading the input says why
    missing = _check_columns(found, pool)
    _check_tokens(found, pool)
    if pool.row_count.rows:
        _check_budgets(found, pool)
    if missing:
        return
    _check_roles(found, pool)
    if pool.complete or guess:
        for section, path, entry in iterate_entries(config):
            reads = entry.spec.plugin().traits.reads
            if section.name == "embed" and "column" in reads:
                _check_vectors(found, path, entry, pool)
            elif section.name == "select" and reads == {"frame"}:
                _check_frame(found, path, entry, pool)


def _check_columns(found: Findings, pool: PoolSample) -> bool:
    """Refuse columns that no file has; returns whether there are any."""
    missing = False
    for one in referenced_columns(found.config):
        if one.column in pool.columns or one.column in one.other_names:
            continue
        if not pool.complete and _may_be_further_on(one.column, pool):
            continue
        missing = True
        known = [*pool.columns, *(name for name in one.other_names if name.startswith("score_") or name in GROUPS)]
        what = f"there is no score {one.column!r}, and" if one.column.startswith("score_") else ""
        message = f"{what} no input file has a column {one.column!r}".strip()
        found.add(one.path, message, f"{suggest_name(one.column, known)} ({pool.description})")
    return missing


_SEARCHED = 1 << 28
"""Bytes of input files that are searched for a name that the first records do not have."""


def _may_be_further_on(column: str, pool: PoolSample) -> bool:
    """Return whether records beyond the first ones may have a column."""
    import json

    forms = {json.dumps(column)[1:-1].encode(), json.dumps(column, ensure_ascii=False)[1:-1].encode(errors="replace")}
    left = _SEARCHED
    for name in pool.files:
        place = paths.parse_path(name)
        if place.suffix not in (".jsonl", ".ndjson", ".json"):
            return True  # compressed
        tail = b""
        with paths.convert_store_errors(place), paths.open_binary(place) as file:
            while block := file.read(1 << 22):
                if any(form in tail + block for form in forms):
                    return True
                tail = block[-max(map(len, forms)) :]
                left -= len(block)
                if left < 0:
                    return True
    return False


def _check_roles(found: Findings, pool: PoolSample) -> None:
    """Refuse columns of a type that their role cannot have."""
    config = found.config.input
    for role, name in (("id", config.id), ("label", config.label), ("source", source_names.source_column(config))):
        kind = pool.columns.get(name) if name is not None else None
        if kind is not None and pa.types.is_nested(kind):
            found.add(("input", role), f"column {name!r} is {kind}; it must be text or a number", "name another")


def _check_tokens(found: Findings, pool: PoolSample) -> None:
    """Refuse a tokenizer that cannot be loaded, as far as that is known without loading it."""
    name = found.config.input.tokens
    if name is None or name in pool.columns or (not pool.complete and _may_be_further_on(name, pool)):
        return
    try:
        found.notes += token_counts.check(name)
    except PluginError as error:
        near = suggest_name(name, pool.columns)
        hint = f"{near}; {error.hint}" if near.startswith("did") else error.hint
        found.add(("input", "tokens"), error.message.removeprefix("input.tokens: "), hint, PluginError)


def _check_vectors(found: Findings, path: KeyPath, entry: Entry, pool: PoolSample) -> None:
    """Let an embedder that reads a column try the first values of it."""
    built = entry.spec.build()
    if built.column is None:
        if found.config.input.vectors is None:
            hint = "name the column, or the ending of the array files: input.vectors: .npy"
            found.add((*path, "column"), "there are no vectors: neither a column nor input.vectors is given", hint)
        return
    if built.column not in pool.table.column_names:
        return
    values = pool.table[built.column]
    try:
        state = built.fit(values, np.random.default_rng(0)) if entry.spec.plugin().traits.fits else None
        encoder = built if state is None else built.restore(state)
        vectors = encoder.encode(values)
    except CurateError as error:
        found.add((*path, "column"), f"column {built.column!r}: {error.message}", error.hint)
        return
    if len(vectors) and not np.isfinite(vectors).all(axis=1).any():
        found.add(
            (*path, "column"), f"column {built.column!r} has no vector in {pool.description}", "name another column"
        )


def _check_frame(found: Findings, path: KeyPath, entry: Entry, pool: PoolSample) -> None:
    """Let a selector that reads columns alone try the first rows."""
    built, n = entry.spec.build(), len(pool.table)
    names, known = built.columns(), {*pool.table.column_names, *COMPUTED_COLUMNS, *score_columns(found.config)}
    if not n or not known.issuperset(names):
        return
    try:
        import polars as pl

        columns = {name: _column(name, pool, n, found.config.input) for name in names}
        frame = pl.DataFrame(columns)
        nothing = np.zeros((n, 0), np.float32)
        own = Pool(nothing, np.zeros(n, np.float32), np.zeros(n, np.int32), {}, {}, frame, None, None)
        budgeted = entry.spec.plugin().traits.budgeted
        built.select(own, min(1, n) if budgeted else None, rng_for(0, "check"))
    except CurateError as error:
        message = error.message.removeprefix("drop: ")
        found.add((*path, *_naming(type(built), built, names[0])), message, error.hint, type(error))


def _column(name: str, pool: PoolSample, n: int, config: InputConfig) -> Any:
    """Return the first values of a column that conditions use; of one that is yet to be computed, zeros."""
    import polars as pl

    if name in pool.table.column_names:
        return to_series(pool.table[name], name)
    if name in ("label", "source"):
        own = getattr(config, name)
        values = pool.table[own].to_pylist() if own in pool.table.column_names else [None] * n
        return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)
    return pl.Series(name, np.zeros(n, np.float32 if name.startswith("score_") else np.int32))


# ---------------------------------------------------------------- budgets and guards


def _check_budgets(found: Findings, pool: PoolSample) -> None:
    """Refuse budgets and guards that no selection from so many rows can meet."""
    guard, rows = found.config.guard, pool.row_count.max_rows
    most = rows
    for index, entry in enumerate(found.config.select):
        if entry.budget is None or entry.budget.keep_tokens is not None:
            continue
        try:
            most = min(most, entry.budget.resolve_rows(most, entry.name) or 0)
        except CurateError as error:
            place, _ = _located(found.config, ("select", index, "keep"))
            found.errors.append(type(error)(error.message, where=place, hint=error.hint))
            return
    about = "at most " * bool(pool.row_count.error)
    if guard.min_rows is not None and most < guard.min_rows:
        message = f"only {about}{most:,} of {rows:,} rows would be exported; guard.min_rows asks for {guard.min_rows:,}"
        found.add_guard_error(("guard", "min_rows"), message, "lower it, or raise the budgets of select")
    dropped = rows - most
    if not pool.row_count.error and dropped > guard.max_drop_rate * rows:
        message = f"{dropped:,} of {rows:,} rows ({dropped / rows:.2%}) would be dropped"
        message += f"; guard.max_drop_rate allows {guard.max_drop_rate:.2%}"
        found.add_guard_error(("guard", "max_drop_rate"), message, "raise it, or raise the budgets of select")


def _check_bad(found: Findings, pool: PoolSample) -> None:
    """Say what share of the first records cannot be read."""
    allowed, bad = found.config.guard.max_quarantine_rate, len(pool.bad_records)
    if not bad:
        return
    path, first = pool.bad_records[0]
    message = f"{bad:,} of the first {pool.examined:,} records cannot be read; {path}:{first.line}: {first.reason}"
    complete = pool.examined == pool.row_count.rows and not pool.row_count.error
    if complete and bad > allowed * pool.examined:
        hint = "fix the input, or raise the guard if these rows may go"
        found.add(("guard", "max_quarantine_rate"), f"{message}; {allowed:.2%} may be quarantined", hint)
    else:
        found.notes.append(message)


def _check_arrays(found: Findings, files: Mapping[str, object], pool: PoolSample) -> None:
    """Refuse input files without the array of their vectors."""
    suffix = found.config.input.vectors
    for name in files if suffix is not None else ():
        path = vectors_path(paths.parse_path(name), str(suffix))
        try:
            rows = npy.read_shape(path)[0]
        except (OSError, ValueError, OverflowError) as error:
            reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
            hint = "give the ending of a .npy file next to each input file, such as .npy"
            found.add(("input", "vectors"), f"cannot read the vectors of {name} in {path}: {reason}", hint)
            return
        if len(files) == 1 and not pool.row_count.error and not pool.bad_records and rows < pool.row_count.rows:
            message = f"{path} holds {rows:,} vectors, but {name} has {pool.row_count.rows:,} rows"
            found.add(("input", "vectors"), message, "write a vector for every row")


# ---------------------------------------------------------------- other texts


@dataclass(frozen=True, slots=True)
class _Texts:
    """Files of texts that are not of the pool."""

    path: KeyPath
    """Key of the files."""

    text_path: KeyPath
    """Key of the template of their texts."""

    files: tuple[str, ...]
    text: str
    at_least: int = 1


def _check_texts(found: Findings, known: Mapping[KeyPath, Mapping[str, Any]]) -> None:
    """Check evaluation sets, examples and logs: each has the columns of its text, and rows enough."""
    config, refused = found.config, set[tuple[KeyPath, str]]()
    for one in (*_evaluation_sets(config), *_examples(config), *_test_rows(config)):
        patterns = [path for path, _ in referenced_files(config) if path[: len(one.path)] == one.path]
        if not all(path in known for path in patterns):
            continue  # that is a problem already
        with found.collect_errors():
            plain = replace(config.input, id=None, label=None, source=None, tokens=None, types=None, vectors=None)
            how = replace(plain, files=one.files, text=one.text)
            if one.path[0] != "evaluate":  # those files have the form of the input's
                how = replace(how, header=True, delimiter=None)
            every = match_files(format_path(one.path), *one.files)
            texts = pool_sample.sample_files(how, every, 0.2)
            if not texts.columns:
                found.add(one.path, f"there are no rows in {texts.description}")
                continue
            for name in template_columns(one.text) or [one.text]:
                there = name in texts.columns or (not texts.complete and _may_be_further_on(name, texts))
                if not there and (one.text_path, name) not in refused:
                    refused.add((one.text_path, name))
                    message = f"no file of {format_path(one.path)} has a column {name!r}"
                    found.add(one.text_path, message, f"{suggest_name(name, texts.columns)} ({texts.description})")
            if not texts.row_count.error and texts.row_count.rows < one.at_least:
                message = f"{texts.row_count.rows:,} texts, and {one.at_least} are needed"
                found.add(one.path, message, f"name more files ({texts.description})")
    for check in (_check_log, _check_key):
        check(found, known)


def _evaluation_sets(config: RunConfig) -> Iterator[_Texts]:
    section = config.decontaminate
    if section is None:
        return
    for name, patterns in section.sets.items():
        text = (DECONTAMINATE, "text", name) if isinstance(section.text, Mapping) else (DECONTAMINATE, "text")
        path: KeyPath = (DECONTAMINATE, "files", name) if name else (DECONTAMINATE, "files")
        own = text if section.text is not None else path
        yield _Texts(path, own, patterns, section.text_for_set(name, config.input.text))


def _examples(config: RunConfig) -> Iterator[_Texts]:
    for _, path, entry in iterate_entries(config):
        built = entry.spec.build()
        for one in fields(type(built)):
            value = getattr(built, one.name)
            mark = next((mark for _, mark, _ in find_marked(one.type, value, ExampleFiles)), None)
            if mark is not None:
                own = getattr(built, "text", None)
                files = (value,) if isinstance(value, str) else tuple(value)
                key = (*path, "text" if own else one.name)
                yield _Texts((*path, one.name), key, files, own or config.input.text, mark.at_least)


def _test_rows(config: RunConfig) -> Iterator[_Texts]:
    files = config.evaluate.files
    if files is not None:
        path: KeyPath = ("evaluate", "files")
        yield _Texts(path, path, (files,) if isinstance(files, str) else files, config.input.text)


def _check_log(found: Findings, known: Mapping[KeyPath, Mapping[str, Any]]) -> None:
    """Check the labels that a proxy is trained on, and the first lines of a log of training."""
    if ("proxy", "files") in known and found.config.input.label is not None:
        check_proxy(found, list(known["proxy", "files"]), _labels(found), exact=False)


def check_proxy(found: Findings, logs: Sequence[str], labels: Collection[str], *, exact: bool) -> None:
    """Check some labels (``exact``: all labels) of the pool, and the first lines of the files of a log."""
    from curate.stages.proxy import training_logs

    entry = found.config.proxy
    if entry is None:
        return
    built = entry.spec.build()
    if exact and len(labels) < 2:
        what = f"every label is {next(iter(labels))!r}" if labels else "no row has a label"
        message = f"proxy {entry.name}: {what}"
        found.add(("input", "label"), message, "a proxy needs two classes at least; name another column")
    classes = getattr(built, "classes", ())
    if strange := sorted({*labels} - {*classes}) if classes else []:
        found.add(("proxy", "classes"), f"the pool has the label {strange[0]!r} too", "name every label")
    for name in logs:
        try:
            training_logs.check(built, paths.parse_path(name), labels, exact=exact)
        except CurateError as error:
            found.add(("proxy", "files"), f"{error.where}: {error.message}", error.hint, type(error))
            return


def _labels(found: Findings) -> set[str]:
    """Return labels that the first records have."""
    name = found.config.input.label
    if found.pool is None or name not in found.pool.table.column_names:
        return set()
    return {text for text in as_text(found.pool.table[name]).to_pylist() if text is not None}


def _check_key(found: Findings, known: Mapping[KeyPath, Mapping[str, Any]]) -> None:
    """Read the ground truth of an evaluation."""
    from curate.stages.report import ground_truth

    if ("evaluate", "key") in known:
        with found.collect_errors():
            ground_truth.check_readable(found.config)
