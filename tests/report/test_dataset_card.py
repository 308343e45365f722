import json
import re
from dataclasses import replace

import pytest
import yaml

from curate.accounting import Count
from curate.report.dataset_card import Export, card
from curate.report.report_data import Report, Stage, Tokens
from curate.report.summary import summary

EVIL = "---\nlicense: mit\n---\n| a | b |\n<script>alert(1)</script> `code` ```` fence [x](http://y) \"': {x}"


def front(text: str) -> dict:
    """Parse the front matter as hubs do: up to the next rule."""
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL).group(1))


def small(**parts: object) -> Report:
    stages = (Stage(name="select where", description="Filter.", rows=Count(9, 5, 3, 1), seconds=1.5, peak_bytes=7),)
    return Report(**{"run": "r", "seed": 0, "version": "1", "stages": stages, **parts})


def test_front_matter_contains_only_the_fields_that_a_hub_needs(rich: Report) -> None:
    assert front(card(rich, Export(suffix=".parquet"))) == {
        "pretty_name": "runs/autumn",
        "size_categories": ["1K<n<10K"],
        "tags": ["curate", "data-selection"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
    }


def test_the_front_matter_of_a_plan_lists_its_epochs_in_order_and_counts_their_rows() -> None:
    matter = front(card(small(epochs=(600, 600)), Export(suffix=".jsonl", folder="data/epoch=000")))
    assert matter["configs"][0]["data_files"] == [{"split": "train", "path": "data/epoch=*/train-*.jsonl"}]
    assert matter["size_categories"] == ["1K<n<10K"]


def test_the_card_contains_counts_sources_evidence_tokens_and_configuration(rich: Report) -> None:
    text = card(rich, Export(suffix=".parquet", columns=(("id", "string"),)))
    assert "1,200 of 6,012 rows kept." in text
    assert "The kept rows contain about 277.2 k of the 1.3 M tokens of the pool (estimated from the text)." in text
    assert re.search(r"\| total \| 6,012 \| 1,200 \| 4,800 \| 12 \|", text)
    assert re.search(r"\| forum-archive \| 2,774 \|", text)
    assert re.search(r"\| Rows with a near-duplicate \| [\d.]+ % \|", text)
    assert "| id | string |" in text
    assert "```yaml\ncurate: 1\n" in text
    assert "curate run configs/autumn.yaml" in text


def test_counted_tokens_are_not_called_estimates() -> None:
    tokens = Tokens(2_000, 1_000, "column n_tokens", estimated=False)
    text = card(small(tokens=tokens), Export(suffix=".parquet"))
    assert "The kept rows contain 1 k of the 2 k tokens of the pool (column n\\_tokens)." in text


def test_the_card_does_not_depend_on_time_or_memory() -> None:
    report = small()
    other = replace(report, stages=tuple(replace(s, seconds=99.0, peak_bytes=10**9) for s in report.stages))
    assert card(report, Export(suffix=".parquet")) == card(other, Export(suffix=".parquet"))


def test_hostile_texts_stay_texts() -> None:
    """No text begins a tag, a heading, a rule or another front matter."""
    stage = Stage(name=EVIL, description=EVIL, rows=Count(2, 1, 1), sources={EVIL: Count(2, 1, 1)})
    report = small(run=EVIL, version=EVIL, stages=(stage,), tokens=Tokens(2, 1, EVIL, estimated=True))
    text = card(report, Export(suffix=".parquet", columns=((EVIL, EVIL),)))
    matter, body = front(text), re.split(r"^---$", text, maxsplit=2, flags=re.MULTILINE)[2]
    assert matter["pretty_name"] == " ".join(EVIL.split())
    assert "license" not in matter
    assert "<" not in body
    assert not re.search(r"^---$", body, re.MULTILINE)
    rows = [re.sub(r"\\.", "", line) for line in body.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {3, 6, 7}, "escaped pipes end no cell"


def test_a_fence_in_the_configuration_does_not_end_the_block() -> None:
    text = card(small(config="a: |\n  ```\n  # not a heading\n"), Export(suffix=".parquet"))
    assert "````yaml\na: |\n  ```\n  # not a heading\n````\n" in text


def test_sources_beyond_the_listed_ones_are_summed_not_lost() -> None:
    accounts = {f"s{i:02}": Count(10, 5, 5) for i in range(30)}
    report = small(stages=(Stage(name="input", description="", rows=Count(300, 150, 150), sources=accounts),))
    assert "| 10 other sources | 100 | 50 | 50 | – | 50 % |" in card(report, Export(suffix=".parquet"))


def test_an_unknown_format_gets_no_loading_instructions() -> None:
    assert "load_dataset" not in card(small(), Export(suffix=".tfrecord"))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_directory_with_the_card_loads_as_the_card_describes(suffix: str, tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    if suffix.endswith(".zst"):
        pytest.importorskip("zstandard")
    import polars as pl
    import pyarrow as pa

    from curate.plugins.exporters.jsonl import SUFFIXES, Jsonl
    from curate.plugins.exporters.parquet import Parquet

    compression = {ending: name for name, ending in SUFFIXES.items()}
    exporter = Parquet() if suffix == ".parquet" else Jsonl(compression=compression[suffix])
    (tmp_path / "data").mkdir()
    for part in range(2):
        table = pa.table({"id": [f"{part}-{i}" for i in range(3)]})
        exporter.write(table, tmp_path / f"data/train-0000{part}-of-00002{suffix}")
    text = card(small(), Export(suffix=suffix))
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1).replace("path/to/this/folder", str(tmp_path))
    first, second = code.split("\n\n")
    datasets.config.HF_DATASETS_CACHE = tmp_path / "cache"
    spaces: list[dict] = [{}, {}]
    exec(first, spaces[0])  # the card's own words
    exec(second, spaces[1])
    assert spaces[0]["rows"]["id"] == spaces[1]["rows"]["id"].to_list() == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    assert isinstance(spaces[1]["rows"], pl.DataFrame)


def test_the_summary_is_strict_json_with_every_number_of_the_page(rich: Report) -> None:
    told = json.loads(json.dumps(summary(rich), allow_nan=False))
    assert told["rows"] == {"rows_in": 6_012, "kept": 1_200, "dropped": 4_800, "quarantined": 12}
    assert [stage["name"] for stage in told["stages"]][-1] == "export"
    assert sum(source["kept"] for source in told["sources"].values()) == 1_200
    assert told["tokens"]["estimated"] is True
    assert {"pool", "kept", "uniform", "measure"} == told["evidence"][0].keys()


def test_unknown_numbers_are_none_in_the_summary() -> None:
    report = small(stages=(Stage(name="input", description="", rows=Count(1, 1)),))
    assert summary(report)["stages"][0]["seconds"] is None
    assert summary(report)["tokens"] is None
