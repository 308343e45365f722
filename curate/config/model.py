"""Validated configuration of a run: frozen dataclasses, whose field docstrings are also the documentation."""

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
    OrientedScoreName,
    RequiredUnless,
    TemplateField,
)
from curate.plugins.registry import LocalPlugin, PluginSpec

NonEmpty = Annotated[str, MinLen(1)]
Rate = Annotated[float, Ge(0), Le(1)]
FileName = Annotated[str, MinLen(1), ExistingFiles()]
Files = FileName | Annotated[tuple[FileName, ...], MinLen(1)]
Text = Annotated[str, MinLen(1), TemplateField()]
PoolColumn = Annotated[str, MinLen(1), ConfigReference("column")]
GroupColumn = Annotated[str, MinLen(1), ConfigReference("group")]
ColumnType = Literal["string", "int64", "float64", "bool"]

# ---------------------------------------------------------------- sections


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFromPath:
    """Pattern that extracts the source of the rows of a file from its path."""

    path: NonEmpty
    """Path, or the end of a path, with {source} in place of the name of the source, such as "pool/{source}/*.jsonl"."""

    def __post_init__(self) -> None:
        if self.path.count("{source}") != 1:
            raise ValueError(f"path: must contain {{source}} exactly once; got {format_value(self.path)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputConfig:
    """Input files of the pool, and the roles of their columns."""

    files: Files
    """Input files: a path, a folder, or a pattern such as "pool/**/*.jsonl", or a list of them, relative to the current
    directory; or URLs. "-" is standard input with one JSON object per line, and "-.csv" in another format."""

    text: Annotated[Text | None, RequiredUnless("image")] = None
    """Text of a row: the name of a column of texts or chats, or a template over columns such as
    "{instruction}\\n{output}", or over the elements of lists such as "{messages[role=assistant].content}"."""

    image: PoolColumn | None = None
    """Image of a row: a column of paths, relative to ``image_folder``; of encoded images as bytes; or of objects with
    the keys bytes and path. With a text, every row must have both."""

    image_folder: NonEmpty | None = None
    """Folder to which the paths of images are relative, and which they must not leave; by default, the folder of the
    input file that contains the path, or the current directory for standard input."""

    id: PoolColumn | None = None
    """Column that identifies a row; by default, the id is a hash of the content."""

    label: PoolColumn | None = None
    """Column of labels, for plugins that read labels."""

    corrections: NonEmpty | None = None
    """File of corrected labels, a CSV file with the columns id and label, which ``curate relabel`` writes. The rows get
    these labels, also in the export. A file that does not exist yet corrects nothing, with a warning."""

    source: PoolColumn | SourceFromPath | None = None
    """Source of a row, by which rows are counted in reports: the name of a column; "file" for the path of its file; or
    {path: PATTERN} for a part of that path."""

    tokens: NonEmpty | None = None
    """Column of token counts, or the name or path of a tokenizer; by default, tokens are estimated from the text."""

    types: dict[PoolColumn, ColumnType] | None = field(default=None, hash=False)
    """Types of columns, such as {zip: string, price: float64}. By default, a column of a CSV file is numeric only if no
    cell would change when its number is written again. Rows with values of another type are quarantined."""

    header: bool | Annotated[tuple[NonEmpty, ...], MinLen(1)] = True
    """Whether the first row of CSV and TSV files contains the column names. If false, the columns are called column_1,
    column_2, …; a list sets the column names of files without a header."""

    delimiter: Annotated[str, MinLen(1), MaxLen(1)] | None = None
    """Delimiter between the cells of CSV and TSV files. By default, a tab in .tsv files; in .csv files, the first of
    comma, semicolon, tab and pipe that occurs in the first line."""

    vectors: NonEmpty | None = None
    """Array file with an embedding for every row of all input files in name order, such as "embeddings.npy"; or the
    suffix of an array file next to each input file, which begins with a dot, a hyphen or an underscore: with ".npy",
    the embeddings of pool/a.jsonl are in pool/a.npy."""

    rows_per_shard: Annotated[int, Ge(1), Le(10_000_000)] = 65_536
    """Approximate number of rows that are processed at a time."""

    def __post_init__(self) -> None:
        if self.text is not None:
            template_syntax.parse_template(self.text)  # raises an error if it is invalid
        if not isinstance(self.files, str) and any(re.fullmatch(r"-(\..+)?", one) for one in self.files):
            raise ValueError('files: standard input must be the only entry: files: "-"')
        if self.corrections is not None:
            self._check_corrections()
        if self.image_folder is not None and self.image is None:
            raise ValueError("image_folder: there are no images; set image, or remove the key")
        if self.delimiter is not None and self.delimiter in '"\r\n':
            raise ValueError("delimiter: must not be a quote or a line break")
        if isinstance(self.header, tuple) and len(set(self.header)) < len(self.header):
            raise ValueError("header: two columns have the same name")
        if self.vectors is not None and not self.vectors.endswith(".npy"):
            raise ValueError(
                f"vectors: must be an array file such as 'embeddings.npy', or a suffix such as '.npy', with which the "
                f"vectors of pool/a.jsonl are in pool/a.npy; got {format_value(self.vectors)}"
            )

    def _check_corrections(self) -> None:
        """Raise an error if labels cannot be corrected without changing another role of their column."""
        if self.label is None:
            raise ValueError("corrections: there are no labels; set label, or remove the key")
        roles = {self.id: "id", self.source: "source", self.tokens: "tokens"}
        roles |= {path[0]: "text" for path in template_syntax.extract_paths(self.text)}
        if (role := roles.get(self.label)) is not None:
            raise ValueError(f"corrections: column {self.label!r} is also input.{role}, which cannot be corrected")

    @property
    def vectors_file(self) -> str | None:
        """Array file with the vectors of all input files; None if there is none, or one for each input file."""
        is_suffix = self.vectors is None or re.fullmatch(r"[._-][^/\\]*", self.vectors)
        return None if is_suffix else self.vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """Limits beyond which a run stops without publishing."""

    max_quarantine_rate: Rate = 0.01
    """Maximum share of input rows that may be quarantined."""

    max_empty_file_rate: Rate = 0.5
    """Maximum share of input files that may be empty; every empty file is a warning."""

    max_drop_rate: Rate = 1.0
    """Maximum share of the pool that may be dropped; 1 for no limit, as a budget may keep very few rows."""

    max_source_drop_rate: Rate = 1.0
    """Maximum share of any single source that may be dropped; 1 for no limit."""

    min_rows: Annotated[int, Ge(1)] | None = None
    """Minimum number of exported rows."""

    max_churn_rate: Rate | None = None
    """Maximum change from the published version: added and removed rows as a share of the rows in either version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshConfig:
    """Reuse of fitted state and of the published selection when the pool changes."""

    refit: Literal["never", "always", "drift"] = "never"
    """Policy for fitting plugins again: never, always when the pool changes, or if the drift exceeds ``max_drift``."""

    max_drift: Rate = 0.05
    """Maximum decrease of the share of the rows that a fit explains; beyond it, there is a warning or a new fit."""

    keep_previous_weight: Rate = 0.0
    """Share of the published rows that a selector must keep: 0 for an independent selection, 1 to keep all of them and
    only fill the rest of the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecontaminateConfig:
    """Removal of rows that overlap evaluation texts, before all other selectors."""

    files: Files | Annotated[dict[NonEmpty, Files], MinLen(1)] = field(hash=False)
    """Files of evaluation texts, as in ``input.files``; or a mapping of set names to files. Without names, each file is
    a set with the name of the file."""

    text: Text | dict[NonEmpty, Text] | None = field(default=None, hash=False)
    """Text of an evaluation row, as in ``input.text``, which is the default; or a mapping of set names to texts."""

    ngram_size: Annotated[int, Ge(1), Le(100)] | None = 13
    """Number of consecutive words that a row must not share with an evaluation text; shorter evaluation texts are
    compared as one n-gram. null: compare embeddings only."""

    min_words: Annotated[int, Ge(1), Le(1_000_000)] = 8
    """Minimum number of words of an evaluation text for the comparison by n-grams; shorter texts would match by
    chance."""

    normalize: tuple[Difference, ...] = DIFFERENCES
    """Differences that are ignored when words are compared: case, punctuation, space (kind and amount of white space),
    unicode (NFKC form and invisible characters). Words always end at white space."""

    min_overlap_rate: Rate = 0.0
    """Minimum share of the distinct n-grams of an evaluation text that a row must contain to be dropped; 0: a single
    one is sufficient."""

    max_ngram_rows: Annotated[int, Ge(1)] | None = None
    """Number of pool rows above which an n-gram is common and does not count as an overlap; null: no limit."""

    min_similarity: Annotated[float, Gt(0), Le(1)] | None = None
    """Cosine similarity to an evaluation text at which a row is dropped; null: compare n-grams only."""

    embedding: NonEmpty | None = None
    """Name of the embed entry whose vectors are compared; the first by default."""

    def __post_init__(self) -> None:
        texts = {"": self.text} if isinstance(self.text, str) else self.text or {}
        for text in texts.values():
            template_syntax.parse_template(text)  # raises an error if it is invalid
        if isinstance(self.text, Mapping):
            names = self.files if isinstance(self.files, Mapping) else {}
            if unknown := sorted({*texts} - {*names}):
                raise ValueError(f"text: there is no evaluation set {unknown[0]!r}; add it to files")
        if self.ngram_size is None and self.min_similarity is None:
            raise ValueError("ngram_size: texts are not compared at all; set ngram_size or min_similarity")
        if self.ngram_size is not None and self.min_words > self.ngram_size:
            raise ValueError(f"min_words: must be at most ngram_size, which is {self.ngram_size}; got {self.min_words}")
        if self.ngram_size is None and (self.min_overlap_rate or self.max_ngram_rows is not None):
            key = "min_overlap_rate" if self.min_overlap_rate else "max_ngram_rows"
            raise ValueError(f"{key}: n-grams are not compared; set ngram_size, or remove the key")
        if self.embedding is not None and self.min_similarity is None:
            raise ValueError("embedding: embeddings are not compared; set min_similarity, or remove the key")

    @property
    def sets(self) -> dict[str, tuple[str, ...]]:
        """Patterns of each set by its name; "" for sets without a name."""
        files_by_name = self.files if isinstance(self.files, Mapping) else {"": self.files}
        return {name: (files,) if isinstance(files, str) else tuple(files) for name, files in files_by_name.items()}

    def text_for_set(self, name: str, default: str | None) -> str | None:
        """Return the text (a column or a template) of the rows of a set."""
        if isinstance(self.text, Mapping):
            return self.text.get(name, default)
        return self.text or default


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetConfig:
    """Rows of the task that the selection should serve, for plugins that compare rows of the pool with them.

    They are read and embedded like the pool, and never exported.
    """

    files: Files
    """Files of the rows: a path, a folder, or a pattern, or a list of them, as ``input.files``."""

    text: Text | None = None
    """Text of a row: a column, or a template over columns; ``input.text`` by default."""

    label: NonEmpty | None = None
    """Column with the labels of the rows, which must be labels of the pool; null: the rows have no labels."""

    task: NonEmpty | None = None
    """Column with the task of each row, such as the name of a benchmark, for selectors that serve several tasks; rows
    without a value are one more task. null: all rows are one task."""

    test_share: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Share of the rows that no selection sees, and on which it is evaluated. A row stays on its side when others are
    added, and copies of a text are never split."""

    def __post_init__(self) -> None:
        if self.text is not None:
            template_syntax.parse_template(self.text)  # raises an error if it is invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """Language model behind an endpoint, for plugins that ask it questions about rows.

    The texts of rows are sent to the endpoint. Replies are kept in the run directory, so a question costs one call.
    """

    base_url: NonEmpty
    """Address of an API in the form of OpenAI's, such as "http://localhost:8000/v1"; requests go to its
    /chat/completions."""

    model: NonEmpty
    """Name of the model at the endpoint."""

    options: dict[NonEmpty, str | int | float | bool] | None = field(default=None, hash=False)
    """Further parameters of each request, such as {top_p: 0.9, reasoning_effort: low}."""

    key_variable: Annotated[NonEmpty, ExecutionOnly()] = "OPENAI_API_KEY"
    """Environment variable with the key of the endpoint; without it, no key is sent. Keys are never stored or
    logged."""

    max_attempts: Annotated[int, Ge(1), Le(10)] = 3
    """Number of times that a question is sent until the reply contains an answer."""

    max_calls: Annotated[Annotated[int, Ge(1)] | None, ExecutionOnly()] = None
    """Budget: number of calls in a run, beyond which it stops; replies that are kept from earlier runs are no calls."""

    max_tokens: Annotated[Annotated[int, Ge(1)] | None, ExecutionOnly()] = None
    """Budget: number of tokens of questions and replies in a run, beyond which it stops. Calls in flight may exceed
    it. Where the endpoint does not count tokens, four characters count as one."""

    concurrency: Annotated[int, Ge(1), Le(256), ExecutionOnly()] = 16
    """Maximum number of requests in flight."""

    requests_per_minute: Annotated[Annotated[int, Ge(1)] | None, ExecutionOnly()] = None
    """Maximum number of requests in a minute; null: as many as the endpoint accepts."""

    timeout: Annotated[float, Gt(0), ExecutionOnly()] = 120.0
    """Number of seconds to wait for a reply."""

    max_retries: Annotated[int, Ge(0), Le(20), ExecutionOnly()] = 6
    """Number of times that a request is repeated after a temporary failure, such as a rate limit or a lost connection,
    with growing delays."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", self.base_url):
            raise ValueError(f"base_url: must be an http or https address; got {format_value(self.base_url)}")
        if taken := {"model", "messages", "stream", "n"} & {*(self.options or {})}:
            raise ValueError(f"options: {min(taken)!r} cannot be set here")

    def identity(self) -> dict[str, object]:
        """Return the settings that determine the answers, as plain data."""
        return {one.name: to_plain(getattr(self, one.name)) for one in fields(JudgeConfig) if not one.execution_only}


JUDGE = "judge"
"""Name of this section."""


TARGET = "target"
"""Name of this section, of its stage and of its folder."""


DECONTAMINATE = "decontaminate"
"""Name in the ledger and in row counts for rows dropped by this section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """Division of the selected rows into splits, such as train and test, so that no near-duplicate is in two of them.

    Rows that belong together are in one split: equal texts, near-duplicates, and rows with the same value in one of the
    ``groups``. A row stays in its split when the pool changes.
    """

    shares: Annotated[dict[NonEmpty, Annotated[float, Gt(0), Lt(1)]], MinLen(2)] = field(
        default_factory=lambda: {"train": 0.9, "validation": 0.05, "test": 0.05}, hash=False
    )
    """Share of each split, by its name; the sum is 1. The first is the one to train on."""

    unit: Literal["rows", "tokens"] = "rows"
    """Unit of the shares."""

    min_similarity: Annotated[float, Gt(0), Le(1)] | None = 0.8
    """Jaccard similarity of the sets of 5 consecutive words, from which two texts are near-duplicates, as ``minhash``
    finds them; so are texts that are connected by a chain of near-duplicates. Images are near-duplicates as
    ``perceptual_hash`` finds them. null: only equal texts and images."""

    groups: tuple[GroupColumn, ...] = ()
    """Columns with groups that are not divided: "cluster", "label", "source", or columns of the input, such as the
    number of a conversation. Rows without a value belong to no group."""

    stratify: GroupColumn | None = None
    """Groups in each of which the shares hold, as far as possible: "cluster", "label", "source", or an input column."""

    def __post_init__(self) -> None:
        for name in self.shares:
            if not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise ValueError(f"shares: a split must be named in lowercase letters; got {format_value(name)}")
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares: must have the sum 1; got {format_value(sum(self.shares.values()))}")
        if self.stratify is not None and self.stratify in self.groups:
            raise ValueError(f"stratify: the groups of {self.stratify!r} are not divided, so they cannot be strata")
        if len(set(self.groups)) < len(self.groups):
            raise ValueError("groups: a column is listed twice")


SPLIT = "split"
"""Name of this section, of its stage and of its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewConfig:
    """List of the rows whose label is most likely wrong: in the report, and in ``review.csv`` in the run directory.

    Each row has a suggested label (the most probable class by models that were not trained on it, if a score reads
    these; otherwise that of its neighbors) and its nearest labeled rows. Fill in the column corrected_label of
    ``review.csv``, and pass it to ``curate relabel``.
    """

    by: Annotated[tuple[OrientedScoreName, ...], MinLen(1)] | None = None
    """Scores by whose mean rank rows are listed, the worst first; a "-" before a name inverts a score. By default, all
    scores that find wrong labels, such as aum, confident_learning, knn_disagreement and el2n. Rows that lack one of the
    scores are not listed."""

    rows: Annotated[int, Ge(1), Le(100_000)] = 200
    """Number of rows to list."""

    n_neighbors: Annotated[int, Ge(0), Le(100)] = 5
    """Number of nearest labeled rows to list with each row."""

    embedding: NonEmpty | None = None
    """Name of the embed entry whose vectors are compared; the first by default."""

    def __post_init__(self) -> None:
        plain = [name.removeprefix("-") for name in self.by or ()]
        if len(set(plain)) < len(plain):
            raise ValueError("by: a score is listed twice")


REVIEW = "review"
"""Name of this section, of its stage and of its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """Evaluation of a selection, which does not affect the export."""

    files: Files | None = None
    """Files of test rows with the columns of the input, as in ``input.files``; by default, the test rows of a target
    with labels, and otherwise rows of the pool that are held out."""

    ground_truth: FileName | None = None
    """File with ground truth for some rows: the columns id and kind, and for copies the column of. The report tabulates
    the outcomes of each kind."""

    holdout_rate: Annotated[float, Gt(0), Lt(1)] = 0.2
    """Share of the pool that is held out as test rows; copies of a text are never split."""

    seeds: Annotated[int, Ge(1), Le(1_000)] = 5
    """Number of random seeds."""

    primary: NonEmpty | None = None
    """Primary metric: an entry of ``metrics``, or one of its values, such as logistic_probe.accuracy. By default, the
    first metric that trains a model, else the first with an orientation. It is tested without correction; all other
    metrics are exploratory, and corrected among themselves."""


# ---------------------------------------------------------------- entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Entry of a section, which uses one plugin."""

    name: str
    """Name of the entry in directories, columns and messages; by default, the name of the plugin."""

    spec: PluginSpec
    """Plugin and its options."""

    def fingerprint_parts(self) -> dict[str, Any]:
        """Return everything in the entry that can change its result, as plain data."""
        names = [one.name for one in fields(type(self)) if one.name != "spec" and not one.execution_only]
        return {
            **{name: to_plain(getattr(self, name)) for name in names},
            "plugin": f"{self.spec.kind} {self.spec.name}",
            "version": self.spec.plugin().traits.version,
            "sha256": [local.sha256 for local in self.spec.local],
            "params": plugin_params(self.spec),
            **({"contents": hashes} if (hashes := hash_plugin_files(self.spec)) else {}),
        }


def plugin_params(spec: PluginSpec) -> dict[str, object]:
    """Return the options of a plugin that can change its result, as plain data."""
    relevant = {one.name for one in fields(spec.plugin().cls) if not one.execution_only}
    return {name: to_plain(value) for name, value in spec.fields if name in relevant}


def hash_plugin_files(spec: PluginSpec) -> dict[str, str | None]:
    """Return the sha256 of the content of each path in the options of a plugin, by option; None for missing paths.

    Each file that matches a glob pattern counts. Files that the driver reads itself (``ExampleFiles`` and logs of a
    proxy) are skipped, and so are plugins with a ``revision``.
    """
    plugin = spec.plugin()
    if plugin.traits.revision or "log" in plugin.traits.reads:
        return {}
    hashes: dict[str, str | None] = {}
    for path, mark, name in find_marked(plugin.cls, spec.build(), ContentPath):
        if not isinstance(mark, ExampleFiles):
            key, file_path = ".".join(map(str, path)), paths.parse_path(name)
            matched = () if file_path.exists() else paths.match_files(name)
            hashes |= {f"{key}: {match}": paths.hash_content(paths.parse_path(match)) for match in matched}
            if not matched:
                hashes[key] = paths.hash_content(file_path) if file_path.exists() else None
    return hashes


def count_epochs(selector: PluginSpec) -> int:
    """Return the number of epochs that a selector plans, from its option ``epochs``; 1 without this option."""
    planned = dict(selector.fields).get("epochs", 1)
    return planned if isinstance(planned, int) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleEntry(Entry):
    """Entry whose plugin reads rows as prompts and responses."""

    prompt: Text | None = None
    """Prompt of a row: a column, or a template over columns, such as "{instruction}\\n{input}"; null: no prompt."""

    response: Text | None = None
    """Response of a row, whose probability is measured: a column, or a template over columns; ``input.text`` by
    default."""

    messages: PoolColumn | None = None
    """Column of chats, in place of prompt and response: the last message of the assistant is the response, and the
    messages before it are the prompt. By default, input.text if it is a column of chats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateEntry(ExampleEntry):
    """Columns that are added to the rows, and used like those of the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry(ExampleEntry):
    """Language model, whose outputs for each row are computed once, for the scorers and embedders that read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedEntry(Entry):
    """Computation of embeddings from texts."""

    precision: Literal["float32", "float16"] = "float32"
    """Storage type of the vectors; float16 halves the size, and similarities differ by up to 0.0005."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterEntry(Entry):
    """Clustering of similar rows."""

    embedding: str | None = None
    """Name of the embed entry whose vectors are read; the first by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyEntry(Entry):
    """Small model that is trained on the labels, for scorers that read its training dynamics."""

    embedding: str | None = None
    """Name of the embed entry whose vectors are read; the first by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEntry(Entry):
    """Scores by which rows are filtered and ranked."""

    embedding: str | None = None
    """Name of the embed entry whose vectors are read. By default, the first; for a scorer that also reads clusters, the
    one that is clustered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """Shares of a budget proportional to size^(1/T)."""

    temperature: Annotated[float, Gt(0)]
    """Temperature T: 1 is proportional, and larger values are closer to balanced."""


Quota = (
    Literal["proportional", "balanced"]
    | Temperature
    | dict[str, Annotated[int, Ge(0)] | Annotated[float, Ge(0), Le(1)]]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectEntry(Entry):
    """Selection among the rows that the previous entries kept."""

    budget: Budget | None = None
    """Number of rows or tokens to keep; None for a filter."""

    within: GroupColumn | None = None
    """Groups in which rows are selected separately: "cluster", "label", "source", or an input column."""

    quota: Quota | None = None
    """Split of the budget over the groups: proportional (the default), balanced, {temperature: T} between the two, or
    amounts by group, such as {codegen: 300, roleplay: 0.2}. An integer is a number of rows, or of tokens with
    keep_tokens; a decimal number is a share of the budget. Groups without an amount split the rest in proportion to
    their sizes."""

    against: Literal["published"] | None = None
    """For filters that drop duplicates: "published" also drops duplicates of rows that earlier runs published."""

    quality: NonEmpty | None = None
    """Score that measures the quality of a row. Defaults to the first score. Prefix with "-" to invert it."""

    embedding: str | None = None
    """Name of the embed entry whose vectors are read; the first by default."""

    @property
    def epochs(self) -> int:
        """Number of epochs that the selector plans; 1 without an epoch plan."""
        return count_epochs(self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEntry(Entry):
    """Metric of the quality of a selection."""

    embedding: str | None = None
    """Name of the embed entry whose vectors are read; the first by default."""


AddedColumn = Literal["id", "cluster", "scores", "rank", "gain", "weight"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadConfig:
    """Upload of each publication to a dataset repository of the Hugging Face Hub."""

    repo: NonEmpty
    """Dataset repository, such as "org/name"; it is created if it does not exist."""

    private: bool = True
    """Whether a repository is private if the upload creates it; an existing repository keeps its visibility."""

    branch: NonEmpty = "main"
    """Branch to which the version is committed; it is created if it does not exist."""

    dry_run: bool = False
    """Whether to log the number and the size of the files instead of sending them."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", self.repo, re.ASCII):
            raise ValueError(f'repo: must have the form "org/name"; got {format_value(self.repo)}')


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig(Entry):
    """Export of the selected rows for training."""

    columns: Annotated[tuple[PoolColumn, ...], MinLen(1)] | None = None
    """Input columns to export, in this order; by default, all of them. Columns of ``add`` follow."""

    drop: tuple[PoolColumn, ...] = ()
    """Input columns to leave out, in place of ``columns``."""

    rename: dict[PoolColumn, NonEmpty] | None = field(default=None, hash=False)
    """New names of exported columns, such as {body: text, curate_weight: weight}."""

    rows_per_file: Annotated[int, Ge(1)] = 100_000
    """Maximum number of rows per file."""

    bytes_per_file: Annotated[int, Ge(1)] | NonEmpty | None = None
    """Approximate size of the rows of a file before compression, in bytes or as a size such as "256MiB"; null: files
    are limited only by ``rows_per_file``."""

    shuffle: bool = False
    """Whether to export the rows, those of each epoch separately, in a random order that depends only on ``seed`` and
    their number. By default, rows are exported in the order of the pool."""

    add: tuple[AddedColumn, ...] = ()
    """Computed columns to add to the export: "rank" is exported as curate_rank, "scores" as one column per score."""

    image: Literal["bytes"] | None = None
    """Form of the images: "bytes" exports objects with the bytes and the file name of each image, which the
    ``datasets`` library decodes; null exports the column of the input unchanged, such as paths.

    A file of the export is written in memory: lower rows_per_file for large images.
    """

    mask_pii: tuple[PiiKind, ...] = ()
    """Kinds of personal data to replace in exported text columns: "email" by <EMAIL>, "phone" by <PHONE>, and so on.

    Text columns are the columns or paths in input.text, including nested strings; each string is masked separately.
    Numbers, ids and all other columns are exported unchanged. An id that is a hash is computed before masking.
    Reports and ``curate explain`` also show masked texts; the run directory contains the original texts.
    """

    remove_repeated_spans: Annotated[int, Ge(2), Le(10_000)] | None = None
    """Minimum number of words of a repeated span to remove from the exported text columns, such as 50; the first
    occurrence is kept. null: remove nothing.

    Texts are compared in the order of the pool, and each string in input.text is treated separately, as for mask_pii.
    Case and white space are ignored; in scripts without spaces, each character is a word. Rows that become empty are
    exported, and counted. Tokens and scores refer to the original texts.
    """

    keep_versions: Annotated[int, Ge(1), Le(10_000), ExecutionOnly()] = 3
    """Number of previously published versions to keep on disk, in addition to the published version."""

    after: Annotated[tuple[NonEmpty, ...], MinLen(1), ExecutionOnly()] | None = None
    """Command to run once after each publication, as a list of a program and its arguments, such as
    [python, train.py]. It runs without a shell, in the current directory, and finds the published version in the
    environment variables CURATE_PATH, CURATE_VERSION and CURATE_RUN. If it fails, the next run repeats it."""

    upload: Annotated[UploadConfig, ExecutionOnly()] | None = None
    """Dataset repository of the Hugging Face Hub to which each publication is uploaded once, before the command of
    ``after``, such as {repo: org/name, private: true, branch: main}. A missing repository is created, private by
    default. With dry_run: true, the size of the upload is logged, and nothing is sent. The token is read from the
    environment variable HF_TOKEN, or from the login of the library huggingface_hub (extra ``hf``). If the upload fails,
    the next run repeats it."""

    @property
    def max_bytes_per_file(self) -> int | None:
        """Approximate size of the rows of a file in bytes; None without a limit."""
        return parse_size(self.bytes_per_file) if isinstance(self.bytes_per_file, str) else self.bytes_per_file


# ---------------------------------------------------------------- the run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Configuration of a run."""

    curate: Literal[1]
    """Version of the configuration format."""

    run: NonEmpty
    """Run directory, to which results are written, or a URL such as "s3://bucket/run"."""

    seed: Annotated[int, Ge(0)] = 0
    """Seed of all random choices."""

    memory_limit: Annotated[int, Ge(1), Le(1 << 60)] = 4 << 30
    """Size of the embeddings, in bytes or as a size such as "8GiB", above which they are memory-mapped from a file."""

    plugins: tuple[LocalPlugin, ...] = ()
    """Python files with additional plugins, relative to the current directory."""

    input: InputConfig
    """Input files of the pool, and the roles of their columns."""

    annotate: tuple[AnnotateEntry, ...] = ()
    """List of entries; empty by default. Each adds columns to the rows, which the following sections use like those of
    the input, and which are exported."""

    model: tuple[ModelEntry, ...] = ()
    """One entry, or a list of entries with names; none by default. It is only needed for scorers and embedders that
    read the outputs of a language model."""

    embed: tuple[EmbedEntry, ...]
    """One entry, or a list of entries with names; lsa by default."""

    cluster: ClusterEntry
    """One entry; kmeans by default."""

    proxy: ProxyEntry | None
    """One entry; none by default. It is only needed for scorers that read training dynamics."""

    judge: JudgeConfig | None
    """Language model behind an endpoint; none by default."""

    target: TargetConfig | None
    """Rows of the task that the selection should serve; none by default."""

    score: tuple[ScoreEntry, ...]
    """List of entries; empty by default."""

    review: ReviewConfig | None
    """Labels to review; none by default."""

    decontaminate: DecontaminateConfig | None
    """Evaluation sets whose texts must not be in the export; none by default."""

    select: tuple[SelectEntry, ...]
    """List of entries; each reads the rows that the previous one kept."""

    split: SplitConfig | None
    """Splits of the selected rows; none by default: all rows are in the split train."""

    guard: GuardConfig
    """Limits beyond which a run stops without publishing."""

    refresh: RefreshConfig
    """Reuse of fitted state and of the published selection when the pool changes."""

    export: ExportConfig
    """One entry; parquet by default."""

    metrics: tuple[MetricEntry, ...]
    """List of entries for ``curate evaluate`` and ``curate compare``; by default, all metrics that the data allow."""

    evaluate: EvaluateConfig
    """Evaluation of a selection."""

    source: str = field(compare=False)
    """Path of the configuration file, or "<dict>"."""

    resolved: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Configuration as plain data with all defaults; loading it returns the same configuration."""


# ---------------------------------------------------------------- sizes

SIZE = r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?((?:[kKMGT]|[KMGT]i)?)B"
_UNITS = {"": 1, **{f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)}}
_UNITS |= {"k": 1000} | {unit: 1000**power for power, unit in enumerate("KMGT", 1)}


def parse_size(size: str) -> int | None:
    """Parse a size such as "8GiB" or "1.5 GB", and return the number of bytes; None if it is invalid.

    >>> parse_size("8GiB"), parse_size("1.5 GB"), parse_size("8 gigs")
    (8589934592, 1500000000, None)
    """
    match = re.fullmatch(SIZE, size)
    return int(float(match[1]) * _UNITS[match[2]]) if match else None


def format_size(count: int) -> str | int:
    """Format a number of bytes with a binary unit if it is a multiple of one; otherwise return the number.

    >>> format_size(8589934592), format_size(1500000000)
    ('8GiB', 1500000000)
    """
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if count % _UNITS[unit] == 0:
            return f"{count // _UNITS[unit]}{unit}B"
    return count


# ---------------------------------------------------------------- back to plain data


def to_plain(value: object) -> Any:
    """Return a value of the configuration as plain data; fields that are None by default are omitted while None."""
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
