"""Images of a pool: bytes in a column of the input, or files that it names by path."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import paths
from curate.errors import DataError
from curate.kernels.images.codec import MAX_BYTES
from curate.kernels.text.json_values import is_binary, is_json, to_text
from curate.kernels.types import Images
from curate.paths import FileInfo

FACTS = pa.struct(
    [("path", pa.string()), ("hash", pa.binary(16)), ("width", pa.int32()), ("height", pa.int32())],
)
"""Type of the stored facts about the image of a row; the path is null for bytes in a column."""

CHANGED_HINT = "run again, and the image is read again; do not write to images during a run"


class ImageFileError(Exception):
    """Reason why the file of an image cannot be used, such as "its image does not exist"."""


def split_column(column: pa.Array, name: str, where: str) -> tuple[list[str | None], pa.Array | None]:
    """Split a column of images into paths and encoded images.

    Parameters
    ----------
    column : Array
        Paths, encoded images as bytes, or objects with the keys ``bytes`` and ``path``, (n,).
    name, where : str
        Name of the column and of its file, for the error.

    Returns
    -------
    names : list of str or None
        Path of the image of each row; None for a row that has bytes, or no image.
    data : Array or None
        Encoded image of each row, or null; None for a column without bytes.

    Raises
    ------
    DataError
        The column has another type.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_null(kind):
        return [None] * len(column), None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return to_text(column).to_pylist(), None
    if is_binary(kind):
        return [None] * len(column), column
    if is_json(kind):
        return [_path_in_json(text) for text in column.storage.to_pylist()], None
    if pa.types.is_struct(kind):
        fields = {one.name: position for position, one in enumerate(kind)}
        data = pc.struct_field(column, fields["bytes"]) if "bytes" in fields else None
        if data is not None and not is_binary(data.type):
            data = None
        if "path" in fields:
            names = to_text(pc.struct_field(column, fields["path"])).to_pylist()
            if data is not None:
                names = [None if has else one for one, has in zip(names, data.is_valid().to_pylist(), strict=True)]
            return names, data
        if data is not None:
            return [None] * len(column), data
    raise DataError(
        f"input.image: column {name!r} is {kind}",
        where=where,
        hint="use a column of paths, of encoded images as bytes, or of objects with the keys bytes and path",
    )


def _path_in_json(text: str | None) -> str | None:
    value = None if text is None else json.loads(text)
    value = value.get("path") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def locate_image(name: str, folder: str) -> str:
    """Return the path of an image that a row names relative to a folder.

    Raises
    ------
    ImageFileError
        The name is a URL, or leads out of the folder.
    """
    if not name:
        raise ImageFileError("its image has no path")
    if name.startswith("data:"):
        raise ImageFileError("its image is a data URI; store its bytes in a column instead")
    if paths.is_url(name):
        raise ImageFileError("its image is a URL; download it, and use its path or its bytes")
    if "\0" in name:
        raise ImageFileError("the path of its image contains a null character")
    path = os.path.join(folder, name)  # noqa: PTH118 - for speed
    root = paths.resolve_links(os.path.join(folder, "."))  # noqa: PTH118 - for speed
    if not _is_within(os.path.abspath(path), os.path.abspath(folder)) and not _is_within(  # noqa: PTH100
        os.path.abspath(path),  # noqa: PTH100
        root,
    ):
        raise ImageFileError(
            "the path of its image leads out of the folder; set input.image_folder to one that contains it"
        )
    if not _is_within(os.path.realpath(path), root):
        raise ImageFileError("its image is a link that leads out of the folder; copy the file to its place")
    return path


def _is_within(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith("/") else f"{folder}/")


def read_image(path: str) -> tuple[bytes, FileInfo]:
    """Read the file of an image, and return its bytes and its stamp.

    Raises
    ------
    ImageFileError
        The file is missing, not a regular file, too large, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe must not block
        with os.fdopen(handle, "rb", buffering=0) as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ImageFileError("the path of its image is not a regular file")
            if status.st_size > MAX_BYTES:
                raise ImageFileError(f"its image has {status.st_size:,} bytes, more than {MAX_BYTES:,}")
            data = file.readall()
        return data or b"", stamp(status)
    except OSError as error:
        if error.errno == errno.EISDIR:
            raise ImageFileError("the path of its image is a folder") from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ImageFileError("its image does not exist") from error
        raise ImageFileError(f"its image cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name that the file system cannot represent
        raise ImageFileError("the path of its image is not a valid name") from error


def stamp(status: os.stat_result) -> FileInfo:
    """Return the stamp of an image, which changes whenever the file is written again."""
    return {
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "changed": status.st_ctime_ns,
        "inode": status.st_ino,
    }


def hash_image(data: bytes) -> bytes:
    """Return the 128-bit BLAKE2b hash of an encoded image."""
    return hashlib.blake2b(data, digest_size=16).digest()


def to_images(facts: pa.ChunkedArray, data: pa.ChunkedArray | None) -> Images:
    """Return the images of some rows.

    Parameters
    ----------
    facts : ChunkedArray
        Stored facts of type ``FACTS``, (n,).
    data : ChunkedArray or None
        Encoded images, null for those in files, (n,).
    """
    table = facts.combine_chunks()
    hashes = b"".join(pc.struct_field(table, "hash").to_pylist())
    halves = np.frombuffer(hashes, np.uint64).reshape(-1, 2)
    sides = [pc.struct_field(table, side).to_numpy(zero_copy_only=False) for side in ("width", "height")]
    names: Sequence[str | None] = pc.struct_field(table, "path").to_pylist()

    def read(row: int) -> bytes:
        name = names[row]
        if name is not None:
            return _read_unchanged(name, hashes[16 * row : 16 * (row + 1)])
        value = None if data is None else data[row].as_py()
        return b"" if value is None else bytes(value)

    return Images(halves, np.stack(sides, axis=1).astype(np.int32), read)


def _read_unchanged(name: str, expected: bytes) -> bytes:
    try:
        data = read_image(name)[0]
    except ImageFileError as error:
        message = f"the image cannot be read any more: {error}"
        raise DataError(message, where=name, hint=CHANGED_HINT) from error
    if hash_image(data) != expected:
        raise DataError("the image changed since the input was read", where=name, hint=CHANGED_HINT)
    return data


def folder_of(file: str, image_folder: str | None) -> str:
    """Return the folder to which the paths of images in an input file are relative.

    Raises
    ------
    DataError
        The input file is in a store, and no folder is configured.
    """
    if image_folder is not None:
        return image_folder
    path = paths.parse_path(file)
    if paths.is_object(path):
        message = "input.image: paths of images must lead to local files, but the input file is in a store"
        raise DataError(
            message, where=file, hint="set input.image_folder, or use a column with the bytes of the images"
        )
    return str(Path(file).parent)
