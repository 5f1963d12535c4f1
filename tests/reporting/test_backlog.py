"""The events that wait: in order, bounded, each until it is settled."""

import pytest

from gobbler.reporting.backlog import RECORD_OVERHEAD, Backlog, Record


def record(name: str, size: int = 0) -> Record:
    return Record(name.encode(), bytes(size), 0)


def names(backlog: Backlog) -> list[bytes]:
    """Take everything."""
    found = []
    while backlog.next is not None:
        found.append(backlog.take().key)
    return found


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(10 * (RECORD_OVERHEAD + 1))


def test_what_is_added_is_taken_in_order(backlog: Backlog) -> None:
    for name in "abc":
        assert backlog.add(record(name))
    assert names(backlog) == [b"a", b"b", b"c"]


def test_what_is_taken_counts_until_it_is_settled(backlog: Backlog) -> None:
    backlog.add(record("a", 5))
    taken = backlog.take()
    assert (len(backlog), backlog.size) == (1, RECORD_OVERHEAD + 6)
    backlog.settle(taken)
    assert (len(backlog), backlog.size) == (0, 0)


def test_what_is_given_back_has_its_turn_first(backlog: Backlog) -> None:
    for name in "abcd":
        backlog.add(record(name))
    first, second, third = (backlog.take() for _ in range(3))
    backlog.settle(second)
    backlog.give_back([first, third])
    assert names(backlog) == [b"a", b"c", b"d"]
    assert len(backlog) == 3


def test_what_does_not_fit_is_not_taken(backlog: Backlog) -> None:
    for name in "abcdefghi":
        assert backlog.add(record(name))
    assert not backlog.add(record("x", 1))
    assert backlog.add(record("j"))
    assert not backlog.add(record(""))
    assert names(backlog) == [name.encode() for name in "abcdefghij"]


def test_a_backlog_is_full_from_what_did_not_fit_until_something_is_settled() -> None:
    backlog = Backlog(2 * RECORD_OVERHEAD)
    states = [backlog.is_full]
    backlog.add(record("a"))
    states.append(backlog.is_full)
    backlog.add(record("b", RECORD_OVERHEAD))
    states.append(backlog.is_full)
    backlog.settle(backlog.take())
    states.append(backlog.is_full)
    assert states == [False, False, True, False]


def test_a_record_that_never_fits_does_not_make_a_backlog_full() -> None:
    backlog = Backlog(2 * RECORD_OVERHEAD)
    assert not backlog.add(record("a", 2 * RECORD_OVERHEAD))
    assert not backlog.is_full
    assert backlog.add(record("b"))


def test_a_settled_record_makes_room() -> None:
    backlog = Backlog(RECORD_OVERHEAD + 1)
    assert backlog.add(record("a"))
    assert not backlog.add(record("b"))
    backlog.settle(backlog.take())
    assert backlog.add(record("b"))


def test_what_is_given_back_is_not_counted_twice(backlog: Backlog) -> None:
    backlog.add(record("a"))
    backlog.give_back([backlog.take()])
    assert (len(backlog), backlog.size) == (1, RECORD_OVERHEAD + 1)
