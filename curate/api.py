"""Functions for notebooks and scripts, thin wrappers of the modules that the command line uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.errors import ConfigError
from curate.kernels.types import AnyArray, Texts, freeze
from curate.plugins.batches import Pool
from curate.plugins.results import Selection
from curate.seeds import rng_for

if TYPE_CHECKING:
    import polars as pl

    from curate.pipeline import Summary
    from curate.store.versions import PublishedExport


def run(
    config: str | Path | Mapping[str, object],
    overrides: Sequence[str] = (),
    *,
    executor: str = "serial",
    workers: int | None = None,
    ray_address: str | None = None,
    overwrite: bool = False,
    verify: bool = False,
) -> Summary:
    """Run the pipeline that a configuration describes.

    Parameters
    ----------
    config : str, Path or mapping
        Path of a YAML file, or the same configuration as a mapping.
    overrides : sequence of str
        Keys to override, as ``--set`` takes them: ``["select.2.prune_rate=0.9"]``.
    executor : str
        Where tasks run: ``serial``, ``processes`` or ``ray``. It never changes a result.
    workers : int, optional
        Number of tasks that run in parallel; None for one per core.
    ray_address : str, optional
        Address of the Ray cluster to join. None uses ``RAY_ADDRESS``, or starts a cluster for the duration of the run.
    overwrite : bool
        Whether to run in a directory that contains other files, and replace those that conflict with results.
    verify : bool
        Whether to hash every input file again, even if its size and times are unchanged.

    Returns
    -------
    Summary
        Rows in and kept, the record of every stage, and the paths of the export and the report.

    Raises
    ------
    CurateError
        If the configuration, the input or a plugin is wrong; the published version is unchanged.
    """
    from curate import pipeline
    from curate.config import loader as settings

    path = isinstance(config, (str, Path))
    loaded = (
        settings.load_config(Path(config), overrides)  # type: ignore[arg-type]
        if path
        else settings.config_from_dict(dict(config), overrides)  # type: ignore[arg-type]
    )
    with pipeline.open_executor(executor, workers, ray_address) as runner:
        return pipeline.run(loaded, runner, overwrite=overwrite, verify=verify)


def get_published(run: str | Path) -> PublishedExport:
    """Return the version that a run has published.

    The files of a version do not change when other versions are published, so a reader sees one consistent version. A
    version is deleted ``export.keep_versions`` publications after it was replaced.

    Parameters
    ----------
    run : str or Path
        Run directory, or its URL.

    Returns
    -------
    Published
        ``path``, the directory of the version; ``files``, its data files in order, for ``polars.scan_parquet``,
        ``polars.scan_ndjson``, ``pyarrow.dataset.dataset`` or ``datasets.load_dataset``; ``version`` and ``rows``.

    Raises
    ------
    ConfigError
        If nothing has been published in this directory.
    DataError
        If a file of the version is missing, or its size differs from the size that was written.
    """
    from curate import paths
    from curate.store import versions

    return versions.resolve_published(paths.parse_path(str(run)))


def select(
    embeddings: ArrayLike,
    *,
    selector: str,
    keep: int | str | None = None,
    keep_rate: float | None = None,
    prune_rate: float | None = None,
    keep_tokens: int | None = None,
    at_most: bool = False,
    within: ArrayLike | None = None,
    quota: str | Mapping[str, float] | None = None,
    quality: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    tokens: ArrayLike | None = None,
    scores: Mapping[str, ArrayLike] | None = None,
    texts: Sequence[str] | None = None,
    seed: int = 0,
    **fields: object,
) -> Selection:
    """Select rows of an array with one selector.

    An array may be anything that NumPy can convert: a list, a Series, a tensor on the CPU. The selector ignores the
    arrays that it does not read.

    Parameters
    ----------
    embeddings : array_like of shape (n, d)
        Vectors of the rows; they are scaled to unit length.
    selector : str
        Name of a selector, as in ``use:``.
    keep, keep_rate, prune_rate, keep_tokens : int or float, optional
        Budget: exactly one of these, and none for a filter such as ``semdedup``, for which ``keep`` is the policy that
        selects one of several duplicates.
    at_most : bool
        Whether to keep every row if the budget exceeds the number of rows; by default, that is an error.
    within : array_like of shape (n,) or "cluster", optional
        Group of each row; the selector then runs in each group separately.
    quota : str or mapping, optional
        How to split the budget over the groups, as in a configuration: ``"proportional"`` (the default),
        ``"balanced"``, ``{"temperature": 3}``, or amounts by group such as ``{"code": 300, "chat": 0.2}``.
    quality : array_like of shape (n,), optional
        Quality of each row, higher = keep; equal for all rows by default.
    cluster : array_like of int of shape (n,), optional
        Cluster of each row, -1 for rows in no cluster; by default, k-means if the selector or ``within`` needs it.
    tokens : array_like of int of shape (n,), optional
        Number of tokens of each row, for ``keep_tokens``.
    scores : mapping of str to array_like of shape (n,), optional
        Raw scores by name, for selectors with an option such as ``by``.
    texts : sequence of str, optional
        Texts of the n rows, for selectors that read texts.
    seed : int
        Seed of all random choices.
    **fields
        Options of the selector.

    Returns
    -------
    Selection
        The selected rows in ``order``, best first.

    Raises
    ------
    ConfigError
        If an argument or an option of the selector is wrong; the message names it.
    DataError
        If the budget or a quota exceeds the number of rows.
    PluginError
        If the selector fails.

    Examples
    --------
    >>> import numpy as np
    >>> select(np.eye(4), selector="k_center", keep=2).indices.tolist()
    [0, 1]
    >>> groups = ["a", "a", "a", "b"]
    >>> sorted(select(np.eye(4), selector="uniform", keep=2, within=groups, quota="balanced").indices.tolist())[-1]
    3
    """
    from curate.config.loader import selector_entry_from_dict
    from curate.stages.select import run_selector

    x = _unit_rows(embeddings)
    n = len(x)
    if scores is not None and not isinstance(scores, Mapping):
        raise ConfigError("scores: must be a mapping of names to arrays", hint="pass scores={'name': array}")
    arguments = {
        "keep": keep,
        "keep_rate": keep_rate,
        "prune_rate": prune_rate,
        "keep_tokens": keep_tokens,
        "at_most": at_most or None,
        "within": None if within is None else "cluster" if isinstance(within, str) else "within",
        "quota": dict(quota) if isinstance(quota, Mapping) else quota,
    }
    options = {name: value for name, value in arguments.items() if value is not None}
    entry = selector_entry_from_dict({"use": selector, **options, **fields}, list(scores or {}))
    traits = entry.spec.plugin().traits
    for name, value, reason in (
        ("texts", texts, "text" in traits.reads and f"the selector {selector!r} reads texts"),
        ("quality", quality, traits.needs_quality and f"the selector {selector!r} ranks by quality"),
        ("tokens", tokens, keep_tokens is not None and "keep_tokens counts tokens"),
    ):
        if reason and value is None:
            raise ConfigError(f"{name}: missing; {reason}", hint=f"add {name}=[…]")
    if "frame" in traits.reads:
        message = f"the selector {selector!r} reads columns of the input, and an array has no columns"
        raise ConfigError(message, hint="filter the rows before the call, or use the selector in a configuration")
    needs_clusters = "cluster" in traits.reads or isinstance(within, str)
    codes = _clusters(cluster, x, seed) if needs_clusters else np.zeros(n, np.int32)
    pool = Pool(
        x,
        np.zeros(n, np.float32) if quality is None else _vector("quality", quality, np.float32, n),
        codes,
        {name: _vector(f"scores[{name!r}]", values, np.float32, n) for name, values in (scores or {}).items()},
        texts=None if texts is None else _texts(texts, n),
    )
    groups = None if within is None else run_selector.build_groups(_groups(within, codes, n), entry.quota)
    counts = _vector("tokens", tokens, np.int32, n) if tokens is not None and keep_tokens is not None else None
    if counts is not None and (counts < 0).any():
        raise ConfigError("tokens: must be >= 0; got a negative number")
    return run_selector.run(entry, pool, seed, groups=groups, tokens=counts)


_NUMPY_HINT = (
    "pass a NumPy array: tensor.detach().float().cpu().numpy() for a PyTorch tensor, np.stack(series.to_list()) for a "
    "column of lists"
)


def _array(name: str, values: ArrayLike) -> AnyArray:
    """Return an argument as a NumPy array of numbers."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{name}: cannot be converted to an array: {error}", hint=_NUMPY_HINT) from error
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{name}: must be numbers; got an array of {array.dtype}", hint=_NUMPY_HINT)
    return array


def _unit_rows(embeddings: ArrayLike) -> NDArray[np.float32]:
    array = _array("embeddings", embeddings)
    if array.ndim != 2 or not array.shape[1]:
        hint = "pass x[None, :] for one vector, x[:, None] for n vectors of one number" if array.ndim == 1 else ""
        raise ConfigError(f"embeddings: must have the shape (n, d); got {array.shape}", hint=hint)
    with np.errstate(over="ignore"):
        x = array.astype(np.float32)
        norms = np.linalg.norm(x, axis=1, keepdims=True)
    invalid = np.flatnonzero(~(np.isfinite(norms) & (norms > 0))[:, 0])
    if len(invalid):
        message = f"embeddings: row {invalid[0]} is all zero, or contains NaN or infinity"
        more = f"; so do {len(invalid) - 1:,} more rows" if len(invalid) > 1 else ""
        raise ConfigError(message + more, hint="drop these rows")
    return freeze(x / norms)


def _vector(name: str, values: ArrayLike, dtype: type[np.generic], n: int) -> AnyArray:
    array = _array(name, values)
    if array.shape != (n,):
        raise ConfigError(f"{name}: must have the shape ({n},), one number for each row; got {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    if issubclass(dtype, np.integer) and not (converted == array).all():
        row = int(np.flatnonzero(converted != array)[0])
        raise ConfigError(f"{name}: must be {np.dtype(dtype)}; got {array[row].item()} in row {row}")
    return converted


def _texts(texts: Sequence[str], n: int) -> Texts:
    items = [texts] if isinstance(texts, str) else list(texts)
    other_types = [type(text).__name__ for text in items if not isinstance(text, str)]
    if isinstance(texts, str) or other_types:
        got = "one string" if isinstance(texts, str) else f"a list with a {other_types[0]}"
        raise ConfigError(f"texts: must be a list of strings; got {got}")
    if len(items) != n:
        raise ConfigError(f"texts: must have one text for each of the {n:,} rows of embeddings; got {len(items):,}")
    return Texts.from_list(items)


def _groups(within: ArrayLike, codes: NDArray[np.int32], n: int) -> pl.Series:
    """Return the group of each row."""
    import polars as pl

    if isinstance(within, str):
        if within == "cluster":
            return pl.Series(codes)
        raise ConfigError(f"within: must be a list with the group of each row, or 'cluster'; got {within!r}")
    try:
        values = within.tolist() if isinstance(within, np.ndarray) and within.dtype == object else within
        groups = pl.Series("within", values, strict=True)  # type: ignore[arg-type] # it accepts whatever NumPy accepts
    except (TypeError, ValueError, RuntimeError, pl.exceptions.PolarsError) as error:
        message = f"within: must be a list of strings or integers, one for each row: {error}"
        raise ConfigError(message, hint=_NUMPY_HINT) from error
    if len(groups) != n or groups.dtype.is_nested() or groups.dtype == pl.Object:
        got = f"{len(groups):,} values of type {groups.dtype}"
        raise ConfigError(f"within: must have the group of each of the {n:,} rows; got {got}")
    return groups


def _clusters(cluster: ArrayLike | None, x: NDArray[np.float32], seed: int) -> NDArray[np.int32]:
    """Return the cluster of each row: the ones that were passed, or those of k-means."""
    from curate.kernels.clustering import lloyd
    from curate.kernels.types import Vectors
    from curate.plugins import registry

    if cluster is not None:
        return _vector("cluster", cluster, np.int32, len(x))
    fitted = registry.get("clusterer", "kmeans").cls().fit(Vectors.from_array(x), rng_for(seed, "cluster/kmeans"))
    codes, _ = lloyd.assign(x, fitted.centroids)
    return codes
