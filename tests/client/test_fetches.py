"""Fetches of one connection."""

import pytest

from gobbler.client import FetchFailed, Gap, Message
from gobbler.client.fetches import Fetch, Fetches


def message(topic: str, id: int) -> Message:
    return Message(topic, id, "", "", "", 0, b"", b"")


@pytest.fixture
def fetches() -> Fetches:
    return Fetches()


def test_a_fetch_is_given_what_comes_until_it_is_done(fetches: Fetches) -> None:
    fetch, other = Fetch(b"/a/x", -20, 20), Fetch(b"/b", 0, 1)
    assert fetches.add(fetch) == b"+ /a/x -20 20"
    assert fetches.add(other) == b"+ /b 0 1"
    assert fetches.uses("a")
    assert fetches.message("a", message("/a/x", 1))
    assert fetches.message("b", message("/b", 1))
    assert not fetches.message("c", message("/c", 1))
    fetches.ended(b"/a")
    assert not fetch.done
    fetches.ended(b"/a/x")
    assert (fetch.done, fetch.error, [each.id for each in fetch.messages]) == (True, None, [1])
    assert (fetches.uses("a"), len(fetches)) == (False, 1)


def test_a_fetch_that_fails(fetches: Fetches) -> None:
    fetch = Fetch(b"/a", 0, 1)
    fetches.add(fetch)
    fetches.ended(b"/a", "the store cannot be read")
    assert fetch.done
    assert isinstance(fetch.error, FetchFailed)
    assert "/a: the store cannot be read" in str(fetch.error)


def test_gaps(fetches: Fetches) -> None:
    fetch = Fetch(b"/a", 0, 1)
    fetches.add(fetch)
    assert fetches.gap(b"/a", 3, 7)
    assert not fetches.gap(b"/a/b", 3, 7)
    assert not fetches.gap(b"/c", 3, 7)
    assert fetch.gaps == [Gap("/a", 3, 7)]


def test_on_a_new_connection_it_begins_again(fetches: Fetches) -> None:
    fetch = Fetch(b"/a", 1, 2)
    fetches.add(fetch)
    fetches.message("a", message("/a", 1))
    fetches.gap(b"/a", 3, 7)
    fetches.lost()
    assert fetches.begin() == [b"+ /a 1 2"]
    assert (fetch.messages, fetch.gaps) == ([], [])


def test_one_that_nobody_waits_for_is_canceled_and_takes_nothing(fetches: Fetches) -> None:
    fetch = Fetch(b"/a", 0, 9)
    fetches.add(fetch)
    fetches.message("a", message("/a", 1))
    assert fetches.give_up(fetch, connected=True) == b"- /a"
    assert fetches.message("a", message("/a", 2)), "it is still its message, and nobody else's"
    assert fetch.messages == []
    assert fetches.uses("a")
    fetches.lost()
    assert fetches.begin() == []


def test_one_that_nobody_waits_for_is_forgotten_without_a_connection(fetches: Fetches) -> None:
    fetch = Fetch(b"/a", 0, 9)
    fetches.add(fetch)
    assert fetches.give_up(fetch, connected=False) is None
    assert not fetches.uses("a")
    assert fetches.give_up(fetch, connected=True) is None
