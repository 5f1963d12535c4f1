"""kafka-python's logging: nothing of its own, no secrets, and the reason that its errors do not tell."""

import logging
from collections.abc import Iterator

import pytest
from kafka.errors import KafkaConnectionError, KafkaTimeoutError

from gobbler.reporting import quiet
from gobbler.reporting.quiet import LastWords, quieten

LIBRARY = logging.getLogger("kafka.somewhere")


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Iterator[LastWords]:
    made = LastWords()
    monkeypatch.setattr(quiet, "last_words", made)
    yield made
    monkeypatch.undo()
    quieten()


@pytest.mark.usefixtures("words")
def test_warnings_are_our_debugging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # In the test, not before: to loggers that keep to themselves by then, pytest listens too.
    quieten()
    LIBRARY.error("%s: gone", "broker 1")
    assert caplog.record_tuples == [(quiet.__name__, logging.DEBUG, "kafka-python: broker 1: gone")]


@pytest.mark.usefixtures("words")
def test_what_may_hold_a_password_is_not_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # In the test, not before: to loggers that keep to themselves by then, pytest listens too.
    quieten()
    LIBRARY.debug("sending %r", b"\0marvin\0s3cret")
    LIBRARY.info("sending %r", b"\0marvin\0s3cret")
    assert caplog.records == []
    assert not LIBRARY.isEnabledFor(logging.INFO)


def test_the_newest_error_explains_why_nobody_was_found(words: LastWords) -> None:
    quieten()
    timeout = KafkaTimeoutError("Unable to bootstrap from 127.0.0.1:9092")
    assert words.explain(timeout) == str(timeout)
    LIBRARY.error("Connection failed: %s", KafkaConnectionError("refused"))
    LIBRARY.warning("Bootstrap connection to %s failed: %s", "bootstrap-0", KafkaConnectionError("reset"))
    LIBRARY.warning("nothing to do with an error")
    LIBRARY.error("Bootstrap failed: %s", timeout)
    assert words.explain(timeout) == f"{timeout} (KafkaConnectionError: reset)"


def test_an_error_that_says_why_stands_for_itself(words: LastWords) -> None:
    quieten()
    LIBRARY.error("Connection failed: %s", KafkaConnectionError("refused"))
    assert words.explain(OSError(24, "Too many open files")) == "[Errno 24] Too many open files"
    assert words.explain(ValueError()) == "ValueError"


def test_again_changes_nothing(words: LastWords) -> None:
    quieten()
    quieten()
    assert logging.getLogger("kafka").handlers == [words]
