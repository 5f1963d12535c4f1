"""Subscriptions as their readers see them; the thread of the callbacks."""

import logging
import sys
import threading

import pytest

from gobbler.client import BadRequest, Gap, Message, MessagesLost, Subscription, Timeout
from gobbler.client.inbox import Chunk, Inbox, Item
from gobbler.client.subscription import Callbacks, OnGap, OnMessage
from gobbler.client.waiting import Deadline
from tests.client.scripted import Background
from tests.system.server import eventually


def message(id: int) -> Message:
    return Message("/a", id, "", "", "", 0, b"", b"")


class Ends:
    """Counts how often a subscription is ended."""

    count = 0

    def __call__(self, subscription: Subscription) -> None:
        self.count += 1


def subscription(callback: OnMessage | None = None, on_gap: OnGap | None = None) -> Subscription:
    return Subscription(b"/a", Inbox(1000), callback, on_gap, Ends())


def put(to: Subscription, *items: Item) -> None:
    to.inbox.put(Chunk(to.handle, items, 1))


def test_it_is_iterated_over_and_read_one_by_one() -> None:
    reading = subscription()
    put(reading, message(1), message(2))
    put(reading, message(3), message(4))
    assert [each.id for _, each in zip(range(3), reading, strict=False)] == [1, 2, 3]
    last = reading.get(0)
    assert last == message(4)
    with pytest.raises(Timeout):
        reading.get(0)
    put(reading, message(5))
    assert next(reading).id == 5
    assert repr(reading) == "<Subscription /a>"


def test_closing_ends_the_iteration_and_drops_what_was_not_read() -> None:
    with subscription() as reading:
        put(reading, message(1), message(2))
        assert next(reading).id == 1
    reading.close()
    assert list(reading) == []
    assert reading.get() is None
    assert reading._end.count == 1  # type: ignore[attr-defined]
    assert repr(reading) == "<Subscription /a closed>"


def test_closing_wakes_those_who_wait() -> None:
    reading = subscription()
    waiting = [Background(reading.get) for _ in range(3)]
    reading.close()
    assert [each.result() for each in waiting] == [None] * 3


def test_threads_share_the_messages() -> None:
    reading = subscription()
    shares: list[list[int]] = [[] for _ in range(3)]
    threads = [Background(lambda share: share.extend(each.id for each in reading), share) for share in shares]
    for start in range(0, 1000, 10):
        put(reading, *map(message, range(start, start + 10)))
    deadline = eventually()
    while sum(map(len, shares)) < 1000:
        deadline.again()
    reading.close()
    for thread in threads:
        thread.result()
    assert [share == sorted(share) for share in shares] == [True] * 3
    assert sorted(id for share in shares for id in share) == list(range(1000))


def test_a_thread_that_waits_does_not_hold_up_anothers_deadline() -> None:
    reading = subscription()
    waiting = Background(reading.get)
    with pytest.raises(Timeout):
        reading.get(0.05)
    reading.close()
    waiting.result()


def test_a_gap_is_raised_in_its_place_and_reading_goes_on() -> None:
    reading = subscription()
    put(reading, message(1), Gap("/a", 2, 5), message(6))
    assert next(reading).id == 1
    with pytest.raises(MessagesLost) as lost:
        next(reading)
    assert (lost.value.topic, lost.value.first, lost.value.last) == ("/a", 2, 5)
    assert next(reading).id == 6


def test_a_gap_can_be_for_a_function() -> None:
    gaps: list[Gap] = []
    reading = subscription(on_gap=gaps.append)
    put(reading, Gap("/a", 2, 5), message(6))
    assert next(reading).id == 6
    assert gaps == [Gap("/a", 2, 5)]


class TestCallback:
    def test_it_is_called_in_order_and_may_fail(self, caplog: pytest.LogCaptureFixture) -> None:
        seen: list[int] = []

        def callback(each: Message) -> None:
            seen.append(each.id)
            if each.id == 2:
                raise ValueError("no even ids")

        subscription(callback).handle([message(1), message(2), message(3)])
        assert seen == [1, 2, 3]
        (record,) = caplog.records
        assert record.getMessage() == "the callback of /a failed"
        assert "no even ids" in caplog.text

    def test_to_leave_it_ends_no_other(self, caplog: pytest.LogCaptureFixture) -> None:
        subscription(lambda each: sys.exit(1)).handle([message(1)])
        assert "the callback of /a failed" in caplog.text

    def test_its_messages_are_for_nobody_else(self) -> None:
        with pytest.raises(BadRequest, match="for its callback"):
            subscription(print).get(0)

    def test_it_is_not_called_after_the_end(self) -> None:
        seen: list[int] = []

        def callback(each: Message) -> None:
            seen.append(each.id)
            reading.close()

        reading = subscription(callback)
        reading.handle([message(1), message(2)])
        assert seen == [1]

    def test_a_gap_is_logged_or_told(self, caplog: pytest.LogCaptureFixture) -> None:
        gaps: list[Gap] = []
        subscription(print).handle([Gap("/a", 2, 5)])
        subscription(print, gaps.append).handle([Gap("/a", 2, 5)])
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert "messages 2 to 5 of /a are lost" in caplog.text
        assert gaps == [Gap("/a", 2, 5)]


class TestCallbacks:
    def test_one_thread_makes_all_calls_in_order(self) -> None:
        callbacks = Callbacks(1000)
        threads: list[str] = []
        done = threading.Event()
        callbacks.start()
        for _ in range(10):
            callbacks.call(lambda: threads.append(threading.current_thread().name))
        callbacks.call(done.set)
        assert done.wait(10)
        callbacks.close(Deadline(10))
        assert threads == ["gobbler-callbacks"] * 10

    def test_a_call_that_fails_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        callbacks = Callbacks(1000)
        done = threading.Event()
        callbacks.call(lambda: 1 / 0)
        callbacks.call(sys.exit)
        callbacks.call(done.set)
        assert done.wait(10)
        callbacks.close(Deadline(10))
        assert "a callback failed" in caplog.text

    def test_it_can_be_closed_by_a_call_and_without_any(self) -> None:
        Callbacks(1000).close(Deadline(10))
        callbacks = Callbacks(1000)
        closed = threading.Event()

        def close() -> None:
            callbacks.close(Deadline(10))
            closed.set()

        callbacks.call(close)
        assert closed.wait(10)
        callbacks.close(Deadline(10))
