"""Protocols of all plugin kinds, and the decorators that declare plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeVar

from annotated_types import MinLen

from curate.errors import PluginError
from curate.plugins.kinds import Kind

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.kernels.neighbors.cells import Cells, KeepOrder, SplitClusters
    from curate.kernels.neighbors.nearest_predecessor import Nearest
    from curate.kernels.neighbors.retention import RecallSample
    from curate.kernels.stats.softmax_statistics import Statistic
    from curate.kernels.types import Advance, Codes, FittedState, Flags, Hashes, Matrix, Rows, Vector, Vectors
    from curate.plugins.batches import AnnotationBatch, MetricInput, Pool, ScoreBatch
    from curate.plugins.language_models import Ability, Example, ModelRequest, Outputs, Request
    from curate.plugins.results import (
        Annotations,
        Clustering,
        DataFileInfo,
        FitReport,
        LogLines,
        MetricResult,
        Scores,
        Selection,
    )

PluginClass = TypeVar("PluginClass")
Reads = Literal[
    "text",
    "image",
    "embedding",
    "cluster",
    "label",
    "column",
    "quality",
    "scores",
    "frame",
    "source",
    "content",
    "tokens",
    "test",
    "dynamics",
    "features",
    "input_gradients",
    "held_out",
    "learner",
    "target",
    "log",
    "group",
    "retrievals",
    "model",
    "judge",
]
PROXY_READS: frozenset[Reads] = frozenset({"dynamics", "features", "input_gradients", "held_out", "learner"})
"""Inputs of a scorer that a proxy supplies; all but dynamics, and features, need a trained one."""

Scope = Literal["row", "sketch", "group", "merge", "pool"]
"""Rows that decide together whether a row is kept, which determines where a selector runs.

- ``row``: each row on its own; workers process the shards.
- ``sketch``: rows whose sketches share a key; workers sketch the shards, and link the rows of each partition.
- ``group``: rows of the same or nearby clusters; workers process the clusters.
- ``merge``: all rows, but only their scores and clusters, which are read in one pass; no embedding is in memory.
- ``pool``: all rows with their embeddings or texts, in one process.
"""


# ---------------------------------------------------------------- markers for fields


@dataclass(frozen=True, slots=True)
class ConfigReference:
    """Mark of a field whose value refers to another part of the configuration, which must exist."""

    target: Literal["score", "column", "group"]
    """Kind of reference: a score, a column of the pool, or groups (a column, cluster, label or source)."""

    invertible: bool = False
    """Whether a "-" before the name of a score inverts its direction."""


@dataclass(frozen=True, slots=True)
class ExecutionOnly:
    """Mark of a field that affects only the execution, not the result; it is excluded from fingerprints."""


@dataclass(frozen=True, slots=True)
class ContentPath:
    """Mark of a field that may be the path of a file or directory, whose content determines the result.

    The driver adds a sha256 of the content to the fingerprint of the entry. Embedders that declare ``revision=True``
    and proxies that read a log are identified by those instead.
    """


@dataclass(frozen=True, slots=True)
class ExampleFiles(ContentPath):
    """Mark of a field with files of texts that a scorer is fitted on, read by the driver; null: rows of the pool."""

    min_texts: int
    """Minimum number of texts."""


@dataclass(frozen=True, slots=True)
class ExistingFiles:
    """Mark of a field with a path, or a glob pattern, of files that must exist before a run."""


@dataclass(frozen=True, slots=True)
class TemplateField:
    """Mark of a field that is a column name, or a template over columns, as ``input.text``."""


@dataclass(frozen=True, slots=True)
class RequiredUnless:
    """Mark of a field that may be missing only if the mapping has another key."""

    key: str


ScoreName = Annotated[str, ConfigReference("score")]
OrientedScoreName = Annotated[str, ConfigReference("score", invertible=True)]
ColumnName = Annotated[str, ConfigReference("column")]
FileNames = Annotated[str, MinLen(1)] | Annotated[tuple[Annotated[str, MinLen(1)], ...], MinLen(1)]
TextTemplate = Annotated[str, MinLen(1), TemplateField()]


# ---------------------------------------------------------------- the protocols


class Annotator(Protocol):
    """Adds columns to the rows of the pool, such as the skills that a judge finds in a text."""

    def columns(self) -> Mapping[str, pa.DataType]:
        """Return the types of the columns by the suffix of their name; "" for the name of the entry itself."""

    def annotate(self, batch: AnnotationBatch, rng: np.random.Generator) -> Annotations:
        """Return the declared columns, n values each."""


class Model(Protocol):
    """Language model, whose outputs for each row are computed once, and read by scorers and embedders."""

    model: str
    """Path or name of the model."""

    def revision(self) -> str:
        """Return an identifier of the model's content, part of the fingerprints of its outputs."""

    def estimate_seconds(self, tokens: float) -> float | None:
        """Estimate the seconds to read a number of tokens, on the machine of the cost table; None if it is unknown."""

    def run(self, examples: Sequence[Example], request: Request, advance: Advance) -> Outputs:
        """Return the outputs that a request describes, n rows each.

        Parameters
        ----------
        examples : sequence of Example
            Rows, n in total.
        request : Request
            Request with one of the declared abilities.
        advance : callable
            Receives the number of further rows that are finished.
        """


class Embedder(Protocol):
    """Maps texts to vectors; with ``reads="column"`` a list column, with ``reads="image"`` ``Images``."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Return float32 vectors (n, d) of ``texts``; the driver normalizes them and quarantines invalid ones."""


class ModelEmbedder(Protocol):
    """Embedder of the outputs of language models, declared with ``reads="model"``."""

    def requests(self, *, target: bool) -> tuple[ModelRequest, ...]:
        """Return the requests whose outputs it reads, for rows of the pool or of the target."""

    def encode(self, outputs: tuple[Outputs, ...]) -> Matrix:
        """Return float32 vectors (n, d) of the outputs of the requests."""


class ModalEmbedder(Embedder, Protocol):
    """Embedder of texts or images, declared with ``reads={"text", "image"}``."""

    modality: Literal["text", "image"]
    """Input of ``encode``."""


class FittedEmbedder(Protocol):
    """Embedder that is fitted on a sample first, declared with ``fits=True``.

    Its fitted state is plain arrays, which can be saved and frozen. A field ``sample_size`` sets the maximum number of
    sampled rows, 50,000 by default.
    """

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> FittedState:
        """Return named arrays that, with the fields, determine every later vector."""

    def restore(self, state: FittedState) -> Embedder:
        """Return the embedder with the fitted state."""


class VersionedEmbedder(Protocol):
    """Embedder with an external model, declared with ``revision=True``; its field ``model`` identifies the model."""

    def revision(self) -> str:
        """Return an identifier of the model's content, part of the fingerprints of the vectors."""


class FidelityEmbedder(Protocol):
    """Fitted embedder that measures the drift of a pool, declared with ``fidelity=True``."""

    def fidelity(self, texts: Sequence[str]) -> Vector:
        """Return the share of each text that the fitted state can express, (n,) float32 in [0, 1]."""


class Clusterer(Protocol):
    """Groups similar rows. With ``reads="column"`` it has no fit: its field ``column`` contains the groups."""

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Clustering:
        """Return the centroids of the groups; the driver assigns every row to the most similar one."""


class Proxy(Protocol):
    """Small network that is trained on the labels: features, and a softmax layer on them.

    Scorers read its dynamics, after each of ``epochs`` epochs in each of ``runs`` runs; both are counted from 0.
    """

    runs: int
    epochs: int
    learning_rate: float
    """Step size of the gradient descent."""

    def train(
        self,
        embeddings: Matrix,
        labels: Codes,
        classes: int,
        rng: np.random.Generator,
        start: FittedState | None = None,
    ) -> FittedState:
        """Return named arrays that, with the fields, determine every later prediction; labels are 0 … classes − 1.

        With ``start``, each run continues from the last epoch of the same run of that state.
        """

    def features(self, state: FittedState, embeddings: Matrix, run: int, epoch: int) -> Matrix:
        """Return float32 inputs (m, h) of the last layer at the end of an epoch."""

    def last_layer(self, state: FittedState, run: int, epoch: int) -> Matrix:
        """Return float32 weights (h + 1, classes) of the last layer at the end of an epoch; the last row is the bias.

        The logits are the features times the weights, plus the bias.
        """


class DifferentiableProxy(Proxy, Protocol):
    """Trained proxy whose features are no linear function of the embedding, declared with ``input_gradients=True``."""

    def input_gradients(self, state: FittedState, embeddings: Matrix, labels: Codes, run: int, epoch: int) -> Matrix:
        """Return the float32 gradient (m, d) of the label's logit with respect to the embedding of each row."""


class RecordedProxy(Protocol):
    """Externally trained proxy, declared with ``reads={"log"}``: the driver reads its training log."""

    files: str
    """Path of the log, or a glob pattern of its files."""

    classes: tuple[str, ...]
    """Labels in the order of the log's probabilities; empty: sorted."""

    def read(self, lines: pa.Table) -> LogLines:
        """Return the values of m lines of the log."""


class Scorer(Protocol):
    """Assigns one or several numbers to each row."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector | Scores:
        """Return scores (n,) float32, or (n, m) for a scorer that declares m columns.

        A scorer that is declared with ``within="corpus"`` may return ``Scores``, with warnings about them.
        """


class ModelScorer(Scorer, Protocol):
    """Scorer of the outputs of language models, declared with ``reads={"model", …}``."""

    def requests(self) -> tuple[ModelRequest, ...]:
        """Return the requests whose outputs it reads."""


class JudgedPlugin(Protocol):
    """Annotator, scorer or selector that asks a judge, declared with ``reads={"judge", …}``."""

    def count_questions(self, rows: int, budget: int | None) -> int:
        """Return the largest number of questions about a pool of ``rows`` rows, and for a selector with a budget."""


class GroupScorer(Scorer, Protocol):
    """Scorer of groups of rows, declared with ``reads={"group", …}``."""

    group: str | None
    """Column that groups the rows; None: each row is a separate group."""


class ColumnScorer(Scorer, Protocol):
    """Scorer of a column of the pool, declared with ``reads={"column", …}`` and ``within="corpus"``."""

    column: str
    """Name of the column."""


class RetrievalScorer(Scorer, Protocol):
    """Scorer of a retrieval corpus, declared with ``reads={"retrievals", …}``: the driver reads the log."""

    files: str
    """Path of the log, or a glob pattern of its files."""


class SummarizingScorer(Scorer, Protocol):
    """Scorer of a shard that needs counts of the complete pool, declared with ``summarizes=True``."""

    def summarize(self, batch: ScoreBatch) -> FittedState:
        """Return named arrays of integers that describe some rows.

        Those of all shards are added, and ``score`` receives the sums in ``batch.summary``; an array with fewer rows
        counts as if it ended with zeros.
        """


class LearningScorer(Protocol):
    """Scorer that is fitted on texts first, declared with ``fits=True``.

    Its fitted state is plain arrays, which can be saved and frozen. Its fields with the mark ``ExampleFiles`` select
    the texts.
    """

    text: str | None
    """Text of a row of the files: a column name or a template; None: that of the input."""

    sample_size: int
    """Maximum number of texts read for a field; more are sampled uniformly."""

    def fit(self, examples: Mapping[str, Sequence[str]], rng: np.random.Generator) -> FittedState:
        """Return named arrays that, with the fields, determine every later score.

        ``examples`` are texts by field, and those of the target as ``target`` for a scorer that reads it.
        """

    def restore(self, state: FittedState) -> Scorer:
        """Return the scorer with the fitted state."""

    def describe_fit(self, state: FittedState) -> FitReport:
        """Return the quality of the fit on held-out texts."""


class Selector(Protocol):
    """Selects rows, with an order and optional training weights."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return a selection of exactly ``budget`` rows, 0 <= budget <= n."""


class EpochPlanner(Protocol):
    """Selector that can plan epochs: with its field ``epochs`` above 1 it returns the rows of each."""

    epochs: int
    """Number of planned epochs; the budget is that of each."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Return ``Selection.from_epochs``, with exactly ``budget`` rows in each epoch."""


class Filter(Protocol):
    """Selector that determines the number of rows itself, declared with ``budgeted=False``."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:
        """Return the rows that pass."""


class VariableScope(Protocol):
    """Selector whose scope depends on its fields, declared with several scopes."""

    def scope(self) -> Scope:
        """Return the scope, one of the declared ones."""


class SketchingSelector(Filter, Protocol):
    """Filter that drops duplicates, also of rows published by earlier runs; declared with ``sketch``.

    With ``pool.published`` it keeps every published row, and drops rows that duplicate one of the sketches.
    """

    def sketch(self, pool: Pool) -> pa.Table:
        """Return the data of each row that is needed to find its duplicates later."""


class LinkingSelector(SketchingSelector, Protocol):
    """Filter that drops duplicates by sketches only, declared with the scope ``sketch``.

    ``select`` gives the same result as ``link`` for the sketches of the pool.
    """

    def keys(self, sketches: pa.Table) -> tuple[Rows, Hashes]:
        """Return rows of the table (e,) and a uint64 key for each.

        Rows that share no key, not even through others, have no influence on each other.
        """

    def link(self, sketches: pa.Table, quality: Vector, n_published: int) -> Selection:
        """Return the sketched rows to keep; the first ``n_published`` are always kept.

        Every chain of rows that share keys is complete. The result depends on the order of the rows only as that of
        ``select`` does.
        """


class CellSelector(Filter, Protocol):
    """Filter that drops duplicates among rows of the same and of nearby clusters, declared with the scope ``group``.

    ``select`` gives the same result as the methods for any division of the clusters.
    """

    keep: KeepOrder
    """Order in which rows are compared."""

    n_probe: int
    """Number of cells that a row searches."""

    def split(self, pool: Pool) -> SplitClusters:
        """Split complete clusters into cells."""

    def search(
        self, embeddings: Matrix, cells: Cells, queries: Flags | None = None, members: Flags | None = None
    ) -> Nearest:
        """Find the most similar earlier row of each row in complete cells, restricted to some rows by masks."""

    def draw_sample(self, cells: Cells) -> Rows:
        """Draw rows to compare with all others; none if all rows are compared anyway."""

    def find_pairs(self, embeddings: Matrix, sample: Matrix) -> tuple[Rows, Rows]:
        """Return the rows of both that are duplicates, pair by pair."""

    def count_missed(self, cells: Cells, sample: Rows, a: Rows, b: Rows) -> RecallSample:
        """Count the pairs of similar rows a and b (in the sample) that are not compared."""

    def decide(
        self, cells: Cells, nearest: Nearest, search_kept: Callable[[Flags, Flags], Nearest]
    ) -> tuple[Flags, Rows, Vector]:
        """Return which rows are kept, their representatives, and the similarity to the most similar earlier row."""

    def conclude(
        self, representative: Rows, similarity: Vector, nearest: Vector, sample: RecallSample | None
    ) -> Selection:
        """Return the selection of the rows without a representative."""


class MeasuringSelector(Selector, Protocol):
    """Selector with the scope ``merge`` that reads embeddings, shard by shard, to one number for each row.

    ``select`` gives the same result as the three methods for a pool of any number of shards.
    """

    def summarize(self, pool: Pool) -> FittedState:
        """Return named arrays of integers that describe some rows.

        Those of all shards are added; an array with fewer rows counts as if it ended with zeros.
        """

    def measure(self, pool: Pool, summary: FittedState) -> Vector:
        """Return a number for each of some rows, (n,) float32, with the summary of all rows."""

    def choose(self, values: Vector, budget: int) -> Selection:
        """Return exactly ``budget`` rows, from the numbers of all rows."""


class Exporter(Protocol):
    """Writes the selected rows in a format that trainers read."""

    suffix: str
    """File name extension, with the dot."""

    def write(self, table: pa.Table, path: Path) -> None:
        """Write one file; the same table gives the same bytes."""


class TypedExporter(Exporter, Protocol):
    """Exporter whose format cannot represent every column, declared with ``types=True``."""

    def check_types(self, schema: pa.Schema) -> None:
        """Raise a PluginError that names a column which the format cannot represent, with a remedy."""


class IndexedExporter(Exporter, Protocol):
    """Exporter whose format lists all files of a folder in further files, declared with ``index=True``."""

    def index(self, files: Sequence[DataFileInfo], schema: pa.Schema) -> Mapping[str, str]:
        """Return the texts of these further files by name, for the written files in order, and their schema."""


class Metric(Protocol):
    """Measures the quality of a selection; the driver measures random selections of the same size as well."""

    def measure(self, inputs: MetricInput, rng: np.random.Generator) -> MetricResult:
        """Return the declared numbers for one selection."""


class CheckedPlugin(Protocol):
    """Plugin of any kind that needs a package or model that may be missing, declared with ``check=True``."""

    def check(self) -> Sequence[str]:
        """Raise a PluginError if something is missing; return notes on planned downloads. Takes less than a second."""


# ---------------------------------------------------------------- declarations


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputColumn:
    """Number that a scorer assigns to a row, or a metric to a selection."""

    name: str = ""
    """Suffix of the column name; "" for the score or metric itself."""

    higher_is_better: bool | None
    """Whether higher values are better; None for a metric without a direction. A score is always True or False."""

    unit: str = ""
    """Unit of the number."""

    range: tuple[float, float] = (float("-inf"), float("inf"))
    """Smallest and largest possible value."""

    higher_means: str = ""
    """Meaning of a higher value, as a report writes it at an axis: ``longer``, ``more unusual``."""

    label_errors: Literal["low", "high"] | None = None
    """Values of rows with a wrong label, for a score that finds them; the list of labels to review uses it."""


ScoreColumn = OutputColumn
"""Former name of ``OutputColumn``, imported by plugins of other packages."""

MetricColumn = OutputColumn
"""Former name of ``OutputColumn``, imported by plugins of other packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Declarations of a plugin's decorator."""

    kind: Kind
    version: int
    """Version of the result, raised whenever the same input would give another result."""

    reads: frozenset[Reads] = frozenset()
    optional: frozenset[Reads] = frozenset()
    """Inputs that a scorer also reads if the configuration has them."""

    within: Literal["shard", "cluster", "corpus"] = "shard"
    columns: tuple[OutputColumn, ...] = ()
    measures: tuple[OutputColumn, ...] = ()
    """Columns of a metric."""

    learns: bool = False
    """Whether a metric trains a model on the selected rows and tests it on the test rows."""

    scope: tuple[Scope, ...] = ("pool",)
    """Scope of a selector; several if it depends on the fields, see ``VariableScope``."""

    two_rounds: bool = False
    """Whether a selector can select in two rounds, with the methods of ``TwoRoundSelector``."""

    budgeted: bool = True
    prefix: bool = False
    """Whether the first k rows of a larger selection are the selection of k rows."""

    equivariant: bool = False
    """Whether reordering the pool only reorders the selection."""

    needs_quality: bool = False
    """Whether the selection is meaningless without a score as quality."""

    fits: bool = False
    """Whether an embedder or scorer has methods ``fit`` and ``restore``."""

    summarizes: bool = False
    """Whether a scorer has a method ``summarize``; see ``SummarizingScorer``."""

    revision: bool = False
    """Whether an embedder has a method ``revision``."""

    fidelity: bool = False
    """Whether a fitted embedder has a method ``fidelity``."""

    random: bool | Mapping[str, tuple[object, ...]] = True
    """Whether a selector or metric may use its random generator; or the values of a field for which it may."""

    quadratic: bool = False
    """Whether a selector's time at a fixed keep rate is quadratic in the number of rows processed together."""

    sketch: tuple[str, ...] | None = None
    """Fields that the sketches depend on, for a selector that can compare with published rows."""

    schema: bool = False
    """Whether the files of an exporter contain column types; otherwise readers infer them from the first file."""

    nulls: bool = False
    """Whether ``write`` of an exporter takes ``nulls``: for each row, the columns that are null rather than missing;
    None for a row that has every column."""

    keys: bool = False
    """Whether ``write`` of an exporter takes ``keys``: the id of each row."""

    types: bool = False
    """Whether an exporter has a method ``check_types``; see ``TypedExporter``."""

    index: bool = False
    """Whether an exporter has a method ``index``; see ``IndexedExporter``."""

    exact_nullability: bool = False
    """Whether the fields of the tables that an exporter writes are nullable only if a row of the export is null."""

    cost: str = ""
    """Time of a scorer or selector for n rows of d dimensions, and a budget of k, in a few words."""

    guarantee: str = ""
    """Guarantee of a selector in addition to the budget, in a few words."""

    check: bool = False
    """Whether the plugin has a method ``check``; see ``CheckedPlugin``."""

    statistics: tuple[Statistic, ...] = ()
    """Statistics of training dynamics that a scorer reads."""

    min_epochs: int = 1
    """Minimum number of epochs that a scorer needs."""

    input_gradients: bool = False
    """Whether a proxy has a method ``input_gradients``; see ``DifferentiableProxy``."""

    abilities: tuple[Ability, ...] = ()
    """Kinds of requests that a language model answers."""

    example: Mapping[str, object] = field(default_factory=dict)
    """Values for the fields without defaults, used by docs and contract tests."""

    def describe_scope(self) -> str:
        """Return the scope of a selector in a few words."""
        return " or ".join((*self.scope, *(["two rounds"] * self.two_rounds)))

    @property
    def reads_model(self) -> bool:
        """Whether a scorer or embedder has a method ``requests``; see ``ModelScorer`` and ``ModelEmbedder``."""
        return "model" in self.reads

    @property
    def reads_judge(self) -> bool:
        """Whether the plugin has a method ``count_questions``; see ``JudgedPlugin``."""
        return "judge" in self.reads

    @property
    def has_sketches(self) -> bool:
        """Whether a selector has a method ``sketch``."""
        return self.sketch is not None or "sketch" in self.scope

    @property
    def has_links(self) -> bool:
        """Whether a selector has the methods of ``LinkingSelector``."""
        return "sketch" in self.scope

    @property
    def has_measures(self) -> bool:
        """Whether a selector has the methods of ``MeasuringSelector``."""
        return "merge" in self.scope and "embedding" in self.reads

    @property
    def several_scopes(self) -> bool:
        """Whether the scope of a selector depends on its fields."""
        return len(self.scope) > 1


QUADRATIC_WARNING = "Runtime is quadratic in the number of rows processed together."
"""Warning in the description of selectors with the trait ``quadratic``."""

_TRAITS: dict[type, Traits] = {}


def get_traits(cls: type) -> Traits | None:
    """Return the declared traits of ``cls``, or None if it is not a plugin."""
    return _TRAITS.get(cls)


def get_scope(plugin: object) -> Scope:
    """Return the scope of a selector with its fields."""
    plugin_traits = get_traits(type(plugin))
    if plugin_traits is None:
        return "pool"
    if len(plugin_traits.scope) == 1:
        return plugin_traits.scope[0]
    variable: VariableScope = plugin  # type: ignore[assignment] # checked by the decorator
    return variable.scope()


def modality(plugin: object) -> Literal["text", "image"]:
    """Return whether an embedder reads texts or images."""
    plugin_traits = get_traits(type(plugin))
    if plugin_traits is not None and {"text", "image"} <= plugin_traits.reads:
        modal: ModalEmbedder = plugin  # type: ignore[assignment] # declared
        return modal.modality
    return "image" if plugin_traits is not None and "image" in plugin_traits.reads else "text"


def is_random(plugin: object) -> bool:
    """Return whether a selector or metric may use its random generator; if not, every seed gives the same result."""
    plugin_traits = get_traits(type(plugin))
    if plugin_traits is None or isinstance(plugin_traits.random, bool):
        return plugin_traits is None or bool(plugin_traits.random)
    return all(getattr(plugin, field) in values for field, values in plugin_traits.random.items())


_OPTIONAL: Mapping[Kind, Mapping[str, tuple[str, str]]] = {
    "embedder": {
        "fit": (
            "fits",
            "fits=True, …) or, if the result of restore has a method fidelity, @embedder(fits=True, fidelity=True",
        ),
        "revision": ("revision", "revision=True"),
        "fidelity": ("fidelity", "fits=True, fidelity=True"),
        "requests": ("reads_model", 'reads="model"'),
    },
    "annotator": {"count_questions": ("reads_judge", 'reads={"judge", …}')},
    "scorer": {
        "fit": ("fits", "fits=True"),
        "summarize": ("summarizes", "summarizes=True"),
        "requests": ("reads_model", 'reads={"model", …}'),
        "count_questions": ("reads_judge", 'reads={"judge", …}'),
    },
    "proxy": {"input_gradients": ("input_gradients", "input_gradients=True")},
    "selector": {
        "sketch": ("has_sketches", "sketch=(…)"),
        "keys": ("has_links", 'scope="sketch"'),
        "link": ("has_links", 'scope="sketch"'),
        "partition": ("two_rounds", "two_rounds=True"),
        "select_part": ("two_rounds", "two_rounds=True"),
        "merge": ("two_rounds", "two_rounds=True"),
        "summarize": ("has_measures", 'scope="merge", reads={"embedding"}'),
        "measure": ("has_measures", 'scope="merge", reads={"embedding"}'),
        "choose": ("has_measures", 'scope="merge", reads={"embedding"}'),
        "scope": ("several_scopes", "scope=(…, …)"),
        "draws": ("", "random={field: (value, …)}"),
        "count_questions": ("reads_judge", 'reads={"judge", …}'),
    },
    "exporter": {"check_types": ("types", "types=True"), "index": ("index", "index=True")},
    "metric": {"draws": ("", "random={field: (value, …)}")},
}
"""Optional members by kind: the trait that declares each, and the argument of the decorator."""


def _check_members(cls: type, declared: Traits) -> None:
    """Raise a PluginError if the members of a class and its decorator disagree."""
    kind = declared.kind
    for member, (trait, remedy) in {**_OPTIONAL.get(kind, {}), "check": ("check", "check=True")}.items():
        attribute = getattr(cls, member, None)
        is_present = callable(attribute) or isinstance(attribute, property)
        is_declared = bool(trait) and getattr(declared, trait) not in (False, None)
        if is_present and not is_declared:
            raise PluginError(
                f"{cls.__name__} has {member!r}, but its decorator does not declare it",
                hint=f"declare it: @{kind}({remedy}, …)" if trait else f"replace it with @{kind}({remedy}, …)",
            )
        if is_declared and not is_present and member != "fidelity":  # a method of the class that ``restore`` returns
            raise PluginError(
                f"@{kind} of {cls.__name__} declares {trait}, but the class has no method {member!r}",
                hint=f"add the method, or remove {trait} from the decorator",
            )


def _declare(declared: Traits) -> Callable[[type[PluginClass]], type[PluginClass]]:
    def decorate(cls: type[PluginClass]) -> type[PluginClass]:
        _check_members(cls, declared)
        _TRAITS[cls] = declared
        return cls

    return decorate


def annotator(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads] = frozenset({"text"}),
    cost: str = "",
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare an annotator, which sees the complete pool.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    reads : inputs: text, and judge
    cost : time, see ``Traits``
    check : whether the class has a method ``check``
    example : values for fields without defaults
    """
    return _declare(
        Traits(
            kind="annotator",
            version=version,
            reads=frozenset(reads),
            within="corpus",
            cost=cost,
            check=check,
            example=example or {},
        )
    )


def model(
    *,
    version: int,
    abilities: tuple[Ability, ...],
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare a language model, and which requests it answers.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    abilities : kinds of requests that ``run`` answers
    check : whether the class has a method ``check``
    example : values for fields without defaults
    """
    return _declare(
        Traits(
            kind="model",
            version=version,
            reads=frozenset({"text"}),
            revision=True,
            abilities=abilities,
            check=check,
            example=example or {},
        )
    )


def embedder(
    *,
    version: int,
    reads: Literal["text", "column", "image", "model"] | frozenset[Reads] | set[Reads] = "text",
    fits: bool = False,
    revision: bool = False,
    fidelity: bool = False,
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare an embedder, and which methods it has in addition to ``encode``.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    reads : "text", "image", "column" for a list column, or "model" for outputs of language models; {"text", "image"} if
        the field ``modality`` decides
    fits, revision, fidelity, check : whether the class has the methods of these declarations, see ``Traits``
    example : values for fields without defaults

    Raises
    ------
    PluginError : if it declares ``fidelity`` without ``fits``
    """
    if fidelity and not fits:
        raise PluginError("embedder: fidelity=True needs fits=True", hint="declare fits=True, or remove fidelity=True")
    return _declare(
        Traits(
            kind="embedder",
            version=version,
            reads=frozenset({reads} if isinstance(reads, str) else reads),
            fits=fits,
            revision=revision,
            fidelity=fidelity,
            check=check,
            example=example or {},
        )
    )


def clusterer(
    *,
    version: int,
    reads: Literal["embedding", "column"] = "embedding",
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare a clusterer.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    reads : "embedding", or "column" for existing groups
    check : whether the class has a method ``check``
    example : values for fields without defaults
    """
    reading = frozenset({reads})
    return _declare(Traits(kind="clusterer", version=version, reads=reading, check=check, example=example or {}))


def proxy(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads],
    input_gradients: bool = False,
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare a proxy: a trained one reads embeddings, a recorded one a log; both read labels.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    reads : inputs
    input_gradients, check : whether the class has the methods of these declarations, see ``Traits``
    example : values for fields without defaults
    """
    return _declare(
        Traits(
            kind="proxy",
            version=version,
            reads=frozenset(reads),
            input_gradients=input_gradients,
            check=check,
            example=example or {},
        )
    )


def scorer(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads],
    columns: tuple[OutputColumn, ...],
    optional: frozenset[Reads] | set[Reads] = frozenset(),
    within: Literal["shard", "cluster", "corpus"] = "shard",
    statistics: tuple[Statistic, ...] = (),
    min_epochs: int = 1,
    cost: str = "",
    fits: bool = False,
    summarizes: bool = False,
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare a scorer, its inputs, the rows it needs at once, and its columns.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    reads : inputs
    columns : columns of the score
    optional : inputs that it also reads if the configuration has them; otherwise they are None
    within : rows passed to one call of ``score``
    statistics, min_epochs : statistics of training dynamics that it reads, and epochs that it needs, see ``Traits``
    cost : time, see ``Traits``
    fits, summarizes, check : whether the class has the methods of these declarations, see ``Traits``
    example : values for fields without defaults

    Raises
    ------
    PluginError : if a column does not define whether higher is better, or it summarizes shards but sees the pool
    """
    if summarizes and within != "shard":
        message = f'scorer: summarizes=True needs within="shard", but it is {within!r}'
        raise PluginError(message, hint="remove summarizes=True: the scorer sees all rows")
    if unoriented := [column.name for column in columns if column.higher_is_better is None]:
        raise PluginError(
            f"scorer: column {unoriented[0]!r} has higher_is_better=None",
            hint="set it to True or False, because selectors rank rows by it",
        )
    return _declare(
        Traits(
            kind="scorer",
            version=version,
            reads=frozenset(reads),
            optional=frozenset(optional),
            within=within,
            columns=columns,
            statistics=statistics,
            min_epochs=min_epochs,
            cost=cost,
            fits=fits,
            summarizes=summarizes,
            check=check,
            example=example or {},
        )
    )


def selector(
    *,
    version: int,
    scope: Scope | tuple[Scope, ...] = "pool",
    reads: frozenset[Reads] | set[Reads] = frozenset({"embedding", "quality"}),
    two_rounds: bool = False,
    budgeted: bool = True,
    prefix: bool = False,
    equivariant: bool = False,
    needs_quality: bool = False,
    random: bool | Mapping[str, tuple[object, ...]] = True,
    quadratic: bool = False,
    sketch: tuple[str, ...] | None = None,
    cost: str = "",
    guarantee: str = "",
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare a selector, its inputs, and the properties that contract tests verify.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    scope : where the selector runs, see ``Scope``; several if its method ``scope`` decides
    reads : inputs
    two_rounds : whether it can select in two rounds, see ``Traits``
    budgeted : whether the selector takes a budget; otherwise it is a filter
    prefix, equivariant, needs_quality, random, quadratic, sketch, cost, guarantee : properties, see ``Traits``
    check : whether the class has a method ``check``
    example : values for fields without defaults
    """
    return _declare(
        Traits(
            kind="selector",
            version=version,
            scope=(scope,) if isinstance(scope, str) else tuple(scope),
            reads=frozenset(reads),
            within="corpus",
            two_rounds=two_rounds,
            budgeted=budgeted,
            prefix=prefix,
            equivariant=equivariant,
            needs_quality=needs_quality,
            random=random,
            quadratic=quadratic,
            sketch=sketch,
            cost=cost,
            guarantee=guarantee,
            check=check,
            example=example or {},
        )
    )


def exporter(
    *,
    version: int,
    schema: bool = False,
    nulls: bool = False,
    keys: bool = False,
    types: bool = False,
    index: bool = False,
    exact_nullability: bool = False,
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare an exporter, and what its files contain and its methods need.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    schema, nulls, keys, types, index, exact_nullability : properties, see ``Traits``
    check : whether the class has a method ``check``
    example : values for fields without defaults
    """
    return _declare(
        Traits(
            kind="exporter",
            version=version,
            schema=schema,
            nulls=nulls,
            keys=keys,
            types=types,
            index=index,
            exact_nullability=exact_nullability,
            check=check,
            example=example or {},
        )
    )


def metric(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads],
    optional: frozenset[Reads] | set[Reads] = frozenset(),
    measures: tuple[OutputColumn, ...],
    learns: bool = False,
    random: bool | Mapping[str, tuple[object, ...]] = True,
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[PluginClass]], type[PluginClass]]:
    """Declare a metric, its inputs, and its columns.

    Parameters
    ----------
    version : version of the result, see ``Traits``
    reads : inputs
    optional : inputs that it also reads if the configuration has them; otherwise they are None
    measures : columns of the metric
    learns, random : properties, see ``Traits``
    check : whether the class has a method ``check``
    example : values for fields without defaults
    """
    return _declare(
        Traits(
            kind="metric",
            version=version,
            reads=frozenset(reads),
            optional=frozenset(optional),
            measures=measures,
            learns=learns,
            random=random,
            check=check,
            example=example or {},
        )
    )
