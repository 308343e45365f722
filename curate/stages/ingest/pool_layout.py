"""Detection of the columns of a pool with its texts, ids, labels and sources, from the first rows.

Memory: a batch of records of one file, and the first rows of a few files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from curate import paths
from curate.config.issues import suggest_name
from curate.config.template_syntax import extract_paths
from curate.errors import ConfigError, ConfigErrors, DataError, summarize_names
from curate.kernels.text.chats import kind_of_list
from curate.kernels.text.json_values import dumps, to_text
from curate.kernels.text.text_identity import is_blank
from curate.kernels.text.word_tokens import split_words
from curate.stages.ingest.text_template import is_text, json_values, parse_text, render, template_columns
from curate.store import readers
from curate.store.records import Batch, Piece, ReadOptions

MAX_ROWS = 2_000
"""Largest number of rows of a file that are examined."""

MAX_FILES = 4
"""Largest number of files that are examined: the first, the last, and some in between."""

_TEXT = (
    "text",
    "content",
    "contents",
    "document",
    "body",
    "article",
    "page_content",
    "raw_content",
    "raw_text",
    "passage",
    "sentence",
    "utterance",
    "comment",
    "message",
    "review",
    "code",
    "abstract",
    "description",
    "story",
    "output",
    "response",
    "prompt",
    "question",
    "instruction",
    "chosen",
)
_CHAT = ("messages", "conversations", "conversation", "turns", "dialog", "dialogue", "chat", "history")
_BEFORE = ("context", "passage", "body", "background")
_PROMPT = ("instruction", "prompt", "question", "query", "problem", "user", "human", "inputs")
_INPUT = ("input",)
_ANSWER = (
    "output",
    "response",
    "completion",
    "answer",
    "chosen",
    "solution",
    "canonical_solution",
    "reply",
    "assistant",
    "answers",
    "outputs",
    "targets",
    "target",
)
_TEXT_FIELDS = ("content", "value", "text", "message", "utterance", "body", "parts")
"""Names of the text field of a turn."""

_PART_TEXT_FIELDS = ("text", "content")
_SPEAKER_FIELDS = ("role", "from", "speaker", "author", "user", "sender", "name")
_ID = ("id", "_id", "uid", "uuid", "guid", "key", "idx", "index", "row_id", "hash")
_OF_OTHERS = (
    "user",
    "author",
    "parent",
    "channel",
    "label",
    "class",
    "category",
    "source",
    "thread",
    "group",
    "session",
)
_LABEL = ("label", "labels", "intent", "category", "class", "topic", "target", "sentiment", "emotion", "tag", "task")
_SOURCE = (
    "source",
    "dataset",
    "origin",
    "domain",
    "subset",
    "corpus",
    "data_source",
    "source_dataset",
    "pile_set_name",
)
_NO_LABEL = (
    "split",
    "lang",
    "language",
    "license",
    "licence",
    "model",
    "version",
    "date",
    "year",
    "file",
    "path",
    "url",
)
_ALL_NAMES = frozenset(
    (*_TEXT, *_CHAT, *_BEFORE, *_PROMPT, *_INPUT, *_ANSWER, *_ID, *_LABEL, *_SOURCE, *_NO_LABEL, "title")
)

_IN_BRACES = re.compile(r"[^{}!:.\[\]]+")
"""Pattern of names that are allowed in the braces of a template."""

_IDENTIFIER = re.compile(r"\S*[\d_/:.#-]\S*|[0-9a-fA-F]{16,}")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|\.\d+)([eE][+-]?\d+)?")


_MOST_SOURCES = 20
"""Largest number of files that become one source each, if no column has the sources."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Detected settings of the input section, with reasons."""

    text: str
    reason: str
    """Reason for the choice of the text."""

    id: str | None
    label: str | None
    source: str | None
    header: bool
    rows: int
    """Number of rows that were examined."""

    blank: int
    """Number of examined rows without a text."""

    columns: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield the chosen settings and the reasons as lines of text."""
        yield f"text: {self.text!r} ({self.reason})"
        roles = {
            "id": (self.id, "all values are different"),
            "label": (self.label, "few different values"),
            "source": (self.source, "few different values" if self.source in self.columns else "one per file"),
        }
        chosen = [f"{role}: {name!r} ({why})" for role, (name, why) in roles.items() if name is not None]
        without = [role for role, (name, _) in roles.items() if name is None]
        yield "; ".join([*chosen, *([f"no column for {', '.join(without)}"] if without else [])])
        if not self.header:
            yield f"header: false, as the first row is data; the columns are {summarize_names(self.columns)}"
        if self.blank:
            yield f"{self.blank:,} of the {self.rows:,} examined rows have no text; a run quarantines such rows"


def detect_layout(files: Sequence[str], text: str | None = None) -> Layout:
    """Detect the roles of the columns of a pool.

    Parameters
    ----------
    files : sequence of str
        Input files, at least one.
    text : str or None
        Text column or template given by the user; None to detect it.

    Raises
    ------
    ConfigError
        ``text`` names no column or selects no text; or no column looks like a text, with the reason for each column.
    DataError
        A file cannot be read, or none has a row.
    """
    sampled = list(
        dict.fromkeys(files[round(number * (len(files) - 1) / (MAX_FILES - 1))] for number in range(MAX_FILES))
    )
    header = not any(map(_lacks_header, sampled))
    tables = {name: _first_rows(name, ReadOptions(header=header)) for name in sampled}
    tables = {name: table for name, table in tables.items() if len(table)}
    if not tables:
        raise DataError("there are no rows", where=", ".join(sampled), hint="check the files, or pass other files")
    columns = _columns(tables)
    where = next(iter(tables))
    by_user = text is not None
    if text is None:
        text, reason = _detect_text(columns, where)
    else:
        reason = "given by --text"
        _check(text, columns, where)
    rendered = pa.concat_arrays([_render_text(text, table) for table in tables.values()])
    blank = int(is_blank(rendered).sum())
    if by_user and blank == len(rendered):
        raise _no_text_error(text, columns, where)
    used = {path[0] for path in extract_paths(text)}
    remaining = [one for one in columns.values() if one.name not in used and one.kind != "nothing"]
    identity = _detect_id(remaining, headerless=not header)
    remaining = [one for one in remaining if one.name != identity]
    source = next((one.name for one in _with_names(remaining, _SOURCE) if one.repeats and not one.is_id), None)
    remaining = [one for one in remaining if one.name != source]
    if source is None and 1 < len(files) <= _MOST_SOURCES and "file" not in columns:
        source = "file"
    label = _detect_label(remaining, headerless=not header)
    return Layout(text, reason, identity, label, source, header, len(rendered), blank, tuple(columns))


# ---------------------------------------------------------------- the first rows


def _lacks_header(name: str) -> bool:
    """Return whether the first row of a CSV or TSV file is data: it looks so, or its values occur in other rows."""
    number = paths.parse_path(name)
    if readers.detect_format(number)[0] not in ("csv", "tsv"):
        return False
    if readers.find_data_in_header(number, ReadOptions()):
        return True
    table = _first_rows(name, ReadOptions())
    if any(_plain(column) in _ALL_NAMES for column in table.column_names):
        return False
    repeated = [column in table[column].to_pylist() for column in table.column_names if is_text(table[column].type)]
    return any(repeated) and not all(repeated)


def _first_rows(name: str, options: ReadOptions) -> pa.Table:
    """Return the first rows of a file; lists and objects of JSON files become JSON texts."""
    batch = _first_batch(name, options)
    if batch is None:
        return pa.table({})
    if batch.nested:
        options = ReadOptions(header=options.header, as_json=frozenset(batch.nested))
        batch = _first_batch(name, options) or batch
    return batch.table.slice(0, MAX_ROWS)


def _first_batch(name: str, options: ReadOptions) -> Batch | None:
    return next((batch for batch in readers.read(Piece(name, 0), options) if len(batch.table)), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


@dataclass(frozen=True)
class _Column:
    """Column, with the values of the examined rows."""

    name: str
    values: list[object]
    everywhere: bool
    """Whether all files have the column."""

    @property
    def plain_name(self) -> str:
        return _plain(self.name)

    @cached_property
    def present(self) -> list[object]:
        return [value for value in self.values if value is not None and (not isinstance(value, str) or value.strip())]

    @cached_property
    def kind(self) -> str:
        """Kind of most values: ``nothing``, ``nested``, ``number`` or ``text``."""
        if not self.present:
            return "nothing"
        return Counter(map(_kind_of, self.present)).most_common(1)[0][0]

    @cached_property
    def texts(self) -> list[str]:
        return [_shown(value) for value in self.present if not isinstance(value, list | dict)]

    @cached_property
    def distinct(self) -> int:
        return len(set(self.texts))

    @cached_property
    def words(self) -> float:
        """Mean number of words per value."""
        return sum(len(split_words(text[:1_000])) for text in self.texts) / max(1, len(self.texts))

    @property
    def filled(self) -> float:
        return len(self.present) / max(1, len(self.values))

    @cached_property
    def is_id(self) -> bool:
        """Whether most values are one word with digits or signs, such as ids, hashes, dates and URLs."""
        one_word = [text.strip() for text in self.texts if len(split_words(text)) == 1]
        n_identifiers = sum(_IDENTIFIER.fullmatch(text) is not None for text in one_word)
        return self.kind == "text" and n_identifiers > 0.9 * len(self.texts)

    @property
    def repeats(self) -> bool:
        """Whether the column has few different values."""
        return self.kind != "nested" and self.distinct <= max(min(10, len(self.texts)), len(self.texts) / 5)

    @property
    def is_prose(self) -> bool:
        """Whether the values look like texts."""
        return self.kind == "text" and not self.is_id and self.words >= 3 and not self._few

    @property
    def _few(self) -> bool:
        return len(self.texts) >= 20 and self.distinct <= len(self.texts) / 5

    @property
    def is_text_by_name(self) -> bool:
        """Whether a column with the name of a text column can be one: not ids or numbers."""
        return self.kind == "text" and not self.is_id and self.filled > 0.5 and not (self._few and self.words < 3)

    def why_not(self) -> str:
        """Return why the column is not the text, with an example."""
        reason = "every value is a single word"
        if self.kind == "nothing":
            return f"column {self.name!r} has no value in the examined rows"
        if self.kind == "nested":
            reason = "lists or objects that are not turns of a chat"
        elif self.kind == "number":
            reason = "numbers"
        elif self.is_id and self.distinct == len(self.texts):
            reason = "looks like an id: each value is one word with digits or signs, and all values are different"
        elif self.is_id:
            reason = "looks like ids, dates or links: each value is one word with digits or signs"
        elif self._few:
            reason = f"only {self.distinct:,} different values in {len(self.texts):,} rows"
        elif not self.everywhere:
            reason = "some files lack the column"
        elif self.words >= 3:
            reason = f"only {self.filled:.0%} of the rows have a value"
        example = " ".join(_shown(self.present[0]).split())
        return f"column {self.name!r}, such as {example[:40] + '…' * (len(example) > 40)!r}: {reason}"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def _kind_of(value: object) -> str:
    if isinstance(value, list | dict):
        return "nested"
    return "text" if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()) else "number"


def _columns(tables: Mapping[str, pa.Table]) -> dict[str, _Column]:
    names = list(dict.fromkeys(name for table in tables.values() for name in table.column_names))
    columns = {}
    for name in names:
        values: list[object] = []
        for table in tables.values():
            has_column = name in table.column_names
            values += json_values(table[name].combine_chunks()) if has_column else [None] * len(table)
        if _are_chats(parsed := list(map(parse_text, values))):
            values = parsed
        columns[name] = _Column(name, values, all(name in table.column_names for table in tables.values()))
    return columns


def _are_chats(values: Sequence[object]) -> bool:
    """Return whether most values are chats, such as those in texts that contain JSON."""
    return sum(isinstance(one, list) and kind_of_list(one) == "message" for one in values) > len(values) / 2


def _with_names(columns: Collection[_Column], names: Sequence[str]) -> list[_Column]:
    """Return the columns with one of the names, in the order of the names."""
    return sorted((one for one in columns if one.plain_name in names), key=lambda one: names.index(one.plain_name))


# ---------------------------------------------------------------- the text


def _detect_text(columns: Mapping[str, _Column], where: str) -> tuple[str, str]:
    """Detect the text; return it in the form of ``input.text``, with the reason."""
    shared = [one for one in columns.values() if one.everywhere]
    in_braces = [one for one in shared if _IN_BRACES.fullmatch(one.name)]
    for one in _with_names(in_braces, _CHAT):
        if path := _turns_path(one.name, one.present):
            return f"{{{path}}}", f"the turns of the chats in {one.name!r}"
    if pair := _detect_pair(in_braces):
        return pair
    by_name = [one for one in _with_names(shared, _TEXT) if one.is_text_by_name]
    for one in () if by_name else sorted(in_braces, key=lambda one: one.plain_name == "rejected"):
        if one.kind == "nested" and (path := _turns_path(one.name, one.present, with_speaker=True)):
            return f"{{{path}}}", f"the turns of the chats in {one.name!r}"
    prose = sorted((one for one in shared if one.is_prose), key=lambda one: -sum(map(len, one.texts)))
    for one in [*by_name, *prose]:
        if not re.search("[{}]", one.name):
            words = f"{one.words:,.0f} words on average" if one.words >= 1.5 else "one word per value"
            return one.name, f"a text column, {words}"
    problem = ConfigError("no column looks like a text", where=where, hint="choose one: curate init --text COLUMN")
    reasons = [ConfigError(one.why_not(), where=where) for one in columns.values()]
    more = (
        [ConfigError(f"{len(reasons) - _MAX_SHOWN:,} more columns", where=where)] if len(reasons) > _MAX_SHOWN else []
    )
    raise ConfigErrors.join([problem, *reasons[:_MAX_SHOWN], *more])


_MAX_SHOWN = 20  # columns in a message


def _turns_path(name: str, values: Sequence[object], *, with_speaker: bool = False) -> str | None:
    """Return the path to the texts of chat turns, if most values are lists of turns, or objects with such a list."""
    lists = [value for value in values if isinstance(value, list)]
    objects = [value for value in values if isinstance(value, dict)]
    if len(objects) > len(values) / 2:
        keys = sorted(dict.fromkeys(key for one in objects for key in one), key=lambda key: key not in _CHAT)
        inner = {key: [one[key] for one in objects if one.get(key) is not None] for key in keys}
        text_paths = (
            _turns_path(f"{name}.{key}", values, with_speaker=with_speaker)
            for key, values in inner.items()
            if _IN_BRACES.fullmatch(key) and any(isinstance(one, list) for one in values)
        )
        return next(filter(None, text_paths), None)
    turns = [turn for one in lists for turn in one if turn is not None]
    if len(lists) > len(values) / 2 and sum(isinstance(turn, str) for turn in turns) > len(turns) / 2:
        return None if with_speaker else f"{name}[*]"
    turns_with_fields = [turn for turn in turns if isinstance(turn, dict)]
    has_speaker = not with_speaker or any(key in turn for turn in turns_with_fields for key in _SPEAKER_FIELDS)
    text_paths = (_text_path(f"{name}[*]", key, turns_with_fields) for key in _TEXT_FIELDS)
    return next(filter(None, text_paths), None) if len(lists) > len(values) / 2 and has_speaker else None


def _text_path(name: str, key: str, turns: Sequence[dict[str, object]]) -> str | None:
    """Return the path to the texts under a key of turns, which may be lists of parts; None if there are none."""
    values = [turn[key] for turn in turns if turn.get(key) is not None]
    parts = [part for one in values if isinstance(one, list) for part in one]
    for field in _PART_TEXT_FIELDS:
        if any(isinstance(part, dict) and isinstance(part.get(field), str) for part in parts):
            return f"{name}.{key}[*].{field}"
    if any(isinstance(part, str) for part in parts):
        return f"{name}.{key}[*]"
    return f"{name}.{key}" if sum(isinstance(one, str) for one in values) > len(turns) / 10 else None


def _detect_pair(columns: Sequence[_Column]) -> tuple[str, str] | None:
    """Return the template of instructions and answers, if the pool has columns of both."""
    before = _first(columns, _BEFORE, lambda one: one.kind == "text")
    prompt = _first(columns, _PROMPT, lambda one: one.kind == "nested" or (one.kind == "text" and one.words >= 1.5))
    more = _first(columns, _INPUT, lambda _: True)
    answer = _first(
        columns, _ANSWER, lambda one: one.kind != "nothing" and (one.is_prose or one.plain_name != "target")
    )
    if prompt is None and more is not None and more[0].kind == "text":
        prompt, more = more, None
    if prompt is None and answer is not None:
        prompt, before = before, None
    if prompt is None or (answer is None and before is None):
        return None
    chosen = [before, prompt, more, answer]
    if answer is not None and _begins_with(answer[0], prompt[0]):
        chosen = [answer]
    used = [one for one in chosen if one is not None]
    template = "\n".join(f"{{{path}}}" for _, path in used)
    content = "instructions and answers" if answer is not None else "contexts and questions"
    listing = " and ".join(filter(None, [", ".join(repr(one.name) for one, _ in used[:-1]), repr(used[-1][0].name)]))
    return template, f"{content} in {listing}"


def _first(
    columns: Sequence[_Column], names: Sequence[str], usable: Callable[[_Column], bool]
) -> tuple[_Column, str] | None:
    """Return the first usable column with one of the names that has no ids, and its path in a template."""
    for one in _with_names(columns, names):
        path = _turns_path(one.name, one.present) if one.kind == "nested" else one.name
        if path and usable(one) and not one.is_id:
            return one, path
    return None


def _begins_with(answer: _Column, prompt: _Column) -> bool:
    """Return whether most answers begin with the prompt, like chats that include the answer."""
    pairs = [(one, other) for one, other in zip(answer.values, prompt.values, strict=True) if one and other]
    return sum(_opening(one).startswith(_opening(other)) for one, other in pairs) > len(pairs) / 2


def _opening(value: object) -> str:
    """Return a text, or the text of the first turn of a chat."""
    while isinstance(value, list | dict) and value:
        value = value[0] if isinstance(value, list) else next((value[key] for key in _TEXT_FIELDS if key in value), "")
    return str(value).strip()


# ---------------------------------------------------------------- text of the user


def _check(text: str, columns: Mapping[str, _Column], where: str) -> None:
    """Raise an error for a text that uses missing columns, or columns without texts."""
    try:
        names = template_columns(text) or [text]
    except ValueError as error:
        hint = "use a column name, or a template such as '{question} {answer}'"
        raise ConfigError(str(error).removeprefix("text: "), where="--text", hint=hint) from error
    for name in names:
        if name not in columns:
            raise ConfigError(f"{where} has no column {name!r}", where="--text", hint=suggest_name(name, columns))
    if template_columns(text) is None and columns[text].kind in ("nested", "number"):
        hint = f'to use it as text anyway, write it as a template: --text "{{{text}}}"'
        if path := _turns_path(text, columns[text].present):
            hint = f'to use the texts in it, pass --text "{{{path}}}"'
        kind = "lists or objects" if columns[text].kind == "nested" else "numbers"
        raise ConfigError(f"column {text!r} contains {kind}, not text", where="--text", hint=hint)


def _no_text_error(text: str, columns: Mapping[str, _Column], where: str) -> ConfigError:
    text_paths = (
        _turns_path(name, columns[name].present)
        for name in template_columns(text) or ()
        if columns[name].kind == "nested"
    )
    hint = " or ".join(f'"{{{path}}}"' for path in text_paths if path)
    return ConfigError(
        f"{text!r} selects no text in any row of {where}", where="--text", hint=f"did you mean {hint}?" if hint else ""
    )


def _render_text(text: str, table: pa.Table) -> pa.Array:
    if template_columns(text):
        return render(text, table)
    return to_text(table[text].combine_chunks()) if text in table.column_names else pa.nulls(len(table), pa.string())


# ---------------------------------------------------------------- ids and labels


def _detect_id(columns: Sequence[_Column], *, headerless: bool) -> str | None:
    """Return the column of ids: all values are different, and none is missing."""
    usable = [
        one
        for one in columns
        if one.everywhere and one.distinct == len(one.values) and not any(isinstance(v, float) for v in one.values)
    ]
    candidates = _with_names(usable, _ID)
    candidates += [
        one
        for one in usable
        if (one.plain_name.endswith("_id") or re.search("[a-z]I[dD]$", one.name))
        and not one.plain_name.startswith(_OF_OTHERS)
    ]
    if headerless:
        candidates += [one for one in usable if len(one.values) >= 20 and one.kind == "text" and one.words == 1]
    return next((one.name for one in candidates), None)


def _detect_label(columns: Sequence[_Column], *, headerless: bool) -> str | None:
    """Return the column of labels: few different values, each of them frequent."""
    usable = [
        one
        for one in columns
        if one.kind in ("text", "number") and one.repeats and one.words <= 6 and not any(map(_is_fraction, one.texts))
    ]
    if candidates := _with_names(usable, _LABEL):
        return candidates[0].name
    others = [
        one
        for one in usable
        if one.everywhere
        and 2 <= one.distinct <= len(one.texts) / 4
        and len(one.texts) >= 20
        and (one.kind == "text" or headerless)
        and one.plain_name not in _NO_LABEL
        and (headerless or not one.is_id)
    ]
    return others[0].name if len(others) == 1 else None


def _is_fraction(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d*\.\d+(e[+-]?\d+)?", text) is not None
