"""Labels and groups of the pool that contenders read, directly or through the scores that they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from curate.plugins.fields import fields, find_marked
from curate.plugins.interfaces import PROXY_READS, ConfigReference

if TYPE_CHECKING:
    from curate.config.model import RunConfig, ScoreEntry, SelectEntry

LABELS = "labels"
"""Entry for contenders that read labels, or scores of a proxy that was trained on labels."""

_ROLES = ("label", "source")


def list_visible(config: RunConfig, entries: Sequence[SelectEntry]) -> tuple[str, ...]:
    """Return the labels and groups that entries read.

    Parameters
    ----------
    config : RunConfig
        Configuration of the run.
    entries : sequence of SelectEntry
        Filters, followed by a selector.

    Returns
    -------
    tuple of str
        Descriptions such as "labels", "groups of source" or "column lang", without duplicates, labels first.

    Notes
    -----
    A selector uses labels if it reads them, if it selects ``within`` them, if one of its scores reads them or the
    dynamics of a proxy, or if its clusters come from the label column. Such a selector is only suitable for rows that
    already have labels, not for choosing rows to label.
    """
    descriptions = {text for entry in entries for text in _of_entry(config, entry)}
    return tuple(sorted(descriptions, key=lambda text: (text != LABELS, text)))


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
                if "group" in score.spec.plugin().traits.reads and (group := score.spec.build().group) is not None:
                    yield from _of_cluster(config) if group == "cluster" else [_group(config, group)]
    for name in columns:
        if name == "cluster":
            yield from _of_cluster(config)
        elif name in (*_ROLES, config.input.label, config.input.source):
            yield _group(config, name)
        elif name != "tokens" and not name.startswith("score_"):
            yield f"column {name}"


def _of_reads(config: RunConfig, reads: frozenset[str]) -> Iterator[str]:
    """Yield the labels and groups that a plugin with these ``reads`` uses."""
    if "label" in reads or reads & PROXY_READS:
        yield LABELS
    if "source" in reads:
        yield _group(config, "source")
    if "cluster" in reads:
        yield from _of_cluster(config)


def _of_cluster(config: RunConfig) -> Iterator[str]:
    """Yield the column from which the clusters come; clusters that are computed from embeddings do not count."""
    cluster = config.cluster.spec
    if "column" in cluster.plugin().traits.reads:
        yield _group(config, str(dict(cluster.fields)["column"]))


def _group(config: RunConfig, name: str) -> str:
    if name in ("label", config.input.label):
        return LABELS
    return "groups of source" if name == config.input.source else f"groups of {name}"


def _scores(config: RunConfig, entry: SelectEntry, columns: Sequence[str]) -> set[str]:
    """Return the names of the scores that an entry uses."""
    plugin, built = entry.spec.plugin(), entry.spec.build()
    names = {
        name.removeprefix("-") if mark.invertible else name
        for field in fields(plugin.cls)
        for _, mark, name in find_marked(field.type, getattr(built, field.name), ConfigReference)
        if mark.target == "score"
    }
    if "scores" in plugin.traits.reads and not names:
        names = {name for score in config.score for name in _outputs(score)}
    quality = [entry.quality.removeprefix("-")] if entry.quality is not None else []
    return {*names, *quality, *(name.removeprefix("score_") for name in columns if name.startswith("score_"))}


def _outputs(score: ScoreEntry) -> list[str]:
    """Return the names of the scores that an entry computes."""
    return [f"{score.name}_{one.name}" if one.name else score.name for one in score.spec.plugin().traits.columns]
