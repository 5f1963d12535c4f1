"""Log lines: their two forms, what cannot break them, what never appears in them."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gobbler import logs

log = logging.getLogger("gobbler.test")
NASTY = "one\ntwo\rthree\x1b[31m\x00\x85\u2028\u202e\ud800\x7fend"


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give back what `setup` and `hide` change for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for name in ("logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    monkeypatch.setattr(logs, "_secrets", logs.Secrets())
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def as_json() -> Callable[[], list[dict[str, Any]]]:
    """Log JSON; calling it returns the lines so far, parsed."""
    stream = io.StringIO()
    logs.setup("debug", "integration", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def readable() -> Callable[[], list[str]]:
    """Log readable lines; calling it returns them, cut where a terminal starts a new line."""
    stream = Terminal()
    logs.setup("debug", "integration", stream)
    return lambda: stream.getvalue().splitlines()


def test_json_has_logstashs_shape(as_json: Callable[[], list[dict[str, Any]]]) -> None:
    log.info("stored %s messages", 3)
    (line,) = as_json()
    when = line.pop("@timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", when)
    assert line == {
        "@version": "1",
        "level": "INFO",
        "logger_name": "gobbler.test",
        "message": "stored 3 messages",
        "application": "gobbler",
        "environment": "integration",
    }


def test_the_time_is_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"msg": "x", "created": 1_700_000_000.0219})
    assert json.loads(logs.JsonFormatter("e").format(record))["@timestamp"] == "2023-11-14T22:13:20.021Z"


def test_json_keeps_extra_fields_as_values(as_json: Callable[[], list[dict[str, Any]]]) -> None:
    plain = {"session": 7, "ok": True, "rate": 0.5, "none": None}
    log.info("x", extra={**plain, "id": b"a\xff", "bad": float("nan"), "odd": [1], "level": "mine"})
    (line,) = as_json()
    assert {key: line[key] for key in plain} == plain
    assert (line["id"], line["bad"], line["odd"]) == ("a\\xff", "nan", "[1]")
    assert line["level"] == "INFO", "an extra field does not replace what every line has"


def test_json_has_the_traceback(as_json: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        raise KeyError("gone")
    except KeyError:
        log.exception("failed")
    log.warning("here", stack_info=True)
    failed, here = as_json()
    assert failed["stack_trace"].startswith("Traceback (most recent call last):\n")
    assert failed["stack_trace"].endswith("KeyError: 'gone'")
    assert here["stack_trace"].startswith("Stack (most recent call last):")


def test_json_names_the_thread_when_it_is_known() -> None:
    record = logging.makeLogRecord({"msg": "x", "threadName": "sqlite"})
    assert json.loads(logs.JsonFormatter("e").format(record))["thread_name"] == "sqlite"


@pytest.mark.parametrize(
    ("word", "level"),
    [("panic", 50), ("fatal", 50), ("error", 40), ("warn", 30), ("info", 20), ("debug", 10)],
)
def test_levels(word: str, level: int) -> None:
    stream = io.StringIO()
    logs.setup(word, "e", stream)
    log.log(level - 1, "below")
    log.log(level, "at")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "at"


def test_level_words(as_json: Callable[[], list[dict[str, Any]]]) -> None:
    for level in (50, 40, 30, 20, 10, 25):
        log.log(level, "x")
    assert [line["level"] for line in as_json()] == ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "Level 25"]


def test_the_form_follows_the_stream_unless_told() -> None:
    assert isinstance(logs.setup("info", "e", io.StringIO()).formatter, logs.JsonFormatter)
    assert isinstance(logs.setup("info", "e", Terminal()).formatter, logs.ReadableFormatter)
    assert isinstance(logs.setup("info", "e", io.StringIO(), json=False).formatter, logs.ReadableFormatter)
    assert isinstance(logs.setup("info", "e", Terminal(), json=True).formatter, logs.JsonFormatter)


def test_the_default_stream_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logs.setup("info", "e")
    assert isinstance(handler, logs.LineHandler)
    assert handler.stream is sys.stderr
    log.info("hello")
    captured = capsys.readouterr()
    assert ('"message": "hello"' in captured.err, captured.out) == (True, "")


def test_setup_again_replaces_the_handler(as_json: Callable[[], list[dict[str, Any]]]) -> None:
    stream = io.StringIO()
    logs.setup("info", "e", stream)
    log.info("once")
    assert len(stream.getvalue().splitlines()) == 1
    assert as_json() == []


def test_readable_lines(readable: Callable[[], list[str]]) -> None:
    log.warning("slow by %d ms", 12, extra={"session": 7, "path": b"/foo"})
    (line,) = readable()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARN  gobbler\.test: slow by 12 ms session=7 path=/foo", line
    )


def test_control_characters_cannot_break_a_readable_line(readable: Callable[[], list[str]]) -> None:
    log.info("got %s", NASTY, extra={"more": "a\nb"})
    (line,) = readable()
    escaped = r"got one\ntwo\rthree\x1b[31m\x00\x85\u2028\u202e\ud800\x7fend more=a\nb"
    assert line.endswith(escaped)


def test_control_characters_cannot_break_a_json_line(as_json: Callable[[], list[dict[str, Any]]]) -> None:
    log.info("%s", NASTY)
    (line,) = as_json()
    assert line["message"] == NASTY


def test_an_exceptions_text_cannot_pass_for_a_record(readable: Callable[[], list[str]]) -> None:
    forged = "2026-01-01 00:00:00.000 INFO  gobbler: all is well"
    try:
        raise ValueError(f"x\n{forged}\x1b[2J")
    except ValueError:
        log.exception("failed")
    head, *trace = readable()
    assert head.endswith("ERROR gobbler.test: failed")
    assert all(line.startswith("    ") for line in trace)
    assert trace[-1] == f"    {forged}\\x1b[2J"


@pytest.mark.parametrize("form", [True, False])
def test_hidden_secrets_never_appear(form: bool) -> None:
    stream = io.StringIO()
    logs.setup("debug", "e", stream, json=form)
    for secret in ('p"a/ss', "p", "tab\tbed", ""):
        logs.hide(secret)
    log.info("connect %s", 'db://u:p"a/ss@h', extra={"raw": b'p"a/ss', "url": "db://u:p%22a%2Fss@h"})
    log.info("%r and %s", 'p"a/ss', {"k": "tab\tbed"})
    try:
        raise ValueError('no p"a/ss')
    except ValueError:
        log.exception("failed with %s", 'p"a/ss')
    text = stream.getvalue()
    assert not re.search(r"a.{0,3}ss\b|%22|bed", text.replace("Traceback", ""))
    assert "db://u:***@h" in text


def test_redact_prefers_the_longest_secret() -> None:
    for secret in ("abc", "abcdef", "z"):
        logs.hide(secret)
    assert logs.redact("abcdef abc z.") == "*** *** ***."


def test_nothing_is_redacted_without_secrets() -> None:
    logs.hide("")
    assert logs.redact("plain text") == "plain text"


class Unprintable:
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Endless:
    """Its text needs its text."""

    def __str__(self) -> str:
        return f"{self}"


@pytest.mark.parametrize("form", [True, False])
def test_a_record_that_cannot_be_written_becomes_one_line(
    form: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    logs.setup("debug", "e", stream, json=form)
    log.info("%d", "no number")
    log.info("%s", Unprintable())
    log.info("x", extra={"field": Endless()})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "unwritable log record from gobbler.test " in line
        assert "test_logs.py:" in line
    assert form == (stream.getvalue()[0] == "{")
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_cannot_encode_still_gets_a_line() -> None:
    raw = io.BytesIO()
    logs.setup("debug", "e", io.TextIOWrapper(raw, encoding="ascii"), json=False)
    log.info("grüße")
    log.info("next")
    first, second = raw.getvalue().decode("ascii").splitlines()
    assert "unwritable log record" in first
    assert second.endswith("next")


def test_a_broken_stream_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    full = Full()
    logs.setup("debug", "e", full)
    log.info("x")
    logs.setup("debug", "e", closed, json=True)
    log.info("x")
    assert full.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_records_do_not_ask_for_the_thread(as_json: Callable[[], list[dict[str, Any]]]) -> None:
    log.info("x")
    assert "thread_name" not in as_json()[0], "it would make gevent build a dummy thread a greenlet"
