"""Which contenders see labels or groups of the pool, directly or through the scores that they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from curate.plugins.fields import fields, find_marked
from curate.plugins.interfaces import ConfigReference

if TYPE_CHECKING:
    from curate.config.model import RunConfig, ScoreEntry, SelectEntry

LABELS = "labels"
"""What a contender sees that reads labels, or scores of a proxy that was trained on them."""

_ROLES = ("label", "source")


def list_visible(config: RunConfig, entries: Sequence[SelectEntry]) -> tuple[str, ...]:
    """Return what the entries see of labels and groups.

    Parameters
    ----------
    entries : a selector, after the filters before it

    Returns
    -------
    seen : each once, such as "labels", "groups of source" or "column lang", labels first

    Notes
    -----
    A selector sees labels if it reads them, if it chooses ``within`` them, if a score that it uses reads them or the
    dynamics of a proxy, or if the clusters that it reads are a column with the labels. Rows that are exported with
    labels at hand may be chosen so; rows to be labeled may not.
    """
    found = dict.fromkeys(one for entry in entries for one in _of_entry(config, entry))
    return tuple(sorted(found, key=lambda one: (one != LABELS, one)))


def _of_entry(config: RunConfig, entry: SelectEntry) -> Iterator[str]:
    reads = entry.spec.plugin().traits.reads
    yield from _of_reads(config, reads)
    if entry.within is not None:
        clusters = list(_of_cluster(config)) if entry.within == "cluster" else []
        yield from clusters or [_group(config, entry.within)]
    columns = entry.spec.build().columns() if "frame" in reads else ()
    scores = {one.name: one for one in config.score}
    for name in _scores(config, entry, columns):
        for score in scores.values():
            if name in _outputs(score):
                yield from _of_reads(config, score.spec.plugin().traits.reads)
    for name in columns:
        if name == "cluster":
            yield from _of_cluster(config)
        elif name in (*_ROLES, config.input.label, config.input.source):
            yield _group(config, name)
        elif name != "tokens" and not name.startswith("score_"):
            yield f"column {name}"


def _of_reads(config: RunConfig, reads: frozenset[str]) -> Iterator[str]:
    """Yield what a selector or a scorer with these ``reads`` sees."""
    if reads & {"label", "dynamics"}:
        yield LABELS
    if "source" in reads:
        yield _group(config, "source")
    if "cluster" in reads:
        yield from _of_cluster(config)


def _of_cluster(config: RunConfig) -> Iterator[str]:
    """Yield the column that the clusters are; clusters of similar rows are no groups that are known beforehand."""
    cluster = config.cluster.spec
    if "column" in cluster.plugin().traits.reads:
        yield _group(config, str(dict(cluster.fields)["column"]))


def _group(config: RunConfig, name: str) -> str:
    if name in ("label", config.input.label):
        return LABELS
    return "groups of source" if name == config.input.source else f"groups of {name}"


def _scores(config: RunConfig, entry: SelectEntry, columns: Sequence[str]) -> set[str]:
    """Return the names of the scores that the entry uses."""
    plugin, built = entry.spec.plugin(), entry.spec.build()
    named = {
        name
        for field in fields(plugin.cls)
        for _, mark, name in find_marked(field.type, getattr(built, field.name), ConfigReference)
        if mark.target == "score"
    }
    if "scores" in plugin.traits.reads and not named:
        named = {name for score in config.score for name in _outputs(score)}
    quality = [entry.quality.removeprefix("-")] if entry.quality is not None else []
    return {*named, *quality, *(name.removeprefix("score_") for name in columns if name.startswith("score_"))}


def _outputs(score: ScoreEntry) -> list[str]:
    """Return the names of the scores that an entry gives."""
    return [f"{score.name}_{one.name}" if one.name else score.name for one in score.spec.plugin().traits.columns]
