"""Fitted states of plugins: kept while the pool changes, until the refresh section requires a new fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from curate import paths
from curate.errors import DataError
from curate.stages.base import Context, plugin_call
from curate.store import manifest, npz, parquet_io
from curate.store.json_shape import parse_dataclass
from curate.store.manifest import Record, StageResult

if TYPE_CHECKING:
    from curate.plugins.registry import PluginSpec

R = TypeVar("R", bound=StageResult)

NAME = "fit.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Description of a fit: its recipe, its pool and its fidelity."""

    recipe: str
    """Fingerprint of everything that the fit depends on except the pool."""

    pool: str
    """Fingerprint of the rows that the plugin was fitted to."""

    fidelity: float | None
    """Mean share of a row of that pool that the fit expresses; None if the plugin does not measure it."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the fit."""
        return fingerprint(self.recipe, self.pool)


@dataclass(frozen=True, slots=True)
class StateFile:
    """Path of the fitted arrays of a plugin, and the fingerprint of the fit."""

    path: Path
    fingerprint: str


@lru_cache(maxsize=2)
def build_fitted(spec: PluginSpec, state: StateFile | None) -> Any:
    """Return the plugin with its fitted state, or as configured if it is not fitted; built once per process.

    Raises
    ------
    DataError
        The fitted state is missing or corrupt.
    """
    plugin = spec.build()
    if state is None:
        return plugin
    arrays = npz.load(state.path, state.fingerprint)
    if arrays is None:
        message = f"the fitted state of the {spec.kind} {spec.name!r} is missing or corrupt"
        raise DataError(message, where=str(state.path), hint="run again to fit it again")
    with plugin_call(spec, spec.name):
        return plugin.restore(arrays)


def fingerprint(recipe: str, pool: str) -> str:
    """Return the fingerprint of a fit with this recipe and pool."""
    return manifest.fingerprint({"recipe": recipe, "pool": pool})


def load(folder: Path) -> Fit | None:
    """Return the fit in ``folder``; None if it is missing.

    Raises
    ------
    DataError
        The file is corrupt.
    """
    return parse_dataclass(Fit, parquet_io.read_required_json(folder / NAME, _recovery_hint(folder)))


def _recovery_hint(folder: Path) -> str:
    return f"restore the file from a backup, or delete {folder}: the plugin is then fitted again to the current pool"


def _existed(context: Context, folder: Path) -> bool:
    """Return whether the last completed run had the step of a folder."""
    last = parquet_io.read_json(context.folder / manifest.NAME) or {}
    return any(
        stage.folder(context.folder, stage.entry_name(entry)) == folder
        for stage in context.stages
        for entry in stage.entries(context.config)
        if f"{stage.name} {stage.entry_name(entry)}" in last.get("fingerprints", {})
    )


def _reusable_fit(
    context: Context, arrays: Path, is_complete: Callable[[Fit], bool], recipe: str, pool: str
) -> Fit | None:
    """Return the fit to reuse; None if the plugin is to be fitted to the current pool.

    Raises
    ------
    DataError
        A fit to an earlier pool is missing or corrupt.
    """
    folder = arrays.parent
    fit = load(folder)
    if fit is None:
        record = manifest.load(folder)
        if record is not None and NAME in record.seals:
            raise DataError("the fitted state is missing", where=str(folder / NAME), hint=_recovery_hint(folder))
        if not paths.list_names(folder) and _existed(context, folder):
            context.progress.warn(
                f"{folder} is missing: its fitted state is lost, and is fitted again to the current pool"
            )
        return None
    record = manifest.load(folder)
    if fit.recipe != recipe:
        sealed = None if record is None else record.seals.get(NAME)
        if sealed and parquet_io.seal(folder / NAME) != sealed:
            message = f"{folder / NAME} is corrupt: the fitted state is lost, and is fitted again"
            context.progress.warn(f"{message} to the current pool")
        return None
    sealed = None if record is None else record.seals.get(arrays.name)
    if not is_complete(fit) or (sealed and parquet_io.seal(arrays) != sealed):
        if fit.pool != pool:
            raise DataError("the fitted state is missing or corrupt", where=str(arrays), hint=_recovery_hint(folder))
        return None
    return fit


def save(folder: Path, fit: Fit) -> None:
    """Write the description of the fit in ``folder``, after its arrays are complete."""
    parquet_io.write_json(folder / NAME, asdict(fit))


def describe_drift(drift: float | None) -> list[str]:
    """Return a remark about the drift of a fit; no remark if there is no drift."""
    return [f"the reused fitted state has drifted by {drift:.2%}"] if drift else []


def compute_drift(fit: Fit | None, now: float | None) -> float | None:
    """Return the relative decrease of the fidelity of a fit since it was made; None if it is unknown.

    >>> compute_drift(Fit(recipe="", pool="", fidelity=0.5), 0.25)
    0.5
    """
    if fit is None or not fit.fidelity or now is None:
        return None
    return max(0.0, 1 - now / fit.fidelity)


def run_with_fit(
    context: Context,
    arrays: Path,
    is_complete: Callable[[Fit], bool],
    recipe: str,
    pool: str,
    run: Callable[[str], Record[R]],
    drift_of: Callable[[R], float | None] = lambda _: None,
) -> Record[R]:
    """Run a step that depends on a fit, either the one on disk or a new one, and return its record.

    With ``refit: drift`` the step runs with the earlier fit, and again with a new fit if the drift is too large.

    Parameters
    ----------
    context : Context
        Context of the run.
    arrays : Path
        File of the fitted arrays, in the folder of the step.
    is_complete : callable
        Function that returns whether the arrays of a fit are on disk and intact.
    recipe, pool : str
        Fingerprints of the recipe and the pool of a new fit.
    run : callable
        Function that runs the step with the fit to the pool with the given fingerprint.
    drift_of : callable
        Function that returns the drift reported by a result.

    Raises
    ------
    DataError
        The fitted state of an earlier pool is missing or corrupt.
    """
    refresh = context.config.refresh
    kept = None if refresh.refit == "always" else _reusable_fit(context, arrays, is_complete, recipe, pool)
    if kept is None:
        return run(pool)
    record = run(kept.pool)
    drift = drift_of(record.result) or 0.0
    if refresh.refit == "drift" and drift > refresh.max_drift:
        context.progress.note(f"{record.stage} {record.name}: the fitted state drifted by {drift:.2%}; fitting again")
        return run(pool)
    return record
