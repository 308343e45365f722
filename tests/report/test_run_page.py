import base64
import hashlib
import itertools
import json
import math
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from importlib.resources import files
from types import ModuleType

import numpy as np
import pytest

from curate.accounting import Count
from curate.report import statistics
from curate.report.charts import projection
from curate.report.evaluation_data import Estimate, Evaluation, Line, Slice, Stability
from curate.report.report_data import (
    Cluster,
    Conflict,
    Conflicts,
    Example,
    Examples,
    LabelGroup,
    MaskedPii,
    Neighbors,
    PoolMap,
    Report,
    Stage,
    Tokens,
)
from curate.report.run_page import MOST_BYTES, TEXTS, render

VOID = {"meta", "wbr"}
LIBRARY = files("curate.report").joinpath("plotly-basic.min.js").read_text("utf-8")
EVIL = "</script></style><!-- <script>alert(1)</script><img src=x onerror=alert(1)> & \"'\u2028 %{x} $\\alpha$"


class Page(HTMLParser):
    """Parsed page: its elements, its texts, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(page.replace(LIBRARY, ""))  # 1 MB that a parser in Python need not read
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text += data

    def elements(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]

    def figures(self) -> list[dict]:
        return json.loads(self.scripts[0])


def minimal(**parts: object) -> Report:
    stages = (Stage(name="input", description="Read.", rows=Count(3, 3)),)
    return Report(**{"run": "r", "seed": 0, "version": "1", "stages": stages, **parts})


def arrays(*rows: list[int]) -> list[np.ndarray]:
    return [np.array(row, bool) for row in rows]


@pytest.fixture(scope="module")
def page(rich: Report) -> Page:
    return Page(render(rich))


class TestWhole:
    def test_every_element_is_closed(self, page: Page) -> None:
        assert page.open == []

    def test_ids_are_unique(self, page: Page) -> None:
        ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
        assert len(ids) == len(set(ids))

    def test_what_labels_point_at_exists(self, page: Page) -> None:
        ids = {attributes.get("id") for _, attributes in page.seen}
        assert {a["aria-labelledby"] for _, a in page.seen if "aria-labelledby" in a} <= ids

    def test_nothing_is_loaded_from_elsewhere(self, page: Page) -> None:
        """No element refers to another file, and the policy allows only scripts with a listed hash."""
        assert not [a for _, a in page.seen if a.keys() & {"src", "action", "data", "srcset"}]
        assert all(a["href"].startswith("#") for _, a in page.seen if "href" in a)
        policy = next(a["content"] for a in page.elements("meta") if a.get("http-equiv"))
        assert policy.startswith("default-src 'none'")
        assert "http" not in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2]

    def test_the_policy_names_the_hash_of_every_script_that_runs(self, rich: Report) -> None:
        text = render(rich)
        scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
        assert len(scripts) == 2
        assert set(re.findall(r"'sha256-([^']+)'", text.partition("<title>")[0])) == hashes

    def test_the_page_contains_headline_story_tokens_and_warnings(self, page: Page) -> None:
        assert "1,200 of 6,012 rows kept" in page.text
        assert "dropped by where" in page.text
        assert "estimated from the text" in page.text
        assert "12 rows had no text and were quarantined" in page.text
        assert "seed 0 · curate 0.1.0" in page.text

    def test_every_chart_has_an_alternative_text(self, page: Page) -> None:
        charts = [a for a in page.elements("div") if a.get("class") == "chart"]
        assert len(charts) == len(page.figures()) == 14
        assert all(a["role"] == "img" and len(a["aria-label"]) > 40 for a in charts)

    def test_every_chart_shows_the_random_baseline(self, page: Page) -> None:
        """Except the chart of other thresholds, which have no budget."""
        for figure in page.figures():
            assert figure["key"] == "retention-0" or any(
                "andom baseline" in trace["name"] for trace in figure["data"]
            ), figure["key"]

    def test_every_column_and_row_has_a_header(self, page: Page) -> None:
        assert {a.get("scope") for a in page.elements("th")} == {"col", "row"}

    def test_the_map_contains_the_details_of_every_row(self, page: Page, rich: Report) -> None:
        rows = next(figure["rows"] for figure in page.figures() if figure["key"] == "map")
        assert {len(column) for column in rows.values()} == {len(rich.map.ids)}
        assert rows.keys() == {"id", "text", "outcome", "kept", "uniform", "reason", "cluster", "source"}

    def test_every_view_of_the_map_shows_every_row_once(self, page: Page, rich: Report) -> None:
        figure = next(figure for figure in page.figures() if figure["key"] == "map")
        assert [view["label"] for view in figure["views"]] == ["This selection", "Random baseline", "Dropped by"]
        for view in figure["views"]:
            shown = [t["customdata"] for t, on in zip(figure["data"], view["shown"], strict=True) if on]
            assert sorted(itertools.chain(*shown)) == list(range(len(rich.map.ids)))

    def test_scores_are_ordered_by_how_well_they_separate_kept_from_dropped_rows(self, page: Page) -> None:
        """The first four are shown, the others are collapsed, and the constant score is named."""
        titles = {figure["key"]: figure["layout"]["xaxis"]["title"]["text"] for figure in page.figures()[5:11]}
        assert list(titles) == ["score-0", "score-1", "score-2", "score-3", "folded-0", "folded-1"]
        assert titles["score-0"] == "quality<br>probability<br>higher = better prose"
        assert "2 more scores" in page.text
        assert "Scores with the same value in all rows: ellipses (0)." in page.text

    def test_charts_have_only_the_types_that_the_library_draws(self, page: Page) -> None:
        """The basic bundle draws bars, scatter plots and pies. It is not edited, and the page stays small."""
        assert {trace["type"] for figure in page.figures() for trace in figure["data"]} == {"bar", "scatter"}
        assert LIBRARY.startswith("/**\n* plotly.js (basic - minified) v4.1.1\n")
        digest = hashlib.sha256(LIBRARY.encode()).hexdigest()
        assert digest == "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"

    def test_same_report_same_bytes(self, rich: Report) -> None:
        assert render(rich) == render(replace(rich))


class TestHostile:
    def test_no_text_breaks_out_of_its_element(self) -> None:
        """With hostile text in every field, the page has the same elements as with harmless text."""
        tame, evil = Page(render(everywhere("harmless"))), Page(render(everywhere(EVIL)))
        assert evil.open == []
        assert [name for name, _ in evil.seen] == [name for name, _ in tame.seen]
        assert "alert(1)" in evil.text
        assert not [a for _, a in evil.seen if "onerror" in a]

    def test_the_charts_data_cannot_end_its_script(self) -> None:
        data = re.search(r'<script id="figures"[^>]*>(.*?)</script>', render(everywhere(EVIL)), re.DOTALL).group(1)
        assert not set(data) & set("<>&\u2028\u2029")
        assert EVIL[:60] in json.loads(data)[0]["rows"]["id"][0]

    def test_names_that_charts_write_are_escaped(self) -> None:
        """plotly.js interprets some HTML in tick labels, axis titles and hover texts."""
        figures = Page(render(everywhere("<b>x</b><a href='y'>z</a>"))).figures()
        for figure in figures:
            written = [figure["layout"], [{k: t.get(k) for k in ("text", "hovertemplate")} for t in figure["data"]]]
            text = json.dumps(written).replace("<br>", "").replace("<extra></extra>", "")
            assert "<" not in text, figure["key"]


def everywhere(text: str) -> Report:
    """Return a small report with the same text in every field."""
    kept, uniform = arrays([1, 0], [0, 1])
    example = Example(
        id=text, text=text, reason=text, source=text, cluster=text, scores={text: 1.0}, relation=text,
        representative=text, representative_dropped_by=text, kept_instead=text + "x", representative_text=text,
        similarity=0.97, thumbnail=text, representative_thumbnail=text,
    )  # fmt: skip
    assert len(fields(example)) == 14
    account = Count(2, 1, 1)
    stage = Stage(name=text, description=text, rows=account, sources={text: account})
    return Report(
        run=text,
        seed=0,
        version=text,
        stages=(stage, replace(stage, rows=Count(1, 1), sources={text: Count(1, 1)})),
        tokens=Tokens(2, 1, text, estimated=True),
        warnings=(text,),
        map=PoolMap(
            positions=np.zeros((2, 2), np.float32), ids=(text, text), texts=(text, text), kept=kept, uniform=uniform,
            dropped_by=("", text), reasons=("", text), clusters=(text, text), sources=(text, text), atlas=text,
            pool_rows=2,
        ),
        scores=(
            replace(statistics.histogram(text, np.array([1.0, 2.0]), kept, uniform, unit=text), higher_means=text),
        ),
        shares=(statistics.shares(text, np.array([0, 1]), [text, text], kept, uniform),),
        clusters=(Cluster(name=text, rows=2, kept=1, example=text),),
        neighbors=Neighbors(before=np.array([0.5]), after=np.array([0.5]), uniform=np.array([0.5]), method=text),
        masked=MaskedPii(1, {text: 1}),
        conflicts=Conflicts(
            texts=1, rows=2, kept=1,
            groups=(Conflict(text=text, rows=2, n_labels=1, labels=(LabelGroup(label=text, rows=2, ids=(text,)),)),),
        ),
        examples=(Examples(entry=text, total=1, rows=(example,)),),
        evaluation=evaluated(text),
        comparison=text,
        unevaluated=text,
        config=text,
        reproduce=(text,),
    )  # fmt: skip


def evaluated(text: str) -> Evaluation:
    unknown = Estimate(math.nan, math.nan, math.nan)
    line = Line(
        name=text, quantity=text, unit=text, rate=False, higher_is_better=True, learns=True, selection=unknown,
        uniform=unknown, difference=unknown, full=unknown, cost=unknown, p=math.nan, exploratory=False,
    )  # fmt: skip
    group = Slice(grouping=text, name=text, rows=9, selection=0.5, uniform=0.5, full=0.5, lost=unknown)
    return Evaluation(
        run=text, select=text, seeds=1, rows=1, pool=2, tested=text, primary=text, sliced=text, slices=(group,),
        metrics=(line, replace(line, name=text + "x", learns=False)), stability={text: Stability(1.0, 1.0)},
        notes=(text,),
    )  # fmt: skip


class TestMissing:
    def test_a_run_without_any_figure_is_a_page(self) -> None:
        page = Page(render(minimal()))
        assert page.figures() == []
        assert "All 3 rows kept" in page.text
        assert "No row was dropped" in page.text
        for absent in ("Scores", "Example rows", "Rows by source", "Comparison with the random baseline"):
            assert absent not in page.text

    def test_a_run_of_one_row_has_a_page(self) -> None:
        kept, uniform = arrays([1], [1])
        one = minimal(
            stages=(Stage(name="input", description="Read.", rows=Count(1, 1)),),
            map=PoolMap(
                positions=np.zeros((1, 2), np.float32), ids=("a",), texts=("t",), kept=kept, uniform=uniform,
                dropped_by=("",), reasons=("",), pool_rows=1,
            ),
            scores=(statistics.histogram("s", np.array([2.5]), kept, uniform),),
            shares=(statistics.shares("cluster", np.array([0]), ["c"], kept, uniform),),
            neighbors=Neighbors(**dict.fromkeys(("before", "after", "uniform"), np.zeros(0, np.float32))),
        )  # fmt: skip
        page = Page(render(one))
        assert "The one row kept" in page.text
        assert "All rows have the same cluster, c." in page.text
        assert "Scores with the same value in all rows: s (2.5)." in page.text
        assert [figure["key"] for figure in page.figures()] == ["map"]

    def test_a_run_that_kept_nothing_has_a_page(self) -> None:
        kept, uniform = arrays([0, 0], [0, 0])
        empty = np.zeros(0, np.float32)
        none = minimal(
            stages=(Stage(name="select where", description="Filter.", rows=Count(2, 0, 2)),),
            scores=(statistics.histogram("s", np.array([1.0, 2.0]), kept, uniform),),
            shares=(statistics.shares("source", np.array([0, 1]), ["a", "b"], kept, uniform),),
            neighbors=Neighbors(before=np.array([0.5, 0.5], np.float32), after=empty, uniform=empty),
        )
        page = Page(render(none))
        assert "0 of 2 rows kept" in page.text
        assert "No kept row has a value of s" in page.text
        assert len(page.figures()) == 3

    def test_a_score_without_values_is_described_as_such(self) -> None:
        kept, uniform = arrays([1, 0], [0, 1])
        page = Page(render(minimal(scores=(statistics.histogram("s", np.full(2, np.nan), kept, uniform),))))
        assert "Scores without a value in any row: s." in page.text

    def test_rows_without_a_score_are_mentioned(self) -> None:
        kept, uniform = arrays([1, 0, 1], [0, 1, 0])
        page = Page(render(minimal(scores=(statistics.histogram("s", np.array([1, 2, np.nan]), kept, uniform),))))
        assert "1 row without a value is not shown" in page.text

    def test_numbers_that_are_not_finite_are_null_in_the_data(self) -> None:
        report = minimal(scores=(statistics.histogram("s", np.array([1.0, 2.0]), *arrays([1, 1], [0, 0])),))
        assert "NaN" not in Page(render(report)).scripts[0]


class TestMany:
    def test_the_scores_of_an_example_are_collapsed_if_there_are_many(self) -> None:
        row = Example(id="a", text="t", scores={f"score{i}": float(i) for i in range(9)})
        page = Page(render(minimal(examples=(Examples(entry="", total=1, rows=(row,)),))))
        assert "9 scores" in page.text
        assert all(f"score{i}" in page.text for i in range(9))

    def test_a_plain_number_has_a_noun(self) -> None:
        part = statistics.shares("cluster", np.array([0, 1]), ["0", "tides"], *arrays([1, 1], [1, 0]))
        figure = Page(render(minimal(shares=(part,)))).figures()[0]
        assert figure["layout"]["yaxis"]["ticktext"] == ["cluster 0", "tides"]

    def test_sources_beyond_the_listed_ones_are_summed_not_lost(self) -> None:
        accounts = {f"source {i:02}": Count(100 - i, 50, 50 - i) for i in range(30)}
        whole = Count(sum(a.rows_in for a in accounts.values()), 1500, sum(a.dropped for a in accounts.values()))
        page = Page(render(minimal(stages=(Stage(name="input", description="", rows=whole, sources=accounts),))))
        assert "10 other sources" in page.text
        assert "source 19" in page.text
        assert "source 20" not in page.text
        others = sum(100 - i for i in range(20, 30))
        assert f"10 other sources{others}500" in page.text

    def test_groups_beyond_the_drawn_ones_are_summed_not_lost(self) -> None:
        codes = np.repeat(np.arange(40), 3)
        kept = np.arange(120) % 3 == 0
        part = statistics.shares("cluster", codes, [f"c{i}" for i in range(40)], kept, ~kept)
        figure = Page(render(minimal(shares=(part,)))).figures()[0]
        assert len(figure["layout"]["yaxis"]["ticktext"]) == 15
        for trace in figure["data"]:
            assert max(trace["x"]) == pytest.approx(2.5)  # the sum of the others would set the scale
        assert "The 25 other clusters, not drawn, are 62.5 % of the pool, 62.5 % of the kept rows" in figure["note"]

    def test_entries_without_an_own_color_share_one(self, sample: ModuleType) -> None:
        m = 30
        part = PoolMap(
            positions=np.zeros((m, 2), np.float32), ids=("i",) * m, texts=("t",) * m, kept=np.zeros(m, bool),
            uniform=np.zeros(m, bool), dropped_by=tuple(f"e{i % 10}" for i in range(m)), reasons=("r",) * m,
            pool_rows=99,
        )  # fmt: skip
        figure = Page(render(minimal(map=part))).figures()[0]
        assert figure["data"][-1]["name"] == "other entries (12)"
        assert sum(len(t["customdata"]) for t in figure["data"][4:]) == m


class TestSize:
    @pytest.mark.parametrize("letter", ["a", "<", "我", "\N{GRINNING FACE}"])
    def test_long_texts_are_shortened_until_the_page_is_small(self, rich: Report, letter: str) -> None:
        """For characters of any length in UTF-8 or as an escape sequence."""
        text = letter * 2_000
        m = projection.SAMPLE
        part = PoolMap(
            positions=np.zeros((m, 2), np.float32), ids=("i" * 80,) * m, texts=(text,) * m, kept=np.ones(m, bool),
            uniform=np.ones(m, bool), dropped_by=("",) * m, reasons=(text,) * m, clusters=(text,) * m,
            sources=(text,) * m, pool_rows=m,
        )  # fmt: skip
        row = Example(
            id=text, text=text, reason=text, source=text, cluster=text, relation="duplicate of", representative=text,
            representative_text=text,
        )  # fmt: skip
        groups = tuple(Examples(entry=f"e{i}", total=8, rows=(row,) * 8) for i in range(12))
        page = render(replace(rich, map=part, examples=groups))
        assert len(page.encode()) <= MOST_BYTES == 2_000_000

    def test_a_page_of_short_texts_does_not_mention_shortening(self, rich: Report) -> None:
        assert "texts cut to" not in render(rich)
        assert len(render(rich).encode()) <= MOST_BYTES
        assert TEXTS[0] == max(TEXTS)


class TestContents:
    def test_every_section_is_linked_once_in_order(self, page: Page) -> None:
        links = [a["href"].removeprefix("#") for a in page.elements("a") if a["href"].startswith("#")]
        assert links == [a["id"] for a in page.elements("section")]

    def test_axes_explain_the_meaning_of_a_higher_score(self) -> None:
        scores = [statistics.histogram("s", np.array([1.0, 2.0]), *arrays([1, 0], [0, 1]), higher_is_better=True)]
        scores.append(replace(scores[0], name="t", higher_means="longer"))
        figures = Page(render(minimal(scores=tuple(scores)))).figures()
        titles = [figure["layout"]["xaxis"]["title"]["text"] for figure in figures]
        assert titles == ["s<br>higher is better", "t<br>higher = longer"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"kept_instead": "a"}, "duplicate of a, similarity 0.97; that row was kept"),
        (
            {"representative_dropped_by": "ccs", "kept_instead": "b"},
            "duplicate of a, similarity 0.97; that row was dropped later by ccs, and b was kept in its place",
        ),
        (
            {"representative_dropped_by": "ccs"},
            "duplicate of a, similarity 0.97; that row was dropped later by ccs, and no row was kept in its place",
        ),
        ({}, "duplicate of a, similarity 0.97; that row is not in the export"),
    ],
)
def test_no_row_is_called_kept_that_was_dropped_later(parts: dict[str, str], said: str) -> None:
    row = Example(id="c", text="t", relation="duplicate of", representative="a", similarity=0.97, **parts)
    page = Page(render(minimal(examples=(Examples(entry="semdedup", total=1, rows=(row,)),))))
    assert said in page.text
