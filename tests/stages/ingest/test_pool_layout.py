"""Ids, labels and numbers are never the text; what is not found, or is named wrongly, is an error with the columns."""

from __future__ import annotations

import json

import pytest

from curate.errors import ConfigError, DataError
from curate.stages.ingest.pool_layout import detect_layout

TEXT = "it was a fine day by the sea"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(rows, name="a.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return name

    return written


IDS = {
    "numbered": lambda n: f"r{n:05d}",
    "uuid": lambda n: f"5403fd59-bffb-4c06-9b80-{n:012x}",
    "hash": lambda n: f"{n * 7919 + 11:040x}",
    "path": lambda n: f"/data/images/{n}.png",
    "url": lambda n: f"https://example.org/{n}",
    "date": lambda n: f"2024-01-{n % 28 + 1:02d}T00:00:{n % 60:02d}Z",
    "number": lambda n: n,
    "number as text": lambda n: f"{n * 1.5}",
    "label": lambda n: ["sports news", "world news"][n % 2],
    "nothing": lambda _: None,
    "vector": lambda n: [n * 0.1] * 4,
    "object": lambda n: {"width": n, "format": "png"},
    "boolean": lambda n: n % 2 == 0,
}


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("name", ["text", "messages", "id"])
def test_what_is_no_text_is_refused_whatever_its_name_is(write, kind, name):
    path = write({name: IDS[kind](n), "n": n} for n in range(40))
    with pytest.raises(ConfigError) as refused:
        detect_layout([path])
    first, *columns = str(refused.value).splitlines()
    assert first == "a.jsonl: no column looks like a text; choose one: curate init --text COLUMN"
    assert [line.split(",")[0].split(" has no")[0] for line in columns] == [
        f"a.jsonl: column {name!r}",
        "a.jsonl: column 'n'",
    ]


@pytest.mark.parametrize("kind", [kind for kind in IDS if kind not in ("label", "nothing")])
def test_the_text_is_found_next_to_anything(write, kind):
    path = write({"content": IDS[kind](n), "id": IDS[kind](n), "blurb": f"{TEXT} {n}"} for n in range(40))
    assert detect_layout([path]).text == "blurb"


def test_an_id_is_no_id_if_two_rows_have_it_or_one_has_none(write):
    rows = [{"id": n, "text": f"{TEXT} {n}"} for n in range(40)]
    assert detect_layout([write(rows)]).id == "id"
    assert detect_layout([write([*rows, rows[0]])]).id is None
    assert detect_layout([write([*rows, {"id": None, "text": TEXT}])]).id is None
    assert detect_layout([write(rows, "a.jsonl"), write(rows, "b.jsonl")]).id is None  # both files count from 0
    assert detect_layout([write({"user_id": n, "text": TEXT} for n in range(40))]).id is None


def test_a_label_has_few_values_and_is_no_fraction_and_two_candidates_are_none(write):
    def labels(**columns):
        return detect_layout(
            [write({"text": f"{TEXT} {n}"} | {k: make(n) for k, make in columns.items()} for n in range(40))]
        ).label

    assert labels(intent=lambda n: f"i{n % 7}") == "intent"
    assert labels(label=lambda n: n % 3) == "label"
    assert labels(label=lambda n: n / 7) is None
    assert labels(label=lambda n: f"{TEXT} {n}") is None
    assert labels(mood=lambda n: "ab"[n % 2]) == "mood"
    assert labels(mood=lambda n: "ab"[n % 2], taste=lambda n: "cd"[n % 2]) is None
    assert labels(split=lambda n: "ab"[n % 2]) is None
    assert labels(stars=lambda n: n % 5) is None
    assert labels(mood=lambda _: "a") is None


def test_a_source_has_few_values(write):
    rows = [{"text": f"{TEXT} {n}", "source": "ab"[n % 2], "dataset": f"https://x.example/{n}"} for n in range(40)]
    assert detect_layout([write(rows)]).source == "source"
    assert detect_layout([write({**row, "source": row["dataset"]} for row in rows)]).source is None


def test_a_text_that_only_some_files_have_is_not_taken(write):
    first = write(({"text": f"{TEXT} {n}", "blurb": f"{TEXT} {n}"} for n in range(5)), "a.jsonl")
    second = write(({"body": f"{TEXT} {n}", "blurb": f"{TEXT} {n}"} for n in range(5)), "b.jsonl")
    assert detect_layout([first, second]).text == "blurb"


def test_rows_without_a_text_are_counted(write):
    found = detect_layout([write({"text": f"{TEXT} {n}" if n else None} for n in range(40))])
    assert (found.text, found.blank, found.rows) == ("text", 1, 40)
    assert "1 of the 40 examined rows have no text; a run quarantines such rows" in [*found.lines()]


CHAT = [{"id": n, "messages": [{"role": "user", "content": TEXT}], "text": TEXT} for n in range(40)]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("txet", "a.jsonl has no column 'txet'; did you mean 'text'?"),
        ("{id}: {txet}", "a.jsonl has no column 'txet'; did you mean 'text'?"),
        ("nothing", "a.jsonl has no column 'nothing'; there are: id, messages, text"),
        (
            "messages",
            "column 'messages' contains lists or objects, not text; to use the texts in it, "
            'pass --text "{messages[*].content}"',
        ),
        (
            "id",
            "column 'id' contains numbers, not text; to use it as text anyway, write it as a template: --text \"{id}\"",
        ),
        ("{messages[*].contnet}", 'selects no text in any row of a.jsonl; did you mean "{messages[*].content}"?'),
        ("{messages[*]content}", "'messages[*]content' is not a valid path into a list"),
    ],
)
def test_a_text_that_is_named_wrongly_is_an_error_with_the_right_one(write, text, hint):
    with pytest.raises(ConfigError) as refused:
        detect_layout([write(CHAT)], text)
    assert str(refused.value).startswith("--text: ")
    assert hint in str(refused.value)


@pytest.mark.parametrize("text", ["text", "{messages[*].role}", "{id}", "{text} {id}"])
def test_a_text_that_is_named_rightly_is_taken(write, text):
    assert detect_layout([write(CHAT)], text).text == text


def test_files_without_a_row_and_of_unknown_formats_are_errors(write, tmp_path):
    with pytest.raises(DataError, match="there are no rows"):
        detect_layout([write([])])
    (tmp_path / "a.txt").write_text(TEXT)
    with pytest.raises(DataError, match="the file name has no known format"):
        detect_layout(["a.txt"])


def test_many_columns_are_cut_off(write):
    with pytest.raises(ConfigError) as refused:
        detect_layout([write([{f"c{n}": n for n in range(50)}] * 3)])
    assert str(refused.value).splitlines()[-1] == "a.jsonl: 30 more columns"
