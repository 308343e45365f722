"""A pool that changes: what is embedded again, what stays frozen, and how much of the export moves."""

from __future__ import annotations

import json
import random
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import DataError
from curate.executors.serial import Serial
from curate.pipeline import plan
from curate.stages.cluster import ClusterResult
from curate.stages.embed.stage import EmbedResult
from curate.store import manifest
from curate.store.ledger import SelectResult

TOPICS = ("bread oven dough flour", "ship sail harbour tide", "judge court verdict law", "piano chord melody bar")


def line(number, edition=0, topic=None):
    kind = number % 4 if topic is None else topic
    words = TOPICS[kind].split() if kind < 4 else ["quark", "gluon", "lepton", "boson"]
    return {"id": f"r{number}", "text": f"{words[number % 3]} {words[3]} no {number} edition {edition}", "source": "s"}


@pytest.fixture
def written(tmp_path, monkeypatch, plain_map):
    """Writes a pool: its lines cut into three files."""
    monkeypatch.chdir(tmp_path)
    Path("pool").mkdir()

    def write(lines):
        for name, part in zip("abc", (lines[0::3], lines[1::3], lines[2::3]), strict=True):
            Path(f"pool/{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in part))

    return write


@pytest.fixture
def nightly(config):
    def made(**sections):
        settings = {"files": "pool/*.jsonl", "id": "id", "text": "text", "source": "source", "rows_per_shard": 32}
        return config(**{"input": settings, "select": [{"use": "facility_location", "keep": 40}], **sections})

    return made


def encoded(run="run", entry="hashing"):
    return manifest.load(Path(run) / "embed" / entry, EmbedResult).result.encoded


def vectors(run, entry):
    table = pl.read_parquet(f"{run}/embed/{entry}/part-*.parquet")
    return dict(zip(table["id"], table["embedding"].to_list(), strict=True))


def exported(run="run"):
    return set(pl.read_parquet(f"{run}/export/current/data/*.parquet")["id"])


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_after_every_file_was_rewritten_only_new_and_changed_rows_are_embedded(written, nightly, precision):
    embed = {"use": "hashing", "dimensions": 32, "precision": precision}
    lines = [line(number) for number in range(300)]
    written(lines)
    curate.run(nightly(embed=embed))
    assert encoded() == 300

    tonight = [line(number, edition=1) for number in range(3)]  # 1 % changed
    tonight += [line(number) for number in range(6, 300)]  # and 1 % gone
    tonight += [line(number) for number in range(1000, 1003)]  # and 1 % new
    random.Random(0).shuffle(tonight)
    written(tonight)
    curate.run(nightly(embed=embed))
    assert encoded() == 6
    assert not Path("run/embed/hashing/reused").exists()

    curate.run(nightly(embed=embed, run="anew"))
    assert vectors("run", "hashing") == vectors("anew", "hashing")


def test_rows_added_at_the_end_leave_the_shards_before_them_as_they_are(written, nightly):
    lines = [line(number) for number in range(96)]
    Path("pool").joinpath("a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    settings = {"files": "pool/*.jsonl", "id": "id", "text": "text", "rows_per_shard": 32}
    curate.run(nightly(input=settings))
    stages = ("embed/hashing", "cluster", "score/prototypicality")
    before = [Path(f"run/{stage}/part-00001.parquet").stat().st_mtime_ns for stage in stages]
    with Path("pool/a.jsonl").open("a") as file:
        file.write(json.dumps(line(500)) + "\n")
    curate.run(nightly(input=settings))
    assert encoded() == 1
    assert [Path(f"run/{stage}/part-00001.parquet").stat().st_mtime_ns for stage in stages] == before


def test_a_text_that_comes_back_elsewhere_under_another_id_is_recognised(written, nightly):
    written([line(number) for number in range(90)])
    curate.run(nightly())
    written([line(number) | {"id": f"new{number}"} for number in range(90)])
    curate.run(nightly())
    assert encoded() == 0
    assert exported() <= {f"new{number}" for number in range(90)}


def test_vectors_of_another_model_are_never_reused(written, nightly):
    written([line(number) for number in range(90)])
    curate.run(nightly())
    written([line(number) for number in range(1, 91)])
    curate.run(nightly(embed={"use": "hashing", "dimensions": 16, "name": "hashing"}))
    assert encoded() == 90


@pytest.mark.parametrize("moment", ["_copy_needed", "_embed_shard"])
def test_a_refresh_that_was_cut_short_goes_on_and_gives_the_same_bytes(written, nightly, monkeypatch, moment):
    def night(run, *, broken=False):
        written([line(number) for number in range(200)])
        curate.run(nightly(run=run))
        written([line(number) for number in range(10, 210)])
        if broken:
            from curate.stages import content_reuse
            from curate.stages.embed import stage

            module = content_reuse if moment == "_copy_needed" else stage
            whole, calls = getattr(module, moment), []

            def dies(task):
                calls.append(task)
                if len(calls) == 3:
                    raise DataError("cut short")
                return whole(task)

            with monkeypatch.context() as patched, pytest.raises(DataError, match="cut short"):
                patched.setattr(module, moment, dies)
                curate.run(nightly(run=run))
        return curate.run(nightly(run=run))

    night("whole")
    night("cut", broken=True)
    assert encoded("cut") <= 10
    assert vectors("cut", "hashing") == vectors("whole", "hashing")
    assert exported("cut") == exported("whole")


def test_an_old_shard_that_is_damaged_is_embedded_again(written, nightly):
    written([line(number) for number in range(96)])
    curate.run(nightly())
    shard = Path("run/embed/hashing/part-00001.parquet")
    content = bytearray(shard.read_bytes())
    content[4:2000] = bytes(1996)
    shard.write_bytes(content)
    written([line(number) for number in range(1, 97)])
    curate.run(nightly())
    curate.run(nightly(run="anew"))
    assert vectors("run", "hashing") == vectors("anew", "hashing")


# ---------------------------------------------------------------- what was learnt


def centroids(run="run"):
    return Path(run, "cluster", "centroids.parquet").read_bytes()


@pytest.mark.parametrize(("refit", "same"), [("never", True), ("always", False)])
def test_fits_are_frozen_until_told_otherwise(written, nightly, refit, same):
    settings = {"embed": {"use": "lsa", "dimensions": 16}, "refresh": {"refit": refit}}
    written([line(number) for number in range(200)])
    curate.run(nightly(**settings))
    before, fitted = centroids(), Path("run/embed/lsa/fitted.npz").read_bytes()
    written([line(number) for number in range(5, 205)])
    curate.run(nightly(**settings))
    assert (centroids() == before) is same
    assert (Path("run/embed/lsa/fitted.npz").read_bytes() == fitted) is same
    assert encoded(entry="lsa") == (5 if same else 200)
    assert curate.run(nightly(**settings)).unchanged


def test_a_fit_anew_gives_the_bytes_of_a_new_run(written, nightly):
    settings = {"embed": {"use": "lsa", "dimensions": 16}, "refresh": {"refit": "always"}}
    written([line(number) for number in range(200)])
    curate.run(nightly(**settings))
    written([line(number) for number in range(5, 205)])
    refreshed = curate.run(nightly(**settings))
    anew = curate.run(nightly(**settings, run="anew"))
    assert refreshed.version.name == anew.version.name


@pytest.mark.parametrize(
    ("embed", "what"),
    [
        ({"use": "lsa", "dimensions": 8}, "embed/lsa"),
        ({"use": "hashing", "dimensions": 64}, "cluster"),
    ],
)
def test_drift_is_measured_told_and_where_asked_for_answered(written, nightly, embed, what):
    def drift(run):
        kind = EmbedResult if what.startswith("embed") else ClusterResult
        return manifest.load(Path(run, what), kind).result.drift

    written([line(number) for number in range(200)])
    for run in ("never", "drift"):
        curate.run(nightly(run=run, embed=embed))
    written([line(number) for number in range(100)] + [line(number, topic=4) for number in range(1000, 1100)])

    told = curate.run(nightly(run="never", embed=embed)).warnings
    assert any(what.partition("/")[0] in warning and f"{drift('never'):.2%} less" in warning for warning in told)
    assert drift("never") > 0.05
    assert curate.run(nightly(run="never", embed=embed)).warnings == told  # as long as it is so

    answering = nightly(run="drift", embed=embed, refresh={"refit": "drift"})
    assert curate.run(answering).warnings == ()
    assert drift("drift") == 0
    assert curate.run(answering).unchanged
    assert centroids("drift") != centroids("never")


def test_a_fit_of_another_recipe_is_made_anew(written, nightly):
    written([line(number) for number in range(100)])
    curate.run(nightly(embed={"use": "lsa", "dimensions": 16}))
    changed = plan(config_from_dict(nightly(embed={"use": "lsa", "dimensions": 8})), Serial())[1]
    assert "params.dimensions: 16 is now 8" in changed.reason


# ---------------------------------------------------------------- the anchor


def test_the_published_rows_are_an_anchor(written, nightly):
    select = [{"use": "uniform", "keep": 60}]
    written([line(number) for number in range(300)])
    for run in ("loose", "half", "fast"):
        curate.run(nightly(run=run, select=select))
    before = exported("loose")
    written([line(number) for number in range(30, 330)])
    there = before & {f"r{number}" for number in range(30, 330)}
    for run, weight in (("loose", 0.0), ("half", 0.5), ("fast", 1.0)):
        settings = nightly(run=run, select=select, refresh={"keep_previous_weight": weight})
        curate.run(settings)
        after = exported(run)
        assert len(after) == 60
        assert len(there - after) <= (1 - weight) * len(there)
        assert curate.run(settings).unchanged  # the anchor is what was published before, not what is now
        assert exported(run) == after
    assert there <= exported("fast")
    assert len(there - exported("loose")) > 0.5 * len(there)
    held = pl.read_parquet("half/select/part-*.parquet").filter(
        pl.col("reason").str.contains("displaced by a published row")
    )
    assert len(held) > 0


@pytest.mark.parametrize(
    "entry",
    [
        {"use": "facility_location", "prune_rate": 0.7, "within": "cluster", "quota": "balanced"},
        {"use": "k_center", "keep_tokens": 400},
        {"use": "ccs", "keep": 33, "by": "prototypicality"},
    ],
)
def test_an_anchor_holds_under_every_kind_of_budget(written, nightly, entry):
    written([line(number) for number in range(200)])
    curate.run(nightly(select=[entry]))
    before = exported()
    written([line(number) for number in range(10, 210)])
    summary = curate.run(nightly(select=[entry], refresh={"keep_previous_weight": 1.0}))
    there = before & {f"r{number}" for number in range(10, 210)}
    tokens = manifest.load(Path("run/select"), SelectResult).result.tokens_kept
    if "keep_tokens" in entry:
        assert tokens <= 400
    elif "within" not in entry:  # a group that has shrunk must let rows go
        assert there <= exported()
    assert summary.kept == {"facility_location": 60, "ccs": 33}.get(entry["use"], summary.kept)


def test_the_report_tells_what_was_taken_over_and_what_changed(written, nightly):
    from curate.pipeline import report

    settings = nightly(embed={"use": "lsa", "dimensions": 16})
    written([line(number) for number in range(200)])
    curate.run(settings)
    written([line(number) for number in range(20, 220)])
    curate.run(settings)
    page, told = report(config_from_dict(settings))
    embedded = next(stage for stage in told["stages"] if stage["name"].startswith("embed"))
    assert embedded["refreshed"].startswith("20 rows embedded, the vectors of the others reused")
    assert told["change"]["added"] == told["change"]["removed"] > 0
    assert "Compared with the previous version (" in page.read_text()


def test_a_manifest_of_the_release_before_is_read(written, nightly):
    """It had no checksum, no seals, and no ``revision`` for an embedder without one: no row is embedded again."""
    written([line(number) for number in range(60)])
    curate.run(nightly())
    path = Path("run/embed/hashing/manifest.json")
    data = json.loads(path.read_text())
    del data["facts"]["revision"], data["checksum"], data["seals"]
    path.write_text(json.dumps(data))
    assert curate.run(nightly()).unchanged
    assert json.loads(path.read_text()) == data


def test_published_rows_are_sketched_again_when_their_embeddings_were_fitted_again(command, pool, config):
    settings = config(
        embed={"use": "lsa", "dimensions": 4},
        select=[
            {"use": "semdedup", "against": "published", "min_similarity": 0.9999},
            {"use": "uniform", "keep_rate": 0.9},
        ],
        refresh={"refit": "always"},
    )
    words = ("amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "iris", "jade", "kelp")
    rows = [{"id": f"r{40 + n:04d}", "text": f"{word} {word[::-1]} {n}", "topic": "t0"} for n, word in enumerate(words)]
    (pool / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = curate.run(settings)
    published = pq.read_table(first.version / "data")["id"].to_pylist()
    lines = (pool / "a.jsonl").read_text().splitlines()
    copy = next(json.loads(line) for line in lines if json.loads(line)["id"] in published) | {"id": "copy"}
    more = [json.dumps({"id": f"n{number}", "text": f"quartz zebra {number}", "topic": "t0"}) for number in range(9)]
    (pool / "b.jsonl").write_text("\n".join([*more, json.dumps(copy)]) + "\n")  # the rows of before are no longer there
    Path("config.yaml").write_text(json.dumps(settings))
    done = command("run", "config.yaml", "--log-format", "plain")
    gone = sum(name >= "r0040" for name in published)
    assert done.returncode == 0, done.stderr
    assert gone
    assert f"{gone} published rows that are no longer in the pool are not compared" in done.stderr
    fate = [row for path in Path("run/select").glob("part-*") for row in pq.read_table(path).to_pylist()]
    assert next(row["dropped_by"] for row in fate if row["id"] == "copy") == "semdedup"
    assert curate.run(settings).unchanged
