"""Judge: sends questions to an endpoint, caches the replies, extracts the answers, and keeps to the budget."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from curate import paths
from curate.errors import DataError, GuardrailError
from curate.judge.client import Client, RejectedQuestionError
from curate.judge.reply_cache import Reply, ReplyCache, hash_request
from curate.plugins.judging import Answer, Question, UnparsableReplyError
from curate.store import parquet_io

if TYPE_CHECKING:
    from curate.config.model import JudgeConfig
    from curate.progress import Progress

Value = TypeVar("Value")

FOLDER = "judge"
"""Name of the folder of the replies in a run directory."""

_MIN_REJECTED = 10
"""Number of rejected questions without any reply, after which the endpoint is taken to reject all."""


class BudgetError(GuardrailError):
    """Budget of calls or tokens that is used up; all replies so far are kept."""


@dataclass(slots=True)
class Spending:
    """Calls and tokens of a run."""

    calls: int = 0
    tokens: int = 0


@dataclass(slots=True)
class CachedJudge:
    """Judge with a cache and a budget; see ``curate.plugins.judging.Judge``."""

    config: JudgeConfig
    cache: ReplyCache
    client: Client
    spending: Spending
    advance: Callable[[], None]
    """Called for every answered question."""

    questions: int = 0
    cached: int = 0
    unanswered: list[dict[str, str]] = field(default_factory=list)
    """Questions without an answer, with the last reply and the reason."""

    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, questions: Sequence[Question], parse: Callable[[str], Value]) -> list[Answer[Value]]:
        """Return the answers in the order of the questions; see ``curate.plugins.judging.Judge``."""
        first = {one: number for number, one in reversed(list(enumerate(questions)))}
        answers: dict[Question, Answer[Value]] = {}
        replied, rejected = self.client.answered, 0
        with ThreadPoolExecutor(self.config.concurrency, thread_name_prefix="judge") as threads:
            try:
                for question, answer in self._answer_all(threads, list(first), parse):
                    answers[question] = answer
                    rejected += bool(answer.error) and not answer.text
                    self.advance()
                    none_replied = self.client.answered == replied and not self.cached
                    if none_replied and rejected >= min(_MIN_REJECTED, len(first)):
                        raise DataError(f"judge: {answer.error}", where=self.config.base_url, hint=_REJECTED)
            except BaseException:
                self.client.stopped.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                self.cache.flush()
        self.questions += len(questions)
        for question, answer in answers.items():
            if answer.error:
                text = question.messages[-1].content
                self.unanswered.append({"reason": answer.error, "reply": answer.text, "question": text})
        return [answers[question] for question in questions]

    def _answer_all(
        self, threads: ThreadPoolExecutor, questions: Sequence[Question], parse: Callable[[str], Value]
    ) -> Iterator[tuple[Question, Answer[Value]]]:
        """Yield each question with its answer, as they arrive; a bounded number waits at any time.

        Nothing is sent next to the first request: many servers load their model for it, and some fail if others come.
        """
        running: dict[Future[Answer[Value]], Question] = {}
        for question in questions:
            running[threads.submit(self._answer, question, parse)] = question
            if len(running) >= (4 * self.config.concurrency if self.client.answered else 1):
                yield from _finished(running, wait(running, return_when=FIRST_COMPLETED).done)
        while running:
            yield from _finished(running, wait(running, return_when=FIRST_COMPLETED).done)

    def _answer(self, question: Question, parse: Callable[[str], Value]) -> Answer[Value]:
        """Ask a question until the reply contains an answer."""
        messages = [{"role": turn.role, "content": turn.content} for turn in question.messages]
        reply, reason = Reply(""), ""
        for _ in range(self.config.max_attempts):
            try:
                reply = self._reply(messages, question)
            except RejectedQuestionError as error:
                return Answer(value=None, error=str(error))
            if reply.refused:
                return Answer(value=None, text=reply.text, error="the judge refused to reply")
            try:
                return Answer(value=parse(reply.text), text=reply.text)
            except UnparsableReplyError as error:
                cut = " (the reply was cut off)" if reply.finish_reason == "length" else ""
                reason = f"{error}{cut}"
            correction = f"This reply cannot be used: {reason}. Reply again, exactly in the requested form."
            messages = [
                *messages,
                {"role": "assistant", "content": reply.text or "(empty)"},
                {"role": "user", "content": correction},
            ]
        return Answer(value=None, text=reply.text or "(empty)", error=f"no answer in the reply: {reason}")

    def _reply(self, messages: Sequence[Mapping[str, str]], question: Question) -> Reply:
        """Return the reply to a request, from the cache or from the endpoint."""
        request: dict[str, object] = {
            "model": self.config.model,
            "messages": messages,
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "stream": False,
            **(self.config.options or {}),
        }
        key = hash_request({**request, "base_url": self.config.base_url, "sample": question.sample})
        if (known := self.cache.replies.get(key)) is not None:
            with self._lock:
                self.cached += 1
            return known
        self._reserve_call()
        if question.temperature > 0:
            request["seed"] = question.sample
        reply = self.client.complete(request, key)
        with self._lock:
            self.spending.tokens += reply.prompt_tokens + reply.reply_tokens or _estimate_tokens(messages, reply)
        self.cache.add(key, reply)
        return reply

    def _reserve_call(self) -> None:
        """Count a call; raise an error if the budget is used up."""
        with self._lock:
            calls, tokens = self.config.max_calls, self.config.max_tokens
            if calls is not None and self.spending.calls >= calls:
                raise _budget_error("max_calls", f"{calls:,} calls")
            if tokens is not None and self.spending.tokens >= tokens:
                raise _budget_error("max_tokens", f"{tokens:,} tokens")
            self.spending.calls += 1


_REJECTED = "the endpoint rejects all questions: check judge.model, and that a question fits into its context"


def _budget_error(key: str, budget: str) -> BudgetError:
    hint = f"raise judge.{key} and run again; the replies so far are kept and cost nothing"
    return BudgetError(f"judge: the budget of this run, {budget}, is used up", hint=hint)


def _estimate_tokens(messages: Sequence[Mapping[str, str]], reply: Reply) -> int:
    """Return about how many tokens a call has, for an endpoint that does not count them."""
    return (sum(len(message["content"]) for message in messages) + len(reply.text)) // 4


def _finished(
    running: dict[Future[Answer[Value]], Question], done: set[Future[Answer[Value]]]
) -> Iterator[tuple[Question, Answer[Value]]]:
    for future in done:
        yield running.pop(future), future.result()


@contextmanager
def open_judge(
    config: JudgeConfig, run: Path, spending: Spending, progress: Progress, label: str
) -> Iterator[CachedJudge]:
    """Open the judge of a run; afterwards, log how many calls and tokens were spent.

    Parameters
    ----------
    config : JudgeConfig
        Section judge.
    run : Path
        Run directory, whose folder ``judge`` has the replies.
    spending : Spending
        Calls and tokens that the run has spent before.
    progress : Progress
        Receives the number of answered questions, warnings, and the costs.
    label : str
        Name of the step that asks.
    """
    cache, client = ReplyCache.load(run / FOLDER, progress.warn), Client(config, progress.warn)
    before, begun = Spending(spending.calls, spending.tokens), time.perf_counter()
    judge = CachedJudge(config, cache, client, spending, lambda: progress.advance(1))
    try:
        yield judge
    finally:
        client.close()
        cache.flush()
        _write_unanswered(run / FOLDER / f"unanswered-{label}.jsonl", judge.unanswered)
        calls, tokens = spending.calls - before.calls, spending.tokens - before.tokens
        if judge.questions or calls:
            per_thousand = 1_000 * (time.perf_counter() - begun) / max(1, judge.questions)
            missing = len(judge.unanswered)
            progress.note(
                f"judge for {label}: {judge.questions:,} questions, {calls:,} calls ({judge.cached:,} replies from the "
                f"cache, {client.retries:,} requests repeated), {tokens:,} tokens, {per_thousand:.3g} s per 1,000 "
                f"questions" + (f", {missing:,} without an answer, listed in {FOLDER}" if missing else "")
            )


def _write_unanswered(path: Path, questions: Sequence[Mapping[str, str]]) -> None:
    """Write the questions without an answer as JSON lines; delete the file if there are none."""
    if questions:
        parquet_io.write_text(path, "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in questions))
    else:
        paths.unlink(path, missing_ok=True)
