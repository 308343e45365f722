"""Annotators with scripted judges: dimensions and attributes, skills, and responses in the words of a model."""

from __future__ import annotations

import re
from collections import Counter
from zlib import crc32

import numpy as np
import pytest

from curate.errors import DataError
from curate.kernels.text.name_clusters import merge_names
from curate.plugins import registry
from curate.plugins.annotators.s3ft import S3FT, agrees, final_number
from curate.plugins.annotators.skills import Skills
from curate.plugins.annotators.ssd_llm import SSDLLM, Discovery, parse_reason, parse_value
from curate.plugins.batches import AnnotationBatch
from curate.plugins.judging import UnparsableReplyError, parse_names
from curate.plugins.language_models import Example, Examples, Turn
from tests.fake_models import ScriptedJudge, reply_by_content


def batch_of(examples, judge, blocks=1):
    parts = [part.tolist() for part in np.array_split(np.arange(len(examples)), blocks)]
    read = lambda number: [examples[row] for row in parts[number]]  # noqa: E731
    return AnnotationBatch(examples=Examples(tuple(map(len, parts)), read), advance=lambda _: None, judge=judge)


def annotate(plugin, examples, judge, seed=0, blocks=1):
    return plugin.annotate(batch_of(examples, judge, blocks), np.random.default_rng(seed))


# ---------------------------------------------------------------- every annotator


@pytest.mark.parametrize("name", registry.names("annotator"))
@pytest.mark.parametrize("blocks", [1, 3])
def test_every_annotator_returns_its_columns_whatever_the_judge_replies(name, blocks):
    record = registry.get("annotator", name)
    plugin = record.cls(**record.traits.example)
    examples = [Example((Turn("user", f"p{number}"),) * (number % 2), f"r{number}") for number in range(7)]
    judge = ScriptedJudge(reply_by_content)
    try:
        result = annotate(plugin, examples, judge, blocks=blocks)
    except DataError as error:
        assert "judge" in error.message  # it says nothing that can be used
        return
    assert set(result.columns) == set(plugin.columns())
    assert all(len(values) == 7 for values in result.columns.values())
    assert len(judge.questions) <= plugin.count_questions(7, None)
    again = annotate(plugin, examples, ScriptedJudge(reply_by_content), blocks=blocks)
    assert again == result
    assert record.traits.cost


# ---------------------------------------------------------------- SSD-LLM

ANIMALS, PLACES = ("cat", "dog", "bird"), ("park", "kitchen")
HIDDEN = {"animal": ANIMALS, "place": PLACES}
TEXTS = [f"a {ANIMALS[number % 3]} in the {PLACES[number % 2]}, number {number}" for number in range(40)]


class Keywords:
    """Judge that looks for keywords, knows two dimensions, and does not propose one attribute."""

    withheld = "bird"

    def __init__(self):
        self.kinds: Counter[str] = Counter()

    def __call__(self, question):
        text = question.messages[-1].content
        dimension = (re.search(r'dimension "(\w+)"', text) or [None, ""])[1]
        known = HIDDEN.get(dimension, ())
        kind, reply = self.reply(text, dimension, known, question.sample)
        self.kinds[kind] += 1
        return reply

    def reply(self, text, dimension, known, sample):  # noqa: PLR0911 - one for each question
        if text.startswith("Here are some texts") and not dimension:
            return "propose", "Animal\nPlace\n" + f"odd{crc32(text.encode())}"
        if text.startswith("Here are some texts"):
            return "attributes", "\n".join(name for name in known if name in text and name != self.withheld)
        if text.startswith("These are names"):
            return "summarize", "\n".join(re.findall(r"^(\w+) \(\d+\)$", text, re.MULTILINE))
        listed = text.partition("Text:")[2]
        found = next((name for name in known if name in listed), "none")
        if text.startswith("Which value"):
            offered = text.partition("list:")[2].partition("Text:")[0].split()
            if "or with another" in text and found not in offered:
                return "open", f"other{sample}"
            return "classify", found
        if text.startswith("Along"):
            return "reason", f"missing: {found}"
        if text.startswith("Is "):
            return "validate", "yes"
        raise AssertionError(text)


def test_hidden_dimensions_are_found_the_withheld_attribute_is_added_and_rows_are_assigned():
    keywords = Keywords()
    result = annotate(SSDLLM(), [Example((), text) for text in TEXTS], ScriptedJudge(keywords), blocks=2)
    expected = [f"animal: {ANIMALS[number % 3]}" for number in range(40)]
    assert [row[0] for row in result.columns["attributes"]] == expected
    assert [row[1] for row in result.columns["attributes"]] == [f"place: {PLACES[number % 2]}" for number in range(40)]
    assert result.columns[""][:2] == ["cat / park", "dog / kitchen"]
    assert result.facts == {"dimensions": 2, "cells": 6}
    assert keywords.kinds["validate"] == 1  # exactly one attribute was added
    assert keywords.kinds["propose"] == 10
    assert keywords.kinds["classify"] >= 80
    assert not result.warnings


def test_the_same_transcript_gives_the_same_result_and_rows_are_classified_once():
    examples = [Example((), text) for text in TEXTS]
    runs = [ScriptedJudge(Keywords()) for _ in range(2)]
    results = [annotate(SSDLLM(), examples, judge) for judge in runs]
    assert results[0] == results[1]
    assert runs[0].questions == runs[1].questions


def test_given_dimensions_have_columns_and_an_answer_outside_the_list_is_unassigned():
    class Unsure(Keywords):
        def reply(self, text, dimension, known, sample):
            kind, reply = super().reply(text, dimension, known, sample)
            return kind, "a platypus" if kind == "classify" and "number 7" in text else reply

    plugin = SSDLLM(dimensions=("animal", "place"), refinements=0)
    assert list(plugin.columns()) == ["", "attributes", "animal", "place"]
    result = annotate(plugin, [Example((), text) for text in TEXTS], ScriptedJudge(Unsure()))
    assert result.columns["animal"][7] == "unassigned"
    assert result.columns["animal"][2] == "unassigned"  # a bird, which is in no list
    assert result.columns["place"][6] == "park"
    assert "assignments have no answer" in result.warnings[0]
    with pytest.raises(ValueError, match="names must differ"):
        SSDLLM(dimensions=("a b", "a_b"))


def refined(replies, names=("cat", "dog")):
    """Return the attributes after one refinement with these replies."""
    answers = iter(replies)
    judge = ScriptedJudge(lambda _: next(answers))
    discovery = Discovery(["a text"], judge, np.random.default_rng(0), 10, 20, 1, None)
    return discovery.refine("animal", list(names))


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (["cat", "cat", "cat"], ["cat", "dog"]),
        (["bird", "bird", "bird", "yes"], ["cat", "dog", "bird"]),
        (["bird", "bird", "bird", "no"], ["cat", "dog"]),
        (["cat", "dog", "cat", "mistake"], ["cat", "dog"]),
        (["cat", "dog", "cat", "Hard case."], ["cat", "dog"]),
        (["cat", "dog", "cat", "missing: fox", "yes"], ["cat", "dog", "fox"]),
        (["cat", "dog", "cat", "missing: cat"], ["cat", "dog"]),
        (["cat", "dog", "cat", "redundant: pet", "yes"], ["pet"]),
        (["cat", "dog", "cat", "redundant: pet", "no"], ["cat", "dog"]),
        (["cat", "dog", "cat", "because"], ["cat", "dog"]),
        (["cat", "", "cat"], ["cat", "dog"]),
    ],
)
def test_disagreements_change_the_attributes_as_the_judge_explains_them(replies, expected):
    assert refined(replies) == expected


def test_a_dimension_needs_more_than_a_fifth_of_the_rounds():
    replies = iter(["tone"] * 2 + ["topic"] * 3 + ["x y z v w"] * 5 + ["topic"])
    judge = ScriptedJudge(lambda _: next(replies))
    discovery = Discovery(TEXTS, judge, np.random.default_rng(0), 10, 20, 0, None)
    assert discovery.propose_dimensions() == ["topic"]
    with pytest.raises(DataError, match="agrees on no dimension"):
        Discovery(TEXTS, ScriptedJudge(lambda _: ""), np.random.default_rng(0), 10, 20, 0, None).propose_dimensions()


def test_replies_of_lists_values_and_reasons():
    assert parse_names("- Topic: what it is about\n2) Tone (5)\n* topic", 5, 4) == ("topic", "tone")
    assert parse_value(" **Cat.**\nbecause", ("cat",)) == "cat"
    assert parse_value("Fox", ("cat",), is_open=True) == "fox"
    assert parse_reason("redundant: Pet animal.") == ("redundant", "pet animal")
    for reply, function in [
        ("", lambda text: parse_names(text, 5, 4)),
        ("this is a sentence with many words", lambda text: parse_names(text, 5, 4)),
        ("fox", lambda text: parse_value(text, ("cat",))),
        ("missing:", parse_reason),
        ("dunno", parse_reason),
    ]:
        with pytest.raises(UnparsableReplyError):
            function(reply)


# ---------------------------------------------------------------- skills


def test_skills_are_lists_and_similar_names_are_merged():
    replies = {
        "0": "Solving linear equations\nunit conversion",
        "1": "1. solving linear equation\n2. poetry",
        "2": "???" * 40,
    }
    judge = ScriptedJudge(lambda question: replies[question.messages[-1].content[-1]])
    replies["3"] = "solving linear equations"
    result = annotate(Skills(), [Example((), f"text {number}") for number in range(4)], judge, blocks=2)
    assert result.columns[""] == [
        ["solving linear equations", "unit conversion"],
        ["solving linear equations", "poetry"],
        None,
        ["solving linear equations"],
    ]
    assert result.facts["skills"] < result.facts["names"]


def test_only_a_sample_gets_skills_and_long_rows_are_shortened():
    judge = ScriptedJudge(lambda _: "reading")
    examples = [Example((Turn("user", "p" * 30),), "r" * 30) for _ in range(20)]
    result = annotate(Skills(sample_size=5, max_characters=40), examples, judge, blocks=3)
    assert sum(skills is not None for skills in result.columns[""]) == 5 == len(judge.questions)
    assert judge.questions[0].messages[0].content.endswith("p" * 30 + "\n" + "r" * 10)


def test_replies_of_skills():
    assert parse_names("* Reading\n\n• reading \n3. 'long division'", 5, 10) == ("reading", "long division")
    assert parse_names("a\nb\nc", 2, 10) == ("a", "b")
    for reply in ("", "\n-\n", "One needs to be able to read and to write and to count"):
        with pytest.raises(UnparsableReplyError):
            parse_names(reply, 5, 10)


def test_names_are_merged_into_the_most_frequent_similar_one():
    counts = {"solving equations": 5, "solving equation": 9, "equations": 1, "poetry": 2}
    merged = merge_names(counts, 0.8)
    assert merged["solving equations"] == "solving equation"
    assert merged["poetry"] == "poetry"
    assert merge_names(counts, 1.0) == {name: name for name in counts}
    assert merge_names({}, 0.5) == {}


# ---------------------------------------------------------------- S3FT


def model(question):
    """Reply as a model that is right for even numbers, and rephrases well unless the number ends with 3."""
    text = question.messages[-1].content
    number = int(re.findall(r"<(\d+)>", text)[0])
    if text.startswith("Decide whether"):
        answer = text.partition("Answer to decide on:")[2]
        return "Yes." if "right" in answer else "No."
    if "A correct answer is" in text:
        return "wrong again" if number % 10 == 3 else f"right, rephrased = {number}"
    return f"right = {number}" if number % 2 == 0 else "wrong"


def questions_and_answers(n):
    return [Example((Turn("user", f"What is <{number}>?"),), f"gold = {number}") for number in range(n)]


@pytest.mark.parametrize("check", ["judge", "number"])
def test_all_three_origins_occur_and_add_up(check):
    judge = ScriptedJudge(model)
    result = annotate(S3FT(check=check), questions_and_answers(20), judge, blocks=2)
    origins = result.columns["origin"]
    assert origins == ["original" if n % 10 == 3 else "answer" if n % 2 == 0 else "rephrased" for n in range(20)]
    assert result.columns["response"][:4] == ["right = 0", "right, rephrased = 1", "right = 2", "gold = 3"]
    assert result.columns["changed"] == [origin != "original" for origin in origins]
    assert sum(result.facts.values()) == 20
    decisions = [one for one in judge.questions if one.messages[-1].content.startswith("Decide")]
    assert len(decisions) == (20 + 10 if check == "judge" else 0)


def test_rows_without_a_prompt_or_a_response_and_failed_answers_keep_their_response():
    examples = [Example((), "text"), Example((Turn("user", "What is <1>?"),), " "), *questions_and_answers(1)]
    judge = ScriptedJudge(lambda _: "")
    result = annotate(S3FT(), examples, judge)
    assert result.columns["response"] == ["text", " ", "gold = 0"]
    assert set(result.columns["origin"]) == {"original"}
    assert len(judge.questions) == 2  # an answer and a rewriting of the last row


@pytest.mark.parametrize(
    ("answer", "reference", "check", "expected"),
    [
        ("So it is 1,234.50.", "#### 1234.5", "number", True),
        ("It is 12", "13", "number", False),
        ("no number", "also none", "number", False),
        ("The capital is  Paris.", "paris", "contains", True),
        ("Paris", "", "contains", False),
        ("A  b", "a B", "exact", True),
        ("a", "b", "exact", False),
    ],
)
def test_rules(answer, reference, check, expected):
    assert agrees(answer, reference, check) == expected


def test_final_numbers():
    assert [final_number(text) for text in ("-3", "1,000", "2.50", "10", "v1.2.3 costs 5.0")] == [
        "-3",
        "1000",
        "2.5",
        "10",
        "5",
    ]
