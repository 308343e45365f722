"""One value, or one object of a dataclass, from plain data; every problem goes to a report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from annotated_types import Le, Lt
from pydantic import TypeAdapter, ValidationError

from curate.config import yaml_positions
from curate.config.issues import IssueCollector, suggest_name
from curate.config.yaml_positions import KeyPath, PlainData
from curate.errors import ConfigError
from curate.plugins.fields import (
    Field,
    describe,
    fields,
    format_value,
    item_type,
    iter_marks,
    nested_dataclass,
    without_null,
)

Values: TypeAlias = dict[str, Any]
"""Validated values by the names of their fields, whose types they have."""

T = TypeVar("T")


@lru_cache
def _adapter(annotation: Any) -> TypeAdapter[object]:
    return TypeAdapter(annotation)


def _locate(annotation: object, value: PlainData, loc: Iterable[int | str]) -> tuple[KeyPath, object, PlainData]:
    """The innermost list item or mapping value that an error is about: its path, type and value.

    ``loc`` also names the alternatives of unions that were tried; those lead nowhere.
    """
    path: KeyPath = ()
    for step in loc:
        if isinstance(value, list) and isinstance(step, int) and (inner := item_type(annotation, list)):
            annotation, value, path = inner, value[step], (*path, step)
        elif isinstance(value, dict) and step in value and (inner := item_type(annotation, dict)):
            annotation, value, path = inner, value[str(step)], (*path, step)
    return path, annotation, value


MAX_NUMBER = 2**63 - 1
"""Largest number, up to its sign, of a field without a bound of its own: what a library takes for an integer."""


def _is_bounded(annotation: object) -> bool:
    return any(isinstance(mark, Le | Lt) for mark in iter_marks(annotation))


def _beyond(value: PlainData) -> int | float | None:
    """Return a number in a value that is larger than any field means."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return next((found for found in map(_beyond, inner) if found is not None), None)
    if isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        return value
    return None


def _is_plain_mapping(annotation: object, inner: type, value: Mapping[str, PlainData]) -> bool:
    """Return whether a value, of a type that is a mapping or a dataclass, has no key of the dataclass."""
    return item_type(annotation, dict) is not None and value.keys().isdisjoint(field.name for field in fields(inner))


class Validator:
    """Validator of values and objects, whose results count only if ``report`` has no problem."""

    def __init__(self, report: IssueCollector) -> None:
        self.report = report

    def value(self, annotation: object, value: PlainData, path: KeyPath) -> Any:
        """One value, in the type that its field has."""
        inner = nested_dataclass(annotation)
        if inner and isinstance(value, dict) and not _is_plain_mapping(annotation, inner, value):
            return self.object(inner, value, path)
        item = item_type(annotation, list)
        if value and isinstance(value, list) and nested_dataclass(item):
            return tuple(self.value(item, each, (*path, index)) for index, each in enumerate(value))
        try:
            valid = _adapter(annotation).validate_json(json.dumps(value), strict=True)
            if not _is_bounded(annotation) and (beyond := _beyond(value)) is not None:
                self.report.add(path, f"must be at most {MAX_NUMBER:,}; got {format_value(beyond)}")
            return valid
        except ValidationError as error:
            wrong = {at: rest for at, *rest in (_locate(annotation, value, each["loc"]) for each in error.errors())}
            for at, (wanted, got) in wrong.items():
                if not any(other != at and other[: len(at)] == at for other in wrong):
                    hint = "remove the quotes" if isinstance(got, str) and self._fits_unquoted(wanted, got) else ""
                    self.report.add(
                        (*path, *at), f"must be {describe(without_null(wanted))}; got {format_value(got)}", hint
                    )
            return None

    def _fits_unquoted(self, annotation: object, text: str) -> bool:
        try:
            bare = yaml_positions.parse_yaml(text, "").data
            _adapter(annotation).validate_json(json.dumps(bare), strict=True)
        except (ConfigError, ValidationError):
            return False
        return not isinstance(bare, str | list | dict | None)

    def values(self, known: Sequence[Field], data: Mapping[str, PlainData], path: KeyPath) -> Values:
        """The values of the fields that ``data`` has; complains of those that it lacks."""
        found: Values = {}
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

    def unknown(self, known: Iterable[str], keys: Iterable[str], path: KeyPath) -> None:
        names = list(known)
        for key in keys:
            if key not in names:
                self.report.add((*path, key), "unknown key", suggest_name(key, names))

    def object(self, cls: type[T], data: PlainData, path: KeyPath) -> T | None:
        """An object of a dataclass whose fields are the keys."""
        if not isinstance(data, dict):
            self.report.add(path, f"must be a mapping; got {format_value(data)}")
            return None
        self.unknown([field.name for field in fields(cls)], data, path)
        return self.build(cls, self.values(fields(cls), data, path), path)

    def build(self, cls: type[T], values: Values, path: KeyPath) -> T | None:
        """The object, if its values are right; else what ``__post_init__`` says, at the key its message begins with."""
        if self.report.has_issue(path):
            return None
        try:
            return cls(**values)
        except ValueError as error:
            key, colon, message = str(error).partition(": ")
            named = bool(colon) and any(field.name == key for field in fields(cls))
            self.report.add((*path, key) if named else path, message if named else str(error))
            return None
