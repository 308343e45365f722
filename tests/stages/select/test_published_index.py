"""What was published night after night is not published again in other words, and is never touched."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.errors import ConfigError, CurateError, GuardrailError
from curate.stages.select import published_index
from curate.stages.select.published_index import active_versions
from curate.store import versions

WORDS = [f"w{number}" for number in range(3000)]


def text(number):
    return " ".join(random.Random(number).choices(WORDS, k=40))


def near(number):
    """The same text with its last two words changed: similarity .89."""
    return " ".join([*text(number).split()[:-2], "other", "words"])


@pytest.fixture
def tonight(tmp_path, monkeypatch, plain_map):
    """Writes tonight's pool: a text for each id."""
    monkeypatch.chdir(tmp_path)
    Path("pool").mkdir()

    def write(**rows):
        Path("pool/a.jsonl").write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in rows.items()))

    return write


@pytest.fixture
def nightly(config):
    def made(*entries, **sections):
        chosen = entries or ("exact_duplicates", {"use": "minhash", "min_similarity": 0.7})
        select = [{"against": "published"} | ({"use": one} if isinstance(one, str) else one) for one in chosen]
        settings = {"files": "pool/*.jsonl", "id": "id", "text": "text", "rows_per_shard": 4}
        return config(**{"input": settings, "select": select, **sections})

    return made


def exported(run="run"):
    return set(pl.read_parquet(f"{run}/export/current/data/*.parquet")["id"])


def fate(name, run="run"):
    line = pl.read_parquet(f"{run}/select/part-*.parquet").filter(pl.col("id") == name).to_dicts()[0]
    return line["dropped_by"], line["representative"]


def remembered(entry="minhash", run="run"):
    return sorted(pl.read_parquet(f"{run}/published/{entry}/*.parquet")["id"])


@pytest.mark.slow
def test_new_rows_go_though_what_they_copy_has_left_the_pool(tonight, nightly):
    tonight(a=text(1), b=text(2))
    assert not curate.run(nightly()).unchanged
    assert curate.run(nightly()).unchanged
    tonight(c=text(1), d=near(2), e=text(3))
    curate.run(nightly())
    assert exported() == {"e"}
    assert (fate("c"), fate("d")) == (("exact_duplicates", "a"), ("minhash", "b"))
    tonight(f=text(3), g=near(1), h=text(4))
    curate.run(nightly())
    assert exported() == {"h"}
    assert (fate("f"), fate("g")) == (("exact_duplicates", "e"), ("minhash", "a"))
    assert remembered() == remembered("exact_duplicates") == ["a", "b", "e", "h"]


def test_what_was_published_stays_in_a_pool_that_grows(tonight, nightly):
    """Though a copy now comes before it, and a better one after it."""
    tonight(b=text(1), c=text(2))
    score = [{"use": "length"}]
    curate.run(nightly(score=score))
    tonight(a=text(1), b=text(1), c=text(2), d=f"{near(2)} and more")
    curate.run(nightly(score=score))
    assert exported() == {"b", "c"}
    assert fate("a") == ("exact_duplicates", "b")
    assert remembered() == ["b", "c"]


@pytest.mark.slow
def test_a_row_whose_text_has_changed_is_no_copy_of_itself(tonight, nightly):
    tonight(a=text(1), b=text(2))
    curate.run(nightly())
    tonight(a=near(1), b=text(2), c=text(1))
    curate.run(nightly())
    assert exported() == {"a", "b"}
    assert fate("c") == ("minhash", "a")
    tonight(d=text(1), e=near(1), f=text(3))
    curate.run(nightly())
    assert exported() == {"f"}, "both texts of a were published"


@pytest.mark.slow
def test_rows_published_before_anything_was_remembered_count(tonight, nightly, config):
    tonight(a=text(1), b=text(1), c=text(2))
    settings = {"files": "pool/*.jsonl", "id": "id", "text": "text", "rows_per_shard": 4}
    curate.run(config(input=settings, select=[{"use": "where", "drop": "tokens = 0"}]))
    tonight(a=text(1), b=text(1), c=text(2), d=near(2))
    curate.run(nightly())
    assert exported() == {"a", "b", "c"}, "though two are the same"
    assert remembered() == ["a", "b", "c"]


@pytest.mark.slow
def test_what_was_taken_back_is_not_published(tonight, nightly):
    tonight(a=text(1))
    curate.run(nightly())
    tonight(b=text(2))
    curate.run(nightly())
    root = Path("run") / versions.FOLDER
    first, second = active_versions(versions.read_history(root))
    versions.rollback(Path("run"), None, lambda _: None)
    assert active_versions(versions.read_history(root)) == [first]
    tonight(c=text(1), d=text(2))
    curate.run(nightly())
    assert exported() == {"d"}
    assert second not in active_versions(versions.read_history(root))


@pytest.mark.slow
def test_a_run_that_was_killed_before_it_published_has_published_nothing(tonight, nightly, monkeypatch):
    tonight(a=text(1))
    with monkeypatch.context() as patch:
        patch.setattr(versions, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            curate.run(nightly())
    assert remembered() == ["a"]
    tonight(b=text(1))
    curate.run(nightly())
    assert exported() == {"b"}


@pytest.mark.slow
def test_a_damaged_ledger_is_made_again_as_it_was(tonight, nightly):
    tonight(a=text(1), b=text(2))
    curate.run(nightly())
    tonight(c=near(1), d=text(3))
    curate.run(nightly())
    shard = Path("run/select/part-00000.parquet")
    before = shard.read_bytes()
    shard.unlink()
    assert exported() == {"d"}
    curate.run(nightly())
    assert shard.read_bytes() == before


def test_a_run_that_changes_nothing_reads_nothing_of_what_was_published(tonight, nightly, monkeypatch):
    tonight(a=text(1), b=text(2))
    curate.run(nightly())
    monkeypatch.setattr(published_index, "load_published_rows", None)
    assert curate.run(nightly()).unchanged


@pytest.mark.slow
def test_other_fields_are_refused_until_the_folder_is_deleted(tonight, nightly):
    tonight(a=text(1), b=text(2))
    curate.run(nightly())
    tonight(a=text(1), c=near(1), d=near(2))
    shorter = nightly({"use": "minhash", "min_similarity": 0.7, "ngram_size": 3})
    with pytest.raises(ConfigError, match="made with other settings") as error:
        curate.run(shorter)
    assert "ngram_size" in error.value.hint
    assert exported() == {"a", "b"}
    for file in Path("run/published/minhash").iterdir():
        file.unlink()
    curate.run(shorter)
    assert exported() == {"a", "d"}, "b is no longer in the pool, and so is forgotten"


def test_what_a_sketch_does_not_depend_on_may_change(tonight, nightly):
    tonight(a=text(1))
    curate.run(nightly())
    tonight(b=near(1), c=text(2))
    curate.run(nightly({"use": "minhash", "min_similarity": 0.7, "linkage": "connected", "keep": "first"}))
    assert fate("b") == ("minhash", "a")


def test_the_story_of_a_row_names_what_left_the_pool(tonight, nightly, command):
    tonight(a=text(1))
    curate.run(nightly())
    tonight(b=text(1), c=text(2))
    curate.run(nightly())
    told = command("explain", "run", "b").stdout
    assert re.search(r"duplicate of +a, similarity 1\n", told)
    assert re.search(r"kept instead +no row\n", told)
    assert "published earlier, no longer in the pool" in told
    assert "no longer in the pool" in Path("run/report.html").read_text()


@pytest.mark.parametrize("entry", [{"use": "uniform", "keep": 1}, {"use": "minhash", "within": "source"}])
def test_only_filters_that_remember_can_be_asked_and_in_no_group(tonight, nightly, entry):
    tonight(a=text(1))
    with pytest.raises(ConfigError, match="published"):
        curate.run(nightly(entry))


# ---------------------------------------------------------------- what is remembered is not lost silently


def gone(path):
    path.unlink()


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other(path):
    """Put what another night published in its place."""
    path.write_bytes(next(each for each in sorted(path.parent.iterdir()) if each != path).read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("damage", [gone, half, other])
def test_a_lost_file_of_what_was_published_is_reported_until_it_is_back_or_its_folder_is_deleted(
    tonight, nightly, command, damage
):
    tonight(a=text(1), b=text(2))
    curate.run(nightly())
    first = versions.published_version(Path("run/export"))
    tonight(c=text(3))
    curate.run(nightly())
    path = Path(f"run/published/minhash/{first}.parquet")
    good, before = path.read_bytes(), exported()
    damage(path)
    tonight(d=near(1), e=near(3))
    for _ in range(2):
        with pytest.raises(CurateError, match=f"{path}: .*delete run/published/minhash"):
            curate.run(nightly())
    assert exported() == before
    shutil.copytree("run", "other", symlinks=True)
    path.write_bytes(good)
    with pytest.raises(GuardrailError, match="the selection is empty"):
        curate.run(nightly())
    Path("run").rename("mended")
    Path("other").rename("run")
    shutil.rmtree("run/published/minhash")
    Path("config.json").write_text(json.dumps(nightly()))
    told = command("run", "config.json").stderr
    assert f"run/published/minhash is missing, so the sketches of {first}, " in told.replace("\n", " ")
    assert exported() == {"d", "e"}
    assert "is missing" not in command("run", "config.json").stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["manifest.json", ""])
def test_a_selection_whose_manifest_is_lost_is_made_again_as_it_was(tonight, nightly, name):
    """It does not compare its rows with the version that it is itself, as if that had been published before."""
    refresh = {"refresh": {"keep_previous_weight": 0.5}}
    for rows in ({"a": text(1), "b": text(2)}, {"a": text(1), "c": text(3)}, {"c": text(3), "d": text(4)}):
        tonight(**rows)
        done = curate.run(nightly(**refresh))
    path = Path("run/select") / name
    path.unlink() if path.is_file() else shutil.rmtree(path)
    again = curate.run(nightly(**refresh))
    assert (again.unchanged, again.version) == (True, done.version)
