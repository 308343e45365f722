"""The sample pool: it can be generated again, and what the key says is planted is there."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

FOLDER = Path(__file__).parents[2] / "data_samples"
SOURCES = ["encyclopedia", "forum", "manual", "tickets", "web"]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("data_samples_generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def key() -> pl.DataFrame:
    return pl.read_parquet(FOLDER / "key.parquet")


@pytest.fixture(scope="module")
def lines() -> dict[tuple[str, int], str]:
    return {
        (path.name, number): line
        for path in sorted((FOLDER / "pool").glob("*.jsonl"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    }


@pytest.fixture(scope="module")
def rows(lines: dict[tuple[str, int], str], key: pl.DataFrame) -> dict[str, dict[str, Any]]:
    broken = set(key.filter(pl.col("id").is_null()).select("file", "line").iter_rows())
    parsed = [json.loads(line) for place, line in lines.items() if place not in broken]
    return {row["id"]: row for row in parsed}


def planted(key: pl.DataFrame, kind: str) -> list[dict[str, Any]]:
    return key.filter(pl.col("kind") == kind).to_dicts()


def text(row: dict[str, Any]) -> tuple[str, str]:
    return row["instruction"], row["output"]


def test_the_first_questions_are_in_the_pool_once_and_the_others_are_not(rows: dict[str, dict[str, Any]]) -> None:
    lines = (FOLDER / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    quoted = [json.loads(line)["question"].removesuffix(" What is this text about?").lower() for line in lines]
    outputs = Counter(row["output"].lower() for row in rows.values())
    assert [outputs[text] for text in quoted] == [1] * 5 + [0] * 15


def test_the_generator_writes_the_committed_files_again(tmp_path: Path, key: pl.DataFrame) -> None:
    script().generate(tmp_path)
    for source in SOURCES:
        again, committed = (folder / "pool" / f"{source}.jsonl" for folder in (tmp_path, FOLDER))
        assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(committed.read_bytes()).digest(), source
    again, committed = (folder / "evaluation.jsonl" for folder in (tmp_path, FOLDER))
    assert again.read_bytes() == committed.read_bytes()
    # The key's content and not its bytes: a Parquet file names the version of its writer.
    assert pl.read_parquet(tmp_path / "key.parquet").equals(key)


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    module = script()
    module.generate(tmp_path / "one")
    module.generate(tmp_path / "two")
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / run).rglob("*") if path.is_file()}
        for run in ("one", "two")
    )
    assert one == two
    assert len(one) == len(SOURCES) + 2, "the pool, its key, and the evaluation set"


def test_there_are_2000_lines_with_unique_ids_that_name_their_place(
    lines: dict[tuple[str, int], str], rows: dict[str, dict[str, Any]]
) -> None:
    assert len(lines) == 2_000
    assert len(rows) == 1_998, "all but the row without an id and the line that is no JSON"
    for name, row in rows.items():
        file, number = f"{row['source']}.jsonl", int(name.removeprefix(f"{row['source']}-"))
        assert f'"id": "{name}"' in lines[file, number]


def test_the_key_counts_are_those_of_the_readme(key: pl.DataFrame) -> None:
    table = [line.split("|") for line in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()]
    promised = {
        cells[1].strip(" `"): int(cells[2]) for cells in table if len(cells) == 7 and cells[2].strip().isdigit()
    }
    assert dict(key.group_by("kind").len().iter_rows()) == promised


def test_no_row_has_two_plants_and_originals_are_clean(key: pl.DataFrame) -> None:
    assert key.select("file", "line").is_unique().all()
    copied = set(key["of"].drop_nulls())
    assert copied
    assert copied.isdisjoint(key["id"].drop_nulls())


def test_exact_duplicates_are_all_the_equal_texts_there_are(key: pl.DataFrame, rows: dict[str, dict[str, Any]]) -> None:
    copies = {entry["id"]: entry["of"] for entry in planted(key, "exact_duplicate")}
    for copy, original in copies.items():
        assert copy != original
        assert text(rows[copy]) == text(rows[original])
    others = Counter(text(row) for name, row in rows.items() if name not in copies)
    assert others.most_common(1)[0][1] == 1


def test_near_duplicates_differ_from_their_original_by_a_few_words(
    key: pl.DataFrame, rows: dict[str, dict[str, Any]]
) -> None:
    for entry in planted(key, "near_duplicate"):
        copy, original = rows[entry["id"]], rows[entry["of"]]
        assert text(copy) != text(original)
        assert copy["topic"] == original["topic"]
        shared = Counter(copy["output"].split()) & Counter(original["output"].split())
        assert shared.total() > 0.5 * len(original["output"].split()), entry


def test_wrong_labels_are_wrong_and_the_key_knows_the_right_one(
    key: pl.DataFrame, rows: dict[str, dict[str, Any]]
) -> None:
    topics = {row["topic"] for row in rows.values()}
    for entry in planted(key, "wrong_label"):
        assert rows[entry["id"]]["topic"] != entry["detail"]
        assert entry["detail"] in topics


def test_topics_have_a_long_tail(key: pl.DataFrame, rows: dict[str, dict[str, Any]]) -> None:
    sizes = Counter(row["topic"] for row in rows.values())
    assert len(sizes) == 40
    assert max(sizes.values()) > 200
    rare = Counter(rows[entry["id"]]["topic"] for entry in planted(key, "rare_topic"))
    assert rare == {topic: size for topic, size in sizes.items() if size < 5}
    assert len(rare) == 6


def test_clean_texts_have_30_to_120_words(key: pl.DataFrame, rows: dict[str, dict[str, Any]]) -> None:
    for name in rows.keys() - set(key["id"]):
        assert 30 <= len(" ".join(text(rows[name])).split()) <= 120, name


def test_the_broken_lines_are_broken_as_the_key_says(key: pl.DataFrame, lines: dict[tuple[str, int], str]) -> None:
    broken = {
        entry["kind"]: lines[entry["file"], entry["line"]]
        for entry in key.to_dicts()
        if entry["kind"] in ("blank", "null_id", "unparsable")
    }
    blank = json.loads(broken["blank"])
    assert not (blank["instruction"] + blank["output"]).strip()
    assert json.loads(broken["null_id"])["id"] is None
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken["unparsable"])


@pytest.mark.slow
def test_near_duplicates_are_nearer_to_their_original_than_topic_mates_in_lsa(
    key: pl.DataFrame, rows: dict[str, dict[str, Any]]
) -> None:
    """The pool is neither trivial nor hopeless: thresholds between .9 and .95 separate most of the plants."""
    import numpy as np
    import threadpoolctl
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    names = [name for name, row in rows.items() if "".join(text(row)).strip()]
    at = {name: number for number, name in enumerate(names)}
    tfidf = TfidfVectorizer().fit_transform("\n".join(text(rows[name])) for name in names)
    with threadpoolctl.threadpool_limits(1):
        x = normalize(TruncatedSVD(256, random_state=0).fit_transform(tfidf))

    near = np.array([x[at[entry["id"]]] @ x[at[entry["of"]]] for entry in planted(key, "near_duplicate")])
    assert np.mean(near > 0.9) > 0.95
    assert near.min() < 0.95, "some take more than a threshold of .95"

    clean = [at[name] for name in names if name not in set(key["id"])]
    similarity = x[clean] @ x[clean].T
    np.fill_diagonal(similarity, -1)
    assert np.mean(similarity.max(axis=1) > 0.9) < 0.01
