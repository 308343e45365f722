"""What a plugin of each kind must do (one method), and the decorators that declare it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeVar

from annotated_types import MinLen

from curate.errors import PluginError
from curate.plugins.kinds import Kind

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.kernels.types import Codes, FittedState, Matrix, Vector, Vectors
    from curate.plugins.batches import MetricInput, Pool, ScoreBatch
    from curate.plugins.results import Clustering, FitReport, MetricResult, Selection

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
class ConfigReference:
    """The field's value names something elsewhere in the configuration, which must exist."""

    target: Literal["score", "column", "group"]
    """A score; a column of the pool; or groups: such a column, cluster, label or source."""


@dataclass(frozen=True, slots=True)
class ExecutionOnly:
    """The field changes how fast a result comes, never the result; it is left out of fingerprints."""


@dataclass(frozen=True, slots=True)
class ContentPath:
    """Mark of a field that may name a file or a folder: its content, and not its name, determines the result.

    The driver adds a sha256 of what the path holds to the fingerprint of the entry. An embedder that declares
    ``revision=True`` and a proxy that reads a log are known by those instead.
    """


@dataclass(frozen=True, slots=True)
class ExampleFiles(ContentPath):
    """The field names files whose texts a scorer learns from, and which the driver reads; null: rows of the pool."""

    at_least: int
    """How many texts there must be."""


@dataclass(frozen=True, slots=True)
class ExistingFiles:
    """The field names a file, or a pattern for files, that must be there before a run."""


@dataclass(frozen=True, slots=True)
class TemplateField:
    """The field is a column's name, or a template over columns, as ``input.text``."""


ScoreName = Annotated[str, ConfigReference("score")]
ColumnName = Annotated[str, ConfigReference("column")]
FileNames = Annotated[str, MinLen(1)] | Annotated[tuple[Annotated[str, MinLen(1)], ...], MinLen(1)]
TextTemplate = Annotated[str, MinLen(1), TemplateField()]


# ---------------------------------------------------------------- the protocols


class Embedder(Protocol):
    """Text to vectors; ``reads="column"``: a list column to vectors."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        """(n, d) float32 vectors of ``texts``; the driver scales them to unit length and sets bad ones aside."""


class FittedEmbedder(Protocol):
    """Embedder that is fitted on a sample first, declared with ``fits=True``.

    Its fitted state is plain arrays, which can be saved and frozen. A field ``sample_size`` sets the most rows of the
    sample; without it there are 50,000.
    """

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> FittedState:
        """Named arrays that, with the fields, determine every later vector."""

    def restore(self, state: FittedState) -> Embedder:
        """Return the embedder that ``state`` describes."""


class VersionedEmbedder(Protocol):
    """Embedder with a model from elsewhere, declared with ``revision=True``; its field ``model`` names the model."""

    def revision(self) -> str:
        """Return what identifies the model's content; part of the fingerprints of the vectors."""


class FidelityEmbedder(Protocol):
    """Fitted embedder that measures the drift of a pool, declared with ``fidelity=True``."""

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

    def train(self, embeddings: Matrix, labels: Codes, classes: int, rng: np.random.Generator) -> FittedState:
        """Named arrays that, with the fields, determine every later prediction; labels are 0 … classes − 1."""

    def predict(self, state: FittedState, embeddings: Matrix) -> Iterator[Matrix]:
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
    """Scorer that is fitted on texts first, declared with ``fits=True``.

    Its fitted state is plain arrays, which can be saved and frozen. Its fields with the mark ``ExampleFiles`` name the
    texts.
    """

    text: str | None
    """The text of a row of the files: a column's name or a template; None: the input's."""

    sample_size: int
    """The most texts that are read for a field: more are sampled evenly."""

    def fit(self, examples: Mapping[str, Sequence[str]], rng: np.random.Generator) -> FittedState:
        """Named arrays that, with the fields, determine every later score; ``examples`` are texts by field."""

    def restore(self, state: FittedState) -> Scorer:
        """The scorer that ``state`` describes."""

    def describe_fit(self, state: FittedState) -> FitReport:
        """How well it does on texts that it did not learn from."""


class Selector(Protocol):
    """Which rows, in what order, with what weight."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Exactly ``budget`` rows, 0 <= budget <= n."""


class EpochPlanner(Protocol):
    """A selector that can plan epochs: with its field ``epochs`` above 1 it gives the rows of each."""

    epochs: int
    """How many epochs are planned; the budget is that of each."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """``Selection.from_epochs``, with exactly ``budget`` rows in each epoch."""


class Filter(Protocol):
    """A selector that decides its own number of rows, declared with ``budgeted=False``."""

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:
        """The rows that pass."""


class SketchingSelector(Filter, Protocol):
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

    def measure(self, trial: MetricInput, rng: np.random.Generator) -> MetricResult:
        """The numbers declared, for one choice."""


class CheckedPlugin(Protocol):
    """Plugin of any kind that needs a package or a model which may be missing, declared with ``check=True``."""

    def check(self) -> Sequence[str]:
        """Raise a PluginError if something is missing; return what will be downloaded. It takes no second."""


# ---------------------------------------------------------------- what is declared


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputColumn:
    """One number that a scorer gives for a row, or a metric for a selection."""

    name: str = ""
    """Suffix of the column's name; "" for the score or metric itself."""

    higher_is_better: bool | None
    """Whether higher values are better; None for a metric where neither is. A score is always True or False."""

    unit: str = ""
    """Unit of the number."""

    range: tuple[float, float] = (float("-inf"), float("inf"))
    """Smallest and largest possible value."""

    higher_means: str = ""
    """What a higher value says of a row, as a report writes it at an axis: ``longer``, ``more unusual``."""


ScoreColumn = OutputColumn
"""Earlier name of ``OutputColumn``, which plugins of other packages import."""

MetricColumn = OutputColumn
"""Earlier name of ``OutputColumn``, which plugins of other packages import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a plugin's decorator declared."""

    kind: Kind
    version: int
    """Raised whenever the same input would give another result."""

    reads: frozenset[Reads] = frozenset()
    within: Literal["shard", "cluster", "corpus"] = "shard"
    columns: tuple[OutputColumn, ...] = ()
    measures: tuple[OutputColumn, ...] = ()
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

    fits: bool = False
    """Whether an embedder or a scorer has methods ``fit`` and ``fitted``."""

    revision: bool = False
    """Whether an embedder has a method ``revision``."""

    fidelity: bool = False
    """Whether a fitted embedder has a method ``fidelity``."""

    random: bool | Mapping[str, tuple[object, ...]] = True
    """Whether a selector or metric may draw from its generator; or the values of a field with which it may."""

    quadratic: bool = False
    """A selector whose time at a fixed keep rate grows with the square of the rows that it sees at once."""

    sketch: tuple[str, ...] | None = None
    """Of a selector that can compare with what was published: the fields that its sketches depend on."""

    schema: bool = False
    """An exporter whose files carry the types of their columns; readers take those of others from the first file."""

    nulls: bool = False
    """An exporter whose ``write`` takes ``nulls``: for each row, the columns in which it is null and not without a
    value; None for a row that has every column."""

    cost: str = ""
    """Of a selector: its time for n rows of d dimensions and a budget of k, in a few words."""

    guarantee: str = ""
    """Of a selector: what is promised of its choice beside the budget, in a few words."""

    check: bool = False
    """Whether it has a method ``check``; see ``CheckedPlugin``."""

    example: Mapping[str, object] = field(default_factory=dict)
    """Values for the fields that have no default, used by docs and contract tests."""


QUADRATIC_WARNING = "Its time grows with the square of the rows that it sees at once."
"""What is said of a selector with that trait."""

_DECLARED: dict[type, Traits] = {}


def get_traits(cls: type) -> Traits | None:
    """What was declared of ``cls``, or None if it is not a plugin."""
    return _DECLARED.get(cls)


def is_random(plugin: object) -> bool:
    """Return whether a selector or metric may draw from its generator; if not, every seed gives the same result."""
    declared = get_traits(type(plugin))
    if declared is None or isinstance(declared.random, bool):
        return declared is None or bool(declared.random)
    return all(getattr(plugin, field) in values for field, values in declared.random.items())


_OPTIONAL: Mapping[Kind, Mapping[str, tuple[str, str]]] = {
    "embedder": {
        "fit": (
            "fits",
            "fits=True, …) or, if what fitted returns has a method fidelity, @embedder(fits=True, fidelity=True",
        ),
        "revision": ("revision", "revision=True"),
        "fidelity": ("fidelity", "fits=True, fidelity=True"),
    },
    "scorer": {"fit": ("fits", "fits=True")},
    "selector": {"sketch": ("sketch", "sketch=(…)"), "draws": ("", "random={field: (value, …)}")},
    "metric": {"draws": ("", "random={field: (value, …)}")},
}
"""Members that some plugins of a kind have, and their declarations: the trait, and what the decorator is given."""


def _check_members(cls: type, declared: Traits) -> None:
    """Raise a PluginError where a class has a member that its decorator does not declare, or the other way round."""
    kind = declared.kind
    for member, (trait, remedy) in {**_OPTIONAL.get(kind, {}), "check": ("check", "check=True")}.items():
        found = getattr(cls, member, None)
        present = callable(found) or isinstance(found, property)
        promised = bool(trait) and getattr(declared, trait) not in (False, None)
        if present and not promised:
            raise PluginError(
                f"{cls.__name__} has {member!r}, which its decorator does not declare",
                hint=f"declare it: @{kind}({remedy}, …)" if trait else f"replace it with @{kind}({remedy}, …)",
            )
        if promised and not present and member != "fidelity":  # which the class has that ``fitted`` returns
            raise PluginError(
                f"@{kind} of {cls.__name__} declares {trait}, and the class has no method {member!r}",
                hint=f"add the method, or remove {trait} from the decorator",
            )


def _declare(declared: Traits) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        _check_members(cls, declared)
        _DECLARED[cls] = declared
        return cls

    return decorate


def embedder(
    *,
    version: int,
    reads: Literal["text", "column"] = "text",
    fits: bool = False,
    revision: bool = False,
    fidelity: bool = False,
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Declare an embedder, and which methods it has besides ``encode``.

    Raises
    ------
    PluginError
        If it declares ``fidelity`` and does not fit.
    """
    if fidelity and not fits:
        raise PluginError("embedder: fidelity=True needs fits=True", hint="an embedder without a fit cannot drift")
    return _declare(
        Traits(
            kind="embedder",
            version=version,
            reads=frozenset({reads}),
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
) -> Callable[[type[T]], type[T]]:
    """Declare a clusterer."""
    reading = frozenset({reads})
    return _declare(Traits(kind="clusterer", version=version, reads=reading, check=check, example=example or {}))


def proxy(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads],
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Declare a proxy: one that is trained reads embeddings, a recorded one a log; both read labels."""
    reading = frozenset(reads)
    return _declare(Traits(kind="proxy", version=version, reads=reading, check=check, example=example or {}))


def scorer(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads],
    columns: tuple[OutputColumn, ...],
    within: Literal["shard", "cluster", "corpus"] = "shard",
    fits: bool = False,
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Declare a scorer, what it must be given, what it must see at once, and the columns it gives.

    Raises
    ------
    PluginError
        If a column leaves open whether higher is better.
    """
    if undecided := [column.name for column in columns if column.higher_is_better is None]:
        raise PluginError(
            f"scorer: the column {undecided[0]!r} has higher_is_better=None",
            hint="say True or False: selectors keep rows by it",
        )
    return _declare(
        Traits(
            kind="scorer",
            version=version,
            reads=frozenset(reads),
            within=within,
            columns=columns,
            fits=fits,
            check=check,
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
    random: bool | Mapping[str, tuple[object, ...]] = True,
    quadratic: bool = False,
    sketch: tuple[str, ...] | None = None,
    cost: str = "",
    guarantee: str = "",
    check: bool = False,
    example: Mapping[str, object] | None = None,
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
            check=check,
            example=example or {},
        )
    )


def exporter(
    *,
    version: int,
    schema: bool = False,
    nulls: bool = False,
    check: bool = False,
    example: Mapping[str, object] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Declare an exporter, whether its files carry the types of their columns, and whether rows may lack a column."""
    return _declare(
        Traits(kind="exporter", version=version, schema=schema, nulls=nulls, check=check, example=example or {})
    )


def metric(
    *,
    version: int,
    reads: frozenset[Reads] | set[Reads],
    measures: tuple[OutputColumn, ...],
    learns: bool = False,
    random: bool | Mapping[str, tuple[object, ...]] = True,
    check: bool = False,
    example: Mapping[str, object] | None = None,
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
            check=check,
            example=example or {},
        )
    )
