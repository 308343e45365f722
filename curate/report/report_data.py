"""What a report says: plain data that the pipeline fills and that the page, the card and the summary read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curate.accounting import Count, chain_counts
from curate.contamination import EvaluationSet, Hit
from curate.kernels.neighbors.retention import RetentionCurve
from curate.report.copy_threshold import CopyThreshold
from curate.report.evaluation_data import Evaluation

OTHERS = "\udcff"
"""In place of a source's name: all sources that are not listed. No text in a file holds this character alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage, or one entry of ``select``, in the order they ran."""

    name: str
    """What the user calls it: ``embed``, ``score el2n``, ``select.1 semdedup``."""

    description: str
    """What it does, in one plain sentence (a plugin's summary), without numbers."""

    rows: Count
    sources: Mapping[str, Count] = field(default_factory=dict)
    """The same account for each source; empty if the pool has no source column. Under ``OTHERS`` are sources that are
    not listed, added up."""

    seconds: float = math.nan
    """Wall time; NaN if unknown."""

    peak_bytes: int | None = None
    """Highest resident memory of any of its processes."""

    reused: bool = False
    """Taken over from an earlier run, because nothing it depends on had changed."""

    removed_kind: str = ""
    """What the rows are that it drops, if it drops nothing else: ``duplicate``."""

    reuse_note: str = ""
    """What it took over of an earlier run, with numbers; "" if nothing."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """How much text went in and came out."""

    pool: int
    kept: int
    method: str
    """How the tokens were obtained: ``estimated from the text``, ``counted with <tokenizer>``, ``column n_tokens``."""

    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the export differs from the one that was published before it."""

    before: str
    """Its version."""

    added: int
    removed: int
    rate: float
    """Of the rows in either."""


@dataclass(frozen=True, slots=True)
class MaskedPii:
    """What of personal data was replaced by placeholders when the export was written."""

    rows: int
    """Rows in which anything was."""

    spans: Mapping[str, int]
    """How often each kind was, of those that were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSpans:
    """What of repeated spans was cut out when the export was written."""

    rows: int
    """Rows out of which anything was."""

    spans: int
    words: int
    empty: int
    """Rows that have no word left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMap:
    """A sample of the pool in the plane; element i of every field is the same row."""

    positions: NDArray[np.float32]
    """(m, 2), from ``projection.project``."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    """Whole texts or their beginnings; the page shortens them."""

    kept: NDArray[np.bool_]
    uniform: NDArray[np.bool_]
    """Whether a uniform selection of the same budget keeps the row."""

    dropped_by: tuple[str, ...]
    """The stage or entry that dropped it; "" for kept rows."""

    reasons: tuple[str, ...]
    """Why it was dropped; "" for kept rows."""

    clusters: tuple[str, ...] = ()
    """Names of the rows' clusters; empty if there are none."""

    sources: tuple[str, ...] = ()
    """Names of the rows' sources; empty if there are none."""

    pool_rows: int
    """The number of rows the sample was drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """One score's distribution over the rows kept, dropped, and kept by a uniform selection (see ``measure``)."""

    name: str
    unit: str = ""
    higher_is_better: bool | None = None
    """None if neither end is the better one."""

    edges: NDArray[np.float64]
    """(b + 1,) ascending; values beyond the first and the last are counted in the outermost bins."""

    kept: NDArray[np.int64]
    """(b,) rows in each bin."""

    dropped: NDArray[np.int64]
    uniform: NDArray[np.int64]
    pool_median: float
    medians: tuple[float, float, float]
    """Of the rows kept, dropped, uniform; NaN where there are none."""

    outside: int = 0
    """Values beyond the edges."""

    missing: int = 0
    """Rows without a finite value; they are in no bin."""

    higher_means: str = ""
    """What a higher value says of a row; "" if the scorer does not declare it."""

    fit_note: str = ""
    """What the scorer learnt from, and how well; "" for one that learns nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How many rows of each group there are in the pool, in the selection, and in a uniform one (see ``measure``)."""

    grouping: str
    """What the groups are: ``cluster``, ``source``, ``label``."""

    names: tuple[str, ...]
    before: NDArray[np.int64]
    """(g,) rows of the pool in each group."""

    after: NDArray[np.int64]
    uniform: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A group of similar rows."""

    name: str
    """Number and most telling words, or the user's name."""

    rows: int
    """Number of rows of the pool."""

    kept: int
    """Number of rows of the selection."""

    example: str
    """Text of the row most similar to the centroid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbors:
    """Cosine similarity of each row to its nearest other row, within the pool, the selection and a uniform selection.

    Rows without another row have no value.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    uniform: NDArray[np.float32]
    method: str = ""
    """How it was measured, if not on all rows: ``for at most 2,000 rows of each``."""

    copies: CopyThreshold = field(default_factory=CopyThreshold)
    """Similarity from which two rows count as near-copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRetention(RetentionCurve):
    """Number of rows that each threshold of a de-duplicating entry would keep."""

    entry: str
    """Name of the entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row to look at."""

    id: str
    text: str
    reason: str = ""
    source: str = ""
    cluster: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    relation: str = ""
    """What it is to its representative: ``duplicate of``, ``represented by``."""

    representative: str = ""
    """The id of the row that it was dropped for; "" if there is none."""

    representative_dropped_by: str = ""
    """The entry that dropped the representative later; "" if none did."""

    kept_instead: str = ""
    """The id of the row that was kept in the end: the representative, or the one that represents that; "" if none."""

    representative_text: str = ""
    """Text of the row that was kept in the end, or of the representative."""

    similarity: float = math.nan
    """Similarity to the representative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Some of the rows that one entry dropped, or that the run kept."""

    entry: str
    """The stage or entry that dropped them; "" for the rows that were kept."""

    total: int
    """How many rows the examples were chosen from."""

    rows: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelGroup:
    """The rows of one text that have the same label."""

    label: str
    rows: int
    ids: tuple[str, ...]
    """Of the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A text that has different labels in different rows."""

    text: str
    rows: int
    """With any label."""

    n_labels: int
    """How many labels there are."""

    labels: tuple[LabelGroup, ...]
    """The first of them, in the pool's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """Rows of the pool whose texts are the same and whose labels are not; a row without a label is in none."""

    texts: int
    rows: int
    kept: int
    """Of these rows."""

    groups: tuple[Conflict, ...]
    """The first of the texts, in the pool's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContaminatedRow:
    """Row of the pool that was dropped for an evaluation text."""

    id: str
    text: str
    """Text of the row."""

    hit: Hit
    texts: int
    """Number of texts of the evaluation set that the row has enough in common with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decontamination:
    """What the pool was checked against, how, and what was found."""

    sets: tuple[EvaluationSet, ...]
    ngram_size: int | None
    min_words: int
    min_overlap_rate: float
    max_ngram_rows: int | None
    min_similarity: float | None
    embedding: str
    rows: int
    """Rows of the pool that were dropped."""

    total: int
    """How many hits there are."""

    hits: tuple[ContaminatedRow, ...] = ()
    """The first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruthTable:
    """What is known of some rows, beside what became of them."""

    outcomes: tuple[str, ...]
    """``kept``, and the entries that drop rows."""

    rows: tuple[tuple[str, tuple[int, ...]], ...]
    """A kind, and how many of its rows met each of the fates; last the rows that the key does not name."""

    unknown: int = 0
    """Rows of the key that are not in the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the page shows. Parts that do not apply are left at their defaults."""

    run: str
    seed: int
    version: str
    """Of curate."""

    stages: tuple[Stage, ...]
    """At least one; the pool enters the first, and what the last keeps is the result."""

    epochs: tuple[int, ...] = ()
    """How many rows are in each epoch; empty where no epochs are planned."""

    tokens: Tokens | None = None
    change: Change | None = None
    masked: MaskedPii | None = None
    """None where nothing was to be masked."""

    cut: RemovedSpans | None = None
    """None where nothing was to be cut."""

    warnings: tuple[str, ...] = ()
    map: PoolMap | None = None
    scores: tuple[Histogram, ...] = ()
    shares: tuple[Shares, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    """The largest clusters, largest first."""

    neighbors: Neighbors | None = None
    retention: tuple[EntryRetention, ...] = ()
    """Of each entry that drops duplicates."""

    conflicts: Conflicts | None = None
    """None if the pool has no labels."""

    examples: tuple[Examples, ...] = ()
    """The kept rows' examples first, then one group for each entry that dropped rows."""

    decontamination: Decontamination | None = None
    """What the pool was checked against; None if it was not."""

    ground_truth: GroundTruthTable | None = None
    evaluation: Evaluation | None = None
    """What ``curate evaluate`` found of this selection."""

    unevaluated: str = ""
    """Why there is no evaluation, and how to get one."""

    comparison: str = ""
    """A page that compares selectors, beside this one; "" if there is none."""

    config: str = ""
    """The resolved configuration as YAML text."""

    reproduce: tuple[str, ...] = ()
    """Shell commands that make this run again."""

    unlisted_sources: int = 0
    """Number of sources that are added up under ``OTHERS``."""

    @property
    def rows(self) -> Count:
        """The whole run's account."""
        return chain_counts([stage.rows for stage in self.stages])

    @property
    def sources(self) -> dict[str, Count]:
        """The whole run's account for each source, largest first."""
        names = dict.fromkeys(name for stage in self.stages for name in stage.sources)
        nothing = Count()
        accounts = {name: chain_counts([stage.sources.get(name, nothing) for stage in self.stages]) for name in names}
        return dict(sorted(accounts.items(), key=lambda item: (item[0] == OTHERS, -item[1].rows_in, item[0])))

    @property
    def source_count(self) -> int:
        """Number of sources, with those that are not listed."""
        return len({name for stage in self.stages for name in stage.sources} - {OTHERS}) + self.unlisted_sources
