"""Routes: who is given a message, and that nobody is given it twice or misses it."""

import random
from collections.abc import Iterator

import pytest

from gobbler.client import Gap, Message, SubscribeFailed, Subscription
from gobbler.client.inbox import Inbox, Item
from gobbler.client.routes import Fit, Routes
from gobbler.client.waiting import Deadline, Waker

NOBODY = Waker.__new__(Waker)  # nothing here fills an inbox


class Reader:
    """A subscription and what it was given."""

    def __init__(self, path: str, next_id: int = 0, live: bool = False) -> None:
        self.inbox = Inbox(1 << 30)
        self.subscription = Subscription(path.encode(), self.inbox, None, None, lambda each: None)
        self.subscription.next_id = next_id
        self.subscription.live = live
        self._wait = Deadline(0)

    @property
    def items(self) -> list[Item]:
        found: list[Item] = []
        while True:
            try:
                chunk = self.inbox.take(self._wait)
            except TimeoutError:
                return found
            assert chunk is not None
            found += chunk.items

    @property
    def ids(self) -> list[int]:
        return [item.id for item in self.items]


def send(routes: Routes, *messages: tuple[str, int]) -> None:
    """Have a burst of messages come."""
    for topic, id in messages:
        routes.message(Message(topic, id, "", "", "", 0, b"", b""), 100)
    routes.give(NOBODY)


def begun(routes: Routes, *readers: Reader) -> None:
    """Add subscriptions, and have the server confirm them."""
    for reader in readers:
        routes.add(reader.subscription)
        routes.started(reader.subscription.path)


@pytest.fixture
def routes() -> Routes:
    return Routes((1.0, 1.0))


def test_a_message_goes_to_all_whose_path_contains_it(routes: Routes) -> None:
    whole, part, other = Reader("/a"), Reader("/a/b"), Reader("/a/bc")
    begun(routes, whole, part, other)
    send(routes, ("/a/b/c", 1), ("/a", 2), ("/a/b", 3), ("/ab", 4), ("/a/bc", 5))
    assert (whole.ids, part.ids, other.ids) == ([1, 2, 3, 5], [1, 3], [5])


def test_it_begins_with_an_id_and_counts_from_the_confirmation_on(routes: Routes) -> None:
    reader = Reader("/a", 5)
    assert routes.add(reader.subscription) == b"+ /a 5"
    send(routes, ("/a", 9))
    before = reader.subscription.begun
    routes.started(b"/a")
    assert (before, reader.subscription.begun) == (False, True)
    send(routes, ("/a", 4), ("/a", 5), ("/a", 5), ("/a", 6))
    assert reader.ids == [5, 6]


def test_what_is_replayed_for_another_is_not_repeated(routes: Routes) -> None:
    live, replay = Reader("/a", 10), Reader("/a/b", 1)
    begun(routes, live)
    send(routes, ("/a/b", 10))
    begun(routes, replay)
    send(routes, ("/a/b", 1), ("/a/b", 10), ("/a/b", 11))
    assert live.ids == [10, 11]
    assert replay.ids == [1, 10, 11]


class TestShared:
    """Several subscriptions to one path are one to the server."""

    def test_a_live_one_joins_where_the_first_is(self, routes: Routes) -> None:
        first, second = Reader("/a", 1), Reader("/a", 1, live=True)
        begun(routes, first)
        send(routes, ("/a", 1), ("/a", 2))
        assert routes.fit(second.subscription) is Fit.FREE
        assert routes.add(second.subscription) is None
        assert second.subscription.begun
        send(routes, ("/a", 3))
        assert (first.ids, second.ids) == ([1, 2, 3], [3])

    def test_one_that_begins_later_waits_for_its_id(self, routes: Routes) -> None:
        first, second = Reader("/a", 1), Reader("/a", 3)
        begun(routes, first)
        assert routes.fit(second.subscription) is Fit.FREE
        routes.add(second.subscription)
        send(routes, ("/a", 1), ("/a", 2), ("/a", 3))
        send(routes, ("/a", 4))
        assert (first.ids, second.ids) == ([1, 2, 3, 4], [3, 4])

    def test_one_that_begins_before_does_not_fit(self, routes: Routes) -> None:
        begun(routes, Reader("/a", 3))
        assert routes.fit(Reader("/a", 2).subscription) is Fit.NO

    def test_until_the_first_is_confirmed_others_wait(self, routes: Routes) -> None:
        routes.add(Reader("/a", 3).subscription)
        assert routes.fit(Reader("/a", 3).subscription) is Fit.BUSY
        assert routes.fit(Reader("/a/b", 3).subscription) is Fit.FREE

    def test_the_last_one_ends_it(self, routes: Routes) -> None:
        first, second = Reader("/a"), Reader("/a", live=True)
        begun(routes, first)
        routes.add(second.subscription)
        assert routes.members() == [first.subscription, second.subscription]
        assert routes.members(second.inbox) == [second.subscription]
        assert routes.remove(first.subscription, connected=True) is None
        assert routes.remove(second.subscription, connected=True) == b"- /a"
        assert routes.remove(second.subscription, connected=True) is None


class TestEnd:
    def test_nothing_is_given_after_it_and_the_path_is_busy_until_it_is_confirmed(
        self, routes: Routes
    ) -> None:
        reader = Reader("/a")
        begun(routes, reader)
        routes.remove(reader.subscription, connected=True)
        send(routes, ("/a", 1))
        assert reader.ids == []
        assert routes.uses("a")
        assert routes.fit(Reader("/a").subscription) is Fit.BUSY
        routes.canceled(b"/a")
        assert not routes.uses("a")
        assert routes.fit(Reader("/a").subscription) is Fit.FREE

    def test_without_a_connection_there_is_nothing_to_say(self, routes: Routes) -> None:
        reader = Reader("/a")
        routes.add(reader.subscription)
        assert routes.remove(reader.subscription, connected=False) is None
        assert (len(routes), routes.begin()) == (0, [])

    def test_an_end_that_was_not_confirmed_is_one_when_the_connection_is_lost(self, routes: Routes) -> None:
        reader = Reader("/a")
        begun(routes, reader)
        routes.remove(reader.subscription, connected=True)
        routes.lost()
        assert routes.begin() == []


class TestLoss:
    def test_each_goes_on_behind_its_last_message(self, routes: Routes) -> None:
        quiet, busy = Reader("/a", 7), Reader("/b", 1)
        begun(routes, quiet, busy)
        send(routes, ("/b", 1), ("/b", 2))
        routes.lost()
        send(routes, ("/b", 3))
        assert busy.ids == [1, 2]
        assert sorted(routes.begin()) == [b"+ /a 7", b"+ /b 3"]
        routes.started(b"/b")
        send(routes, ("/b", 3))
        assert busy.ids == [3]


class TestGaps:
    def test_they_stand_in_their_place(self, routes: Routes) -> None:
        reader = Reader("/a", 1)
        begun(routes, reader)
        routes.message(Message("/a", 1, "", "", "", 0, b"", b""), 1)
        routes.gap(b"/a", 1, 5)
        send(routes, ("/a", 3), ("/a", 6))
        first, gap, last = reader.items
        assert (first.id, gap, last.id) == (1, Gap("/a", 2, 5), 6)

    def test_what_was_had_before_is_not_missing(self, routes: Routes) -> None:
        reader = Reader("/a", 10)
        begun(routes, reader)
        routes.gap(b"/a", 1, 9)
        routes.gap(b"/b", 1, 90)
        routes.give(NOBODY)
        assert reader.items == []


class TestFailure:
    def test_who_has_just_subscribed_is_told(self, routes: Routes) -> None:
        reader = Reader("/a")
        routes.add(reader.subscription)
        routes.failed(b"/a", "more than 10000 subscriptions", now=0)
        assert isinstance(reader.subscription.error, SubscribeFailed)
        assert "more than 10000 subscriptions" in str(reader.subscription.error)
        assert not routes.uses("a")

    def test_who_was_subscribed_is_subscribed_again(self, routes: Routes) -> None:
        reader = Reader("/a")
        begun(routes, reader)
        send(routes, ("/a", 1))
        assert routes.retry_at() == float("inf")
        routes.failed(b"/a", "cannot be read", now=100)
        due = routes.retry_at()
        assert 100.5 <= due <= 101
        assert routes.retries(due - 0.1) == []
        assert routes.retries(due) == [b"+ /a 2"]
        assert routes.retries(due) == []
        send(routes, ("/a", 2))
        routes.started(b"/a")
        send(routes, ("/a", 2))
        assert reader.ids == [1, 2]

    def test_one_that_ends_meanwhile_is_forgotten(self, routes: Routes) -> None:
        reader = Reader("/a")
        begun(routes, reader)
        routes.failed(b"/a", "cannot be read", now=0)
        assert routes.remove(reader.subscription, connected=True) is None
        assert routes.retries(1e9) == []
        routes.failed(b"/a", "cannot be read", now=0)
        assert len(routes) == 0

    def test_an_end_that_crosses_with_it_is_one(self, routes: Routes) -> None:
        reader = Reader("/a")
        begun(routes, reader)
        routes.remove(reader.subscription, connected=True)
        routes.failed(b"/a", "cannot be read", now=0)
        assert not routes.uses("a")


def receiver(log: list[str], begins: dict[str, int], rng: random.Random) -> Iterator[tuple[str, int]]:
    """What a server sends of a partition: each path's messages from where it begins, in rising order, and
    from time to time a confirmation with which it goes back. Yields (topic, id) or (path, 0)."""
    waiting, active = list(begins), dict[str, int]()
    position = 1
    while waiting or position <= len(log):
        if waiting and (position > len(log) or rng.random() < 0.1):
            path = waiting.pop()
            active = {each: max(first, position) for each, first in active.items()} | {path: begins[path]}
            position = min(position, begins[path])
            yield path, 0
            continue
        topic = log[position - 1]
        if any(f"{topic}/".startswith(f"{path}/") and position >= first for path, first in active.items()):
            yield topic, position
        position += 1


@pytest.mark.parametrize("seed", range(200))
def test_whatever_is_replayed_beside_it_everyone_is_given_all_of_theirs_once(
    routes: Routes, seed: int
) -> None:
    rng = random.Random(seed)
    paths = ["/p", "/p/a", "/p/b", "/p/a/x", "/p/a/y"]
    log = rng.choices(paths, k=100)
    readers = {path: Reader(path, rng.randint(1, 90)) for path in rng.sample(paths, 4)}
    begins = {path: reader.subscription.next_id for path, reader in readers.items()}
    for reader in readers.values():
        routes.add(reader.subscription)
    for topic, id in receiver(log, begins, rng):
        if id:
            send(routes, (topic, id))
        else:
            routes.started(topic.encode())
    for path, reader in readers.items():
        expected = [id for id, topic in enumerate(log, 1) if f"{topic}/".startswith(f"{path}/")]
        assert reader.ids == [id for id in expected if id >= begins[path]]
