"""Real documents with real near-duplicates: the functions in the Python sources of this environment.

``documents(200_000)`` returns the same texts on one machine and is stored in ``.cache/`` in this directory: functions
of the standard library and of all installed packages, with their comments and docstrings, as at least 20 lower-case
words of ASCII letters, digits and underscores, which all tools tokenize in the same way. (Chinese, for example, is
split into characters by curate, and at white space by the others.) The texts are distinct and drawn with a seed.
Packages contain other packages and generated code, so there are near-duplicates of every kind. If more
texts are requested than there are functions, windows of 100 words are used that begin at every 25th word.
"""

from __future__ import annotations

import ast
import random
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import polars as pl
from mixture import CACHE

LEAST, WINDOW, STEP = 20, 100, 25  # words
SEED = 0


def documents(n: int) -> list[str]:
    """Return n distinct texts.

    Raises
    ------
    SystemExit
        If there are fewer.
    """
    file = CACHE / f"documents-ascii-{n}.parquet"
    if not file.exists():
        texts = functions()
        if len(texts) < n:
            texts = sorted({window for text in texts for window in _windows(text.split())})
        if len(texts) < n:
            sys.exit(f"there are no {n:,} documents in this environment, only {len(texts):,}")
        pl.DataFrame({"text": random.Random(SEED).sample(texts, n)}).write_parquet(file)
    return pl.read_parquet(file)["text"].to_list()


def functions() -> list[str]:
    """Return all functions, sorted."""
    file = CACHE / "functions-ascii.parquet"
    if not file.exists():
        roots = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
        sources = sorted({path.resolve() for root in roots for path in root.rglob("*.py")})
        with ProcessPoolExecutor(2) as pool:
            texts = {text for texts in pool.map(_functions, sources, chunksize=100) for text in texts}
        CACHE.mkdir(exist_ok=True)
        pl.DataFrame({"text": sorted(texts)}).write_parquet(file)
    return pl.read_parquet(file)["text"].to_list()


def _functions(path: Path) -> list[str]:
    try:
        source = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python says of others' code
            tree = ast.parse(source)
    except (UnicodeDecodeError, SyntaxError, RecursionError):  # templates, tests of parsers
        return []
    words = (re.findall(r"\w+", text.lower(), re.ASCII) for text in _of(tree, source.splitlines(keepends=True)))
    return [" ".join(window) for window in words if len(window) >= LEAST]


def _of(tree: ast.AST, lines: Sequence[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield "".join(lines[node.lineno - 1 : node.end_lineno])


def _windows(words: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(words) - LEAST + 1, STEP):
        yield " ".join(words[start : start + WINDOW])


if __name__ == "__main__":
    lengths = sorted(text.count(" ") + 1 for text in documents(int(sys.argv[1])))
    print(f"{len(lengths):,} texts; words: median {lengths[len(lengths) // 2]}, mean {sum(lengths) / len(lengths):.0f}")
