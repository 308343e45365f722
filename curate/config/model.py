"""A run's configuration, known to be right: frozen dataclasses whose field docstrings are its documentation."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

from curate import paths
from curate.config import template_syntax
from curate.config.budget import Budget
from curate.kernels.text.pii_patterns import PiiKind
from curate.kernels.text.text_differences import DIFFERENCES, Difference
from curate.plugins.fields import fields, find_marked, format_value
from curate.plugins.interfaces import (
    ConfigReference,
    ContentPath,
    ExampleFiles,
    ExecutionOnly,
    ExistingFiles,
    TemplateField,
)
from curate.plugins.registry import LocalPlugin, PluginSpec

NonEmpty = Annotated[str, MinLen(1)]
Rate = Annotated[float, Ge(0), Le(1)]
FileName = Annotated[str, MinLen(1), ExistingFiles()]
Files = FileName | Annotated[tuple[FileName, ...], MinLen(1)]
Text = Annotated[str, MinLen(1), TemplateField()]
PoolColumn = Annotated[str, MinLen(1), ConfigReference("column")]
ColumnType = Literal["string", "int64", "float64", "bool"]

# ---------------------------------------------------------------- sections


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFromPath:
    """Pattern that finds the source of a file's rows in its path."""

    path: NonEmpty
    """A path, or the end of one, with {source} for the part that names the source, such as "pool/{source}/*.jsonl"."""

    def __post_init__(self) -> None:
        if self.path.count("{source}") != 1:
            raise ValueError(f"path: must have {{source}} once; got {format_value(self.path)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputConfig:
    """The pool: which files, and what their columns are."""

    files: Files
    """A file or a pattern such as "pool/**/*.jsonl", or a list of them, relative to the current folder; or URLs."""

    text: Text
    """The text of a row: a column's name, or a template over columns such as "{instruction}\\n{output}", or over the
    elements of their lists such as "{messages[].content}"."""

    id: PoolColumn | None = None
    """The column that identifies a row; without one, a row is identified by its content."""

    label: PoolColumn | None = None
    """The column that holds a row's label, for plugins that read labels."""

    source: PoolColumn | SourceFromPath | None = None
    """The column that says where a row comes from; "file" for the path of its file; or {path: PATTERN} for a part of
    that path. Rows are accounted for by source."""

    tokens: NonEmpty | None = None
    """A column of token counts, or the name or path of a tokenizer; without one, tokens are estimated from the text."""

    types: dict[PoolColumn, ColumnType] | None = field(default=None, hash=False)
    """The types of columns, such as {zip: string, price: float64}; without one, a column of a CSV file is numeric only
    if numbers write every cell back as it is. A row whose value is not of the type is quarantined."""

    header: bool | Annotated[tuple[NonEmpty, ...], MinLen(1)] = True
    """Whether the first row of a CSV or TSV file names the columns. If false, they are column_1, column_2, …; a list
    gives the names of the columns of files without such a row."""

    delimiter: Annotated[str, MinLen(1), MaxLen(1)] | None = None
    """The character between the cells of CSV and TSV files. Without one it is a tab in .tsv files, in .csv files the
    first of comma, semicolon, tab and pipe that the first line has."""

    vectors: NonEmpty | None = None
    """Ending of the array file next to each input file that holds its embeddings: with ".npy", those of pool/a.jsonl
    are in pool/a.npy."""

    rows_per_shard: Annotated[int, Ge(1), Le(10_000_000)] = 65_536
    """About how many rows are worked on at a time."""

    def __post_init__(self) -> None:
        template_syntax.parse_template(self.text)  # raises what is wrong with it
        if self.delimiter is not None and self.delimiter in '"\r\n':
            raise ValueError("delimiter: a quote or a line break cannot stand between cells")
        if isinstance(self.header, tuple) and len(set(self.header)) < len(self.header):
            raise ValueError("header: two columns have the same name")
        if self.vectors is not None and (re.search(r"[/\\]", self.vectors) or not self.vectors.endswith(".npy")):
            raise ValueError(
                f"vectors: must be an ending such as '.npy', with which the vectors of pool/a.jsonl are in pool/a.npy; "
                f"got {format_value(self.vectors)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """When to stop rather than to publish."""

    max_quarantine_rate: Rate = 0.01
    """The largest share of the input rows that may be set aside as unusable."""

    max_empty_file_rate: Rate = 0.5
    """The largest share of the input files that may have no row; each of these is a warning."""

    max_drop_rate: Rate = 1.0
    """The largest share of the pool that may be dropped; 1 sets no limit, as a budget may ask for very few rows."""

    max_source_drop_rate: Rate = 1.0
    """The largest share of any one source that may be dropped; 1 sets no limit."""

    min_rows: Annotated[int, Ge(1)] | None = None
    """The fewest rows that may be exported."""

    max_churn_rate: Rate | None = None
    """The most that may change from the published export: rows added and removed, as a share of the rows in either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshConfig:
    """What stays as it was when the pool changes."""

    refit: Literal["never", "always", "drift"] = "never"
    """When what was learnt from the pool is learnt anew: never, whenever the pool changes, or beyond ``max_drift``."""

    max_drift: Rate = 0.05
    """How much less of the rows a fit may express than when it was made, before there is a warning or a new fit."""

    keep_previous_weight: Rate = 0.0
    """The share of the published rows that a selector may not replace: 0 chooses afresh, 1 only fills what is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecontaminateConfig:
    """What may not be trained on: rows that share too much with an evaluation text are dropped before all others."""

    files: Files | Annotated[dict[NonEmpty, Files], MinLen(1)] = field(hash=False)
    """Files of evaluation texts, as in ``input.files``; or a mapping of a set's name to its files. Sets without a name
    are one a file, called as the file is."""

    text: Text | dict[NonEmpty, Text] | None = field(default=None, hash=False)
    """The text of an evaluation row, as in ``input.text``, which it is unless said; or a mapping of sets to theirs."""

    ngram_size: Annotated[int, Ge(1), Le(100)] | None = 13
    """Words in a run that a row may not share with an evaluation text, which is compared whole if it is shorter; null:
    compare embeddings only."""

    min_words: Annotated[int, Ge(1), Le(1_000_000)] = 8
    """Words of the shortest evaluation texts that are compared by runs of words; shorter ones would hit by chance."""

    normalize: tuple[Difference, ...] = DIFFERENCES
    """Differences between texts that are ignored when words are compared: case, punctuation, space (kind and amount of
    white space), unicode (NFKC form and invisible characters). Words end at white space, whatever this names."""

    min_overlap_rate: Rate = 0.0
    """The share of an evaluation text's different runs of words that a row must have to be dropped; 0: any one."""

    max_ngram_rows: Annotated[int, Ge(1)] | None = None
    """A run of words that more rows of the pool have than this is common, and no sign of a copy; null: none is."""

    min_similarity: Annotated[float, Gt(0), Le(1)] | None = None
    """Cosine of two embeddings from which a row is dropped for an evaluation text; null: compare words only."""

    embedding: NonEmpty | None = None
    """The embed entry whose vectors are compared; the first, unless another is named."""

    def __post_init__(self) -> None:
        told = {"": self.text} if isinstance(self.text, str) else self.text or {}
        for text in told.values():
            template_syntax.parse_template(text)  # raises what is wrong with it
        if isinstance(self.text, Mapping):
            named = self.files if isinstance(self.files, Mapping) else {}
            if strange := sorted({*told} - {*named}):
                raise ValueError(f"text: there is no evaluation set {strange[0]!r}; name it in files")
        if self.ngram_size is None and self.min_similarity is None:
            raise ValueError(
                "ngram_size: nothing is compared without an ngram_size or a min_similarity; give one of them"
            )
        if self.ngram_size is not None and self.min_words > self.ngram_size:
            raise ValueError(f"min_words: must be at most ngram_size, which is {self.ngram_size}; got {self.min_words}")
        if self.ngram_size is None and (self.min_overlap_rate or self.max_ngram_rows is not None):
            key = "min_overlap_rate" if self.min_overlap_rate else "max_ngram_rows"
            raise ValueError(f"{key}: no runs of words are compared; give an ngram_size, or remove it")
        if self.embedding is not None and self.min_similarity is None:
            raise ValueError("embedding: no embeddings are compared; give a min_similarity, or remove it")

    @property
    def sets(self) -> dict[str, tuple[str, ...]]:
        """The patterns of each set by its name; of those without a name under ""."""
        named = self.files if isinstance(self.files, Mapping) else {"": self.files}
        return {name: (files,) if isinstance(files, str) else tuple(files) for name, files in named.items()}

    def text_for_set(self, name: str, default: str) -> str:
        """The text of a set's rows."""
        if isinstance(self.text, Mapping):
            return self.text.get(name, default)
        return self.text or default


DECONTAMINATE = "decontaminate"
"""What drops rows for the section of that name, in the ledger and in accounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """What a selection is judged by; it changes nothing that is exported."""

    files: Files | None = None
    """Test rows with the input's columns, as in ``input.files``; without them, rows of the pool are held out."""

    ground_truth: FileName | None = None
    """A file with the columns id and kind, and of copies: of. It says what some rows are; the report, what they met."""

    holdout_rate: Annotated[float, Gt(0), Lt(1)] = 0.2
    """The share of the pool that is held out to test on; copies of a text fall on one side."""

    seeds: Annotated[int, Ge(1), Le(1_000)] = 5
    """How often everything that is random is repeated."""

    primary: NonEmpty | None = None
    """The metric that the verdict goes by: an entry of ``metrics``, or one of its numbers, such as
    logistic_probe.accuracy; unless named, the first that trains a model, or else the first with a better side. It is
    tested without correction by the others, which are exploratory and corrected among themselves."""


# ---------------------------------------------------------------- entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One use of a plugin."""

    name: str
    """What the entry is called in folders, columns and messages: its plugin's name, unless another is given."""

    spec: PluginSpec
    """The plugin and its fields."""

    def fingerprint_parts(self) -> dict[str, Any]:
        """Everything about the entry that can change its result, as plain data."""
        own = {one.name: one for one in fields(type(self)) if one.name != "spec" and not one.execution_only}
        return {
            **{name: to_plain(getattr(self, name)) for name in own},
            "plugin": f"{self.spec.kind} {self.spec.name}",
            "version": self.spec.plugin().traits.version,
            "sha256": [local.sha256 for local in self.spec.local],
            "params": plugin_params(self.spec),
            **({"contents": held} if (held := hash_plugin_files(self.spec)) else {}),
        }


def plugin_params(spec: PluginSpec) -> dict[str, object]:
    """The fields of a plugin that can change its result, as plain data."""
    relevant = {one.name for one in fields(spec.plugin().cls) if not one.execution_only}
    return {name: to_plain(value) for name, value in spec.fields if name in relevant}


def hash_plugin_files(spec: PluginSpec) -> dict[str, str | None]:
    """Return a sha256 of what each path holds that the fields of a plugin name, by field; None where nothing is there.

    Left out are files that the driver reads itself (``ExampleFiles`` and logs), and a plugin with its own ``revision``.
    """
    plugin = spec.plugin()
    if plugin.traits.revision or "log" in plugin.traits.reads:
        return {}
    found: dict[str, str | None] = {}
    for path, mark, name in find_marked(plugin.cls, spec.build(), ContentPath):
        if not isinstance(mark, ExampleFiles):
            place = paths.parse_path(name)
            found[".".join(map(str, path))] = paths.hash_content(place) if place.exists() else None
    return found


def count_epochs(selector: PluginSpec) -> int:
    """How many epochs a selector plans, which its field of that name says; 1 where it has none."""
    planned = dict(selector.fields).get("epochs", 1)
    return planned if isinstance(planned, int) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedEntry(Entry):
    """Text to vectors."""

    precision: Literal["float32", "float16"] = "float32"
    """How the vectors are stored; float16 halves the size, and similarities differ by up to 0.0005."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterEntry(Entry):
    """Groups of similar rows."""

    embedding: str | None = None
    """The embed entry whose vectors are read; the first, unless another is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyEntry(Entry):
    """A small model that is trained on the labels, for scores that read how its training went."""

    embedding: str | None = None
    """The embed entry whose vectors are read; the first, unless another is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEntry(Entry):
    """Numbers that rows are ranked by."""

    embedding: str | None = None
    """The embed entry whose vectors are read: the first, or for a scorer that reads clusters too, the clustered one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """Shares of a budget in proportion to size^(1/T)."""

    temperature: Annotated[float, Gt(0)]
    """T: 1 is proportional, and the larger T, the nearer to balanced."""


Quota = (
    Literal["proportional", "balanced"]
    | Temperature
    | dict[str, Annotated[int, Ge(0)] | Annotated[float, Ge(0), Le(1)]]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectEntry(Entry):
    """Which of the rows that the entries before have left are kept."""

    budget: Budget | None = None
    """How much to keep; None for a filter, which decides that itself."""

    within: Annotated[str, MinLen(1), ConfigReference("group")] | None = None
    """Select in each group of rows separately: "cluster", "label", "source", or an input column."""

    quota: Quota | None = None
    """How the budget is split over the groups: proportional (the default), balanced, {temperature: T} between the two,
    or an amount for each group that is named, such as {codegen: 300, roleplay: 0.2}. An integer is a number of rows, or
    of tokens for keep_tokens; a number with a point is a share of the budget. Groups that are not named split the rest
    in proportion to their sizes."""

    against: Literal["published"] | None = None
    """For filters that drop duplicates: "published" drops those of rows, too, that earlier runs published."""

    quality: NonEmpty | None = None
    """The score that says how good a row is, the first unless said; a "-" before its name turns it round."""

    embedding: str | None = None
    """The embed entry whose vectors are read; the first, unless another is named."""

    @property
    def epochs(self) -> int:
        """How many epochs the selector plans; 1 where it chooses once for all."""
        return count_epochs(self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEntry(Entry):
    """How good a selection is."""

    embedding: str | None = None
    """The embed entry whose vectors are read; the first, unless another is named."""


AddedColumn = Literal["id", "cluster", "scores", "rank", "gain", "weight"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig(Entry):
    """The chosen rows, for trainers to read."""

    rows_per_file: Annotated[int, Ge(1)] = 100_000
    """The most rows in one file."""

    add: tuple[AddedColumn, ...] = ()
    """What we know of a row, to be added to its own columns: "rank" becomes curate_rank, "scores" a column a score."""

    mask_pii: tuple[PiiKind, ...] = ()
    """Personal data to be replaced in the exported text columns: "email" becomes <EMAIL>, "phone" <PHONE>, and so on.

    These are the columns that input.text names, at any depth, or what its paths lead to, and each of their strings for
    itself; numbers, ids and all other columns are exported as they are. An id that we made is a hash of the text before
    it was masked.
    Reports and ``curate explain`` quote no text with it either; the run folder keeps the texts as they were read.
    """

    remove_repeated_spans: Annotated[int, Ge(2), Le(10_000)] | None = None
    """Words from which a run that stands more than once in the exported text columns is cut out of all but the first of
    its places, such as 50; null cuts nothing.

    Texts are compared in the order of the pool, and each string that input.text names for itself, as for mask_pii.
    Capitals and white space make no difference; a character of a script without blanks is a word. A row of which
    nothing is left is exported all the same, and counted. Tokens and scores are of the texts as they were read.
    """

    keep_versions: Annotated[int, Ge(1), Le(10_000), ExecutionOnly()] = 3
    """Number of publications for which a version that was replaced is kept. On disk are the published version and as
    many as this that were published before it."""


# ---------------------------------------------------------------- the run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One configuration file."""

    curate: Literal[1]
    """The version of this format."""

    run: NonEmpty
    """The folder that the run's results are written to, or a URL such as "s3://bucket/run"."""

    seed: Annotated[int, Ge(0)] = 0
    """The seed of everything that is random."""

    memory_limit: Annotated[int, Ge(1), Le(1 << 60)] = 4 << 30
    """Bytes, or a size such as "8GiB": a pool with more embeddings than this is read from a mapped file."""

    plugins: tuple[LocalPlugin, ...] = ()
    """Python files with plugins of your own, relative to the current folder."""

    input: InputConfig
    """The pool."""

    embed: tuple[EmbedEntry, ...]
    """One entry, or a list of entries with names; lsa unless said."""

    cluster: ClusterEntry
    """One entry; kmeans unless said."""

    proxy: ProxyEntry | None
    """One entry; none unless said. Only scorers that read dynamics need it."""

    score: tuple[ScoreEntry, ...]
    """A list of entries; none unless said."""

    decontaminate: DecontaminateConfig | None
    """Evaluation texts that may not be in what is exported; none unless said."""

    select: tuple[SelectEntry, ...]
    """A list of entries; each is given the rows that the one before has left."""

    guard: GuardConfig
    """When to stop rather than to publish."""

    refresh: RefreshConfig
    """What stays as it was when the pool changes."""

    export: ExportConfig
    """One entry; parquet unless said."""

    metrics: tuple[MetricEntry, ...]
    """A list of entries, for ``curate evaluate`` and ``curate compare``; unless said, those that the data allow."""

    evaluate: EvaluateConfig
    """What a selection is judged by."""

    source: str = field(compare=False)
    """The configuration file, or "<dict>"."""

    resolved: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """The configuration as plain data with every default filled in; loading it gives this configuration again."""


# ---------------------------------------------------------------- sizes

SIZE = r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?((?:[kKMGT]|[KMGT]i)?)B"
_UNITS = {"": 1, **{f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)}}
_UNITS |= {"k": 1000} | {unit: 1000**power for power, unit in enumerate("KMGT", 1)}


def parse_size(size: str) -> int | None:
    """The bytes that a size such as "8GiB" or "1.5 GB" means; None if it is no size.

    >>> parse_size("8GiB"), parse_size("1.5 GB"), parse_size("8 gigs")
    (8589934592, 1500000000, None)
    """
    match = re.fullmatch(SIZE, size)
    return int(float(match[1]) * _UNITS[match[2]]) if match else None


def format_size(count: int) -> str | int:
    """Bytes as a size, if it comes out whole.

    >>> format_size(8589934592), format_size(1500000000)
    ('8GiB', 1500000000)
    """
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if count % _UNITS[unit] == 0:
            return f"{count // _UNITS[unit]}{unit}B"
    return count


# ---------------------------------------------------------------- back to plain data


def to_plain(value: object) -> Any:
    """A value of the configuration as plain data; fields that are None by default are left out while they are."""
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            one.name: to_plain(getattr(value, one.name))
            for one in fields(type(value))
            if one.required or one.default is not None or getattr(value, one.name) is not None
        }
    return value
