"""CSV and TSV files as people and programs write them: no row takes others into itself, and none ends the file."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DataError
from curate.store import csv_records, readers
from curate.store.records import MAX_BATCH_ROWS, NOT_UTF8, Piece, ReadOptions


def read(text: str, name: str = "a.csv") -> tuple[list[list[str | None]], list[int], list[tuple[int, str]]]:
    reader = csv_records.read_tsv if name.endswith(".tsv") else csv_records.read_csv
    rows, lines, bad = [], [], []
    for batch in reader(io.BytesIO(text.encode()), Piece(name, 0), ReadOptions()):
        rows += [list(row.values()) for row in batch.table.to_pylist()]
        lines += batch.lines
        bad += [(item.line, item.record) for item in batch.bad_records]
    return rows, lines, bad


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("blank", ["", "\n", "\r\n\r\n"])
def test_blank_lines_before_the_header_are_none(name, blank):
    tab = "\t" if name == "a.tsv" else ","
    assert read(f"{blank}id{tab}text\n1{tab}x\n", name)[0] == [["1", "x"]]


@pytest.mark.parametrize("text", ["", "\n", "id,text\n", "id,text"])
def test_a_header_alone_or_nothing_gives_no_row(text):
    assert read(text) == ([], [], [])


def test_a_row_that_does_not_parse_is_bad_and_the_next_is_read():
    rows, lines, bad = read('id,text\n1,"ab"c\n2,x\n3,y,z\n4,w\n')
    assert rows == [["2", "x"], ["4", "w"]]
    assert lines == [3, 5]
    assert bad == [(2, '1,"ab"c'), (4, "3,y,z")]


def test_a_quote_that_is_never_closed_costs_its_own_line_only():
    rows, lines, bad = read('id,text\n1,x\n2,"open\n3,y\n4,"two\nlines"\n')
    assert rows == [["1", "x"], ["3", "y"], ["4", "two\nlines"]]
    assert lines == [2, 4, 6]
    assert bad == [(3, '2,"open')]


def test_quotes_that_do_not_pair_all_through_a_file_are_an_error():
    text = "id,text\n" + 'x,"ab"c\n"\n' * 3_000
    with pytest.raises(DataError, match=r"a\.csv:\d+: the file has too many unbalanced quotes"):
        read(text)


def test_a_text_that_begins_with_a_quote_takes_no_row_into_itself():
    text = 'id\ttext\n1\t"Well, he said\n2\tA row\n3\tand left"\n4\tThe last\n'
    rows, lines, bad = read(text, "a.tsv")
    assert rows == [["1", '"Well, he said'], ["2", "A row"], ["3", 'and left"'], ["4", "The last"]]
    assert (lines, bad) == ([2, 3, 4, 5], [])


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"plain"', '"plain"'),
        ('"say ""hi"""', 'say "hi"'),
        ('"a\tb"', "a\tb"),
        ('"two\nlines"', "two\nlines"),
        ('"two\r\n\r\nlines, ""x"""', 'two\r\n\r\nlines, "x"'),
        ('"a"b', '"a"b'),
        ('a"b"', 'a"b"'),
        ('""', '""'),
    ],
)
def test_tsv_quotes_are_text_unless_a_program_wrote_them(cell, value):
    rows, _, bad = read(f"id\ttext\tn\n1\t{cell}\t5\n2\tx\t6\n", "a.tsv")
    assert rows == [["1", value, "5"], ["2", "x", "6"]]
    assert bad == []


CELLS = st.text(st.sampled_from('ab"\t\n,é '), max_size=6)


@given(st.lists(st.tuples(st.integers(0, 99), CELLS, st.sampled_from("xyz")), max_size=8))
def test_what_the_csv_module_writes_is_read_back(rows):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["n", "text", "last"])
    writer.writerows(rows)
    expected = [[str(n), text or None, last] for n, text, last in rows]
    assert read(file.getvalue())[0] == expected


@given(st.lists(st.text(st.sampled_from('ab"\t\n\r é'), max_size=8), max_size=8))
def test_no_line_of_any_tsv_file_is_lost(lines):
    text = "id\ttext\n" + "".join(f"{line}\n" for line in lines)
    rows, ends, bad = read(text, "a.tsv")
    written = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:] if line]
    inside = sum(text_.replace("\r\n", "\n").replace("\r", "\n").count("\n") for row in rows for text_ in row if text_)
    blank_inside = sum(1 for row in rows for cell in row if cell for part in cell.splitlines() if not part)
    assert len(rows) + len(bad) + inside - blank_inside >= len(written)
    assert ends == sorted(ends)


def test_batches_are_of_a_few_thousand_rows():
    batches = list(
        csv_records.read_csv(io.BytesIO(b"a\n" + b"x\n" * (MAX_BATCH_ROWS + 1)), Piece("a.csv", 0), ReadOptions())
    )
    assert [len(batch.table) for batch in batches] == [MAX_BATCH_ROWS, 1]
    assert batches[1].rows == [MAX_BATCH_ROWS]


# ---------------------------------------------------------------- headers, delimiters and encodings


def batches_of(folder, text, name="a.csv", **options):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(readers.read(Piece(str(path), 0), ReadOptions(**options)))


def rows_of(batches):
    return [row for batch in batches for row in batch.table.to_pylist()]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_file_without_a_header_keeps_its_first_row(tmp_path, name):
    text = "1,good film\n0,bad film\n".replace(",", "\t" if name == "a.tsv" else ",")
    numbered = rows_of(batches_of(tmp_path, text, name, header=False))
    assert numbered == [{"column_1": "1", "column_2": "good film"}, {"column_1": "0", "column_2": "bad film"}]
    named = rows_of(batches_of(tmp_path, text, name, header=("label", "text")))
    assert named == [{"label": "1", "text": "good film"}, {"label": "0", "text": "bad film"}]


def test_rows_that_do_not_fit_the_header_that_is_given_are_bad(tmp_path):
    (batch,) = batches_of(tmp_path, "a,b,c\nd,e\n", header=("x", "y"))
    assert [(one.line, one.reason) for one in batch.bad_records] == [
        (1, "does not parse: the row has 3 cells, input.header has 2")
    ]
    (batch,) = batches_of(tmp_path, 'a"b,"c"d\n', header=False)
    assert len(batch.bad_records) == 1


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("before", ["", "\ufeff"])
def test_the_first_line_shows_what_separates_cells(tmp_path, mark, before):
    text = before + mark.join(["text", "price"]) + "\n" + mark.join(['"a,b;c|d\te"', '"1,5"']) + "\n"
    assert rows_of(batches_of(tmp_path, text)) == [{"text": "a,b;c|d\te", "price": "1,5"}]


def test_a_line_that_names_the_separator_is_no_header(tmp_path):
    assert rows_of(batches_of(tmp_path, "sep=;\r\na,x;b\r\n1;2\r\n")) == [{"a,x": "1", "b": "2"}]


def test_a_delimiter_that_is_given_holds_for_both_formats(tmp_path):
    for name in ("a.csv", "a.tsv"):
        assert rows_of(batches_of(tmp_path, "a:b\n1:2,3\n", name, delimiter=":")) == [{"a": "1", "b": "2,3"}]


def test_a_column_of_one_stays_one(tmp_path):
    assert rows_of(batches_of(tmp_path, "text\na;b\n")) == [{"text": "a;b"}]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf16_is_an_error_with_its_remedy(tmp_path, name, encoding):
    text = '{"text": "a"}\n' if "json" in name else "text,x\na,b\n"
    with pytest.raises(DataError, match=rf"{name}: the file is encoded in UTF-16.*iconv -f UTF-16 -t UTF-8"):
        batches_of(tmp_path, text.encode(encoding), name)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_row_in_another_encoding_says_how_to_convert_it(tmp_path, name):
    text = '{"text": "café"}\n{"text": "b"}\n' if "json" in name else "text\ncafé\nb\n"
    (batch,) = batches_of(tmp_path, text.encode("latin-1"), name)
    assert batch.table["text"].to_pylist() == ["b"]
    assert [one.reason for one in batch.bad_records] == [NOT_UTF8]
    assert "iconv" in NOT_UTF8


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("text,label\na,1\n", ""),
        ("1,good film\n0,bad\n", "1"),
        ("the film was a joy to watch,pos\n", "the film was a joy to watch"),
        ("country,2019,2020\nat,1,2\n", ""),
        ("sep=;\n3.5;x\n", "3.5"),
        ("", ""),
    ],
)
def test_a_header_that_looks_like_data_is_noticed(tmp_path, text, found):
    (tmp_path / "a.csv").write_text(text)
    assert readers.find_data_in_header(tmp_path / "a.csv", ReadOptions()) == found
    assert readers.find_data_in_header(tmp_path / "a.csv", ReadOptions(header=False)) == ""
