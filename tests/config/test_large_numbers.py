"""Tests that every number of a configuration has an upper bound, so that none can exhaust memory or time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args, get_origin

import annotated_types as at
import pytest

from curate.config import model
from curate.config.budget import Budget
from curate.config.issues import IssueCollector
from curate.config.validator import MAX_NUMBER, Validator
from curate.config.yaml_positions import parse_yaml
from curate.plugins import registry
from curate.plugins.fields import Field, fields, split_annotated, union_members

pytestmark = pytest.mark.slow

CONFIG = (
    *(model.InputConfig, model.GuardConfig, model.RefreshConfig, model.DecontaminateConfig, model.EvaluateConfig),
    *(model.Temperature, model.ExportConfig, model.RunConfig, Budget),
)
LARGE = ("1e9", "1e15", "1e18", "1e30", "1e300", str(2**63), "9" * 400)


def classes() -> Iterator[type]:
    yield from CONFIG
    for kind in get_args(registry.Kind):
        yield from (registry.get(kind, name).cls for name in registry.names(kind))


def numbers(annotation: object) -> Iterator[tuple[type, tuple[object, ...]]]:
    for member in union_members(annotation):
        base, found = split_annotated(member)
        if base in (int, float):
            yield base, found
        elif get_origin(base) in (list, tuple, dict):
            for inner in get_args(base):
                yield from () if inner is Ellipsis else numbers(inner)


FIELDS = [(cls, field) for cls in classes() for field in fields(cls) if any(numbers(field.type))]

LOOPS = {"epochs", "seeds", "runs", "resamplings", "max_iterations", "starts", "patience", "directions", "hidden"}
"""Fields that say how often something is repeated, or how large an array is, whatever the size of the pool."""


def read(field: Field, text: str) -> tuple[object, IssueCollector]:
    document = parse_yaml(f"x: {text}", "x.yaml")
    report = IssueCollector("x.yaml", document)
    return Validator(report).value(field.type, document.data["x"], ("x",)), report


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=lambda one: getattr(one, "name", getattr(one, "__name__", "")))
def test_a_number_beyond_every_bound_is_an_error(cls, field):
    for text in LARGE:
        value, report = read(field, text)
        within = isinstance(value, int | float) and value <= MAX_NUMBER
        bounded = any(isinstance(mark, at.Le | at.Lt) for _, found in numbers(field.type) for mark in found)
        assert within or bounded or report.has_issue(("x",)), (text, value)


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=lambda one: getattr(one, "name", getattr(one, "__name__", "")))
def test_repeated_definitions_have_their_own_bounds(cls, field):
    if field.name in LOOPS:
        for base, found in numbers(field.type):
            assert base is float or any(isinstance(mark, at.Le | at.Lt) for mark in found), (cls, field.name)
