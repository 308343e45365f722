"""Errors and notes of the checks of a configuration, located in its file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from curate.config import yaml_positions
from curate.config.issues import IssueCollector, format_path
from curate.config.yaml_positions import KeyPath
from curate.errors import ConfigError, CurateError, DataError, GuardrailError, combine_errors
from curate.stages.pool_sample import PoolSample

if TYPE_CHECKING:
    from curate.config.model import RunConfig


@dataclass(slots=True)
class Findings:
    """Errors and notes of the checks, in the order of the configuration."""

    config: RunConfig
    errors: list[CurateError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pool: PoolSample | None = None
    """First records of the pool; None if a file cannot be read."""

    def add(self, path: KeyPath, message: str, hint: str = "", kind: type[CurateError] = DataError) -> None:
        """Add an error about the value at ``path`` of the configuration."""
        location, name = locate(self.config, path)
        self.errors.append(kind(f"{name}: {message}", where=location, hint=hint))

    def add_guard_error(self, path: KeyPath, message: str, hint: str) -> None:
        """Add an error about a guard that no run can satisfy; the message names the guard."""
        self.errors.append(GuardrailError(message, where=locate(self.config, path)[0], hint=hint))

    @contextmanager
    def collect_errors(self) -> Iterator[None]:
        """Collect an error that the block raises, and continue."""
        try:
            yield
        except CurateError as error:
            if str(error) not in map(str, self.errors):
                self.errors.append(error)

    def raise_if_any(self) -> None:
        """Raise all errors at once, if there are any."""
        if self.errors:
            raise combine_errors(self.errors)


def locate(config: RunConfig, path: KeyPath) -> tuple[str, str]:
    """Return the location of the value at ``path`` in the configuration file, and its name there."""
    try:
        document = yaml_positions.parse_yaml(Path(config.source).read_text("utf-8-sig"), config.source)
    except (OSError, ValueError, ConfigError):
        return config.source, format_path(path)
    section = document.data.get(str(path[0])) if path and isinstance(document.data, dict) else None
    name = path
    if isinstance(section, dict) and len(path) > 1 and isinstance(path[1], int):
        name = (path[0], *path[2:])  # a single entry without a list
    written, resolved = _value(document.data, name), _value(config.resolved, path)
    overridden = written is not None and written != resolved and not isinstance(written, dict | list)
    location = config.source if overridden else IssueCollector(config.source, document).location(name).text
    return location, format_path(name)


def _value(data: object, path: KeyPath) -> object:
    for step in path:
        try:
            data = data[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return None
    return data
