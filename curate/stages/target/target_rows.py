"""Rows of the target section: read and embedded like the pool, with its fits, in a separate folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from curate.config.model import TARGET
from curate.errors import CurateError, DataError
from curate.pool.view import PoolView
from curate.stages.base import Context
from curate.stages.embed.stage import embed_other_rows
from curate.stages.ingest.stage import (
    find_input_files,
    fingerprint_inputs,
    ingest,
    match_files,
    survey_files,
    survey_images,
)
from curate.store import run_directory

if TYPE_CHECKING:
    from curate.config.model import InputConfig, RunConfig, TargetConfig

FOLDER = "rows"


def check_files(config: RunConfig, section: TargetConfig) -> None:
    """Raise an error if a file of the section is missing, or its rows cannot have vectors."""
    match_files(f"{TARGET}.files", *_patterns(section))
    if config.input.vectors_file is not None:
        raise DataError(
            f"{TARGET}.files: the rows have no vectors: input.vectors is one array for the pool",
            hint="set input.vectors to a suffix such as .npy, and write an array next to each file",
        )


def fingerprint(context: Context, section: TargetConfig) -> dict[str, object]:
    """Return everything that determines the rows except their vectors: the content of the files, and how they are read.

    Raises
    ------
    DataError
        A file is missing, or one of the run directory.
    """
    nested = _nested_context(context, section)
    with _naming_section():
        run_directory.refuse_run_files(find_input_files(nested.config.input), context.folder, f"{TARGET}.files")
        files = survey_files(nested)
        return fingerprint_inputs(nested.config.input, files, survey_images(nested, files))


def read(context: Context, section: TargetConfig) -> PoolView:
    """Read and embed the rows with all embed entries; those on disk are reused while nothing changed.

    Raises
    ------
    DataError
        No row has a text, or a column is missing; the error names the section.
    """
    nested = _nested_context(context, section)
    with _naming_section():
        source, record = ingest(nested)
        if empty := record.count.quarantined:
            context.progress.warn(f"{TARGET}: {empty:,} of {record.count.rows_in:,} rows cannot be read")
        embedded = []
        for entry in context.config.embed:
            output, account = embed_other_rows(nested, source, entry, context.folder, target=True)
            if lost := account.count.quarantined:
                context.progress.warn(f"{TARGET}: {entry.name} cannot embed {lost:,} rows")
            embedded.append(output)
    return PoolView(source, context.config.memory_limit, context.scratch, tuple(embedded))


def _nested_context(context: Context, section: TargetConfig) -> Context:
    """Return the context of a nested run that reads the rows."""
    folder = context.folder / TARGET / FOLDER
    return context.nested(replace(context.config, run=str(folder), input=_resolve_input(context.config, section)))


def _resolve_input(config: RunConfig, section: TargetConfig) -> InputConfig:
    """Return how the rows are read: as the pool's, with the files and columns of the section."""
    pool = config.input
    types = pool.types or {}
    label_type = types.get(pool.label or "")
    return replace(
        pool,
        corrections=None,
        files=_patterns(section),
        text=section.text or pool.text,
        label=section.label,
        types=None if section.label is None or label_type is None else {section.label: label_type},
        id=None,
        source=section.task,
        tokens=None,
    )


def _patterns(section: TargetConfig) -> tuple[str, ...]:
    return (section.files,) if isinstance(section.files, str) else section.files


@contextmanager
def _naming_section() -> Iterator[None]:
    """Name the section, not the input, in errors about its files."""
    try:
        yield
    except CurateError as error:
        message = error.message.removeprefix("input: ").removeprefix("input.")
        raise type(error)(f"{TARGET}: {message}", where=error.where, hint=error.hint) from error
