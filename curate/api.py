"""Functions for notebooks and scripts, thin over the modules that the command line uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.errors import ConfigError, catching_panics
from curate.kernels.types import AnyArray, Texts, frozen
from curate.plugins.batches import Pool
from curate.plugins.results import Selection
from curate.seeds import rng_for

if TYPE_CHECKING:
    from curate.pipeline import Summary
    from curate.store.versions import Published


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
    loaded = settings.load(Path(config), overrides) if path else settings.from_data(dict(config), overrides)  # type: ignore[arg-type]
    with pipeline.executor_named(executor, workers, ray_address) as runner:
        return pipeline.run(loaded, runner, overwrite=overwrite, verify=verify)


def published(run: str | Path) -> Published:
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

    return versions.resolved(paths.place(str(run)))


def select(
    embeddings: ArrayLike,
    *,
    selector: str,
    keep: int | None = None,
    keep_rate: float | None = None,
    prune_rate: float | None = None,
    quality: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    scores: Mapping[str, ArrayLike] | None = None,
    texts: Sequence[str] | None = None,
    seed: int = 0,
    **fields: object,
) -> Selection:
    """Choose rows of an array with one selector.

    Parameters
    ----------
    embeddings : (n, d), scaled here to rows of unit length
    selector : the name of a selector, as in ``use:``
    keep, keep_rate, prune_rate : the budget; exactly one of them, and none for a filter such as ``semdedup``
    quality : (n,) higher = keep; all alike where left out
    cluster : (n,) whole numbers, -1 for rows in no cluster; computed with k-means where a selector needs it
    scores : name to (n,) raw scores, for selectors with a field such as ``by``
    texts : n of them, for selectors that read texts
    seed : of every random choice
    fields : the selector's own fields

    Returns
    -------
    Selection : ``order`` holds the chosen rows, best first

    Raises
    ------
    ConfigError, PluginError : naming the field or the array that is wrong

    >>> import numpy as np
    >>> select(np.eye(4), selector="k_center", keep=2).order.tolist()
    [0, 1]
    """
    from curate.config.loader import selector_from

    x = np.array(embeddings, np.float32, ndmin=2)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise ConfigError("embeddings: a row is all zero, NaN or infinite", hint="leave such rows out")
    x = frozen(x / norms)
    n = len(x)
    given = {"keep": keep, "keep_rate": keep_rate, "prune_rate": prune_rate}
    budgets = {name: value for name, value in given.items() if value is not None}
    plugin, chooser, budget = selector_from({"use": selector, **budgets, **fields}, list(scores or {}))
    if "text" in plugin.traits.reads and texts is None:
        raise ConfigError(f"the selector {selector!r} reads texts", hint="give them: texts=[…]")
    pool = Pool(
        x,
        _column(quality, np.float32, n),
        _clusters(cluster, x, seed) if "cluster" in plugin.traits.reads else np.zeros(n, np.int32),
        {name: _column(values, np.float32, n) for name, values in (scores or {}).items()},
        texts=None if texts is None else Texts.of(texts),
    )
    rows = None if budget is None else budget.rows(n, selector)
    with catching_panics():
        answer: Selection = chooser.select(pool, rows, rng_for(seed, f"select/{selector}"))
    return answer.check(n, rows)


def _column(values: ArrayLike | None, dtype: type, n: int) -> AnyArray:
    return np.zeros(n, dtype) if values is None else np.array(values, dtype)


def _clusters(given: ArrayLike | None, x: NDArray[np.float32], seed: int) -> NDArray[np.int32]:
    from curate.kernels.clustering import lloyd
    from curate.kernels.types import Vectors
    from curate.plugins import registry

    if given is not None:
        return _column(given, np.int32, len(x))
    fitted = registry.get("clusterer", "kmeans").cls().fit(Vectors.of(x), rng_for(seed, "cluster/kmeans"))
    codes, _ = lloyd.assign(x, fitted.centroids)
    return codes
