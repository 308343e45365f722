"""Registry of plugins by kind and name: built-in ones, entry points of other packages, and local files.

Names are listed without imports; the module of a plugin is imported when the plugin is requested.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import curate.plugins
from curate import paths
from curate.errors import PluginError, out_of_memory_error
from curate.plugins.interfaces import QUADRATIC_WARNING, Traits, get_traits
from curate.plugins.kinds import KINDS, Kind


@dataclass(frozen=True, slots=True)
class Plugin:
    """Imported plugin."""

    kind: Kind
    name: str
    origin: str
    cls: type
    traits: Traits

    def summary(self) -> str:
        """Return the first line of the class docstring."""
        return (self.cls.__doc__ or "").strip().partition("\n")[0]

    def description(self) -> str:
        """Return the class docstring, followed by the scope, cost, guarantee and warnings of its traits."""
        text = inspect.getdoc(self.cls) or ""
        lines = [
            f"Scope: {self.traits.describe_scope()}." * (self.kind == "selector"),
            f"Cost: {self.traits.cost}." * bool(self.traits.cost),
            f"Guarantee: {self.traits.guarantee}." * bool(self.traits.guarantee),
            QUADRATIC_WARNING * self.traits.quadratic,
        ]
        return "\n\n".join(filter(None, [text, " ".join(filter(None, lines))]))

    def reference(self) -> str:
        """Return the first of its references: authors, year, and identifier."""
        references = " ".join((inspect.getdoc(self.cls) or "").partition("References\n----------")[2].split())
        authors = re.match(r"[^(]*\(\d{4}\)", references)
        identifier = re.search(r"(arXiv|doi):\S+[^\s.,;]", references)
        return ", ".join(match[0] for match in (authors, identifier) if match) or textwrap.shorten(
            references, 80, placeholder=" …"
        )


@dataclass(frozen=True, slots=True)
class LocalPlugin:
    """Local plugin file named in the configuration; the sha256 of its content is part of fingerprints."""

    path: str
    sha256: str

    @classmethod
    def from_path(cls, path: Path) -> LocalPlugin:
        """Read the file's hash.

        Raises
        ------
        PluginError : if the file cannot be read
        """
        try:
            return cls(str(path), paths.hash_file(path))
        except OSError as error:
            raise PluginError(f"cannot read the plugin file: {error.strerror}", where=str(path)) from error


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """Plugin and its field values, small enough to send to a worker, which creates it with ``build``."""

    kind: Kind
    name: str
    fields: tuple[tuple[str, Any], ...] = ()
    local: tuple[LocalPlugin, ...] = ()

    def plugin(self) -> Plugin:
        """Return the plugin."""
        return get(self.kind, self.name, self.local)

    def build(self) -> Any:
        """Create the plugin object."""
        return self.plugin().cls(**dict(self.fields))


def make_spec(plugin: object, name: str, local: tuple[LocalPlugin, ...] = ()) -> PluginSpec:
    """Return the spec that recreates ``plugin``.

    Raises
    ------
    PluginError : if the object is not a plugin
    """
    plugin_traits = get_traits(type(plugin))
    if plugin_traits is None or not dataclasses.is_dataclass(plugin):
        raise PluginError(f"{type(plugin).__name__} is not a plugin")
    field_values = tuple((field.name, getattr(plugin, field.name)) for field in dataclasses.fields(plugin))
    return PluginSpec(plugin_traits.kind, name, field_values, local)


def kind_plural(kind: Kind) -> str:
    """Return the name of the subpackage of ``curate.plugins``, and of the entry-point group, of a kind."""
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


@lru_cache
def _builtin_modules(kind: Kind) -> dict[str, str]:
    package = f"curate.plugins.{kind_plural(kind)}"
    root = Path(curate.plugins.__file__).parent / kind_plural(kind)
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts): path.stem
        for path in sorted(root.rglob("*.py"))
        if path.stem != "__init__"
    }
    return {name: f"{package}.{module}" for module, name in modules.items()}


@lru_cache
def _entry_points() -> dict[Kind, dict[str, importlib.metadata.EntryPoint]]:
    """Return the plugins of other packages by kind and name, from one search of the installed packages."""
    points = importlib.metadata.entry_points()
    return {kind: {point.name: point for point in points.select(group=f"curate.{kind_plural(kind)}")} for kind in KINDS}


@lru_cache
def _load_local(local: LocalPlugin) -> ModuleType:
    path = Path(local.path)
    if LocalPlugin.from_path(path) != local:
        raise PluginError("the plugin file changed during the run", where=local.path, hint="restart the run")
    name = f"curate_local_{path.stem}_{local.sha256[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError("a plugin file must be a Python file", where=local.path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if (short := out_of_memory_error(error)) is not None:
            raise short from error
        if isinstance(error, PluginError):
            raise PluginError(error.message, where=local.path, hint=error.hint) from error
        raise PluginError(
            f"the plugin file fails to import: {type(error).__name__}: {error}", where=local.path
        ) from error
    if not any(_find_plugin_class(module, kind) for kind in KINDS):
        raise PluginError(
            "the file contains no plugin",
            where=local.path,
            hint="decorate a class with @selector(version=1), @scorer(…), …",
        )
    return module


def _find_plugin_class(module: ModuleType, kind: Kind) -> type | None:
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            declared = get_traits(value)
            if declared is not None and declared.kind == kind:
                return value
    return None


def names(kind: Kind, local: tuple[LocalPlugin, ...] = ()) -> list[str]:
    """Return the names of all plugins of a kind, sorted; only local files are imported."""
    local_names = [Path(file.path).stem for file in local if _find_plugin_class(_load_local(file), kind)]
    return sorted({*_builtin_modules(kind), *_entry_points()[kind], *local_names})


@lru_cache
def get(kind: Kind, name: str, local: tuple[LocalPlugin, ...] = ()) -> Plugin:
    """Import and return the plugin ``name`` of ``kind``.

    Parameters
    ----------
    kind : kind of the plugin
    name : name of the plugin
    local : local plugin files

    Raises
    ------
    PluginError : if it does not exist (with the closest name), the name is ambiguous, or its module fails to import
    """
    origins: list[tuple[str, Callable[[], type | ModuleType]]] = []
    if name in _builtin_modules(kind):
        origins.append((_builtin_modules(kind)[name], lambda: importlib.import_module(_builtin_modules(kind)[name])))
    if name in _entry_points()[kind]:
        point = _entry_points()[kind][name]
        origins.append((f"{point.value} ({point.dist.name if point.dist else 'entry point'})", point.load))
    local_files = [
        file for file in local if Path(file.path).stem == name and _find_plugin_class(_load_local(file), kind)
    ]
    origins += [(file.path, partial(_load_local, file)) for file in local_files]
    if not origins:
        matches = difflib.get_close_matches(name, names(kind, local), n=1)
        hint = f"did you mean {matches[0]!r}?" if matches else f"available: {', '.join(names(kind, local))}"
        raise PluginError(f"unknown {kind} {name!r}", hint=hint)
    if len(origins) > 1:
        raise PluginError(
            f"two {kind_plural(kind)} are named {name!r}: {' and '.join(origin for origin, _ in origins)}",
            hint="rename one of the files: a plugin is named after its file",
        )
    if name in sys.stdlib_module_names and name not in _builtin_modules(kind):
        raise PluginError(f"a {kind} must not be named {name!r}, which is a standard library module")
    origin, load = origins[0]
    try:
        loaded = load()
    except PluginError as error:
        raise PluginError(error.message, where=error.where or origin, hint=error.hint) from error
    except ImportError as error:
        if (short := out_of_memory_error(error)) is not None:
            raise short from error
        raise PluginError(
            f"{kind} {name!r} cannot be imported: {error}", where=origin, hint="install the missing package"
        ) from error
    cls = loaded if isinstance(loaded, type) else _find_plugin_class(loaded, kind)
    declared = get_traits(cls) if cls is not None else None
    if cls is None or declared is None or not dataclasses.is_dataclass(cls):
        raise PluginError(f"{origin} contains no {kind}", hint=f"decorate a dataclass with @{kind}(version=1)")
    return Plugin(kind, name, origin, cls, declared)
