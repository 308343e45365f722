"""References of a configuration to columns of the pool and to files, found by the marks of its fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.config.model import SPLIT, Entry, SplitConfig
from curate.config.sections import ENTRY_SECTIONS, SECTIONS, EntrySection, driver_fields
from curate.config.yaml_positions import KeyPath
from curate.plugins.fields import Field, fields, find_marked
from curate.plugins.interfaces import ConfigReference, ExampleFiles, ExistingFiles, TemplateField
from curate.stages.column_names import GROUPS, score_columns
from curate.stages.export.exported_columns import added_columns
from curate.stages.ingest.text_template import template_columns

if TYPE_CHECKING:
    from curate.config.model import RunConfig

COMPUTED_COLUMNS = ("cluster", "label", "source", "tokens")
"""Columns that conditions can use besides those of the input and the scores."""


@dataclass(frozen=True, slots=True)
class ColumnReference:
    """Reference to a column in the configuration."""

    path: KeyPath
    column: str
    other_names: tuple[str, ...] = ()
    """Other valid names, which are not input columns."""


def iterate_entries(config: RunConfig) -> Iterator[tuple[EntrySection, KeyPath, Entry]]:
    """Yield every entry with its section and its path."""
    for name, section in ENTRY_SECTIONS.items():
        value = getattr(config, name)
        if section.is_list:
            for index, entry in enumerate(value):
                yield section, (name, index), entry
        elif value is not None:
            yield section, (name,), value


def referenced_columns(config: RunConfig) -> Iterator[ColumnReference]:
    """Yield every reference to a pool column in the configuration, including those in templates."""
    for one in fields(type(config.input)):
        for below, mark, name in _iterate_marked(one, config.input):
            if one.name == "source" and name == "file":
                continue  # means the path of the file
            columns = template_columns(name) or [name] if isinstance(mark, TemplateField) else [name]
            yield from (ColumnReference(("input", *below), column) for column in columns)
    for one in fields(SplitConfig) if config.split is not None else ():
        for below, _, name in _iterate_marked(one, config.split):
            yield ColumnReference((SPLIT, *below), name, GROUPS)
    scores = tuple(score_columns(config))
    for section, path, entry in iterate_entries(config):
        for one in driver_fields(section):
            for below, mark, name in _iterate_marked(one, entry) if hasattr(entry, one.name) else ():
                if isinstance(mark, ConfigReference) and mark.target == "group":
                    yield ColumnReference((*path, *below), name, GROUPS)
                elif isinstance(mark, ConfigReference) and mark.target == "column":
                    added = tuple(added_columns(config.export, scores)) if one.name == "rename" else ()
                    yield ColumnReference((*path, *below), name, added)
                elif isinstance(mark, TemplateField):
                    yield from (ColumnReference((*path, *below), column) for column in template_columns(name) or [name])
        yield from _columns_of_plugin(path, entry, scores)


def _columns_of_plugin(path: KeyPath, entry: Entry, scores: tuple[str, ...]) -> Iterator[ColumnReference]:
    """Yield the columns in the marked fields of a plugin, and those that its method ``columns`` returns."""
    plugin, built = entry.spec.plugin(), entry.spec.build()
    ours = (*scores, *COMPUTED_COLUMNS) if "frame" in plugin.traits.reads else ()
    seen: set[str] = set()
    for one in fields(plugin.cls):
        for below, mark, name in _iterate_marked(one, built):
            if isinstance(mark, ConfigReference) and mark.target == "column":
                seen.add(name)
                yield ColumnReference((*path, *below), name, ours)
            elif isinstance(mark, ConfigReference) and mark.target == "group":
                yield ColumnReference((*path, *below), name, GROUPS)
    for name in built.columns() if "frame" in plugin.traits.reads else ():
        if name not in seen:
            yield ColumnReference((*path, *field_with_column(plugin.cls, built, name)), name, ours)


def _iterate_marked(one: Field, owner: object) -> Iterator[tuple[KeyPath, ConfigReference | TemplateField, str]]:
    value = getattr(owner, one.name)
    for kind in (ConfigReference, TemplateField):
        for below, mark, name in find_marked(one.type, value, kind):
            yield (one.name, *below), mark, name  # type: ignore[misc]


def field_with_column(cls: type, built: object, column: str) -> KeyPath:
    """Return the path of the field whose text contains a column; the entry itself if none does."""
    texts = {one.name: getattr(built, one.name) for one in fields(cls)}
    return next(((name,) for name, text in texts.items() if isinstance(text, str) and column in text), ())


def referenced_files(config: RunConfig) -> Iterator[tuple[KeyPath, str]]:
    """Yield every file or file pattern in the configuration with its path, except for models."""
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
