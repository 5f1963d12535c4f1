"""Reading the log for a connector: what everybody may want, and what a lane has left there."""

from collections.abc import Iterator

import gevent
import pytest
from prometheus_client import CollectorRegistry

from gobbler.connectors.lane import QUEUE_MESSAGES, Feed, Lane
from gobbler.connectors.metrics import PushMetrics
from gobbler.connectors.reader import Reader
from gobbler.connectors.subscription import Device
from gobbler.connectors.subscriptions import Subscriptions
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.protocol import filters
from gobbler.protocol.run import Run
from gobbler.protocol.selector import Selector
from gobbler.reporting.base import Nobody
from gobbler.store.base import Group, Page
from gobbler.store.memory import MemoryStore

A = Device("a", "u")


class Bench:
    def __init__(self, limit: int = 64 << 20) -> None:
        self.kvstore = MemoryKVStore()
        self.kvstore.start()
        self.store = MemoryStore(limit, self.kvstore)
        self.store.start()
        self.subscriptions = Subscriptions("fcm", self.kvstore, lambda partition: 0, Nobody())
        self.registry = CollectorRegistry()
        metrics = PushMetrics(self.registry).for_connector("fcm")
        self.reader = Reader(self.store, self.subscriptions, metrics)

    def publish(self, path: str, *bodies: str, **wanted: str) -> None:
        tails = [b"\n" + body.encode() for body in bodies]
        run = Run(path.encode(), b"", b"", tails, filters=filters.encode(wanted))
        self.store.append([Group(path.split("/")[1], [run])])

    def news(self, first: int = 1) -> list[tuple[int, dict[str, str]]]:
        last = self.reader.newest("foo")
        pages = self.reader.news("foo", first, last)
        return [(message.id, wanted) for _, found in pages for message, wanted in found]

    @property
    def lost(self) -> float:
        return self.registry.get_sample_value("gobbler_push_lost_messages_total", {"connector": "fcm"}) or 0


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.store.stop(0)
    made.kvstore.stop(0)


def test_news_are_what_anybody_is_subscribed_to_with_their_filters(bench: Bench) -> None:
    bench.subscriptions.create(A, b"/foo/bar")
    bench.publish("/foo", "1")
    bench.publish("/foo/bar", "2", "3")
    bench.publish("/foo/bar/baz", "4", user_id="somebody else")
    bench.publish("/foo/barn", "5")
    assert bench.news() == [(2, {}), (3, {}), (4, {"user_id": "somebody else"})]
    assert bench.news(4) == [(4, {"user_id": "somebody else"})]


def test_what_the_store_has_no_more_is_counted_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(limit=64 * 1024)
    bench.subscriptions.create(A, b"/foo")
    for number in range(100):
        bench.publish("/foo", f"{number}" * 1000)
    first = bench.store.bounds("foo").first
    assert first > 1
    assert [id for id, _ in bench.news()] == list(range(first, 101))
    assert bench.lost == first - 1
    assert caplog.messages == [f"the ids 1 to {first - 1} of /foo are gone, and cannot be sent any more"]


def lane(bench: Bench, unread: int, horizon: int) -> Lane:
    feed = Feed("foo", 0)
    feed.horizon = horizon
    made = Lane(feed, A, unread - 1)
    made.rewind(unread)
    bench.reader.refill(made)
    return made


def test_a_lane_reads_a_few_of_its_own_at_a_time(bench: Bench) -> None:
    bench.subscriptions.create(A, b"/foo/mine")
    for number in range(30):
        bench.publish("/foo/mine", f"{number}")
        bench.publish("/foo/other", f"{number}")
    made = lane(bench, 3, 60)
    assert [message.id for message in made.queue] == list(range(3, 3 + 2 * QUEUE_MESSAGES, 2))
    made.queue.clear()
    bench.reader.refill(made)
    assert [message.id for message in made.queue] == list(range(35, 60, 2))
    made.queue.clear()
    bench.reader.refill(made)
    assert (list(made.queue), made.unread) == ([], 0)


def test_a_lane_reads_nothing_that_was_not_handed_out(bench: Bench) -> None:
    bench.subscriptions.create(A, b"/foo")
    bench.publish("/foo", "1", "2", "3")
    made = lane(bench, 1, 2)
    assert [message.id for message in made.queue] == [1, 2]
    assert (made.taken, made.unread) == (2, 3)
    tried = Lane(Feed("foo", 0), A, 0)
    tried.attempts = 1
    tried.rewind(2)
    bench.reader.refill(tried)
    assert [message.id for message in tried.queue] == [2], "it was handed out before a restart"


@pytest.mark.parametrize("why", ["attempts", "sending"])
def test_a_lane_reads_no_further_than_what_it_has_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """What it has tried is not for its device any more: it must not read on, past the end of the log."""
    bench.subscriptions.create(A, b"/foo/mine")
    bench.publish("/foo/canceled", "1", "2")
    scan, read = bench.store.scan, []

    def watched(
        partition: str, selector: Selector, first: int, last: int, size: int, keyed: bool = False
    ) -> Iterator[Page]:
        read.append((first, last))
        gevent.sleep(0)  # or the timeout has no turn
        return scan(partition, selector, first, last, size, keyed=keyed)

    monkeypatch.setattr(bench.store, "scan", watched)
    tried = Lane(Feed("foo", 0), A, 0)
    setattr(tried, why, True)
    tried.rewind(2)
    with gevent.Timeout(1):
        bench.reader.refill(tried)
    assert read == [(2, 2)]
    assert (list(tried.queue), tried.unread) == ([], 0)


def test_a_lane_passes_over_what_is_not_for_its_device(bench: Bench) -> None:
    bench.subscriptions.create(A, b"/foo")
    bench.publish("/foo", "1", device_token="b")
    bench.publish("/foo", "2")
    assert [message.id for message in lane(bench, 1, 2).queue] == [2]
    bench.subscriptions.delete(A, b"/foo")
    made = lane(bench, 1, 2)
    assert (list(made.queue), made.unread) == ([], 0)
