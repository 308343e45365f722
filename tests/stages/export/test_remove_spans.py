"""Spans that stand more than once in the export are cut out of all places but the first, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.store import versions

NOTICE = "All rights reserved; no part of this may be copied, kept or sent without our leave."  # 16 words


@pytest.fixture
def notices(pool: Path) -> None:
    """In the pool, an answer that ends with a notice in every third row, and is nothing but the notice in the last."""
    lines = [json.loads(line) for path in sorted(pool.glob("*.jsonl")) for line in path.read_text().splitlines()]
    for path in pool.glob("*.jsonl"):
        path.unlink()
    for number, line in enumerate(lines):
        own = " ".join(f"{number}-{word}" for word in range(12))
        line.update(asked=f"q{number}", answer=[f"{own}\n{NOTICE}" if number % 3 == 0 else own], other=NOTICE)
    lines[-1].update(asked="", answer=[NOTICE.upper()])
    (pool / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def sections(drop="topic == 'nowhere'", **export):
    return {
        "select": [{"use": "where", "drop": drop}],
        "input": {"files": "pool/*.jsonl", "id": "id", "text": "{asked}\n{answer}", "rows_per_shard": 16},
        "export": {"use": "parquet", "rows_per_file": 7, "remove_repeated_spans": 12, **export},
    }


def rows_of(export: Path):
    return pa.concat_tables(map(pq.read_table, sorted((export / "data").iterdir()))).to_pylist()


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_all_copies_but_the_first_are_cut_and_it_is_told_everywhere(notices, config):
    done = pipeline.run(config_from_dict(config(**sections())), Serial())
    rows = rows_of(done.version)
    answers = [row["answer"][0] for row in rows]
    own = [" ".join(f"{number}-{word}" for word in range(12)) for number in range(60)]
    assert answers[0] == f"{own[0]}\n{NOTICE}"
    assert answers[1:-1] == [f"{text}\n" if number % 3 == 0 else text for number, text in enumerate(own)][1:-1]
    assert answers[-1] == ""
    assert all(row["other"] == NOTICE for row in rows)  # no column of the text
    counts = {"rows": 20, "spans": 20, "words": 20 * 16, "empty": 1}
    assert versions.read_contents(done.version)["cut"] == counts
    told = "20 repeated spans with 320 words from 20 rows, 1 of which is now empty"
    assert done.sentence().endswith(f"; removed: {told}")
    assert done.as_dict()["cut"] == counts
    assert f"Removed: {told}." in (done.version / "README.md").read_text()
    assert f"Removed: {told}." in done.report.read_text()
    assert pipeline.report(config_from_dict(config(**sections())))[1]["cut"] == counts


def test_a_copy_in_a_row_that_is_dropped_cuts_nothing(notices, config):
    done = pipeline.run(config_from_dict(config(**sections(drop="id == 'r0000'"))), Serial())
    answers = {row["id"]: row["answer"][0] for row in rows_of(done.version)}
    assert answers["r0003"].endswith(NOTICE)
    assert not answers["r0006"].endswith(NOTICE)


@pytest.mark.slow
def test_workers_and_an_option_that_comes_back_give_the_same_bytes(notices, config):
    plain = pipeline.run(config_from_dict(config(**sections(remove_repeated_spans=None))), Serial())
    done = pipeline.run(config_from_dict(config(**sections())), Serial())
    assert done.version.name != plain.version.name
    assert "cut" not in versions.read_contents(plain.version)
    written = bytes_of(done.version)
    assert (
        pipeline.run(config_from_dict(config(**sections(remove_repeated_spans=None))), Serial()).version
        == plain.version
    )
    back = pipeline.run(config_from_dict(config(**sections())), Serial())
    assert back.records[-1].result.cut == done.records[-1].result.cut
    assert bytes_of(back.version) == written
    elsewhere = pipeline.run(config_from_dict(config(**sections(), run="other")), Processes(2))
    assert bytes_of(elsewhere.version) == written


@pytest.mark.slow
def test_epochs_have_the_same_rows_with_the_same_cuts(notices, config):
    plan = {"select": [{"use": "rs2", "epochs": 2, "keep_rate": 0.5}]}
    done = pipeline.run(config_from_dict(config(**sections() | plan)), Serial())
    kept = [row for epoch in sorted((done.version / "data").iterdir()) for row in pq.read_table(epoch).to_pylist()]
    whole = {row["id"] for row in kept if NOTICE.lower() in row["answer"][0].lower()}
    assert len(whole) == 1
    assert versions.read_contents(done.version)["cut"]["rows"] == sum(
        int(row["id"][1:]) % 3 == 0 or row["id"] == "r0059" for row in kept if row["id"] not in whole
    )


def test_what_is_left_is_masked(notices, config):
    done = pipeline.run(config_from_dict(config(**sections(mask_pii=["email"]))), Serial())
    assert "cut" in versions.read_contents(done.version)
    assert "masked" in versions.read_contents(done.version)
    assert rows_of(done.version)[-1]["answer"] == [""]


def test_ids_are_never_cut(config):
    with pytest.raises(
        ConfigErrors, match=r"export\.remove_repeated_spans: column 'id' is in input.text and is also the id"
    ):
        config_from_dict(
            config(
                input={"files": "pool/*.jsonl", "id": "id", "text": "{id}: {text}"},
                export={"use": "parquet", "remove_repeated_spans": 50},
            )
        )
