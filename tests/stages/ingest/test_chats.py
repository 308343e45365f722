"""Chats as text: messages of OpenAI and ShareGPT, tool calls and parts, from JSON Lines, Parquet and JSON texts."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate.config.template_syntax import extract_paths, join_path, split_path
from curate.errors import DataError
from curate.kernels.text.chats import render_value
from curate.kernels.text.json_values import to_json_types
from curate.stages.export.map_strings import map_strings
from curate.stages.ingest import text_template
from curate.stages.ingest.pool_layout import detect_layout

MAIL = "ann@example.org"
OPENAI = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": f"Mail {MAIL}"}, {"type": "image_url", "image_url": {"url": "u"}}],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "mail", "arguments": json.dumps({"to": MAIL, "n": 1.10})},
            },
            {"id": "c2", "type": "function", "function": {"name": "log", "arguments": {"to": MAIL}}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sent"},
    None,
    {"role": "assistant", "content": "Done."},
]
OPENAI_TEXT = f"""system: Be brief.

user: Mail {MAIL}
[image_url]

assistant: mail({{"to": "{MAIL}", "n": 1.1}})
log({{"to":"{MAIL}"}})

tool: sent

assistant: Done."""
SHAREGPT = [
    {"from": "human", "value": "Hi"},
    {"from": "gpt", "value": f"Write to {MAIL}"},
    {"from": "gpt", "value": " "},
]
SHAREGPT_TEXT = f"human: Hi\n\ngpt: Write to {MAIL}"


def as_json(values: list[Any]) -> pa.Array:
    return pa.array(
        [None if value is None else json.dumps(value, separators=(",", ":")) for value in values], pa.json_()
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (OPENAI, OPENAI_TEXT),
        (SHAREGPT, SHAREGPT_TEXT),
        (OPENAI[0], "system: Be brief."),
        ([{"role": None, "content": "no role"}, "a text", 7, None], "no role\n\na text\n\n7"),
        ([{"role": "user", "content": None}, {"role": "assistant", "content": []}], ""),
        ([{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}], "assistant: f({})"),
        ([{"role": "tool", "content": [{"type": "tool_result", "content": "x", "text": None}]}], "tool: x"),
        ([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}], "a\n[image]\nb"),
        ([], ""),
        ([None], ""),
        ([{"type": "person", "name": "x"}], '[{"type":"person","name":"x"}]'),
        ({"a": [1]}, '{"a":[1]}'),
        (True, "true"),
    ],
)
def test_a_chat_is_a_paragraph_for_each_message(value, text):
    assert render_value(value) == text
    assert text_template.render("{x}", pa.table({"x": as_json([value])})).to_pylist() == [text or None]


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("{m[*].content}", ["Be brief.\nMail ann@example.org\n[image_url]\nsent\nDone.", None]),
        ("{m[0].content}", ["Be brief.", None]),
        ("{m[-1].content}", ["Done.", None]),
        ("{m[99].content}", [None, None]),
        ("{m[-7].content}", [None, None]),
        ("{m[role=assistant].content}", ["Done.", None]),
        ("{m[role=assistant][0].tool_calls[*].function.name}", ["mail\nlog", None]),
        ("{m[role=user].content[type=text].text}", ["Mail ann@example.org", None]),
        ("{m[-1]}", ["assistant: Done.", None]),
        ("{m[from=gpt].value}", [None, "Write to ann@example.org"]),
        ("{m[from=gpt][0].value}", [None, "Write to ann@example.org"]),
        ("{m[role=user][tool_call_id=c1].content}", [None, None]),
        ("{m[role=tool][tool_call_id=c1].content}", ["sent", None]),
    ],
)
@pytest.mark.parametrize("column", ["json", "string", "large_string", "binary"])
def test_selectors_choose_elements_by_position_and_by_value(template, texts, column):
    """Of lists, and of texts that contain lists as JSON."""
    array = as_json([OPENAI, SHAREGPT])
    if column != "json":
        array = array.storage.cast(
            {"string": pa.string(), "large_string": pa.large_string(), "binary": pa.binary()}[column]
        )
    assert text_template.render(template, pa.table({"m": array})).to_pylist() == texts


CONTENTS = st.one_of(st.none(), st.sampled_from(["", "a", "b c", MAIL]))
ROLES = st.sampled_from(["user", "assistant", None])
MESSAGES = st.fixed_dictionaries({"role": ROLES, "content": CONTENTS})
CALLS = st.lists(
    st.fixed_dictionaries({"name": CONTENTS, "arguments": st.sampled_from(["", "{}", '{"a":"b"}', "[x"])}), max_size=2
)
TOOLS = st.fixed_dictionaries(
    {"role": ROLES, "content": CONTENTS, "tool_calls": CALLS.map(lambda each: [{"function": one} for one in each])}
)
PARTS = st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image"]), "text": CONTENTS}), max_size=2)
IN_PARTS = st.fixed_dictionaries({"role": ROLES, "content": PARTS})
CALL = pa.struct([("function", pa.struct([("name", pa.string()), ("arguments", pa.string())]))])
MESSAGE = [("role", pa.string()), ("content", pa.string())]
PART = pa.struct([("type", pa.string()), ("text", pa.string())])
KINDS = st.sampled_from(
    [
        (MESSAGES, pa.list_(pa.struct(MESSAGE))),
        (MESSAGES, pa.large_list(pa.struct(MESSAGE))),
        (TOOLS, pa.list_(pa.struct([*MESSAGE, ("tool_calls", pa.list_(CALL))]))),
        (IN_PARTS, pa.list_(pa.struct([MESSAGE[0], ("content", pa.list_(PART))]))),
    ]
)
PATHS = st.sampled_from(
    [
        "m",
        "m[*]",
        "m[-1]",
        "m[*].content",
        "m[0].content",
        "m[role=user].content",
        "m[role=user][-1]",
        "m[role=x].content",
    ]
)


@given(kind=KINDS, names=st.lists(PATHS, min_size=1, max_size=3, unique=True), data=st.data())
def test_every_way_to_store_a_chat_has_the_same_text_and_the_same_changes(kind, names, data):
    """The same strings change, the text of the changed rows is the changed text, and types stay."""
    messages, arrow = kind
    values = data.draw(st.lists(st.none() | st.lists(messages | st.none(), max_size=3), min_size=1, max_size=4))
    paths = extract_paths("".join(f"{{{name}}}" for name in names))
    assert [join_path(path) for path in paths] == names == [join_path(split_path(name)) for name in names]
    nested, texts = pa.array(values, arrow), as_json(values)
    renderings, changed = [], []
    for array in (nested, nested.slice(0), texts):
        table = pa.table({"m": array})
        renderings.append([text_template.render(f"{{{name}}}", table).to_pylist() for name in names])
        new = map_strings(table, paths, lambda _, text: text.replace(MAIL, "<EMAIL>").replace("b", "<B>"))
        new.validate(full=True)
        assert new.schema == table.schema
        changed.append(text_template.json_values(new["m"].combine_chunks()))
        after = [text_template.render(f"{{{name}}}", new).to_pylist() for name in names]
        for before, text in zip(chain(*renderings[-1]), chain(*after), strict=True):
            assert MAIL not in (text or "") or "(" in text  # the name of a tool
            assert len((before or "").split("\n")) == len((text or "").split("\n"))
    assert renderings[0] == renderings[1] == renderings[2]
    assert changed[0] == changed[1] == changed[2]


def test_masking_leaves_roles_names_and_numbers_of_arguments():
    for array in (as_json([OPENAI]), as_json([OPENAI]).storage):
        template = "{m[*]}" if pa.types.is_string(array.type) else "m"
        new = map_strings(pa.table({"m": array}), extract_paths(template), lambda _, text: text.upper())
        chat = json.loads(new["m"].combine_chunks().cast(pa.string())[0].as_py())
        assert [one and one["role"] for one in chat] == [one and one["role"] for one in OPENAI]
        assert chat[1]["content"] == [{"type": "text", "text": f"MAIL {MAIL.upper()}"}, OPENAI[1]["content"][1]]
        calls = [call["function"] for call in chat[2]["tool_calls"]]
        assert [call["name"] for call in calls] == ["mail", "log"]
        assert calls[0]["arguments"] == f'{{"to":"{MAIL.upper()}","n":1.1}}'
        assert calls[1]["arguments"] == {"to": MAIL.upper()}


def test_a_map_is_filtered_by_its_keys():
    kind = pa.map_(pa.string(), pa.string())
    table = pa.table({"x": pa.array([[("en", MAIL), ("de", MAIL)], None, []], kind)})
    assert text_template.render("{x[key=de].value}", table).to_pylist() == [MAIL, None, None]
    new = map_strings(table, extract_paths("{x[key=de].value}"), lambda _, text: "new")
    assert new["x"].to_pylist() == [[("en", MAIL), ("de", "new")], None, []]


def test_roles_in_a_dictionary_are_compared_by_value():
    role = pa.dictionary(pa.int8(), pa.string())
    kind = pa.list_(pa.struct([("role", role), ("content", pa.large_string())]))
    values = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]]
    elements = pa.StructArray.from_arrays(
        [pa.array(["user", "assistant"]).dictionary_encode().cast(role), pa.array(["a", "b"], pa.large_string())],
        fields=list(kind.value_type),
    )
    array = pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), elements, type=kind)
    assert to_json_types(array).to_pylist() == values
    assert text_template.render("{m[role=assistant].content}", pa.table({"m": array})).to_pylist() == ["b"]


# ---------------------------------------------------------------- runs

PERSONS = ["Ada", "Grace", "Edsger", "Barbara", "Donald", "Tony"]


def chat(number: int, layout: str) -> list[dict[str, Any]]:
    name = PERSONS[number]
    question, answer = f"Who is {name}, the scientist?", f"{name} wrote to {MAIL} about number {number}."
    if layout == "openai":
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def rows_of(layout: str, column: str) -> list[dict[str, Any]]:
    return [{"id": f"r{number}", column: chat(number, layout)} for number in range(len(PERSONS))]


def write(folder: Path, rows: list[dict[str, Any]], kind: str) -> str:
    folder.mkdir(exist_ok=True)
    if kind == "jsonl":
        (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(folder / "a.jsonl")
    if kind == "texts":
        rows = [
            {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
            for row in rows
        ]
    table = pa.Table.from_pylist(rows)
    if kind == "json":
        (folder / "a.json").write_text(json.dumps(rows))
    elif kind == "arrow":
        with pa.ipc.new_stream(folder / "a.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    else:
        pq.write_table(table, folder / "a.parquet")
    return str(folder)


def run(folder: Path, rows: list[dict[str, Any]], kind: str, text: str, **sections: Any) -> Any:
    return curate.run(
        {
            "curate": 1,
            "run": str(folder / "run"),
            "input": {"files": write(folder / "pool", rows, kind), "text": text, "id": "id", "rows_per_shard": 2},
            "embed": {"use": "hashing", "dimensions": 16},
            "select": [{"use": "uniform", "keep_rate": 1.0}],
            **sections,
        }
    )


def exported(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "run" / "export" / "current" / "data").sort_by("id").to_pylist()


def texts_of(folder: Path) -> list[str]:
    parts = sorted((folder / "run" / "input").glob("part-*.parquet"))
    return [text for part in parts for text in pq.read_table(part)["_curate_text"].to_pylist()]


LAYOUTS = [
    ("openai", "messages", "role", "content", "assistant"),
    ("sharegpt", "conversations", "from", "value", "gpt"),
]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "texts"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=["openai", "sharegpt"])
def test_answers_are_read_masked_and_exported_and_everything_else_stays(tmp_path, monkeypatch, kind, layout):
    name, column, role, content, answerer = layout
    rows = rows_of(name, column)
    text = f"{{{column}[{role}={answerer}].{content}}}"
    run(tmp_path, rows, kind, text, export={"use": "parquet", "mask_pii": ["email"]})
    assert texts_of(tmp_path) == [row[column][1][content] for row in rows]
    for row in rows:
        row[column][1][content] = row[column][1][content].replace(MAIL, "<EMAIL>")
    after = exported(tmp_path)
    if kind == "texts":
        after = [{**row, column: json.loads(row[column])} for row in after]
    assert after == rows


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "json", "arrow"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=["openai", "sharegpt"])
def test_the_name_of_a_chat_column_is_its_text(tmp_path, kind, layout):
    name, column, role, content, _ = layout
    rows = [{"id": "empty", column: []}, *rows_of(name, column)]
    guard = {"max_quarantine_rate": 0.5}
    run(tmp_path, rows, kind, column, guard=guard, export={"use": "parquet", "mask_pii": ["email"]})
    assert texts_of(tmp_path) == [
        "\n\n".join(f"{one[role]}: {one[content]}" for one in row[column]) for row in rows[1:]
    ]
    for row in rows:
        for one in row[column]:
            one[content] = one[content].replace(MAIL, "<EMAIL>")
    assert exported(tmp_path) == rows[1:]


def test_chats_of_several_shapes_are_read_by_name(tmp_path):
    rows = [{"id": "a", "messages": OPENAI}, {"id": "b", "messages": chat(0, "openai")}]
    run(tmp_path, rows, "jsonl", "messages")
    assert texts_of(tmp_path)[0] == OPENAI_TEXT


def test_repeated_spans_are_removed_from_the_chosen_elements_only(tmp_path):
    words = " ".join(f"word{number}" for number in range(12))
    rows = [
        {
            "id": f"r{number}",
            "messages": [{"role": "user", "content": words}, {"role": "assistant", "content": f"{number}: {words}"}],
        }
        for number in range(3)
    ]
    run(tmp_path, rows, "jsonl", "{messages[-1].content}", export={"use": "parquet", "remove_repeated_spans": 5})
    after = exported(tmp_path)
    assert [row["messages"][0]["content"] for row in after] == [words] * 3
    assert [row["messages"][1]["content"].strip() for row in after] == [f"0: {words}", "1:", "2:"]


def test_texts_of_evaluation_sets_are_paths_too(tmp_path):
    words = " ".join(f"word{number}" for number in range(20))
    rows = rows_of("openai", "messages")
    rows[2]["messages"][1]["content"] = words
    (tmp_path / "test.jsonl").write_text(json.dumps({"conversations": [{"from": "gpt", "value": words}]}) + "\n")
    section = {"files": str(tmp_path / "test.jsonl"), "text": "{conversations[from=gpt].value}"}
    run(tmp_path, rows, "parquet", "messages", decontaminate=section)
    assert [row["id"] for row in exported(tmp_path)] == ["r0", "r1", "r3", "r4", "r5"]


def test_a_role_that_never_occurs_is_an_error_that_names_those_that_do(tmp_path):
    rows = rows_of("openai", "messages")
    message = r"no row has a text at 'messages\[role=asistant\]\.content'; the values of 'role' are user, assistant"
    with pytest.raises(DataError, match=message):
        run(tmp_path, rows, "jsonl", "{messages[role=asistant].content}")


def test_a_path_without_a_text_is_a_warning_if_another_has_one(tmp_path, command):
    files = write(tmp_path / "pool", rows_of("openai", "messages"), "parquet")
    text = "{messages[role=system].content}{messages[*].content}{messages[0].contnet}"
    select = [{"use": "uniform", "keep": 2}]
    data = {"curate": 1, "run": str(tmp_path / "run"), "input": {"files": files, "text": text}, "select": select}
    (tmp_path / "c.yaml").write_text(json.dumps(data))
    for output in (command("check", tmp_path / "c.yaml").stdout, command("embed", tmp_path / "c.yaml").stderr):
        text = " ".join(output.split())
        assert "no row has a text at 'messages[role=system].content'; the values of 'role' are user, assistant" in text
        assert "no row has a text at 'messages[0].contnet'" in text
        assert text.count("no row has a text") == 2


@pytest.mark.parametrize("layout", LAYOUTS, ids=["openai", "sharegpt"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "texts", "arrow"])
def test_the_path_of_a_chat_column_is_detected(tmp_path, kind, layout):
    name, column, _, content, _ = layout
    path = Path(write(tmp_path / "pool", rows_of(name, column) * 5, kind))
    files = sorted(map(str, path.iterdir())) if path.is_dir() else [str(path)]
    assert detect_layout(files).text == f"{{{column}[*].{content}}}"


def test_a_row_without_the_path_is_quarantined(tmp_path):
    rows = [*rows_of("openai", "messages"), {"id": "x", "messages": [{"role": "user", "content": "only a question"}]}]
    run(tmp_path, rows, "jsonl", "{messages[role=assistant].content}", guard={"max_quarantine_rate": 0.5})
    assert [row["id"] for row in exported(tmp_path)] == [f"r{number}" for number in range(6)]
    table = pq.read_table(tmp_path / "run" / "input" / "quarantine")
    assert table["reason"].to_pylist() == ["has no text"]
