"""Columns of a pool that hold its texts, ids, labels and sources, found by the values of its first rows.

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
from curate.kernels.text.json_values import dumps, to_text
from curate.kernels.text.text_identity import is_blank
from curate.kernels.text.word_tokens import split_words
from curate.stages.ingest.text_template import is_text, json_values, render, template_columns
from curate.store import readers
from curate.store.records import Batch, Piece, ReadOptions

MAX_ROWS = 2_000
"""Most rows of a file that are examined."""

MAX_FILES = 4
"""Most files that are examined: the first, the last, and some between them."""

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
_SAID = ("content", "value", "text", "message", "utterance", "body", "parts")
"""Names of the field of a turn that holds its text."""

_SAID_IN_PART = ("text", "content")
_SPEAKER = ("role", "from", "speaker", "author", "user", "sender", "name")
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
_KNOWN = frozenset(
    (*_TEXT, *_CHAT, *_BEFORE, *_PROMPT, *_INPUT, *_ANSWER, *_ID, *_LABEL, *_SOURCE, *_NO_LABEL, "title")
)

_IN_BRACES = re.compile(r"[^{}!:.\[\]]+")
"""Names that a template can have in its braces."""

_IDENTIFIER = re.compile(r"\S*[\d_/:.#-]\S*|[0-9a-fA-F]{16,}")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|\.\d+)([eE][+-]?\d+)?")


_MOST_SOURCES = 20
"""Largest number of files that are a source each, where no column has the sources."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Settings of the input section, and why."""

    text: str
    reason: str
    id: str | None
    label: str | None
    source: str | None
    header: bool
    rows: int
    """Number of rows that were examined."""

    blank: int
    """Number of these without a text."""

    columns: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield what was chosen, and why."""
        yield f"text: {self.text!r} ({self.reason})"
        roles = {
            "id": (self.id, "no two are the same"),
            "label": (self.label, "few different values"),
            "source": (self.source, "few different values" if self.source in self.columns else "one for each file"),
        }
        chosen = [f"{role}: {name!r} ({why})" for role, (name, why) in roles.items() if name is not None]
        without = [role for role, (name, _) in roles.items() if name is None]
        yield "; ".join([*chosen, *([f"no column for {', '.join(without)}"] if without else [])])
        if not self.header:
            yield f"header: false, as the first row is data; the columns are {summarize_names(self.columns)}"
        if self.blank:
            yield f"{self.blank:,} of the {self.rows:,} rows that were read have no text: a run quarantines such rows"


def detect_layout(files: Sequence[str], text: str | None = None) -> Layout:
    """Find out what the columns of a pool are.

    Parameters
    ----------
    files : sequence of str
        The input files, at least one.
    text : str or None
        The text as the user names it; None to find it.

    Raises
    ------
    ConfigError
        ``text`` names no column, or leads to no text; or there is no column of texts, with all columns and why not.
    DataError
        A file cannot be read, or none has a row.
    """
    sampled = list(
        dict.fromkeys(files[round(place * (len(files) - 1) / (MAX_FILES - 1))] for place in range(MAX_FILES))
    )
    header = not any(map(_lacks_header, sampled))
    tables = {name: _first_rows(name, ReadOptions(header=header)) for name in sampled}
    tables = {name: table for name, table in tables.items() if len(table)}
    if not tables:
        raise DataError("there are no rows", where=", ".join(sampled))
    columns = _columns(tables)
    where = next(iter(tables))
    by_user = text is not None
    if text is None:
        text, why = _text_of(columns, where)
    else:
        why = "as named"
        _check(text, columns, where)
    rendered = pa.concat_arrays([_rendered(text, table) for table in tables.values()])
    blank = int(is_blank(rendered).sum())
    if by_user and blank == len(rendered):
        raise _leads_nowhere(text, columns, where)
    used = {path[0] for path in extract_paths(text)}
    left = [one for one in columns.values() if one.name not in used and one.kind != "nothing"]
    identity = _id_of(left, headerless=not header)
    left = [one for one in left if one.name != identity]
    source = next((one.name for one in _named(left, _SOURCE) if one.repeats and not one.is_id), None)
    left = [one for one in left if one.name != source]
    if source is None and 1 < len(files) <= _MOST_SOURCES and "file" not in columns:
        source = "file"
    label = _label_of(left, headerless=not header)
    return Layout(text, why, identity, label, source, header, len(rendered), blank, tuple(columns))


# ---------------------------------------------------------------- the first rows


def _lacks_header(name: str) -> bool:
    """Return whether the first row of a CSV or TSV file is data: it looks so, or has values of the rows below."""
    place = paths.parse_path(name)
    if readers.detect_format(place)[0] not in ("csv", "tsv"):
        return False
    if readers.find_data_in_header(place, ReadOptions()):
        return True
    table = _first_rows(name, ReadOptions())
    if any(_plain(column) in _KNOWN for column in table.column_names):
        return False
    again = [column in table[column].to_pylist() for column in table.column_names if is_text(table[column].type)]
    return any(again) and not all(again)


def _first_rows(name: str, options: ReadOptions) -> pa.Table:
    """Return the first rows of a file, the lists and objects of JSON files as JSON texts."""
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
    """A column, and the values of it that were read."""

    name: str
    values: list[object]
    everywhere: bool
    """Whether all files have it."""

    @property
    def plain_name(self) -> str:
        return _plain(self.name)

    @cached_property
    def present(self) -> list[object]:
        return [value for value in self.values if value is not None and (not isinstance(value, str) or value.strip())]

    @cached_property
    def kind(self) -> str:
        """``nothing``, ``nested``, ``number`` or ``text``: that of most values."""
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
        """Mean number of words."""
        return sum(len(split_words(text[:1_000])) for text in self.texts) / max(1, len(self.texts))

    @property
    def filled(self) -> float:
        return len(self.present) / max(1, len(self.values))

    @cached_property
    def is_id(self) -> bool:
        """Whether most values are one word with digits or signs in it, as ids, hashes, dates and URLs are."""
        one_word = [text.strip() for text in self.texts if len(split_words(text)) == 1]
        alike = sum(_IDENTIFIER.fullmatch(text) is not None for text in one_word)
        return self.kind == "text" and alike > 0.9 * len(self.texts)

    @property
    def repeats(self) -> bool:
        """Whether there are few different values."""
        return self.kind != "nested" and self.distinct <= max(min(10, len(self.texts)), len(self.texts) / 5)

    @property
    def is_prose(self) -> bool:
        """Whether the values are texts, by their own look."""
        return self.kind == "text" and not self.is_id and self.words >= 3 and not self._few

    @property
    def _few(self) -> bool:
        return len(self.texts) >= 20 and self.distinct <= len(self.texts) / 5

    @property
    def is_text_by_name(self) -> bool:
        """Whether a column with the name of a text column may be one: ids and numbers are none."""
        return self.kind == "text" and not self.is_id and self.filled > 0.5 and not (self._few and self.words < 3)

    def why_not(self) -> str:
        """Return why it is not the text, with an example."""
        reason = "a single word each"
        if self.kind == "nothing":
            return f"column {self.name!r} has no value in the rows that were read"
        if self.kind == "nested":
            reason = "lists or objects, none of them turns of a chat"
        elif self.kind == "number":
            reason = "numbers"
        elif self.is_id and self.distinct == len(self.texts):
            reason = "looks like an id: each value is one word with digits or signs, and no two are the same"
        elif self.is_id:
            reason = "looks like ids, dates or links: each value is one word with digits or signs"
        elif self._few:
            reason = f"only {self.distinct:,} different values in {len(self.texts):,} rows"
        elif not self.everywhere:
            reason = "some files do not have it"
        elif self.words >= 3:
            reason = f"a value in {self.filled:.0%} of the rows only"
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
    found = {}
    for name in names:
        values: list[object] = []
        for table in tables.values():
            there = name in table.column_names
            values += json_values(table[name].combine_chunks()) if there else [None] * len(table)
        found[name] = _Column(name, values, all(name in table.column_names for table in tables.values()))
    return found


def _named(columns: Collection[_Column], names: Sequence[str]) -> list[_Column]:
    """Return the columns that have one of the names, in the order of these."""
    return sorted((one for one in columns if one.plain_name in names), key=lambda one: names.index(one.plain_name))


# ---------------------------------------------------------------- the text


def _text_of(columns: Mapping[str, _Column], where: str) -> tuple[str, str]:
    """Return the text as ``input.text`` takes it, and why."""
    shared = [one for one in columns.values() if one.everywhere]
    in_braces = [one for one in shared if _IN_BRACES.fullmatch(one.name)]
    for one in _named(in_braces, _CHAT):
        if way := _turns(one.name, one.present):
            return f"{{{way}}}", f"the turns of the chats in {one.name!r}"
    if found := _pair(in_braces):
        return found
    named = [one for one in _named(shared, _TEXT) if one.is_text_by_name]
    for one in () if named else sorted(in_braces, key=lambda one: one.plain_name == "rejected"):
        if one.kind == "nested" and (way := _turns(one.name, one.present, with_speaker=True)):
            return f"{{{way}}}", f"the turns of the chats in {one.name!r}"
    prose = sorted((one for one in shared if one.is_prose), key=lambda one: -sum(map(len, one.texts)))
    for one in [*named, *prose]:
        if not re.search("[{}]", one.name):
            words = f"{one.words:,.0f} words on average" if one.words >= 1.5 else "a word each"
            return one.name, f"a text column, {words}"
    problem = ConfigError("no column looks like a text", where=where, hint="name one: curate init --text COLUMN")
    reasons = [ConfigError(one.why_not(), where=where) for one in columns.values()]
    more = [ConfigError(f"{len(reasons) - _SHOWN:,} more columns", where=where)] if len(reasons) > _SHOWN else []
    raise ConfigErrors.join([problem, *reasons[:_SHOWN], *more])


_SHOWN = 20  # columns in a message


def _turns(name: str, values: Sequence[object], *, with_speaker: bool = False) -> str | None:
    """Return the path to the texts of turns, if most values are lists of these, or objects that hold such a list."""
    lists = [value for value in values if isinstance(value, list)]
    objects = [value for value in values if isinstance(value, dict)]
    if len(objects) > len(values) / 2:
        keys = sorted(dict.fromkeys(key for one in objects for key in one), key=lambda key: key not in _CHAT)
        inner = {key: [one[key] for one in objects if one.get(key) is not None] for key in keys}
        ways = (
            _turns(f"{name}.{key}", held, with_speaker=with_speaker)
            for key, held in inner.items()
            if _IN_BRACES.fullmatch(key) and any(isinstance(one, list) for one in held)
        )
        return next(filter(None, ways), None)
    turns = [turn for one in lists for turn in one if turn is not None]
    if len(lists) > len(values) / 2 and sum(isinstance(turn, str) for turn in turns) > len(turns) / 2:
        return None if with_speaker else f"{name}[]"
    said = [turn for turn in turns if isinstance(turn, dict)]
    speak = not with_speaker or any(key in turn for turn in said for key in _SPEAKER)
    ways = (_said(f"{name}[]", key, said) for key in _SAID)
    return next(filter(None, ways), None) if len(lists) > len(values) / 2 and speak else None


def _said(name: str, key: str, turns: Sequence[dict[str, object]]) -> str | None:
    """Return the path to the texts under a key of turns, which may be lists of parts, if there are any."""
    held = [turn[key] for turn in turns if turn.get(key) is not None]
    parts = [part for one in held if isinstance(one, list) for part in one]
    for field in _SAID_IN_PART:
        if any(isinstance(part, dict) and isinstance(part.get(field), str) for part in parts):
            return f"{name}.{key}[].{field}"
    if any(isinstance(part, str) for part in parts):
        return f"{name}.{key}[]"
    return f"{name}.{key}" if sum(isinstance(one, str) for one in held) > len(turns) / 10 else None


def _pair(columns: Sequence[_Column]) -> tuple[str, str] | None:
    """Return the template of instructions and answers, if there are columns of both."""
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
    template = "\n".join(f"{{{found}}}" for _, found in used)
    what = "instructions and answers" if answer is not None else "contexts and questions"
    named = " and ".join(filter(None, [", ".join(repr(one.name) for one, _ in used[:-1]), repr(used[-1][0].name)]))
    return template, f"{what} in {named}"


def _first(
    columns: Sequence[_Column], names: Sequence[str], usable: Callable[[_Column], bool]
) -> tuple[_Column, str] | None:
    """Return the first column with one of the names that is usable and holds no ids, and what a template calls it."""
    for one in _named(columns, names):
        way = _turns(one.name, one.present) if one.kind == "nested" else one.name
        if way and usable(one) and not one.is_id:
            return one, way
    return None


def _begins_with(answer: _Column, prompt: _Column) -> bool:
    """Return whether most answers repeat the prompt at their beginning, as chats up to an answer do."""
    pairs = [(one, other) for one, other in zip(answer.values, prompt.values, strict=True) if one and other]
    return sum(_opening(one).startswith(_opening(other)) for one, other in pairs) > len(pairs) / 2


def _opening(value: object) -> str:
    """Return a text, or that of the first turn of a chat."""
    while isinstance(value, list | dict) and value:
        value = value[0] if isinstance(value, list) else next((value[key] for key in _SAID if key in value), "")
    return str(value).strip()


# ---------------------------------------------------------------- a text that the user names


def _check(text: str, columns: Mapping[str, _Column], where: str) -> None:
    """Refuse a text over columns that no file has."""
    try:
        names = template_columns(text) or [text]
    except ValueError as error:
        raise ConfigError(str(error).removeprefix("text: "), where="--text") from error
    for name in names:
        if name not in columns:
            raise ConfigError(f"no column {name!r} in {where}", where="--text", hint=suggest_name(name, columns))
    if template_columns(text) is None and columns[text].kind in ("nested", "number"):
        hint = f'to use it as text all the same, write it as a template: --text "{{{text}}}"'
        if way := _turns(text, columns[text].present):
            hint = f'the texts in it are "{{{way}}}"'
        kind = "lists or objects" if columns[text].kind == "nested" else "numbers"
        raise ConfigError(f"column {text!r} holds {kind}, not text", where="--text", hint=hint)


def _leads_nowhere(text: str, columns: Mapping[str, _Column], where: str) -> ConfigError:
    ways = (
        _turns(name, columns[name].present) for name in template_columns(text) or () if columns[name].kind == "nested"
    )
    hint = " or ".join(f'"{{{way}}}"' for way in ways if way)
    return ConfigError(
        f"{text!r} gives no row of {where} a text", where="--text", hint=f"did you mean {hint}?" if hint else ""
    )


def _rendered(text: str, table: pa.Table) -> pa.Array:
    if template_columns(text):
        return render(text, table)
    return to_text(table[text].combine_chunks()) if text in table.column_names else pa.nulls(len(table), pa.string())


# ---------------------------------------------------------------- ids and labels


def _id_of(columns: Sequence[_Column], *, headerless: bool) -> str | None:
    """Return the column of ids: no two values are the same, and none is missing."""
    usable = [
        one
        for one in columns
        if one.everywhere and one.distinct == len(one.values) and not any(isinstance(v, float) for v in one.values)
    ]
    named = _named(usable, _ID)
    named += [
        one
        for one in usable
        if (one.plain_name.endswith("_id") or re.search("[a-z]I[dD]$", one.name))
        and not one.plain_name.startswith(_OF_OTHERS)
    ]
    if headerless:
        named += [one for one in usable if len(one.values) >= 20 and one.kind == "text" and one.words == 1]
    return next((one.name for one in named), None)


def _label_of(columns: Sequence[_Column], *, headerless: bool) -> str | None:
    """Return the column of labels: few different values, each of them often."""
    usable = [
        one
        for one in columns
        if one.kind in ("text", "number") and one.repeats and one.words <= 6 and not any(map(_is_fraction, one.texts))
    ]
    if named := _named(usable, _LABEL):
        return named[0].name
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
