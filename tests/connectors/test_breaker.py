"""The breaker: how it opens, how it closes, and whom it believes."""

import math

from gobbler.connectors.breaker import (
    CLOSED,
    FAILING_SECONDS,
    FAILURES,
    HALF_OPEN,
    LONGEST_SECONDS,
    OPEN,
    PAUSE_SECONDS,
    Breaker,
)
from gobbler.connectors.outcome import Outage, Pause
from tests.clock import Clock

DOWN = Outage("down")


def broken() -> tuple[Breaker, Clock]:
    clock = Clock(100.0)
    breaker = Breaker(clock)
    for number in range(FAILURES):
        assert breaker.failed(breaker.enter(), DOWN) == (number == FAILURES - 1)
    return breaker, clock


def test_failures_in_a_row_open_it() -> None:
    breaker, _ = broken()
    assert (breaker.state, breaker.cause) == (OPEN, DOWN)
    assert breaker.delay() == 1.0
    assert repr(breaker) == "<Breaker open>"


def test_a_success_in_between_keeps_it_closed() -> None:
    breaker = Breaker(Clock(100.0))
    for _ in range(5):
        for _ in range(FAILURES - 1):
            assert not breaker.failed(breaker.enter(), DOWN)
        assert not breaker.succeeded(breaker.enter())
    assert (breaker.state, breaker.delay(), breaker.cause) == (CLOSED, 0.0, None)


def test_of_attempts_that_were_under_way_together_one_failure_counts() -> None:
    breaker = Breaker(Clock(100.0))
    for _ in range(FAILURES - 1):
        together = [breaker.enter() for _ in range(100)]
        assert not any(breaker.failed(passed, DOWN) for passed in together)
    assert breaker.failed(breaker.enter(), DOWN)


def test_few_failures_open_it_when_nothing_else_happens_for_long() -> None:
    clock = Clock(100.0)
    breaker = Breaker(clock)
    assert not breaker.failed(breaker.enter(), DOWN)
    clock.now += FAILING_SECONDS
    assert breaker.failed(breaker.enter(), DOWN)


def test_one_probe_at_a_time_and_each_failure_doubles_the_wait() -> None:
    breaker, clock = broken()
    for seconds in (2, 4, 8, 16, LONGEST_SECONDS, LONGEST_SECONDS):
        clock.now += breaker.delay()
        assert (breaker.state, breaker.delay()) == (HALF_OPEN, 0.0)
        probe = breaker.enter()
        assert breaker.delay() == math.inf
        assert breaker.failed(probe, DOWN)
        assert breaker.delay() == seconds


def test_a_probe_that_succeeds_closes_it_and_forgets() -> None:
    breaker, clock = broken()
    clock.now += 1
    assert breaker.succeeded(breaker.enter())
    assert (breaker.state, breaker.delay(), breaker.cause) == (CLOSED, 0.0, None)
    for _ in range(FAILURES):
        breaker.failed(breaker.enter(), DOWN)
    assert breaker.delay() == 1.0


def test_a_probe_that_says_nothing_leaves_its_place_to_another() -> None:
    breaker, clock = broken()
    clock.now += 1
    breaker.abandoned(breaker.enter())
    assert (breaker.state, breaker.delay()) == (HALF_OPEN, 0.0)


def test_what_began_before_a_change_says_nothing_about_what_comes_after() -> None:
    clock = Clock(100.0)
    breaker = Breaker(clock)
    old = breaker.enter()
    assert breaker.pause(old, Pause("forbidden"))
    assert not breaker.succeeded(old)
    assert not breaker.failed(old, DOWN)
    assert not breaker.pause(old, Pause("again"))
    assert breaker.state == OPEN
    clock.now += PAUSE_SECONDS
    probe = breaker.enter()
    breaker.abandoned(old)
    assert breaker.delay() == math.inf, "the probe is still under way"
    assert breaker.succeeded(probe)


def test_a_pause_lasts_as_long_as_it_says() -> None:
    breaker = Breaker(Clock(100.0))
    quota = Pause("quota", after=7.0, alert=False)
    assert breaker.pause(breaker.enter(), quota)
    assert (breaker.delay(), breaker.cause) == (7.0, quota)
    breaker.reset()
    assert (breaker.state, breaker.delay(), breaker.cause) == (CLOSED, 0.0, None)
