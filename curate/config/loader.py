"""A configuration, from a YAML file or a dict, to a frozen ``RunConfig``, or to every error in it at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from curate.config import cross_checks, entries, yaml_positions
from curate.config import overrides as sets
from curate.config.budget import Budget
from curate.config.issues import Report, nearest
from curate.config.model import (
    TOP_KEYS,
    ClusterEntry,
    DecontaminateConfig,
    EmbedEntry,
    Entry,
    EvaluateConfig,
    ExportConfig,
    GuardConfig,
    InputConfig,
    MetricEntry,
    ProxyEntry,
    RefreshConfig,
    RunConfig,
    ScoreEntry,
    SelectEntry,
    Temperature,
    bytes_of,
    resolved,
)
from curate.config.yaml_positions import KeyPath
from curate.errors import ConfigError, PluginError
from curate.paths import REFUSED, has_secret
from curate.plugins.fields import Field, describe, fields, item_type, nested, not_null, show
from curate.plugins.registry import Local, Plugin

__all__ = [
    "Budget", "ClusterEntry", "DecontaminateConfig", "EmbedEntry", "Entry", "EvaluateConfig", "ExportConfig",
    "GuardConfig", "InputConfig", "MetricEntry", "ProxyEntry", "RefreshConfig", "RunConfig", "ScoreEntry",
    "SelectEntry", "Temperature", "from_data", "load",
]  # fmt: skip

_DEFAULTS: Mapping[str, Any] = {
    "embed": {"use": "lsa"},
    "cluster": {"use": "kmeans"},
    "proxy": None,
    "score": [],
    "select": [],
    "export": {"use": "parquet"},
    "metrics": [],
}


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a YAML file.

    Parameters
    ----------
    path : the file
    overrides : ``KEY=VALUE`` each, as ``--set`` takes them: ``select.2.prune_rate=0.9``

    Raises
    ------
    ConfigErrors : everything that is wrong with it, one a line, in the order of the file
    PluginError : if a plugin that it uses cannot be imported
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {error.object[error.start]:#04x}"
        raise ConfigError(f"not UTF-8 text: {byte}", where=str(path)) from error
    return _run_config(yaml_positions.parse(text, str(path)), str(path), overrides)


def from_data(data: Mapping[str, Any], overrides: Sequence[str] = (), source: str = "<dict>") -> RunConfig:
    """The configuration in a dict, as a notebook writes it; raises what ``load`` raises, naming the ``source``."""
    return _run_config(yaml_positions.plain(data), source, overrides)


def selector_from(data: Mapping[str, Any], scores: Sequence[str] = ()) -> tuple[Plugin, Any, Budget | None]:
    """One selector as an entry of the select section describes it, for use without a configuration.

    Parameters
    ----------
    data : ``use``, a budget unless it is a filter, and the selector's own fields
    scores : the names of the scores that its fields may refer to

    Returns
    -------
    plugin : what was declared of it
    selector : the plugin object
    budget : None for a filter

    Raises
    ------
    ConfigErrors : everything that is wrong with it
    """
    report = Report("select", yaml_positions.plain(data))
    draft = entries.alone("select", dict(data), Reader(report))
    budget = cross_checks.alone(draft, scores, report)
    report.raise_if_any()
    return draft.plugin, draft.built, budget  # type: ignore[return-value] # a report without errors has both


def _run_config(document: yaml_positions.Document, source: str, overrides: Sequence[str]) -> RunConfig:
    report = Report(source, document)
    data = document.data
    if not isinstance(data, dict):
        report.add((), f"must be a mapping of sections; got {show(data)}", "begin with the line 'curate: 1'")
        report.raise_if_any()
    for number, override in enumerate(overrides):
        sets.apply(override, number, data, report)
    values = Reader(report).top(data)
    report.raise_if_any()
    config = RunConfig(source=source, **values)
    return replace(config, resolved=resolved(config))


# ---------------------------------------------------------------- one value


@lru_cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _locate(annotation: Any, value: Any, loc: Iterable[int | str]) -> tuple[KeyPath, Any, Any]:
    """The innermost list item or mapping value that an error is about: its path, type and value.

    ``loc`` also names the alternatives of unions that were tried; those lead nowhere.
    """
    path: KeyPath = ()
    for step in loc:
        there = (isinstance(value, list) and isinstance(step, int)) or (isinstance(value, dict) and step in value)
        inner = item_type(annotation, type(value)) if there else None
        if inner is not None:
            annotation, value, path = inner, value[step], (*path, step)
    return path, annotation, value


class Reader:
    """Validates sections, telling ``report`` of every problem; what it returns counts only if there was none."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.local: tuple[Local, ...] = ()

    def value(self, annotation: Any, value: Any, path: KeyPath) -> Any:
        """One value, in the type that its field has."""
        inner = nested(annotation)
        if inner and isinstance(value, dict):
            return self.object(inner, value, path)
        item = item_type(annotation, list)
        if value and isinstance(value, list) and nested(item):
            return tuple(self.value(item, each, (*path, index)) for index, each in enumerate(value))
        try:
            return _adapter(annotation).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            wrong = {at: rest for at, *rest in (_locate(annotation, value, each["loc"]) for each in error.errors())}
            for at, (wanted, got) in wrong.items():
                if not any(other != at and other[: len(at)] == at for other in wrong):
                    hint = "remove the quotes" if isinstance(got, str) and self._fits_unquoted(wanted, got) else ""
                    self.report.add((*path, *at), f"must be {describe(not_null(wanted))}; got {show(got)}", hint)
            return None

    def _fits_unquoted(self, annotation: Any, text: str) -> bool:
        try:
            bare = yaml_positions.parse(text, "").data
            _adapter(annotation).validate_json(json.dumps(bare), strict=True)
        except (ConfigError, ValidationError):
            return False
        return not isinstance(bare, str | list | dict | None)

    def values(self, known: Sequence[Field], data: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        """The values of the fields that ``data`` has; complains of those that it lacks."""
        found: dict[str, Any] = {}
        for field in known:
            if field.name in data:
                found[field.name] = self.value(field.type, data[field.name], (*path, field.name))
            elif field.required:
                self.missing(field, path)
        return found

    def missing(self, field: Field, path: KeyPath) -> None:
        doc = field.doc.rstrip(".")
        if doc[1:2].islower() or doc[1:2] == " ":
            doc = doc[0].lower() + doc[1:]
        self.report.add((*path, field.name), "missing", doc or f"it must be {field.text}")

    def unknown(self, known: Iterable[str], data: Mapping[str, Any], path: KeyPath) -> None:
        names = list(known)
        for key in data:
            if key not in names:
                self.report.add((*path, key), "unknown key", nearest(key, names))

    def object(self, cls: type, data: Any, path: KeyPath) -> Any:
        """An object of a dataclass whose fields are the keys."""
        if not isinstance(data, dict):
            self.report.add(path, f"must be a mapping; got {show(data)}")
            return None
        self.unknown([field.name for field in fields(cls)], data, path)
        return self.build(cls, self.values(fields(cls), data, path), path)

    def build(self, cls: type, values: dict[str, Any], path: KeyPath) -> Any:
        """The object, if its values are right; else what ``__post_init__`` says, at the key its message begins with."""
        if self.report.blames(path):
            return None
        try:
            return cls(**values)
        except ValueError as error:
            key, colon, message = str(error).partition(": ")
            named = bool(colon) and any(field.name == key for field in fields(cls))
            self.report.add((*path, key) if named else path, message if named else str(error))
            return None

    # ------------------------------------------------------------ sections

    def top(self, data: dict[str, Any]) -> dict[str, Any]:
        """The fields of ``RunConfig``."""
        self.unknown(TOP_KEYS, data, ())
        top = {field.name: field for field in fields(RunConfig)}
        self._version(data)
        found = self.values([top["run"], top["seed"]], data, ())
        if has_secret(found.get("run") or ""):
            self.report.add(("run",), REFUSED)
        if "memory_limit" in data:
            found["memory_limit"] = self.size(top["memory_limit"], data["memory_limit"])
        found["plugins"] = self.local = self.own_plugins(data.get("plugins", []))
        objects = {
            "input": InputConfig,
            "decontaminate": DecontaminateConfig,
            "guard": GuardConfig,
            "refresh": RefreshConfig,
            "evaluate": EvaluateConfig,
        }
        for name, cls in objects.items():
            if name in data:
                found[name] = self.object(cls, data[name], (name,))
            elif top[name].required:
                self.missing(top[name], ())
        if "select" not in data:
            self.missing(top["select"], ())
        drafts = {
            name: [] if default is None and name not in data else entries.drafts(name, data.get(name, default), self)
            for name, default in _DEFAULTS.items()
        }
        cross_checks.epoch_plans(drafts["select"], found.get("refresh"), self.report)
        if "decontaminate" in data:
            cross_checks.decontamination(drafts, found["decontaminate"], self.report)
        return {**found, "curate": 1, **cross_checks.entries(drafts, data.get("input"), self.report)}

    def _version(self, data: dict[str, Any]) -> None:
        hint = "this release reads version 1"
        if "curate" in data:
            if show(data["curate"]) != "1":  # neither true nor 1.0
                self.report.add(("curate",), f"must be 1, the version of the format; got {show(data['curate'])}", hint)
        else:
            self.report.add(("curate",), "missing", f"add the line 'curate: 1', the version of the format; {hint}")

    def size(self, field: Field, value: Any) -> Any:
        count = bytes_of(value) if isinstance(value, str) else value
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            message = f"must be a number of bytes >= 1, or a size such as '8GiB'; got {show(value)}"
            self.report.add((field.name,), message)
        return count

    def own_plugins(self, data: Any) -> tuple[Local, ...]:
        found: list[Local] = []
        for index, name in enumerate(self.value(tuple[str, ...], data, ("plugins",)) or ()):
            try:
                found.append(Local.of(Path(name)))
            except PluginError as error:
                self.report.add(("plugins", index), error.message, "paths are relative to the current folder")
        return tuple(found)
