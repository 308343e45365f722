"""Personal data is masked where it is exported, and wherever a text is quoted."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, DataError
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.stages.export.mask_pii import mask
from curate.store import diff, explain, versions

MAIL, PHONE = "ann@example.org", "+44 20 7946 0958"


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (pa.string(), [MAIL, None, "x"], ["<EMAIL>", None, "x"]),
        (pa.large_string(), [MAIL, None, "x"], ["<EMAIL>", None, "x"]),
        (pa.list_(pa.string()), [[MAIL, None, MAIL], None, []], [["<EMAIL>", None, "<EMAIL>"], None, []]),
        (pa.large_list(pa.string()), [["x"], None, [MAIL]], [["x"], None, ["<EMAIL>"]]),
        (pa.list_(pa.string(), 2), [["x", MAIL], None, ["x", "y"]], [["x", "<EMAIL>"], None, ["x", "y"]]),
        (pa.map_(pa.string(), pa.string()), [[("a", MAIL)], None, []], [[("a", "<EMAIL>")], None, []]),
        (
            pa.list_(pa.struct([("role", pa.string()), ("n", pa.int64()), ("text", pa.list_(pa.string()))])),
            [[{"role": "user", "n": 1, "text": [MAIL]}, None, {"role": None, "n": None, "text": None}], None, []],
            [[{"role": "user", "n": 1, "text": ["<EMAIL>"]}, None, {"role": None, "n": None, "text": None}], None, []],
        ),
        (pa.int64(), [4_155_552_671, None, 1], [4_155_552_671, None, 1]),
        (pa.binary(), [MAIL.encode(), None, b""], [b"<EMAIL>", None, b""]),
        (pa.large_binary(), [MAIL.encode(), None, "é".encode()], [b"<EMAIL>", None, "é".encode()]),
        (pa.list_(pa.binary()), [[MAIL.encode()], None, []], [[b"<EMAIL>"], None, []]),
        (
            pa.json_(),
            [f'{{"a": ["{MAIL}", 1.10, 12345678901234567890123], "{MAIL}": 1}}', None, '{"a": 1.10}'],
            ['{"a":["<EMAIL>",1.10,12345678901234567890123],"<EMAIL>":1}', None, '{"a": 1.10}'],
        ),
        (pa.json_(), ['{"a": "ann\\u0040example.org"}', None, "null"], ['{"a":"<EMAIL>"}', None, "null"]),
        (pa.timestamp("us"), [0, None, 1], [0, None, 1]),
        (pa.decimal128(5, 2), [1, None, 2], [1, None, 2]),
    ],
    ids=str,
)
@pytest.mark.parametrize("cut", [0, 1])
def test_every_string_of_a_column_is_masked_at_any_depth_and_the_type_stays(kind, before, after, cut):
    """Also of a slice, whose offsets do not begin at 0."""
    before, after = (pa.array(values, kind).to_pylist() for values in (before, after))
    table = pa.table({"x": pa.array(before, kind), "other": [MAIL] * 3}).slice(cut)
    hidden, counts = mask(table, [("x",)], ["email"])
    assert hidden.schema == table.schema
    hidden.validate(full=True)
    assert hidden["x"].to_pylist() == after[cut:]
    assert hidden["other"].to_pylist() == [MAIL] * (3 - cut)
    told = [line.count("<EMAIL>") for line in map(str, after[cut:])]
    assert counts == {"rows": sum(map(bool, told)), "spans": {"email": sum(told)}}


def test_two_keys_that_are_masked_alike_both_stay():
    table = pa.table({"x": pa.array(['{"a@b.example": 1, "c@d.example": 2}'], pa.json_())})
    assert mask(table, [("x",)], ["email"])[0]["x"].to_pylist() == ['{"<EMAIL>":1,"<EMAIL>_":2}']


@pytest.mark.parametrize(
    "kind",
    [pa.binary(3), pa.list_(pa.binary(3)), pa.struct([("a", pa.binary(3))]), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_a_type_whose_text_cannot_be_masked_is_an_error_that_names_it(kind):
    with pytest.raises(DataError, match=r"text column 'x' has the type .*, whose text can be neither masked nor cut"):
        mask(pa.table({"x": pa.nulls(2, kind)}), [("x",)], ["email"])


def test_bytes_that_are_not_utf8_are_an_error():
    with pytest.raises(DataError, match="text column 'x' is not valid UTF-8"):
        mask(pa.table({"x": [[b"\xff"]]}), [("x",)], ["email"])


def test_a_text_column_that_cannot_be_masked_is_refused_before_anything_is_embedded(tmp_path):
    pq.write_table(pa.table({"text": pa.array([b"abc"], pa.binary(3))}), tmp_path / "a.parquet")
    config = config_from_dict(
        {
            "curate": 1,
            "run": str(tmp_path / "run"),
            "input": {"files": str(tmp_path / "a.parquet"), "text": "{text}"},
            "select": [{"use": "uniform", "keep": 1}],
            "export": {"use": "parquet", "mask_pii": ["email"]},
        }
    )
    with pytest.raises(DataError, match="text column 'text' has the type fixed_size_binary"):
        pipeline.run(config, Serial())
    assert not (tmp_path / "run" / "embed").exists()


def test_chunks_are_not_joined():
    """An array of strings holds 2 GiB of text; a file of long documents has more."""
    column = pa.chunked_array([["x"], [], [MAIL, "y"], [MAIL]], pa.string())
    hidden, counts = mask(pa.table({"x": column}), [("x",)], ["email"])
    assert [chunk.to_pylist() for chunk in hidden["x"].chunks] == [["x"], [], ["<EMAIL>", "y"], ["<EMAIL>"]]
    assert counts == {"rows": 2, "spans": {"email": 2}}
    assert len(mask(pa.table({"x": column.slice(0, 0)}), [("x",)], ["email"])[0]) == 0


@pytest.fixture
def people(pool: Path) -> None:
    """In the pool, a chat in which every third row holds a mail address twice, and every fourth a phone number."""
    lines = [json.loads(line) for path in sorted(pool.glob("*.jsonl")) for line in path.read_text().splitlines()]
    for path in pool.glob("*.jsonl"):
        path.unlink()
    for number, line in enumerate(lines):
        said = f"{line['text']} {f'{MAIL} or {MAIL}' if number % 3 == 0 else ''} {PHONE if number % 4 == 0 else ''}"
        line.update(chat=[{"role": "user", "content": said}], owner=MAIL)
        line["text"] = f"{number}: {MAIL}"
    lines[-1]["id"] = lines[-2]["id"]  # is set aside, with its record
    (pool / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def sections(**export):
    return {
        "select": [{"use": "uniform", "keep_rate": 0.999}],
        "input": {"files": "pool/*.jsonl", "id": "id", "text": "{chat}", "rows_per_shard": 16},
        "guard": {"max_quarantine_rate": 1.0},
        "export": {"use": "parquet", "rows_per_file": 20, "mask_pii": ["email", "phone"], **export},
    }


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("use", ["parquet", "jsonl"])
def test_the_export_is_masked_and_says_so_everywhere(people, config, use):
    done = pipeline.run(config_from_dict(config(**sections(use=use))), Serial())
    files = sorted((done.version / "data").iterdir())
    if use == "parquet":
        rows = pa.concat_tables(map(pq.read_table, files)).to_pylist()
    else:
        rows = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    said = [row["chat"][0]["content"] for row in rows]
    assert len(files) == 3
    assert all(MAIL not in text and PHONE not in text for text in said)
    assert all(row["owner"] == MAIL and MAIL in row["text"] for row in rows)  # no columns of the text
    emails, phones = (sum(text.count(f"<{kind}>") for text in said) for kind in ("EMAIL", "PHONE"))
    changed = sum("<" in text for text in said)
    assert emails == 2 * sum(number % 3 == 0 for number in numbers(rows))
    assert phones == sum(number % 4 == 0 for number in numbers(rows))
    counts = {"rows": changed, "spans": {"email": emails, "phone": phones}}
    assert versions.read_contents(done.version)["masked"] == counts
    told = f"{emails} e-mail addresses and {phones} phone numbers in {changed} rows"
    assert done.sentence().endswith(f"; masked: {told}")
    assert done.as_dict()["masked"] == counts
    assert f"Masked: {told}." in (done.version / "README.md").read_text()
    assert f"Masked: {told}." in done.report.read_text()
    assert pipeline.report(config_from_dict(config(**sections(use=use))))[1]["masked"] == counts


def numbers(rows):
    return [int(row["text"].split(":")[0]) for row in rows]


def test_no_text_is_quoted_unmasked(people, config):
    first = pipeline.run(config_from_dict(config(**sections())), Serial())
    pipeline.run(config_from_dict(config(**sections() | {"select": [{"use": "uniform", "keep_rate": 0.5}]})), Serial())
    story = json.dumps(explain.explain(Path("run"), "r0000").as_dict())
    assert "<EMAIL>" in story
    assert MAIL not in story
    twice = explain.explain(Path("run"), "r0058")
    assert twice.quarantined
    assert MAIL not in json.dumps(twice.as_dict())
    told = json.dumps(diff.diff_published(Path("run"), 50).as_dict())
    assert "<EMAIL>" in told
    assert MAIL not in told
    page = first.report.read_text()
    assert "&lt;EMAIL&gt;" in page
    assert MAIL not in page


def test_no_text_is_quoted_unmasked_after_a_run_that_failed(people, config):
    filtered = [{"use": "where", "drop": "id = 'r0001'"}]
    guard = {"min_rows": 60, "max_quarantine_rate": 1.0}
    with pytest.raises(Exception, match="min_rows"):
        pipeline.run(config_from_dict(config(**{**sections(), "guard": guard, "select": filtered})), Serial())
    assert MAIL not in explain.explain(Path("run"), "r0000").text


@pytest.mark.slow
def test_workers_and_a_mask_that_comes_back_give_the_same_bytes(people, config):
    plain = pipeline.run(config_from_dict(config(**sections(mask_pii=[]))), Serial())
    done = pipeline.run(config_from_dict(config(**sections())), Serial())
    assert done.version.name != plain.version.name
    assert versions.read_contents(plain.version).get("masked") is None
    written = bytes_of(done.version)
    again = pipeline.run(config_from_dict(config(**sections(mask_pii=[]))), Serial())
    assert again.version == plain.version
    back = pipeline.run(config_from_dict(config(**sections())), Serial())
    assert back.records[-1].result.masked == done.records[-1].result.masked
    assert bytes_of(back.version) == written
    elsewhere = pipeline.run(config_from_dict(config(**sections(), run="other")), Processes(2))
    assert bytes_of(elsewhere.version) == written


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"export": {"use": "parquet", "mask_pii": ["mail"]}}, "export.mask_pii.0: must be one of 'key', 'email'"),
        (
            {"export": {"use": "parquet", "mask_pii": ["key", "key"]}},
            "export.mask_pii.1: 'key' is listed twice",
        ),
        (
            {
                "input": {"files": "pool/*.jsonl", "id": "id", "text": "{id}: {text}"},
                "export": {"use": "parquet", "mask_pii": ["key"]},
            },
            "export.mask_pii: column 'id' is in input.text and is also the id, and ids are never masked",
        ),
    ],
)
def test_a_mask_that_cannot_be(config, sections, message):
    with pytest.raises(ConfigErrors) as told:
        config_from_dict(config(**sections))
    assert message in str(told.value)
