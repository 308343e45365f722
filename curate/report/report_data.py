"""Content of a report as plain data, which the pipeline fills in and the page, the card and the summary read."""

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
"""Key for the sum of all sources that are not listed; no text in a file can consist of this character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Step of the run: a stage, or one entry of a stage."""

    name: str
    """Name for the reader: ``embed``, ``score el2n``, ``select semdedup``."""

    description: str
    """Description of the step in one sentence (the summary of its plugin), without numbers."""

    rows: Count
    sources: Mapping[str, Count] = field(default_factory=dict)
    """Row counts by source; empty if the pool has no source column. ``OTHERS`` is the sum of the sources that are not
    listed."""

    seconds: float = math.nan
    """Wall time; NaN if unknown."""

    peak_bytes: int | None = None
    """Highest memory use of any of its processes, in bytes."""

    reused: bool = False
    """Whether the result of an earlier run was reused, because nothing it depends on has changed."""

    removed_kind: str = ""
    """Kind of the dropped rows, if all of them have the same kind: ``duplicate``."""

    reuse_note: str = ""
    """Description of the parts reused from an earlier run, with numbers; "" if there are none."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Number of tokens in the pool and in the selection."""

    pool: int
    kept: int
    method: str
    """Method of counting tokens: ``estimated from the text``, ``counted with <tokenizer>``, ``column n_tokens``."""

    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Difference between the export and the previously published version."""

    before: str
    """Previously published version."""

    added: int
    removed: int
    rate: float
    """Added and removed rows as a share of the rows in either version."""


@dataclass(frozen=True, slots=True)
class MaskedPii:
    """Numbers of rows and spans in which personal data was replaced by placeholders in the export."""

    rows: int
    """Number of rows with at least one replacement."""

    spans: Mapping[str, int]
    """Number of replacements by kind, for all configured kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSpans:
    """Numbers of repeated spans that were removed in the export, and of the affected rows."""

    rows: int
    """Number of rows with at least one removal."""

    spans: int
    words: int
    empty: int
    """Number of rows without any remaining word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Rows of a split that resemble rows of another split, next to the number after a random division."""

    sampled: int
    """Number of rows of the split that were compared with all selected rows."""

    words: int
    """Number of them that share 13 consecutive words with a row of another split."""

    random_words: float
    """Expected number of these if rows were divided at random."""

    similar: int
    """Number of them with an embedding of cosine 0.95 or more to that of a row of another split."""

    random_similar: float
    """Expected number of these if rows were divided at random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCount:
    """Size of one split of the selected rows."""

    name: str
    share: float
    """Requested share."""

    rows: int
    tokens: int
    leak: Leak | None
    """Comparison with the other splits; None for the split to train on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMap:
    """Sample of the pool projected to two dimensions; element i of every field belongs to the same row."""

    positions: NDArray[np.float32]
    """Coordinates of the rows, (m, 2), from ``projection.project``."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    """Texts, or their beginnings; the page shortens them."""

    kept: NDArray[np.bool_]
    uniform: NDArray[np.bool_]
    """Mask of the rows that a random baseline of the same size keeps."""

    dropped_by: tuple[str, ...]
    """Stage or entry that dropped each row; "" for kept rows."""

    reasons: tuple[str, ...]
    """Reason why each row was dropped; "" for kept rows."""

    clusters: tuple[str, ...] = ()
    """Names of the clusters of the rows; empty if there are none."""

    sources: tuple[str, ...] = ()
    """Names of the sources of the rows; empty if there are none."""

    atlas: str = ""
    """Data URI of one image with a square tile for each row; "" for none."""

    atlas_columns: int = 1
    """Number of tiles in a row of the atlas."""

    pool_rows: int
    """Number of rows from which the sample was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Distribution of a score over the kept rows, the dropped rows, and the random baseline."""

    name: str
    unit: str = ""
    higher_is_better: bool | None = None
    """Whether a higher score is better; None if the score has no orientation."""

    edges: NDArray[np.float64]
    """Ascending bin edges, (b + 1,); values beyond the edges are counted in the outermost bins."""

    kept: NDArray[np.int64]
    """Number of kept rows in each bin, (b,)."""

    dropped: NDArray[np.int64]
    uniform: NDArray[np.int64]
    pool_median: float
    medians: tuple[float, float, float]
    """Medians of the kept rows, the dropped rows and the random baseline; NaN for a set without rows."""

    outside: int = 0
    """Number of values beyond the edges."""

    missing: int = 0
    """Number of rows without a finite value; they are in no bin."""

    higher_means: str = ""
    """Meaning of a higher value; "" if the scorer does not declare it."""

    fit_note: str = ""
    """Data that the scorer was fitted to, and the quality of the fit; "" for a scorer without a fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Number of rows of each group in the pool, in the selection, and in the random baseline."""

    grouping: str
    """Kind of the groups: ``cluster``, ``source``, ``label``."""

    names: tuple[str, ...]
    before: NDArray[np.int64]
    """Number of pool rows in each group, (g,)."""

    after: NDArray[np.int64]
    uniform: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cluster of similar rows."""

    name: str
    """Number and most distinctive words of the cluster, or its name in the data."""

    rows: int
    """Number of pool rows."""

    kept: int
    """Number of selected rows."""

    example: str
    """Text of the row that is most similar to the centroid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbors:
    """Cosine similarity of each row to its nearest neighbor, in the pool, the selection and the random baseline."""

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    uniform: NDArray[np.float32]
    method: str = ""
    """Description of the sample, if not all rows were measured: ``for at most 2,000 rows of each``."""

    copies: CopyThreshold = field(default_factory=CopyThreshold)
    """Similarity at which two rows count as near-duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRetention(RetentionCurve):
    """Number of rows that a deduplicating entry would keep at each threshold."""

    entry: str
    """Name of the entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Example row."""

    id: str
    text: str
    thumbnail: str = ""
    """Data URI of its image; "" for none."""

    reason: str = ""
    source: str = ""
    cluster: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    relation: str = ""
    """Relation to the representative: ``duplicate of``, ``represented by``."""

    representative: str = ""
    """Id of the representative; "" if there is none."""

    representative_dropped_by: str = ""
    """Entry that dropped the representative later; "" if it was not dropped."""

    kept_instead: str = ""
    """Id of the row that was finally kept, which is the last representative of the chain; "" if there is none."""

    representative_text: str = ""
    """Text of the row that was finally kept, or else of the representative."""

    representative_thumbnail: str = ""
    """Data URI of the image of that row; "" for none."""

    similarity: float = math.nan
    """Similarity to the representative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Example rows that one entry dropped, or that the run kept."""

    entry: str
    """Stage or entry that dropped the rows; "" for kept rows."""

    total: int
    """Number of rows from which the examples were drawn."""

    rows: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelGroup:
    """Rows with the same text and the same label."""

    label: str
    rows: int
    ids: tuple[str, ...]
    """Ids of the first rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Text with conflicting labels."""

    text: str
    rows: int
    """Number of rows with the text and a label."""

    n_labels: int
    """Number of distinct labels."""

    labels: tuple[LabelGroup, ...]
    """First labels, in the order of the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """Texts that have different labels in different rows; rows without a label are ignored."""

    texts: int
    rows: int
    kept: int
    """Number of these rows that were kept."""

    groups: tuple[Conflict, ...]
    """First texts, in the order of the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewNeighbor:
    """Labeled row near a row whose label is probably wrong."""

    id: str
    label: str
    similarity: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow:
    """Row whose label is probably wrong."""

    id: str
    text: str
    label: str | None
    suggestion: str | None
    """Suggested label; None if there is none."""

    confidence: float | None
    """Probability of the suggestion, or its share of the neighbors; None without a suggestion."""

    ranks: tuple[float, ...]
    """Rank by each score; 1 is the worst."""

    neighbors: tuple[ReviewNeighbor, ...]
    """Nearest labeled rows, nearest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfusion:
    """Class whose rows have the label of another class."""

    label: str
    """Label that the rows have."""

    true: str
    """Label that they should have."""

    rows: int
    """Estimated number of rows."""

    share: float
    """Estimated share of the rows of the true class that have this label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNoise:
    """Estimate of the wrong labels of a pool."""

    labels: int
    """Number of rows with a label."""

    errors: int
    """Estimated number of wrong labels."""

    confusions: tuple[LabelConfusion, ...]
    """Most frequent confusions, most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Labels to review."""

    scores: tuple[str, ...]
    """Scores whose ranks are averaged; a "-" before a name inverts the score."""

    listed: int
    """Number of listed rows."""

    ranked: int
    """Number of rows that have all the scores."""

    suggested_by: str
    """Origin of the suggested labels, as a phrase."""

    rows: tuple[ReviewRow, ...]
    """First rows of the list, the most likely wrong first."""

    noise: LabelNoise | None = None
    """Estimate of the wrong labels of the pool; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorizedRow:
    """Row that a model predicts much better if it was trained on the row."""

    id: str
    text: str
    label: str
    memorization: float
    error: float
    """Standard error of the memorization."""

    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TailGroup:
    """Label or cluster with its number of memorized rows."""

    name: str
    rows: int
    """Number of rows with a score."""

    memorized: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTail:
    """Memorized rows of the pool: their number, their place, and the cost of their removal."""

    score: str
    """Name of the score entry."""

    threshold: float
    """Value above which a row counts as memorized."""

    rows: int
    """Number of rows with a score."""

    memorized: int
    kept: int
    """Number of memorized rows that were kept."""

    accuracy: float
    """Accuracy on held-out rows of models trained on all rows; NaN if it was not measured, as the next two."""

    accuracy_without_memorized: float
    accuracy_without_random: float
    """Accuracy of models trained without as many random rows."""

    cost: float
    """Accuracy without random rows minus that without memorized rows."""

    cost_error: float
    """Standard error of ``cost``."""

    labels: tuple[TailGroup, ...]
    """Labels with the most memorized rows."""

    clusters: tuple[TailGroup, ...]
    """Clusters with the most memorized rows."""

    examples: tuple[MemorizedRow, ...]
    """Most memorized rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContaminatedRow:
    """Pool row that was dropped because it overlaps an evaluation text."""

    id: str
    text: str
    """Text of the row."""

    hit: Hit
    texts: int
    """Number of texts in the evaluation set that the row overlaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decontamination:
    """Evaluation sets, settings and result of the decontamination."""

    sets: tuple[EvaluationSet, ...]
    ngram_size: int | None
    min_words: int
    min_overlap_rate: float
    max_ngram_rows: int | None
    min_similarity: float | None
    embedding: str
    rows: int
    """Number of dropped pool rows."""

    total: int
    """Number of hits."""

    hits: tuple[ContaminatedRow, ...] = ()
    """First hits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruthTable:
    """Cross-tabulation of ground-truth kinds and outcomes."""

    outcomes: tuple[str, ...]
    """Possible outcomes: ``kept``, and the names of the entries that drop rows."""

    rows: tuple[tuple[str, tuple[int, ...]], ...]
    """Each kind with its number of rows by outcome; the last kind is that of rows without ground truth."""

    unknown: int = 0
    """Number of ground-truth rows that are not in the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Complete content of a report; parts that do not apply keep their defaults."""

    run: str
    seed: int
    version: str
    """Version of curate."""

    stages: tuple[Stage, ...]
    """Steps of the run, at least one; the first reads the pool, and the last keeps the result."""

    epochs: tuple[int, ...] = ()
    """Number of rows in each epoch; empty without an epoch plan."""

    tokens: Tokens | None = None
    change: Change | None = None
    masked: MaskedPii | None = None
    """Counts of masked personal data; None if masking is not configured."""

    cut: RemovedSpans | None = None
    """Counts of removed repeated spans; None if removal is not configured."""

    corrected: int = 0
    """Number of rows of the pool whose label was corrected."""

    warnings: tuple[str, ...] = ()
    map: PoolMap | None = None
    scores: tuple[Histogram, ...] = ()
    shares: tuple[Shares, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    """Largest clusters, largest first."""

    neighbors: Neighbors | None = None
    retention: tuple[EntryRetention, ...] = ()
    """Threshold curve of each entry that drops duplicates."""

    conflicts: Conflicts | None = None
    """Conflicting labels; None if the pool has no labels."""

    long_tails: tuple[LongTail, ...] = ()
    """Long tail by each score of memorization."""

    examples: tuple[Examples, ...] = ()
    """Examples of kept rows, followed by one group for each entry that dropped rows."""

    review: Review | None = None
    """Labels to review; None if they are not listed."""

    decontamination: Decontamination | None = None
    """Result of the decontamination; None if it is not configured."""

    splits: tuple[SplitCount, ...] = ()
    """Splits of the selected rows; empty if they are not divided."""

    ground_truth: GroundTruthTable | None = None
    evaluation: Evaluation | None = None
    """Result of ``curate evaluate`` for this selection."""

    unevaluated: str = ""
    """Reason why there is no evaluation, and how to run one."""

    comparison: str = ""
    """File name of the page of ``curate compare`` in the same directory; "" if there is none."""

    config: str = ""
    """Resolved configuration as YAML."""

    reproduce: tuple[str, ...] = ()
    """Shell commands that reproduce the run."""

    unlisted_sources: int = 0
    """Number of sources in the sum under ``OTHERS``."""

    @property
    def rows(self) -> Count:
        """Row counts of the complete run."""
        return chain_counts([stage.rows for stage in self.stages])

    @property
    def sources(self) -> dict[str, Count]:
        """Row counts of the complete run by source, largest first."""
        names = dict.fromkeys(name for stage in self.stages for name in stage.sources)
        nothing = Count()
        accounts = {name: chain_counts([stage.sources.get(name, nothing) for stage in self.stages]) for name in names}
        return dict(sorted(accounts.items(), key=lambda item: (item[0] == OTHERS, -item[1].rows_in, item[0])))

    @property
    def source_count(self) -> int:
        """Number of sources, including those that are not listed."""
        return len({name for stage in self.stages for name in stage.sources} - {OTHERS}) + self.unlisted_sources
