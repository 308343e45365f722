"""Sections of a configuration file, declared once for the loader, the schema and the documentation."""

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
    """Section of a configuration, which is also an attribute of ``RunConfig``."""

    name: str
    cls: type
    """Dataclass of the section, or of each of its entries."""

    required: bool = False
    default: PlainData = None
    """Plain data to use if the section is missing; None for no default."""

    @property
    def type_name(self) -> str:
        """Type of the section, for messages and documentation."""
        return "a mapping"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySection(Section):
    """Section that contains one entry, which uses a plugin, or a list of entries."""

    kind: Kind
    is_list: bool = False
    """Whether the section is a list of entries."""

    allows_single: bool = False
    """Whether a single entry may be written instead of a list."""

    @property
    def must_be_list(self) -> bool:
        """Whether the section must be a list."""
        return self.is_list and not self.allows_single

    @property
    def may_be_empty(self) -> bool:
        """Whether the list may be empty."""
        return self.default == []

    @property
    def type_name(self) -> str:
        """Type of the section, for messages and documentation."""
        return " or ".join(
            ["an entry"] * (not self.is_list or self.allows_single) + ["a list of entries"] * self.is_list
        )


SECTIONS: Mapping[str, Section] = {
    section.name: section
    for section in (
        Section(name="input", cls=model.InputConfig, required=True),
        Section(name="judge", cls=model.JudgeConfig),
        Section(name="target", cls=model.TargetConfig),
        Section(name="review", cls=model.ReviewConfig),
        Section(name="decontaminate", cls=model.DecontaminateConfig),
        Section(name="split", cls=model.SplitConfig),
        Section(name="guard", cls=model.GuardConfig, default={}),
        Section(name="refresh", cls=model.RefreshConfig, default={}),
        Section(name="evaluate", cls=model.EvaluateConfig, default={}),
        EntrySection(name="annotate", cls=model.AnnotateEntry, kind="annotator", is_list=True, default=[]),
        EntrySection(name="model", cls=model.ModelEntry, kind="model", is_list=True, allows_single=True, default=[]),
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
"""All sections by name, those without entries first."""

ENTRY_SECTIONS: Mapping[str, EntrySection] = {
    name: section for name, section in SECTIONS.items() if isinstance(section, EntrySection)
}


def _as_written(field: Field) -> Field:
    """Return a field of ``RunConfig`` with the type and default of the key in the file."""
    if field.name in SECTIONS:
        section = SECTIONS[field.name]
        return replace(field, required=section.required, default=section.default)
    if field.name == "memory_limit":
        return replace(field, type=Annotated[int, Ge(1)] | str, default=format_size(int(str(field.default))))
    return replace(field, type=tuple[str, ...]) if field.name == "plugins" else field


TOP_LEVEL_FIELDS = tuple(_as_written(field) for field in fields(RunConfig) if field.name not in ("source", "resolved"))
"""Top-level keys of a configuration file."""

BUDGET_KEYS = tuple(field.name for field in fields(Budget) if field.name != "at_most")
"""Keys of a budget; an entry of a selector has exactly one of them."""

USE_FIELD = Field(name="use", type=NonEmpty, required=True, doc="Name of the plugin.")


FILTER_KEYS = frozenset({"keep"})
"""Budget keys that a filter, which has no budget, may have as an option: ``keep`` selects one of several duplicates."""


def is_filter(plugin: Plugin) -> bool:
    """Return whether a plugin is a selector without a budget."""
    return plugin.kind == "selector" and not plugin.traits.budgeted


def driver_fields(section: EntrySection, plugin: Plugin | None = None) -> tuple[Field, ...]:
    """Return the keys that entries of a section have in addition to the options of their plugin."""
    options = {field.name for field in fields(plugin.cls)} if plugin and is_filter(plugin) else set()
    return tuple(field for field in _driver_fields(section) if field.name not in options & FILTER_KEYS)


def _driver_fields(section: EntrySection) -> tuple[Field, ...]:
    keys: list[Field] = [USE_FIELD]
    for one in fields(section.cls):
        if one.name == "name" and section.is_list:
            keys.append(replace(one, type=NonEmpty | None, required=False))
        elif one.name == "budget":
            keys += fields(Budget)
        elif one.name not in ("name", "spec"):
            keys.append(one)
    return tuple(keys)


def resolve_config(config: RunConfig) -> dict[str, PlainData]:
    """Return the plain data from which ``config`` can be loaded again."""
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
