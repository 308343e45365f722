"""Write the sample chats, made of rows of the sample pool: ``python data_samples/chats.py [FILE]``.

Every run writes the same file.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHATS, COPIES, TOOLS = 200, 12, 30
SEED = 7


def rows() -> Iterator[dict[str, Any]]:
    """Yield the rows of one file of the sample pool that have a text."""
    for line in (HERE / "pool" / "tickets.jsonl").read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get("id") and (row.get("output") or "").strip():
            yield row


def chats() -> Iterator[dict[str, Any]]:
    """Yield chats: some with a system message, a second turn, a call of a tool, or a copy of earlier turns."""
    dice, pool = random.Random(SEED), list(rows())
    made: list[list[dict[str, Any]]] = []
    for number in range(CHATS):
        row, second = dice.sample(pool, 2)
        messages: list[dict[str, Any]] = []
        if number % 2:
            messages.append({"role": "system", "content": "You are the help desk of a company. Answer politely."})
        messages.append({"role": "user", "content": f"{row['instruction']} Write to {row['topic']}@example.org."})
        if number < TOOLS:
            call = {"name": "search_tickets", "arguments": json.dumps({"topic": row["topic"], "limit": 3})}
            messages.append(
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c1", "type": "function", "function": call}],
                }
            )
            messages.append({"role": "tool", "tool_call_id": "c1", "content": f"{number % 4} tickets found"})
        messages.append({"role": "assistant", "content": row["output"]})
        if number % 3 == 0:
            messages += [
                {"role": "user", "content": second["instruction"]},
                {"role": "assistant", "content": second["output"]},
            ]
        if number >= CHATS - COPIES:
            messages = made[number - CHATS + COPIES]
        made.append(messages)
        yield {"id": f"chat-{number:04d}", "topic": row["topic"], "messages": messages}


def main(path: Path) -> None:
    """Write the file."""
    path.write_text("".join(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "target", nargs="?", type=Path, default=HERE / "chats.jsonl", help="where to write (default: %(default)s)"
    )
    target = parser.parse_args().target
    main(target)
