"""Messages give the reasons for which rows were quarantined, with one of the rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.store import parquet_io, quarantine, schemas


@pytest.fixture
def write(tmp_path):
    def write(number: int, lines: list[tuple[str, str | None]]) -> Path:
        path = tmp_path / f"part-{number:05d}.parquet"
        rows = [
            {"id": None, "source": None, "file": f"{number}.jsonl", "line": at, "reason": reason, "record": record}
            for at, (reason, record) in enumerate(lines, 1)
        ]
        parquet_io.write(pa.Table.from_pylist(rows, schemas.QUARANTINE), path, "made from")
        return path

    return write


def test_the_three_most_frequent_reasons_are_given_with_a_row_of_each(write):
    files = [
        write(0, [("has no text", " "), ("has no id", "x"), ("has no text", "y"), ("is too long", None)]),
        write(1, [("has no text", "z"), ("has no id", "q"), ("is of another kind", "{}"), ("is cut off", "{")]),
    ]
    assert quarantine.summarize_reasons(files, ()) == (
        "3 × has no text (0.jsonl:1); 2 × has no id (0.jsonl:2: x); 1 × is too long (0.jsonl:4); 2 for other reasons"
    )


def test_reasons_that_differ_in_names_and_numbers_are_one(write):
    lines = [(f"has the id 'r{number} of b' of pool/a.jsonl:{number}", None) for number in range(1, 100)]
    assert (
        quarantine.summarize_reasons([write(0, lines)], ()) == "99 × has the id 'r1 of b' of pool/a.jsonl:1 (0.jsonl:1)"
    )


def test_a_record_is_cut_masked_and_on_one_line(write):
    record = "mail me\nat someone@example.org " + "x" * 100
    told = quarantine.summarize_reasons([write(0, [("has no id", record)])], ("email",))
    assert told == f"1 × has no id (0.jsonl:1: mail me at <EMAIL> {'x' * 40}…)"


def test_without_rows_there_are_no_reasons(write):
    assert quarantine.summarize_reasons([], ()) == ""
    assert quarantine.summarize_reasons([write(0, [])], ()) == ""
