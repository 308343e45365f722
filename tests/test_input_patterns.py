"""Patterns of input files: every file once, whatever its name; what cannot be read is an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from curate import paths
from curate.errors import DataError


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("pool/a.jsonl", "pool/b.jsonl", "pool/en/a.jsonl", "pool/en/deep/c.jsonl", "pool/.hidden/d.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "pool"


def found(*patterns: str) -> list[str]:
    return paths.unique_files(name for pattern in patterns for name in paths.match_files(pattern))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("pool/a.jsonl", ["pool/a.jsonl"]),
        ("./pool//a.jsonl", ["pool/a.jsonl"]),
        ("pool/*", ["pool/a.jsonl", "pool/b.jsonl"]),
        ("pool/[ab].jsonl", ["pool/a.jsonl", "pool/b.jsonl"]),
        ("pool/?.jsonl", ["pool/a.jsonl", "pool/b.jsonl"]),
        ("pool/*/*.jsonl", ["pool/en/a.jsonl"]),
        ("pool/**/c.jsonl", ["pool/en/deep/c.jsonl"]),
        ("**/a.jsonl", ["pool/a.jsonl", "pool/en/a.jsonl"]),
        ("pool/en/**", ["pool/en/a.jsonl", "pool/en/deep/c.jsonl"]),
        ("pool/.hidden/*", ["pool/.hidden/d.jsonl"]),
        ("pool/.h*/*", ["pool/.hidden/d.jsonl"]),
        ("pool/z*", []),
        ("elsewhere/*", []),
        ("pool/a.jsonl/*", []),
    ],
)
@pytest.mark.usefixtures("pool")
def test_patterns_match_as_a_shell_does(pattern, names):
    assert found(pattern) == names


@pytest.mark.usefixtures("pool")
def test_absolute_patterns_match_too():
    assert found(f"{Path.cwd()}/pool/[a].jsonl") == [f"{Path.cwd()}/pool/a.jsonl"]


@pytest.mark.parametrize("name", ["data[1].jsonl", "[x]/a.jsonl", "a*b.jsonl", "q?.jsonl"])
def test_a_name_that_is_there_just_so_is_no_pattern(pool, name):
    (pool / name).parent.mkdir(exist_ok=True)
    (pool / name).write_text("x")
    assert found(f"pool/{name}") == [f"pool/{name}"]
    assert found(f"{os.path.dirname(f'pool/{name}')}/*") != []  # noqa: PTH120


@pytest.mark.parametrize(
    "patterns",
    [
        ["pool/a.jsonl", "./pool/a.jsonl"],
        ["pool/a.jsonl", "pool/../pool/a.jsonl"],
        ["pool/a.jsonl", "{here}/pool/a.jsonl"],
        ["pool/a.jsonl", "other/a.jsonl"],
        ["pool/a.jsonl", "0.jsonl"],
    ],
)
def test_a_file_named_twice_is_read_once(pool, patterns):
    (pool.parent / "other").symlink_to("pool")
    (pool.parent / "0.jsonl").symlink_to("pool/a.jsonl")
    each = [pattern.replace("{here}", str(pool.parent)) for pattern in patterns]
    [name] = found(*each)
    assert Path(name).resolve() == pool / "a.jsonl"
    assert found(*each) == found(*reversed(each))


def test_links_to_folders_are_followed_and_circles_end(pool):
    (pool.parent / "data").mkdir()
    (pool.parent / "data" / "e.jsonl").write_text("x")
    (pool / "linked").symlink_to(pool.parent / "data")
    for folder in (pool, pool / "en", pool / "en" / "deep"):
        (folder / "loop").symlink_to(pool)
        (folder / "up").symlink_to("..")
    names = found("pool/**/*.jsonl")
    assert sorted(Path(name).name for name in names) == ["a.jsonl", "a.jsonl", "b.jsonl", "c.jsonl", "e.jsonl"]
    assert len({Path(name).resolve() for name in names}) == 5


def test_a_link_that_leads_nowhere_is_an_error(pool):
    (pool / "gone.jsonl").symlink_to("nothing.jsonl")
    with pytest.raises(DataError, match=r"pool/gone\.jsonl: this is a broken link"):
        found("pool/*")


def test_a_pipe_is_no_file(pool):
    os.mkfifo(pool / "pipe.jsonl")
    with pytest.raises(DataError, match=r"pool/pipe\.jsonl: this is neither a file nor a directory"):
        found("pool/*")


def test_a_name_that_is_not_utf8_is_an_error_that_shows_it(pool):
    with open(os.fsencode(pool) + b"/a\xff.jsonl", "w") as file:  # noqa: PTH123
        file.write("x")
    with pytest.raises(DataError, match=r"pool/a\\\\?xff\.jsonl: the name of the file is not UTF-8") as refused:
        found("pool/*")
    assert str(refused.value).isprintable()


def test_a_folder_that_cannot_be_listed_is_an_error(pool, monkeypatch):
    listed = os.scandir

    def refusing(folder: str):
        if str(folder).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match="pool/en/deep: cannot read the directory: Permission denied"):
        found("pool/**/*.jsonl")
