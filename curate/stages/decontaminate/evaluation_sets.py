"""The evaluation sets that a pool is checked against: read and embedded as the pool is, in folders of their own.

Memory: a shard of a set a worker.
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
from curate.stages.embed.stage import embed
from curate.stages.ingest.stage import find_input_files, fingerprint_inputs, ingest, match_files, survey_files
from curate.store import manifest, run_directory
from curate.store.inputs import Inputs

if TYPE_CHECKING:
    from curate.config.model import EmbedEntry, InputConfig, RunConfig

FOLDER = "sets"


@dataclass(frozen=True, slots=True)
class EvaluationTexts:
    """A handle on the texts of one set."""

    name: str
    source: Inputs
    embedded: EmbedOutput | None = None
    """Its vectors, where embeddings are compared."""


@dataclass(frozen=True, slots=True)
class SetAccount:
    """Files and texts of one set."""

    name: str
    files: tuple[tuple[str, str], ...]
    """Path and sha256 of each."""

    texts: int
    empty: int
    """Number of rows without a text."""


def resolve_sets(config: RunConfig) -> dict[str, InputConfig]:
    """How each set of the section decontaminate is read, by its name; none without the section.

    Raises
    ------
    DataError : a pattern that matches no file
    """
    section, pool = config.decontaminate, config.input
    if section is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for name, patterns in section.sets.items():
        files = match_files(f"{DECONTAMINATE}.files{'.' if name else ''}{name}", *patterns)
        if name:
            found[name] = patterns
            continue
        names = [Path(file).name for file in files]
        found |= {file if names.count(own) > 1 else own: (file,) for file, own in zip(files, names, strict=True)}
    pool = replace(pool, id=None, label=None, source=None, tokens=None, types=None)
    vectors = None if section.min_similarity is None else pool.vectors
    return {
        name: replace(pool, files=files, text=section.text_for_set(name, pool.text), vectors=vectors)
        for name, files in found.items()
    }


def fingerprints(context: Context) -> dict[str, str]:
    """What the texts of each set are made from: its files' content, and how they are read."""
    found = {}
    for name, how in resolve_sets(context.config).items():
        with _named(name):
            run_directory.refuse_run_files(find_input_files(how), context.folder, f"{DECONTAMINATE}.files")
            found[name] = manifest.fingerprint(fingerprint_inputs(how, survey_files(_own(context, name, how))))
    return found


def read(context: Context) -> tuple[list[EvaluationTexts], list[SetAccount]]:
    """Every set; those on disk are reused while their files are the same.

    Returns
    -------
    sets : in the order of the configuration
    accounts : of each

    Raises
    ------
    DataError : naming the set: a file without rows, a column that is missing
    """
    sets, accounts = [], []
    for name, how in resolve_sets(context.config).items():
        own = _own(context, name, how)
        with _named(name):
            source, record = ingest(own)
        sets.append(EvaluationTexts(name, source))
        files = tuple((file["path"], file["sha256"]) for file in record.result.files)
        accounts.append(SetAccount(name, files, source.rows, record.count.quarantined))
        if empty := record.count.quarantined:
            context.progress.warn(f"evaluation set {name!r}: {empty:,} of {record.count.rows_in:,} rows have no text")
    _forget(context, {_folder(one.name) for one in sets})
    return sets, accounts


def embed_sets(context: Context, sets: Sequence[EvaluationTexts], entry: EmbedEntry) -> list[EvaluationTexts]:
    """The sets embedded by one entry, with what it has learnt from the pool."""
    done = []
    for one, how in zip(sets, resolve_sets(context.config).values(), strict=True):
        with _named(one.name):
            own = _own(context, one.name, how)
            embedded, record = embed(own, one.source, entry, context.folder / "embed" / entry.name)
        if lost := record.count.quarantined:
            context.progress.warn(f"evaluation set {one.name!r}: {lost:,} texts cannot be embedded by {entry.name}")
        done.append(replace(one, embedded=embedded))
    return done


def _own(context: Context, name: str, how: InputConfig) -> Context:
    """A run of the set's own, whose steps are no steps of this one."""
    folder = context.folder / DECONTAMINATE / FOLDER / _folder(name)
    return context.nested(replace(context.config, run=str(folder), input=how))


def _folder(name: str) -> str:
    return manifest.fingerprint({"set": name})[:12]


def _forget(context: Context, kept: set[str]) -> None:
    """Remove what is left of sets that are asked for no more."""
    root = context.folder / DECONTAMINATE / FOLDER
    for name in paths.list_names(root) - kept:
        paths.remove_directory(root / name)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Around the reading of a set: what is wrong with its files is said of it, and not of the pool."""
    try:
        yield
    except DataError as error:
        told = f"{DECONTAMINATE}: evaluation set {name!r}: {error.message.removeprefix('input.')}"
        raise DataError(told, where=error.where, hint=error.hint) from error
