"""Starting in order, stopping in reverse, whatever fails."""

import logging

import gevent
import pytest
from gevent.event import Event

from gobbler import service
from gobbler.errors import StoreLocked, StoreUnavailable
from gobbler.service import Stack
from tests.clock import Clock


class Fake:
    """A service that writes down what happens to it."""

    def __init__(self, name: str, diary: list[str], clock: Clock | None = None, takes: float = 0.0) -> None:
        self.name, self.diary, self.clock, self.takes = name, diary, clock, takes
        self.start_error: BaseException | None = None
        self.stop_error: Exception | None = None
        self.timeout = -1.0

    def start(self) -> None:
        self.diary.append(f"start {self.name}")
        if self.start_error:
            raise self.start_error

    def stop(self, timeout: float) -> None:
        self.diary.append(f"stop {self.name}")
        self.timeout = timeout
        if self.clock:
            self.clock.now += self.takes
        if self.stop_error:
            raise self.stop_error


def three(takes: float = 0.0) -> tuple[Stack, list[Fake], list[str]]:
    """Return a stack of three services that take `takes` seconds to stop, the services and their diary."""
    clock, diary = Clock(), list[str]()
    fakes = [Fake(name, diary, clock, takes) for name in "abc"]
    return Stack(*((fake.name, fake) for fake in fakes), clock=clock), fakes, diary


def test_starts_in_order_and_stops_in_reverse() -> None:
    stack, _, diary = three()
    stack.start()
    assert repr(stack) == "Stack(running=['a', 'b', 'c'])"
    stack.stop(5)
    assert diary == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
    assert repr(stack) == "Stack(running=[])"


def test_start_and_stop_twice_do_nothing_more() -> None:
    stack, _, diary = three()
    stack.start()
    stack.start()
    stack.stop(5)
    stack.stop(5)
    assert len(diary) == 6


def test_stop_before_start_does_nothing() -> None:
    stack, _, diary = three()
    stack.stop(5)
    assert diary == []


def test_can_be_started_again() -> None:
    stack, _, diary = three()
    for _ in range(2):
        stack.start()
        stack.stop(5)
    assert diary == ["start a", "start b", "start c", "stop c", "stop b", "stop a"] * 2


def test_the_deadline_is_shared() -> None:
    stack, fakes, _ = three(takes=3)
    stack.start()
    stack.stop(5)
    assert [fake.timeout for fake in fakes] == [0, 2, 5]


@pytest.mark.parametrize("error", [StoreLocked("in use"), KeyboardInterrupt()])
def test_a_failing_start_stops_what_was_started(error: BaseException) -> None:
    stack, fakes, diary = three()
    fakes[2].start_error = error
    with pytest.raises(type(error)) as caught:
        stack.start()
    assert caught.value is error
    assert diary == ["start a", "start b", "start c", "stop b", "stop a"]
    assert repr(stack) == "Stack(running=[])"


def test_the_error_of_the_start_wins_over_those_of_its_stops(caplog: pytest.LogCaptureFixture) -> None:
    stack, fakes, diary = three()
    fakes[1].stop_error = OSError("stop")
    fakes[2].start_error = StoreLocked("in use")
    with pytest.raises(StoreLocked):
        stack.start()
    assert diary[-1] == "stop a"
    assert "b failed to stop" in caplog.text


def test_a_failing_stop_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    stack, fakes, diary = three()
    first, second = StoreUnavailable("disk full"), ValueError("bug")
    fakes[2].stop_error, fakes[1].stop_error = first, second
    stack.start()
    with pytest.raises(StoreUnavailable) as caught:
        stack.stop(5)
    assert caught.value is first
    assert diary[3:] == ["stop c", "stop b", "stop a"]
    assert [record.message for record in caplog.records] == ["c failed to stop", "b failed to stop"]
    stack.stop(5)
    assert len(diary) == 6


def test_a_hanging_stop_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "GRACE_SECONDS", 0.01)

    class Hanging(Fake):
        def stop(self, timeout: float) -> None:
            super().stop(timeout)
            Event().wait()

    diary: list[str] = []
    stack = Stack(("a", Fake("a", diary)), ("b", Hanging("b", diary)))
    stack.start()
    with pytest.raises(TimeoutError, match="b did not stop in time"):
        stack.stop(0)
    assert diary[2:] == ["stop b", "stop a"]


def test_a_stop_that_lets_a_timeout_of_its_own_escape_does_not_keep_the_others() -> None:
    class Late(Fake):
        def stop(self, timeout: float) -> None:
            super().stop(timeout)
            with gevent.Timeout(0.01):
                Event().wait()

    diary: list[str] = []
    stack = Stack(("a", Fake("a", diary)), ("b", Late("b", diary)))
    stack.start()
    with pytest.raises(TimeoutError, match="b did not stop in time"):
        stack.stop(5)
    assert diary[2:] == ["stop b", "stop a"]


def test_greenlets_are_ended_as_far_as_they_let_themselves() -> None:
    ended: list[str] = []
    go = Event()

    def obedient() -> None:
        try:
            Event().wait()
        finally:
            ended.append("obedient")

    def stubborn() -> None:
        try:
            Event().wait()
        finally:
            go.wait()
            ended.append("stubborn")

    greenlets = [gevent.spawn(stubborn), gevent.spawn(obedient)]
    gevent.sleep(0)
    service.end(iter(greenlets), 0.01)
    assert ended == ["obedient"]
    go.set()
    gevent.joinall(greenlets, timeout=5, raise_error=True)
    assert ended == ["obedient", "stubborn"]


def test_a_second_stop_waits_for_the_first() -> None:
    go, diary = Event(), list[str]()

    class Slow(Fake):
        def stop(self, timeout: float) -> None:
            go.wait()
            super().stop(timeout)

    stack = Stack(("slow", Slow("slow", diary)))
    stack.start()
    first, second = gevent.spawn(stack.stop, 5), gevent.spawn(stack.stop, 5)
    gevent.sleep(0)
    gevent.sleep(0)
    assert not first.dead
    assert not second.dead
    go.set()
    gevent.joinall([first, second], timeout=5, raise_error=True)
    assert (first.successful(), second.successful(), diary) == (True, True, ["start slow", "stop slow"])


def test_a_stack_is_a_service_itself() -> None:
    inner, _, diary = three()
    outer = Stack(("first", Fake("first", diary)), ("inner", inner))
    outer.start()
    outer.stop(5)
    assert diary[:4] == ["start first", "start a", "start b", "start c"]
    assert diary[4:] == ["stop c", "stop b", "stop a", "stop first"]


def test_says_how_long_each_took(caplog: pytest.LogCaptureFixture) -> None:
    stack, _, _ = three(takes=0.25)
    with caplog.at_level(logging.INFO):
        stack.start()
        stack.stop(5)
    assert caplog.messages[0] == "a started in 0.0 ms"
    assert caplog.messages[-1] == "a stopped in 250.0 ms"
    assert len(caplog.messages) == 6
