"""Client of an endpoint of the OpenAI API for chats: concurrent requests, repeated after temporary failures."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from curate.errors import DataError, missing_extra_error
from curate.judge.reply_cache import Reply

if TYPE_CHECKING:
    import httpx

    from curate.config.model import JudgeConfig

_TEMPORARY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_OF_QUESTION = frozenset({400, 413, 422})
"""Status of a request that the endpoint does not accept, such as one that is longer than the model's context."""

_FIRST_DELAY = 0.5
_MAX_DELAY = 60.0
_MAX_MESSAGE = 300


def check(config: JudgeConfig) -> list[str]:
    """Return notes about an endpoint before a run; nothing is sent.

    Raises
    ------
    PluginError
        The extra is not installed.
    """
    if importlib.util.find_spec("httpx") is None:
        raise missing_extra_error("httpx", "judge", "the section judge")
    if os.environ.get(config.key_variable, "").strip():
        return []
    return [f"{config.key_variable} is not set, so no key is sent to {config.base_url}"]


class RejectedQuestionError(Exception):
    """Question for which the endpoint returns an error, although it may answer others; the message is the reason."""


@dataclass(slots=True)
class Client:
    """Client of an endpoint; safe to use from several threads."""

    config: JudgeConfig
    warn: Callable[[str], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set to end all waiting."""

    answered: int = 0
    """Number of replies."""

    retries: int = 0
    """Number of repeated requests."""

    _http: httpx.Client | None = None
    _not_before: float = 0.0
    """Time before which no request is sent, on the monotonic clock."""

    _lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        """Close all connections."""
        if self._http is not None:
            self._http.close()

    def complete(self, request: Mapping[str, object], seed: bytes) -> Reply:
        """Send a request until there is a reply.

        Parameters
        ----------
        request : mapping
            Body of the request.
        seed : bytes
            Seed of the random part of the delays.

        Raises
        ------
        DataError
            The endpoint is not available, or refuses all requests.
        RejectedQuestionError
            The endpoint returns an error for this request, and replies to others.
        """
        rng, answered_before = random.Random(seed), self.answered  # noqa: S311 - delays are no secrets
        for attempt in range(self.config.max_retries + 1):
            self._wait()
            reason, status, delay = self._send(request)
            if isinstance(reason, Reply):
                with self._lock:
                    self.answered += 1
                return reason
            if status in _OF_QUESTION:
                raise RejectedQuestionError(reason)
            if status is not None and status not in _TEMPORARY:
                raise DataError(f"judge: {reason}", where=self.config.base_url, hint=_hint(status, self.config))
            if attempt < self.config.max_retries:
                pause = delay if delay is not None else _FIRST_DELAY * 2**attempt * (1 + rng.random())
                self._postpone(min(pause, _MAX_DELAY), everyone=status == 429)
                with self._lock:
                    self.retries += 1
                    is_first = self.retries == 1
                if is_first:
                    self.warn(f"judge: {reason}; requests that fail are repeated up to {self.config.max_retries} times")
        if self.answered > answered_before:
            raise RejectedQuestionError(reason)
        attempts = f"after {self.config.max_retries + 1} attempts"
        hint = "check that the endpoint is running, and judge.base_url; the replies so far are kept"
        raise DataError(f"judge: {reason} {attempts}", where=self.config.base_url, hint=hint)

    def _send(self, request: Mapping[str, object]) -> tuple[Reply | str, int | None, float | None]:
        """Send a request once.

        Returns
        -------
        result : Reply or str
            Reply, or the reason why there is none.
        status : int or None
            HTTP status; None without a response, or with a response that is no reply.
        delay : float or None
            Seconds to wait, if the endpoint sets them.
        """
        import httpx

        try:
            response = self._connection().post(
                f"{self.config.base_url.rstrip('/')}/chat/completions", json=request, headers=self._headers()
            )
        except httpx.TimeoutException:
            return f"no reply within {self.config.timeout:g} s", None, None
        except httpx.HTTPError as error:
            return self._hide_key(f"the connection failed: {error}"), None, None
        if response.status_code != 200:
            reason = f"the endpoint returned status {response.status_code}: {_error_message(response)}"
            return self._hide_key(reason), response.status_code, _retry_after(response)
        try:
            is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
            return parse_reply(join_stream(response.text) if is_stream else response.json()), 200, None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return self._hide_key(f"the endpoint returned no valid reply: {error}"), None, None

    def _connection(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                try:
                    import httpx
                except ImportError as error:
                    raise missing_extra_error("httpx", "judge", "the section judge") from error
                n = self.config.concurrency
                limits = httpx.Limits(max_connections=n, max_keepalive_connections=n)
                self._http = httpx.Client(timeout=self.config.timeout, limits=limits)
            return self._http

    def _key(self) -> str:
        return os.environ.get(self.config.key_variable, "").strip()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if (key := self._key()) else {}

    def _hide_key(self, text: str) -> str:
        key = self._key()
        return " ".join((text.replace(key, "***") if key else text).split())[:_MAX_MESSAGE]

    def _wait(self) -> None:
        """Wait until a request may be sent: after a pause that the endpoint requires, and within the rate."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._not_before)
            if self.config.requests_per_minute is not None:
                self._not_before = start + 60 / self.config.requests_per_minute
        self.stopped.wait(start - now)

    def _postpone(self, seconds: float, *, everyone: bool) -> None:
        """Wait before the next attempt; after a rate limit, all other requests wait, too."""
        if everyone:
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + seconds)
        else:
            self.stopped.wait(seconds)


def join_stream(text: str) -> dict[str, object]:
    """Return the body of the response that a stream of events contains; some servers stream in any case.

    Raises
    ------
    ValueError
        An event is no JSON, or the stream ends before the reply.
    """
    events = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    chunks = [json.loads(event) for event in events if event and event != "[DONE]"]
    choices = [chunk["choices"][0] for chunk in chunks if isinstance(chunk, dict) and chunk.get("choices")]
    deltas = [choice.get("delta") or {} for choice in choices]
    finish = next((choice["finish_reason"] for choice in choices if choice.get("finish_reason")), None)
    if finish is None:
        raise ValueError("the stream ends before the reply")
    message = {key: "".join(delta.get(key) or "" for delta in deltas) for key in ("content", "refusal")}
    usage = next((chunk["usage"] for chunk in chunks if isinstance(chunk, dict) and chunk.get("usage")), None)
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def parse_reply(body: Any) -> Reply:
    """Return the reply in the body of a response.

    Raises
    ------
    ValueError
        The body has another form.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError("it has no message") from error
    finish = choice.get("finish_reason") or "stop"
    if not isinstance(finish, str) or not isinstance(content, str | None) or not isinstance(refusal, str | None):
        raise ValueError("its message is no text")
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    counts = [
        value if isinstance(value := usage.get(name), int) else 0 for name in ("prompt_tokens", "completion_tokens")
    ]
    refused = bool(refusal) or finish == "content_filter"
    return Reply((refusal if refused and refusal else content) or "", finish, refused, *counts)


def _error_message(response: httpx.Response) -> str:
    """Return the message of the endpoint about an error."""
    try:
        body = response.json()
        error = body.get("error", body) if isinstance(body, dict) else body
        message = error.get("message", error.get("detail", error)) if isinstance(error, dict) else error
        return str(message)
    except (ValueError, RecursionError):
        return response.text or response.reason_phrase


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that the endpoint asks to wait; None if it does not."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _hint(status: int, config: JudgeConfig) -> str:
    if status in (401, 403):
        return f"set the environment variable {config.key_variable} to a valid key"
    return "check judge.base_url, which usually ends in /v1, and judge.model"
