"""Names of the columns that the stages add, and the check for conflicts with columns of the pool."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from curate.errors import DataError
from curate.stages.base import plugin_errors

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.config.model import AnnotateEntry, RunConfig
    from curate.plugins.interfaces import Annotator

PREFIX = "curate_"
"""Prefix of the columns that ``export.add`` adds."""

EPOCH = "epoch"
"""Name of the column that readers derive from folders such as ``epoch=003``."""

GROUPS = ("cluster", "label", "source")
"""Grouping columns that are computed or configured, not plain columns of the pool."""


def added_columns(config: RunConfig) -> dict[str, str]:
    """Return the columns that conditions may use besides those of the pool, each with a description.

    A column of the pool with the same name and meaning, such as ``input.label: label``, is not included.
    """
    pool, clusterer = config.input, config.cluster.spec
    names = {"cluster": "the cluster of a row", "tokens": "its number of tokens"}
    names |= {role: f"input.{role}" for role in ("label", "source") if getattr(pool, role) is not None}
    names |= dict.fromkeys(score_columns(config), "a score")
    same = {role for role in ("label", "source", "tokens") if getattr(pool, role) == role}
    if clusterer.name == "column" and dict(clusterer.fields).get("column") == "cluster":
        same.add("cluster")
    return {name: meaning for name, meaning in names.items() if name not in same}


def annotated_columns(config: RunConfig) -> dict[str, pa.DataType]:
    """Return the types of the columns that the annotate section adds to the pool, by name."""
    return {name: kind for entry in config.annotate for name, kind in columns_of_annotator(entry).items()}


def columns_of_annotator(entry: AnnotateEntry) -> dict[str, pa.DataType]:
    """Return the types of the columns that an annotator adds, by the name of the entry and the suffix of the column."""
    with plugin_errors(entry.spec, entry.name):
        plugin: Annotator = entry.spec.build()
        return {"_".join(filter(None, (entry.name, suffix))): kind for suffix, kind in plugin.columns().items()}


def score_columns(config: RunConfig) -> list[str]:
    """Return the columns of all scores: ``score_``, the name of the entry and, if it has several, of the column."""
    return [
        "_".join(filter(None, ("score", entry.name, column.name)))
        for entry in config.score
        for column in entry.spec.plugin().traits.columns
    ]


def check(config: RunConfig, columns: Collection[str]) -> None:
    """Raise an error for ambiguous column names, and for columns that the export would overwrite.

    Parameters
    ----------
    columns : Collection[str]
        Columns of the pool.

    Raises
    ------
    DataError
        A name is ambiguous or taken; the error names the configuration key and the column.
    """
    columns = _add_annotated_columns(config, columns)
    meanings = added_columns(config)
    if config.input.source == "file" and "file" in columns:
        hint = 'rename the column, or derive the source from the path in another way: {path: "{source}.jsonl"}'
        message = "input.source: 'file' is ambiguous: it means the path of the file, but the pool has a column 'file'"
        raise DataError(message, hint=hint)
    for key, name in _used_columns(config):
        if name in meanings and name in columns:
            raise DataError(
                f"{key}: {name!r} is ambiguous: it is a column of the pool, and {meanings[name]}",
                hint=_remedy(name, meanings),
            )
    if config.select[-1].epochs > 1 and EPOCH in columns:
        message = f"the input has a column {EPOCH!r}, which conflicts with the epoch in the folder names of the export"
        raise DataError(message, hint="rename the column, or set epochs: 1 in the select section")
    exported = [PREFIX + name for name in config.export.add if name != "scores"]
    exported += [PREFIX + name for name in score_columns(config) if "scores" in config.export.add]
    if taken := next((name for name in exported if name in columns), None):
        raise DataError(f"export.add would overwrite the input column {taken!r}", hint="rename the input column")


def _add_annotated_columns(config: RunConfig, columns: Collection[str]) -> Collection[str]:
    """Return the columns with those that the annotate section adds; raise an error if one of them is taken."""
    known = set(columns)
    for entry in config.annotate:
        for name in columns_of_annotator(entry):
            if name in known:
                hint = "give the entry another name with the key 'name', or rename the column"
                raise DataError(f"annotate {entry.name}: there is already a column {name!r}", hint=hint)
            known.add(name)
    return known


def _used_columns(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yield the columns that the select entries use, each with its configuration key."""
    for number, entry in enumerate(config.select):
        if entry.within in GROUPS:
            yield f"select.{number}.within", entry.within
        if "frame" in entry.spec.plugin().traits.reads:
            with plugin_errors(entry.spec, entry.name):
                names = entry.spec.build().columns()
            key = "drop" if entry.spec.name == "where" else entry.spec.name
            yield from ((f"select.{number}.{key}", name) for name in names)


def _remedy(name: str, meanings: Mapping[str, str]) -> str:
    same = f", or set input.{name}: {name} if they are the same" if name in ("label", "source", "tokens") else ""
    other = ", or give the score entry another name" if meanings[name] == "a score" else ""
    return f"rename the pool's column{same}{other}"
