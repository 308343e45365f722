"""Every row's fate is found from the run folder alone, and told to people and programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import ConfigError, DataError
from curate.executors.serial import Serial
from curate.pipeline import run as run_until
from curate.store import parquet_io
from curate.store.explain import RowOutcome, explain
from curate.store.inputs import Inputs
from curate.store.ledger import RowLocation, Run, read_chosen, to_single_line

TWO = [{"use": "semdedup", "min_similarity": 0.9}, {"use": "top_k", "keep": 5}]


def ledger() -> dict[str, dict[str, object]]:
    return {line["id"]: line for line in pl.read_parquet("run/select/part-*.parquet").to_dicts()}


def told(name: str) -> str:
    return "\n".join(explain(Path("run"), name).lines())


def add(pool: Path, *lines: str) -> None:
    with (pool / "b.jsonl").open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


# ---------------------------------------------------------------- one row


def test_a_chosen_row_tells_its_place_its_figures_and_its_rank(pool, config):
    curate.run(config(select=TWO))
    line = next(line for line in ledger().values() if line["rank"] == 2)
    story = explain(Path("run"), str(line["id"]))
    number = int(story.id[1:])
    assert (story.file, story.line) == (f"pool/{'a' if number < 40 else 'b'}.jsonl", number % 40 + 1)
    assert (story.source, story.label) == ("left" if number % 3 else "right", f"t{number % 4}")
    assert story.text is not None
    assert story.text.endswith(f"number {number}")
    clusters = pl.read_parquet("run/cluster/part-*.parquet").row(by_predicate=pl.col("id") == story.id, named=True)
    assert story.cluster is not None
    assert (story.cluster.number, story.cluster.centroid_similarity) == (
        clusters["cluster"],
        clusters["centroid_similarity"],
    )
    scores = pl.read_parquet("run/score/prototypicality/part-*.parquet")
    (score,) = story.scores
    assert score.value == scores.row(by_predicate=pl.col("id") == story.id, named=True)["score_prototypicality"]
    assert (story.outcome.status, story.outcome.decided_by, story.outcome.rank, story.outcome.n_selected) == (
        "chosen",
        "top_k",
        2,
        5,
    )
    assert (story.outcome.gain, story.outcome.weight) == (line["gain"], line["weight"])
    assert story.exported is True
    assert "chosen by top_k at rank 2 of 0 to 4, gain " in told(story.id)
    assert told(story.id).count(", after it passed semdedup") == 1


def test_the_orientation_of_a_score_is_its_plugins(pool, config):
    curate.run(config(score=[{"use": "density"}, {"use": "length"}]))
    scores = explain(Path("run"), "r0000").scores
    assert len(scores) >= 2
    for score in scores:
        plugin = curate_plugin("scorer", score.name.split("_")[0])
        assert score.higher_is_better == plugin.traits.columns[0].higher_is_better
        assert f"({'higher' if score.higher_is_better else 'lower'} is better)" in str(score)


def curate_plugin(kind, name):
    from curate.plugins import registry

    return registry.get(kind, name)


def test_a_near_duplicate_tells_what_stands_for_it_and_what_became_of_that(pool, config):
    curate.run(config(select=TWO))
    lines = ledger()
    late = [
        line
        for line in lines.values()
        if line["dropped_by"] == "semdedup" and not lines[str(line["representative"])]["selected"]
    ]
    assert late, "the pool should have a near-duplicate whose representative was dropped later"
    story = explain(Path("run"), str(late[0]["id"]))
    assert (story.outcome.status, story.outcome.decided_by, story.outcome.passed_entries) == ("dropped", "semdedup", ())
    first = story.representatives[0]
    assert (first.id, first.similarity) == (late[0]["representative"], late[0]["similarity"])
    assert first.text.endswith(f"number {int(first.id[1:])}")
    assert first.outcome == RowOutcome(
        status="dropped",
        decided_by="top_k",
        reason="lower quality than the kept rows",
        n_selected=5,
        passed_entries=("semdedup",),
    )
    assert [first.id in line or "top_k" in line for line in told(story.id).splitlines()].count(True) >= 2
    assert story.exported is False


def test_representatives_are_followed_until_one_was_chosen(pool, config):
    curate.run(config(select=[{"use": "semdedup", "min_similarity": 0.9}, {"use": "facility_location", "keep": 3}]))
    lines = ledger()
    late = next(
        name
        for name, line in lines.items()
        if line["dropped_by"] == "semdedup" and not lines[str(line["representative"])]["selected"]
    )
    one, two = explain(Path("run"), late).representatives
    assert two.id == lines[one.id]["representative"]
    assert (one.outcome.status, two.outcome.status) == ("dropped", "chosen")


def test_where_no_entry_ranks_none_is_named(pool, config):
    curate.run(config(select=[{"use": "where", "drop": "stars = 0"}]))
    assert explain(Path("run"), "r0001").outcome.decided_by is None
    assert "chosen: no entry dropped it, after it passed where" in told("r0001")
    assert "dropped by where: drop: stars = 0" in told("r0000")


def test_ids_that_are_numbers_are_found(pool, config):
    for path in pool.iterdir():
        path.write_text(path.read_text().replace('"id": "r0', '"id": "9'))
        path.write_text(
            "".join(
                line.replace('"id": "9', '"id": 9', 1).replace('", "text"', ', "text"', 1)
                for line in path.read_text().splitlines(keepends=True)
            )
        )
    curate.run(config())
    assert explain(Path("run"), "9007").line == 8


def test_a_row_in_a_quarantine_is_found_by_its_id(pool, config):
    add(pool, '{"id": "y", "text": "  ", "source": "left"}', '{"id": "cut-7", "text": "half a li')
    curate.run(config(guard={"max_quarantine_rate": 0.1}))
    story = explain(Path("run"), "y")
    assert story.outcome == RowOutcome(status="quarantined", decided_by="input", reason="has no text")
    assert (story.quarantined[0].file, story.quarantined[0].line) == ("pool/b.jsonl", 21)
    assert "pool/b.jsonl, line 21: has no text" in told("y")
    unread = explain(Path("run"), "cut-7")
    assert (unread.outcome.status, unread.quarantined[0].id, unread.quarantined[0].line) == ("quarantined", None, 22)
    assert '{"id": "cut-7"' in told("cut-7")
    with pytest.raises(ConfigError, match="no row has the id 'cut'"):
        explain(Path("run"), "cut")


def test_the_second_row_of_an_id_is_told_beside_the_first(pool, config):
    add(pool, '{"id": "r0003", "text": "twice", "source": "right"}')
    curate.run(config(guard={"max_quarantine_rate": 0.1}))
    story = explain(Path("run"), "r0003")
    assert (story.file, story.line) == ("pool/a.jsonl", 4)
    assert [(one.line, one.reason, one.record) for one in story.quarantined] == [
        (21, "has the same id as pool/a.jsonl:4", "twice")
    ]


def test_a_row_that_could_not_be_embedded_was_set_aside_there(pool, config):
    rng = np.random.default_rng(0)
    for path in pool.iterdir():
        vectors = rng.standard_normal((len(path.read_text().splitlines()), 8))
        vectors[2] = 0
        np.save(path.with_suffix(".npy"), vectors)
    settings = config(embed={"use": "column"}, guard={"max_quarantine_rate": 0.1})
    settings["input"]["vectors"] = ".npy"
    curate.run(settings)
    story = explain(Path("run"), "r0042")
    assert (story.file, story.line, story.cluster, story.scores) == ("pool/b.jsonl", 3, None, ())
    assert story.outcome.status == "quarantined"
    assert "quarantined by embed column: its embedding is all zero" in told("r0042")


def test_an_unknown_id_is_an_error_with_the_nearest(finished):
    with pytest.raises(ConfigError) as unknown:
        explain(Path("run"), "r00007")
    assert str(unknown.value).startswith("run: no row has the id 'r00007'; did you mean 'r0007'")
    with pytest.raises(ConfigError, match="did you mean 'r0051'"):
        explain(Path("run"), "R0051")
    with pytest.raises(ConfigError) as far:
        explain(Path("run"), "q-9")
    assert str(far.value).startswith(
        "run: no row has the id 'q-9'; pass the id of a row, FILE:LINE, or the hash of a text"
    )
    with pytest.raises(ConfigError, match="no row has the id"):
        explain(Path("run"), "\udcff\udcfe")


def test_a_folder_without_a_run_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            ConfigError, match="this folder is not a run directory; pass the run directory, as set by 'run:' in the"
        ):
            explain(folder, "r0001")


def test_before_rows_were_selected_a_row_is_undecided(pool, config):
    run_until(config_from_dict(config()), Serial(), until="embed")
    story = explain(Path("run"), "r0001")
    assert story.outcome == RowOutcome(status="undecided")
    assert story.exported is None
    assert "undecided: no rows have been selected from this pool yet" in told("r0001")
    assert Run.open(Path("run")).read_outcomes(["r0001", "x"])["status"].to_pylist() == ["undecided", "not in the pool"]


def test_a_ledger_of_another_pool_decides_nothing(finished, pool, config):
    add(pool, '{"id": "new", "text": "one more row", "topic": "t0", "source": "left", "stars": 1, "tags": []}')
    run_until(config_from_dict(config()), Serial(), until="embed")
    assert explain(Path("run"), "r0001").outcome.status == "undecided"


def test_figures_made_after_the_selection_are_left_out_and_that_is_told(finished, config):
    changed = config(cluster={"use": "kmeans", "n_clusters": 3}, score=[{"use": "prototypicality"}])
    run_until(config_from_dict(changed), Serial(), until="score")
    story = explain(Path("run"), "r0001")
    assert (story.cluster, story.scores) == (None, ())
    assert story.missing == ("cluster", "score prototypicality")
    assert "cluster, score prototypicality: missing, or run again since rows were selected" in told("r0001")


def test_an_export_of_another_selection_is_told(finished, config):
    out = next(name for name, line in ledger().items() if line["selected"])
    run_until(config_from_dict(config(select=[{"use": "where", "drop": f"id = '{out}'"}])), Serial(), until="select")
    story = explain(Path("run"), out)
    assert (story.outcome.status, story.exported) == ("dropped", True)
    assert "that version was made from another selection" in told(out)


def test_the_story_is_json_and_no_text_of_a_row_reaches_the_terminal_raw(pool, config):
    add(pool, json.dumps({"id": "evil", "text": "red \x1b[31m\x07 alert\n\n" + "x" * 5000, "topic": "\x1b]0;t\x07"}))
    curate.run(config())
    story = explain(Path("run"), "evil")
    assert json.loads(json.dumps(story.as_dict(), allow_nan=False))["text"].endswith("x" * 5000)
    lines = told("evil")
    assert all(letter.isprintable() or letter == "\n" for letter in lines)
    assert max(map(len, lines.splitlines())) < 300


# ---------------------------------------------------------------- many rows


def test_many_fates_come_in_the_order_asked_for(pool, config):
    add(pool, '{"id": "y", "text": "  ", "source": "left"}', '{"id": "r0003", "text": "twice", "source": "right"}')
    curate.run(config(select=TWO, guard={"max_quarantine_rate": 0.1}))
    ids = ["nobody", "r0059", "y", "r0003", "r0000"]
    fates = Run.open(Path("run")).read_outcomes(ids)
    assert fates["id"].to_pylist() == ids
    lines = ledger()
    for fate in fates.to_pylist():
        line = lines.get(fate["id"])
        if line is None:
            expected = {"nobody": ("not in the pool", None), "y": ("quarantined", "has no text")}[fate["id"]]
            assert (fate["status"], fate["reason"]) == expected
        else:
            assert fate["status"] == ("chosen" if line["selected"] else "dropped")
            assert (fate["decided_by"], fate["reason"], fate["rank"]) == (
                line["dropped_by"],
                line["reason"],
                line["rank"],
            )


def test_the_chosen_rows_are_those_of_the_ledger_with_their_place(finished):
    run = Run.open(Path("run"))
    rows = read_chosen(run.inputs, Path("run/select"))
    assert rows["id"].to_list() == [name for name, line in ledger().items() if line["selected"]]
    texts = run.texts([RowLocation(row["shard"], row["row"]) for row in rows.to_dicts()])
    assert [text.split()[-1] for text in texts] == [str(int(name[1:])) for name in rows["id"]]


def test_ids_are_read_no_further_than_the_row(finished, monkeypatch):
    real, read = Inputs.read, []
    monkeypatch.setattr(Inputs, "read", lambda self, shard, *rest: read.append(shard) or real(self, shard, *rest))
    assert Run.open(Path("run")).find_row("r0017") == RowLocation(1, 1)
    assert read == [0, 1]


# ---------------------------------------------------------------- damage


def test_a_lost_or_cut_off_shard_of_the_ledger_is_an_error_that_says_what_to_do(finished):
    path = Path("run/select/part-00000.parquet")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"run/select/part-\d+.parquet: .*part-00000.parquet is corrupt; run again"):
        explain(Path("run"), "r0001")
    path.unlink()
    with pytest.raises(DataError, match=r"part-00000.parquet is missing; run again"):
        explain(Path("run"), "r0001")


def test_a_name_in_a_manifest_cannot_lead_out_of_the_run_folder(finished):
    Path("outside").mkdir()
    for file in Path("run/score/prototypicality").iterdir():
        (Path("outside") / file.name).write_bytes(file.read_bytes())
    data = parquet_io.read_json(Path("run/select/manifest.json"))
    assert data is not None
    data["parts"]["score"] = {"../../outside": data["parts"]["score"]["prototypicality"]}
    parquet_io.write_json(Path("run/select/manifest.json"), data)
    assert explain(Path("run"), "r0001").scores == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\tb\n c", "a b c"),
        ("\x1b[2Jx", "\ufffd[2Jx"),
        ("é" * 300, "é" * 240 + "…"),
        ("", ""),
        (" " * 2000 + "x", "…"),
    ],
)
def test_a_shown_text_is_one_line_that_no_terminal_obeys(text, line):
    assert to_single_line(text) == line


# ---------------------------------------------------------------- the commands


@pytest.mark.slow
def test_explain_diff_and_rollback_from_a_shell(command, pool, config):
    curate.run(config(select=[{"use": "top_k", "keep": 10}]))
    curate.run(config())
    curate.run(config(run="other", select=TWO))
    told_of = command("explain", "run", "r0001")
    assert (told_of.returncode, told_of.stderr, told_of.stdout) == (0, "", f"{told('r0001')}\n")
    assert json.loads(command("explain", "run", "r0001", "--json").stdout)["id"] == "r0001"
    unknown = command("explain", "run", "r00001")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("curate: run: no row has the id 'r00001'; did you mean 'r0001'")

    compared = command("diff", "run", "other", "--examples", "1")
    assert (compared.returncode, compared.stderr) == (0, "")
    assert re.match(r"run -> other: \d+ rows added, \d+ removed, \d+ kept; \d+\.\d\d% of the rows", compared.stdout)
    assert "\nsource\tadded\tremoved\tkept\tchurn\n" in compared.stdout
    assert "\n- r00" in compared.stdout
    assert json.loads(command("diff", "run", "run", "--json").stdout)["churn_rate"] == 0

    back = command("rollback", "run")
    assert (back.returncode, back.stderr) == (0, "")
    assert re.match(
        r"run: published \w{12} again \(10 rows\), in place of \w{12}\nthe next `curate run` of run", back.stdout
    )
    nowhere = command("rollback", "run", "0123456789ab", "--json")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "there is no version '0123456789ab'; pass one of these versions, oldest first: " in nowhere.stderr
