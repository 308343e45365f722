"""Parser of the entries of a section, which validates the common keys and the options of the plugin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate.config.issues import IssueCollector, suggest_name
from curate.config.sections import BUDGET_KEYS, FILTER_KEYS, EntrySection, driver_fields, is_filter
from curate.config.validator import Validator, Values
from curate.config.yaml_positions import KeyPath, PlainData
from curate.errors import PluginError
from curate.plugins import registry
from curate.plugins.fields import fields, format_value
from curate.plugins.kinds import KINDS
from curate.plugins.registry import LocalPlugin, Plugin, PluginSpec

RESERVED = frozenset({"use", "name", *BUDGET_KEYS, "at_most", "within", "quota", "quality"})
"""Names that no plugin may use for an option, whatever its kind, except that a filter may have ``keep``."""

MAX_NAME_LENGTH = 255
"""Maximum number of characters in the name of a directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Entry as written, in which each key is valid on its own."""

    section: str
    path: KeyPath
    name: str
    """Name of the entry; "" if it cannot be determined."""

    plugin: Plugin | None
    """Plugin of the entry; None if its name is unknown."""

    instance: object
    """Instance of the plugin; None if an option is wrong."""

    keys: Values
    """Values of the common keys that are present and not null."""

    data: Mapping[str, PlainData]
    """Plain data of the entry."""

    spec: PluginSpec | None


def parse_entries(
    section: EntrySection, data: PlainData, local: tuple[LocalPlugin, ...], validator: Validator
) -> list[Draft]:
    """Parse the entries of a section; issues go to the collector of the validator."""
    path: KeyPath = (section.name,)
    if not section.is_list or (section.allows_single and isinstance(data, dict)):
        return _draft(section, data, path, local, validator)
    if not isinstance(data, list):
        hint = "begin each entry with '- '" if isinstance(data, dict) else ""
        validator.report.add(path, f"must be {section.type_name}; got {format_value(data)}", hint)
        return []
    if not data and not section.may_be_empty:
        validator.report.add(path, "must have at least one entry")
    return [
        draft for index, entry in enumerate(data) for draft in _draft(section, entry, (*path, index), local, validator)
    ]


def parse_entry(section: EntrySection, data: PlainData, validator: Validator) -> Draft:
    """Parse one entry outside of a configuration, with its keys at the top level."""
    return _draft(section, data, (), (), validator)[0]


def _draft(
    section: EntrySection, data: PlainData, path: KeyPath, local: tuple[LocalPlugin, ...], validator: Validator
) -> list[Draft]:
    report = validator.report
    if not isinstance(data, dict):
        hint = f"write {{use: {data}}}" if isinstance(data, str) else ""
        report.add(path, f"must be a mapping; got {format_value(data)}", hint)
        return []
    use = data.get("use")
    plugin = _plugin(section, use, (*path, "use"), local, report) if isinstance(use, str) and use else None
    driver = driver_fields(section, plugin)
    keys = {key: value for key, value in validator.values(driver, data, path).items() if value is not None}
    names = registry.names(section.kind, local)
    name = _name(section, data, path, names, report)
    built, spec = None, None
    if plugin is not None:
        options = fields(plugin.cls)
        _refuse_reserved({*RESERVED, *(field.name for field in driver)}, plugin)
        known = [field.name for field in (*driver, *options)]
        if not plugin.traits.budgeted:
            budget = [key for key in (*BUDGET_KEYS, "at_most") if key not in {field.name for field in options}]
            known = [key for key in known if key not in budget]
            for key in [key for key in budget if key in keys]:
                message = f"the filter {plugin.name!r} takes no budget"
                report.add((*path, key), message, "remove the key")
        validator.unknown(known, [key for key in data if key not in (*BUDGET_KEYS, "at_most") or key in known], path)
        built = validator.build(plugin.cls, validator.values(options, data, path), path)
        if built is not None:
            files = tuple(file for file in local if file.path == plugin.origin)
            spec = registry.make_spec(built, plugin.name, files)
    return [
        Draft(
            section=section.name, path=path, name=name, plugin=plugin, instance=built, keys=keys, data=data, spec=spec
        )
    ]


def _plugin(
    section: EntrySection, use: str, path: KeyPath, local: tuple[LocalPlugin, ...], report: IssueCollector
) -> Plugin | None:
    """Return the plugin that ``use`` names, None if it is unknown; raise an error if it cannot be imported."""
    names = registry.names(section.kind, local)
    if use in names:
        return registry.get(section.kind, use, local)
    others = [other for other in KINDS if use in registry.names(other, local)]
    article = "an" if others and others[0][0] == "e" else "a"
    hint = f"this is the name of {article} {others[0]}" if others else suggest_name(use, names)
    report.add(path, f"unknown {section.kind} {use!r}", hint)
    return None


def _name(
    section: EntrySection, data: Mapping[str, PlainData], path: KeyPath, names: Sequence[str], report: IssueCollector
) -> str:
    key = "name" if section.is_list and data.get("name") is not None else "use"
    name = data.get(key)
    if not isinstance(name, str) or not name:
        return ""
    if section.is_list and len(name) > MAX_NAME_LENGTH:
        report.add(
            (*path, key),
            f"must have at most {MAX_NAME_LENGTH} characters, because it names a directory; got {len(name)}",
        )
    elif section.is_list and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        message = (
            f"must contain only letters, digits and underscores, and not begin with a digit; got {format_value(name)}"
        )
        if key == "name":
            report.add((*path, key), message)
        elif name in names:
            hint = "choose another name for the entry with the key 'name'"
            report.add(path, f"{name!r} cannot be the name of an entry", hint)
    return name


def _refuse_reserved(taken: set[str], plugin: Plugin) -> None:
    if is_filter(plugin):
        taken = taken - FILTER_KEYS
    clash = [field.name for field in fields(plugin.cls) if field.name in taken]
    if clash:
        raise PluginError(
            f"{plugin.kind} {plugin.name!r} must not have an option called {clash[0]!r}: every entry has that key",
            where=plugin.origin,
            hint="rename the option",
        )
