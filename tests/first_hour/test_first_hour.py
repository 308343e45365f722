"""Tests of the first hour of a new user: common file layouts, the commands of the docs, and common mistakes."""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.errors import install_command

WORDS = ("amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "iris", "kelp", "lagoon", "moss", "north")

Row = dict[str, Any]


def sentence(rng: random.Random, words: int = 14) -> str:
    return " ".join(rng.choices(WORDS, k=words)).capitalize() + "."


def plain(count: int = 120) -> list[Row]:
    rng = random.Random(1)
    return [{"id": f"r{row}", "text": sentence(rng), "label": rng.choice("abc")} for row in range(count)]


def tool_call(rng: random.Random, row: int) -> Row:
    """Return a message with a tool call whose arguments differ in type by tool."""
    shapes = ({"city": "Oslo"}, {"a": row, "b": [1, 2.5, None]}, {"query": {"terms": ["x"], "limit": None}}, {})
    return {
        "role": "assistant",
        "content": None if row % 2 else sentence(rng),
        "tool_calls": [{"id": f"call_{row}", "function": {"name": f"tool{row % 4}", "args": shapes[row % 4]}}],
    }


def chats(count: int = 80) -> list[Row]:
    """Return conversations with and without tool calls, each with its own keys."""
    rng, rows = random.Random(2), []
    for row in range(count):
        messages = [{"role": "user", "content": sentence(rng)}]
        messages.append(tool_call(rng, row) if row % 3 == 0 else {"role": "assistant", "content": sentence(rng)})
        rows.append({"messages": messages, **({"meta": {"n": row, **({"note": None} if row % 5 == 0 else {})}})})
    return rows


def write(path: str, rows: list[Row]) -> None:
    Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read(path: str) -> list[Row]:
    files = sorted(Path(path).glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config():
    """Write a configuration for ``pool.jsonl``, with other settings of its sections."""

    def written(**sections: Any) -> Path:
        read = {"files": "pool.jsonl", "id": "id", "text": "text"} | sections.pop("input", {})
        data = {
            **{"curate": 1, "run": "runs/x", "input": read, "embed": {"use": "hashing"}},
            **{"select": [{"use": "uniform", "keep_rate": 0.5}], **sections},
        }
        Path("c.yaml").write_text(json.dumps(data, indent=1))
        return Path("c.yaml")

    return written


# ---------------------------------------------------------------- the hour


def test_the_commands_of_the_docs_lead_from_a_file_to_a_dataset_that_can_be_explained(command):
    write("pool.jsonl", [*plain(), {"id": "copy", "text": plain()[3]["text"], "label": "a"}])
    assert command("init", "c.yaml", "--files", "pool.jsonl").returncode == 0
    assert command("check", "c.yaml").stdout.startswith("c.yaml: no problems found; 121 rows, ")
    planned = command("plan", "c.yaml").stdout
    assert "121" in planned
    done = command("run", "c.yaml")
    assert done.returncode == 0, done.stderr
    assert re.search(r"121 rows in, \d+ kept \(\d+\.\d%\); .*tokens kept", done.stdout)
    told = command("explain", "runs/c", "copy").stdout
    assert "r3" in told
    assert command("explain", "c.yaml", "pool.jsonl:121").stdout == told
    words = plain()[3]["text"][:40]
    assert len(command("explain", "runs/c", "--grep", re.escape(words)).stdout.splitlines()) >= 2
    again = command("run", "c.yaml")
    assert "unchanged in runs/c/export/" in again.stdout
    assert command("report", "runs/c").returncode == 0
    assert (Path("runs/c") / "report.html").stat().st_size < 2 << 20
    folder = command("path", "runs/c").stdout.strip()
    kept = pl.read_parquet(f"{folder}/data/*.parquet")
    assert {"id", "text", "label"} <= set(kept.columns)


def test_rows_are_exported_as_they_came(command, config):
    rows = chats()
    write("pool.jsonl", rows)
    path = config(input={"id": None, "text": "{messages}"}, export={"use": "jsonl"})
    done = command("run", path)
    assert done.returncode == 0, done.stderr
    kept = read("runs/x/export/current/data")
    assert len(kept) == 40
    assert [row for row in kept if row not in rows] == []
    assert [list(row) for row in kept] == [list(next(one for one in rows if one == row)) for row in kept]


# ---------------------------------------------------------------- layouts


LAYOUTS: dict[str, tuple[str, list[Row], list[str]]] = {}
"""The file, its rows, and words of the first row's text; by the name of the layout."""


def layout(name: str, file: str, rows: list[Row], *texts: str) -> None:
    LAYOUTS[name] = (file, rows, list(texts))


_rng = random.Random(3)
_pairs = [(sentence(_rng), sentence(_rng), sentence(_rng, 20)) for _ in range(90)]
layout(
    "GPTeacher",
    "gpteacher.json",
    [{"instruction": a, "input": b if n % 2 else "", "response": c} for n, (a, b, c) in enumerate(_pairs, 1)],
    *_pairs[0],
)
layout(
    "Alpaca",
    "alpaca.jsonl",
    [{"instruction": a, "input": b, "output": c} for a, b, c in _pairs],
    *_pairs[0],
)
layout(
    "ShareGPT",
    "sharegpt.jsonl",
    [
        {"id": f"chat_{n}", "conversations": [{"from": "human", "value": a}, {"from": "gpt", "value": c}]}
        for n, (a, _, c) in enumerate(_pairs)
    ],
    _pairs[0][0],
    _pairs[0][2],
)
layout(
    "OpenAI",
    "openai.jsonl",
    [{"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": c}]} for a, _, c in _pairs],
    _pairs[0][0],
    _pairs[0][2],
)
layout(
    "plain text", "plain.jsonl", [{"uid": f"{n:032x}", "text": a} for n, (a, _, _) in enumerate(_pairs)], _pairs[0][0]
)
layout(
    "labels",
    "labels.csv",
    [{"row_id": f"row-{n}", "comment": a, "category": "abc"[n % 3]} for n, (a, _, _) in enumerate(_pairs)],
    _pairs[0][0],
)


@pytest.mark.parametrize("name", LAYOUTS)
def test_init_writes_a_right_configuration_for_a_layout(command, name):
    file, rows, texts = LAYOUTS[name]
    if file.endswith(".csv"):
        pl.DataFrame(rows).write_csv(file)
    elif file.endswith(".json"):
        Path(file).write_text(json.dumps(rows))
    else:
        write(file, rows)
    done = command("init", "c.yaml", "--files", file)
    assert done.returncode == 0, done.stderr
    assert command("check", "c.yaml").returncode == 0
    run = command("run", "c.yaml", "--json", "--log-format", "quiet")
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)
    assert summary["accounting"][0]["quarantined"] == 0
    shards = pl.read_parquet("runs/c/input/part-*.parquet")
    named = re.search(r"^ +text: (\w+)$", Path("c.yaml").read_text(), re.MULTILINE)
    text = shards[named[1] if named else "_curate_text"][0]
    assert [words for words in texts if words not in text] == []
    if "messages" in rows[0] or "conversations" in rows[0]:
        assert "{" not in text


def test_init_refuses_a_file_without_a_text_column_and_lists_its_columns(command):
    write("numbers.jsonl", [{"id": f"{n:032x}", "score": n / 7, "flag": n % 2 == 0} for n in range(90)])
    done = command("init", "c.yaml", "--files", "numbers.jsonl")
    assert done.returncode == 2
    for name in ("id", "score", "flag", "--text"):
        assert name in done.stderr
    assert not Path("c.yaml").exists()


# ---------------------------------------------------------------- what goes wrong


def prepared(name: str) -> None:
    """Write the files of a mistake."""
    rows = plain()
    write("pool.jsonl", rows)
    lines = [json.dumps(row) for row in rows]
    if name == "latin":
        text = "\n".join(json.dumps(row | {"text": row["text"] + " café"}, ensure_ascii=False) for row in rows)
        Path("pool.jsonl").write_bytes(text.encode("latin-1"))
    elif name == "utf-16":
        Path("pool.jsonl").write_text("\n".join(lines), encoding="utf-16")
    elif name == "array":
        Path("pool.jsonl").write_text(json.dumps(rows))
    elif name == "ids":
        write("pool.jsonl", [row | {"id": f"r{number // 2}"} for number, row in enumerate(rows)])
    elif name == "file":
        Path("runs").mkdir()
        Path("runs/x").touch()


MISTAKES = [  # what is prepared, other sections, and what the error says of file, key, cause and remedy
    ("latin", {}, ["pool.jsonl", "not UTF-8", "iconv"]),
    ("utf-16", {}, ["pool.jsonl", "UTF-16", "iconv -f UTF-16 -t UTF-8"]),
    ("array", {}, ["pool.jsonl:1", "is a JSON array", "must be named .json"]),
    (
        "ids",
        {},
        [
            "pool.jsonl:2",
            "has the same id as pool.jsonl:1",
            "guard.max_quarantine_rate",
            "raise guard.max_quarantine_rate",
        ],
    ),
    ("file", {}, ["runs/x", "is a file, but a directory is expected"]),
    ("", {"input": {"text": "txet"}}, ["c.yaml", "input.text", "no input file has a column 'txet'", "mean 'text'?"]),
    ("", {"input": {"label": "lable"}}, ["c.yaml", "input.label", "'lable'", "did you mean 'label'?"]),
    ("", {"input": {"vectors": "emb/c.npz"}}, ["c.yaml", "input.vectors", "must be an array file such as"]),
    ("", {"input": {"vectors": "emb/c.npy"}}, ["c.yaml", "input.vectors", "emb/c.npy: there is no such file"]),
    ("", {"input": {"files": "nowhere/*.jsonl"}}, ["c.yaml", "input.files", "no file matches", "current folder"]),
    (
        "",
        {"select": [{"use": "uniform", "keep": 500}]},
        ["c.yaml", "keep is 500", "only 120 rows", "lower keep", "at_most: true"],
    ),
    (
        "",
        {"select": [{"use": "where", "drop": "labl = 'a'"}, {"use": "uniform", "keep": 5}]},
        ["c.yaml", "select.0.drop", "'labl'", "did you mean 'label'?"],
    ),
    (
        "",
        {"select": [{"use": "uniform", "keep": 5, "within": "labels"}]},
        ["c.yaml", "select.0.within", "'labels'", "did you mean 'label'?"],
    ),
]


@pytest.mark.parametrize(("name", "sections", "expected"), MISTAKES)
def test_a_mistake_is_named_with_its_file_cause_and_remedy(command, config, name, sections, expected):
    prepared(name)
    done = command("run", config(**sections), "--log-format", "quiet")
    assert done.returncode in (2, 3, 5)
    assert [words for words in expected if words not in done.stderr] == []
    assert "Traceback" not in done.stderr
    assert not Path("runs/x/embed").exists()
    if name != "ids":  # which only reading all rows can tell
        assert command("check", "c.yaml").returncode == done.returncode


def test_semicolons_and_missing_headers_are_recognized(command, config):
    rows = plain()
    lines = [f"{row['id']};{row['text']};{row['label']}" for row in rows]
    Path("pool.csv").write_text("\n".join(["id;text;label", *lines]) + "\n")
    assert json.loads(command("run", config(input={"files": "pool.csv"}), "--json").stdout)["rows_in"] == 120
    Path("pool.csv").write_text("\n".join(lines) + "\n")
    done = command(
        "run", config(run="runs/y", input={"files": "pool.csv", "header": ["id", "text", "label"]}), "--json"
    )
    assert json.loads(done.stdout)["rows_in"] == 120


def test_a_missing_extra_names_the_command_that_installs_it(command, config, monkeypatch):
    prepared("")
    monkeypatch.setitem(sys.modules, "py3langid", None)
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    path = config(score=[{"use": "language"}])
    for name in ("check", "run"):
        done = command(name, path)
        assert done.returncode == 4
        assert f"run: {install_command('language')}" in done.stderr


def test_report_of_another_directory_explains_what_it_accepts(command):
    done = command("report", "runs/nowhere")
    assert done.returncode == 2
    assert "runs/nowhere" in done.stderr
    assert "run" in done.stderr
