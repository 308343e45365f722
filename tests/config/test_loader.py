"""Tests of loading valid configurations."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.config import yaml_positions
from curate.config.loader import config_from_dict, load_config
from curate.config.model import RunConfig, Temperature, plugin_params

SECTIONS = """score:
  - {use: size}
  - {use: shape, name: form}
  - {use: central}
select:
  - {use: needle, word: x}
  - {use: spread, name: first, prune_rate: 0.25, by: form_width}
  - {use: best, keep_rate: 1, quality: -form_height, within: cluster}
  - {use: any, keep: 3}
"""


@pytest.fixture
def config(base: str) -> RunConfig:
    Path("x.yaml").write_text(base + SECTIONS, encoding="utf-8")
    return load_config(Path("x.yaml"))


def test_missing_keys_have_their_defaults(config: RunConfig) -> None:
    assert (config.seed, config.memory_limit, config.guard.max_quarantine_rate) == (0, 4 << 30, 0.01)
    assert (config.input.id, config.input.rows_per_shard) == (None, 65_536)
    assert (config.export.rows_per_file, config.export.add, config.export.keep_versions) == (100_000, (), 3)
    assert config.embed[0].precision == "float32"
    assert dict(config.embed[0].spec.fields) == {"dimensions": 8, "batch_size": 32}


def test_entries_are_named_after_their_plugins(config: RunConfig) -> None:
    assert [entry.name for entry in config.score] == ["size", "form", "central"]
    assert [entry.name for entry in config.select] == ["needle", "first", "best", "any"]


def test_a_selector_that_reads_quality_reads_the_first_score_by_default(config: RunConfig) -> None:
    assert [entry.quality for entry in config.select] == [None, "size", "-form_height", None]


def test_only_entries_that_read_vectors_have_an_embedding(config: RunConfig) -> None:
    assert [entry.embedding for entry in (config.cluster, *config.score, *config.select)] == [
        "words", None, None, "words", None, "words", None, None,
    ]  # fmt: skip


def test_a_quota_is_proportional_where_there_are_groups(config: RunConfig) -> None:
    assert [entry.quota for entry in config.select] == [None, None, "proportional", None]


def test_a_filter_has_no_budget(config: RunConfig) -> None:
    assert [entry.budget is None for entry in config.select] == [True, False, False, False]
    assert config.select[1].budget.resolve_rows(100, "first") == 75


def test_1_is_a_number(config: RunConfig) -> None:
    assert type(config.select[2].budget.keep_rate) is float


def test_without_sections_the_built_in_plugins_are_used() -> None:
    data = {"curate": 1, "run": "x", "input": {"files": ["a"], "text": "t"}, "select": [{"use": "uniform", "keep": 1}]}
    config = config_from_dict(data)
    assert (config.embed[0].name, config.cluster.name, config.export.name) == ("lsa", "kmeans", "parquet")
    assert (config.score, config.source) == ((), "<dict>")
    assert config.input.files == ("a",)


def test_a_scorer_of_clusters_reads_the_vectors_that_were_clustered(base: str) -> None:
    embed = "embed: [{use: words}, {use: words, name: other}]"
    text = base.replace("embed: {use: words}", embed).replace("{use: groups}", "{use: groups, embedding: other}")
    Path("x.yaml").write_text(text + SECTIONS, encoding="utf-8")
    config = load_config(Path("x.yaml"))
    assert [entry.embedding for entry in config.score] == [None, None, "other"]
    assert config.select[1].embedding == "words"


def test_a_dict_is_not_changed_by_overrides() -> None:
    data = {"curate": 1, "run": "x", "input": {"files": "a", "text": "t"}, "select": [{"use": "uniform", "keep": 1}]}
    assert config_from_dict(data, ["select.0.keep=2"]).select[0].budget.keep == 2
    assert data["select"] == [{"use": "uniform", "keep": 1}]


@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("seed=7", lambda c: c.seed, 7),
        ("guard.max_drop_rate=0.5", lambda c: c.guard.max_drop_rate, 0.5),
        ("memory_limit=8GiB", lambda c: c.memory_limit, 8 << 30),
        ("embed.dimensions=auto", lambda c: dict(c.embed[0].spec.fields)["dimensions"], "auto"),
        ("select.1.prune_rate=1e-3", lambda c: c.select[1].budget.prune_rate, 0.001),
        ("select.first.prune_rate=0.5", lambda c: c.select[1].budget.prune_rate, 0.5),
        ("select.2.quota={temperature: 2}", lambda c: c.select[2].quota, Temperature(temperature=2.0)),
        ("select.0.word=a=b", lambda c: dict(c.select[0].spec.fields)["word"], "a=b"),
        ("input.id=", lambda c: c.input.id, None),
    ],
)
def test_an_override_replaces_the_value_in_the_file(config: RunConfig, override, where, value) -> None:
    assert where(load_config(Path("x.yaml"), [override])) == value


def test_later_overrides_win(config: RunConfig) -> None:
    assert load_config(Path("x.yaml"), ["seed=1", "seed=2"]).seed == 2


def test_plugin_files_of_the_user_are_identified_by_their_content(config: RunConfig) -> None:
    assert [local.path for local in config.embed[0].spec.local] == ["words.py"]
    assert len(config.plugins) == 12
    assert config.embed[0].fingerprint_parts()["sha256"] == [config.embed[0].spec.local[0].sha256]


def test_options_that_change_only_the_speed_are_in_no_fingerprint(config: RunConfig) -> None:
    assert plugin_params(config.embed[0].spec) == {"dimensions": 8}
    slower = load_config(Path("x.yaml"), ["embed.batch_size=1", "export.keep_versions=9"])
    assert slower.embed[0].fingerprint_parts() == config.embed[0].fingerprint_parts()
    assert slower.export.fingerprint_parts() == config.export.fingerprint_parts()


@pytest.mark.parametrize("override", ["embed.dimensions=9", "embed.precision=float16", "embed.name=x"])
def test_options_that_change_the_vectors_are_in_the_fingerprint(config: RunConfig, override: str) -> None:
    changed = load_config(Path("x.yaml"), [override, "cluster.embedding=null"])
    assert changed.embed[0].fingerprint_parts() != config.embed[0].fingerprint_parts()


@pytest.mark.parametrize("key", ["prune_rate=0.5", "within=cluster", "quality=central", "order=easy", "by=size"])
def test_options_that_change_a_selection_are_in_the_fingerprint(config: RunConfig, key: str) -> None:
    changed = load_config(Path("x.yaml"), [f"select.first.{key}"])
    assert changed.select[1].fingerprint_parts() != config.select[1].fingerprint_parts()


def test_a_configuration_cannot_be_changed(config: RunConfig) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys, curate.config.loader, curate.config.schema\n"
        "print({'numpy', 'pyarrow', 'polars', 'scipy', 'sklearn', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---------------------------------------------------------------- there and back

RATES = st.decimals(0, 1, places=6).map(float)
BUDGETS = st.one_of(
    st.builds(lambda n: {"keep": n}, st.integers(1, 10**12)),
    st.builds(lambda rate: {"keep_rate": rate}, RATES.filter(bool)),
    st.builds(lambda rate: {"prune_rate": rate}, RATES.filter(lambda rate: rate < 1)),
    st.builds(lambda n: {"keep_tokens": n}, st.integers(1, 10**12)),
)
GROUPS = st.just({}) | st.fixed_dictionaries(
    {"within": st.sampled_from(["cluster", "source", "a column"])},
    optional={
        "quota": st.sampled_from(["proportional", "balanced"])
        | st.builds(lambda t: {"temperature": t}, st.floats(1e-3, 1e3)),
    },
)
SPREAD = st.fixed_dictionaries(
    {"use": st.just("spread")},
    optional={
        "quality_weight": RATES,
        "order": st.sampled_from(["hard", "easy"]),
        "by": st.sampled_from(["size", "form_width", None]),
        "also": st.lists(st.sampled_from(["size", "form_height"]), max_size=2),
        "quality": st.sampled_from(["size", "-form_width"]),
        "embedding": st.sampled_from(["words", "second"]),
    },
)
NEEDLE = st.fixed_dictionaries(
    {"use": st.just("needle"), "word": st.text(st.characters(codec="utf-8", exclude_characters="\0"))}
)
SELECTORS = st.lists(
    st.builds(lambda *parts: {k: v for part in parts for k, v in part.items()}, SPREAD, BUDGETS, GROUPS) | NEEDLE,
    min_size=1,
    max_size=4,
).map(lambda entries: [{**entry, "name": f"s{index}"} for index, entry in enumerate(entries)])
CONFIGS = st.fixed_dictionaries(
    {
        "curate": st.just(1),
        "run": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        "plugins": st.just(["words.py", "groups.py", "size.py", "shape.py", "spread.py", "needle.py", "plain.py"]),
        "input": st.fixed_dictionaries(
            {
                "files": st.text("ab*/.", min_size=1) | st.lists(st.text("ab*", min_size=1), min_size=1, max_size=3),
                "text": st.sampled_from(["text", "{a}\n{b}", "no", "1e3"]),
                "source": st.just("source"),
            },
            optional={"id": st.sampled_from(["id", None]), "rows_per_shard": st.integers(1, 10**6)},
        ),
        "embed": st.just([{"use": "words"}, {"use": "words", "name": "second", "precision": "float16"}]),
        "cluster": st.just({"use": "groups"}),
        "score": st.just([{"use": "size"}, {"use": "shape", "name": "form"}]),
        "select": SELECTORS,
        "export": st.fixed_dictionaries(
            {"use": st.just("plain")}, optional={"add": st.lists(st.sampled_from(["id", "rank"]), unique=True)}
        ),
    },
    optional={
        "seed": st.integers(0, 2**70),
        "memory_limit": st.integers(1, 2**50) | st.sampled_from(["8GiB", "1.5 GB", "100kB"]),
        "guard": st.fixed_dictionaries({}, optional={"max_drop_rate": RATES}),
    },
)


@given(data=CONFIGS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_resolved_copy_loads_as_the_same_configuration(data: dict[str, object]) -> None:
    config = config_from_dict(data)
    Path("resolved.yaml").write_text(yaml_positions.dump_yaml(config.resolved), encoding="utf-8", newline="")
    assert load_config(Path("resolved.yaml")) == config
    assert list(config.resolved) == [key for key in RunConfig.__dataclass_fields__ if key in config.resolved]
