"""Collects everything that is wrong with a configuration, with the place of each, in the order of the places."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from curate.config.yaml_positions import Document, KeyPath
from curate.errors import ConfigError, ConfigErrors
from curate.paths import hide_secrets


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """Where a value was written; places sort as one reads them, the command line after the file."""

    line: int
    column: int
    text: str
    override: bool = False


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem; ``path`` leads to the value that it is about."""

    path: KeyPath
    location: Location
    message: str
    hint: str


class IssueCollector:
    """The problems found so far."""

    def __init__(self, source: str, document: Document) -> None:
        self.source = source
        self.locations = {path: self._in_file(*position) for path, position in document.locations.items()}
        self.issues: list[Issue] = []
        self._blamed: set[KeyPath] = set()
        for fault in document.faults:
            place = self._in_file(*fault.position) if fault.position else None
            self.add(fault.path, fault.message, fault.hint, place)

    def _in_file(self, line: int, column: int) -> Location:
        return Location(line, column, f"{self.source}:{line}:{column}")

    def location(self, path: KeyPath) -> Location:
        """Where the value at ``path`` was written; of a value that was not, where its section begins."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.locations:
                return self.locations[path[:length]]
        return Location(0, 0, self.source)

    def override(self, path: KeyPath, place: Location) -> None:
        """From now on ``path`` and what is below it were written at ``place``."""
        for below in [other for other in self.locations if other[: len(path)] == path]:
            del self.locations[below]
        self.locations[path] = place

    def add(self, path: KeyPath, message: str, hint: str = "", place: Location | None = None) -> None:
        """Note a problem, unless the value already has one; a value that was given twice has both."""
        if path not in self._blamed or place is not None:
            self._blamed.add(path)
            self.issues.append(Issue(path, place or self.location(path), message, hint))

    def attribute_to_override(self, before: IssueCollector, place: Location) -> None:
        """Move every problem of the file that was not there ``before`` to the override at ``place``."""
        known = {(issue.path, issue.message) for issue in before.issues}
        self.issues = [
            issue if issue.location.override or (issue.path, issue.message) in known else replace(issue, location=place)
            for issue in self.issues
        ]

    def has_issue(self, path: KeyPath) -> bool:
        """Whether there is a problem with the value at ``path`` or with anything in it."""
        return any(other[: len(path)] == path for other in self._blamed)

    def raise_if_any(self) -> None:
        """Raise all problems at once, first the one that stands first."""
        if self.issues:
            raise ConfigErrors.join(
                [self._error(issue) for issue in sorted(self.issues, key=lambda issue: issue.location)]
            )

    def _error(self, issue: Issue) -> ConfigError:
        named = issue.path and not (issue.location.override and self.locations.get(issue.path) == issue.location)
        prefix = f"{format_path(issue.path)}: " if named else ""
        return ConfigError(
            hide_secrets(prefix + issue.message), where=issue.location.text, hint=hide_secrets(issue.hint)
        )


def format_path(path: KeyPath) -> str:
    """A path as ``--set`` takes it: ``select.2.prune_rate``."""
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
    "neighbourhood": ("neighborhood",),
    "neighbours": ("n_neighbors",),
    "never_learnt": ("never_learned",),
    "ngram": ("ngram_size", "max_ngram_size"),
    "parts": ("n_partitions",),
    "penalty": ("alpha",),
    "permutations": ("num_perm",),
    "probes": ("n_probe",),
    "regularisation": ("regularization",),
    "sample": ("sample_size",),
    "shingle": ("ngram_unit",),
    "starts": ("n_init", "n_initial_models"),
    "strength": ("C",),
}
"""Keys of earlier versions, and the keys that replace them."""


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown name: the name that was probably meant, or all valid names."""
    names = list(known)
    near = [other for other in SYNONYMS.get(name, ()) if other in names] or difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
