"""Lanes that wait for a worker or for their time."""

import time
from collections.abc import Iterator

import gevent
import pytest

from gobbler.connectors import workload
from gobbler.connectors.lane import Feed, Lane
from gobbler.connectors.subscription import Device
from gobbler.connectors.workload import Workload


@pytest.fixture
def work() -> Iterator[Workload]:
    made = Workload(time.time)
    made.start()
    yield made
    made.stop()
    made.stop()


def lane(token: str, due: float = 0.0) -> Lane:
    made = Lane(Feed("foo", 0), Device(token, "u"), 0)
    made.due = due
    return made


def room(work: Workload) -> bool:
    return work.has_room


def tokens(work: Workload, number: int) -> list[str]:
    with gevent.Timeout(5):
        return [work.next().device.token for _ in range(number)]


def test_lanes_are_served_in_turn(work: Workload) -> None:
    for token in "abc":
        work.ready(lane(token))
    assert tokens(work, 3) == ["a", "b", "c"]


def test_lanes_that_were_dropped_are_passed_over(work: Workload) -> None:
    dropped = lane("a")
    work.ready(dropped)
    work.ready(lane("b"))
    dropped.dropped = True
    assert tokens(work, 1) == ["b"]


def test_what_is_delayed_comes_when_it_is_due_the_soonest_first(work: Workload) -> None:
    now = time.time()
    for token, after in (("late", 0.06), ("later", 3600), ("soon", 0.03), ("now", -1)):
        work.delay(lane(token, now + after))
    assert tokens(work, 3) == ["now", "soon", "late"]
    assert time.time() >= now + 0.06
    assert work.delayed == 1


def test_room_is_a_matter_of_bytes_and_of_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "MEMORY_BYTES", 100)
    monkeypatch.setattr(workload, "MAX_LANES", 2)
    work = Workload(time.time)
    work.hold(99)
    work.begun()
    assert room(work)
    work.wait_for_room()
    work.hold(1)
    assert not room(work)
    work.hold(-1)
    work.begun()
    assert not room(work)
    waiting = gevent.spawn(work.wait_for_room)
    gevent.sleep(0)
    assert not waiting.ready()
    work.ended()
    waiting.get(timeout=5)
    assert repr(work) == "<Workload of 1 lanes, 99 bytes>"
