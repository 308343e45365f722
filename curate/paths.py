"""Paths of local files and of objects in a store, both with the methods of ``pathlib.Path``."""

from __future__ import annotations

import errno
import fnmatch
import glob
import hashlib
import io
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import unquote

from curate import no_follow
from curate.errors import ConfigError, CurateError, DataError, PluginError, missing_extra_error

if TYPE_CHECKING:
    import pyarrow.parquet as pq

FileInfo: TypeAlias = dict[str, Any]
"""Entry for one input file in a manifest: its stamp (see ``read_stamp``), and what is known after reading it."""

CREDENTIALS_IN_URL = "contains credentials; remove them from the URL and set them in the environment"
"""Message for a URL with credentials; see ``hide_secrets``."""

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_NAMED_BY_USER = ("abfs", "abfss", "wasb", "wasbs")
"""Protocols whose URLs have a container name in the position of the user name."""

_PUBLIC = ("versionid",)
"""URL parameters that are not secret; all others may be."""

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL",
    "hf": "HF_TOKEN",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
}
"""Environment variables that the libraries for object stores read, by protocol."""

_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp", "hf": "huggingface_hub"}
"""Package that gives access to the URLs of a protocol; the extras are ``s3``, ``http`` and ``hf``."""

_LIBRARIES = (
    "aiobotocore",
    "aiohttp",
    "azure",
    "botocore",
    "fsspec",
    "gcsfs",
    "google",
    "httpx",
    "huggingface_hub",
    "requests",
    "s3fs",
)
_PATIENT: Mapping[str, Any] = {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": 10}}}
"""Options of s3fs: requests to a busy store (503) are repeated after one second, then two, up to twenty."""

_BLOCK = 1 << 22
_FOOTER = 1 << 18
_END = 1 << 16  # number of bytes at each end of a file that its stamp hashes


def has_secret(text: str) -> bool:
    """Return whether ``text`` contains a URL that may hold a secret: a user, or a parameter not known as public.

    For ``http``, every query and fragment counts, with or without a name. Percent-encoded URLs are decoded first. A
    secret that is part of a path looks like any other name, and is not recognized.

    >>> has_secret("s3://key:pass/word@bucket/pool"), has_secret("s3://bucket/pool/part-?.jsonl")
    (True, False)
    >>> has_secret("https://host/a.jsonl%3Fapi_key%3D1"), has_secret("s3://bucket/a.jsonl?versionId=1")
    (True, False)
    """
    while True:
        if any(_may_have_secret(url[1].lower(), text[url.end() :]) for url in _URL.finditer(text)):
            return True
        encoded, text = text, unquote(text)
        if text == encoded:
            return False


def _may_have_secret(protocol: str, rest: str) -> bool:
    """Return whether the part of a URL after its protocol may hold a secret."""
    user, at, _ = re.split(r"[/?#\\\s]", rest, maxsplit=1)[0].rpartition("@")
    if at and (":" in user or protocol not in _NAMED_BY_USER):
        return True
    if re.match(r"[^/@\s]*:(?!\d+(/|$))[^@]*@", rest):  # a slash in a password
        return True
    query = re.search(r"[?#].*", rest, re.DOTALL)
    names = re.findall(r"[?#&;]([^?#&;=/]*)=", query[0] if query else "")
    if query and protocol in ("http", "https"):
        names += [part.partition("=")[0] for part in re.split("[?#&;]", query[0]) if part]
    return any(name.lower() not in _PUBLIC for name in names)


def is_url(text: str) -> bool:
    """Return whether a text is a URL, or a chain of URLs."""
    return re.match(r"\s*([\w.+-]+::)*[a-z][a-z0-9+.-]*://", text, re.IGNORECASE) is not None


def hide_secrets(text: str) -> str:
    """Return a text for a message, cut off at the first URL if it contains a secret.

    >>> hide_secrets("run=s3://key:password@bucket/pool")
    'run=s3://…'
    """
    return f"{text.partition('://')[0]}://…" if has_secret(text) else text


def parse_path(text: str) -> Path:
    """Return the path for a text: a ``pathlib.Path``, or for a URL a path of universal_pathlib.

    The latter is no ``pathlib.Path`` but has its methods; it is annotated as one so that the same code handles both.
    Object stores have no links, no locks and no renaming (see ``move``), and their files appear only when complete.

    Raises
    ------
    ConfigError
        If the URL contains credentials, or its store is unknown.
    PluginError
        If the library for the store is not installed.
    """
    protocol, url, _ = text.partition("://")
    if has_secret(text):
        raise ConfigError(f"the URL {CREDENTIALS_IN_URL}", where=hide_secrets(text))
    if not url:
        return Path(text)
    try:
        from upath import UPath

        patient = _PATIENT if protocol in ("s3", "s3a") and "AWS_MAX_ATTEMPTS" not in os.environ else {}
        path = UPath(text, use_listings_cache=False, **patient)  # a listing must show what other processes wrote
        library = type(path.fs).__module__  # imports it
    except ImportError as error:
        if protocol in _EXTRAS or error.name == "upath":
            package = "universal_pathlib" if error.name == "upath" else _EXTRAS[protocol]
            extra = {"https": "http", "http": "http", "hf": "hf"}.get(protocol, "s3")
            raise missing_extra_error(package, extra, text) from error
        raise PluginError(f"{text}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"not a supported URL: {error}", where=text) from error
    return Path(path.path) if library.endswith(".local") else cast(Path, path)


def is_object(path: Path) -> bool:
    """Return whether ``path`` names an object in a store."""
    return not isinstance(path, Path)


@contextmanager
def convert_store_errors(path: Path) -> Iterator[None]:
    """Convert errors of a store's library into errors that name the URL and a remedy.

    ``FileNotFoundError`` and ``FileExistsError`` are not converted, because their meaning depends on the caller.

    Raises
    ------
    DataError
        If the store cannot be reached, or access is denied.
    """
    try:
        yield
    except (CurateError, FileNotFoundError, FileExistsError):
        raise
    except Exception as error:
        of_store = isinstance(error, OSError) and error.filename is None
        if is_object(path) and isinstance(error, ValueError) and "range requests" in str(error):
            message = "the server cannot send parts of the file"
            raise DataError(message, where=str(path), hint="download the file, and read it from a disk") from error
        if is_object(path) and (of_store or type(error).__module__.partition(".")[0] in _LIBRARIES):
            raise unreachable_error(path, error) from error
        raise


def unreachable_error(path: Path, error: Exception) -> DataError:
    """Return the error for a store that cannot be reached."""
    protocol = str(path).partition("://")[0].lower()
    variables = f" ({_CREDENTIALS[protocol]})" if protocol in _CREDENTIALS else ""
    hint = f"check the URL, the network, and the credentials and the endpoint in the environment{variables}"
    return DataError(f"cannot reach the store: {error}", where=str(path), hint=hint)


# ---------------------------------------------------------------- listing files


def match_files(pattern: str) -> dict[str, FileInfo]:
    """Find the files that match a pattern, each with its stamp (see ``read_stamp``).

    ``*``, ``?`` and ``[…]`` match within a name, ``**`` matches any directories. An existing path that contains such
    characters is taken literally. Links are followed, each directory once; use ``unique_files`` to drop several names
    of the same file.

    Raises
    ------
    DataError
        If a directory cannot be read, or a match is not a readable file.
    """
    if "://" not in pattern:
        anchor = Path(pattern).anchor
        names = _expand(anchor, Path(pattern).parts[bool(anchor) :])
        return {name: read_stamp(Path(name)) for name in names if is_input(name)}
    path = parse_path(pattern)
    if not is_object(path):
        return match_files(str(path))
    fs = _fs(path)
    with convert_store_errors(path):
        if fs.isfile(_key(path)):
            return {str(path): _object_stamp(fs.info(_key(path)))}
        objects = fs.glob(str(path), detail=True)
        infos = {name: info for name, info in objects.items() if info["type"] == "file"}
        return {
            fs.unstrip_protocol(name): _object_stamp(info if info.get("size") is not None else fs.info(name))
            for name, info in infos.items()
        }


def _expand(folder: str, parts: Sequence[str]) -> Iterator[str]:
    """Yield the paths below a directory that match the parts of a pattern."""
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    literal = os.path.join(folder, part)  # noqa: PTH118 - for speed
    if part == "**":
        for below in _folders(folder, set()):
            yield from _expand(below, rest or ("*",))
    elif os.path.lexists(literal):
        yield from _expand(literal, rest)
    elif glob.has_magic(part):
        for name in list_directory(folder) if Path(folder).is_dir() else ():
            if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith(".")):
                yield from _expand(os.path.join(folder, name), rest)  # noqa: PTH118 - for speed


def _folders(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield a directory and its subdirectories, except hidden ones; each once, as links may form cycles."""
    status = Path(folder).stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    yield folder
    for name in list_directory(folder, folders=True):
        if not name.startswith("."):
            yield from _folders(os.path.join(folder, name), seen)  # noqa: PTH118 - for speed


def list_directory(folder: str, *, folders: bool = False) -> list[str]:
    """Return the names in a directory, sorted, or only those of subdirectories and of links to directories.

    Raises
    ------
    DataError
        The directory cannot be read.
    """
    try:
        with os.scandir(folder or ".") as entries:
            return sorted(entry.name for entry in entries if not folders or entry.is_dir())
    except OSError as error:
        raise DataError(f"cannot read the directory: {error.strerror}", where=folder) from error


def is_input(name: str) -> bool:
    """Return True for a file and False for a directory; raise an error for anything else."""
    try:
        name.encode()
    except UnicodeEncodeError:
        escaped = os.fsencode(name).decode(errors="backslashreplace")
        raise DataError("the name of the file is not UTF-8", where=escaped, hint="rename the file") from None
    with suppress(OSError):
        mode = os.stat(name).st_mode  # noqa: PTH116 - for speed
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            return stat.S_ISREG(mode)
    path = Path(name)
    problem = "this is a broken link" if path.is_symlink() else "this is neither a file nor a directory"
    raise DataError(problem, where=name, hint="delete it, or choose a pattern that does not match it")


def unique_files(names: Iterable[str]) -> list[str]:
    """Sort names, and keep one name per file: the one without links if there is one, else the first."""
    chosen: dict[str, str] = {}
    _real_folder.cache_clear()
    for name in sorted(names):
        real_name = name if "://" in name else resolve_links(name)
        if real_name not in chosen or os.path.abspath(name) == real_name:  # noqa: PTH100 - must not follow links
            chosen[real_name] = name
    return sorted(chosen.values())


def resolve_links(name: str) -> str:
    """Return the path of a local file with all links resolved; each directory is resolved once for all its files."""
    if os.path.islink(name) or os.path.basename(name) in ("", ".", ".."):  # noqa: PTH114, PTH119 - for speed
        return os.path.realpath(name)
    folder, base = os.path.split(name)
    return os.path.join(_real_folder(folder), base)  # noqa: PTH118 - for speed


@lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def read_stamp(path: Path) -> FileInfo:
    """Return the stamp of a file, which changes whenever the file is written again.

    Returns
    -------
    dict
        For an object: its size and the tag of its content. For a local file: its size, the inode, the times of the
        last write (``modified``) and of the last change of any kind (``changed``, which no program can set), and a
        hash of its first and last 64 KiB.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    try:
        with convert_store_errors(path):
            if is_object(path):
                return _object_stamp(_fs(path).info(_key(path)))
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - for speed
                status = os.fstat(file.fileno())
                ends = hashlib.blake2b(file.read(_END), digest_size=16)
                if status.st_size > _END:
                    file.seek(max(_END, status.st_size - _END))
                    ends.update(file.read(_END))
        return {
            "size": status.st_size,
            "modified": status.st_mtime_ns,
            "changed": status.st_ctime_ns,
            "inode": status.st_ino,
            "ends": ends.hexdigest(),
        }
    except OSError as error:
        raise unreadable_error(path, error) from error


def unreadable_error(path: Path, error: OSError) -> DataError:
    """Return the error for a file that cannot be read."""
    hint = "a directory has the name of this file: rename or delete it" if error.errno == errno.EISDIR else ""
    return DataError(f"cannot read the file: {error.strerror or 'it does not exist'}", where=str(path), hint=hint)


def wait_for_clock_tick(stamps: Iterable[FileInfo]) -> None:
    """Wait until a further change of a file is certain to change its time stamp.

    A file that changed within the current tick of its file system's clock could change again without a new time
    stamp. After this wait, the content cannot change without the stamp. File systems that store integer seconds tick at
    least every two seconds, all others at least a hundred times a second.
    """
    now = time.time_ns()
    changed = [stamp["changed"] for stamp in stamps if "changed" in stamp]
    ends = [each + (2 * 10**9 if each % 10**9 == 0 else 2 * 10**7) for each in changed if each <= now]
    if ends and max(ends) > now:
        time.sleep((max(ends) - now) / 1e9)


def _object_stamp(info: Mapping[str, object]) -> FileInfo:
    """Return the stamp of an object; without a tag and a time, it is unique, so that the object is read again."""
    size = info.get("size")
    if not isinstance(size, int):
        hint = "download the file, and read it from a disk"
        raise DataError("the server does not send the size of the file", where=str(info.get("name")), hint=hint)
    tag = next((info[key] for key in ("ETag", "etag", "blob_id") if info.get(key)), None)
    if tag:
        return {"size": size, "tag": str(tag)}
    times = ("LastModified", "Last-Modified", "mtime", "updated", "created")
    changed = next((info[key] for key in times if info.get(key)), None)
    return {"size": size, "modified": str(changed) if changed else f"unknown, seen at {time.time_ns()}"}


def list_names(folder: Path) -> set[str]:
    """Return the names in a directory; none if it does not exist."""
    with convert_store_errors(folder):
        if is_object(folder):
            return {path.name for path in folder.glob("*")}
        try:
            with no_follow.open_directory(folder) as directory:
                return set(os.listdir(directory))  # noqa: PTH208 - only names are needed
        except (FileNotFoundError, NotADirectoryError):
            return set()


def list_shards(folder: Path) -> list[Path]:
    """Return the paths of the shards in a directory, sorted; none if it does not exist."""
    return [
        folder / name for name in sorted(list_names(folder)) if name.startswith("part-") and name.endswith(".parquet")
    ]


def list_files(folder: Path) -> list[str]:
    """Return the files in a directory and its subdirectories, sorted, as relative paths with slashes."""
    return sorted(file_sizes(folder))


def total_size(folder: Path) -> int:
    """Return the total size of all files in a directory and its subdirectories, in bytes."""
    return sum(file_sizes(folder).values())


def file_sizes(folder: Path) -> dict[str, int]:
    """Return the size of every file in a directory and its subdirectories in bytes, by relative path with slashes.

    A link to a file counts as a file, except in a run directory, where links are skipped.
    """
    bytes_of: dict[str, int] = {}
    if is_object(folder):
        with convert_store_errors(folder):
            root = _key(folder)
            objects = _fs(folder).find(root, detail=True)
            return {str(name).removeprefix(f"{root}/"): int(info["size"]) for name, info in objects.items()}
    follow = not no_follow.is_protected(folder)
    with suppress(FileNotFoundError, NotADirectoryError), no_follow.open_directory(folder) as directory:
        for parent, _, names, handle in os.fwalk(f"{directory}/."):
            for name in names:
                with suppress(FileNotFoundError):
                    status = os.stat(name, dir_fd=handle, follow_symlinks=follow)
                    if stat.S_ISREG(status.st_mode):
                        bytes_of[Path(parent, name).relative_to(directory).as_posix()] = status.st_size
    return bytes_of


# ---------------------------------------------------------------- hashing content


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, as a hexadecimal string."""
    with open_binary(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_content(path: Path) -> str:
    """Return a sha256 of the content of a file or directory, independent of its name, times and location.

    Parameters
    ----------
    path : Path
        A file, or a directory with all files below it. Names that begin with a dot are skipped, as they belong to
        tools.

    Returns
    -------
    str
        For a file, the sha256 of its bytes; for a directory, a sha256 of the names, sizes and sha256 of its files. A
        process reads a file again only if its stamp has changed.

    Raises
    ------
    DataError
        If a file is missing or cannot be read.
    """
    try:
        with convert_store_errors(path):
            if not path.is_dir():
                stamp = read_stamp(path)
                wait_for_clock_tick([stamp])
                return _sha256(path, tuple(stamp.items()))
            names = [name for name in list_files(path) if not any(part.startswith(".") for part in name.split("/"))]
            stamps = [read_stamp(path / name) for name in names]
            wait_for_clock_tick(stamps)
            digest = hashlib.sha256()
            for name, stamp in zip(names, stamps, strict=True):
                digest.update(f"{name}\0{stamp['size']}\0".encode())
                digest.update(bytes.fromhex(_sha256(path / name, tuple(stamp.items()))))
            return digest.hexdigest()
    except OSError as error:
        raise unreadable_error(Path(error.filename) if isinstance(error.filename, str) else path, error) from error


def clear_content_cache() -> None:
    """Clear the cache of ``hash_content``, so that it reads every file again."""
    _sha256.cache_clear()


@lru_cache(maxsize=1024)
def _sha256(path: Path, stamp: tuple[tuple[str, object], ...]) -> str:  # noqa: ARG001 - the stamp is part of the key
    return hash_file(path)


# ---------------------------------------------------------------- reading


@contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes, with a buffer of a few megabytes."""
    with ExitStack() as stack:
        if is_object(path):
            with convert_store_errors(path):
                raw: Any = stack.enter_context(path.open("rb", buffering=_BLOCK))
        else:
            raw = io.FileIO(path, opener=no_follow.opener)
        # Finding the end of a line is slow without a buffer around an object.
        yield stack.enter_context(io.BufferedReader(raw, _BLOCK))


def read_bytes(path: Path) -> bytes:
    """Return the content of a small file."""
    if is_object(path):
        return path.read_bytes()
    with open(path, "rb", opener=no_follow.opener) as file:
        return file.read()


def file_size(path: Path) -> int:
    """Return the size of a file in bytes."""
    with convert_store_errors(path):
        return int(_fs(path).info(_key(path))["size"]) if is_object(path) else path.stat().st_size


@contextmanager
def open_parquet(path: Path, repeated: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; only the parts of an object that are needed are read.

    Parameters
    ----------
    path : Path
        Path of the file or object.
    repeated : sequence of str
        Paths of text columns to read as dictionaries, which store each repeated value once.
    """
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        source: Path | IO[bytes]
        if is_object(path):
            with convert_store_errors(path):
                source = stack.enter_context(path.open("rb", buffering=_FOOTER))
        else:
            source = stack.enter_context(no_follow.open_for_reading(path))
        yield stack.enter_context(
            pq.ParquetFile(
                source,
                pre_buffer=is_object(path),
                page_checksum_verification=True,
                read_dictionary=list(repeated) or None,
            )
        )


# ---------------------------------------------------------------- writing


def unwritable_error(path: Path, error: OSError) -> DataError:
    """Return the error for a local file that cannot be written or deleted; it names the file or directory in the way.

    Parameters
    ----------
    path : Path
        File that cannot be written or deleted.
    error : OSError
        Error of the operating system.
    """
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY):
        hint = "move or delete it, and run again"
        for folder in reversed(path.parents):
            if os.path.lexists(folder) and not folder.is_dir():
                return DataError("this is a file, but a directory is expected", where=str(folder), hint=hint)
        if path.is_dir():
            return DataError("this is a directory, but a file is expected", where=str(path), hint=hint)
    return DataError(f"cannot write: {error.strerror or error}", where=str(path))


def upload(file: Path, path: Path) -> None:
    """Upload a local file; the object appears only when it is complete."""
    with convert_store_errors(path):
        try:
            _fs(path).put_file(os.fspath(file), _key(path))
        except FileNotFoundError as error:  # no such bucket
            raise unreachable_error(path, error) from error


def create_object(path: Path, data: bytes) -> None:
    """Write an object that does not exist yet.

    Raises
    ------
    FileExistsError
        If the object exists, even if another process created it in the meantime.
    """
    with convert_store_errors(path):
        try:
            _fs(path).pipe_file(_key(path), data, mode="create")
        except FileNotFoundError as error:
            raise unreachable_error(path, error) from error


def move(path: Path, target: Path) -> None:
    """Rename a file, creating the target directory if needed; a store copies and deletes an object.

    Raises
    ------
    DataError
        If the file cannot be renamed.
    """
    if not is_object(path):
        try:
            with no_follow.open_parent(path) as source, no_follow.open_parent(target, make=True) as destination:
                source.replace(destination)
        except OSError as error:
            raise unwritable_error(target, error) from error
        return
    with convert_store_errors(path):
        _fs(path).cp_file(_key(path), _key(target))
        _fs(path).rm_file(_key(path))


def copy(path: Path, target: Path) -> None:
    """Copy a file; a store copies an object itself."""
    if not is_object(path):
        import shutil

        with (
            no_follow.open_for_reading(path) as source,
            no_follow.open_parent(target, make=True) as destination,
            no_follow.create_file(destination) as copied,
        ):
            shutil.copy2(source, copied)
        return
    with convert_store_errors(path):
        _fs(path).cp_file(_key(path), _key(target))


def remove_directory(folder: Path) -> None:
    """Delete a directory and everything in it, if it exists."""
    if not is_object(folder):
        import shutil

        with (
            suppress(OSError),  # a later write reports what could not be deleted
            no_follow.open_parent(folder) as directory,
        ):
            shutil.rmtree(directory, ignore_errors=True)
        return
    with convert_store_errors(folder):
        if folder.exists():
            _fs(folder).rm(_key(folder), recursive=True)


def unlink(path: Path, *, missing_ok: bool = False) -> None:
    """Delete a file or a link.

    Raises
    ------
    DataError
        If the path is a directory, or one of its parents is a file.
    """
    if is_object(path):
        path.unlink(missing_ok=missing_ok)
        return
    try:
        with no_follow.open_parent(path) as target:
            target.unlink()
    except FileNotFoundError:  # or its directory is missing
        if not missing_ok:
            raise
    except (IsADirectoryError, NotADirectoryError) as error:
        raise unwritable_error(path, error) from error


def _fs(path: Path) -> Any:
    return cast(Any, path).fs


def _key(path: Path) -> str:
    return str(cast(Any, path).path)
