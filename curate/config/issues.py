"""Collector of all issues with a configuration, with the location of each, in the order of the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from curate.config.yaml_positions import Document, KeyPath
from curate.errors import ConfigError, ConfigErrors
from curate.paths import hide_secrets


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """Location of a value; locations sort in reading order, the command line after the file."""

    line: int
    column: int
    text: str
    override: bool = False


@dataclass(frozen=True, slots=True)
class Issue:
    """Issue with the value at ``path``."""

    path: KeyPath
    location: Location
    message: str
    hint: str


class IssueCollector:
    """Collection of the issues with one configuration."""

    def __init__(self, source: str, document: Document) -> None:
        self.source = source
        self.locations = {path: self._in_file(*position) for path, position in document.locations.items()}
        self.issues: list[Issue] = []
        self._blamed: set[KeyPath] = set()
        for fault in document.faults:
            location = self._in_file(*fault.position) if fault.position else None
            self.add(fault.path, fault.message, fault.hint, location)

    def _in_file(self, line: int, column: int) -> Location:
        return Location(line, column, f"{self.source}:{line}:{column}")

    def location(self, path: KeyPath) -> Location:
        """Return the location of the value at ``path``; for a missing value, that of the section around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.locations:
                return self.locations[path[:length]]
        return Location(0, 0, self.source)

    def override(self, path: KeyPath, location: Location) -> None:
        """Set the location of ``path`` and of everything below it to that of an override."""
        for below in [other for other in self.locations if other[: len(path)] == path]:
            del self.locations[below]
        self.locations[path] = location

    def add(self, path: KeyPath, message: str, hint: str = "", location: Location | None = None) -> None:
        """Add an issue, unless the value already has one; with an explicit location, always add it."""
        if path not in self._blamed or location is not None:
            self._blamed.add(path)
            self.issues.append(Issue(path, location or self.location(path), message, hint))

    def attribute_to_override(self, before: IssueCollector, location: Location) -> None:
        """Move every issue that is missing from ``before`` to the location of an override."""
        known = {(issue.path, issue.message) for issue in before.issues}
        self.issues = [
            issue
            if issue.location.override or (issue.path, issue.message) in known
            else replace(issue, location=location)
            for issue in self.issues
        ]

    def has_issue(self, path: KeyPath) -> bool:
        """Return whether the value at ``path``, or anything in it, has an issue."""
        return any(other[: len(path)] == path for other in self._blamed)

    def raise_if_any(self) -> None:
        """Raise one error with all issues, in the order of their locations."""
        if self.issues:
            raise ConfigErrors.join(
                [self._error(issue) for issue in sorted(self.issues, key=lambda issue: issue.location)]
            )

    def _error(self, issue: Issue) -> ConfigError:
        has_path = issue.path and not (issue.location.override and self.locations.get(issue.path) == issue.location)
        prefix = f"{format_path(issue.path)}: " if has_path else ""
        return ConfigError(
            hide_secrets(prefix + issue.message), where=issue.location.text, hint=hide_secrets(issue.hint)
        )


def format_path(path: KeyPath) -> str:
    """Return a path as ``--set`` takes it: ``select.2.prune_rate``."""
    return ".".join(str(step) for step in path)


SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "bad": ("negative",),
    "cut_repeated": ("remove_repeated_spans",),
    "directions": ("n_projections",),
    "first": ("keep",),
    "good": ("positive",),
    "hidden": ("hidden_size",),
    "key": ("ground_truth",),
    "length": ("ngram_size",),
    "mask": ("mask_pii",),
    "min_left_word_rate": ("min_remaining_word_rate",),
    "ngram": ("ngram_size", "max_ngram_size"),
    "parts": ("n_partitions",),
    "penalty": ("alpha",),
    "permutations": ("num_perm",),
    "probes": ("n_probe",),
    "sample": ("sample_size",),
    "shingle": ("ngram_unit",),
    "starts": ("n_init", "n_initial_models"),
    "strength": ("C",),
}
"""Keys of earlier versions, and the keys that replace them."""


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: the most similar known name, or all known names."""
    names = list(known)
    near = [other for other in SYNONYMS.get(name, ()) if other in names] or difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
