"""One attempt to connect at a time, and what everyone else is told."""

from typing import cast

import gevent
import pytest
from gevent.event import AsyncResult, Event

from gobbler.connectors.apns.connection import Connection, Timing
from gobbler.connectors.apns.line import STOPPED, Dialled, Line
from gobbler.connectors.apns.streams import Streams
from gobbler.connectors.outcome import Outage, Pause

SECONDS = 20.0
DOWN = Outage("unreachable", "Connection refused")


class Socket:
    """One on which nothing happens."""

    def __init__(self) -> None:
        self.closed = Event()

    def recv(self, size: int) -> bytes:
        self.closed.wait()
        return b""

    def sendall(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self.closed.set()


def connection() -> Connection:
    made = Connection(Socket(), Streams(cautious=False), Timing(), lambda: 0.0)
    made.start()
    return made


class Dial:
    """Makes connections when the test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.results: list[AsyncResult[Dialled]] = []

    def __call__(self) -> Dialled:
        self.calls += 1
        self.results.append(AsyncResult())
        return cast(Dialled, self.results[-1].get())

    def give(self, result: Dialled) -> None:
        self.results[-1].set(result)


@pytest.fixture
def dial() -> Dial:
    return Dial()


@pytest.fixture
def line(dial: Dial) -> Line:
    return Line(dial)


def ask(line: Line, number: int) -> "list[gevent.Greenlet[..., Dialled]]":
    greenlets = [gevent.spawn(line.connection) for _ in range(number)]
    gevent.sleep(0)
    gevent.sleep(0)
    return greenlets


def told(greenlets: "list[gevent.Greenlet[..., Dialled]]") -> list[Dialled]:
    return [greenlet.get(timeout=SECONDS) for greenlet in greenlets]


def test_a_hundred_greenlets_make_one_connection(line: Line, dial: Dial) -> None:
    greenlets = ask(line, 100)
    made = connection()
    dial.give(made)
    assert told(greenlets) == [made] * 100
    assert line.connection() is made
    assert dial.calls == 1
    line.stop(0)


@pytest.mark.parametrize("failure", [DOWN, Pause("untrusted-certificate")])
def test_a_failure_is_told_to_everyone_and_the_next_tries_again(
    line: Line, dial: Dial, failure: Outage | Pause
) -> None:
    greenlets = ask(line, 100)
    dial.give(failure)
    assert told(greenlets) == [failure] * 100
    (greenlet,) = ask(line, 1)
    assert dial.calls == 2
    dial.give(failure)
    assert greenlet.get(timeout=SECONDS) == failure


def test_the_first_that_came_may_leave(line: Line, dial: Dial) -> None:
    first, second = ask(line, 2)
    first.kill()
    made = connection()
    dial.give(made)
    assert second.get(timeout=SECONDS) is made
    line.stop(0)


def test_a_connection_that_takes_no_more_is_replaced(line: Line, dial: Dial) -> None:
    greenlets = ask(line, 1)
    old = connection()
    dial.give(old)
    told(greenlets)
    old.finish()
    greenlets = ask(line, 2)
    new = connection()
    dial.give(new)
    assert told(greenlets) == [new, new]
    line.stop(0)
    assert old.ended
    assert new.ended


def test_after_a_stop_there_is_nothing(line: Line, dial: Dial) -> None:
    line.stop(0)
    line.stop(0)
    assert line.connection() == STOPPED
    assert dial.calls == 0


def test_a_stop_ends_an_attempt(line: Line, dial: Dial) -> None:
    greenlets = ask(line, 3)
    line.stop(0)
    assert told(greenlets) == [STOPPED] * 3


def test_a_connection_that_is_made_during_the_stop_is_ended(line: Line, dial: Dial) -> None:
    greenlets = ask(line, 1)
    made = connection()
    dial.give(made)
    line.stop(0)
    assert told(greenlets) == [STOPPED]
    assert made.join(SECONDS)


def test_an_error_of_ours_is_logged_and_told(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Dialled:
        raise ZeroDivisionError

    assert Line(fail).connection() == Outage("unreachable", "an error of the server's own; see its log")
    assert "ZeroDivisionError" in caplog.text


def test_a_stop_awaits_nobody_for_ever(line: Line, dial: Dial) -> None:
    greenlets = ask(line, 1)
    made = connection()
    dial.give(made)
    told(greenlets)
    waiting = gevent.spawn(made.request, [], b"", 1e9)
    gevent.sleep(0)
    line.stop(0.01)
    assert waiting.get(timeout=SECONDS) in (None, STOPPED)
    assert made.ended
