"""Server of chats on loopback whose replies a test scripts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Response:
    """What the server returns for a request."""

    text: str | None = "ok"
    status: int = 200
    body: bytes | None = None
    """Body in place of a reply."""

    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    finish_reason: str = "stop"
    refusal: str | None = None
    streams: bool = False
    """Whether the reply is a stream of events."""

    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.status != 200:
            return json.dumps({"error": {"message": self.text}}).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        if self.streams:
            deltas: list[dict[str, Any]] = [{"role": "assistant"}, *({"content": letter} for letter in self.text or "")]
            chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
            chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": self.finish_reason}]})
            return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return json.dumps({"choices": [choice], "usage": usage}).encode()


@dataclass
class Server:
    """Requests that the server received, and its address."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0

    @property
    def questions(self) -> list[str]:
        """Last message of each request."""
        return [request["messages"][-1]["content"] for request in self.requests]


@contextmanager
def serve(script: Callable[[dict[str, Any], int], Response | str]) -> Iterator[Server]:
    """Run a server; ``script`` returns the response to a request, given its body and its number."""
    lock, running = threading.Lock(), 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal running
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(body)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                running += 1
                server.most_at_once = max(server.most_at_once, running)
            answer = script(body, number)
            response = Response(answer) if isinstance(answer, str) else answer
            time.sleep(response.delay)
            with lock:
                running -= 1
            if self.path != "/v1/chat/completions":
                response = Response("no such path", status=404)
            content = response.content()
            self.send_response(response.status)
            self.send_header("content-type", "text/event-stream" if response.streams else "application/json")
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:  # a client that does not wait
            pass

    http = Quiet(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
