"""What a plugin learnt from the pool: kept while the pool changes, until the refresh section asks for a new fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from curate import paths
from curate.errors import DataError
from curate.stages.base import Context, plugin_errors
from curate.store import manifest, npz, parquet_io
from curate.store.json_shape import parse_dataclass
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.plugins.registry import PluginSpec

R = TypeVar("R", bound=StageResult)

NAME = "fit.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was learnt from, and how well it did."""

    recipe: str
    """Fingerprint of everything that it was learnt with, but for the pool."""

    pool: str
    """Fingerprint of the rows that it was learnt from."""

    fidelity: float | None
    """The mean share of a row of that pool which it expresses; None where the plugin cannot tell."""

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.recipe, self.pool)


@dataclass(frozen=True, slots=True)
class StateFile:
    """Where the arrays are that a plugin learnt, and what they were learnt from."""

    path: Path
    fingerprint: str


@lru_cache(maxsize=2)
def build_fitted(spec: PluginSpec, state: StateFile | None) -> Any:
    """The plugin with what it learnt, or as it is if it learns nothing; built once a process.

    Raises
    ------
    DataError : what it learnt is not there, or not whole
    """
    plugin = spec.build()
    if state is None:
        return plugin
    learnt = npz.load(state.path, state.fingerprint)
    if learnt is None:
        told = f"what the {spec.kind} {spec.name!r} learnt is not whole"
        raise DataError(told, where=str(state.path), hint="run the stage again")
    with plugin_errors(spec, spec.name):
        return plugin.restore(learnt)


def fingerprint(recipe: str, pool: str) -> str:
    """The same for every fit that comes out the same."""
    return manifest.fingerprint({"recipe": recipe, "pool": pool})


def load(folder: Path) -> Fit | None:
    """Return the fit in ``folder``; None if there is none.

    Raises
    ------
    DataError
        If it is not as it was written.
    """
    return parse_dataclass(Fit, parquet_io.read_required_json(folder / NAME, _again(folder)))


def _again(folder: Path) -> str:
    return f"restore it from a copy, or delete {folder}: the fitted state is lost then, and fitted again to the pool"


def _was_there(context: Context, folder: Path) -> bool:
    """Return whether the last run that ended had the step of a folder."""
    last = parquet_io.read_json(context.folder / manifest.NAME) or {}
    return any(
        stage.folder(context.folder, stage.entry_name(entry)) == folder
        for stage in context.stages
        for entry in stage.entries(context.config)
        if f"{stage.name} {stage.entry_name(entry)}" in last.get("fingerprints", {})
    )


def _earlier(context: Context, arrays: Path, is_whole: Callable[[Fit], bool], recipe: str, pool: str) -> Fit | None:
    """Return the fit to go on with; None where learning from today's pool gives the same, or is what is wanted.

    Raises
    ------
    DataError
        If it was fitted to an earlier pool, and is missing or corrupt.
    """
    folder = arrays.parent
    fit = load(folder)
    if fit is None:
        record = manifest.load(folder)
        if record is not None and NAME in record.seals:
            raise DataError("the fitted state is missing", where=str(folder / NAME), hint=_again(folder))
        if not paths.list_names(folder) and _was_there(context, folder):
            context.progress.warn(f"{folder} is missing: the fitted state is lost, and is fitted again to today's pool")
        return None
    record = manifest.load(folder)
    if fit.recipe != recipe:
        sealed = None if record is None else record.seals.get(NAME)
        if sealed and parquet_io.seal(folder / NAME) != sealed:
            told = f"{folder / NAME} is not what was written: the fitted state is lost, and is fitted again"
            context.progress.warn(f"{told} to today's pool")
        return None
    sealed = None if record is None else record.seals.get(arrays.name)
    if not is_whole(fit) or (sealed and parquet_io.seal(arrays) != sealed):
        if fit.pool != pool:
            raise DataError("the fitted state is missing or corrupt", where=str(arrays), hint=_again(folder))
        return None
    return fit


def save(folder: Path, fit: Fit) -> None:
    """Say what the fit in ``folder`` is of; once its own files are whole."""
    parquet_io.write_json(folder / NAME, asdict(fit))


def describe_drift(drifted: float | None) -> list[str]:
    """Return what a report says of the drift of a fit; nothing if there is none."""
    return [f"what it learnt before drifted by {drifted:.2%}"] if drifted else []


def compute_drift(fit: Fit | None, now: float | None) -> float | None:
    """How much less of the rows a fit expresses now than when it was made, as a share of what it did then.

    >>> compute_drift(Fit(recipe="", pool="", fidelity=0.5), 0.25)
    0.5
    """
    if fit is None or not fit.fidelity or now is None:
        return None
    return max(0.0, 1 - now / fit.fidelity)


def run_with_fit(
    context: Context,
    arrays: Path,
    is_whole: Callable[[Fit], bool],
    recipe: str,
    pool: str,
    do: Callable[[str], Record[R]],
    drift_of: Callable[[R], float | None] = lambda _: None,
) -> Record[R]:
    """Return the record of a step that rests on a fit: the one on disk, or one of today's pool.

    With ``refit: drift`` the step is done with the earlier fit, and once more with a new one if that drifted too far.

    Parameters
    ----------
    context : Context
        The run.
    arrays : Path
        The file of the fitted arrays, in the folder of the step.
    is_whole : callable
        Returns whether those of a fit are there, as they were written.
    recipe, pool : str
        Fingerprints of what a fit of today would be made with and from.
    do : callable
        Runs the step with the fit of the pool whose fingerprint it receives.
    drift_of : callable
        Returns the drift that a result reports.

    Raises
    ------
    DataError
        If the fitted state of an earlier pool is missing or corrupt.
    """
    refresh = context.config.refresh
    kept = None if refresh.refit == "always" else _earlier(context, arrays, is_whole, recipe, pool)
    if kept is None:
        return do(pool)
    record = do(kept.pool)
    drifted = drift_of(record.result) or 0.0
    if refresh.refit == "drift" and drifted > refresh.max_drift:
        context.progress.note(f"{record.stage} {record.name}: drifted by {drifted:.2%}, learns anew")
        return do(pool)
    return record
