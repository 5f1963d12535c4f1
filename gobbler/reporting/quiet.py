"""What kafka-python logs, brought down to what helps."""

from __future__ import annotations

import logging
from typing import Final

from kafka.errors import KafkaTimeoutError

log = logging.getLogger(__name__)


class LastWords(logging.Handler):
    """Takes what kafka-python logs, many lines a second while a broker is away.

    Below warnings it is not even asked: there it writes events and passwords down. Its warnings are
    passed on as our debugging. The text of the newest error in them is kept: what a producer raises in
    the end does not say why.
    """

    def __init__(self) -> None:
        """Begin without any."""
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        args = record.args if isinstance(record.args, tuple) else ()
        for arg in args:
            if isinstance(arg, Exception) and not isinstance(arg, KafkaTimeoutError):
                # Not the error itself: it would keep everything alive that had to do with it.
                self.text = str(arg)
        log.debug("kafka-python: %s", record.getMessage())

    def explain(self, error: Exception) -> str:
        """Return the text of an error that a producer raised, with the reason where it has none."""
        if isinstance(error, KafkaTimeoutError) and self.text:
            return f"{error} ({self.text})"
        return str(error) or type(error).__name__


last_words: Final = LastWords()


def quieten() -> None:
    """Let kafka-python's logging end in `last_words`."""
    logger = logging.getLogger("kafka")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.handlers[:] = [last_words]
