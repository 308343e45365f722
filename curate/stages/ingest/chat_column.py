"""Recognition of a text column that contains chats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from curate import paths
from curate.config.template_syntax import is_path, parse_template
from curate.kernels.arrow_lists import is_list
from curate.kernels.text.chats import kind_of, kind_of_list
from curate.kernels.text.json_values import is_json
from curate.stages.ingest.text_template import json_values
from curate.store import readers
from curate.store.records import Piece, ReadOptions

if TYPE_CHECKING:
    from curate.config.model import InputConfig

_BYTES = 1 << 16
"""Number of bytes of a JSON Lines file that are read."""


def resolve_text(config: InputConfig, files: Iterable[str]) -> InputConfig:
    """Return the configuration with a template as its text, if ``input.text`` is the name of a column of chats.

    The first value in the first records of a file decides; later files may then contain texts as well as chats.
    """
    name = config.text
    if name is None:
        return config
    if parse_template(name) is not None or is_path(name) or name in (config.types or {}) or {":", "!"} & set(name):
        return config
    for file in files:
        kind = readers.detect_format(paths.parse_path(file))[0]
        is_chat = None if kind in ("csv", "tsv") else _is_chat(file, name, config)
        if is_chat is not None:
            return replace(config, text=f"{{{name}}}") if is_chat else config
    return config


def _is_chat(file: str, name: str, config: InputConfig) -> bool | None:
    """Return whether the first value of a column is a chat; None if the first records have no value."""
    column_type = readers.read_column_type(paths.parse_path(file), name)
    if column_type is not None and not is_json(column_type):
        if pa.types.is_null(column_type):
            return None
        return is_list(column_type) and _is_message(column_type.value_type)
    options = ReadOptions(as_json=frozenset([name]), header=config.header, delimiter=config.delimiter)
    batch = next(readers.read(Piece(file, 0, 0, _BYTES), options), None)
    if batch is None or name not in batch.table.column_names:
        return None
    values = json_values(batch.table[name].combine_chunks())
    first = next((value for value in values if value is not None and value != []), None)
    return None if first is None else isinstance(first, list) and kind_of_list(first) == "message"


def _is_message(element: pa.DataType) -> bool:
    return pa.types.is_struct(element) and kind_of([one.name for one in element]) == "message"
