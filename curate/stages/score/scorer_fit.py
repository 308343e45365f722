"""Fitting of scorers before they score: example files are read like those of the pool, and the fitted state is kept.

Memory: the example texts, and the memory that the scorer documents.
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
from curate.pool.view import PoolView
from curate.seeds import rng_for
from curate.stages import fitted_state
from curate.stages.base import Context, plugin_call
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
    """Fit of one entry of the score section to its examples."""

    context: Context
    entry: ScoreEntry

    @property
    def folder(self) -> Path:
        return self.context.folder / "score" / self.entry.name

    def files(self) -> dict[str, tuple[str, ...] | None]:
        """Return the file patterns of each field; None for the rows of the pool."""
        built = self.entry.spec.build()
        values = {name: getattr(built, name) for name in _examples(self.entry.spec)}
        return {name: (value,) if isinstance(value, str) else value for name, value in values.items()}

    @property
    def reads_pool(self) -> bool:
        """Whether the scorer is fitted to rows of the pool, too."""
        return None in self.files().values()

    def recipe(self) -> dict[str, object]:
        """Return the inputs of the fit except the pool: the content of the files, and how they are read."""
        examples: dict[str, object] = {}
        for field, patterns in self.files().items():
            if patterns is None:
                examples[field] = None
                continue
            with self._naming_field(field):
                how = self._input(patterns)
                run_directory.refuse_run_files(find_input_files(how), self.context.folder)
                examples[field] = fingerprint_inputs(how, survey_files(self._nested_context(field, how)))
        return examples

    def read(self) -> dict[str, Inputs | None]:
        """Read the examples of each field into a separate folder; None for the pool.

        Raises
        ------
        DataError
            A file or column is missing, or there are too few texts; the error names the field.
        """
        examples: dict[str, Inputs | None] = {}
        for field, patterns in self.files().items():
            examples[field] = None if patterns is None else self._read(field, patterns)
        return examples

    def _read(self, field: str, patterns: tuple[str, ...]) -> Inputs:
        how, minimum = self._input(patterns), _examples(self.entry.spec)[field].min_texts
        with self._naming_field(field):
            run_directory.refuse_run_files(find_input_files(how), self.context.folder)
            source, record = ingest(self._nested_context(field, how))
            if source.rows < minimum:
                message = f"there are {source.rows:,} texts, at least {minimum} are needed"
                raise DataError(message, where=", ".join(source.files[:3]), hint="add more files")
        if quarantined := record.count.quarantined:
            message = f"{quarantined:,} of {record.count.rows_in:,} examples have no text"
            self.context.progress.warn(f"score {self.entry.name}: {field}: {message}")
        return source

    def _input(self, patterns: tuple[str, ...]) -> InputConfig:
        pool, text = self.context.config.input, self.entry.spec.build().text
        plain = replace(pool, corrections=None, id=None, label=None, source=None, tokens=None, types=None, vectors=None)
        return replace(plain, files=patterns, text=text or pool.text, image=None, image_folder=None)

    def _nested_context(self, field: str, how: InputConfig) -> Context:
        """Return the context of a nested run that reads the examples of a field."""
        run = str(self.folder / _FOLDER / field)
        return self.context.nested(replace(self.context.config, run=run, input=how))

    @contextmanager
    def _naming_field(self, field: str) -> Iterator[None]:
        """Name the field, not the pool, in errors about its files."""
        try:
            yield
        except CurateError as error:
            message = f"score {self.entry.name}: {field}: {error.message.removeprefix('input.files: ')}"
            raise type(error)(message, where=error.where, hint=error.hint) from error

    # ------------------------------------------------------------ the fit

    def is_complete(self, fit: Fit) -> bool:
        """Return whether the fitted state is on disk and intact."""
        return npz.load(self.folder / FITTED, fit.fingerprint) is not None

    def fit(self, pool: PoolView, fit: Fit) -> tuple[StateFile, FitReport]:
        """Fit the scorer unless its state is on disk; return the path of the state and the measures of the fit."""
        context, entry = self.context, self.entry
        plugin: LearningScorer = entry.spec.build()
        state = StateFile(self.folder / FITTED, fit.fingerprint)
        fitted = npz.load(state.path, state.fingerprint)
        if fitted is None:
            paths.unlink(self.folder / fitted_state.NAME, missing_ok=True)
            rng = rng_for(context.config.seed, f"score/{entry.name}/examples")
            texts = {
                field: sample_values(
                    context.progress, examples or pool.inputs, f"reading {field}", plugin.sample_size, rng, "text"
                )
                for field, examples in self.read().items()
            }
            if "target" in entry.spec.plugin().traits.reads:
                texts["target"] = pool.target_texts()
            count = sum(map(len, texts.values()))
            context.progress.begin(f"fitting {entry.name}", count, "texts")
            with plugin_call(entry.spec, entry.name):
                fitted = plugin.fit(texts, rng)
            context.progress.advance(count)
            npz.save(state.path, state.fingerprint, fitted)
        fitted_state.save(self.folder, fit)
        with plugin_call(entry.spec, entry.name):
            report: FitReport = plugin.describe_fit(fitted)
        context.progress.note(f"score {entry.name}: fitted to {report.summary}")
        return state, report


def create_scorer_fit(context: Context, entry: ScoreEntry) -> ScorerFit | None:
    """Return the fit of the entry; None for a scorer that is not fitted."""
    return ScorerFit(context, entry) if entry.spec.plugin().traits.fits else None


def check_examples(context: Context) -> None:
    """Read all example files before the pool, so that errors in them are reported at once.

    In a plan, the files are located but not read.
    """
    for entry in context.config.score:
        if (scorer_fit := create_scorer_fit(context, entry)) is not None:
            _ = scorer_fit.recipe() if context.plan is not None else scorer_fit.read()


def _examples(spec: PluginSpec) -> Mapping[str, ExampleFiles]:
    """Return the fields that hold the files of examples."""
    return {
        field.name: mark
        for field in fields(spec.plugin().cls)
        for mark in iter_marks(field.type)
        if isinstance(mark, ExampleFiles)
    }
