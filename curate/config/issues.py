"""Collects everything that is wrong with a configuration, with the place of each, in the order of the places."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from curate.config.yaml_positions import Document, KeyPath
from curate.errors import ConfigError, ConfigErrors


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value was written; places sort as one reads them, the command line after the file."""

    line: int
    column: int
    text: str


class Report:
    """The problems found so far."""

    def __init__(self, source: str, document: Document) -> None:
        self.source = source
        self.places = {path: self._in_file(*position) for path, position in document.places.items()}
        self.overrides: dict[KeyPath, Place] = {}
        self._found: list[tuple[Place, int, ConfigError]] = []
        self._blamed: set[KeyPath] = set()
        for fault in document.faults:
            place = self._in_file(*fault.position) if fault.position else None
            self.add(fault.path, fault.message, fault.hint, place)

    def _in_file(self, line: int, column: int) -> Place:
        return Place(line, column, f"{self.source}:{line}:{column}")

    def place(self, path: KeyPath) -> Place:
        """Where the value at ``path`` was written; of a value that was not, where its section begins."""
        for length in range(len(path), -1, -1):
            found = self.overrides.get(path[:length]) or self.places.get(path[:length])
            if found:
                return found
        return Place(0, 0, self.source)

    def override(self, path: KeyPath, place: Place) -> None:
        """From now on ``path`` and what is below it were written at ``place``."""
        for known in (self.places, self.overrides):
            for below in [other for other in known if other[: len(path)] == path]:
                del known[below]
        self.overrides[path] = place

    def add(self, path: KeyPath, message: str, hint: str = "", place: Place | None = None) -> None:
        """Note a problem, unless the value already has one; a value that was given twice has both."""
        if path in self._blamed and place is None:
            return
        self._blamed.add(path)
        place = place or self.place(path)
        named = "" if not path or self.overrides.get(path) == place else f"{dotted(path)}: "
        self._found.append((place, len(self._found), ConfigError(named + message, where=place.text, hint=hint)))

    def blames(self, path: KeyPath) -> bool:
        """Whether there is a problem with the value at ``path`` or with anything in it."""
        return any(other[: len(path)] == path for other in self._blamed)

    @property
    def found(self) -> bool:
        """Whether there is any problem."""
        return bool(self._found)

    def raise_if_any(self) -> None:
        """Raise all problems at once, first the one that stands first."""
        if self._found:
            raise ConfigErrors.of([error for _, _, error in sorted(self._found, key=lambda found: found[:2])])


def dotted(path: KeyPath) -> str:
    """A path as ``--set`` takes it: ``select.2.prune_rate``."""
    return ".".join(str(step) for step in path)


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint for a name that does not exist: the one that may have been meant, or all there are."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
