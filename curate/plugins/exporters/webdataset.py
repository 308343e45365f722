"""WebDataset exporter: tar files with the members of each row side by side."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import ClassVar

import orjson
import pyarrow as pa
from pyarrow import types

from curate.errors import PluginError, missing_extra_error
from curate.kernels.text.json_values import dumps, is_binary, is_json, to_json_types
from curate.plugins.interfaces import ColumnName, exporter

ROWS_PER_BATCH = 1_024
MAX_KEY_LENGTH = 180
"""Maximum length of a key; with the name of a member, a file system accepts it as a file name."""

TEXT, JSON = "txt", "json"


def safe_key(name: str) -> str:
    """Return an id as the key of a sample, which contains only letters, digits, ``-``, ``_`` and ``%``.

    Other characters become their bytes in UTF-8 as in URLs, so that different ids have different keys. A key of more
    than ``MAX_KEY_LENGTH`` characters is cut off, and ends with a hash of the id.

    Examples
    --------
    >>> safe_key("docs/a b.txt"), safe_key("é"), safe_key("")
    ('docs%2Fa%20b%2Etxt', '%C3%A9', '%')
    """
    key = re.sub(r"[^A-Za-z0-9_-]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), name)
    if len(key) > MAX_KEY_LENGTH:
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        return f"{key[: MAX_KEY_LENGTH - 33]}-{digest}"
    return key or "%"


def write_webdataset(table: pa.Table, path: Path, keys: Sequence[str], *, text: str | None = None) -> None:
    """Write ``table`` to ``path`` as a tar file of the library ``webdataset``.

    A row with the key ``k`` has the member ``k.txt`` for its text, ``k.<column>`` for each binary column, and
    ``k.json`` for an object with all other columns, as in JSON Lines. Null texts and null binary values have no member.
    A struct of ``bytes`` and ``path``, as ``datasets`` stores an image, is a binary column; its path is in the object.

    Parameters
    ----------
    table : rows to write
    path : output file
    keys : id of each row
    text : column of the text; None: the column ``text``, if there is one

    Raises
    ------
    PluginError : if the name of a column cannot be the name of a member, or JSON cannot represent its type

    Notes
    -----
    Cost: O(bytes) time; memory for a thousand rows plus the table. Times, users and modes are constant.
    """
    from webdataset import TarWriter

    text = find_text(table.schema, text)
    check_types(table.schema, text)
    with path.open("wb") as file, TarWriter(file, encoder=False, mtime=0) as writer:
        for start in range(0, len(table), ROWS_PER_BATCH):
            rows = table.slice(start, ROWS_PER_BATCH)
            for key, members in zip(keys[start : start + ROWS_PER_BATCH], _members(rows, text), strict=True):
                writer.write({"__key__": safe_key(key), **members})


def find_text(schema: pa.Schema, text: str | None) -> str | None:
    """Return the column of the text: the given one, else the string column ``text`` if there is one.

    Raises
    ------
    PluginError : if the column does not exist, or does not contain strings
    """
    kinds = dict(zip(schema.names, schema.types, strict=True))
    if text is None:
        return "text" if "text" in kinds and _is_string(kinds["text"]) else None
    if text not in kinds or not _is_string(kinds[text]):
        problem = f"is {kinds[text]}, not strings" if text in kinds else "is not exported"
        raise PluginError(f"text: column {text!r} {problem}", hint=f"there are: {', '.join(kinds)}")
    return text


def _is_string(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_member(kind: pa.DataType) -> bool:
    """Return whether the values of a column are members of the tar file: bytes, or a struct of bytes and a path."""
    if types.is_struct(kind):
        return {field.name for field in kind} == {"bytes", "path"} and is_binary(kind.field("bytes").type)
    return is_binary(kind) or bool(types.is_fixed_size_binary(kind))


def check_types(schema: pa.Schema, text: str | None) -> None:
    """Raise an error for the first column that cannot be a member of a tar file or a value in JSON.

    Raises
    ------
    PluginError : if the name of a column cannot be the name of a member, or JSON cannot represent its type
    """
    members = {TEXT: "the text"} if text is not None else {}
    members[JSON] = "the other columns"
    for field in schema:
        if _is_member(field.type):
            name = field.name.lower()
            hint = "rename it with export.rename, such as to jpg"
            if name in members:
                message = f"the binary column {field.name!r} and {members[name]} would have the same member, {name!r}"
                raise PluginError(message, hint=hint)
            if name.startswith("_") or not name or re.search(r"[/\x00-\x1f\x7f]|^\.|\.$|\.\.", name):
                message = f"the name of the binary column {field.name!r} cannot be the name of a member of a tar file"
                raise PluginError(message, hint=hint)
            members[name] = f"column {field.name!r}"
        elif not is_json(field.type):
            try:
                to_json_types(pa.nulls(0, field.type), field.name)
            except TypeError as error:
                raise PluginError(str(error), hint="leave the column out with export.drop") from error


def _members(rows: pa.Table, text: str | None) -> list[dict[str, bytes]]:
    """Return the members of each row, by the ends of their names."""
    members: list[dict[str, bytes]] = [{} for _ in range(len(rows))]
    objects: dict[str, list[object]] = {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if name == text:
            for member, value in zip(members, array.to_pylist(), strict=True):
                if value is not None:
                    member[TEXT] = value.encode()
        elif _is_member(array.type):
            values = array.to_pylist()
            if types.is_struct(array.type):
                objects[name] = [None if one is None else {"path": one["path"]} for one in values]
                values = [None if one is None else one["bytes"] for one in values]
            for member, value in zip(members, values, strict=True):
                if value is not None:
                    member[name] = value
        elif is_json(array.type):
            objects[name] = [None if one is None else orjson.Fragment(one) for one in array.storage.to_pylist()]
        else:
            objects[name] = to_json_types(array, name).to_pylist()
    for member, values in zip(members, zip(*objects.values(), strict=True), strict=bool(objects)):
        member[JSON] = dumps(dict(zip(objects, values, strict=True)))
    for member in members:
        member.setdefault(JSON, b"{}")  # every row has a member, even if all of its values are null
    return members


@exporter(version=1, schema=True, keys=True, types=True, check=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class WebDataset:
    """Tar files of the library ``webdataset``, with a text, a JSON object and binary members for each row.

    Use it for training jobs that stream samples, such as images with captions, from an object store. The key of a
    sample is the id of its row, with all characters but letters, digits, ``-`` and ``_`` escaped as in URLs. Rename a
    binary column to the extension that decoders expect: ``rename: {image: jpg}``. Needs the extra ``webdataset``.
    """

    text: ColumnName | None = None
    """Exported column that becomes the member ``txt``; by default the column ``text``, if there is one."""

    suffix: ClassVar[str] = ".tar"

    def check(self) -> Sequence[str]:
        """Raise a PluginError if the library is not installed."""
        if util.find_spec("webdataset") is None:
            raise missing_extra_error("webdataset", "webdataset", "exporter 'webdataset'")
        return ()

    def check_types(self, schema: pa.Schema) -> None:
        """Raise a PluginError for the first column that cannot be written."""
        check_types(schema, find_text(schema, self.text))

    def write(self, table: pa.Table, path: Path, keys: Sequence[str]) -> None:
        """Write one file; the same table and keys give the same bytes."""
        self.check()
        write_webdataset(table, path, keys, text=self.text)
