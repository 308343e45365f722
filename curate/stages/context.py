"""What every stage driver is handed: where the run lives, what runs its tasks, and who is told of the progress."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from curate import paths
from curate.config import yaml_positions
from curate.errors import ShardError
from curate.executors.base import Executor, Result, Task, Value, finishing
from curate.store.manifest import Record, State

if TYPE_CHECKING:
    from curate.config.model import RunConfig


class Progress(Protocol):
    """Hears how far the work has come."""

    def begin(self, what: str, total: int) -> None:
        """``what`` begins; ``total`` units (rows, shards) are to be done."""

    def advance(self, units: int) -> None:
        """``units`` more are done."""

    def enter(self, stage: str, entry: str) -> None:
        """A step begins; what is told until ``leave`` is of it."""

    def leave(self, records: Sequence[Record], *, reused: bool) -> None:
        """The step is done, now or (``reused``) before; the select section with a record for each of its entries."""

    def note(self, message: str) -> None:
        """Something a person reading the log would want to know."""

    def warn(self, message: str) -> None:
        """Something a person should look into."""


class Silent:
    """Tells nobody."""

    def begin(self, what: str, total: int) -> None: ...
    def advance(self, units: int) -> None: ...
    def enter(self, stage: str, entry: str) -> None: ...
    def leave(self, records: Sequence[Record], *, reused: bool) -> None: ...
    def note(self, message: str) -> None: ...
    def warn(self, message: str) -> None: ...


class NestedProgress:
    """Progress of a nested run, without stage events."""

    def __init__(self, progress: Progress) -> None:
        self.begin, self.advance = progress.begin, progress.advance
        self.note, self.warn = progress.note, progress.warn

    def enter(self, stage: str, entry: str) -> None: ...
    def leave(self, records: Sequence[Record], *, reused: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """What would become of one step."""

    stage: str
    name: str
    state: State
    why: str = ""
    rows: int | None = None
    """Rows that would come out of it, in each epoch of a plan; None where only running tells."""

    epochs: int = 1
    """How many are planned."""

    seconds: float | None = None
    """About how long it would take; None if it was never done."""

    memory: int | None = None
    """About the most bytes a process would hold."""

    disk: int | None = None
    """About how many bytes it would write."""

    note: str = ""
    """What to know before it starts."""


@dataclass(frozen=True, slots=True)
class Context:
    """One run under way."""

    config: RunConfig
    executor: Executor
    progress: Progress
    plan: list[Planned] | None = None
    """Where given, nothing is done: each step says here what it would do."""

    verify: bool = False
    """Hash every input file again, whatever its stamp says."""

    def reading(self, config: RunConfig) -> Context:
        """Return the context of a nested run that reads other files, whose steps are no steps of this one."""
        return Context(config, self.executor, NestedProgress(self.progress), verify=self.verify)

    @property
    def folder(self) -> Path:
        return paths.place(self.config.run)

    @property
    def scratch(self) -> Path:
        """A folder on a local disk, for files that are mapped into memory."""
        return Path(tempfile.gettempdir()) if paths.is_object(self.folder) else self.folder / "scratch"

    @property
    def recipe(self) -> dict[str, Any]:
        """The configuration without what cannot change a result: where it is written, and how it is held or judged."""
        aside = ("run", "memory_limit", "guard", "metrics", "evaluate")
        kept = {key: value for key, value in self.config.resolved.items() if key not in aside}
        export = {key: value for key, value in kept["export"].items() if key != "keep_versions"}
        refresh = {"keep_previous_weight": self.config.refresh.keep_previous_weight}  # a fit is known by its pool
        return {**kept, "export": export, "refresh": refresh}

    @property
    def yaml(self) -> str:
        """The configuration with every default filled in."""
        return yaml_positions.dump(dict(self.config.resolved))

    def map(
        self, what: str, fn: Callable[[Task], Value], tasks: Sequence[Task], sizes: Sequence[int]
    ) -> tuple[list[Value], list[ShardError], int]:
        """Run ``fn`` on every task, telling the progress by ``sizes``.

        Returns
        -------
        values : in task order, of the tasks that succeeded
        failed : why the others did not
        peak_memory : bytes, the highest of the workers
        """
        self.progress.begin(what, sum(sizes))
        results: list[Result[Value]] = []
        with finishing():
            for result in self.executor.map(fn, tasks):
                results.append(result)
                self.progress.advance(sizes[result.index])
        results.sort(key=lambda result: result.index)
        values = [result.value for result in results if result.value is not None]
        failed = [result.failed for result in results if result.failed is not None]
        return values, failed, max((result.peak_memory for result in results), default=0)
