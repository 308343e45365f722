"""Pools of images: every usable image is a row, every other one is quarantined with its file, row and reason."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, CurateError, DataError
from curate.stages.ingest import image_catalog
from curate.store import image_files
from curate.store.inputs import Inputs
from tests.encoded_images import needs_pillow, picture

pytestmark = needs_pillow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_map: None) -> Path:
    """A current folder with twelve images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool" / "img").mkdir(parents=True)
    for number in range(12):
        (tmp_path / "pool" / "img" / f"{number}.png").write_bytes(picture(number))
    return tmp_path


def listed(*names: Any, file: str = "pool/list.jsonl") -> None:
    rows = [name if isinstance(name, dict) else {"image": name} for name in names]
    Path(file).write_text("".join(json.dumps(row) + "\n" for row in rows))


ALL = [f"img/{number}.png" for number in range(12)]


def config(*, run: str = "run", select: Any = ({"use": "uniform", "keep_rate": 1.0},), **pool: Any) -> dict[str, Any]:
    section = {"files": "pool/list.jsonl", "image": "image", **pool}
    return {
        "curate": 1,
        "run": run,
        "input": section,
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "guard": {"max_quarantine_rate": 1.0},
        "select": list(select),
    }


def reasons(run: str = "run") -> dict[int, str]:
    tables = [pq.read_table(path) for path in sorted(Path(run, "input", "quarantine").glob("*.parquet"))]
    return {row["line"]: row["reason"] for table in tables for row in table.to_pylist()}


def embedded(capsys: pytest.CaptureFixture[str], **sections: Any) -> tuple[Any, int]:
    """Run, and return the summary and the number of images that were embedded."""
    summary = curate.run({**config(), **sections})
    (record,) = [one for one in summary.records if one.stage == "embed"]
    return summary, record.result.encoded


# ---------------------------------------------------------------- what is not an image


BAD_FILES = {
    "text.png": (b"hello", "in none of the formats"),
    "empty.png": (b"", "is empty"),
    "cut.png": (picture(0)[:-40], "is corrupt: image file is truncated"),
}
BAD_NAMES = {
    "missing.png": "does not exist",
    "img": "is a folder",
    "../outside.png": "leads out of the folder",
    "/etc/hostname": "leads out of the folder",
    "img/../../outside.png": "leads out of the folder",
    "http://host/a.png": "is a URL",
    "s3://bucket/a.png": "is a URL",
    "file:///etc/hostname": "is a URL",
    "data:image/png;base64,AAAA": "is a data URI",
    "a\0b.png": "contains a null character",
    "": "has no path",
    "x" * 5000: "cannot be read: File name too long",
    "pipe.png": "is not a regular file",
    "out.png": "is a link that leads out of the folder",
    "broken.png": "does not exist",
    "loop.png": "cannot be read",
}


def test_each_bad_image_is_quarantined_with_its_row_and_its_reason(folder):
    (folder / "outside.png").write_bytes(picture(50))
    for name, (data, _) in BAD_FILES.items():
        (folder / "pool" / name).write_bytes(data)
    os.mkfifo(folder / "pool" / "pipe.png")
    for name, target in (("out.png", "../outside.png"), ("broken.png", "nowhere"), ("loop.png", "loop.png")):
        (folder / "pool" / name).symlink_to(target)
    bad = [*BAD_FILES, *BAD_NAMES, None, {}]
    expected = [reason for _, reason in BAD_FILES.values()] + [*BAD_NAMES.values(), "has no image", "has no image"]
    listed(*ALL, *bad)
    summary = curate.run(config())
    found = reasons()
    assert (summary.rows_in, summary.kept) == (12 + len(bad), 12)
    assert list(found) == list(range(13, 13 + len(bad)))
    wrong = {
        name: found[line]
        for line, (name, text) in enumerate(zip(map(str, bad), expected, strict=True), 13)
        if text not in found[line]
    }
    assert not wrong
    again = curate.run(config())
    assert again.version == summary.version


def test_a_bomb_is_quarantined(folder):
    data = picture(0)
    header = b"IHDR" + struct.pack(">II", 50_000, 50_000) + data[24:29]
    bomb = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    (folder / "pool" / "bomb.png").write_bytes(bomb)
    listed(*ALL, "bomb.png")
    assert curate.run(config()).kept == 12
    assert "more than 89,478,485 pixels" in reasons()[13]


def test_usual_and_unusual_names_are_found(folder):
    names = ["img/ü b%20#?.png", "img/東京.png", "img/a:b.png", "img/.hidden.png", "inside.png", "img/../img/3.png"]
    for name in names[:4]:
        (folder / "pool" / name).write_bytes(picture(60))
    (folder / "pool" / "inside.png").symlink_to("img/4.png")
    listed(*names, str(folder / "pool" / "img" / "5.png"))
    assert curate.run(config()).kept == 7


def test_images_may_be_in_a_linked_folder_that_is_within_the_folder_of_images(folder):
    (folder / "linked").symlink_to("pool")
    listed(*ALL)
    assert curate.run(config(files="linked/list.jsonl")).kept == 12


def test_paths_are_relative_to_the_image_folder(folder):
    listed("0.png", "1.png", "../list.jsonl", file="list.jsonl")
    assert curate.run(config(files="list.jsonl", image_folder="pool/img")).kept == 2
    assert "leads out of the folder" in reasons()[3]
    with pytest.raises(CurateError, match="there is no such folder"):
        curate.run(config(files="list.jsonl", image_folder="pool/none"))


def test_each_file_names_images_in_its_own_folder(folder):
    (folder / "pool" / "other").mkdir()
    (folder / "pool" / "other" / "0.png").write_bytes(picture(70))
    listed("0.png", file="pool/img/list.jsonl")
    listed("0.png", file="pool/other/list.jsonl")
    assert curate.run(config(files="pool/*/list.jsonl")).kept == 2


@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_names_images(folder, name):
    import polars as pl

    frame = pl.DataFrame({"image": [*ALL, "none.png"], "n": range(13)})
    path = folder / "pool" / f"list.{name}"
    if name == "parquet":
        frame.write_parquet(path)
    elif name == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="," if name == "csv" else "\t")
    assert curate.run(config(files=str(path))).kept == 12


def test_standard_input_names_images_in_the_current_folder(folder, tmp_path):
    rows = "".join(json.dumps({"image": f"pool/img/{number}.png"}) + "\n" for number in range(4))
    Path("a.json").write_text(json.dumps(config(files="-")))
    command = [sys.executable, "-m", "curate", "run", "a.json", "--executor", "serial"]
    done = subprocess.run(command, check=False, input=rows, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(pq.read_table("run/input/part-00000.parquet")) == 4


def test_a_column_of_chats_and_images_is_read(folder):
    chat = [{"role": "user", "content": "What is it?"}]
    listed(*({"image": name, "text": chat} for name in ALL))
    assert curate.run({**config(text="text"), "embed": {"use": "image_features"}}).kept == 12


# ---------------------------------------------------------------- bytes, and objects of bytes and paths

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_bytes_are_images(folder):
    values = [picture(1), b"", None, b"text", picture(2)[:50], picture(3)]
    for kind in (pa.binary(), pa.large_binary()):
        pq.write_table(pa.table({"image": pa.array(values, kind)}), "pool/list.parquet")
        assert curate.run(config(files="pool/list.parquet")).kept == 2
        assert list(reasons()) == [2, 3, 4, 5]


def test_objects_have_bytes_or_a_path(folder):
    values = [
        {"bytes": picture(1), "path": "nowhere.png"},
        {"bytes": None, "path": "img/2.png"},
        {"bytes": None, "path": "../outside.png"},
        {"bytes": None, "path": None},
        {"bytes": b"", "path": "img/3.png"},
        None,
    ]
    pq.write_table(pa.table({"image": pa.array(values, STRUCT)}), "pool/list.parquet")
    assert curate.run(config(files="pool/list.parquet")).kept == 2
    assert list(reasons()) == [3, 4, 5, 6]
    listed({"image": {"path": "img/1.png"}}, {"image": {"path": "img/2.png"}}, {"image": {"path": "no.png"}})
    assert curate.run(config(run="other")).kept == 2


@pytest.mark.parametrize("values", [[1, 2], [["img/0.png"]], [{"url": "x"}]])
def test_other_types_are_an_error(folder, values):
    pq.write_table(pa.table({"image": values}), "pool/list.parquet")
    with pytest.raises(DataError, match=r"input.image: column 'image' is .*use a column of paths"):
        curate.run(config(files="pool/list.parquet"))


def test_a_missing_column_is_an_error(folder):
    listed(*ALL)
    with pytest.raises(CurateError, match=r"imge.*did you mean 'image'"):
        curate.run(config(image="imge"))


def test_bytes_and_files_have_the_same_hashes_and_ids(folder):
    listed(*ALL)
    pq.write_table(pa.table({"image": [picture(number) for number in range(12)]}), "pool/list.parquet")
    ids = []
    for name in ("jsonl", "parquet"):
        curate.run(config(run=name, files=f"pool/list.{name}"))
        ids.append(pq.read_table(f"{name}/input/part-00000.parquet")["_curate_id"].to_pylist())
    assert ids[0] == ids[1]


# ---------------------------------------------------------------- with a text


def test_a_row_with_a_text_needs_both(folder):
    listed(
        {"image": "img/0.png", "text": "a"},
        {"image": "img/1.png", "text": " "},
        {"image": "none.png", "text": "b"},
        {"text": "c"},
        {"image": "img/0.png", "text": "A"},
        {"image": "img/0.png", "text": "a"},
    )
    base = {**config(text="text"), "embed": {"use": "image_features"}}
    assert curate.run(base).kept == 3
    assert {line: reason.partition(" (")[0] for line, reason in reasons().items()} == {
        2: "has no text",
        3: "its image does not exist",
        4: "has no image",
    }
    for fields, kept in (({}, 2), ({"normalize": ["case"]}, 1)):
        assert curate.run({**base, "select": [{"use": "exact_duplicates", **fields}]}).kept == kept
    listed({"image": "img/0.png", "text": "a"}, {"image": "img/1.png", "text": "A"})
    assert curate.run({**base, "select": [{"use": "exact_duplicates", "normalize": ["case"]}]}).kept == 2


NO_TEXTS = "and the input has none; set input.text"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"embed": {"use": "lsa"}}, r"embed.use: the embedder 'lsa' reads texts, .*embed: \{use: image_features\}"),
        ({"score": [{"use": "length"}]}, f"score.0.use: the scorer 'length' reads texts, {NO_TEXTS}"),
        ({"select": [{"use": "minhash"}]}, f"select.0.use: the selector 'minhash' reads texts, {NO_TEXTS}"),
        ({"metrics": [{"use": "ngram_perplexity"}]}, f"the metric 'ngram_perplexity' reads texts, {NO_TEXTS}"),
        ({"decontaminate": {"files": "x.jsonl"}}, "decontaminate: texts are compared with evaluation sets"),
        ({"embed": {"use": "sentence_transformers", "model": "m"}}, "set modality: image"),
        ({"export": {"use": "parquet", "mask_pii": ["email"]}}, "export.mask_pii: the input has no texts"),
        ({"export": {"use": "parquet", "remove_repeated_spans": 9}}, "remove_repeated_spans: the input has no texts"),
        ({"select": [{"use": "uniform", "keep_tokens": 9}]}, "keep_tokens: images have no tokens"),
        ({"input": {"files": "a.jsonl"}}, "input.text: missing"),
        ({"input": {"files": "a.jsonl", "text": "t", "image_folder": "f"}}, "image_folder: there are no images"),
        ({"input": {"files": "a", "text": "t"}, "embed": {"use": "image_features"}}, "reads images, and the input"),
        ({"input": {"files": "a", "text": "t"}, "export": {"use": "parquet", "image": "bytes"}}, "no images"),
    ],
)
def test_what_the_input_does_not_have_is_an_error_of_the_configuration(sections, message):
    with pytest.raises(ConfigErrors, match=message):
        config_from_dict({**config(), **sections})


def test_images_alone_are_embedded_by_their_features_and_the_configuration_is_read_back():
    loaded = config_from_dict(config())
    assert loaded.embed[0].spec.name == "image_features"
    assert config_from_dict(dict(loaded.resolved)) == loaded
    assert config_from_dict(config(text="t")).embed[0].spec.name == "lsa"


# ---------------------------------------------------------------- later runs


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the paths of images are added that the catalog reads."""
    names: list[str] = []
    read = image_catalog._read_facts

    def counted(name: str) -> dict[str, object]:
        names.append(Path(name).name)
        return read(name)

    monkeypatch.setattr(image_catalog, "_read_facts", counted)
    return names


def test_a_second_run_reads_no_image_and_a_later_one_only_those_that_changed(folder, capsys, monkeypatch):
    listed(*ALL, "gone.png")
    first, _ = embedded(capsys)
    read = count_reads(monkeypatch)
    monkeypatch.setattr(image_files, "read_image", lambda name: pytest.fail(f"{name} was read"))
    assert embedded(capsys)[0].version == first.version
    assert not read
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    read = count_reads(monkeypatch)
    (folder / "pool" / "img" / "3.png").write_bytes(picture(80))
    changed, encoded = embedded(capsys)
    assert (sorted(read), encoded) == (["3.png"], 1)
    assert changed.version != first.version
    read.clear()
    os.utime(folder / "pool" / "img" / "5.png", (1, 1))
    touched, _ = embedded(capsys)
    assert (read, touched.version) == (["5.png"], changed.version)
    read.clear()
    (folder / "pool" / "gone.png").write_bytes(picture(81))
    (folder / "pool" / "img" / "0.png").unlink()
    assert embedded(capsys)[1] == 1
    assert sorted(read) == ["0.png", "gone.png"]
    assert list(reasons()) == [1]


def test_a_longer_list_reads_only_the_new_images(folder, capsys, monkeypatch):
    listed(*ALL[:10])
    embedded(capsys)
    read = count_reads(monkeypatch)
    listed(*reversed(ALL))
    assert embedded(capsys)[1] == 2
    assert sorted(read) == ["10.png", "11.png"]


def test_verify_reads_every_image_again(folder, capsys, monkeypatch):
    listed(*ALL)
    first, _ = embedded(capsys)
    read = count_reads(monkeypatch)
    assert curate.run(config(), verify=True).version == first.version
    assert len(read) == 12


def test_a_damaged_catalog_is_made_again(folder, capsys):
    listed(*ALL)
    first, _ = embedded(capsys)
    part = Path("run/input/images/part-00000.parquet")
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 255
    part.write_bytes(bytes(content))
    assert embedded(capsys)[0].version == first.version
    assert pq.read_table(part).num_rows == 12


def test_an_image_that_changes_during_a_run_stops_it_and_the_next_run_reads_it_again(folder, capsys, monkeypatch):
    listed(*ALL)
    read = Inputs.read_images

    def change_first(source, shard):
        (folder / "pool" / "img" / "7.png").write_bytes(picture(90))
        return read(source, shard)

    with monkeypatch.context() as patch:
        patch.setattr(Inputs, "read_images", change_first)
        with pytest.raises(DataError, match=r"7\.png: the image changed since the input was read"):
            curate.run(config())
    assert not Path("run/export").exists()
    assert embedded(capsys)[0].kept == 12
    (folder / "pool" / "img" / "7.png").unlink()
    images = Inputs(Path("run/input"), json.loads(Path("run/input/manifest.json").read_text())["fingerprint"])
    with pytest.raises(DataError, match=r"7\.png: the image cannot be read any more: its image does not exist"):
        images.read_images(0)[7]


def test_a_killed_catalog_is_continued(folder, capsys, monkeypatch):
    listed(*ALL)
    listed(*ALL[:3], file="pool/more.jsonl")
    many = config(files=["pool/list.jsonl", "pool/more.jsonl"], rows_per_shard=1)
    survey, done = image_catalog._survey, []

    def killed(task):
        if done:
            raise KeyboardInterrupt
        survey(task)
        done.append(task.number)

    with monkeypatch.context() as patch:
        patch.setattr(image_catalog, "_survey", killed)
        with pytest.raises(KeyboardInterrupt):
            curate.run(many)
    read = count_reads(monkeypatch)
    interrupted = curate.run(many)
    assert 0 < len(set(read)) < 12
    assert not Path("run/input/images/.incoming").exists()
    assert curate.run({**many, "run": "other"}).version.name == interrupted.version.name


def test_a_plan_reads_no_image(folder, monkeypatch, command):
    import yaml

    listed(*ALL)
    Path("a.yaml").write_text(yaml.safe_dump(config()))
    read = count_reads(monkeypatch)
    assert command("plan", "a.yaml").returncode == 0
    assert not read
    assert command("run", "a.yaml").returncode == 0
    assert "fresh" in command("plan", "a.yaml").stdout
    (folder / "pool" / "img" / "3.png").write_bytes(picture(80))
    read.clear()
    assert "stale" in command("plan", "a.yaml").stdout
    assert not read


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes(folder):
    for number in range(12, 60):
        (folder / "pool" / "img" / f"{number}.png").write_bytes(picture(number % 40))
    listed(*(f"img/{number}.png" for number in range(60)), "none.png")
    select = [{"use": "exact_duplicates"}, {"use": "perceptual_hash"}, {"use": "k_center", "keep": 10}]
    found = []
    for workers in (1, 4):
        data = {**config(run=f"run{workers}", rows_per_shard=7, select=select), "score": [{"use": "image_sharpness"}]}
        summary = curate.run(data, executor="processes" if workers > 1 else "serial", workers=workers)
        shards = sorted(Path(summary.run).glob("*/**/part-*.parquet"))
        found.append({str(path.relative_to(summary.run)): path.read_bytes() for path in shards})
    assert found[0] == found[1]


# ---------------------------------------------------------------- what comes out


def test_paths_are_exported_as_they_are_and_images_as_bytes_on_request(folder):
    import datasets

    listed(*ALL)
    exported = Path(curate.run(config()).version)
    assert pq.read_table(exported / "data")["image"].to_pylist() == ALL
    data = {**config(), "export": {"use": "parquet", "image": "bytes", "add": ["id"]}}
    exported = Path(curate.run(data).version)
    values = pq.read_table(exported / "data")["image"].to_pylist()
    assert values[3] == {"bytes": picture(3), "path": "3.png"}
    loaded = datasets.load_dataset(str(exported), split="train", cache_dir="cache")
    assert isinstance(loaded.features["image"], datasets.Image)
    assert [image.size for image in loaded["image"]] == [image_size(number) for number in range(12)]
    (folder / "pool" / "img" / "3.png").write_bytes(picture(80))
    assert pq.read_table(Path(curate.run(data).version) / "data")["image"][3].as_py()["bytes"] == picture(80)


def image_size(number: int) -> tuple[int, int]:
    return tuple(int.from_bytes(picture(number)[start : start + 4]) for start in (16, 20))


def test_bytes_of_the_input_are_images_for_the_datasets_library(folder):
    import datasets

    pq.write_table(pa.table({"image": [picture(number) for number in range(12)]}), "pool/list.parquet")
    exported = Path(curate.run(config(files="pool/list.parquet")).version)
    loaded = datasets.load_dataset(str(exported), split="train", cache_dir="cache")
    assert [image.size for image in loaded["image"]] == [image_size(number) for number in range(12)]


def test_what_was_exported_is_an_input(folder):
    listed(*ALL)
    exported = Path(curate.run({**config(), "export": {"use": "parquet", "image": "bytes"}}).version)
    again = curate.run(config(run="again", files=f"{exported}/data/*.parquet"))
    assert again.kept == 12
    ids = [pq.read_table(f"{run}/input/part-00000.parquet")["_curate_id"].to_pylist() for run in ("run", "again")]
    assert ids[0] == ids[1]


def test_the_report_shows_images_and_explain_names_them(folder, command):
    listed(*ALL, *ALL[:2])
    select = [{"use": "exact_duplicates"}, {"use": "uniform", "keep": 5}]
    summary = curate.run(config(select=select))
    page = summary.report.read_text()
    assert page.count("background-image: url(data:image/jpeg;base64,") >= 5 + 2 * 2
    assert "pool/img/" in page
    assert len(page) < 2_000_000
    identity = pq.read_table("run/input/part-00000.parquet")["_curate_id"][0].as_py()
    width, height = image_size(0)
    assert f"pool/img/0.png, {width} × {height} pixels" in command("explain", "run", identity).stdout
    shown = json.loads(command("explain", "run", identity, "--json").stdout)
    assert shown["image"] == {"path": "pool/img/0.png", "width": width, "height": height}


@pytest.mark.slow
def test_evaluation_leaves_out_metrics_of_texts(folder, command):
    listed(*({"image": name, "y": f"c{number % 2}"} for number, name in enumerate(ALL)))
    import yaml

    data = config(label="y", select=[{"use": "uniform", "keep": 6}])
    Path("a.yaml").write_text(yaml.safe_dump({**data, "evaluate": {"seeds": 2}}))
    assert command("run", "a.yaml").returncode == 0
    done = command("evaluate", "run")
    assert done.returncode == 0, done.stderr
    assert "logistic_probe" in done.stdout
    assert "ngram_perplexity" not in done.stdout


def test_without_pillow_the_error_names_the_extra(folder, monkeypatch):
    import builtins

    from curate.kernels.images import codec

    listed(*ALL)
    importing = builtins.__import__

    def refuse(name, *arguments):
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return importing(name, *arguments)

    codec._import_pillow.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(CurateError, match=r"'pillow', which is not installed.*\[images\]"):
        curate.run(config())
    codec._import_pillow.cache_clear()


def test_hashes_of_images_are_in_the_container_of_plugins(folder):
    listed(*ALL)
    curate.run(config())
    source = Inputs(Path("run/input"), json.loads(Path("run/input/manifest.json").read_text())["fingerprint"])
    images = source.read_images(0)
    assert images.hashes[4].tobytes() == image_files.hash_image(picture(4))
    assert images.take(np.array([7, 2]))[1] == picture(2)
    assert images.shapes[4].tolist() == list(image_size(4))


def test_no_copy_of_an_image_crosses_splits(folder):
    from PIL import Image

    for number in range(12):
        image = Image.open(folder / "pool" / "img" / f"{number}.png")
        image.resize((image.width * 4, image.height * 4), Image.Resampling.NEAREST).save(
            folder / "pool" / "img" / f"{number}-large.png"
        )
    listed(*(f"img/{number}{suffix}.png" for suffix in ("", "-large") for number in range(12)))
    summary = curate.run({**config(), "split": {"shares": {"train": 0.5, "test": 0.5}}})
    splits = pq.read_table("run/split/part-00000.parquet")["split"].to_pylist()
    assert summary.kept == 24
    assert {"train", "test"} == set(splits)
    assert splits[:12] == splits[12:]


def test_the_api_names_what_only_a_run_can_read():
    with pytest.raises(CurateError, match="images: missing; the selector 'perceptual_hash' reads"):
        curate.select(np.eye(3), selector="perceptual_hash")
