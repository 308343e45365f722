"""Fields describe themselves: bounds, units, choices and defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt, MinLen

from curate.errors import PluginError
from curate.plugins.fields import describe, fields, find_marked, format_value, without_null
from curate.plugins.interfaces import ConfigReference, ExecutionOnly, ScoreName


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The one that is inherited from."""

    first: int
    """It stands first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing(Base):
    """A thing."""

    constant: ClassVar[int] = 3
    second: Annotated[float, Ge(0), ExecutionOnly()] = 0.5
    """It stands second,
    on two lines."""

    third: tuple[str, ...] = field(default_factory=tuple)


def test_fields_come_in_order_with_their_docstrings_and_defaults() -> None:
    message = [(one.name, one.text, one.required, one.default, one.doc) for one in fields(Thing)]
    assert message == [
        ("first", "an integer", True, None, "It stands first."),
        ("second", "a number >= 0", False, 0.5, "It stands second, on two lines."),
        ("third", "a list of strings", False, (), ""),
    ]
    assert [one.execution_only for one in fields(Thing)] == [False, True, False]


TYPES: list[tuple[Any, str]] = [
    (bool, "true or false"),
    (Annotated[float, Ge(0), Le(1)], "a number in [0, 1]"),
    (Annotated[float, Gt(0), Lt(1)], "a number in (0, 1)"),
    (Annotated[float, Interval(ge=0, lt=1)], "a number in [0, 1)"),
    (Annotated[int, Le(4)], "an integer <= 4"),
    (Annotated[int, Lt(4)], "an integer < 4"),
    (Annotated[int, Gt(4)], "an integer > 4"),
    (Literal["a", "b"], "one of 'a', 'b'"),
    (Literal["a"], "'a'"),
    (Annotated[int, Ge(1)] | Literal["auto", "all"] | None, "an integer >= 1, 'auto', 'all' or null"),
    (Annotated[int | None, Ge(1)], "an integer >= 1 or null"),
    (Annotated[str, MinLen(1)], "a non-empty string"),
    (Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)], "a non-empty list of integers >= 1"),
    (dict[str, float], "a mapping of numbers"),
    (list[list[bool]], "a list of lists of true or false"),
    (Base | None, "a mapping with first or null"),
    (ScoreName, "a string"),
]


@pytest.mark.parametrize(("annotation", "words"), TYPES, ids=[words for _, words in TYPES])
def test_a_type_in_words(annotation: Any, words: str) -> None:
    assert describe(annotation) == words


def test_a_type_that_yaml_cannot_write_is_refused() -> None:
    with pytest.raises(PluginError, match="which YAML cannot represent"):
        describe(Path)


def test_null_is_left_out_but_not_alone() -> None:
    assert describe(without_null(Annotated[int, Ge(1)] | None)) == "an integer >= 1"
    assert describe(without_null(type(None))) == "null"


def test_an_annotation_that_exists_only_for_type_checkers_is_refused() -> None:
    broken = dataclass(type("Broken", (), {"__annotations__": {"x": "Missing"}, "__module__": __name__}))
    with pytest.raises(PluginError, match="name 'Missing' is not defined"):
        fields(broken)


def test_every_name_that_refers_to_a_score_is_found() -> None:
    result = find_marked(tuple[ScoreName, ...] | None, ["a", "b"], ConfigReference)
    assert [(path, mark.target, name) for path, mark, name in result] == [((0,), "score", "a"), ((1,), "score", "b")]
    assert [path for path, _, _ in find_marked(dict[str, ScoreName], {"k": "a"}, ConfigReference)] == [("k",)]
    assert list(find_marked(str, "a", ConfigReference)) == []
    assert list(find_marked(ScoreName | None, None, ConfigReference)) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [(False, "false"), (0.1, "0.1"), ("it's", '"it\'s"'), ("x" * 70, "'" + "x" * 59 + "…'"), ({}, "an empty mapping")],
)
def test_a_value_is_shown_as_yaml_has_it(value: Any, shown: str) -> None:
    assert format_value(value) == shown
