"""The sections of a configuration file: one line each, from which loading, the schema and the pages follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge

from curate.config import model
from curate.config.budget import Budget
from curate.config.model import Entry, NonEmpty, RunConfig, format_size, to_plain
from curate.config.yaml_positions import PlainData
from curate.plugins.fields import Field, fields
from curate.plugins.kinds import Kind
from curate.plugins.registry import Plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section, which is an attribute of ``RunConfig`` too."""

    name: str
    cls: type
    """Dataclass of the section, or of each of its entries."""

    required: bool = False
    default: PlainData = None
    """Plain data to read where the section is missing; None reads nothing."""

    @property
    def type_name(self) -> str:
        """The section's type in words."""
        return "a mapping"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySection(Section):
    """A section that is one use of a plugin, or a list of them."""

    kind: Kind
    is_list: bool = False
    """Whether the section is a list of entries."""

    allows_single: bool = False
    """Whether a single entry may be written in place of the list."""

    @property
    def must_be_list(self) -> bool:
        """Whether a single entry is refused."""
        return self.is_list and not self.allows_single

    @property
    def may_be_empty(self) -> bool:
        """Whether a list may have no entry."""
        return self.default == []

    @property
    def type_name(self) -> str:
        """The section's type in words."""
        return " or ".join(
            ["an entry"] * (not self.is_list or self.allows_single) + ["a list of entries"] * self.is_list
        )


SECTIONS: Mapping[str, Section] = {
    section.name: section
    for section in (
        Section(name="input", cls=model.InputConfig, required=True),
        Section(name="decontaminate", cls=model.DecontaminateConfig),
        Section(name="guard", cls=model.GuardConfig, default={}),
        Section(name="refresh", cls=model.RefreshConfig, default={}),
        Section(name="evaluate", cls=model.EvaluateConfig, default={}),
        EntrySection(
            name="embed",
            cls=model.EmbedEntry,
            kind="embedder",
            is_list=True,
            allows_single=True,
            default={"use": "lsa"},
        ),
        EntrySection(name="cluster", cls=model.ClusterEntry, kind="clusterer", default={"use": "kmeans"}),
        EntrySection(name="proxy", cls=model.ProxyEntry, kind="proxy"),
        EntrySection(name="score", cls=model.ScoreEntry, kind="scorer", is_list=True, default=[]),
        EntrySection(name="select", cls=model.SelectEntry, kind="selector", is_list=True, required=True),
        EntrySection(name="export", cls=model.ExportConfig, kind="exporter", default={"use": "parquet"}),
        EntrySection(name="metrics", cls=model.MetricEntry, kind="metric", is_list=True, default=[]),
    )
}
"""Every section by name, those without entries first."""

ENTRY_SECTIONS: Mapping[str, EntrySection] = {
    name: section for name, section in SECTIONS.items() if isinstance(section, EntrySection)
}


def _as_written(field: Field) -> Field:
    """Return a field of ``RunConfig`` as the key that a file has for it."""
    if field.name in SECTIONS:
        section = SECTIONS[field.name]
        return replace(field, required=section.required, default=section.default)
    if field.name == "memory_limit":
        return replace(field, type=Annotated[int, Ge(1)] | str, default=format_size(int(str(field.default))))
    return replace(field, type=tuple[str, ...]) if field.name == "plugins" else field


TOP_LEVEL_FIELDS = tuple(_as_written(field) for field in fields(RunConfig) if field.name not in ("source", "resolved"))
"""The keys at the top of a file."""

BUDGET_KEYS = tuple(field.name for field in fields(Budget) if field.name != "at_most")
"""The keys of a budget, one of which an entry of a selector has."""

USE_FIELD = Field(name="use", type=NonEmpty, required=True, doc="The plugin's name.")


FILTER_KEYS = frozenset({"keep"})
"""Keys of a budget that a filter, which has none, may have as a field: which of several duplicates to keep."""


def is_filter(plugin: Plugin) -> bool:
    """Return whether a plugin is a selector without a budget."""
    return plugin.kind == "selector" and not plugin.traits.budgeted


def driver_fields(section: EntrySection, plugin: Plugin | None = None) -> tuple[Field, ...]:
    """Return the keys of a section's entries that are not fields of the plugin, if one is given."""
    fields_of_plugin = {field.name for field in fields(plugin.cls)} if plugin and is_filter(plugin) else set()
    return tuple(field for field in _driver_fields(section) if field.name not in fields_of_plugin & FILTER_KEYS)


def _driver_fields(section: EntrySection) -> tuple[Field, ...]:
    found: list[Field] = [USE_FIELD]
    for one in fields(section.cls):
        if one.name == "name" and section.is_list:
            found.append(replace(one, type=NonEmpty | None, required=False))
        elif one.name == "budget":
            found += fields(Budget)
        elif one.name not in ("name", "spec"):
            found.append(one)
    return tuple(found)


def resolve_config(config: RunConfig) -> dict[str, PlainData]:
    """The plain data that loads as ``config``."""
    data: dict[str, PlainData] = {}
    for field in TOP_LEVEL_FIELDS:
        value = getattr(config, field.name)
        if value is None:
            continue
        section = ENTRY_SECTIONS.get(field.name)
        if section is not None:
            value = [_entry(section, one) for one in value] if section.is_list else _entry(section, value)
        elif field.name == "memory_limit":
            value = format_size(value)
        elif field.name == "plugins":
            value = [local.path for local in value]
        data[field.name] = to_plain(value)
    return data


def _entry(section: EntrySection, entry: Entry) -> dict[str, PlainData]:
    data: dict[str, PlainData] = {"use": entry.spec.name}
    budget = to_plain(getattr(entry, "budget", None)) or {}
    for one in driver_fields(section)[1:]:
        value = budget.get(one.name, getattr(entry, one.name, None))
        if value is not None:
            data[one.name] = value
    return {**data, **to_plain(entry.spec.build())}
