"""Measure how busy requests in flight keep a server of known latency; prints a JSON line for each latency.

    python benchmarks/judge.py [--concurrency 64] [--questions 3000] [--latency 0.25 0.5 1]

The server runs in a process of its own, and holds each request for the latency. ``busy`` is the share of the time of
all connections in which the server holds a request: questions × latency / (seconds × concurrency).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from curate.config.model import JudgeConfig
from curate.judge.judge import Spending, open_judge
from curate.plugins.judging import Question
from curate.plugins.language_models import Turn
from curate.progress import NullProgress

SERVER = """
import asyncio, json, sys

latency = float(sys.argv[1])
usage = {"prompt_tokens": 9, "completion_tokens": 1}
body = json.dumps({"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}], "usage": usage}).encode()
head = f"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n".encode()


async def handle(reader, writer):
    try:
        while True:
            header = await reader.readuntil(b"\\r\\n\\r\\n")
            lines = header.lower().split(b"\\r\\n")
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
            await reader.readexactly(length)
            await asyncio.sleep(latency)
            writer.write(head + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--questions", type=int, default=3_000)
    parser.add_argument("--latency", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    options = parser.parse_args()
    for latency in options.latency:
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(latency)], stdout=subprocess.PIPE, text=True)
        port = server.stdout.readline().strip() if server.stdout else ""
        config = JudgeConfig(base_url=f"http://127.0.0.1:{port}/v1", model="m", concurrency=options.concurrency)
        questions = [Question(messages=(Turn("user", f"question {number}"),)) for number in range(options.questions)]
        with (
            tempfile.TemporaryDirectory() as folder,
            open_judge(config, Path(folder), Spending(), NullProgress(), "benchmark") as judge,
        ):
            begun = time.perf_counter()
            answers = judge.ask(questions, int)
            seconds = time.perf_counter() - begun
            cached = time.perf_counter()
            judge.ask(questions, int)
            cached = time.perf_counter() - cached
        server.kill()
        server.wait()
        busy = options.questions * latency / (seconds * options.concurrency)
        line = {"latency": latency, "concurrency": options.concurrency, "questions": options.questions}
        line |= {"answered": sum(answer.value == 4 for answer in answers), "seconds": round(seconds, 2)}
        print(json.dumps({**line, "busy": round(busy, 3), "seconds_from_cache": round(cached, 2)}), flush=True)


if __name__ == "__main__":
    main()
