"""Functions for notebooks and scripts, thin over the modules that the command line uses."""

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
    config : the path of a YAML file, or the same as a mapping
    overrides : as ``--set`` takes them: ``["select.2.prune_rate=0.9"]``
    executor : ``serial``, ``processes`` or ``ray``: where tasks run; it never changes a result
    workers : tasks at once; None for one a core
    ray_address : of the Ray cluster to join; None for what ``RAY_ADDRESS`` says, or one that lives as long as the run
    overwrite : also run in a folder that holds other files, replacing those that are in the way
    verify : hash every input file again, whatever its size and times say

    Returns
    -------
    What was done: rows, records of every stage, and where the export and the report are.
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
    """Look up the version that a run has published, once.

    Its files stay as they are while other versions are published, so a reader sees all of one version. It is deleted
    ``export.keep_versions`` publications after it was replaced.

    Parameters
    ----------
    run : str or Path
        The run directory, or its URL.

    Returns
    -------
    Published
        ``path``, the folder of the version; ``files``, its data files in order, for ``polars.scan_parquet``,
        ``polars.scan_ndjson``, ``pyarrow.dataset.dataset`` or ``datasets.load_dataset``; ``version`` and ``rows``.

    Raises
    ------
    ConfigError
        Nothing is published in this folder.
    DataError
        A file of the version is missing, or of another size than was written.
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
    """Choose rows of an array with one selector.

    Arrays may be anything that NumPy reads: lists, Series, tensors on the CPU. The selector ignores those that it does
    not read.

    Parameters
    ----------
    embeddings : (n, d) numbers, scaled here to rows of unit length
    selector : name of a selector, as in ``use:``
    keep, keep_rate, prune_rate, keep_tokens : the budget; exactly one of them, and none for a filter such as
        ``semdedup``, where ``keep`` names which of several duplicates to keep
    at_most : whether to keep every row where the budget is above the rows there are; by default, that is an error
    within : (n,) group of each row, or "cluster"; the selector then runs in each group by itself
    quota : how the budget is split over the groups, as in a configuration: ``"proportional"`` (the default),
        ``"balanced"``, ``{"temperature": 3}``, or amounts by group such as ``{"code": 300, "chat": 0.2}``
    quality : (n,) numbers, higher = keep; all equal by default
    cluster : (n,) integers, -1 for rows in no cluster; by default, k-means where a selector or ``within`` needs it
    tokens : (n,) integers, for ``keep_tokens``
    scores : name to (n,) raw scores, for selectors with a field such as ``by``
    texts : n strings, for selectors that read texts
    seed : of every random choice
    fields : the selector's own fields

    Returns
    -------
    Selection
        ``order`` holds the chosen rows, best first.

    Raises
    ------
    ConfigError
        Naming the argument, or the field of the selector, that is wrong.
    DataError
        A budget or a quota beyond the rows there are.
    PluginError
        A selector that fails.

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
        raise ConfigError("scores: must be a mapping of names to arrays", hint="write scores={'name': array}")
    arguments = {
        "keep": keep,
        "keep_rate": keep_rate,
        "prune_rate": prune_rate,
        "keep_tokens": keep_tokens,
        "at_most": at_most or None,
        "within": None if within is None else "cluster" if isinstance(within, str) else "within",
        "quota": dict(quota) if isinstance(quota, Mapping) else quota,
    }
    given = {name: value for name, value in arguments.items() if value is not None}
    entry = selector_entry_from_dict({"use": selector, **given, **fields}, list(scores or {}))
    traits = entry.spec.plugin().traits
    for name, value, why in (
        ("texts", texts, "text" in traits.reads and f"the selector {selector!r} reads texts"),
        ("quality", quality, traits.needs_quality and f"the selector {selector!r} ranks by quality"),
        ("tokens", tokens, keep_tokens is not None and "keep_tokens counts tokens"),
    ):
        if why and value is None:
            raise ConfigError(f"{name}: missing; {why}", hint=f"add {name}=[…]")
    if "frame" in traits.reads:
        message = f"the selector {selector!r} reads columns of a pool's rows, and an array has none"
        raise ConfigError(message, hint="filter the rows before, or use it in a configuration")
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
        raise ConfigError("tokens: a row has fewer than 0")
    return run_selector.run(entry, pool, seed, groups=groups, tokens=counts)


_NUMPY_HINT = (
    "pass a NumPy array: tensor.detach().float().cpu().numpy() of a PyTorch tensor, np.stack(series.to_list()) of a "
    "column of lists"
)


def _array(name: str, values: ArrayLike) -> AnyArray:
    """Return what NumPy reads of an argument; an array of objects is refused."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{name}: cannot be read as an array: {error}", hint=_NUMPY_HINT) from error
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{name}: must be numbers; got an array of {array.dtype}", hint=_NUMPY_HINT)
    return array


def _unit_rows(embeddings: ArrayLike) -> NDArray[np.float32]:
    given = _array("embeddings", embeddings)
    if given.ndim != 2 or not given.shape[1]:
        hint = "one vector is x[None, :], and n vectors of one number are x[:, None]" if given.ndim == 1 else ""
        raise ConfigError(f"embeddings: must have the shape (n, d); got {given.shape}", hint=hint)
    with np.errstate(over="ignore"):
        x = given.astype(np.float32)
        norms = np.linalg.norm(x, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(norms) & (norms > 0))[:, 0])
    if len(wrong):
        message = f"embeddings: a row is all zero, NaN or infinite: row {wrong[0]}"
        raise ConfigError(message + (f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""), hint="drop such rows")
    return freeze(x / norms)


def _vector(name: str, values: ArrayLike, dtype: type[np.generic], n: int) -> AnyArray:
    array = _array(name, values)
    if array.shape != (n,):
        raise ConfigError(f"{name}: must have the shape ({n},), one number for each row; got {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(dtype)
    if issubclass(dtype, np.integer) and not (found == array).all():
        wrong = int(np.flatnonzero(found != array)[0])
        raise ConfigError(f"{name}: must be {np.dtype(dtype)}; got {array[wrong].item()} in row {wrong}")
    return found


def _texts(texts: Sequence[str], n: int) -> Texts:
    found = [texts] if isinstance(texts, str) else list(texts)
    wrong = [type(text).__name__ for text in found if not isinstance(text, str)]
    if isinstance(texts, str) or wrong:
        got = "one string" if isinstance(texts, str) else f"a {wrong[0]} among them"
        raise ConfigError(f"texts: must be a list of strings; got {got}")
    if len(found) != n:
        raise ConfigError(f"texts: there are {len(found):,}, and embeddings have {n:,} rows")
    return Texts.from_list(found)


def _groups(within: ArrayLike, codes: NDArray[np.int32], n: int) -> pl.Series:
    """Return the group of each row."""
    import polars as pl

    if isinstance(within, str):
        if within == "cluster":
            return pl.Series(codes)
        raise ConfigError(f"within: must be the group of each row, or 'cluster'; got {within!r}")
    try:
        given = within.tolist() if isinstance(within, np.ndarray) and within.dtype == object else within
        groups = pl.Series("within", given, strict=True)  # type: ignore[arg-type] # it takes what NumPy takes
    except (TypeError, ValueError, RuntimeError, pl.exceptions.PolarsError) as error:
        message = f"within: must be a list of strings or integers, one for each row: {error}"
        raise ConfigError(message, hint=_NUMPY_HINT) from error
    if len(groups) != n or groups.dtype.is_nested() or groups.dtype == pl.Object:
        raise ConfigError(f"within: must be the group of each of the {n:,} rows; got {len(groups):,} of {groups.dtype}")
    return groups


def _clusters(given: ArrayLike | None, x: NDArray[np.float32], seed: int) -> NDArray[np.int32]:
    from curate.kernels.clustering import lloyd
    from curate.kernels.types import Vectors
    from curate.plugins import registry

    if given is not None:
        return _vector("cluster", given, np.int32, len(x))
    fitted = registry.get("clusterer", "kmeans").cls().fit(Vectors.from_array(x), rng_for(seed, "cluster/kmeans"))
    codes, _ = lloyd.assign(x, fitted.centroids)
    return codes
