"""YAML 1.2 to plain data, with the line and column of every key; and plain data back to YAML 1.2."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from curate.errors import ConfigError, escape_controls

PlainData: TypeAlias = "bool | int | float | str | list[PlainData] | dict[str, PlainData] | None"
"""Plain data, as JSON has it."""

KeyPath = tuple[str | int, ...]
"""Keys and list positions (from 0) that lead to a value."""

Position = tuple[int, int]
"""Line and column, from 1."""

_CORE = "tag:yaml.org,2002:"
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
_MOST_VALUES = 100_000  # aliases of aliases multiply; no configuration comes near
_MOST_DIGITS = 100
_NUL = "must not hold the character U+0000, which no file's name may"


class _Resolver:
    """The core schema of YAML 1.2; PyYAML's own is 1.1, where `no` is false, `12:30` is 750 and `1e-3` is a string."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {  # noqa: RUF012 - its type is given
        first if first != "\0" else "": [
            (_CORE + tag, re.compile(f"(?:{pattern})\\Z")) for tag, pattern, starts in _RESOLVERS if first in starts
        ]
        for first in sorted({character for _, _, starts in _RESOLVERS for character in starts})
    }


class _Loader(_Resolver, yaml.SafeLoader):
    pass


class _Dumper(_Resolver, yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """A string, in double quotes if it holds a line break that only YAML 1.1 knows: PyYAML folds those into spaces."""
    style = '"' if any(character in text for character in "\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar(f"{_CORE}str", text, style=style)


_Dumper.add_representer(str, _text)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a document that is YAML, but not a configuration."""

    path: KeyPath
    message: str
    hint: str = ""
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data (mappings with string keys, lists, strings, finite numbers, booleans, null) and where it stood."""

    data: PlainData
    locations: dict[KeyPath, Position] = field(default_factory=dict)
    """Where each key, list item, and the document itself (the empty path) begins."""

    faults: list[Fault] = field(default_factory=list)


def parse_yaml(text: str, source: str) -> Document:
    r"""Read one YAML document; ``source`` names it in errors.

    Keys that are given twice, keys that are not strings and numbers that are not finite are left to ``faults``, so that
    they can be reported together with everything else.

    Raises
    ------
    ConfigError : if it is empty, not YAML, or several documents

    >>> document = parse_yaml("a: 1e-3\nb: [no, 010]", "x.yaml")
    >>> document.data, document.locations[("b", 1)]
    ({'a': 0.001, 'b': ['no', 10]}, (2, 9))
    """
    try:
        loader = _Loader(text)
        root = loader.get_node() if loader.check_node() else None
        if root is None:
            raise ConfigError("the file is empty", where=source, hint="begin with the line 'curate: 1'")
        second = loader.get_node() if loader.check_node() else None
        if second is not None:
            line, column = _position(second)
            raise ConfigError(
                "a second YAML document begins here", where=f"{source}:{line}:{column}", hint="one file, one document"
            )
        document = Document(None)
        data = _Builder(document).build(root, ())
        return Document(data, document.locations, document.faults)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, source) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        raise ConfigError(
            f"not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed",
            where=f"{source}:{line}:{column}",
        ) from error
    except RecursionError as error:
        raise ConfigError("nested too deeply", where=source) from error


def _syntax_error(error: yaml.MarkedYAMLError, source: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    message = f"not valid YAML: {error.problem or error.context}"
    if error.context and error.problem and error.context_mark:
        message += f", {error.context} that begins at {error.context_mark.line + 1}:{error.context_mark.column + 1}"
    hint = "indent with spaces, not tabs" if "'\\t'" in message else ""
    where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
    return ConfigError(message, where=where, hint=hint)


def _position(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Builder:
    """Turns YAML nodes into data, noting places and faults as it goes."""

    def __init__(self, document: Document) -> None:
        self.locations, self.faults = document.locations, document.faults
        self.values = 0
        self.open: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> PlainData:
        self.locations.setdefault(path, _position(node))
        self.values += 1
        if self.values > _MOST_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"its aliases make it more than {_MOST_VALUES:,} values", problem_mark=node.start_mark
            )
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if id(node) in self.open:
            self.fault(path, "refers to itself")
            return None
        if node.tag not in (f"{_CORE}map", f"{_CORE}seq"):
            self.fault(path, _unsupported(node.tag))
            return None
        self.open.add(id(node))
        built = (
            self.mapping(node, path)
            if isinstance(node, yaml.MappingNode)
            else [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        )
        self.open.discard(id(node))
        return built

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, PlainData]:
        built: dict[str, PlainData] = {}
        first: dict[str, Position] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if key_node.tag != f"{_CORE}str" or not isinstance(key_node, yaml.ScalarNode):
                shown = key if isinstance(key, str) else "a list or a mapping"
                quote = f'write "{key}" if it is meant' if isinstance(key, str) else ""
                self.fault(path, f"a key must be a string; got {shown}", quote, _position(key_node))
            elif key == "<<":
                self.fault((*path, key), "YAML 1.2 has no merge keys", "write the keys out", _position(key_node))
            elif key in built:
                line, column = first[key]
                self.fault((*path, key), f"given twice; first at {line}:{column}", "", _position(key_node))
            else:
                first[key] = self.locations[*path, key] = _position(key_node)
                built[key] = self.build(value_node, (*path, key))
        return built

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> PlainData:
        text: str = node.value
        value: PlainData = text
        fault, tag = "", node.tag.removeprefix(_CORE)
        if tag == "str":
            fault = _NUL * ("\0" in text)
        elif tag not in _READ:
            fault = _unsupported(node.tag)
        elif len(text) > _MOST_DIGITS:
            fault = f"must have at most {_MOST_DIGITS} digits; got {len(text)}"
        else:
            try:
                value = _READ[tag](text)
            except (ValueError, KeyError):
                fault = f"{text!r} is not what its tag !!{tag} says"
            if isinstance(value, float) and not math.isfinite(value):
                fault = _not_finite(text)
        if fault:
            self.fault(path, fault)
        return None if fault else value

    def fault(self, path: KeyPath, message: str, hint: str = "", position: Position | None = None) -> None:
        self.faults.append(Fault(path, message, hint, position or self.locations[path]))


_READ: dict[str, Callable[[str], PlainData]] = {
    "null": lambda _: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)),
    "float": lambda text: float(re.sub(r"\.(inf|nan)$", r"\1", text.lower())),
}


def _unsupported(tag: str) -> str:
    return f"the tag {tag.replace(_CORE, '!!')} is not supported"


def _not_finite(text: object) -> str:
    return f"must be a finite number; got {text}"


def document_from_python(data: object) -> Document:
    """Return the same for data made in Python: a copy with tuples as lists and NumPy's numbers as Python's.

    What YAML could not hold is in ``faults``.

    >>> document_from_python({"a": (1, float("nan"))}).faults[0].message
    'must be a finite number; got nan'
    """
    document = Document(None)

    def copy(value: object, path: KeyPath) -> PlainData:
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    document.faults.append(Fault(path, f"a key must be a string; got {key!r}"))
            return {key: copy(item, (*path, key)) for key, item in value.items() if isinstance(key, str)}
        if isinstance(value, list | tuple):
            return [copy(item, (*path, index)) for index, item in enumerate(value)]
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
            value = value.item()  # type: ignore[attr-defined] # a number of NumPy's
        if isinstance(value, float) and not math.isfinite(value):
            fault = _not_finite(value)
        elif isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
            fault = f"must have at most {_MOST_DIGITS} digits"
        elif isinstance(value, str) and "\0" in value:
            fault = _NUL
        elif value is None or isinstance(value, bool | int | float | str):
            return value
        else:
            fault = f"must be plain data; got a {type(value).__name__}"
        document.faults.append(Fault(path, fault))
        return None

    try:
        return Document(copy(data, ()), {}, document.faults)
    except RecursionError as error:
        raise ConfigError("nested too deeply, or refers to itself") from error


def dump_yaml(data: object) -> str:
    r"""Plain data as YAML 1.2, keys in the order they have; ``parse`` gives the same data back.

    >>> dump_yaml({"run": "1e-3", "seed": 0})
    "run: '1e-3'\nseed: 0\n"
    """
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    if escape_controls(text) != text:
        text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=120)
    return text
