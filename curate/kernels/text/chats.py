"""Text of chats: messages, content parts and tool calls, as OpenAI and ShareGPT write them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from curate.kernels.text.json_values import dumps

JSON_TEXT = "{}"
"""Last step of a path to the arguments of a tool call: an object, or a text that contains one as JSON."""

Kind = Literal["message", "part", ""]
"""Kind of an object: a message of a chat, a part of its content, or another object."""

_ARGUMENTS = "arguments", JSON_TEXT
_TEXTS: dict[Kind, tuple[tuple[str, ...], ...]] = {
    "message": (
        ("content",),
        ("value",),
        ("tool_calls", "[*]", "function", *_ARGUMENTS),
        ("function_call", *_ARGUMENTS),
    ),
    "part": (("text",), ("content",)),
    "": (),
}
_PART_FIELDS = frozenset(("text", "image_url", "image", "input_image", "input_audio", "audio", "video", "file"))

_MEDIA_FIELDS = frozenset(("type", "url", "path", "base64"))


def kind_of(keys: Collection[str]) -> Kind:
    """Return the kind of an object with these keys.

    >>> kind_of(["role", "content"]), kind_of(["from", "value"]), kind_of(["type", "text"]), kind_of(["text"])
    ('message', 'message', 'part', '')
    """
    if ("role" in keys and not {"content", "tool_calls", "function_call"}.isdisjoint(keys)) or (
        "from" in keys and "value" in keys
    ):
        return "message"
    is_part = not _PART_FIELDS.isdisjoint(keys) or _MEDIA_FIELDS.issuperset(keys)
    return "part" if "type" in keys and is_part else ""


def paths_to_texts(kind: Kind) -> tuple[tuple[str, ...], ...]:
    """Return the paths from an object to those of its texts that ``render_value`` shows, except roles and names."""
    return _TEXTS[kind]


def render_value(value: object) -> str:
    r"""Render a JSON value as text: a chat as one paragraph per message, other lists and objects as JSON.

    Parameters
    ----------
    value : object
        Value of a ``to_json_types`` array. A list of objects with ``role`` and ``content``, or with ``from`` and
        ``value``, is a chat.

    Returns
    -------
    str
        Text; "" for null, an empty list, and a chat without contents.

    Notes
    -----
    A message is ``role: content``, followed by one line ``name(arguments)`` for each tool call. Text parts of a content
    are lines; a part of another type is its type in brackets. Null and blank messages are skipped. A single message or
    part is rendered likewise.

    Examples
    --------
    >>> chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]}]
    >>> render_value(chat), render_value({"a": [1]})
    ('user: Hi\n\nassistant: Yes?', '{"a":[1]}')
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, list) and all(one is None for one in value)):
        return ""
    if isinstance(value, dict) and (kind := kind_of(value)):
        return _render_message(value) if kind == "message" else _render_part(value)
    if isinstance(value, list) and (list_kind := kind_of_list(value)):
        texts = [text for one in value if (text := render_value(one)).strip()]
        return ("\n\n" if list_kind == "message" else "\n").join(texts)
    text = dumps(value).decode()
    return "" if text == "null" else text


def kind_of_list(values: list[object]) -> Kind:
    """Return the kind of the first object of a list that has one; elements of a chat may also be texts and nulls."""
    kinds = (kind for one in values if isinstance(one, dict) and (kind := kind_of(one)))
    return next(kinds, "")


def split_message(message: dict[str, object]) -> tuple[str, str]:
    r"""Return the role of a message, in the words of OpenAI, and its content as text; see ``render_value``.

    >>> split_message({"from": "human", "value": "Hi"}), split_message({"role": "tool", "content": "4"})
    (('user', 'Hi'), ('tool', '4'))
    """
    role = message.get("role") if message.get("role") is not None else message.get("from")
    name = "" if role is None else render_value(role)
    return _ROLES.get(name.lower(), name), _render_content(message)


_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}
"""Roles of ShareGPT and similar formats in the words of OpenAI."""


def _render_content(message: dict[str, object]) -> str:
    text = render_value(message.get("content") if message.get("content") is not None else message.get("value"))
    return "\n".join(one for one in (text, *_tool_calls(message)) if one.strip())


def _render_message(message: dict[str, object]) -> str:
    content = _render_content(message)
    role = message.get("role") if message.get("role") is not None else message.get("from")
    return f"{render_value(role)}: {content}" if content and role is not None else content


def _tool_calls(message: dict[str, object]) -> Iterator[str]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            yield _render_call(call.get("function"))
    yield _render_call(message.get("function_call"))


def _render_call(function: object) -> str:
    """Render a call as ``name(arguments)``."""
    if not isinstance(function, dict) or function.get("name") is None:
        return ""
    arguments = function.get("arguments")
    shown = arguments if isinstance(arguments, str) else "" if arguments is None else dumps(arguments).decode()
    return f"{render_value(function['name'])}({shown})"


def _render_part(part: dict[str, object]) -> str:
    for key in ("text", "content"):
        if (text := render_value(part.get(key))).strip():
            return text
    return f"[{render_value(part['type'])}]" if part.get("type") not in (None, "text") else ""
