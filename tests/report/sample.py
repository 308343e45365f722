"""Deterministic report on an artificial pool with five sources, long-tailed topics, near-duplicates and junk."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from curate.accounting import Count
from curate.report import statistics
from curate.report.charts import projection
from curate.report.evaluation_data import Estimate, Evaluation, Line, Slice, Stability
from curate.report.report_data import (
    Cluster,
    Conflict,
    Conflicts,
    EntryRetention,
    Example,
    Examples,
    LabelGroup,
    LongTail,
    MemorizedRow,
    Neighbors,
    PoolMap,
    Report,
    Stage,
    TailGroup,
    Tokens,
)

ROWS, DIMENSIONS, TOPICS = 6_000, 32, 48
SOURCES = ("forum-archive", "code-review", "textbook-exercises", "support-tickets", "field-notes")
WORDS = {
    "bread": "dough oven flour crust yeast proof knead loaf rye starter",
    "bicycles": "chain gear brake wheel spoke frame pedal saddle tyre pump",
    "tides": "moon harbour spring neap current estuary gauge swell ebb flood",
    "chess": "pawn rook endgame opening sacrifice tempo bishop file rank mate",
    "soil": "clay loam compost root worm drainage nitrogen mulch bed seed",
    "clocks": "escapement pendulum spring dial gear hour strike winding brass tick",
    "maps": "contour scale grid legend projection survey north relief sheet bearing",
    "bees": "hive queen swarm comb nectar frame smoker drone honey forage",
}
ENTRIES = ("where", "semdedup", "ccs")
NOISE = ("symbols", "digits", "capitals", "repetition")
HOSTILE = '</script><img src=x onerror="alert(1)"> <b>bold</b> & "quotes" \u2028 \u202ereversed'


def report(seed: int = 0) -> Report:
    """Return the report of a run that drops junk, then near-duplicates, then four fifths of the remaining rows."""
    rng = np.random.default_rng(seed)
    topic = rng.choice(TOPICS, ROWS, p=_long_tail(TOPICS))
    source = rng.choice(len(SOURCES), ROWS, p=[0.46, 0.24, 0.15, 0.1, 0.05])
    centres = rng.standard_normal((TOPICS, DIMENSIONS))
    rows = centres[topic] + 0.55 * rng.standard_normal((ROWS, DIMENSIONS))
    copy_of = np.full(ROWS, -1)
    for row in rng.choice(np.arange(200, ROWS), 1_100, replace=False):
        copy_of[row] = rng.integers(0, 200)
        rows[row] = rows[copy_of[row]] + 0.03 * rng.standard_normal(DIMENSIONS)
        topic[row] = topic[copy_of[row]]
    embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    texts = [_text(rng, t) for t in topic]
    for row in np.flatnonzero(copy_of >= 0):
        words = texts[copy_of[row]].split(" ")
        words[int(rng.integers(5, 11))] = "also"
        texts[row] = " ".join(words)
    texts[7] = HOSTILE
    quality = (rng.beta(5, 2.4, ROWS) - 0.08 * (source == 0)).astype(np.float32)
    length = np.exp(rng.normal(5.2, 0.9, ROWS)).astype(np.float32)

    dropped_by = np.full(ROWS, "", dtype=object)
    dropped_by[quality < 0.45] = "where"
    dropped_by[(dropped_by == "") & (copy_of >= 0)] = "semdedup"
    rest = np.flatnonzero(dropped_by == "")
    tail = 1 / (np.bincount(topic, minlength=TOPICS)[topic[rest]] ** 0.75)
    kept_rows = rng.choice(rest, 1_200, replace=False, p=(w := tail * (0.2 + quality[rest])) / w.sum())
    kept = np.zeros(ROWS, bool)
    kept[kept_rows] = True
    dropped_by[(dropped_by == "") & ~kept] = "ccs"
    uniform = np.zeros(ROWS, bool)
    uniform[rng.choice(ROWS, 1_200, replace=False)] = True
    why = {"": "", "where": "quality < 0.45", "semdedup": "near-duplicate", "ccs": "not chosen"}
    reasons = [why[by] for by in dropped_by]
    clusters = [f"{list(WORDS)[t % len(WORDS)]} {t}" for t in range(TOPICS)]
    sampled = np.sort(rng.choice(ROWS, 900, replace=False))
    sampled[0] = 7

    def example(row: int) -> Example:
        stands = int(copy_of[row]) if dropped_by[row] == "semdedup" else -1
        return Example(
            id=f"row-{row:05d}",
            text=texts[row],
            reason=reasons[row],
            source=SOURCES[source[row]],
            cluster=clusters[topic[row]],
            scores={"quality": float(quality[row])},
            relation="duplicate of" if stands >= 0 else "",
            representative=f"row-{stands:05d}" if stands >= 0 else "",
            representative_dropped_by=str(dropped_by[stands]) if stands >= 0 else "",
            kept_instead=f"row-{stands:05d}" if stands >= 0 and kept[stands] else "",
            representative_text=texts[stands] if stands >= 0 else "",
            similarity=float(embeddings[row] @ embeddings[stands]) if stands >= 0 else float("nan"),
        )

    def examples(entry: str) -> Examples:
        rows = np.flatnonzero(kept if not entry else dropped_by == entry)
        return Examples(entry=entry, total=len(rows), rows=tuple(example(int(row)) for row in rows[:6]))

    return Report(
        run="runs/autumn",
        seed=seed,
        version="0.1.0",
        stages=_stages(source, dropped_by),
        tokens=Tokens(ROWS * 212, 1_200 * 231, "estimated from the text", estimated=True),
        warnings=("12 rows had no text and were quarantined: runs/autumn/input/quarantine", "label column is empty"),
        map=PoolMap(
            positions=projection.project(embeddings[sampled]),
            ids=tuple(f"row-{row:05d}" for row in sampled),
            texts=tuple(texts[row] for row in sampled),
            kept=kept[sampled],
            uniform=uniform[sampled],
            dropped_by=tuple(dropped_by[sampled]),
            reasons=tuple(reasons[row] for row in sampled),
            clusters=tuple(clusters[t] for t in topic[sampled]),
            sources=tuple(SOURCES[s] for s in source[sampled]),
            pool_rows=ROWS,
        ),
        scores=(
            replace(
                statistics.histogram("quality", quality, kept, uniform, unit="probability", higher_is_better=True),
                higher_means="better prose",
            ),
            statistics.histogram("length", length, kept, uniform, unit="characters"),
            statistics.histogram("ellipses", np.zeros(ROWS, np.float32), kept, uniform),
            *(statistics.histogram(name, rng.random(ROWS), kept, uniform) for name in NOISE),
        ),
        shares=(
            statistics.shares("cluster", topic, clusters, kept, uniform),
            statistics.shares("source", source, SOURCES, kept, uniform),
        ),
        clusters=tuple(
            Cluster(
                name=clusters[t],
                rows=int((topic == t).sum()),
                kept=int(kept[topic == t].sum()),
                example=texts[int(np.flatnonzero(topic == t)[0])],
            )
            for t in range(15)
        ),
        neighbors=Neighbors(
            before=_nearest(embeddings), after=_nearest(embeddings[kept]), uniform=_nearest(embeddings[uniform])
        ),
        retention=(
            EntryRetention(
                entry="semdedup",
                similarity="cosine similarity",
                threshold=0.95,
                rows=4_800,
                kept=tuple(round(1_000 + 3_800 * (t / 100) ** 3) for t in range(101)),
                compared_rates=tuple(min(1, t / 90) for t in range(101)),
            ),
        ),
        evaluation=evaluation(),
        conflicts=Conflicts(
            texts=3,
            rows=9,
            kept=2,
            groups=(
                Conflict(
                    text=texts[7],
                    rows=5,
                    n_labels=3,
                    labels=(
                        LabelGroup(label=HOSTILE, rows=3, ids=("row-00007", "row-00011")),
                        LabelGroup(label="tides", rows=1, ids=("row-00020",)),
                    ),
                ),
            ),
        ),
        long_tails=(long_tail(),),
        examples=tuple(examples(entry) for entry in ("", *ENTRIES)),
        config="curate: 1\nrun: runs/autumn\nseed: 0\ninput: {files: pool/*.jsonl}\nselect:\n- use: where\n",
        reproduce=("pip install curate-data==0.1.0", "curate run configs/autumn.yaml"),
    )


def long_tail(cost: float = 0.012, memorized: int = 31) -> LongTail:
    """Return the long tail of a pool, with a hostile text and label."""
    row = MemorizedRow(id="row-00007", text=HOSTILE, label=HOSTILE, memorization=0.83, error=0.04, kept=True)
    return LongTail(
        score="memorization",
        threshold=0.25,
        rows=4_900,
        memorized=memorized,
        kept=min(memorized, 12),
        accuracy=0.912,
        accuracy_without_memorized=0.891,
        accuracy_without_random=0.891 + cost,
        cost=cost,
        cost_error=0.004,
        labels=(TailGroup(name=HOSTILE, rows=60, memorized=9), TailGroup(name="tides", rows=4, memorized=2)),
        clusters=(TailGroup(name="3 · moon, tide", rows=90, memorized=11),),
        examples=(row,) if memorized else (),
    )


def line(name: str, of: str, mean: float, by: float, cost: float, p: float = 0.001, **parts: object) -> Line:
    """Return a metric of a trained model, ``by`` above the random baseline and ``cost`` above all rows."""
    given = {"unit": "share of the test rows", "rate": True, "higher_is_better": True, "learns": True}
    return Line(
        name=f"{name}_{of}",
        quantity=of,
        selection=Estimate(mean, 0.013, math.nan),
        uniform=Estimate(mean - by, 0.016, math.nan),
        full=Estimate(mean - cost, 0.011, math.nan),
        difference=Estimate(by, 0.009, p),
        p=p,
        exploratory=name != "logistic_probe" or of != "accuracy",
        cost=Estimate(cost, 0.008, 0.002 if abs(cost) > 0.008 else 0.4),
        **(given | parts),
    )


def evaluation(name: str = "tides") -> Evaluation:
    """Return an evaluation that is better than the random baseline and slightly worse than all rows."""
    groups = [
        ("label", name, -0.2),
        ("label", HOSTILE, -0.08),
        ("source", "field-notes", -0.05),
        ("cluster", "7", 0.01),
    ]
    itself = {"learns": False, "full": None, "cost": None, "rate": False, "higher_is_better": False}
    return Evaluation(
        run="runs/autumn",
        select="0" * 64,
        seeds=5,
        rows=1_200,
        pool=6_000,
        tested="models learn from the published selection and are tested on the 900 rows of the test files",
        primary="logistic_probe_accuracy",
        metrics=(
            line("logistic_probe", "accuracy", 0.912, 0.021, -0.009),
            line("logistic_probe", "cross_entropy", 0.4, -0.03, 0.02, unit="nats", rate=False, higher_is_better=False),
            line("knn_probe", "accuracy", 0.88, 0.004, -0.02, p=0.3),
            replace(line("redundancy", "mean", 0.6, -0.1, 0), **itself),
        ),
        sliced="logistic_probe_accuracy",
        slices=tuple(
            Slice(
                grouping=by,
                name=of,
                rows=40,
                selection=0.9 + lost,
                uniform=0.8,
                full=0.9,
                lost=Estimate(lost, 0.1, 0.2),
            )
            for by, of, lost in groups
        ),
        stability={"selection": Stability(0.91, 0.67), "uniform": Stability(0.1, 0.11)},
        left_out={"overlapping": ["a"], "unlabelled": 0, "unknown": 0},
        notes=("1 test row left out, in the pool too: a",),
    )


def _stages(source: np.ndarray, dropped_by: np.ndarray) -> tuple[Stage, ...]:
    what = {
        "input": "Read the pool's files.",
        "embed lsa": "Turn texts into vectors by TF-IDF and a truncated SVD.",
        "cluster": "Group rows around centres, by spherical k-means.",
        "score quality": "Rate how much a text looks like prose.",
        "select where": "Keep the rows that satisfy an expression.",
        "select semdedup": "Keep one row of every group of near-duplicates.",
        "select ccs": "Keep rows from every stratum of a score.",
        "export": "Write the chosen rows as Parquet.",
    }
    seconds = (0.21, 3.12, 1.4, 0.66, 0.04, 0.19, 0.31, 0.12)
    alive = np.ones(len(source), bool)
    stages = []
    for (name, about), time in zip(what.items(), seconds, strict=True):
        out = dropped_by == name.removeprefix("select ")
        bad = {"input": 12}.get(name, 0)
        accounts = {}
        for number, each in enumerate(SOURCES):
            mine = alive & (source == number)
            gone, unusable = int((mine & out).sum()), bad if number == 0 else 0
            accounts[each] = Count(int(mine.sum()) + unusable, int(mine.sum()) - gone, gone, unusable)
        whole = Count(*(sum(getattr(a, f) for a in accounts.values()) for f in Count.__dataclass_fields__))
        stages.append(
            Stage(
                name=name,
                description=about,
                rows=whole,
                sources=accounts,
                seconds=time,
                peak_bytes=int(180e6 + 9e7 * time),
                reused=name == "embed lsa",
                removed_kind="duplicate" if name == "select semdedup" else "",
            )
        )
        alive &= ~out
    return tuple(stages)


def _long_tail(groups: int) -> np.ndarray:
    weights = 1 / np.arange(1, groups + 1) ** 1.1
    return weights / weights.sum()


def _text(rng: np.random.Generator, topic: int) -> str:
    name = list(WORDS)[topic % len(WORDS)]
    words = WORDS[name].split()
    picked = " ".join(rng.choice(words, int(rng.integers(8, 34))))
    return f"How do I choose {name}? {picked.capitalize()}.\nAnswer: {' '.join(rng.choice(words, 6))}."


def _nearest(rows: np.ndarray) -> np.ndarray:
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -1)
    return similarity.max(axis=1)
