"""Families of plugins, each of which has a page in docs/plugins."""

from __future__ import annotations

from dataclasses import dataclass

from curate.plugins import registry
from curate.plugins.kinds import Kind


@dataclass(frozen=True, slots=True)
class Family:
    """Plugins that share a page."""

    kind: Kind
    package: str
    """Name of the package, below that of the kind, which holds the plugins; "" for all plugins of the kind."""

    title: str
    about: str

    @property
    def page(self) -> str:
        """File name of the page."""
        stem = registry.kind_plural(self.kind)
        return f"{stem}-{self.package}.md" if self.package else f"{stem}.md"

    def names(self) -> list[str]:
        """Return the names of the plugins on the page, sorted."""
        prefix = f"curate.plugins.{registry.kind_plural(self.kind)}.{self.package}"
        return [name for name in registry.names(self.kind) if registry.get(self.kind, name).origin.startswith(prefix)]


FAMILIES = (
    Family(
        "annotator",
        "",
        "Annotators",
        "Annotators add columns to the rows, such as skills or topics. Conditions, `within`, `cluster: {use: column}` "
        "and the export use them like columns of the input.",
    ),
    Family(
        "model",
        "",
        "Models",
        "Language models in the section `model` supply losses, hidden states, answers and gradients to scorers and "
        "embedders. They are computed once for each row, and kept.",
    ),
    Family(
        "embedder",
        "",
        "Embedders",
        "Embedders turn texts or images into vectors, which clusters, duplicates and most selectors compare. Start "
        "with `lsa`, or `image_features` for images: they need no download and no GPU. Use `sentence_transformers` "
        "where meaning matters more than wording, or than looks.",
    ),
    Family(
        "clusterer",
        "",
        "Clusterers",
        "Clusterers group similar rows. Groups speed up the search for neighbors, and `within: cluster` selects in "
        "each of them.",
    ),
    Family(
        "proxy",
        "",
        "Proxies",
        "A proxy supplies training dynamics: how well a model predicts the label of every row after each epoch. "
        "Scorers such as `el2n`, `aum` and `forgetting` read them. The pool needs labels. For scorers that read "
        "held-out predictions, such as `consistency`, each fifth of the rows is predicted by a proxy trained on "
        "the others.",
    ),
    Family(
        "scorer",
        "",
        "Scorers",
        "Scorers give every row one or more numbers. Filters drop rows by them (`where`), and selectors rank by them "
        "(`quality`, `by`).",
    ),
    Family(
        "selector",
        "filters",
        "Selectors: filters by rule",
        "Filters drop rows that break a rule, and need no budget. Put them first in the `select` section.",
    ),
    Family(
        "selector",
        "duplicates",
        "Selectors: deduplication",
        "Filters that keep one row of each group of duplicates. `exact_duplicates` is nearly free, `minhash` finds "
        "small edits, `repeated_spans` finds copied passages, and `semdedup` finds paraphrases. `perceptual_hash` "
        "finds copies of images.",
    ),
    Family(
        "selector",
        "coverage",
        "Selectors: coverage",
        "Selectors that keep rows which represent the pool: every part of it has a kept row nearby, or the kept rows "
        "have the statistics of the pool.",
    ),
    Family(
        "selector",
        "diversity",
        "Selectors: diversity",
        "Selectors that keep rows which are unlike each other, alone or traded off against quality.",
    ),
    Family(
        "selector",
        "difficulty",
        "Selectors: difficulty",
        "Selectors that rank rows by how hard, typical or good they are.",
    ),
    Family(
        "selector",
        "targeted",
        "Selectors: targeted",
        "Selectors that keep the rows which serve a task, given as rows of the section `target`. The embedding decides "
        "what they find: `language_model` and `gradients` compare rows as the model to be trained sees them.",
    ),
    Family(
        "selector",
        "sampling",
        "Selectors: sampling",
        "Selectors that draw rows at random. Some return training weights which correct for the probabilities, and "
        "some plan a new draw for every epoch. `uniform` is the baseline that every selector has to beat.",
    ),
    Family(
        "exporter",
        "",
        "Exporters",
        "Exporters write the selected rows. [Formats](../reference/formats.md) compares them.",
    ),
    Family(
        "metric",
        "",
        "Metrics",
        "Metrics measure a selection in `curate evaluate` and `curate compare`, next to random selections of the "
        "same size. Metrics that train a model answer the question that matters "
        "most; the others explain the answer.",
    ),
)
"""The pages of plugins, in the order of the pipeline."""


def page_of(kind: Kind, name: str) -> str:
    """Return the file name of the page that has a plugin, with its anchor."""
    family = next(one for one in FAMILIES if one.kind == kind and name in one.names())
    return f"{family.page}#{name}"
