"""A pool of texts that nobody would plan for, through everything that cleans: nothing raises, no row is lost."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curate
from curate.errors import GuardrailError

MIB = 1 << 20
PROSE = (
    "It was a bright cold day in April, and the clocks were striking thirteen; nobody looked up at them with a smile."
)
ARABIC = "\u202eالسلام عليكم ورحمة الله وبركاته، كيف حالك اليوم يا صديقي العزيز؟"
CHINESE = "小明有三个苹果他又买了五个苹果请问现在他一共有多少个苹果如果他吃掉两个再送给小红一个那么还剩下几个呢"
FRENCH = "Où le café a-t-il été bu à l'époque, et par qui, s'il vous plaît ?"
LONG = " ".join(f"w{number % 9973}" for number in range(2 * MIB // 6))
UNBROKEN = "".join(chr(97 + number * 7 % 26) for number in range(1 << 16)) * 32

TEXTS: dict[str, str] = {
    "prose": PROSE,
    "word": "word",
    "letter": "x",
    "controls": "a\0b\x01\x1b[31m red \x07\x7f\x85 end\u2028line\u2029paragraph",
    "arabic": ARABIC,
    "hebrew": "שלום עולם, מה שלומך היום?",
    "chinese": CHINESE,
    "thai": "สวัสดีชาวโลก วันนี้อากาศดีมาก",
    "emoji": "👩‍👩‍👧‍👦 a family, 🏳️‍🌈 a flag and 👍🏽 in one text",
    "composed": unicodedata.normalize("NFC", FRENCH),
    "html": "<script>alert('x')</script><img src=x onerror=alert(1)>&amp; {curly} lorem ipsum",
    "personal": "Write to ann@example.org or call +44 20 7946 0958 about the card 4111-1111-1111-1111, as they all do.",
    "long line": LONG,
    "unbroken": UNBROKEN,
    "equal words": " ".join(["same"] * 100_000),
    "equal lines": "\n".join(["one line"] * 50_000),
    "marks": "Z" + "\u0300\u0316" * 100_000,
    "ligatures": "İ" * 1000 + "ﬃ" * 1000 + "ß" * 1000,
    **{f"bomb {number}": bomb for number, bomb in enumerate((
        "y" * 50_000 + "!", "a@" * 50_000, "b." * 50_000 + "@", "1 " * 50_000, "+7" * 50_000, "3." * 50_000,
        "-----BEGIN PRIVATE KEY-----" * 3000, "-----BEGIN PRIVATE KEY-----\n" + "A" * 200_000, "eyJ" * 50_000,
        "eyJaaaaaaaaaaaa.eyJ" * 10_000, "c." + ")" * 100_000 + "x", 'd."' * 30_000, "[4" * 50_000, "[" + "5" * 100_000,
        "phone" + " no" * 50_000, "2:" * 50_000, "DE00 " * 20_000, "e" + " " * 99_999 + "f", "g" + "\n" * 99_999 + "h",
        "i..." * 30_000, "<" * 100_000 + "j", "{" * 100_000 + "k", "Σ'" * 50_000,
    ))},
}  # fmt: skip

EXACT = {  # copies but for case, punctuation, space and the form of characters, and what they are copies of
    "same prose": ("prose", PROSE.upper().replace(" ", "\u3000\n") + "!!"),
    "same word": ("word", "Word."),
    "taken apart": ("composed", unicodedata.normalize("NFD", FRENCH)),
    "same arabic": ("arabic", ARABIC.replace("،", "")),
    "same line": ("long line", LONG),
    "same unbroken": ("unbroken", f" {UNBROKEN}\n"),
    "same marks": ("marks", "Z" + "\u0300" * 100_000 + "\u0316" * 100_000),
    "same ligatures": ("ligatures", "i\u0307" * 1000 + "ffi" * 1000 + "ss" * 1000),
}
NEAR = {  # most of the runs of words are the same
    "nearly long line": ("long line", LONG.replace("w5000 ", "v5000 ")),
    "nearly chinese": ("chinese", CHINESE.replace("呢", "吗")),
}
NEAR_BY_CHARACTERS = {"nearly unbroken": ("unbroken", UNBROKEN + "end")}
ASIDE = {
    "empty": "",
    "blank": " \u3000\n\t",
    "separators": "\x1c\x1d",
    "null": "\0",
    "no width": "\u200b\u200b",
    "none": None,
}

SCORES: list[dict[str, Any]] = [
    {"use": "pii"},
    {"use": "language"},
    {"use": "quality_classifier", "positive": "good.jsonl"},
    {"use": "perplexity", "files": "good.jsonl"},
]
DUPLICATES: list[dict[str, Any]] = [
    {"use": "exact_duplicates", "normalize": ["case", "punctuation", "space", "unicode"], "keep": "first"},
    {"use": "minhash", "keep": "first"},
    {"use": "minhash", "name": "by_characters", "ngram_unit": "character", "linkage": "connected", "keep": "first"},
]
RULES: list[dict[str, Any]] = [
    {"use": "gopher_quality", "min_words": 3, "min_stop_words": None, "min_alphabetic_word_rate": 0.5},
    {"use": "gopher_repetition"},
    {"use": "c4_quality", "bad_words": ["hell", "苹"], "min_sentences": 0},
    {"use": "fineweb_quality", "max_short_line_rate": None},
]


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_map: None) -> dict[str, Any]:
    """A configuration of everything that cleans, over the texts above."""
    monkeypatch.chdir(tmp_path)
    texts = TEXTS | {name: text for group in (EXACT, NEAR, NEAR_BY_CHARACTERS) for name, (_, text) in group.items()}
    rows = [{"id": name, "text": text, "label": name[:1]} for name, text in (texts | ASIDE).items()]
    rows += [{"id": f"plain {n}", "text": f"{PROSE} It is text {n * n}.", "label": "p"} for n in range(5, 30)]
    lines = [*map(json.dumps, rows), r'{"id": "surrogate", "text": "a lone \ud800 one"}']
    Path("pool.jsonl").write_text("\n".join(lines) + "\n")
    good = [
        json.dumps({"text": f"The story of {n} is told in a chapter of {n * 7} pages, all good."}) for n in range(40)
    ]
    Path("good.jsonl").write_text("\n".join(good))
    Path("questions.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in (TEXTS["hebrew"] * 3, "\0"))
    )
    Path("key.jsonl").write_text(
        "".join(json.dumps({"id": name, "kind": "copy", "of": of}) + "\n" for name, (of, _) in EXACT.items())
    )
    return {
        "curate": 1,
        "run": "run",
        "input": {"files": "pool.jsonl", "id": "id", "text": "text", "label": "label", "rows_per_shard": 16},
        "embed": {"use": "hashing", "dimensions": 32},
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "score": SCORES,
        "decontaminate": {"files": "questions.jsonl", "min_similarity": 1.0},
        "select": DUPLICATES + RULES,
        "guard": {"max_quarantine_rate": 0.2},
        "export": {"use": "jsonl", "add": ["scores"], "mask_pii": ["key", "email", "iban", "card", "ip", "phone"]},
        "evaluate": {"ground_truth": "key.jsonl"},
    }


def test_every_row_has_a_fate_and_every_copy_is_found(odd):
    summary = curate.run(odd)
    ledger = pl.read_parquet("run/select/part-*.parquet")
    fates = {row["id"]: row for row in ledger.to_dicts()}
    aside = pl.read_parquet("run/input/quarantine/part-*.parquet")
    assert dict(aside.select("id", "reason").iter_rows()) == {
        **dict.fromkeys(ASIDE, "has no text"),
        None: "does not parse: no low surrogate in string",
    }
    assert len(fates) + len(aside) == summary.rows_in
    for line in summary.as_dict()["accounting"]:
        assert line["rows_in"] == line["kept"] + line["dropped"] + line["quarantined"]

    def stands(entry):
        return {name: row["representative"] for name, row in fates.items() if row["dropped_by"] == entry}

    assert stands("exact_duplicates") == {name: of for name, (of, _) in EXACT.items()}
    near = stands("minhash")
    assert {name: near.pop(name) for name in NEAR} == {name: of for name, (of, _) in NEAR.items()}
    assert all(name.startswith("plain ") for name in near)
    by_characters = stands("by_characters")
    assert by_characters["nearly unbroken"] == "unbroken"
    assert fates["personal"]["selected"]
    exported = pl.read_ndjson("run/export/current/data/train-00000-of-00001.jsonl").to_dicts()
    masked = next(row["text"] for row in exported if row["id"] == "personal")
    assert masked == "Write to <EMAIL> or call <PHONE> about the card <CARD>, as they all do."
    assert "<script>alert" not in Path("run/report.html").read_text()
    scores = pl.concat(
        [pl.read_parquet(f"run/score/{name['use']}/*.parquet").drop("id") for name in SCORES], how="horizontal"
    )
    assert scores.select(pl.all().is_finite().all()).row(0) == (True,) * scores.width


@pytest.mark.parametrize("copies", [1, 2, 300])
def test_a_pool_of_one_text_keeps_one_row(odd, copies):
    rows = [json.dumps({"id": f"#{n}/\n'é", "text": PROSE, "label": None}) for n in range(copies)]
    Path("pool.jsonl").write_text("\n".join(rows))
    for entry in DUPLICATES:
        assert curate.run(odd | {"select": [entry], "evaluate": {}, "score": []}).kept == 1
    with pytest.raises(GuardrailError, match="the selection is empty"):
        curate.run(odd | {"select": [{"use": "gopher_quality"}], "evaluate": {}, "score": []})


@pytest.mark.parametrize("entry", DUPLICATES, ids=lambda entry: entry.get("name", entry["use"]))
def test_guardrails_stop_what_a_template_would_cost(odd, entry, command):
    """99 % of one source are copies, and most of the pool."""
    texts = [("web", f"{PROSE}{' ' * number}") for number in range(297)] + [("web", word * 50) for word in "abc"]
    texts += [("books", f"{number} leagues under the sea, {PROSE[number:]} {number}" * 3) for number in range(20)]
    rows = [{"id": f"{n}", "text": text, "source": source} for n, (source, text) in enumerate(texts)]
    Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = {"files": "pool.jsonl", "id": "id", "text": "text", "source": "source"}
    loose = odd | {"input": pool, "select": [entry], "evaluate": {}, "score": []}
    loose = {key: value for key, value in loose.items() if key != "decontaminate"}
    Path("loose.json").write_text(json.dumps(loose))
    assert command("run", "loose.json").returncode == 0
    published = Path("run/export/current").readlink()
    chosen = pl.read_parquet("run/select/part-*.parquet").filter("selected")["id"]
    assert {"0", "297", "298", "299"} <= set(chosen)
    assert len([name for name in chosen if int(name) < 300]) == 4
    for guard in ("max_drop_rate=0.9", "max_source_drop_rate=0.95"):
        stopped = command("run", "loose.json", "--set", f"guard.{guard}", "--set", "seed=1")
        assert stopped.returncode == 5
        assert f"guard.{guard.split('=')[0]} allows" in stopped.stderr
        assert "'web' 98.67%" in stopped.stderr
    assert Path("run/export/current").readlink() == published
