"""Source of a row from the path of its file."""

from __future__ import annotations

import re
from functools import lru_cache

from curate.config.model import InputConfig, SourceFromPath
from curate.errors import DataError


def source_column(config: InputConfig) -> str | None:
    """Return the column of the sources; None if there is none."""
    return config.source if isinstance(config.source, str) and config.source != "file" else None


def source_from_path(config: InputConfig, path: str) -> str | None:
    """Return the source of all rows of a file; None if a column has the sources, or none is configured.

    Raises
    ------
    DataError
        The path does not match the pattern of ``input.source``.
    """
    if config.source == "file":
        return path
    if not isinstance(config.source, SourceFromPath):
        return None
    match = _pattern(config.source.path).fullmatch(path)
    if match is None:
        hint = "the pattern must match the complete path or its end: * is any part of a name, ** any folders"
        raise DataError(f"the path does not match input.source.path {config.source.path!r}", where=path, hint=hint)
    return match["source"]


@lru_cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """Convert a path pattern, such as ``pool/{source}/*.jsonl``, to a regular expression for a path or its end.

    >>> _pattern("{source}-*.jsonl").fullmatch("pool/web-01.jsonl")["source"]
    'web'
    >>> _pattern("pool/{source}/**/*.jsonl").fullmatch("pool/web/a/b/1.jsonl")["source"]
    'web'
    """
    words = {"{source}": "(?P<source>[^/]+?)", "**/": "(?:.*/)?", "*": "[^/]*"}
    parts = re.split(r"(\{source\}|\*\*/|\*)", pattern)
    return re.compile("(?:.*/)?" + "".join(words.get(part, re.escape(part)) for part in parts), re.DOTALL)
