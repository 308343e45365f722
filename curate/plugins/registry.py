"""Finds plugins by kind and name: the built-in ones, those other packages announce, and the user's own files.

Names are listed without importing anything; a plugin's module is imported when the plugin is asked for.
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
    """A plugin that was found and imported."""

    kind: Kind
    name: str
    origin: str
    cls: type
    traits: Traits

    def summary(self) -> str:
        """The first line of its docstring."""
        return (self.cls.__doc__ or "").strip().partition("\n")[0]

    def description(self) -> str:
        """Its docstring, and what its traits add to that."""
        text = inspect.getdoc(self.cls) or ""
        told = [
            f"Cost: {self.traits.cost}." * bool(self.traits.cost),
            f"Guarantee: {self.traits.guarantee}." * bool(self.traits.guarantee),
            QUADRATIC_WARNING * self.traits.quadratic,
        ]
        return "\n\n".join(filter(None, [text, " ".join(filter(None, told))]))

    def reference(self) -> str:
        """The first of its references: authors, year, and where to find it."""
        told = " ".join((inspect.getdoc(self.cls) or "").partition("References\n----------")[2].split())
        authors = re.match(r"[^(]*\(\d{4}\)", told)
        place = re.search(r"(arXiv|doi):\S+[^\s.,;]", told)
        return ", ".join(found[0] for found in (authors, place) if found) or textwrap.shorten(
            told, 80, placeholder=" …"
        )


@dataclass(frozen=True, slots=True)
class LocalPlugin:
    """A plugin file of the user's, as the configuration names it; its content's sha256 goes into fingerprints."""

    path: str
    sha256: str

    @classmethod
    def from_path(cls, path: Path) -> LocalPlugin:
        try:
            return cls(str(path), paths.hash_file(path))
        except OSError as error:
            raise PluginError(f"cannot read the plugin file: {error.strerror}", where=str(path)) from error


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """A plugin and its fields, small enough to send to a worker, which builds it with ``build``."""

    kind: Kind
    name: str
    fields: tuple[tuple[str, Any], ...] = ()
    local: tuple[LocalPlugin, ...] = ()

    def plugin(self) -> Plugin:
        return get(self.kind, self.name, self.local)

    def build(self) -> Any:
        """The plugin object."""
        return self.plugin().cls(**dict(self.fields))


def make_spec(plugin: object, name: str, local: tuple[LocalPlugin, ...] = ()) -> PluginSpec:
    """The spec that builds ``plugin`` again."""
    declared = get_traits(type(plugin))
    if declared is None or not dataclasses.is_dataclass(plugin):
        raise PluginError(f"{type(plugin).__name__} is not a plugin")
    values = tuple((field.name, getattr(plugin, field.name)) for field in dataclasses.fields(plugin))
    return PluginSpec(declared.kind, name, values, local)


def kind_plural(kind: Kind) -> str:
    """The package under ``curate.plugins`` (and the entry-point group) of a kind."""
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


@lru_cache
def _builtin(kind: Kind) -> dict[str, str]:
    package = f"curate.plugins.{kind_plural(kind)}"
    root = Path(curate.plugins.__file__).parent / kind_plural(kind)
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts): path.stem
        for path in sorted(root.rglob("*.py"))
        if path.stem != "__init__"
    }
    return {name: f"{package}.{module}" for module, name in modules.items()}


@lru_cache
def _announced(kind: Kind) -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=f"curate.{kind_plural(kind)}")}


@lru_cache
def _load_local(local: LocalPlugin) -> ModuleType:
    path = Path(local.path)
    if LocalPlugin.from_path(path) != local:
        raise PluginError(
            "the plugin file changed while the run was under way", where=local.path, hint="start the run again"
        )
    name = f"curate_local_{path.stem}_{local.sha256[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError("a plugin file must be a Python file", where=local.path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if (short := out_of_memory_error(error)) is not None:
            raise short from error
        if isinstance(error, PluginError):
            raise PluginError(error.message, where=local.path, hint=error.hint) from error
        raise PluginError(
            f"the plugin file fails to load: {type(error).__name__}: {error}", where=local.path
        ) from error
    if not any(_class_in(module, kind) for kind in KINDS):
        raise PluginError(
            "no plugin in this file", where=local.path, hint="decorate a class with @selector(version=1), @scorer(…), …"
        )
    return module


def _class_in(module: ModuleType, kind: Kind) -> type | None:
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            declared = get_traits(value)
            if declared is not None and declared.kind == kind:
                return value
    return None


def names(kind: Kind, local: tuple[LocalPlugin, ...] = ()) -> list[str]:
    """The names of all plugins of a kind, sorted; imports only the user's own files."""
    own = [Path(file.path).stem for file in local if _class_in(_load_local(file), kind)]
    return sorted({*_builtin(kind), *_announced(kind), *own})


@lru_cache
def get(kind: Kind, name: str, local: tuple[LocalPlugin, ...] = ()) -> Plugin:
    """The plugin ``name`` of ``kind``.

    Raises
    ------
    PluginError : if there is none (with the nearest name), two have that name, or its module fails to import
    """
    origins: list[tuple[str, Callable[[], type | ModuleType]]] = []
    if name in _builtin(kind):
        origins.append((_builtin(kind)[name], lambda: importlib.import_module(_builtin(kind)[name])))
    if name in _announced(kind):
        point = _announced(kind)[name]
        origins.append((f"{point.value} ({point.dist.name if point.dist else 'entry point'})", point.load))
    own = [file for file in local if Path(file.path).stem == name and _class_in(_load_local(file), kind)]
    origins += [(file.path, partial(_load_local, file)) for file in own]
    if not origins:
        near = difflib.get_close_matches(name, names(kind, local), n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names(kind, local))}"
        raise PluginError(f"unknown {kind} {name!r}", hint=meant)
    if len(origins) > 1:
        raise PluginError(
            f"two {kind_plural(kind)} are called {name!r}: {' and '.join(origin for origin, _ in origins)}",
            hint="rename one of them: a plugin's name is its file's",
        )
    if name in sys.stdlib_module_names:
        raise PluginError(f"a {kind} may not be called {name!r}: that is a module of the standard library")
    origin, load = origins[0]
    try:
        loaded = load()
    except PluginError as error:
        raise PluginError(error.message, where=error.where or origin, hint=error.hint) from error
    except ImportError as error:
        if (short := out_of_memory_error(error)) is not None:
            raise short from error
        raise PluginError(
            f"{kind} {name!r} cannot be imported: {error}", where=origin, hint="install what it needs"
        ) from error
    cls = loaded if isinstance(loaded, type) else _class_in(loaded, kind)
    declared = get_traits(cls) if cls is not None else None
    if cls is None or declared is None or not dataclasses.is_dataclass(cls):
        raise PluginError(f"{origin} holds no {kind}", hint=f"decorate a dataclass with @{kind}(version=1)")
    return Plugin(kind, name, origin, cls, declared)
