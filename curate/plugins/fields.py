"""Fields of plugin and configuration dataclasses: name, type, default, and the docstring below each field."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import sys
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import annotated_types as at

from curate.errors import PluginError
from curate.plugins.interfaces import ExecutionOnly, RequiredUnless


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Field of a dataclass, which is a key of the configuration."""

    name: str
    type: object
    """Annotated type, including bounds."""

    required: bool = False
    default: object = None
    """Default value; meaningless for a required field."""

    doc: str = ""
    """Docstring below the field, on one line."""

    @property
    def text(self) -> str:
        """Type as a phrase, such as "a number in [0, 1]"."""
        return describe(self.type)

    @property
    def execution_only(self) -> bool:
        """Whether the field affects only the execution, not the result."""
        return any(isinstance(mark, ExecutionOnly) for mark in iter_marks(self.type))


def fields(cls: type) -> tuple[Field, ...]:
    """Return the fields of a dataclass in order, inherited ones first.

    Raises
    ------
    PluginError : if an annotation refers to a name that does not exist at run time

    Examples
    --------
    >>> @dataclass
    ... class Point:
    ...     x: Annotated[float, at.Ge(0)] = 0.0
    >>> [(field.name, field.text, field.default) for field in fields(Point)]
    [('x', 'a number >= 0', 0.0)]
    """
    return _fields(cls)


def expand_nested(field_list: Iterable[Field]) -> Iterator[Field]:
    """Yield fields; after a list of mappings, also the keys of a mapping, as ``list.*.key``."""
    for field in field_list:
        yield field
        item = nested_dataclass(item_type(field.type, list))
        for inner in fields(item) if item else ():
            yield replace(inner, name=f"{field.name}.*.{inner.name}")


@lru_cache
def _fields(cls: type) -> tuple[Field, ...]:
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            docs |= _docstrings(base)
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise PluginError(
            f"{cls.__name__}: {error} in a field annotation",
            hint="import the name at the top of the file, not under TYPE_CHECKING",
        ) from error
    result = []
    for field in dataclasses.fields(cls):
        if field.init:
            default, doc = _default(field), docs.get(field.name, "")
            required = default is MISSING
            value = None if required else default
            result.append(Field(name=field.name, type=hints[field.name], required=required, default=value, doc=doc))
    return tuple(result)


def _default(field: dataclasses.Field[object]) -> object:
    """Return the default of a field; ``MISSING`` for a required one."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _docstrings(cls: type) -> dict[str, str]:
    """Return the docstring below each field of a class, from its source."""
    parsed = _classes(getattr(sys.modules.get(cls.__module__), "__file__", None) or "").get(cls.__qualname__)
    if parsed is None:  # created at run time or interactively
        try:
            parsed = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        except (OSError, TypeError, SyntaxError):
            return {}
    docs: dict[str, str] = {}
    body = parsed.body if isinstance(parsed, ast.ClassDef) else []
    for statement, following in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
        ):
            text = following.value.value if isinstance(following.value, ast.Constant) else None
            if isinstance(text, str):
                docs[statement.target.id] = " ".join(text.split())
    return docs


@lru_cache
def _classes(file: str) -> dict[str, ast.stmt]:
    """Return the top-level classes of a file, which is parsed once."""
    try:
        parsed = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    return {node.name: node for node in parsed.body if isinstance(node, ast.ClassDef)}


# ---------------------------------------------------------------- types

Mark = TypeVar("Mark")


def split_annotated(annotation: object) -> tuple[object, tuple[object, ...]]:
    """Split a type into its base and its annotations; groups such as ``Interval`` are expanded."""
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    base, *metadata = get_args(annotation)
    result: list[object] = []
    for mark in metadata:
        result += list(mark) if isinstance(mark, at.GroupedMetadata) else [mark]
    return base, tuple(result)


def union_members(annotation: object) -> tuple[object, ...]:
    """Return the alternatives of a union; for any other type, the type itself."""
    base, metadata = split_annotated(annotation)
    if get_origin(base) not in (Union, types.UnionType):
        return (annotation,)
    return tuple(
        Annotated[(member, *metadata)] if metadata and member is not types.NoneType else member
        for member in get_args(base)
    )


def without_null(annotation: object) -> object:
    """Return the type without the alternative null, which is the value of an omitted key."""
    rest = [member for member in union_members(annotation) if split_annotated(member)[0] is not types.NoneType]
    return Union[tuple(rest)] if rest else annotation  # noqa: UP007 - members are only known at run time


def item_type(annotation: object, container: type) -> object:
    """Return the item type of a list (``container=list``) or mapping (``container=dict``); None for any other type."""
    origins = (list, tuple, Sequence) if container is list else (dict, Mapping)
    for member in union_members(annotation):
        base, _ = split_annotated(member)
        if get_origin(base) in origins and get_args(base):
            return get_args(base)[0 if container is list else 1]
    return None


def key_type(annotation: object) -> object:
    """Return the key type of a mapping; None for any other type."""
    for member in union_members(annotation):
        base, _ = split_annotated(member)
        if get_origin(base) in (dict, Mapping) and get_args(base):
            return get_args(base)[0]
    return None


def nested_dataclass(annotation: object) -> type | None:
    """Return the dataclass among the alternatives of a type; None if there is none."""
    for member in union_members(annotation):
        base, _ = split_annotated(member)
        if isinstance(base, type) and dataclasses.is_dataclass(base):
            return base
    return None


def iter_marks(annotation: object) -> Iterator[object]:
    """Yield every annotation of a type and of the types in it."""
    base, metadata = split_annotated(annotation)
    yield from metadata
    for argument in get_args(base) if get_origin(base) is not Literal else ():
        yield from iter_marks(argument)


def required_unless(field: Field) -> str | None:
    """Return the key without which a field is required; None for other fields."""
    return next((mark.key for mark in iter_marks(field.type) if isinstance(mark, RequiredUnless)), None)


def find_marked(
    annotation: object, value: object, kind: type[Mark], path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Mark, str]]:
    """Yield every string in ``value`` whose type has a mark of ``kind``: its path, the mark, and the string.

    Parameters
    ----------
    annotation : annotated type of ``value``
    value : value of a field
    kind : class of the mark
    path : path of ``value``, the prefix of the yielded paths
    """
    if isinstance(value, str):
        for mark in dict.fromkeys(mark for mark in iter_marks(annotation) if isinstance(mark, kind)):
            yield path, mark, value
    elif isinstance(value, list | tuple):
        list_marks = [
            mark for mark in split_annotated(annotation)[1] if isinstance(mark, kind)
        ]  # marks of the list apply to each item
        item_annotation = (
            Annotated[(item_type(annotation, list), *list_marks)] if list_marks else item_type(annotation, list)
        )
        for index, item in enumerate(value):
            yield from find_marked(item_annotation, item, kind, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from find_marked(key_type(annotation), key, kind, (*path, key))
            yield from find_marked(item_type(annotation, dict), item, kind, (*path, key))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in fields(type(value)):
            yield from find_marked(field.type, getattr(value, field.name), kind, (*path, field.name))


# ---------------------------------------------------------------- descriptions

_MAX_KEYS = 8  # keys of a mapping that a message lists
_NOUNS = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    bool: ("true or false", "true or false"),
    types.NoneType: ("null", "null"),
}


def describe(annotation: object, *, plural: bool = False) -> str:
    """Describe a type for people who write YAML.

    Raises
    ------
    PluginError : if YAML cannot represent the type

    Examples
    --------
    >>> describe(Annotated[float, at.Ge(0), at.Lt(1)])
    'a number in [0, 1)'
    >>> describe(Annotated[int, at.Ge(1)] | Literal["auto"])
    "an integer >= 1 or 'auto'"
    >>> describe(tuple[str, ...])
    'a list of strings'
    >>> describe(tuple[Literal["a", "b", "c"], ...])
    "a list of 'a', 'b' or 'c'"
    """
    alternatives = union_members(annotation)
    if len(alternatives) > 1:
        *most, last = [text for member in alternatives for text in _alternatives(member, plural=plural)]
        return f"{', '.join(most)} or {last}"
    base, metadata = split_annotated(annotation)
    if get_origin(base) is Literal:
        values = [format_value(value) for value in get_args(base)]
        if plural:
            return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    shortest = next((mark.min_length for mark in metadata if isinstance(mark, at.MinLen)), 0)
    for container, noun in ((list, "list"), (dict, "mapping")):
        item = item_type(base, container)
        if item is not None:
            name = "non-empty " * (shortest > 0) + noun
            return f"{name}s" * plural + f"a {name}" * (not plural) + f" of {describe(item, plural=True)}"
    nested_class = nested_dataclass(base)
    if nested_class:
        names = [field.name for field in fields(nested_class)]
        keys = ", ".join(names if len(names) <= _MAX_KEYS else [*names[: _MAX_KEYS - 1], "…"])
        return f"mappings with {keys}" if plural else f"a mapping with {keys}"
    if base not in _NOUNS:
        raise PluginError(
            f"a field has type {base}, which YAML cannot represent",
            hint="use bool, int, float, str, None, Literal, tuple[…, ...], dict[str, …], their unions, or a dataclass",
        )
    noun = _NOUNS[base][plural]
    if shortest:
        noun = noun.replace("a string", "a non-empty string") if not plural else f"non-empty {noun}"
    return noun + _bounds(metadata)


def _alternatives(annotation: object, *, plural: bool) -> list[str]:
    base, _ = split_annotated(annotation)
    if get_origin(base) is Literal:
        return [format_value(value) for value in get_args(base)]
    return [describe(annotation, plural=plural)]


def _bounds(metadata: Iterable[object]) -> str:
    low = next(((mark.ge, "[", ">=") for mark in metadata if isinstance(mark, at.Ge)), None) or next(
        ((mark.gt, "(", ">") for mark in metadata if isinstance(mark, at.Gt)), None
    )
    high = next(((mark.le, "]", "<=") for mark in metadata if isinstance(mark, at.Le)), None) or next(
        ((mark.lt, ")", "<") for mark in metadata if isinstance(mark, at.Lt)), None
    )
    if low and high:
        return f" in {low[1]}{low[0]}, {high[0]}{high[1]}"
    return "".join(f" {side[2]} {side[0]}" for side in (low, high) if side)


def format_value(value: object) -> str:
    """Format a value as YAML would; strings are quoted and shortened, lists and mappings are shown by kind only.

    Examples
    --------
    >>> [format_value(value) for value in (True, None, 1.5, "x", [], {"a": 1})]
    ['true', 'null', '1.5', "'x'", 'an empty list', 'a mapping']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:59] + "…")
    if isinstance(value, list | tuple | dict):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(value)]
    return repr(value)
