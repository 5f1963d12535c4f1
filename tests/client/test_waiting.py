"""Waiting: for a moment, for another thread, longer each time."""

import selectors
import threading
from time import monotonic

import pytest

from gobbler.client.waiting import Backoff, Deadline, KeepAlive, Waker


def test_a_deadline_counts_down_to_nothing() -> None:
    assert Deadline(0).passed
    assert Deadline(-1).left == 0
    assert 59 < (Deadline(60).left or 0) <= 60
    assert not Deadline(60).passed


@pytest.mark.parametrize("never", [None, float("inf")])
def test_a_deadline_that_never_comes(never: float | None) -> None:
    deadline = Deadline(never)
    assert deadline.left is None
    assert not deadline.passed
    # What waits for it must take what it says.
    condition = threading.Condition()
    with condition:
        assert condition.wait_for(lambda: True, deadline.left)


class TestWaker:
    def test_it_wakes_once_for_many_calls_and_can_be_used_again(self) -> None:
        waker = Waker()
        with selectors.DefaultSelector() as selector:
            selector.register(waker, selectors.EVENT_READ)
            for _ in range(3):
                for _ in range(1000):
                    waker.set()
                assert selector.select(10)
                waker.clear()
                assert not selector.select(0)
        waker.close()

    def test_no_call_is_missed(self) -> None:
        """Whatever is left before `set` is seen after `clear`, however the threads meet."""
        waker, left, seen = Waker(), [], 0
        with selectors.DefaultSelector() as selector:
            selector.register(waker, selectors.EVENT_READ)

            def work() -> None:
                for number in range(20_000):
                    left.append(number)
                    waker.set()

            thread = threading.Thread(target=work)
            thread.start()
            while seen < 20_000:
                assert selector.select(10), f"slept through {len(left) - seen} calls"
                waker.clear()
                seen = len(left)
            thread.join()
        waker.close()

    def test_after_its_end_it_does_nothing(self) -> None:
        waker = Waker()
        waker.close()
        waker.set()
        waker.clear()
        waker.close()


def test_the_backoff_doubles_up_to_its_limit_and_begins_anew() -> None:
    backoff = Backoff(1, 5)
    for most in (1, 2, 4, 5, 5):
        assert most / 2 <= backoff.wait() <= most
    backoff.reset()
    assert backoff.wait() <= 1


def test_clients_do_not_come_back_at_once() -> None:
    assert len({Backoff(1, 5).wait() for _ in range(10)}) > 5


class TestKeepAlive:
    def test_a_silent_peer_is_pinged_once_and_then_lost(self) -> None:
        alive = KeepAlive(20, 10, now=100)
        assert alive.wait(100) == 20
        assert not alive.ping_is_due(119)
        assert alive.ping_is_due(120)
        assert not alive.ping_is_due(121)
        assert alive.wait(121) == 9
        assert not alive.lost(129)
        assert alive.lost(130)

    def test_whoever_is_heard_lives(self) -> None:
        alive = KeepAlive(20, 10, now=100)
        assert alive.ping_is_due(120)
        alive.heard(125)
        assert not alive.lost(154)
        assert alive.wait(125) == 20
        assert alive.ping_is_due(145)

    def test_what_was_heard_before_the_ping_does_not_bring_it_forward(self) -> None:
        alive = KeepAlive(20, 10, now=100)
        assert alive.ping_is_due(120)
        alive.heard(100)
        assert not alive.ping_is_due(121)
        assert alive.lost(130)

    def test_while_nothing_is_read_the_peer_is_pinged_and_never_lost(self) -> None:
        alive = KeepAlive(20, 10, now=0)
        pings = 0
        for now in range(0, 200, 5):
            alive.deaf(now)
            pings += alive.ping_is_due(now)
            assert not alive.lost(now)
        assert pings == 9

    def test_it_can_be_turned_off(self) -> None:
        alive = KeepAlive(0, 10, now=0)
        assert alive.wait(0) == float("inf")
        assert not alive.ping_is_due(monotonic() + 1e9)
        assert not alive.lost(monotonic() + 1e9)
