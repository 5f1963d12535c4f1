"""Inboxes: in order, and with a limit."""

import threading

import pytest

from gobbler.client import Timeout
from gobbler.client.inbox import Chunk, Inbox
from gobbler.client.waiting import Deadline, Waker
from tests.client.scripted import Background


class Spy(Waker):
    """Counts how often it is set."""

    count = 0

    def __init__(self) -> None: ...

    def set(self) -> None:
        self.count += 1


def chunk(size: int) -> Chunk:
    return Chunk(print, (), size)


def test_chunks_come_in_order() -> None:
    inbox = Inbox(100)
    chunks = [chunk(size) for size in (1, 2, 3)]
    for each in chunks:
        assert not inbox.put(each, Spy())
    assert [inbox.take(Deadline(0)) for _ in chunks] == chunks


def test_it_is_full_above_its_limit_until_half_of_that_is_left() -> None:
    inbox, waker = Inbox(100), Spy()
    assert not inbox.put(chunk(100), waker)
    assert inbox.put(chunk(40), waker)
    assert inbox.put(chunk(10), waker)
    inbox.take(Deadline(0))
    assert (inbox.full, inbox.held, waker.count) == (True, 150, 0), "what was taken is in use"
    inbox.take(Deadline(0))
    assert (inbox.full, inbox.held, waker.count) == (False, 50, 1)
    inbox.take(Deadline(0))
    with pytest.raises(Timeout):
        inbox.take(Deadline(0))
    assert (inbox.held, waker.count) == (0, 1)


def test_every_connection_that_found_it_full_is_woken() -> None:
    inbox, wakers = Inbox(1), [Spy(), Spy()]
    for waker in wakers:
        assert inbox.put(chunk(2), waker)
    for _ in wakers:
        inbox.take(Deadline(0))
    with pytest.raises(Timeout):
        inbox.take(Deadline(0))
    assert [waker.count for waker in wakers] == [1, 1]


def test_whoever_waits_is_told_of_a_chunk_and_of_the_end() -> None:
    inbox = Inbox(10)
    waiting = Background(inbox.take, Deadline(20))
    inbox.put(chunk(1))
    assert waiting.result() == chunk(1)
    threads = [Background(inbox.take, Deadline(20)) for _ in range(3)]
    inbox.close()
    assert [thread.result() for thread in threads] == [None] * 3


def test_after_its_end_it_takes_nothing_and_is_not_full() -> None:
    before = threading.active_count()
    inbox, waker = Inbox(1), Spy()
    assert inbox.put(chunk(2), waker)
    inbox.close()
    inbox.close()
    assert (inbox.full, inbox.held, waker.count) == (False, 0, 1)
    assert not inbox.put(chunk(2), waker)
    assert inbox.take(Deadline(0)) is None
    assert threading.active_count() <= before, "it has no thread"
