"""Turns: how far they are apart, in which order, and what is too far away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.sms.bucket import MAX_WAIT, Bucket
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_who_asks_first_goes_first(clock: Clock) -> None:
    bucket = Bucket(10, clock)
    assert [bucket.take() for _ in range(4)] == pytest.approx([1000.0, 1000.1, 1000.2, 1000.3])
    clock.now = 1000.25
    assert bucket.take() == pytest.approx(1000.4)


def test_a_pause_saves_nothing_up(clock: Clock) -> None:
    bucket = Bucket(10, clock)
    bucket.take()
    clock.now = 2000.0
    assert [bucket.take() for _ in range(2)] == pytest.approx([2000.0, 2000.1])


def test_what_is_too_far_away_is_not_taken(clock: Clock) -> None:
    bucket = Bucket(1, clock)
    turns = [bucket.take() for _ in range(20)]
    taken = int(MAX_WAIT) + 1
    assert turns[:taken] == [1000.0 + second for second in range(taken)]
    assert set(turns[taken:]) == {None}
    assert bucket.delay() == taken
    clock.now += 1
    assert bucket.take() == 1000.0 + taken


def test_how_long_it_would_take(clock: Clock) -> None:
    bucket = Bucket(2, clock)
    assert bucket.delay() == 0
    bucket.take()
    assert bucket.delay() == 0.5
    clock.now += 3
    assert bucket.delay() == 0


@given(st.integers(1, 100), st.lists(st.floats(0, 0.3), max_size=200))
def test_no_second_has_more_turns_than_the_rate(rate: int, pauses: list[float]) -> None:
    clock = Clock()
    bucket = Bucket(rate, clock)
    turns = []
    for pause in pauses:
        clock.now += pause
        turn = bucket.take()
        if turn is not None:
            turns.append(turn)
    assert turns == sorted(turns)
    for first in turns:
        assert sum(first <= turn < first + 1 - 1e-6 for turn in turns) <= rate
