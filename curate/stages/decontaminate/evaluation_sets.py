"""Evaluation sets that the pool is checked against: read and embedded like the pool, in separate folders.

Memory: one shard of a set per worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curate import paths
from curate.config.model import DECONTAMINATE
from curate.errors import DataError
from curate.pool.stage_outputs import EmbedOutput
from curate.stages.base import Context
from curate.stages.embed.stage import embed_other_rows
from curate.stages.ingest.stage import find_input_files, fingerprint_inputs, ingest, match_files, survey_files
from curate.store import manifest, run_directory
from curate.store.inputs import Inputs

if TYPE_CHECKING:
    from curate.config.model import EmbedEntry, InputConfig, RunConfig

FOLDER = "sets"


@dataclass(frozen=True, slots=True)
class EvaluationTexts:
    """Handle on the texts of one set."""

    name: str
    source: Inputs
    embedded: EmbedOutput | None = None
    """Vectors of the texts, if embeddings are compared."""


@dataclass(frozen=True, slots=True)
class SetAccount:
    """Files and numbers of texts of one set."""

    name: str
    files: tuple[tuple[str, str], ...]
    """Path and sha256 of each file."""

    texts: int
    empty: int
    """Number of rows without a text."""


def resolve_sets(config: RunConfig) -> dict[str, InputConfig]:
    """Return the input configuration of each set of the decontaminate section, by its name; none without the section.

    Raises
    ------
    DataError
        A pattern matches no file.
    """
    section, pool = config.decontaminate, config.input
    if section is None:
        return {}
    patterns_by_name: dict[str, tuple[str, ...]] = {}
    for name, patterns in section.sets.items():
        files = match_files(f"{DECONTAMINATE}.files{'.' if name else ''}{name}", *patterns)
        if name:
            patterns_by_name[name] = patterns
            continue
        names = [Path(file).name for file in files]
        pairs = zip(files, names, strict=True)
        patterns_by_name |= {file if names.count(name) > 1 else name: (file,) for file, name in pairs}
    pool = replace(
        pool, corrections=None, id=None, label=None, source=None, tokens=None, types=None, image=None, image_folder=None
    )
    vectors = None if section.min_similarity is None else pool.vectors
    if vectors is not None and pool.vectors_file is not None:
        raise DataError(
            f"{DECONTAMINATE}.min_similarity: the sets have no vectors: input.vectors is one array for the pool",
            hint="set input.vectors to a suffix such as .npy, and write an array next to each file",
        )
    return {
        name: replace(pool, files=files, text=section.text_for_set(name, pool.text), vectors=vectors)
        for name, files in patterns_by_name.items()
    }


def fingerprints(context: Context) -> dict[str, str]:
    """Return the fingerprint of the texts of each set: the content of its files, and how they are read."""
    result = {}
    for name, how in resolve_sets(context.config).items():
        with _naming_set(name):
            run_directory.refuse_run_files(find_input_files(how), context.folder, f"{DECONTAMINATE}.files")
            result[name] = manifest.fingerprint(
                fingerprint_inputs(how, survey_files(_nested_context(context, name, how)))
            )
    return result


def read(context: Context) -> tuple[list[EvaluationTexts], list[SetAccount]]:
    """Read all sets; those on disk are reused while their files are unchanged.

    Returns
    -------
    sets : list[EvaluationTexts]
        Handles on the sets, in the order of the configuration.
    accounts : list[SetAccount]
        Files and numbers of texts of each set.

    Raises
    ------
    DataError
        A file has no rows or lacks a column; the error names the set.
    """
    sets, accounts = [], []
    for name, how in resolve_sets(context.config).items():
        nested = _nested_context(context, name, how)
        with _naming_set(name):
            source, record = ingest(nested)
        sets.append(EvaluationTexts(name, source))
        files = tuple((file["path"], file["sha256"]) for file in record.result.files)
        accounts.append(SetAccount(name, files, source.rows, record.count.quarantined))
        if empty := record.count.quarantined:
            context.progress.warn(f"evaluation set {name!r}: {empty:,} of {record.count.rows_in:,} rows have no text")
    _delete_old_sets(context, {_folder(one.name) for one in sets})
    return sets, accounts


def embed_sets(context: Context, sets: Sequence[EvaluationTexts], entry: EmbedEntry) -> list[EvaluationTexts]:
    """Embed the sets with one entry, using its fit to the pool."""
    done = []
    for one, how in zip(sets, resolve_sets(context.config).values(), strict=True):
        with _naming_set(one.name):
            nested = _nested_context(context, one.name, how)
            embedded, record = embed_other_rows(nested, one.source, entry, context.folder)
        if lost := record.count.quarantined:
            context.progress.warn(f"evaluation set {one.name!r}: {entry.name} cannot embed {lost:,} texts")
        done.append(replace(one, embedded=embedded))
    return done


def _nested_context(context: Context, name: str, how: InputConfig) -> Context:
    """Return the context of a nested run that reads one set."""
    folder = context.folder / DECONTAMINATE / FOLDER / _folder(name)
    return context.nested(replace(context.config, run=str(folder), input=how))


def _folder(name: str) -> str:
    return manifest.fingerprint({"set": name})[:12]


def _delete_old_sets(context: Context, kept: set[str]) -> None:
    """Delete the folders of sets that are no longer configured."""
    root = context.folder / DECONTAMINATE / FOLDER
    for name in paths.list_names(root) - kept:
        paths.remove_directory(root / name)


@contextmanager
def _naming_set(name: str) -> Iterator[None]:
    """Name the set, not the pool, in errors about its files."""
    try:
        yield
    except DataError as error:
        message = f"{DECONTAMINATE}: evaluation set {name!r}: {error.message.removeprefix('input.')}"
        raise DataError(message, where=error.where, hint=error.hint) from error
