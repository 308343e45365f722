"""Tests of ``curate init`` with common layouts of instruction, chat and classification data."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from curate.config.loader import load_config
from curate.store.ledger import Run

WORDS = ["amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "iris", "kelp", "lagoon", "meadow", "night"]
N = 40


def words(number: int, length: int = 6) -> str:
    """Return a text that differs for every number."""
    return (
        " ".join(WORDS[(number * 7 + place * (number % 5 + 1)) % len(WORDS)] for place in range(length)) + f" {number}"
    )


def turn(role: str, content: object, **more: object) -> dict[str, object]:
    return {"role": role, "content": content, **more}


def tool_calls(number: int) -> list[dict[str, object]]:
    arguments = {"city": "Oslo"} if number % 2 else {"ids": [1, 2], "deep": {"x": None}}
    return [{"id": f"c{number}", "type": "function", "function": {"name": "look_up", "arguments": arguments}}]


def lines(make) -> str:
    return "".join(json.dumps(make(number)) + "\n" for number in range(N))


def table(make, delimiter: str = ",", header: list[str] | None = None) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerows([*([header] if header else []), *(make(number) for number in range(N))])
    return out.getvalue()


def ask(number: int) -> str:
    return f"ask {words(number)}"


def say(number: int) -> str:
    return f"say {words(number, 12)}"


CHAT = "{messages[*].content}"
LAYOUTS = {
    "GPTeacher": (
        "a.json",
        json.dumps([{"instruction": ask(n), "input": "some" if n % 2 else "", "response": say(n)} for n in range(N)]),
        {"text": "{instruction}\n{input}\n{response}"},
        f"{ask(0)}\n\n{say(0)}",
    ),
    "Alpaca": (
        "a.jsonl",
        lines(lambda n: {"instruction": ask(n), "input": "", "output": say(n), "text": f"Below is {ask(n)} {say(n)}"}),
        {"text": "{instruction}\n{input}\n{output}"},
        f"{ask(0)}\n\n{say(0)}",
    ),
    "ShareGPT": (
        "a.jsonl",
        lines(
            lambda n: {
                "id": f"identity_{n}",
                "conversations": [{"from": "human", "value": ask(n)}, {"from": "gpt", "value": say(n)}],
            }
        ),
        {"text": "{conversations[*].value}", "id": "id"},
        f"{ask(0)}\n{say(0)}",
    ),
    "messages": (
        "a.jsonl",
        lines(lambda n: {"prompt_id": f"{n:032x}", "messages": [turn("user", ask(n)), turn("assistant", say(n))]}),
        {"text": CHAT, "id": "prompt_id"},
        f"{ask(0)}\n{say(0)}",
    ),
    "messages with calls of tools": (
        "a.jsonl",
        lines(
            lambda n: {
                "messages": [
                    turn("user", ask(n)),
                    turn("assistant", None, tool_calls=tool_calls(n)),
                    turn("tool", "sunny", tool_call_id=f"c{n}"),
                    turn("assistant", say(n)),
                ][:: 3 if n % 3 else 1]
            }
        ),
        {"text": CHAT},
        f"{ask(0)}\nsunny\n{say(0)}",
    ),
    "messages with parts": (
        "a.jsonl",
        lines(
            lambda n: {
                "messages": [
                    turn("user", [{"type": "text", "text": ask(n)}, {"type": "image_url", "image_url": {"url": "u"}}]),
                    turn("assistant", say(n)),
                ]
            }
        ),
        {"text": "{messages[*].content[*].text}"},
        f"{ask(0)}\n{say(0)}",
    ),
    "messages in an object": (
        "a.jsonl",
        lines(lambda n: {"id": n, "data": {"messages": [turn("user", ask(n)), turn("assistant", say(n))]}}),
        {"text": "{data.messages[*].content}", "id": "id"},
        f"{ask(0)}\n{say(0)}",
    ),
    "preferences": (
        "a.jsonl",
        lines(lambda n: {"prompt": ask(n), "chosen": say(n), "rejected": f"no {say(n)}"}),
        {"text": "{prompt}\n{chosen}"},
        f"{ask(0)}\n{say(0)}",
    ),
    "preferences of chats": (
        "a.jsonl",
        lines(
            lambda n: {
                "prompt": ask(n),
                "rejected": [turn("user", ask(n)), turn("assistant", "no")],
                "chosen": [turn("user", ask(n)), turn("assistant", say(n))],
            }
        ),
        {"text": "{chosen[*].content}"},
        f"{ask(0)}\n{say(0)}",
    ),
    "questions and answers": (
        "a.jsonl",
        lines(lambda n: {"question": ask(n), "answer": n * 0.5}),
        {"text": "{question}\n{answer}"},
        f"{ask(0)}\n0.0",
    ),
    "questions about a context": (
        "a.jsonl",
        lines(lambda n: {"id": f"{n:024x}", "context": say(n), "question": ask(n), "answers": {"text": ["a", "b"]}}),
        {"text": "{context}\n{question}\n{answers.text[*]}", "id": "id"},
        f"{say(0)}\n{ask(0)}\na\nb",
    ),
    "web pages": (
        "a.jsonl",
        lines(lambda n: {"url": f"https://x.example/{n}", "timestamp": "2019-04-25T12:57:54Z", "text": say(n)}),
        {"text": "text"},
        say(0),
    ),
    "unknown names": (
        "a.jsonl",
        lines(lambda n: {"ref": f"a{n}", "blurb": say(n), "flavor": "abc"[n % 3]}),
        {"text": "blurb", "label": "flavor"},
        say(0),
    ),
    "a language without spaces": (
        "a.jsonl",
        lines(lambda n: {"id": n, "content": f"我们今天去公园看花因为天气很好{n}"}),
        {"text": "content", "id": "id"},
        "我们今天去公园看花因为天气很好0",
    ),
    "CSV with labels and sources": (
        "a.csv",
        table(
            lambda n: [n, say(n), ["pos", "neg"][n % 2], ["web", "books"][n % 3 > 0]],
            ",",
            ["ID", "Text", "Label", "Source"],
        ),
        {"text": "Text", "id": "ID", "label": "Label", "source": "Source"},
        say(0),
    ),
    "CSV with semicolons": (
        "a.csv",
        table(lambda n: [say(n), ["pos", "neg"][n % 2]], ";", ["text", "label"]),
        {"text": "text", "label": "label"},
        say(0),
    ),
    "CSV without a header": (
        "a.csv",
        table(lambda n: [f"{WORDS[n % 12]} {WORDS[n // 12]} night", ["pos", "neg"][n % 2]]),
        {"text": "column_1", "label": "column_2", "header": False},
        "amber amber night",
    ),
    "TSV without a header": (
        "a.tsv",
        table(lambda n: [say(n), f"{n % 4}", f"e{n:x}q"], "\t"),
        {"text": "column_1", "label": "column_2", "id": "column_3", "header": False},
        say(0),
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_init_finds_the_text_and_the_run_quarantines_no_row(command, pool, name):
    file, content, expected, text = LAYOUTS[name]
    Path(file).write_text(content)
    done = command("init", "new.yaml", "--files", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "wrote new.yaml for 1 file"
    assert f"text: {expected['text']!r} (" in done.stdout
    config = load_config(Path("new.yaml"))
    keys = {"id": None, "label": None, "source": None, "header": True} | expected
    assert {key: getattr(config.input, key) for key in keys} == keys
    ran = command("run", "new.yaml", "--no-report", "--json")
    assert ran.returncode == 0, ran.stderr
    read = json.loads(ran.stdout)["accounting"][0]
    assert (read["rows_in"], read["kept"], read["quarantined"]) == (N, N, 0)
    assert Run.open(Path(config.run)).inputs.read(0, ("text",))["text"][0].as_py() == text


def test_only_the_texts_of_chats_are_masked_and_shortened(command, pool):
    mail, long = "ann@example.org", " ".join(WORDS)
    rows = [
        {"messages": [turn("user", f"{mail} {n} {long}", name=mail), turn(mail, None, tool_calls=[{"f": mail}])]}
        for n in range(N)
    ]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert command("init", "new.yaml", "--files", "a.jsonl").returncode == 0
    settings = ["select=[{use: uniform, keep: 4}]", "export={use: jsonl, mask_pii: [email], remove_repeated_spans: 10}"]
    ran = command("run", "new.yaml", "--no-report", *(word for one in settings for word in ("--set", one)))
    assert ran.returncode == 0, ran.stderr
    (data,) = Path("runs/new/export/current/data").iterdir()
    kept = [json.loads(line) for line in data.read_text().splitlines()]
    first = [row["messages"][0].pop("content") for row in kept]
    assert [text.split()[0] for text in first] == ["<EMAIL>"] * 4
    assert [long in text for text in first] == [True, False, False, False]
    assert kept == [{"messages": [{"role": "user", "name": mail}, rows[0]["messages"][1]]}] * 4


@pytest.mark.parametrize(("files", "more", "expected"), [(1, {}, None), (2, {}, "file"), (2, {"file": "x"}, None)])
def test_each_file_is_a_source_if_no_column_contains_sources(command, tmp_path, monkeypatch, files, more, expected):
    monkeypatch.chdir(tmp_path)
    for number in range(files):
        rows = [{"text": f"file {number}, row {row}: amber birch cobalt dune ember", **more} for row in range(40)]
        Path(f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert command("init", "c.yaml", "--files", "*.jsonl").returncode == 0
    assert load_config(Path("c.yaml")).input.source == expected
    assert command("check", "c.yaml").returncode == 0
