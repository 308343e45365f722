"""Nothing outside of a run directory is touched: for every entry that any stage writes, and every command."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import typer

import curate
from curate import pipeline
from curate.cli.app import app
from curate.config.loader import config_from_dict
from curate.errors import CurateError, DataError
from curate.evaluation.compare import compare
from curate.evaluation.evaluate import evaluate
from curate.executors.serial import Serial
from curate.progress import NullProgress
from curate.store import diff, explain, lock, symlinks, versions
from curate.store.relabel import relabel

WITHOUT_A_RUN = {"check", "plugins", "schema", "init"}
"""Commands that neither read nor write a run directory."""

FAKE = Path(__file__).with_name("fake.py")
"""Plugins of several kinds, for which no model and no judge is needed."""

READERS = ("explain", "relabel", "diff", "path", "rollback")
"""Commands that look at results only."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the finished run lies, once a test has made it."""
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def settings(pool, config):
    """Every section, so that there is every folder."""
    (pool.parent / "held.jsonl").write_text('{"text": "a text that no row of the pool shares anything with at all"}\n')
    return config(
        plugins=[str(FAKE)],
        annotate=[{"use": "fake"}],
        model={"use": "fake", "model": "m"},
        proxy={"use": "logistic", "epochs": 2},
        score=[{"use": "el2n"}, {"use": "consistency"}, {"use": "loss"}],
        review={"rows": 5},
        target={"files": "held.jsonl"},
        decontaminate={"files": "held.jsonl", "text": "text"},
        select=[{"use": "exact_duplicates", "against": "published"}, {"use": "top_k", "keep": 20}],
        split={"shares": {"train": 0.6, "test": 0.4}},
        export={"use": "jsonl", "remove_repeated_spans": 5, "mask_pii": ["email"], "rows_per_file": 8},
        metrics=[{"use": "balance"}],
        evaluate={"seeds": 1},
        memory_limit=1,
    )


@pytest.fixture
def run(settings, kept):
    """A run of which every stage is done, two versions are published, and an evaluation and a comparison are there."""
    if not kept.exists():
        curate.run(settings | {"select": [settings["select"][0], {"use": "top_k", "keep": 10}]})
        curate.run(settings)
        evaluate(Path("run"), Serial())
        compare(config_from_dict(settings), Serial(), select=["top_k"], prune_rates=[0.5])
        for left in ("stdin/rows.jsonl", "judge/part-00000.parquet"):  # by runs with standard input, and with a judge
            (Path("run") / left).parent.mkdir()
            (Path("run") / left).write_text("{}\n")
        shutil.copytree("run", kept, symlinks=True)
    else:
        shutil.copytree(kept, "run", symlinks=True)
    return Path("run")


@pytest.fixture
def commands(settings):
    """Every command that reads or writes a run directory, doing all the work that it can have."""
    other = config_from_dict(settings | {"seed": 7, "memory_limit": 1})
    same = config_from_dict(settings)
    return {
        **{
            stage: lambda stage=stage: pipeline.run(other, Serial(), until=stage)
            for stage in ("embed", "cluster", "score", "select", "export")
        },
        "run": lambda: pipeline.run(other, Serial(), verify=True),
        "plan": lambda: pipeline.plan(same, Serial()),
        "report": lambda: pipeline.report(same),
        "relabel": lambda: relabel(Path("run"), Path("run/review.csv"), Path("corrections.csv")),
        "evaluate": lambda: evaluate(Path("run"), Serial()),
        "compare": lambda: compare(same, Serial(), select=["top_k"], prune_rates=[0.5]),
        "explain": lambda: explain.explain(Path("run"), "r0001"),
        "diff": lambda: diff.diff_published(Path("run"), 1),
        "path": lambda: versions.resolve_published(Path("run")),
        "rollback": lambda: versions.rollback(Path("run"), None, str),
    }


def test_no_command_is_forgotten(commands):
    known = set(typer.main.get_command(app).commands)
    assert known == {*commands} | WITHOUT_A_RUN


def entries(run):
    """Every file and folder of a run, but for the one link, and the folders that are only there for a while."""
    later = [run / name for name in (pipeline.SCRATCH, "input/.incoming", "export/.incoming", "embed/hashing/reused")]
    for path in later:
        path.mkdir(parents=True, exist_ok=True)
    return sorted(path for path in run.rglob("*") if "current" not in path.relative_to(run).parts)


def replaced(path, home):
    """Put a link in the place of a file or folder; where it leads lies what was there, and more."""
    if path.is_dir():
        shutil.copytree(path, home, symlinks=True)
        for name in ("part-99999.parquet", "manifest.json", ".1.partial.x", "0123456789ab.ids.parquet", "diary.txt"):
            (home / name).write_text("mine") if not (home / name).exists() else None
    else:
        shutil.copy2(path, home)
    path.rename(home.with_name("aside"))
    path.symlink_to(home)


def state(path):
    """Names, bytes and times of a file, or of everything in a folder."""
    every = [path, *path.rglob("*")] if path.is_dir() else [path]
    return {str(one): (one.lstat().st_mtime_ns, one.read_bytes() if one.is_file() else None) for one in every}


def back(path, home):
    """Undo ``replaced``; a command may have put something else there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    home.with_name("aside").rename(path)
    shutil.rmtree(home) if home.is_dir() else home.unlink()


def test_a_link_in_the_place_of_any_entry_is_refused_by_every_command(run, commands, tmp_path):
    """The run's owned entries, and all that is in them; the commands that look at results, in those with results."""
    found = entries(run)
    assert {path.parts[1] for path in found} >= {*pipeline.OWNED} - {"published"}
    home = tmp_path / "home"
    tried = 0
    for path in found:
        if path.name == lock.NAME:
            continue
        replaced(path, home)
        before = state(home)
        for name, command in commands.items():
            if name in READERS and path.parts[1] not in symlinks.RESULTS:
                continue
            with pytest.raises(
                DataError,
                match="this is a symbolic link, which a run directory must not contain; replace it with what it",
            ):
                command()
            tried += 1
        assert state(home) == before, path
        back(path, home)
    assert tried > 500


def test_a_link_in_the_place_of_the_lock_is_refused(run, commands, tmp_path):
    replaced(run / lock.NAME, tmp_path / "home")
    before = state(tmp_path / "home")
    for name in {*commands} - {"explain", "relabel", "diff", "path", "plan"}:
        with pytest.raises(CurateError):
            commands[name]()
    assert state(tmp_path / "home") == before


class Swapping(NullProgress):
    """Puts a link in the place of an entry when the run comes to its nth step."""

    def __init__(self, nth, swap):
        self.left, self.swap = nth, swap

    def enter(self, *arguments):
        super().enter(*arguments)
        self.left -= 1
        if self.left == 0:
            self.swap()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(1, 6))])
def test_a_swap_during_a_run_touches_nothing_outside(run, settings, commands, kept, tmp_path, monkeypatch, seed):
    """Every folder is replaced after the check at the start, or when a random step begins; the work is all done again.

    A run may end without an error: it needs nothing of the folder any more, or replaces the link itself.
    """
    home, rng = tmp_path / "home", random.Random(seed)
    folders = [path for path in entries(run) if path.is_dir()]
    check = symlinks.refuse_links
    refused = 0
    for number, path in enumerate(folders if seed else folders[::4]):
        late = rng.randrange(1, 9) if seed % 2 else 0
        before = {}

        def swap(path=path, before=before):
            if path.is_dir() and not path.is_symlink():
                replaced(path, home)
                before.update(state(home))

        def refuse(*arguments, swap=swap):
            check(*arguments)
            swap()

        work = config_from_dict(
            settings | {"seed": 100 + number, "select": [settings["select"][0], {"use": "uniform", "keep": 15}]}
        )
        with monkeypatch.context() as patch:
            if not late:
                patch.setattr(symlinks, "refuse_links", refuse)
            try:
                pipeline.run(work, Serial(), Swapping(late, swap))
            except CurateError as error:
                refused += "this is a symbolic link" in str(error)
        assert (state(home) if home.exists() else {}) == before, path
        shutil.rmtree("run")
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(home.with_name("aside"), ignore_errors=True)
        shutil.copytree(kept, "run", symlinks=True)
        entries(run)
    assert refused


@pytest.mark.parametrize("name", ["explain", "diff", "path", "rollback", "plan", "report", "evaluate"])
def test_a_swap_after_the_check_of_the_other_commands_touches_nothing_outside(
    run, commands, kept, tmp_path, monkeypatch, name
):
    home, check = tmp_path / "home", symlinks.refuse_links
    for path in [one for one in entries(run) if one.is_dir() and len(one.parts) == 2]:
        before = {}

        def refuse(*arguments, path=path, before=before):
            check(*arguments)
            if not before:
                replaced(path, home)
                before.update(state(home))

        with monkeypatch.context() as patch:
            patch.setattr(symlinks, "refuse_links", refuse)
            try:
                commands[name]()
            except CurateError as error:
                assert "this is a symbolic link" in str(error)
        assert state(home) == before, path
        shutil.rmtree("run")
        shutil.rmtree(home)
        shutil.rmtree(home.with_name("aside"))
        shutil.copytree(kept, "run", symlinks=True)
