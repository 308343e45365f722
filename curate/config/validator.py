"""Validator that converts plain data to values and dataclass objects, and collects all issues."""

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
    required_unless,
    without_null,
)

Values: TypeAlias = dict[str, Any]
"""Validated values by field name."""

T = TypeVar("T")


@lru_cache
def _adapter(annotation: Any) -> TypeAdapter[object]:
    return TypeAdapter(annotation)


def _locate(annotation: object, value: PlainData, loc: Iterable[int | str]) -> tuple[KeyPath, object, PlainData]:
    """Return the path, type and value of the innermost list item or mapping value that an error refers to.

    ``loc`` also contains the names of union members that pydantic tried; they are skipped.
    """
    path: KeyPath = ()
    for step in loc:
        if isinstance(value, list) and isinstance(step, int) and (inner := item_type(annotation, list)):
            annotation, value, path = inner, value[step], (*path, step)
        elif isinstance(value, dict) and step in value and (inner := item_type(annotation, dict)):
            annotation, value, path = inner, value[str(step)], (*path, step)
    return path, annotation, value


MAX_NUMBER = 2**63 - 1
"""Largest absolute value of a field without bounds, which is what libraries accept as an integer."""


def _is_bounded(annotation: object) -> bool:
    return any(isinstance(mark, Le | Lt) for mark in iter_marks(annotation))


def _beyond(value: PlainData) -> int | float | None:
    """Return a number in a value that exceeds ``MAX_NUMBER``; None if there is none."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return next((number for number in map(_beyond, inner) if number is not None), None)
    if isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        return value
    return None


def _is_plain_mapping(annotation: object, inner: type, value: Mapping[str, PlainData]) -> bool:
    """Return whether a value, whose type is a mapping or a dataclass, has no key of the dataclass."""
    return item_type(annotation, dict) is not None and value.keys().isdisjoint(field.name for field in fields(inner))


class Validator:
    """Validator of values and objects; its results are valid only if ``report`` has no issue."""

    def __init__(self, report: IssueCollector) -> None:
        self.report = report

    def value(self, annotation: object, value: PlainData, path: KeyPath) -> Any:
        """Validate one value, and return it in the type of its field."""
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
            for at, (expected, got) in wrong.items():
                if not any(other != at and other[: len(at)] == at for other in wrong):
                    hint = "remove the quotes" if isinstance(got, str) and self._fits_unquoted(expected, got) else ""
                    self.report.add(
                        (*path, *at), f"must be {describe(without_null(expected))}; got {format_value(got)}", hint
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
        """Validate the fields that are in ``data``, and report the required fields that are missing."""
        values: Values = {}
        for field in known:
            if field.name in data:
                values[field.name] = self.value(field.type, data[field.name], (*path, field.name))
            elif field.required:
                self.missing(field, path)
            if (other := required_unless(field)) and data.get(field.name) is None and data.get(other) is None:
                self.missing(field, path)
        return values

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
        """Validate a mapping, and return it as an object of a dataclass."""
        if not isinstance(data, dict):
            self.report.add(path, f"must be a mapping; got {format_value(data)}")
            return None
        self.unknown([field.name for field in fields(cls)], data, path)
        return self.build(cls, self.values(fields(cls), data, path), path)

    def build(self, cls: type[T], values: Values, path: KeyPath) -> T | None:
        """Build an object, and report an error of ``__post_init__`` at the key with which its message begins."""
        if self.report.has_issue(path):
            return None
        try:
            return cls(**values)
        except ValueError as error:
            key, colon, message = str(error).partition(": ")
            has_key = bool(colon) and any(field.name == key for field in fields(cls))
            self.report.add((*path, key) if has_key else path, message if has_key else str(error))
            return None
