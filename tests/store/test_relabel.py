"""Answers to the list of labels to review: what is merged, what is counted, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate import pipeline
from curate.cli.app import app
from curate.config.loader import config_from_dict
from curate.errors import ConfigError, CurateError, DataError
from curate.executors.serial import Serial
from curate.store import corrections
from curate.store.relabel import find_target, relabel

HEADER = "id,text,corrected_label\n"


@pytest.fixture
def run(tmp_path):
    """Return the configuration of a run of twelve rows, and the functions to answer and to run."""
    return write_run(tmp_path)


def write_run(folder: Path, label: Any = str, **pool: Any) -> Path:
    rows = [{"id": f"r{number}", "text": f"text {number}", "label": label(number % 2)} for number in range(12)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = {"files": str(folder / "pool.jsonl"), "text": "text", "id": "id", "label": "label"} | pool
    config = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {**pool, "corrections": str(folder / "corrections.csv")},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    pipeline.run(config_from_dict(config), Serial())
    return folder


def answer(run: Path, text: str) -> Any:
    (run / "answers.csv").write_text(text)
    return relabel(run / "run", run / "answers.csv", run / "corrections.csv")


def test_answers_are_counted_and_written(run):
    result = answer(run, f"{HEADER}r1,x,0\nr2,x,0\nr3,x,\nr4,x,other\ngone,x,0\n")
    assert (result.corrected, result.confirmed, result.unanswered) == (2, 1, 1)
    assert result.unknown == ("gone",)
    assert result.new_labels == ("other",)
    assert (run / "corrections.csv").read_text() == "id,label\nr1,0\nr4,other\n"
    text = "\n".join(result.lines())
    assert "2 labels corrected, 1 confirmed, 1 unanswered" in text
    assert "'other'" in text
    assert "'gone'" in text


def test_a_later_answer_replaces_an_earlier_one_and_others_stay(run):
    answer(run, f"{HEADER}r1,x,0\nr4,x,other\n")
    result = answer(run, f"{HEADER}r6,x,1\nr4,x,0\n")
    assert (run / "corrections.csv").read_text() == "id,label\nr1,0\nr4,0\nr6,1\n"
    assert (result.corrected, result.confirmed, result.total) == (1, 1, 3)


def test_the_next_run_has_the_labels_and_the_same_answers_confirm_them(run):
    answers = f"{HEADER}r1,x,0\nr4,x,other\n"
    answer(run, answers)
    pipeline.run(config_from_dict(json.loads((run / "config.yaml").read_text())), Serial())
    result = answer(run, answers)
    assert (result.corrected, result.confirmed, result.new_labels) == (0, 2, ())
    assert (run / "corrections.csv").read_text() == "id,label\nr1,0\nr4,other\n"


def test_no_answers_write_nothing(run):
    result = answer(run, f"{HEADER}r1,x,\n")
    assert (result.corrected, result.unanswered) == (0, 1)
    assert not (run / "corrections.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\nr1,0\n", "no column 'corrected_label'"),
        (f"{HEADER}r1,x,0\nr1,x,1\n", "in line 2"),
        (f"{HEADER}gone,x,0\nlost,x,1\n", "no id is in the pool"),
        ("", "the file is empty"),
    ],
)
def test_bad_answers_change_nothing(run, text, message):
    (run / "corrections.csv").write_text("id,label\nr1,0\n")
    with pytest.raises(DataError, match=message):
        answer(run, text)
    assert (run / "corrections.csv").read_text() == "id,label\nr1,0\n"


def test_damaged_corrections_are_an_error(run):
    (run / "corrections.csv").write_text("what,ever\n1,2\n")
    with pytest.raises(DataError, match="no column 'id'"):
        answer(run, f"{HEADER}r1,x,0\n")


def test_an_answer_of_another_type(tmp_path):
    run = write_run(tmp_path, int)
    with pytest.raises(DataError, match="'two' is not int64"):
        answer(run, f"{HEADER}r1,x,two\n")
    answer(run, f"{HEADER}r1,x,0\n")
    assert (run / "corrections.csv").read_text() == "id,label\nr1,0\n"


def test_a_run_without_corrections_or_labels(tmp_path):
    with pytest.raises(ConfigError, match=r"input\.corrections") as caught:
        find_target(None, "config.yaml")
    assert "corrections: corrections.csv" in str(caught.value)
    with pytest.raises(CurateError):
        relabel(tmp_path, tmp_path / "answers.csv", tmp_path / "corrections.csv")


def test_cells_survive_a_round_trip_as_text():
    for text in ("=1+1", "+a", "-5", "@x", "'=1", "''@", "'quoted'", "plain", "\ttab", "7"):
        cell = corrections.escape_cell(text)
        assert corrections.unescape_cell(cell) == text
        assert cell[0] not in "=+-@\t\r"


def test_the_command(run, capsys):
    (run / "answers.csv").write_text(f"{HEADER}r1,x,0\n")
    for place in ("config.yaml", "run"):
        app(["relabel", str(run / place), "--labels", str(run / "answers.csv")], standalone_mode=False)
        output = capsys.readouterr().out
        assert "1 label corrected, 0 confirmed" in output
        assert f"curate run {run / place}" in output
    app(["relabel", str(run / "run"), "--labels", str(run / "answers.csv"), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["corrected"] == 1
    config = json.loads((run / "config.yaml").read_text())
    del config["input"]["corrections"]
    (run / "without.yaml").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="corrections"):
        app(["relabel", str(run / "without.yaml"), "--labels", str(run / "answers.csv")], standalone_mode=False)
