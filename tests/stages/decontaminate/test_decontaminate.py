"""The section decontaminate: what it finds and lists, what makes it stale, and where it is told of."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import curate
from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigError, DataError, GuardrailError
from curate.evaluation import split
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.pipeline import load_finished, plan, run
from curate.progress import NullProgress
from curate.stages.decontaminate import stage as decontaminate
from curate.stages.report.figures import Figures
from curate.store.explain import explain
from curate.store.schemas import hits

QUESTION = "Janet sells 16 eggs a day, eats three for breakfast, and bakes four into muffins; how many are left?"
SHORT = "What is the capital of the Kingdom of Denmark?"
FRENCH = "Où le café a-t-il été bu à l'époque, et par qui, s'il vous plaît ?"
CHINESE = "小明有三个苹果,他又买了五个苹果,请问现在他一共有多少个苹果?"
TARGETS = Path(os.environ.get("CURATE_DATA", "data")) / "eval-targets"


@pytest.fixture
def planted(pool):
    """Replaces texts of the pool's rows, and writes evaluation files of questions."""

    def plant(texts=(), **files):
        rows = [json.loads(line) for path in sorted(pool.iterdir()) for line in path.read_text().splitlines()]
        for number, text in dict(texts).items():
            rows[number]["text"] = text
        for name, some in (("a", rows[:40]), ("b", rows[40:])):
            (pool / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        Path("eval").mkdir(exist_ok=True)
        for name, questions in files.items():
            lines = [json.dumps({"question": question, "answer": "7"}) for question in questions]
            Path(f"eval/{name}.jsonl").write_text("\n".join(lines) + "\n")

    return plant


@pytest.fixture
def checked(config):
    """A configuration with the section, over ``eval/*.jsonl`` unless it says otherwise."""

    def made(section=(), **sections):
        asked = {"files": "eval/*.jsonl", "text": "{question}", **dict(section)}
        return config(**{"decontaminate": asked, "select": [{"use": "uniform", "keep": 20}], **sections})

    return made


def found(run="run"):
    return pl.read_parquet(f"{run}/decontaminate/part-*.parquet")


def ledger(run="run"):
    return pl.read_parquet(f"{run}/select/part-*.parquet")


def dropped(run="run"):
    return ledger(run).filter(pl.col("dropped_by") == "decontaminate")["id"].to_list()


def states(data):
    return {step.stage: step.state for step in plan(config_from_dict(data), Serial())}


# ---------------------------------------------------------------- what is found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "evaluation"),
    [
        pytest.param(f"An exam. {QUESTION} Write the number only.", QUESTION, id="word for word in a longer text"),
        pytest.param(QUESTION.upper().replace(",", " --").replace("?", "…"), QUESTION, id="case and punctuation"),
        pytest.param(" ".join(QUESTION.split()[2:15]), QUESTION, id="thirteen words of it"),
        pytest.param(f"Quiz: {SHORT.lower()} Copenhagen.", SHORT, id="a shorter text, as a whole"),
        pytest.param(f"题目:{CHINESE}答案是八。", CHINESE, id="Chinese, where a character is a word"),
        pytest.param(unicodedata.normalize("NFD", FRENCH), FRENCH, id="letters and accents apart"),
        pytest.param("\u200b".join(QUESTION).replace(" ", "\u00ad "), QUESTION, id="invisible characters"),
        pytest.param("\udc00 \0 \u202e" + QUESTION, QUESTION, id="beside what is no text"),
    ],
)
def test_a_copy_is_dropped_and_listed_with_both_texts(planted, checked, text, evaluation):
    text = text.encode(errors="replace").decode()  # no file of UTF-8 holds a lone surrogate; the kernel's tests do
    planted({7: text}, math=["Something else that is asked of nobody at all in here.", evaluation])
    curate.run(checked())
    assert dropped() == ["r0007"]
    (hit,) = found().to_dicts()
    assert hit | {"id": "r0007", "kind": "ngram", "set": "math.jsonl", "text": text} == hit
    assert (hit["evaluation_text"], hit["evaluation_file"], hit["evaluation_line"]) == (
        evaluation,
        "eval/math.jsonl",
        2,
    )
    assert 0 < hit["similarity"] <= 1
    words = re.sub(r"[^\w\s]", "", unicodedata.normalize("NFKC", text)).casefold()
    assert hit["shared"].replace(" ", "") in words.replace(" ", "")
    line = ledger().filter(pl.col("id") == "r0007").to_dicts()[0]
    assert line["reason"] == "shares a run of words with the evaluation set 'math.jsonl'"
    assert line["similarity"] == pytest.approx(hit["similarity"])


@pytest.mark.parametrize(
    ("text", "evaluation"),
    [
        pytest.param(QUESTION.replace("three", "nine").replace("many", "much"), QUESTION, id="a word of every run"),
        pytest.param(" ".join(QUESTION.split()[2:14]), QUESTION, id="twelve words of it"),
        pytest.param("The capital of Denmark?", "The capital of Denmark?", id="a text of too few words"),
        pytest.param(" ".join(SHORT.split()[:8]), SHORT, id="a part of a short text"),
    ],
)
def test_what_shares_no_run_of_words_is_left(planted, checked, text, evaluation):
    planted({7: text}, math=[evaluation])
    curate.run(checked())
    assert dropped() == []
    assert len(found()) == 0


def test_embeddings_find_what_words_miss(planted, checked):
    planted({7: QUESTION.replace("three", "nine").replace("many", "much"), 8: QUESTION}, math=[QUESTION, SHORT])
    curate.run(checked({"min_similarity": 0.8}))
    assert dropped() == ["r0007", "r0008"]
    kinds = found().select("id", "kind").rows()
    assert kinds == [("r0007", "embedding"), ("r0008", "ngram"), ("r0008", "embedding")]
    near, same = (found().filter(id=name, kind="embedding").to_dicts()[0] for name in ("r0007", "r0008"))
    assert 0.8 <= near["similarity"] < 1
    assert same["similarity"] == pytest.approx(1)
    assert near["shared"] is None
    reason = ledger().filter(id="r0007")["reason"].to_list()
    assert reason == ["has an embedding similar to a text of the evaluation set 'math.jsonl'"]
    curate.run(checked({"ngram_size": None, "min_similarity": 1.0}))
    assert dropped() == ["r0008"]


@pytest.mark.slow
def test_embeddings_of_a_column_and_of_a_fitted_embedder(planted, checked):
    planted({8: QUESTION}, math=[QUESTION])
    lines = [json.loads(line) for path in sorted(Path("pool").iterdir()) for line in path.read_text().splitlines()]
    rng = np.random.default_rng(0)
    for line in lines:
        line["vector"] = rng.standard_normal(8).tolist()
    Path("pool/b.jsonl").unlink()
    Path("pool/a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("eval/math.jsonl").write_text(
        json.dumps({"question": "?", "vector": (2 * np.array(lines[3]["vector"])).tolist()})
    )
    embed = [{"use": "lsa", "dimensions": 8}, {"use": "column", "column": "vector"}]
    section = {"min_similarity": 0.99, "embedding": "column"}
    curate.run(checked(section, embed=embed))
    assert dropped() == ["r0003"]
    planted({}, math=[QUESTION])
    with pytest.raises(DataError, match=r"evaluation set 'math.jsonl': the input has no column 'vector'"):
        curate.run(checked(section, embed=embed))
    curate.run(checked({"min_similarity": 0.99}, embed=embed[:1]))
    assert found().filter(kind="embedding")["id"].to_list() == ["r0008"]


@pytest.mark.slow
def test_the_share_of_an_evaluation_text_that_is_enough(planted, checked):
    planted({7: QUESTION, 8: " ".join(QUESTION.split()[:13])}, math=[QUESTION])
    curate.run(checked({"min_overlap_rate": 0.5}))
    assert dropped() == ["r0007"]
    curate.run(checked({"min_overlap_rate": 0.1}))
    assert dropped() == ["r0007", "r0008"]
    assert found()["similarity"].to_list() == pytest.approx([1, 1 / 7])


@pytest.mark.slow
def test_runs_of_words_that_many_rows_have_are_no_sign_of_a_copy(planted, checked):
    licence = "permission is hereby granted free of charge to any person obtaining a copy of this software"
    texts = {number: f"{licence} number {number}" for number in range(10, 15)}
    planted({7: QUESTION, **texts}, math=[QUESTION, f"{licence} and more"])
    curate.run(checked({"max_ngram_rows": 5}))
    assert len(dropped()) == 6
    curate.run(checked({"max_ngram_rows": 4}))
    assert dropped() == ["r0007"]


def test_a_row_names_the_text_it_shares_most_with_and_tells_of_the_others(planted, checked):
    other = QUESTION.replace("Janet", "Joan")
    planted({7: f"{other} {SHORT}"}, math=[QUESTION, other], geo=[SHORT])
    curate.run(checked({"files": {"math": "eval/math.jsonl", "geo": ["eval/geo.jsonl"]}}))
    lines = found().select("set", "evaluation_line", "evaluation_texts", "similarity").rows()
    assert lines == [("math", 2, 2, 1), ("geo", 1, 1, 1)]
    facts = json.loads(Path("run/decontaminate/manifest.json").read_text())["facts"]
    assert [(one["name"], one["texts"], one["found"], one["rows"]) for one in facts["sets"]] == [
        ("math", 2, 2, 1),
        ("geo", 1, 1, 1),
    ]
    assert (facts["rows"], facts["hits"]) == (1, 2)


def test_sets_have_texts_of_their_own(planted, checked):
    planted({7: QUESTION, 8: SHORT}, math=[QUESTION])
    Path("eval/geo.csv").write_text(f'prompt\n"{SHORT}"\n')
    files = {"math": "eval/math.jsonl", "geo": "eval/geo.csv"}
    curate.run(checked({"files": files, "text": {"math": "question", "geo": "{prompt}"}}))
    assert found().select("id", "set").rows() == [("r0007", "math"), ("r0008", "geo")]


def test_files_of_one_name_are_called_by_their_paths(planted, checked):
    planted({7: QUESTION}, test=[SHORT])
    Path("eval/more").mkdir()
    Path("eval/more/test.jsonl").write_text(json.dumps({"question": QUESTION}))
    curate.run(checked({"files": "eval/**/*.jsonl"}))
    assert found()["set"].to_list() == ["eval/more/test.jsonl"]


# ---------------------------------------------------------------- accounts


def test_every_row_is_accounted_for_and_a_later_entry_sees_what_is_left(planted, checked):
    planted({7: QUESTION, 41: QUESTION}, math=[QUESTION])
    summary = curate.run(checked(select=[{"use": "uniform", "keep_rate": 0.5}]))
    lines = {(line["stage"], line["name"]): line for line in summary.as_dict()["accounting"]}
    assert {"rows_in": 60, "kept": 60}.items() <= lines["decontaminate", "decontaminate"].items()
    assert {"rows_in": 60, "kept": 58, "dropped": 2}.items() <= lines["select", "decontaminate"].items()
    assert {"rows_in": 58, "kept": 29, "dropped": 29}.items() <= lines["select", "uniform"].items()
    assert summary.kept == 29


def test_a_guardrail_counts_what_is_dropped_here(planted, checked):
    planted(dict.fromkeys(range(0, 60, 3), QUESTION), math=[QUESTION])
    data = checked(guard={"max_source_drop_rate": 0.9}, select=[{"use": "where", "drop": "stars > 9"}])
    with pytest.raises(GuardrailError, match=r"'right' 100.00%"):
        curate.run(data)
    assert not Path("run/export/current").exists()


def test_a_pool_of_evaluation_texts_alone_is_refused(planted, checked):
    planted(dict.fromkeys(range(60), QUESTION), math=[QUESTION])
    with pytest.raises(GuardrailError, match="all 60 rows overlap an evaluation text"):
        curate.run(checked())
    assert len(found()) == 60


def test_chance_draws_from_what_is_not_contaminated(planted, checked):
    planted(dict.fromkeys(range(30), QUESTION), math=[QUESTION])
    data = checked(select=[{"use": "uniform", "keep": 30}], evaluate={"holdout_rate": 0.3})
    curate.run(data)
    context = pipeline.make_context(config_from_dict(data), Serial())
    rows = split.open_split(split.split_pool(context, pipeline.build_pool(context)))
    assert set(rows.train.positions) | set(rows.test.positions) == set(range(30, 60))
    done = load_finished(config_from_dict(data), NullProgress())
    assert np.flatnonzero(Figures(context, done).uniform).tolist() == list(range(30, 60))


@pytest.mark.slow
def test_evaluating_a_run_leaves_contaminated_rows_out(planted, checked, command):
    planted(dict.fromkeys(range(0, 60, 4), QUESTION), math=[QUESTION])
    data = checked(metrics=[{"use": "tokens"}, {"use": "coverage"}])
    curate.run(data)
    Path("config.json").write_text(json.dumps(data))
    told = command("evaluate", "run", "--seeds", 2, "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["rows"] == 20
    told = command("compare", "config.json", "--select", "top_k", "--seeds", 2, "--prune-rate", 0.5, "--json")
    assert told.returncode == 0, told.stderr


# ---------------------------------------------------------------- stale and fresh


@pytest.mark.slow
def test_another_evaluation_file_costs_no_other_stage(planted, checked):
    planted({7: QUESTION}, math=[QUESTION])
    data = checked({"min_similarity": 0.9})
    assert curate.run(data).unchanged is False
    assert curate.run(data).unchanged
    assert set(states(data).values()) == {"fresh"}
    planted({7: QUESTION}, math=[SHORT])
    told = states(data)
    assert {stage: state for stage, state in told.items() if state != "fresh"} == {
        "decontaminate": "stale",
        "select": "stale",
        "export": "stale",
    }
    curate.run(data)
    assert dropped() == []
    (Path("eval") / "geo.jsonl").write_text("")
    with pytest.raises(DataError, match=r"evaluation set 'geo.jsonl': there are no rows"):
        curate.run(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"min_overlap_rate": 0.9}, {"ngram_size": 12}, {"min_similarity": 0.99}, {"files": {"m": "eval/math.jsonl"}}],
)
def test_what_counts_as_enough_makes_it_stale_and_another_order_of_sets_too(planted, checked, change):
    planted({7: QUESTION}, math=[QUESTION])
    curate.run(checked())
    assert states(checked(change)) | {"score": "fresh", "decontaminate": "stale"} == states(checked(change))


@pytest.mark.slow
def test_the_order_of_sets_decides_which_one_a_row_is_dropped_for(planted, checked):
    planted({7: QUESTION}, one=[QUESTION], two=[QUESTION])
    for names in (["one", "two"], ["two", "one"]):
        curate.run(checked({"files": {name: f"eval/{name}.jsonl" for name in names}}))
        assert ledger().filter(id="r0007")["reason"][0].endswith(f"'{names[0]}'")


@pytest.mark.slow
def test_a_refresh_looks_only_at_shards_that_changed(planted, checked, monkeypatch):
    planted({7: QUESTION}, math=[QUESTION])
    curate.run(checked({"max_ngram_rows": 9}))
    looked = []
    real = decontaminate.NgramIndex.find
    monkeypatch.setattr(
        decontaminate.NgramIndex, "find", lambda self, texts: looked.append(len(texts)) or real(self, texts)
    )
    with Path("pool/b.jsonl").open("a") as file:
        file.write(json.dumps({"id": "new", "text": QUESTION, "topic": "t0", "source": "left", "stars": 1, "tags": []}))
    curate.run(checked({"max_ngram_rows": 9}))
    assert dropped() == ["r0007", "new"]
    assert len(looked) == 1
    assert looked[0] < 30


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes_and_so_does_an_interruption(planted, checked, monkeypatch):
    planted({7: QUESTION, 21: SHORT, 50: CHINESE}, math=[QUESTION, CHINESE], geo=[SHORT])

    def done(name, executor):
        data = config_from_dict(checked({"min_similarity": 0.9}, run=name))
        try:
            run(data, executor)
        finally:
            executor.close()
        parts = sorted(Path(name).glob("decontaminate/**/part-*.parquet")) + sorted(Path(name).glob("select/part-*"))
        return {path.relative_to(name): hashlib.sha256(path.read_bytes()).hexdigest() for path in parts}

    serial = done("serial", Serial())
    assert done("one", Processes(1)) == done("two", Processes(2)) == serial
    real, calls = decontaminate._write_hits, []

    def dies(listing):
        calls.append(listing)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(listing)

    monkeypatch.setattr(decontaminate, "_write_hits", dies)
    with pytest.raises(KeyboardInterrupt):
        done("cut", Serial())
    monkeypatch.setattr(decontaminate, "_write_hits", real)
    assert done("cut", Serial()) == serial


@pytest.mark.slow
def test_what_is_left_of_other_sets_and_shards_is_removed(planted, checked):
    planted({7: QUESTION}, math=[QUESTION], geo=[SHORT])
    curate.run(checked())
    assert len(list(Path("run/decontaminate/sets").iterdir())) == 2
    Path("eval/geo.jsonl").unlink()
    Path("pool/b.jsonl").unlink()
    curate.run(checked())
    assert len(list(Path("run/decontaminate/sets").iterdir())) == 1
    shards = len(list(Path("run/input").glob("part-*")))
    assert len(list(Path("run/decontaminate").glob("part-*"))) == shards
    assert len(list(Path("run/decontaminate/found").glob("part-*"))) == shards


# ---------------------------------------------------------------- what is told


@pytest.mark.slow
def test_the_card_says_what_was_checked_also_where_nothing_was_found(planted, checked):
    planted({}, math=[QUESTION, "", "Too short."])
    curate.run(checked({"min_similarity": 0.97, "max_ngram_rows": 10}))
    card = Path("run/export/current/README.md").read_text()
    sha256 = hashlib.sha256(Path("eval/math.jsonl").read_bytes()).hexdigest()
    assert "No row of the pool overlaps a text of math.jsonl." in card
    assert "a sequence of 13 words" in card
    assert "Sequences that occur in more than 10 rows were ignored." in card
    assert "embedding (hashing) has a cosine similarity of at least 0.97" in card
    assert "| math.jsonl | 2 | 1 | 1 | 0 | 0 |" in card
    assert f"| eval/math.jsonl | {sha256} |" in card
    planted({7: QUESTION})
    curate.run(checked())
    card = Path("run/export/current/README.md").read_text()
    assert "1 row of the pool was dropped because of overlaps with texts of math.jsonl." in card
    assert "Embeddings were not compared" in card


def test_a_run_without_the_section_says_nothing_of_it(pool, config):
    curate.run(config())
    assert "decontaminat" not in Path("run/export/current/README.md").read_text()
    assert "decontaminat" not in Path("run/config.yaml").read_text()
    assert "decontaminat" not in Path("run/select/manifest.json").read_text()
    assert not Path("run/decontaminate").exists()


def test_the_report_shows_both_texts_escaped_and_how_many_there_are(planted, checked, monkeypatch):
    monkeypatch.setattr("curate.stages.report.figures._HITS", 2)
    evil = f"{QUESTION} <script>alert(1)</script>"
    planted(dict.fromkeys((7, 21, 50), evil), math=[f"<b>{QUESTION}"])
    curate.run(checked())
    page = Path("run/report.html").read_text()
    part = page[page.index('<section id="decontamination"') : page.index('<section id="again"')]
    assert "2 of 3 hits" in part
    assert part.count("<article") == 2
    assert part.count("&lt;script&gt;alert(1)") == 2
    assert part.count("&lt;b&gt;Janet sells 16 eggs") == 2
    assert "<script>" not in part
    assert "eval/math.jsonl:1" in part


def test_explain_shows_the_evaluation_text(planted, checked):
    planted({7: QUESTION}, math=["Nothing like it is asked of anybody here at all.", QUESTION])
    curate.run(checked({"min_similarity": 0.9}))
    told = "\n".join(explain(Path("run"), "r0007").lines())
    assert "dropped by decontaminate: shares a run of words with the evaluation set 'math.jsonl'" in told
    assert "math.jsonl (eval/math.jsonl, line 2), shares 'janet sells 16 eggs" in told
    assert "math.jsonl (eval/math.jsonl, line 2), similarity 1: Janet sells" in told
    kept = ledger().filter("selected")["id"][0]
    assert "after it passed decontaminate" in "\n".join(explain(Path("run"), kept).lines())


def test_the_lists_have_their_schema_and_an_empty_text_is_warned_of(planted, checked, command):
    planted({7: QUESTION}, math=[QUESTION, ""])
    Path("config.json").write_text(json.dumps(checked()))
    told = command("select", "config.json")
    assert told.returncode == 0
    assert "warning: evaluation set 'math.jsonl': 1 of 2 rows have no text" in told.stderr
    for path in Path("run/decontaminate").glob("part-*.parquet"):
        assert pq.read_schema(path).equals(hits(""))
        assert not Path("run/export").exists()


# ---------------------------------------------------------------- what is wrong


def test_a_file_that_is_missing_is_told_before_the_pool_is_read(pool, checked):
    for files, key in (("eval/none.jsonl", "files"), ({"math": ["eval/none.jsonl"]}, "files.math.0")):
        with pytest.raises(DataError, match=rf"decontaminate.{key}: no file matches 'eval/none.jsonl'"):
            curate.run(checked({"files": files}))
        assert not Path("run/input").exists()


def test_a_column_that_is_missing_names_the_set(planted, checked):
    planted({}, math=[QUESTION])
    with pytest.raises(DataError, match=r"decontaminate.text: no file of decontaminate.files has a column 'query'"):
        curate.run(checked({"text": "{query}"}))


def test_the_exports_of_a_run_are_no_evaluation_files_of_its_own(planted, checked):
    planted({}, math=[QUESTION])
    curate.run(checked())
    with pytest.raises(ConfigError, match=r"decontaminate.files: the file is inside the run directory"):
        curate.run(checked({"files": "run/export/current/data/*.parquet", "text": "text"}))


# ---------------------------------------------------------------- a benchmark that people leak


@pytest.mark.skipif(not TARGETS.is_dir(), reason="needs the evaluation targets, in the folder that CURATE_DATA names")
def test_every_question_of_gsm8k_is_found_among_training_questions(checked, tmp_path, monkeypatch, plain_map):
    monkeypatch.chdir(tmp_path)
    written = (gzip.decompress((TARGETS / f"gsm8k_{part}.jsonl.gz").read_bytes()) for part in ("test", "train"))
    test, train = ([json.loads(line)["question"] for line in text.splitlines()] for text in written)
    Path("pool").mkdir()
    planted = [f"Solve this. {question.upper()} Answer:" for question in test]
    lines = [
        json.dumps({"id": f"{n}", "text": text, "topic": "t", "source": "s"}) for n, text in enumerate(planted + train)
    ]
    Path("pool/a.jsonl").write_text("\n".join(lines))
    files = {"gsm8k": str(TARGETS / "gsm8k_test.jsonl.gz")}
    run(
        config_from_dict(checked({"files": files}, input={"files": "pool/*.jsonl", "id": "id", "text": "text"})),
        Serial(),
        until="select",
    )
    hit = {int(name) for name in dropped()}
    assert hit >= set(range(len(test)))
    assert len(hit) - len(test) < 0.01 * len(train)
