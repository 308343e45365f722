"""Whatever a configuration file, an override, a template or a condition holds: it is read, or an error says where."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.config import template_syntax
from curate.config.loader import load_config
from curate.config.model import RunConfig
from curate.errors import ConfigError, PluginError
from curate.plugins.selectors.filters.where import Where, where

ROOT = Path(__file__).parents[2]
CONFIGS = [path.read_bytes() for path in sorted((ROOT / "configs").glob("*.yaml"))]
SMALL = b'curate: 1\nrun: r\ninput: {files: "a", text: t}\nselect: [{use: uniform, keep: 1}]\n'

fuzz = settings(deadline=None, derandomize=True)

SCALARS = st.sampled_from(
    [
        *(
            "1e999",
            "-0",
            "0x" + "f" * 300,
            "9" * 5000,
            ".nan",
            "~",
            "yes",
            "''",
            '"\\0"',
            '"\\ud800"',
            '"\\e[31m"',
            "|\n  x",
        ),
        *(
            "!!python/object/apply:os.system [id]",
            "!!binary aGk=",
            "!x y",
            "&a [*a]",
            "*b",
            "<<: {a: 1}",
            "? [1]",
            "%TAG",
        ),
        *(
            "1",
            "0.5",
            "1.5 GB",
            "9" * 400 + " GB",
            "-1",
            "true",
            "text",
            "{a}",
            "[1, [2, {b: 3}]]",
            "{use: where, drop: x}",
            "lsa",
        ),
    ]
)
KEYS = st.sampled_from(
    [
        "curate",
        "run",
        "seed",
        "memory_limit",
        "plugins",
        "input",
        "files",
        "text",
        "id",
        "label",
        "source",
        "tokens",
        "vectors",
        "rows_per_shard",
        "embed",
        "use",
        "name",
        "precision",
        "dimensions",
        "cluster",
        "n_clusters",
        "score",
        "select",
        "keep",
        "keep_rate",
        "prune_rate",
        "keep_tokens",
        "within",
        "quota",
        "quality",
        "by",
        "drop",
        "guard",
        "max_drop_rate",
        "min_rows",
        "export",
        "add",
        "rows_per_file",
        "temperature",
    ]
)
OVERRIDES = st.builds(
    "{}{}{}".format,
    st.lists(KEYS | st.integers(0, 3).map(str), max_size=4).map(".".join),
    st.sampled_from(["=", ""]),
    SCALARS,
)
LINES = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["", "- ", "? "]), KEYS, st.sampled_from([": ", ":\n  ", " "]), SCALARS
    ),
    max_size=20,
).map(lambda lines: "\n".join(" " * 2 * depth + "".join(rest) for depth, *rest in lines).encode())


@st.composite
def edited(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the originals with some of its bytes replaced, taken out, or put twice."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        stop = start + draw(st.integers(0, 12))
        data[start:stop] = draw(st.binary(max_size=12) | st.just(bytes(data[start:stop] * 2)) | SCALARS.map(str.encode))
    return bytes(data)


def read(data: bytes, *overrides: str) -> None:
    """Load a configuration: a RunConfig, or an error each of whose lines begins with a place."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(data)
        try:
            config = load_config(path, overrides)
        except ConfigError as error:
            for line in str(error).split("\n"):
                assert line.startswith((f"{path}:", "--set ")), line
            assert str(error).replace("\n", "").isprintable()
        except PluginError:
            assert b"plugins" in data or any("plugins" in one for one in overrides)
        else:
            assert isinstance(config, RunConfig)


@fuzz
@given(st.binary(max_size=200) | LINES | edited(CONFIGS))
def test_any_bytes_are_a_configuration_or_an_error_with_a_place(data):
    read(data)


@pytest.mark.parametrize(
    "line",
    [
        f'memory_limit: "{"9" * 400} GB"',
        'plugins: ["a\\0.py"]',
        'plugins: ["\\ud800.py"]',
        "seed: &a [*a]",
        "select: " + "[" * 999,
    ],
)
def test_what_was_found(line):
    read(SMALL + line.encode())


@fuzz
@given(st.lists(OVERRIDES | st.text(max_size=20), min_size=1, max_size=3))
def test_any_override_is_obeyed_or_an_error_that_repeats_it(overrides):
    read(SMALL, *overrides)


@fuzz
@given(st.text(st.sampled_from('{}[]!:.a "\\\0é'), max_size=12) | st.text(max_size=30))
def test_any_template_is_taken_apart_or_refused(text):
    try:
        parts = template_syntax.parse_template(text)
    except ValueError as error:
        assert str(error).startswith("text: ")
    else:
        assert parts is None or any(name for _, name in parts)


WORDS = st.sampled_from(
    [
        "a",
        "b",
        "s",
        "1",
        "0.5",
        "'x'",
        "(",
        ")",
        ",",
        "*",
        "=",
        "<",
        ">",
        "+",
        "-",
        "/",
        "%",
        "||",
        "AND",
        "OR",
        "NOT",
        "IS",
        "NULL",
        "IN",
        "BETWEEN",
        "LIKE",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "SELECT",
        "FROM",
        "read_csv",
        "read_parquet",
        "'/etc/passwd'",
        "SUM",
        "COUNT",
        "CAST",
        "AS",
        "INT",
        "DATE",
        "::",
        ";",
        "--",
        "/*",
        "*/",
        "EXISTS",
        "OVER",
        "REGEXP_LIKE",
        "'('",
        "[",
        "]",
        "{",
    ]
)


@fuzz
@given(st.lists(WORDS, max_size=9).map(" ".join) | st.text(max_size=20))
def test_any_condition_says_which_rows_or_is_refused(condition):
    frame = pl.DataFrame({"a": [1, 2], "b": [0.5, None], "s": ["x", "y"]})
    try:
        columns = Where(drop=condition).columns()
    except ValueError:
        return
    assert columns
    with contextlib.suppress(PluginError):
        assert len(where(frame, condition)) == 2
