from dataclasses import replace

from curate.contamination import EvaluationSet, Hit
from curate.report import contamination_text, dataset_card, run_page
from curate.report.dataset_card import Export
from curate.report.report_data import ContaminatedRow, Decontamination, Report
from curate.report.summary import summary

EVIL = "</p><script>alert(1)</script> | `x` **b** \n# title"

FOUND = Decontamination(
    sets=(EvaluationSet(name=EVIL, files=((EVIL, "ab" * 32),), texts=1_319, empty=2, short=3, found=4, rows=5),),
    ngram_size=8,
    min_words=8,
    min_overlap_rate=0.7,
    max_ngram_rows=10,
    min_similarity=0.9,
    embedding="lsa",
    rows=5,
    total=6_000,
    hits=tuple(
        ContaminatedRow(
            id=EVIL, text=EVIL * 100, texts=2,
            hit=Hit(set=EVIL, file=EVIL, line=1, similarity=0.5, shared=EVIL if words else None, text=EVIL),
        )
        for words in (True, False)
    ),
)  # fmt: skip


def test_names_and_texts_cannot_break_the_page_or_the_card(rich: Report) -> None:
    told = replace(rich, decontamination=FOUND)
    html = run_page.render(told)
    assert html.count("<script") == run_page.render(rich).count("<script")
    part = html[html.index('<section id="decontamination"') : html.index('<section id="again"')]
    assert "2 of 6,000 hits; all are in decontaminate/part-*.parquet" in part
    assert "contains 50 % of the word sequences of" in part
    assert "cosine similarity of 0.5 to" in part
    assert "; it overlaps 1 more text of the set" in part
    assert len(part) < 20_000
    text = dataset_card.card(told, Export(suffix=".parquet"))
    assert "<script" not in text
    assert "\n# title" not in text
    assert "| 1,319 | 2 | 3 | 4 | 5 |" in text


def test_the_method_states_what_counts_as_contamination() -> None:
    told = " ".join(contamination_text.method(FOUND))
    assert "share at least 70 % of the sequences of 8 words" in told
    assert "occur in more than 10 rows were ignored" in told
    assert "embedding (lsa) has a cosine similarity of at least 0.9" in told
    assert "Embeddings were not compared" not in told
    alone = " ".join(contamination_text.method(replace(FOUND, ngram_size=None, max_ngram_rows=None)))
    assert "sequences" not in alone
    assert alone.endswith("were dropped.")
    words = " ".join(contamination_text.method(replace(FOUND, min_similarity=None, min_overlap_rate=0.0)))
    assert "share a sequence of 8 words" in words
    assert words.endswith("paraphrases of evaluation texts were not detected.")


def test_the_summary_contains_contamination(rich: Report) -> None:
    assert summary(rich)["decontamination"] is None
    told = summary(replace(rich, decontamination=FOUND))["decontamination"]
    assert (told["rows"], told["total"], told["sets"][0]["files"]) == (5, 6_000, {EVIL: "ab" * 32})
    assert "hits" not in told
