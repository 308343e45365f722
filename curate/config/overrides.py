"""Overrides (``--set KEY=VALUE``), which set a value in the data of a configuration before it is validated."""

from __future__ import annotations

from curate.config import yaml_positions
from curate.config.issues import IssueCollector, Location, format_path
from curate.config.yaml_positions import KeyPath, PlainData
from curate.errors import ConfigError
from curate.paths import hide_secrets
from curate.plugins.fields import format_value


def override_location(override: str, number: int) -> Location:
    """Return the location of an override, the ``number``-th on the command line, from 0."""
    return Location(1 << 31, number, f"--set {hide_secrets(override)}", override=True)


def apply_override(override: str, location: Location, data: dict[str, PlainData], report: IssueCollector) -> None:
    """Set one value in ``data``.

    KEY is a path such as ``select.2.prune_rate``. List positions count from 0; an entry may also be addressed by its
    name (``select.ccs.prune_rate``). Missing sections on the path are created. VALUE is YAML.
    """
    key, equals, value = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        report.add((), "write KEY=VALUE", "for example: --set select.0.keep_rate=0.1", location)
        return
    try:
        document = yaml_positions.parse_yaml(value, location.text) if value.strip() else yaml_positions.Document(None)
    except ConfigError as error:
        report.add((), error.message, error.hint, location)
        return
    path = _put(data, steps, document.data, location, report)
    if path is None:
        return
    report.override(path, location)
    for fault in document.faults:
        report.add((*path, *fault.path), fault.message, fault.hint, location)


def _put(
    data: dict[str, PlainData], steps: list[str], value: PlainData, location: Location, report: IssueCollector
) -> KeyPath | None:
    """Set ``value`` at the end of ``steps``, and return its path; None if the path cannot exist."""
    node: PlainData = data
    path: KeyPath = ()
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        if isinstance(node, dict):
            path = (*path, step)
            if last:
                node[step] = value
            elif node.get(step) is None:
                node[step] = {}
            node = node[step]
        elif isinstance(node, list):
            position = _position(node, step, path, location, report)
            if position is None:
                return None
            path = (*path, position)
            if last:
                node[position] = value
            node = node[position]
        else:
            report.add((), f"{format_path(path)} is {format_value(node)}, which has no keys to set", "", location)
            return None
    return path


def _position(
    entries: list[PlainData], step: str, path: KeyPath, location: Location, report: IssueCollector
) -> int | None:
    """Return the position in a list that a number, or the name of an entry, refers to."""
    if step.isdecimal():
        if int(step) < len(entries):
            return int(step)
        count = f"{len(entries)} entries, 0 to {len(entries) - 1}" if len(entries) > 1 else f"{len(entries)} entry"
        report.add((), f"{format_path(path)} has {count}", "", location)
        return None
    matches = [
        index
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and step == (entry.get("name") or entry.get("use"))
    ]
    if len(matches) == 1:
        return matches[0]
    number = "more than one entry" if matches else "no entry"
    report.add((), f"{format_path(path)} has {number} called {step!r}", "use its position, from 0", location)
    return None
