"""The judge: faults of an endpoint, the cache, the budget, and what is asked again."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate.config.model import JudgeConfig
from curate.errors import DataError
from curate.judge import client as clients
from curate.judge.judge import BudgetError, Spending, open_judge
from curate.plugins.judging import Question, UnparsableReplyError
from curate.plugins.language_models import Turn
from curate.progress import NullProgress
from tests.judge.scripted_server import Response, Server, serve

KEY = "sk-very-secret"


class Log(NullProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_FIRST_DELAY", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def questions(n: int, start: int = 0) -> list[Question]:
    return [Question(messages=(Turn("user", f"question {number}"),)) for number in range(start, start + n)]


def ask(
    server: Server, folder: Path, asked: list[Question], parse: Any = str, log: Log | None = None, **more: Any
) -> Any:
    config = JudgeConfig(base_url=server.url, model="m", **more)
    with open_judge(config, folder, more.get("spending", Spending()), log or Log(), "test") as judge:
        return judge.ask(asked, parse)


def echo(body: dict[str, Any], _: int) -> str:
    return body["messages"][-1]["content"].replace("question", "answer")


def parse_number(text: str) -> int:
    if not text.isdecimal():
        raise UnparsableReplyError(f"{text!r} is no number")
    return int(text)


def test_answers_are_in_the_order_of_the_questions_and_duplicates_are_sent_once(tmp_path):
    asked = questions(40)
    with serve(lambda body, number: Response(echo(body, number), delay=0.02 * (number % 3))) as server:
        answers = ask(server, tmp_path, [*asked, asked[3]], concurrency=8)
    assert [answer.value for answer in answers] == [*(f"answer {number}" for number in range(40)), "answer 3"]
    assert len(server.requests) == 40
    assert 1 < server.most_at_once <= 8
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_nothing_is_sent_next_to_the_first_request(tmp_path):
    loading, seen = [True], []

    def script(body: dict[str, Any], number: int) -> Response | str:
        seen.append((number, loading[0]))
        if number == 0:
            time.sleep(0.2)
            loading[0] = False
        return echo(body, number)

    with serve(script) as server:
        answers = ask(server, tmp_path, questions(20), concurrency=8)
    assert [number for number, is_loading in seen if is_loading] == [0]
    assert [answer.value for answer in answers] == [f"answer {number}" for number in range(20)]


def test_replies_of_a_server_that_streams_in_any_case_are_joined_and_their_tokens_estimated(tmp_path):
    log = Log()
    with serve(lambda *_: Response("ünï [A]\n4", streams=True)) as server:
        answers = ask(server, tmp_path, questions(2), log=log)
    assert [answer.value for answer in answers] == ["ünï [A]\n4"] * 2
    assert "2 calls" in log.lines[-1]
    assert f"{2 * ((len('question 0') + 9) // 4)} tokens" in log.lines[-1]


def test_replies_are_kept_so_a_second_run_is_free(tmp_path):
    log = Log()
    with serve(echo) as server:
        first = ask(server, tmp_path, questions(30))
        files = {path.name: path.read_bytes() for path in (tmp_path / "judge").iterdir()}
        again = ask(server, tmp_path, questions(40), log=log)
        assert len(server.requests) == 40
    assert again[:30] == first
    assert len(files) == 1
    assert "40 questions, 10 calls (30 replies from the cache, 0 requests repeated), 90 tokens" in log.lines[-1]


@pytest.mark.parametrize(
    ("change", "calls"), [({"model": "other"}, 1), ({"options": {"top_p": 0.5}}, 1), ({"concurrency": 3}, 0)]
)
def test_a_reply_is_of_one_model_and_its_options(tmp_path, change, calls):
    with serve(echo) as server:
        ask(server, tmp_path, questions(1))
        config = {"base_url": server.url, "model": "m", **change}
        with open_judge(JudgeConfig(**config), tmp_path, Spending(), Log(), "test") as judge:
            judge.ask(questions(1), str)
        judge_again = [Question(messages=questions(1)[0].messages, sample=1)]
        assert len(server.requests) == 1 + calls
        ask(server, tmp_path, judge_again)
        assert len(server.requests) == 2 + calls


TEMPORARY = {
    "rate limit": Response("slow down", status=429, headers={"retry-after": "0.01"}),
    "rate limit until a date": Response("slow down", status=429, headers={"retry-after": "DATE"}),
    "rate limit without a time": Response("slow down", status=429),
    "rate limit with nonsense": Response("slow down", status=429, headers={"retry-after": "soon"}),
    "server error": Response("oops", status=500),
    "bad gateway": Response(status=502, body=b"<html>bad gateway</html>"),
    "unavailable": Response("busy", status=503),
    "timeout": Response("late", delay=0.6),
    "no JSON": Response(body=b"garbage"),
    "no choices": Response(body=b'{"choices": []}'),
    "an array": Response(body=b"[1, 2]"),
    "content of another type": Response(body=b'{"choices": [{"message": {"content": 3}}]}'),
    "deep JSON": Response(body=b"[" * 100_000),
    "a stream that ends early": Response(streams=True, body=b'data: {"choices": [{"delta": {"content": "o"}}]}\n\n'),
    "a stream of garbage": Response(streams=True, body=b"data: garbage\n\n"),
    "a stream of other objects": Response(streams=True, body=b'data: {"choices": [3]}\n\n'),
}


@pytest.mark.parametrize("fault", TEMPORARY)
def test_requests_are_repeated_after_a_temporary_fault(tmp_path, fault):
    response = TEMPORARY[fault]
    if "DATE" in response.headers.values():
        date = format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)
        response = Response(response.text, status=429, headers={"retry-after": date})
    log = Log()
    with serve(lambda body, number: response if number in (0, 1) else echo(body, number)) as server:
        answers = ask(server, tmp_path, questions(3), log=log, timeout=0.3, concurrency=2)
    assert [answer.value for answer in answers] == ["answer 0", "answer 1", "answer 2"]
    assert len(server.requests) == 5
    assert "2 requests repeated" in log.lines[-1]
    assert KEY not in "".join(log.lines)


@pytest.mark.parametrize("fault", [name for name in TEMPORARY if "rate" not in name])
def test_an_endpoint_that_always_fails_stops_the_run(tmp_path, fault):
    with (
        serve(lambda *_: TEMPORARY[fault]) as server,
        pytest.raises(DataError, match=r"after 3 attempts; check that the endpoint is running"),
    ):
        ask(server, tmp_path, questions(3), timeout=0.1, max_retries=2)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "OPENAI_API_KEY"),
        (403, "OPENAI_API_KEY"),
        (404, "judge.base_url"),
        (405, "judge.base_url"),
        (302, "base_url"),
    ],
)
def test_other_errors_stop_the_run_at_once_and_show_no_key(tmp_path, status, hint):
    with serve(lambda *_: Response(f"invalid key {KEY}", status=status)) as server:
        with pytest.raises(DataError, match=hint) as caught:
            ask(server, tmp_path, questions(50), concurrency=2)
        assert len(server.requests) <= 10
    assert f"status {status}: invalid key ***" in str(caught.value)
    assert KEY not in str(caught.value)


def test_an_endpoint_that_is_down_is_named(tmp_path):
    with serve(echo) as server:
        pass
    with pytest.raises(DataError, match=r"127\.0\.0\.1.*the connection failed.*after 2 attempts"):
        ask(server, tmp_path, questions(1), max_retries=1)


@pytest.mark.parametrize("path", ["", "/v2"])
def test_a_wrong_path_is_named(tmp_path, path):
    with serve(echo) as server:
        wrong = Server(server.url.removesuffix("/v1") + path)
        with pytest.raises(
            DataError, match=r"status 404: no such path; check judge\.base_url, which usually ends in /v1"
        ):
            ask(wrong, tmp_path, questions(1))


def test_a_rejected_question_has_no_answer_but_an_endpoint_that_rejects_all_stops_the_run(tmp_path):
    def script(body: dict[str, Any], number: int) -> Response | str:
        return Response("too long", status=400) if "question 1" in str(body) else echo(body, number)

    with serve(script) as server:
        answers = ask(server, tmp_path, questions(5))
        assert [answer.value for answer in answers] == ["answer 0", None, "answer 2", "answer 3", "answer 4"]
        assert answers[1].error == "the endpoint returned status 400: too long"
        with pytest.raises(DataError, match="too long; the endpoint rejects all questions"):
            ask(server, tmp_path, questions(30, start=100))


def test_a_question_that_breaks_the_endpoint_has_no_answer(tmp_path):
    def script(body: dict[str, Any], number: int) -> Response | str:
        return Response("oops", status=500) if body["messages"][-1]["content"] == "question 7" else echo(body, number)

    with serve(script) as server:
        answers = ask(server, tmp_path, questions(60), max_retries=2, concurrency=2)
    assert [answer.error for answer in answers if answer.error] == ["the endpoint returned status 500: oops"]
    assert answers[7].value is None


def test_a_reply_without_an_answer_is_asked_again_with_the_reason(tmp_path):
    def script(body: dict[str, Any], _: int) -> str:
        attempt = len(body["messages"]) // 2
        return ["well", "", "3"][attempt] if "question 0" in str(body) else ["no", "no", "no"][attempt]

    with serve(script) as server:
        answers = ask(server, tmp_path, questions(2), parse=parse_number)
        assert [answer.value for answer in answers] == [3, None]
        assert answers[1].error == "no answer in the reply: 'no' is no number"
        longest = max(server.requests, key=lambda request: len(request["messages"]))["messages"]
        assert [message["role"] for message in longest] == ["user", "assistant", "user", "assistant", "user"]
        assert "is no number" in longest[2]["content"]
        assert ask(server, tmp_path, questions(2), parse=parse_number) == answers
        assert len(server.requests) == 6


def test_refusals_and_replies_that_are_cut_off_are_reasons(tmp_path):
    replies = [
        Response(None, refusal="I must not"),
        Response("", finish_reason="content_filter"),
        Response("12 and", finish_reason="length"),
    ]
    with serve(lambda body, _: replies[int(body["messages"][0]["content"][-1])]) as server:
        answers = ask(server, tmp_path, questions(3), parse=parse_number, max_attempts=1)
    assert [answer.error for answer in answers] == [
        "the judge refused to reply",
        "the judge refused to reply",
        "no answer in the reply: '12 and' is no number (the reply was cut off)",
    ]
    assert answers[0].text == "I must not"


@pytest.mark.parametrize("budget", [{"max_calls": 5}, {"max_tokens": 40}])
def test_a_budget_stops_the_run_and_a_higher_one_continues_for_free(tmp_path, budget):
    with serve(echo) as server:
        with pytest.raises(
            BudgetError, match=f"{next(iter(budget.values()))} .* is used up; raise judge.{next(iter(budget))}"
        ):
            ask(server, tmp_path, questions(20), concurrency=1, **budget)
        assert len(server.requests) == 5
        answers = ask(server, tmp_path, questions(20))
        assert len(server.requests) == 20
    assert [answer.value for answer in answers] == [f"answer {number}" for number in range(20)]


def test_the_budget_is_that_of_all_steps_of_a_run(tmp_path):
    spending = Spending()
    with serve(echo) as server:
        config = JudgeConfig(base_url=server.url, model="m", max_calls=5, concurrency=1)
        with open_judge(config, tmp_path, spending, Log(), "one") as judge:
            judge.ask(questions(4), str)
        with pytest.raises(BudgetError), open_judge(config, tmp_path, spending, Log(), "two") as judge:
            judge.ask(questions(4, start=10), str)
        assert len(server.requests) == 5


def test_a_corrupt_file_of_replies_is_deleted_and_its_questions_are_sent_again(tmp_path):
    log = Log()
    with serve(echo) as server:
        ask(server, tmp_path, questions(5))
        (file,) = (tmp_path / "judge").iterdir()
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 1
        file.write_bytes(bytes(content))
        answers = ask(server, tmp_path, questions(5), log=log)
        assert len(server.requests) == 10
    assert [answer.value for answer in answers] == [f"answer {number}" for number in range(5)]
    assert "is deleted, and its questions are sent again" in log.lines[0]


def test_an_interrupted_run_keeps_its_replies(tmp_path):
    class Interruption(BaseException):
        pass

    seen: list[str] = []

    def parse(text: str) -> str:
        seen.append(text)
        if len(seen) == 6:
            raise Interruption
        return text

    with serve(echo) as server:
        with pytest.raises(Interruption):
            ask(server, tmp_path, questions(20), parse=parse, concurrency=1)
        before = len(server.requests)
        assert 6 <= before < 20
        ask(server, tmp_path, questions(20))
        assert len(server.requests) == 20


def test_replies_are_on_disk_before_the_end(tmp_path, monkeypatch):
    from curate.judge import reply_cache

    monkeypatch.setattr(reply_cache, "_SEGMENT_SECONDS", 0)
    rows: list[int] = []

    def parse(text: str) -> str:
        rows.append(sum(pq.read_metadata(path).num_rows for path in (tmp_path / "judge").iterdir()))
        return text

    with serve(echo) as server:
        ask(server, tmp_path, questions(5), parse=parse, concurrency=1)
    assert rows == [1, 2, 3, 4, 5]
    assert len(list((tmp_path / "judge").iterdir())) == 1


def test_no_key_is_sent_without_one_and_none_is_stored(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    with serve(echo) as server:
        ask(server, tmp_path, questions(2))
        assert KEY not in caplog.text
        assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        monkeypatch.delenv("OPENAI_API_KEY")
        ask(server, tmp_path, questions(2, start=5))
        assert "authorization" not in server.headers[-1]


def test_requests_are_spread_over_the_minute(tmp_path):
    begun = time.monotonic()
    with serve(echo) as server:
        ask(server, tmp_path, questions(5), requests_per_minute=600)
    assert time.monotonic() - begun >= 0.4  # a lower bound, which a slow machine cannot break


@pytest.mark.parametrize(
    "change", [{"base_url": "localhost:8000/v1"}, {"base_url": "file:///v1"}, {"options": {"model": "x"}}]
)
def test_wrong_sections(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        JudgeConfig(**{"base_url": "http://localhost/v1", "model": "m", **change})
