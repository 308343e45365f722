"""Functions for notebooks and scripts, thin wrappers of the modules that the command line uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.errors import ConfigError
from curate.plugins.results import Selection
from curate.seeds import rng_for

if TYPE_CHECKING:
    from curate.pipeline import Summary
    from curate.store.explain import Explanation
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
    progress: bool | None = None,
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
    progress : bool, optional
        Whether to show the progress and warnings; by default, in notebooks only.

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
    from curate.progress import show_progress

    path = isinstance(config, (str, Path))
    loaded = (
        settings.load_config(Path(config), overrides)  # type: ignore[arg-type]
        if path
        else settings.config_from_dict(dict(config), overrides)  # type: ignore[arg-type]
    )
    with pipeline.open_executor(executor, workers, ray_address) as runner, show_progress(progress) as shown:
        return pipeline.run(loaded, runner, shown, overwrite=overwrite, verify=verify)


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


def load(run: str | Path) -> Summary:
    """Load the summary of a run from its run directory; nothing is computed, and the input files are not read.

    Parameters
    ----------
    run : str or Path
        Run directory, or its URL.

    Returns
    -------
    Summary
        As ``run`` returned it, with the steps of the last run that was completed.

    Raises
    ------
    ConfigError
        If there is no completed run in this directory.
    DataError
        If a result is missing or corrupt.
    """
    from curate import paths, pipeline

    return pipeline.load(paths.parse_path(str(run)))


def explain(run: str | Path, name: str) -> Explanation:
    """Explain the outcome of one row of a run.

    Parameters
    ----------
    run : str or Path
        Run directory, or its URL.
    name : str
        Id of the row, ``FILE:LINE`` with an input file, or the hash of its text, as in generated ids.

    Returns
    -------
    Explanation
        The row's outcome, scores, cluster and representatives; ``print`` shows it as ``curate explain`` does.

    Raises
    ------
    ConfigError
        If there is no such run or row; the error suggests similar ids.
    """
    from curate import paths
    from curate.store import explain as explanations

    return explanations.explain(paths.parse_path(str(run)), name)


def embed(texts: ArrayLike, embedder: str = "lsa", *, seed: int = 0, **options: object) -> NDArray[np.float32]:
    """Embed texts with one embedder.

    An embedder that is fitted, such as ``lsa``, is fitted to a sample of the texts, as in a run.

    Parameters
    ----------
    texts : sequence of str of length n
        Texts: a list, a Series or an Arrow array.
    embedder : str
        Name of an embedder that reads texts, as in ``use:``.
    seed : int
        Seed of all random choices.
    **options
        Options of the embedder.

    Returns
    -------
    ndarray of shape (n, d)
        Vectors of unit length, float32.

    Raises
    ------
    ConfigError
        If an argument is wrong, or a text has no vector, such as an empty text.
    PluginError
        If the embedder fails.

    Examples
    --------
    >>> embed(["to be", "not to be"], "hashing", dimensions=8).shape
    (2, 8)
    """
    from curate.config.loader import embed_entry_from_dict
    from curate.notebook_rows import to_texts, unit_rows
    from curate.stages.base import plugin_call

    items = [text for block in to_texts(texts, None).blocks() for text in block]
    entry = embed_entry_from_dict({"use": embedder, **options})
    plugin = entry.spec.build()
    if "text" not in entry.spec.plugin().traits.reads:
        raise ConfigError(f"embedder: {embedder!r} does not read texts", hint="pass the vectors to select directly")
    rng = rng_for(seed, f"embed/{entry.name}")
    if entry.spec.plugin().traits.fits and items:
        size = min(len(items), int(dict(entry.spec.fields).get("sample_size", 50_000)))
        sample = [items[row] for row in np.sort(rng.choice(len(items), size, replace=False)).tolist()]
        with plugin_call(entry.spec, entry.name):
            plugin = plugin.restore(plugin.fit(sample, rng))
    with plugin_call(entry.spec, entry.name):
        vectors = plugin.encode(items)
    return unit_rows("texts", vectors)


def select(
    data: object = None,
    *,
    selector: str,
    keep: int | str | None = None,
    keep_rate: float | None = None,
    prune_rate: float | None = None,
    keep_tokens: int | None = None,
    at_most: bool = False,
    within: ArrayLike | None = None,
    quota: str | Mapping[str, float] | None = None,
    embeddings: ArrayLike | None = None,
    quality: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    tokens: ArrayLike | None = None,
    scores: Mapping[str, ArrayLike] | Sequence[str] | None = None,
    texts: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    groups: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    **fields: object,
) -> Selection:
    """Select rows of a DataFrame or an array with one selector.

    An array may be a NumPy array, a list, a Series, an Arrow array, or a tensor of any type on any device. If ``data``
    is a DataFrame, a string as one of the arrays names a column. The selector ignores the arrays that it does not read.

    Parameters
    ----------
    data : DataFrame, Arrow table, datasets.Dataset or array_like of shape (n, d)
        Rows with columns, or the vectors of the rows.
    selector : str
        Name of a selector, as in ``use:``.
    keep, keep_rate, prune_rate, keep_tokens : int or float, optional
        Budget: exactly one of these, and none for a filter such as ``semdedup``, for which ``keep`` is the policy that
        selects one of several duplicates.
    at_most : bool
        Whether to keep every row if the budget exceeds the number of rows; by default, that is an error.
    within : array_like of shape (n,) or str, optional
        Group of each row; the selector then runs in each group separately. "cluster", "label", the name of one of
        ``groups``, or a column.
    quota : str or mapping, optional
        How to split the budget over the groups, as in a configuration: ``"proportional"`` (the default),
        ``"balanced"``, ``{"temperature": 3}``, or amounts by group such as ``{"code": 300, "chat": 0.2}``.
    embeddings : array_like of shape (n, d) or str, optional
        Vectors of the rows; they are scaled to unit length. By default, the only column of vectors.
    quality : array_like of shape (n,), optional
        Quality of each row, higher = keep; equal for all rows by default.
    cluster : array_like of int of shape (n,), optional
        Cluster of each row, -1 for rows in no cluster; by default, k-means if the selector or ``within`` needs it.
    tokens : array_like of int of shape (n,), optional
        Number of tokens of each row, for ``keep_tokens``.
    scores : mapping of str to array_like of shape (n,), or list of str, optional
        Raw scores by name, for selectors with an option such as ``by``; or the names of columns with scores.
    texts : array_like of str of shape (n,), optional
        Texts of the rows, for selectors that read texts.
    labels : array_like of shape (n,), optional
        Labels of the rows: the column ``label`` of conditions.
    groups : mapping of str to array_like of shape (n,), optional
        Further columns by name, for conditions and ``within``.
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
    >>> lang = ["a", "a", "a", "b"]
    >>> sorted(select(np.eye(4), selector="uniform", keep=2, within=lang, quota="balanced").indices.tolist())[-1]
    3
    >>> select(np.eye(4), selector="where", drop="lang = 'a'", groups={"lang": lang}).indices.tolist()
    [3]
    """
    from curate.config.loader import selector_entry_from_dict
    from curate.notebook_rows import NotebookRows
    from curate.stages.select import run_selector

    rows = NotebookRows.from_arguments(
        data,
        embeddings=embeddings,
        quality=quality,
        cluster=cluster,
        tokens=tokens,
        scores=scores,
        texts=texts,
        labels=labels,
        groups=groups,
    )
    arguments = {
        "keep": keep,
        "keep_rate": keep_rate,
        "prune_rate": prune_rate,
        "keep_tokens": keep_tokens,
        "at_most": at_most or None,
        "within": None if within is None else within if isinstance(within, str) else "within",
        "quota": dict(quota) if isinstance(quota, Mapping) else quota,
    }
    options = {name: value for name, value in arguments.items() if value is not None}
    entry = selector_entry_from_dict({"use": selector, **options, **fields}, list(rows.scores))
    if keep_tokens is not None:
        rows.require("tokens", "keep_tokens counts tokens")
    grouped = None
    if within is not None:
        grouped = run_selector.build_groups(rows.group_values(within, seed), entry.quota)
    counts = rows.tokens if keep_tokens is not None else None
    return run_selector.run(entry, rows.to_pool(entry, seed), seed, groups=grouped, tokens=counts)
