"""HTML report of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from curate.report import (
    contamination_text,
    evaluation_text,
    ground_truth_table,
    long_tail_text,
    review_text,
    sentences,
    split_text,
)
from curate.report.charts import bars, error_bars, scatter, threshold_curve
from curate.report.charts.bars import Figure
from curate.report.evaluation_data import Evaluation
from curate.report.formatting import capitalize, count, join_words, number, plural, seconds, share, short, value
from curate.report.html import page_frame, tables
from curate.report.html.page_frame import section
from curate.report.html.tags import Markup, tag
from curate.report.report_data import Example, Examples, Report

MOST_BYTES = 2_000_000
"""Maximum size of a page in bytes; quoted texts are shortened to stay below it."""

TEXTS = (700, 350, 175, 80, 40, 20)
"""Maximum lengths of quoted texts in characters: the first one with which the page is small enough, else the last."""

FACTS = 4
"""Maximum number of scores shown directly with an example; otherwise they are collapsed."""

CLUSTER_TEXT = 160
"""Maximum number of characters of the example of a cluster."""

BASELINE = (
    "The random baseline contains the same number of rows as the selection, drawn uniformly at random from the pool. "
    "The difference between the two is the effect of the selection."
)

_PAIRED = "Differences from the random baseline are paired by seed"
_MODELS = f"Metrics that train a model on the selection and test it on the test rows. {_PAIRED}"
_NO_MODELS = f"Metrics that do not train a model. {_PAIRED}"
_GROUPS = "Groups of test rows, largest loss first"
_CAPTIONS = (
    "Lowest accuracy of any group of test rows, with the group in brackets",
    "Stability: Jaccard index of two selections, 1 if they contain the same rows, 0 if they share none",
)


def render(report: Report) -> str:
    """Return the page, of at most ``MOST_BYTES`` bytes unless names and the configuration alone are larger.

    The page depends only on the report.
    """
    for text in TEXTS:
        page = _page(report, text)
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _page(report: Report, text: int) -> str:
    drawn = _figures(report, text)
    title = f"{sentences.headline(report)} · {report.run}"
    sections = _sections(report, drawn, text)
    visible = [(key, name, body) for key, name, parts in sections if (body := section(key, name, parts)) is not None]
    header = _header(report, [(key, name) for key, name, _ in visible], text)
    return page_frame.document(title, header, [body for *_, body in visible], list(drawn.values()), report.version)


def _figures(report: Report, text: int) -> dict[str, Figure]:
    drawn = [scatter.draw_map(report, report.map, text)] if report.map is not None and report.map.ids else []
    if report.neighbors is not None and any(map(len, (report.neighbors.before, report.neighbors.after))):
        drawn.append(bars.draw_neighbors(report.neighbors))
    drawn += [bars.draw_shares(number, part) for number, part in enumerate(report.shares) if len(part.names) > 1]
    drawn += [threshold_curve.draw_retention(number, part) for number, part in enumerate(report.retention) if part.rows]
    scores = sentences.scores(report)
    drawn += [bars.draw_score(f"score-{number}", score) for number, score in enumerate(scores.leading)]
    drawn += [bars.draw_score(f"folded-{number}", score) for number, score in enumerate(scores.others)]
    if report.evaluation is not None:
        groups = error_bars.draw_groups(report.evaluation)
        drawn += [*error_bars.draw_models(report.evaluation), *([groups] if groups else [])]
    return {figure.key: figure for figure in drawn}


def _header(report: Report, parts: list[tuple[str, str]], text: int) -> Markup:
    rows, sources = report.rows, report.source_count
    kept_tokens, of_tokens = sentences.tokens(report)
    spent = sum(stage.seconds for stage in report.stages if not stage.reused)
    verdict = evaluation_text.sentence(report.evaluation) if report.evaluation else ""
    gained = [*sentences.list_gains(report), *([verdict] if verdict else [])]
    tiles = [
        ("Pool", count(rows.rows_in), f"rows from {plural(sources, 'source')}" if sources else "rows"),
        ("Kept", count(rows.kept), f"rows, {share(rows.kept, rows.rows_in)} of the pool"),
        ("Tokens kept", kept_tokens, of_tokens) if report.tokens else None,
        _judged(report.evaluation),
        ("Time", seconds(spent), plural(len(report.stages), "stage")) if not math.isnan(spent) else None,
    ]
    return tag(
        "header",
        tag("p", tag("span", "curate", class_="brand"), tag("span", report.run), class_="run"),
        tag("h1", sentences.headline(report)),
        tag("p", sentences.describe_drops(report), class_="story"),
        tag("ul", *(tag("li", line) for line in gained), class_="gains") if gained else None,
        tag("p", sentences.describe_change(report), class_="aside") if report.change else None,
        tag("p", changes, class_="aside") if (changes := sentences.describe_export_changes(report)) else None,
        _warnings(report.warnings),
        tag("dl", *(page_frame.tile(*tile) for tile in tiles if tile is not None), class_="tiles"),
        tag("p", f"seed {report.seed} · curate {report.version}{_shortened(text)}", class_="meta"),
        page_frame.contents_list(parts),
    )


def _shortened(text: int) -> str:
    """Return a remark if quoted texts are shorter than usual."""
    return "" if text == TEXTS[0] else f" · quoted texts are cut to {text} characters to keep the page small"


def _judged(evaluation: Evaluation | None) -> tuple[str, str, str] | None:
    """Return the tile of the primary metric."""
    line = None if evaluation is None else evaluation.line(evaluation.primary)
    if line is None:
        return None
    return (
        evaluation_text.title(line),
        number(line.selection.mean, rate=line.rate),
        evaluation_text.describe_comparison(line),
    )


def _warnings(warnings: tuple[str, ...]) -> Markup | None:
    if not warnings:
        return None
    title = tag("strong", plural(len(warnings), "warning"))
    return tag("aside", title, tag("ul", *(tag("li", text) for text in warnings)), class_="warnings")


def _sections(report: Report, drawn: dict[str, Figure], text: int) -> list[tuple[str, str, Sequence[Markup | None]]]:
    """Return the key, the title and the parts of each section; sections without parts are not shown."""

    def charts(prefix: str) -> list[Markup]:
        return [page_frame.figure(figure) for key, figure in drawn.items() if key.startswith(prefix)]

    alone = [sentences.describe_shares(part) for part in report.shares if len(part.names) == 1]
    notes = [_aside(f"{line}.") for line in alone]
    unevaluated = [_aside(report.unevaluated)] if report.unevaluated else []
    more = charts("folded")
    folded = _fold(plural(len(more), "more score"), page_frame.grid(more)) if more else None
    compared = [tables.evidence(report), *charts("neighbors"), *unevaluated]
    shares = [page_frame.grid(charts("shares")), tables.clusters(report, min(text, CLUSTER_TEXT)), *notes]
    scores = [page_frame.grid(charts("score")), folded, _constant(report)]
    checked = contamination_text.section(report.decontamination, text)
    return [
        ("models", "Models trained on the selection", _models(report, charts)),
        ("stages", "Rows, time and memory by stage", [tables.stages(report)]),
        ("splits", "Splits", split_text.section(report.splits)),
        ("map", "Map of the pool", charts("map")),
        ("evidence", "Comparison with the random baseline", [_aside(BASELINE), *compared] if any(compared) else []),
        ("ground-truth", "Comparison with the ground truth", ground_truth_table.section(report.ground_truth)),
        ("shares", "Composition of the selection", shares),
        ("review", "Labels to review", review_text.section(report.review, text)),
        ("conflicts", "Conflicting labels", _conflicts(report)),
        ("scores", "Scores", scores),
        ("long-tail", "Long tail", [part for tail in report.long_tails for part in long_tail_text.section(tail)]),
        ("duplicates", "Deduplication thresholds", [page_frame.grid(charts("retention"))]),
        ("sources", "Rows by source", [tables.sources(report)]),
        ("examples", "Example rows", [_examples(group, text) for group in report.examples if group.rows]),
        ("decontamination", "Overlap with evaluation sets", checked),
        ("again", "Reproduce this run", _again(report)),
    ]


def _conflicts(report: Report) -> list[Markup | None]:
    """Return the table of conflicting labels, or a sentence if there are none."""
    part = report.conflicts
    if part is None:
        return []
    return [tables.conflicts(part) or _aside(f"{sentences.describe_conflicts(part)}.")]


def _aside(*children: str) -> Markup:
    return tag("p", *children, class_="aside")


def _models(report: Report, charts: Callable[[str], list[Markup]]) -> list[Markup | None]:
    """Return the results of the evaluation, and a link to the comparison of selectors."""
    link = tag("a", report.comparison, href=report.comparison) if report.comparison else None
    compared: list[Markup | None] = (
        [_aside("Comparison with other selectors and prune rates: ", link, ".")] if link else []
    )
    evaluation = report.evaluation
    if evaluation is None:
        return compared
    trained = [line for line in evaluation.metrics if line.learns]
    others = [line for line in evaluation.metrics if not line.learns]
    more = charts("probes")
    small_tables = (evaluation_text.worst(evaluation), evaluation_text.stability(evaluation))
    others_table = tables.plain(_NO_MODELS, evaluation_text.metrics(others))
    return [
        *charts("models"),
        tables.plain(_MODELS, evaluation_text.metrics(trained)) if trained else _aside("No metric trained a model."),
        *charts("groups"),
        _fold("The same groups as a table", tables.plain(_GROUPS, evaluation_text.groups(evaluation)))
        if evaluation.slices
        else None,
        *(tables.plain(caption, table) for caption, table in zip(_CAPTIONS, small_tables, strict=True) if table[1]),
        _fold(f"{plural(len(more), 'more chart')} of models", page_frame.grid(more)) if more else None,
        _fold(f"{plural(len(others), 'metric')} without a model", others_table) if others else None,
        *(_aside(f"{capitalize(note)}.") for note in evaluation.notes),
        *compared,
    ]


def _fold(title: str, body: Markup | None) -> Markup:
    return tag("details", tag("summary", tag("span", title)), body)


def _constant(report: Report) -> Markup | None:
    """Return a sentence on scores that have a single value or no value, which are not drawn."""
    constant, empty = [], []
    for score in sentences.scores(report).constant:
        if math.isnan(score.pool_median):
            empty.append(score.name)
        else:
            constant.append(f"{score.name} ({value(score.pool_median)})")
    parts = [f"Scores with the same value in all rows: {join_words(constant)}."] if constant else []
    parts += [f"Scores without a value in any row: {join_words(empty)}."] if empty else []
    return tag("p", " ".join(parts), class_="aside") if parts else None


def _examples(group: Examples, text: int) -> Markup:
    n_shown = len(group.rows)
    title = f"Dropped by {group.entry}" if group.entry else "Kept"
    note = f"{count(n_shown)} of {plural(group.total, 'row')}" if n_shown < group.total else plural(n_shown, "row")
    return tag(
        "details",
        tag("summary", tag("span", title), tag("small", note)),
        tag("div", *(_example(example, text, kept=not group.entry) for example in group.rows), class_="examples"),
        open="",
    )


def _example(example: Example, text: int, *, kept: bool) -> Markup:
    facts = [
        ("id", short(example.id, 80)),
        ("source", short(example.source, 60)),
        ("cluster", short(example.cluster, 60)),
    ]
    scores = [(name, value(number)) for name, number in example.scores.items() if not math.isnan(number)]
    if len(scores) <= FACTS:
        facts, scores = facts + scores, []
    return tag(
        "article",
        tag("p", short(example.reason, text), class_="reason") if example.reason else None,
        _thumbnail(example.thumbnail, example.id),
        _text(example.text, text),
        _representative(example, text) if example.representative else None,
        _facts(facts),
        tag("details", tag("summary", plural(len(scores), "score")), _facts(scores)) if scores else None,
        class_="kept" if kept else "dropped",
    )


def _facts(facts: list[tuple[str, str]]) -> Markup:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", text)) for name, text in facts if text))


def _representative(example: Example, text: int) -> Markup:
    before, name, after = sentences.describe_representative(example)
    label = tag("p", before, tag("b", name), after, class_="reason")
    image = _thumbnail(example.representative_thumbnail, name)
    return tag("div", label, image, _text(example.representative_text, text), class_="representative")


def _thumbnail(uri: str, name: str) -> Markup | None:
    if not uri:
        return None
    style = f"background-image: url({uri})"
    return tag("div", class_="thumbnail", role="img", aria_label=f"Image of {short(name, 80)}", style=style)


def _text(text: str, length: int) -> Markup:
    return (
        tag("blockquote", short(text, length), dir="auto") if text else tag("blockquote", "(no text)", class_="empty")
    )


def _again(report: Report) -> list[Markup | None]:
    commands = tag("pre", tag("code", "\n".join(report.reproduce)), tabindex="0") if report.reproduce else None
    config = tag("pre", tag("code", report.config), tabindex="0") if report.config else None
    return [commands, _fold("Resolved configuration", config) if config else None]
