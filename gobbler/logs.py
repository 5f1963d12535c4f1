"""Logging: readable lines on a terminal, JSON lines in logstash's shape anywhere else.

One record is one line, whatever a client managed to put into it (readable
tracebacks follow indented). Secrets that were registered with `hide` never
appear. Nothing here raises into the code that logs.
"""

import json
import logging
import math
import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import quote

from gobbler.text import one_line

LEVELS = {
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
"""The words of `--log` and the levels of the standard library."""

_WORDS = {logging.CRITICAL: "FATAL", logging.WARNING: "WARN"}
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_COLUMN = "    "


def setup(level: str, env: str, stream: TextIO | None = None, json: bool | None = None) -> logging.Handler:
    """Send all logging of the process to a stream (default: standard error), replacing earlier handlers.

    `level` is a word of `LEVELS`, `env` the name of the environment. `json` chooses the form;
    None means: readable on a terminal, JSON elsewhere. Returns the handler.
    """
    stream = sys.stderr if stream is None else stream
    as_json = not stream.isatty() if json is None else json
    handler = LineHandler(stream)
    handler.setFormatter(JsonFormatter(env) if as_json else ReadableFormatter())
    # Asking for the thread makes gevent's patched `threading` build a dummy thread per greenlet.
    logging.logThreads = False
    logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.captureWarnings(True)
    return handler


class Secrets:
    """Texts that never appear again."""

    def __init__(self) -> None:
        """Begin with none."""
        self._texts: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def hide(self, secret: str) -> None:
        """Hide a text, also as a URL, JSON or Python would write it; nothing is hidden for ""."""
        if secret:
            in_url = {quote(secret), quote(secret, safe="")}
            self._texts |= {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]} | in_url
            longest_first = sorted(self._texts, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(text) for text in longest_first))

    def redact(self, text: str) -> str:
        """Replace every hidden text by `***`."""
        return self._pattern.sub("***", text) if self._pattern else text


_secrets = Secrets()


def hide(secret: str) -> None:
    """Never show a text again in this process's logs and error texts."""
    _secrets.hide(secret)


def redact(text: str) -> str:
    """Replace every hidden secret in a text by `***`."""
    return _secrets.redact(text)


class LineHandler(logging.StreamHandler[TextIO]):
    """A stream handler that never raises and never writes a traceback of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; what the standard library lets through stops here."""
        try:
            super().emit(record)
        except RecursionError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say in one line where a record came from that could not be written as it is."""
        where = f"{record.name} {record.pathname}:{record.lineno}"
        text = f"unwritable log record from {where}"
        broken = logging.makeLogRecord({"name": __name__, "levelno": logging.ERROR, "msg": text})
        try:
            line = self.format(broken).encode("ascii", "backslashreplace").decode()
            self.stream.write(line + self.terminator)
            self.flush()
        except (OSError, ValueError):
            pass  # The stream is full, closed or gone: there is nowhere left to say it.


class JsonFormatter(logging.Formatter):
    """One JSON object a line with the keys that logstash-logback-encoder writes, pure ASCII."""

    def __init__(self, env: str) -> None:
        """Keep the name of the environment for every line."""
        super().__init__()
        self._env = env

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line = {key: _plain(value) for key, value in _extra(record)}
        line |= {
            "@timestamp": _timestamp(record.created),
            "@version": "1",
            "level": _word(record),
            "logger_name": record.name,
            "message": redact(record.getMessage()),
            "application": "gobbler",
            "environment": self._env,
        }
        if record.threadName:
            line["thread_name"] = record.threadName
        if trace := _trace(self, record):
            line["stack_trace"] = trace
        return json.dumps(line)


class ReadableFormatter(logging.Formatter):
    """`2026-05-01 12:34:56.789 ERROR gobbler.store: text key=value`, a traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line and the traceback, without the last line's end."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        milliseconds = int(record.created * 1000) % 1000
        text = redact(record.getMessage()) + "".join(f" {k}={_plain(v)}" for k, v in _extra(record))
        head = f"{when}.{milliseconds:03d} {_word(record):5} {record.name}: {one_line(text)}"
        # Indented, so that no text within an exception can pass for a record of its own.
        trace = [_COLUMN + one_line(line) for line in _trace(self, record).split("\n") if line]
        return "\n".join([head, *trace])


def _word(record: logging.LogRecord) -> str:
    return _WORDS.get(record.levelno) or logging.getLevelName(record.levelno)


def _timestamp(seconds: float) -> str:
    """Write a time as RFC 3339 has it: UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> Iterable[tuple[str, object]]:
    """Return the fields that the caller passed as `extra`."""
    return ((key, value) for key, value in record.__dict__.items() if key not in _STANDARD)


def _plain(value: object) -> str | int | float | None:
    """Make a value of what JSON has; anything but a number or None is text without secrets."""
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, bytes):
        return redact(value.decode("utf-8", "backslashreplace"))
    return redact(str(value))


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback or stack of a record, or nothing."""
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return redact("\n".join(parts))
