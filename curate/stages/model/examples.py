"""Rows as a language model reads them: the prompt and the response, from columns, templates or chats."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from curate.config.template_syntax import extract_paths, is_path, parse_template
from curate.errors import DataError
from curate.kernels.arrow_lists import is_list
from curate.kernels.text.chats import kind_of_list, render_value, split_message
from curate.kernels.text.json_values import is_json
from curate.plugins.language_models import Example, Turn
from curate.stages.ingest.text_template import json_values, parse_text, render, template_columns
from curate.store.inputs import Inputs, as_text

if TYPE_CHECKING:
    from curate.config.model import ExampleEntry


@dataclass(frozen=True, slots=True)
class ExampleReader:
    """Reads the rows of the input for the entry of a model."""

    source: Inputs
    prompt: str | None
    """Column or template of the prompt; None without one."""

    response: str | None
    """Column or template of the response; None for the text of the row."""

    messages: str | None
    """Column of chats; rows whose value is no chat are read as texts."""

    @classmethod
    def create(cls, source: Inputs, entry: ExampleEntry, text: str | None) -> ExampleReader:
        """Return the reader of an entry of a model or of an annotator.

        Parameters
        ----------
        source : Inputs
            Input shards.
        entry : ExampleEntry
            Entry with the columns of the prompt and the response.
        text : str or None
            Column or template of the text of a row.
        """
        messages = entry.messages
        if messages is None and entry.prompt is None and entry.response is None:
            messages = _chat_column(source, text)
        return cls(source, entry.prompt, entry.response, messages)

    @property
    def reads_text(self) -> bool:
        """Whether examples depend on nothing but the text of a row."""
        return self.prompt is None and self.response is None and self.messages is None

    def read(self, shard: int, rows: slice) -> list[Example]:
        """Read some rows of a shard.

        Raises
        ------
        DataError
            A column does not exist.
        """
        templates = [text for text in (self.prompt, self.response) if text is not None]
        columns = {name for text in templates for name in template_columns(text) or [text]}
        if self.messages is not None:
            columns.add(self.messages)
        roles = ["text"] if self.response is None and self.messages is None else []
        table = self.source.read(shard, roles, sorted(columns)).slice(rows.start, rows.stop - rows.start)
        texts = table["text"].to_pylist() if roles else []
        if self.messages is not None:
            values = [value for chunk in table[self.messages].chunks for value in json_values(chunk)]
            return [to_example(value) for value in values]
        prompts = [""] * len(table) if self.prompt is None else _render(self.prompt, table)
        responses = texts if self.response is None else _render(self.response, table)
        return [
            Example((Turn("user", prompt),) if prompt.strip() else (), response)
            for prompt, response in zip(prompts, responses, strict=True)
        ]

    def read_hashes(self, shard: int, rows: slice) -> pa.ChunkedArray:
        """Return the content hashes of some rows of a shard, 16 bytes each."""
        return pa.chunked_array([hash_examples(self.read(shard, rows))])


def hash_examples(examples: Sequence[Example]) -> pa.Array:
    """Return a hash of each example, (n,) of 16 bytes."""
    return pa.array([_hash(one) for one in examples], pa.binary(16))


def _hash(example: Example) -> bytes:
    parts = [*([turn.role, turn.content] for turn in example.prompt), example.response]
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).digest()


def to_example(value: object) -> Example:
    """Return the example of a chat: its last message of the assistant, and the messages before it.

    A chat without a message of the assistant has an empty response, and so has a null; a value that is no chat is read
    as a text.
    """
    chat = parse_text(value)
    if not isinstance(chat, list) or kind_of_list(chat) != "message":
        return Example((), render_value(value))
    turns = [Turn(*split_message(message)) for message in chat if isinstance(message, dict)]
    last = max((number for number, turn in enumerate(turns) if turn.role == "assistant"), default=len(turns))
    response = turns[last].content if last < len(turns) else ""
    return Example(tuple(turn for turn in turns[:last] if turn.content.strip()), response)


def _chat_column(source: Inputs, text: str | None) -> str | None:
    """Return the column that ``input.text`` names if it may contain chats."""
    if text is None:
        return None
    if parse_template(text) is None:
        name = text
    else:
        columns = {path[0] for path in extract_paths(text)}
        name = columns.pop() if len(columns) == 1 else ""
        if text != f"{{{name}}}" or is_path(name):
            return None
    kind = source.columns.get(name)
    if kind is None:
        return None
    is_chat = is_json(kind) or (is_list(kind) and pa.types.is_struct(kind.value_type))
    return name if is_chat else None


def _render(template: str, table: pa.Table) -> list[str]:
    """Return the texts of a column, or of a template over columns, "" for null."""
    if template_columns(template) is None:
        if template not in table.column_names:
            raise DataError(f"the input has no column {template!r}")
        texts: list[str] = as_text(table[template]).fill_null("").to_pylist()
        return texts
    rendered: list[str] = render(template, table).fill_null("").to_pylist()
    return rendered
