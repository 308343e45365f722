"""What many tests share: a small pool on disk and a configuration over it."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

collect_ignore = ["fuzz/run.py"]  # a command, which needs atheris

TIERS = ("fast", "slow", "exhaustive")
"""The tiers of tests, each of which runs with those before it."""

EXAMPLES = {"fast": 6, "slow": 15, "exhaustive": 200}
"""Number of Hypothesis examples in each tier."""

TIER_OF = {
    "curate": "fast",  # doctests
    "tests/browser": "slow",
    "tests/config": "fast",
    "tests/contracts": "fast",
    "tests/contracts/test_every_card.py": "slow",
    "tests/contracts/test_every_path.py": "slow",
    "tests/contracts/test_every_reference.py": "slow",
    "tests/data_samples": "fast",
    "tests/docs": "fast",
    "tests/docs/test_notebook.py": "slow",
    "tests/docs/test_plugin_examples.py": "slow",
    "tests/docs/test_tutorial.py": "slow",
    "tests/evaluation": "fast",
    "tests/evaluation/test_report.py": "slow",
    "tests/exhaustive": "exhaustive",
    "tests/executors": "fast",
    "tests/executors/test_ray.py": "exhaustive",
    "tests/first_hour": "slow",
    "tests/fuzz": "exhaustive",
    "tests/judge": "fast",
    "tests/kernels": "fast",
    "tests/kills": "exhaustive",
    "tests/plugins": "fast",
    "tests/pool": "fast",
    "tests/properties": "slow",
    "tests/report": "fast",
    "tests/stages": "fast",
    "tests/stages/ingest/test_label_corrections.py": "slow",
    "tests/stages/ingest/test_stdin.py": "slow",
    "tests/stages/proxy/test_proxy.py": "slow",
    "tests/stages/review": "slow",
    "tests/stages/select/test_run_selector.py": "slow",
    "tests/stages/test_epochs.py": "slow",
    "tests/stages/test_guardrails.py": "slow",
    "tests/store": "fast",
    "tests/store/test_lock.py": "slow",
    "tests/store/test_object_stores.py": "slow",
    "tests/store/test_published.py": "slow",
    "tests/store/test_relabel.py": "slow",
    "tests/store/test_run_directory.py": "slow",
    "tests/store/test_urls.py": "slow",
    "tests/store/test_versions.py": "slow",
    "tests/test_no_follow.py": "fast",
    "tests/test_api.py": "fast",
    "tests/test_cases.py": "exhaustive",
    "tests/cli": "fast",
    "tests/cli/test_init.py": "slow",
    "tests/cli/test_run_arguments.py": "slow",
    "tests/test_configs.py": "slow",
    "tests/test_damage.py": "slow",
    "tests/test_errors.py": "fast",
    "tests/test_faults.py": "slow",
    "tests/test_full_disk.py": "slow",
    "tests/test_imports.py": "fast",
    "tests/test_input_patterns.py": "fast",
    "tests/test_odd_texts.py": "exhaustive",
    "tests/test_paths.py": "fast",
    "tests/test_pipeline.py": "fast",
    "tests/test_plan.py": "slow",
    "tests/test_progress.py": "fast",
    "tests/test_refresh.py": "slow",
    "tests/test_run_links.py": "slow",
    "tests/test_same_bytes.py": "slow",
    "tests/test_security.py": "slow",
}
"""Tier of each folder and file; the longest matching path counts. A test may bear the mark of a later tier."""

# The same examples every time, so that a failure can be repeated: tests/fuzz/run.py looks for new ones.
for tier, examples in EXAMPLES.items():
    settings.register_profile(tier, max_examples=examples, derandomize=True, deadline=None)
settings.load_profile("slow")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=TIERS, help="run the tests of this tier and of those before it")


def pytest_configure(config: pytest.Config) -> None:
    if tier := config.getoption("tier"):
        settings.load_profile(tier)


def tier_of(path: Path, config: pytest.Config) -> str:
    """Return the tier of a test file."""
    relative = path.relative_to(config.rootpath)
    for place in (relative, *relative.parents):
        if place.as_posix() in TIER_OF:
            return TIER_OF[place.as_posix()]
    raise pytest.UsageError(f"{relative}: has no tier; add it, or its folder, to TIER_OF in tests/conftest.py")


def later(tier: str, config: pytest.Config) -> bool:
    """Return whether a tier comes after the one that was requested."""
    requested = config.getoption("tier")
    return requested is not None and TIERS.index(tier) > TIERS.index(requested)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of later tiers, so that they are not even imported."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_test and later(tier_of(collection_path, config), config) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test with its tier, and deselect those of later tiers."""
    kept, left_out = [], []
    for item in items:
        tier = tier_of(item.path, config)
        own = [mark.name for mark in item.iter_markers() if mark.name in TIERS]
        tier = max([tier, *own], key=TIERS.index)
        item.add_marker(tier)
        (left_out if later(tier, config) else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


STAGES = ("run", "embed", "cluster", "score", "select", "export")
WORDS = ("amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "harbour", "iris", "juniper", "kelp", "lagoon")


def row(number: int) -> dict[str, Any]:
    """Row ``number``: a text about one of four topics, with a few columns of its own."""
    topic = number % 4
    words = [WORDS[(topic * 3 + step * (number % 7 + 1)) % (3 * topic + 3)] for step in range(8)]
    return {
        "id": f"r{number:04d}",
        "text": f"{' '.join(words)} number {number}",
        "topic": f"t{topic}",
        "source": "left" if number % 3 else "right",
        "stars": number % 5,
        "tags": [f"t{topic}"],
    }


@pytest.fixture(autouse=True, scope="session")
def no_sync() -> Iterator[None]:
    """Nothing is synced to the disk: no test cuts the power, and a small run waits for its disk a third of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def cache_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the processes that they start, leave the cache of the user alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def plain_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """In reports the map is no more than its axes, which saves a quarter of a small run and most of a larger one."""
    monkeypatch.setattr("curate.report.charts.projection.SMALLEST", 10_000)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_map: None) -> Path:
    """Sixty rows in two files, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pool"
    folder.mkdir()
    for name, numbers in (("a", range(40)), ("b", range(40, 60))):
        lines = [json.dumps(row(number)) for number in numbers]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command line in this process, without workers unless it asks for them."""

    def run(*arguments: object) -> Done:
        from curate import cli

        words = ["curate", *map(str, arguments)]
        if words[1] in STAGES and not {"--executor", "--workers"} & {*words}:
            words += ["--executor", "serial"]
        capfd.readouterr()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", words)
            patch.setenv("PYTHONSAFEPATH", "")  # is set, and restored
            try:
                cli.main()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        return Done(int(str(ended.value.code)), *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The address of a Ray cluster on this machine with two CPUs, whose processes end with the tests."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        patch.setenv("RAY_AUTH_MODE", "token")  # its ports are open to the network
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_TMPDIR", folder)  # Ray writes its address to a folder "ray" there, which it does not make
        (Path(folder) / "ray").mkdir()
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # workers import the tests' own functions
        from ray.cluster_utils import Cluster  # Ray reads how to authenticate when it is imported

        head = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False, "temp_dir": folder}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        yield cluster.address
        cluster.shutdown()


@pytest.fixture
def config() -> Callable[..., dict[str, Any]]:
    """A configuration over that pool; keyword arguments replace its sections."""

    def made(**sections: Any) -> dict[str, Any]:
        return {
            "curate": 1,
            "run": "run",
            "input": {
                "files": "pool/*.jsonl",
                "id": "id",
                "text": "text",
                "label": "topic",
                "source": "source",
                "rows_per_shard": 16,
            },
            "embed": {"use": "hashing", "dimensions": 32},
            "cluster": {"use": "kmeans", "n_clusters": 4},
            "score": [{"use": "prototypicality"}],
            "select": [{"use": "top_k", "keep": 20}],
        } | sections

    return made


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run below lies, once a test has made it."""
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def finished(pool: Path, config: Callable[..., dict[str, Any]], kept_run: Path) -> Path:
    """The folder of a finished run of that configuration, which is made once and copied."""
    if kept_run.exists():
        return shutil.copytree(kept_run, "run", symlinks=True)
    import curate

    curate.run(config())
    shutil.copytree("run", kept_run, symlinks=True)
    return Path("run")
