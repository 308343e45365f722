"""Parser of YAML 1.2 that records the line and column of every key, and a writer of YAML 1.2."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from curate.errors import ConfigError, escape_controls

PlainData: TypeAlias = "bool | int | float | str | list[PlainData] | dict[str, PlainData] | None"
"""Plain data, as in JSON."""

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
_MOST_VALUES = 100_000  # nested aliases multiply; configurations have far fewer values
_MOST_DIGITS = 100
_NUL = "must not contain the character U+0000"


class _Resolver:
    """Core schema of YAML 1.2; that of PyYAML is 1.1, where `no` is false, `12:30` is 750 and `1e-3` is a string."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {  # noqa: RUF012 - PyYAML declares its type
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
    """Represent a string, in double quotes if it contains a line break of YAML 1.1, which PyYAML folds to a space."""
    style = '"' if any(character in text for character in "\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar(f"{_CORE}str", text, style=style)


_Dumper.add_representer(str, _text)


@dataclass(frozen=True, slots=True)
class Fault:
    """Valid YAML that is not allowed in a configuration."""

    path: KeyPath
    message: str
    hint: str = ""
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data (mappings with string keys, lists, strings, finite numbers, booleans, null) with locations."""

    data: PlainData
    locations: dict[KeyPath, Position] = field(default_factory=dict)
    """Position of each key and list item, and of the document itself (the empty path)."""

    faults: list[Fault] = field(default_factory=list)


def parse_yaml(text: str, source: str) -> Document:
    r"""Parse one YAML document; ``source`` is its name in errors.

    Duplicate keys, keys that are not strings and numbers that are not finite are collected in ``faults``, so that they
    can be reported together with all other issues.

    Raises
    ------
    ConfigError
        If the document is empty or not valid YAML, or if there are several documents.

    Examples
    --------
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
                "a second YAML document begins here",
                where=f"{source}:{line}:{column}",
                hint="put it into a separate file",
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
    """Builder that converts YAML nodes to plain data, and records positions and faults."""

    def __init__(self, document: Document) -> None:
        self.locations, self.faults = document.locations, document.faults
        self.values = 0
        self.open: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> PlainData:
        self.locations.setdefault(path, _position(node))
        self.values += 1
        if self.values > _MOST_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"its aliases expand to more than {_MOST_VALUES:,} values", problem_mark=node.start_mark
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
                key_text = key if isinstance(key, str) else "a list or a mapping"
                quote = f'write "{key}" with quotes' if isinstance(key, str) else ""
                self.fault(path, f"a key must be a string; got {key_text}", quote, _position(key_node))
            elif key == "<<":
                hint = "repeat the keys instead"
                self.fault((*path, key), "YAML 1.2 has no merge keys", hint, _position(key_node))
            elif key in built:
                line, column = first[key]
                self.fault((*path, key), f"duplicate key; first at {line}:{column}", "", _position(key_node))
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
                fault = f"{text!r} does not match its tag !!{tag}"
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
    """Return a document for data from Python, with tuples as lists and NumPy numbers as Python numbers.

    Values that YAML cannot represent are collected in ``faults``.

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
            value = value.item()  # type: ignore[attr-defined] # a NumPy number
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
    r"""Return plain data as YAML 1.2, with keys in their order; ``parse_yaml`` reads back the same data.

    >>> dump_yaml({"run": "1e-3", "seed": 0})
    "run: '1e-3'\nseed: 0\n"
    """
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    if escape_controls(text) != text:
        text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=120)
    return text
