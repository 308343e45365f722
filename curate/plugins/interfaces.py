"""What a plugin of each kind must do (one method), and the decorators that declare it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

from annotated_types import MinLen

from curate.plugins.kinds import Kind

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from curate.kernels.types import Codes, Matrix, Vector, Vectors
    from curate.plugins.batches import Pool, ScoreBatch, Trial
    from curate.plugins.results import Clustering, Learnt, Measured, Selection

T = TypeVar("T")
Reads = Literal[
    "text",
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
    "log",
]


# ---------------------------------------------------------------- markers for fields


@dataclass(frozen=True, slots=True)
class Refers:
    """The field's value names something elsewhere in the configuration, which must exist."""

    to: Literal["score", "column"]


@dataclass(frozen=True, slots=True)
class ExecutionOnly:
    """The field changes how fast a result comes, never the result; it is left out of fingerprints."""


@dataclass(frozen=True, slots=True)
class NamesContent:
    """Mark of a field that may name a file or a folder: its content, and not its name, determines the result.

    The driver adds a sha256 of what the path holds to the fingerprint of the entry. An embedder with a method
    ``revision`` and a proxy that reads a log are known by those instead.
    """


@dataclass(frozen=True, slots=True)
class Examples(NamesContent):
    """The field names files whose texts a scorer learns from, and which the driver reads; null: rows of the pool."""

    at_least: int
    """How many texts there must be."""


@dataclass(frozen=True, slots=True)
class Template:
    """The field is a column's name, or a template over columns, as ``input.text``."""


ScoreName = Annotated[str, Refers("score")]
ColumnName = Annotated[str, Refers("column")]
FileNames = Annotated[str, MinLen(1)] | Annotated[tuple[Annotated[str, MinLen(1)], ...], MinLen(1)]
TextTemplate = Annotated[str, MinLen(1), Template()]


# ---------------------------------------------------------------- the protocols


class Embedder(Protocol):
    """Text to vectors; ``reads="column"``: a list column to vectors."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        """(n, d) float32 vectors of ``texts``; the driver scales them to unit length and sets bad ones aside."""


class FittedEmbedder(Protocol):
    """An embedder that learns from a sample first; what it learnt is plain arrays, which can be saved and frozen."""

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Named arrays that, with the fields, determine every later vector."""

    def fitted(self, state: Mapping[str, NDArray[Any]]) -> Embedder:
        """The embedder that ``state`` describes; a ``Faithful`` one can tell how far the pool has drifted from it."""


class Faithful(Protocol):
    """A fitted embedder that can tell how well it still does."""

    def fidelity(self, texts: Sequence[str]) -> Vector:
        """(n,) float32 in [0, 1]: the share of each text that what was learnt can express."""


class Clusterer(Protocol):
    """Groups of similar rows. With ``reads="column"`` it has no fit: its field ``column`` names the groups."""

    def fit(self, vectors: Vectors, rng: np.random.Generator) -> Clustering:
        """Centres of the groups; the driver assigns every row to the most similar one."""


class Proxy(Protocol):
    """A small model whose training behaviour scores read. Its fields ``runs`` and ``epochs`` say how much of it."""

    runs: int
    epochs: int

    def train(
        self, embeddings: Matrix, labels: Codes, classes: int, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """Named arrays that, with the fields, determine every later prediction; labels are 0 … classes − 1."""

    def predict(self, state: Mapping[str, NDArray[Any]], embeddings: Matrix) -> Iterator[Matrix]:
        """(m, classes) float32 probabilities at the end of each epoch of each run, in that order."""


class RecordedProxy(Protocol):
    """A proxy that was trained elsewhere, declared with ``reads={"log"}``: the driver reads the log for it."""

    files: str
    """The log's file, or a pattern for its files."""

    classes: tuple[str, ...]
    """The labels in the order of the log's probabilities; empty: sorted."""

    def probabilities(self, lines: pa.Table) -> Matrix:
        """(m, classes) float32 probabilities in m lines of the log."""


class Scorer(Protocol):
    """One number a row, or a few."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:
        """(n,) float32, or (n, m) for a scorer that declares m columns."""


class LearningScorer(Protocol):
    """A scorer that learns from texts first; what it learnt is plain arrays, which can be saved and frozen.

    Its fields with the mark ``Examples`` name the texts.
    """

    text: str | None
    """The text of a row of the files: a column's name or a template; None: the input's."""

    sample_size: int
    """The most texts that are read for a field: more are sampled evenly."""

    def fit(self, examples: Mapping[str, Sequence[str]], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Named arrays that, with the fields, determine every later score; ``examples`` are texts by field."""

    def fitted(self, state: Mapping[str, NDArray[Any]]) -> Scorer:
        """The scorer that ``state`` describes."""

    def learnt(self, state: Mapping[str, NDArray[Any]]) -> Learnt:
        """How well it does on texts that it did not learn from."""


class Selector(Protocol):
    """Which rows, in what order, with what weight."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Exactly ``budget`` rows, 0 <= budget <= n."""


class Planner(Protocol):
    """A selector that can plan epochs: with its field ``epochs`` above 1 it gives the rows of each."""

    epochs: int
    """How many epochs are planned; the budget is that of each."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """``Selection.planned``, with exactly ``budget`` rows in each epoch."""


class Filter(Protocol):
    """A selector that decides its own number of rows, declared with ``budgeted=False``."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:
        """The rows that pass."""


class Remembering(Filter, Protocol):
    """A filter that drops duplicates, also of what earlier runs published; declared with ``sketch``.

    With ``pool.published`` it keeps every row that is held, and drops rows that duplicate one of the sketches.
    """

    def sketch(self, pool: Pool) -> pa.Table:
        """What must be known of each row of the pool to find its duplicates later."""


class Exporter(Protocol):
    """The chosen rows in a format that trainers read."""

    suffix: str
    """How the files' names end, with the dot."""

    def write(self, table: pa.Table, path: Path) -> None:
        """Write one file; the same table gives the same bytes."""


class Metric(Protocol):
    """How good a choice of rows is; the driver asks the same of uniform choices of as many rows."""

    def measure(self, trial: Trial, rng: np.random.Generator) -> Measured:
        """The numbers declared, for one choice."""


# ---------------------------------------------------------------- what is declared


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricColumn:
    """One number that a metric gives."""

    name: str = ""
    """Its name after the metric's; "" is the metric itself."""

    higher_is_better: bool | None
    """Whether a better choice has the higher number; None where neither is better."""

    unit: str = ""
    """What the number counts or measures."""

    range: tuple[float, float] = (float("-inf"), float("inf"))
    """The smallest and the largest value it can take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreColumn:
    """One column that a scorer gives."""

    name: str = ""
    """Its name after the scorer's; "" is the score itself."""

    higher_is_better: bool
    """Whether a selector that keeps the best should keep high values."""

    unit: str = ""
    """What the number counts or measures."""

    range: tuple[float, float] = (float("-inf"), float("inf"))
    """The smallest and the largest value it can take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a plugin's decorator declared."""

    kind: Kind
    version: int
    """Raised whenever the same input would give another result."""

    reads: frozenset[Reads] = frozenset()
    within: Literal["shard", "cluster", "corpus"] = "shard"
    columns: tuple[ScoreColumn, ...] = ()
    measures: tuple[MetricColumn, ...] = ()
    """What a metric gives."""

    learns: bool = False
    """A metric that trains a model on the chosen rows and tests it on the test rows."""

    budgeted: bool = True
    prefix: bool = False
    """The first k rows of a larger selection are the selection of k rows."""

    equivariant: bool = False
    """Reordering the pool reorders the selection and changes nothing else."""

    needs_quality: bool = False
    """Without a score to call quality, the selection would mean nothing."""

    random: bool = True
    """A selector or metric that may draw from its generator; of one that never does, one seed tells what all do."""

    quadratic: bool = False
    """A selector whose time at a fixed keep rate grows with the square of the rows that it sees at once."""

    sketch: tuple[str, ...] | None = None
    """Of a selector that can compare with what was published: the fields that its sketches depend on."""

    schema: bool = False
    """An exporter whose files carry the types of their columns; readers take those of others from the first file."""

    cost: str = ""
    """Of a selector: its time for n rows of d dimensions and a budget of k, in a few words."""

    guarantee: str = ""
    """Of a selector: what is promised of its choice beside the budget, in a few words."""

    example: Mapping[str, Any] = field(default_factory=dict)
    """Values for the fields that have no default, used by docs and contract tests."""


QUADRATIC = "Its time grows with the square of the rows that it sees at once."
"""What is said of a selector with that trait."""

_DECLARED: dict[type, Traits] = {}


def traits(cls: type) -> Traits | None:
    """What was declared of ``cls``, or None if it is not a plugin."""
    return _DECLARED.get(cls)


def draws(plugin: object) -> bool:
    """Whether a selector or metric may draw from its generator; its property ``draws`` tells where fields decide."""
    declared = traits(type(plugin))
    return declared is None or (declared.random and getattr(plugin, "draws", True))


def _declare(declared: Traits) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        _DECLARED[cls] = declared
        return cls

    return decorate


def embedder(
    *, version: int, reads: Literal["text", "column"] = "text", example: Mapping[str, Any] | None = None
) -> Callable[[type[T]], type[T]]:
    """Declare an embedder."""
    return _declare(Traits(kind="embedder", version=version, reads=frozenset({reads}), example=example or {}))


def clusterer(
    *, version: int, reads: Literal["embedding", "column"] = "embedding", example: Mapping[str, Any] | None = None
) -> Callable[[type[T]], type[T]]:
    """Declare a clusterer."""
    return _declare(Traits(kind="clusterer", version=version, reads=frozenset({reads}), example=example or {}))


def proxy(
    *, version: int, reads: frozenset[Reads] | set[Reads], example: Mapping[str, Any] | None = None
) -> Callable[[type[T]], type[T]]:
    """Declare a proxy: one that is trained reads embeddings, a recorded one a log; both read labels."""
    return _declare(Traits(kind="proxy", version=version, reads=frozenset(reads), example=example or {}))


def scorer(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads],
    columns: tuple[ScoreColumn, ...],
    within: Literal["shard", "cluster", "corpus"] = "shard",
    example: Mapping[str, Any] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Declare a scorer, what it must be given, what it must see at once, and the columns it gives."""
    return _declare(
        Traits(
            kind="scorer",
            version=version,
            reads=frozenset(reads),
            within=within,
            columns=columns,
            example=example or {},
        )
    )


def selector(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads] = frozenset({"embedding", "quality"}),
    budgeted: bool = True,
    prefix: bool = False,
    equivariant: bool = False,
    needs_quality: bool = False,
    random: bool = True,
    quadratic: bool = False,
    sketch: tuple[str, ...] | None = None,
    cost: str = "",
    guarantee: str = "",
    example: Mapping[str, Any] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Declare a selector, what it must be given, and which properties the contract tests may hold it to."""
    return _declare(
        Traits(
            kind="selector",
            version=version,
            reads=frozenset(reads),
            within="corpus",
            budgeted=budgeted,
            prefix=prefix,
            equivariant=equivariant,
            needs_quality=needs_quality,
            random=random,
            quadratic=quadratic,
            sketch=sketch,
            cost=cost,
            guarantee=guarantee,
            example=example or {},
        )
    )


def exporter(
    *, version: int, schema: bool = False, example: Mapping[str, Any] | None = None
) -> Callable[[type[T]], type[T]]:
    """Declare an exporter, and whether its files carry the types of their columns."""
    return _declare(Traits(kind="exporter", version=version, schema=schema, example=example or {}))


def metric(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads],
    measures: tuple[MetricColumn, ...],
    learns: bool = False,
    random: bool = True,
    example: Mapping[str, Any] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Declare a metric, what it must be given, and the numbers it gives; ``learns``: it needs test rows."""
    return _declare(
        Traits(
            kind="metric",
            version=version,
            reads=frozenset(reads),
            measures=measures,
            learns=learns,
            random=random,
            example=example or {},
        )
    )
