"""What a scorer learns before it scores: its example files are read as the pool's are, and what it learnt is kept.

Memory: the texts it learns from, and what it states of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curate import paths
from curate.errors import CurateError, DataError
from curate.plugins.fields import fields, iter_marks
from curate.plugins.interfaces import ExampleFiles, LearningScorer
from curate.plugins.results import FitReport
from curate.pool.training_sample import sample_values
from curate.seeds import rng_for
from curate.stages import fitted_state
from curate.stages.base import Context, plugin_errors
from curate.stages.fitted_state import Fit, StateFile
from curate.stages.ingest.stage import find_input_files, fingerprint_inputs, ingest, survey_files
from curate.store import npz, run_directory
from curate.store.inputs import Inputs

if TYPE_CHECKING:
    from curate.config.model import InputConfig, ScoreEntry
    from curate.plugins.registry import PluginSpec

FITTED = "fitted.npz"
_FOLDER = "examples"


@dataclass(frozen=True, slots=True)
class ScorerFit:
    """What one entry of the score section learns from."""

    context: Context
    entry: ScoreEntry

    @property
    def folder(self) -> Path:
        return self.context.folder / "score" / self.entry.name

    def files(self) -> dict[str, tuple[str, ...] | None]:
        """The patterns of each field's files; None where the pool's rows are meant."""
        built = self.entry.spec.build()
        given = {name: getattr(built, name) for name in _examples(self.entry.spec)}
        return {name: (value,) if isinstance(value, str) else value for name, value in given.items()}

    @property
    def reads_pool(self) -> bool:
        """Whether rows of the pool are among what it learns from."""
        return None in self.files().values()

    def recipe(self) -> dict[str, object]:
        """What is learnt from, but for the pool: the content of the files, and how they are read."""
        found: dict[str, object] = {}
        for field, patterns in self.files().items():
            if patterns is None:
                found[field] = None
                continue
            with self._named(field):
                how = self._input(patterns)
                run_directory.refuse_run_files(find_input_files(how), self.context.folder)
                found[field] = fingerprint_inputs(how, survey_files(self._own(field, how)))
        return found

    def read(self) -> dict[str, Inputs | None]:
        """The examples of each field, in a folder of the entry's own; None for the pool.

        Raises
        ------
        DataError : naming the field: a missing file or column, too few texts
        """
        found: dict[str, Inputs | None] = {}
        for field, patterns in self.files().items():
            found[field] = None if patterns is None else self._read(field, patterns)
        return found

    def _read(self, field: str, patterns: tuple[str, ...]) -> Inputs:
        how, least = self._input(patterns), _examples(self.entry.spec)[field].at_least
        with self._named(field):
            run_directory.refuse_run_files(find_input_files(how), self.context.folder)
            source, record = ingest(self._own(field, how))
            if source.rows < least:
                told = f"{source.rows:,} texts, and {least} are needed"
                raise DataError(told, where=", ".join(source.files[:3]), hint="name more files")
        if aside := record.count.quarantined:
            told = f"{aside:,} of {record.count.rows_in:,} examples have no text"
            self.context.progress.warn(f"score {self.entry.name}: {field}: {told}")
        return source

    def _input(self, patterns: tuple[str, ...]) -> InputConfig:
        pool, text = self.context.config.input, self.entry.spec.build().text
        plain = replace(pool, id=None, label=None, source=None, tokens=None, types=None, vectors=None)
        return replace(plain, files=patterns, text=text or pool.text)

    def _own(self, field: str, how: InputConfig) -> Context:
        """A run of the examples' own, whose steps are no steps of this one."""
        run = str(self.folder / _FOLDER / field)
        return self.context.nested(replace(self.context.config, run=run, input=how))

    @contextmanager
    def _named(self, field: str) -> Iterator[None]:
        """Around the reading of files: what is wrong with them is said of the field, and not of the pool."""
        try:
            yield
        except CurateError as error:
            told = f"score {self.entry.name}: {field}: {error.message.removeprefix('input.files: ')}"
            raise type(error)(told, where=error.where, hint=error.hint) from error

    # ------------------------------------------------------------ the fit

    def is_whole(self, fit: Fit) -> bool:
        """Return whether the fitted state is on disk, as it was written."""
        return npz.load(self.folder / FITTED, fit.fingerprint) is not None

    def fit(self, source: Inputs, fit: Fit) -> tuple[StateFile, FitReport]:
        """Learn what ``fit`` is of, unless that is on disk; where it is, and how well it was learnt."""
        context, entry = self.context, self.entry
        plugin: LearningScorer = entry.spec.build()
        state = StateFile(self.folder / FITTED, fit.fingerprint)
        learnt = npz.load(state.path, state.fingerprint)
        if learnt is None:
            paths.unlink(self.folder / fitted_state.NAME, missing_ok=True)
            rng = rng_for(context.config.seed, f"score/{entry.name}/examples")
            texts = {
                field: sample_values(
                    context.progress, found or source, f"reading {field}", plugin.sample_size, rng, "text"
                )
                for field, found in self.read().items()
            }
            count = sum(map(len, texts.values()))
            context.progress.begin(f"{entry.name} learns", count, "texts")
            with plugin_errors(entry.spec, entry.name):
                learnt = plugin.fit(texts, rng)
            context.progress.advance(count)
            npz.save(state.path, state.fingerprint, learnt)
        fitted_state.save(self.folder, fit)
        with plugin_errors(entry.spec, entry.name):
            told: FitReport = plugin.describe_fit(learnt)
        context.progress.note(f"score {entry.name}: learnt from {told.summary}")
        return state, told


def create_scorer_fit(context: Context, entry: ScoreEntry) -> ScorerFit | None:
    """What the entry learns from; None for a scorer that learns nothing."""
    return ScorerFit(context, entry) if entry.spec.plugin().traits.fits else None


def check_examples(context: Context) -> None:
    """Read every example file before anything is done with the pool, so that what is wrong with one is told at once.

    In a plan the files are looked for, and not read.
    """
    for entry in context.config.score:
        if (own := create_scorer_fit(context, entry)) is not None:
            _ = own.recipe() if context.plan is not None else own.read()


def _examples(spec: PluginSpec) -> Mapping[str, ExampleFiles]:
    """The fields that name what is learnt from."""
    return {
        field.name: mark
        for field in fields(spec.plugin().cls)
        for mark in iter_marks(field.type)
        if isinstance(mark, ExampleFiles)
    }
