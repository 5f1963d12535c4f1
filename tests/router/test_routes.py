"""Who gets a message: routes, filters, and the tables made from them."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from gobbler.metrics import Metrics
from gobbler.protocol import filters
from gobbler.protocol.block import Block, Chunk, pack
from gobbler.protocol.run import Run
from gobbler.router import routes
from gobbler.router.routes import Route, Router


class Consumer:
    """Keeps what it is given."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.chunks: list[Chunk] = []
        self._then = then

    def deliver(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self._then()

    @property
    def ids(self) -> list[int]:
        return [message.id for chunk in self.chunks for message in chunk.messages()]


class Failing:
    def deliver(self, chunk: Chunk) -> None:
        raise RuntimeError("a bug")


@pytest.fixture
def router() -> Router:
    return Router(Metrics("test"))


def run(path: bytes, number: int = 1, **wanted: str) -> Run:
    return Run(path, b"u", b"a", [b"\nx"] * number, None, filters.encode(wanted))


def blocks(*runs: Run, first_id: int = 1) -> list[Block]:
    return list(pack(runs, first_id, 1_400_000_000))


def subscribe(
    router: Router, path: bytes, consumer: Consumer | Failing | None = None, params: Mapping[str, str] = {}
) -> tuple[Consumer, Route]:
    consumer = consumer or Consumer()
    route = Route(path, params, consumer)
    router.subscribe(route)
    return consumer, route  # type: ignore[return-value]


def test_a_route_gets_its_path_and_what_is_below_it(router: Router) -> None:
    top, _ = subscribe(router, b"/foo")
    below, _ = subscribe(router, b"/foo/bar")
    router.deliver("foo", blocks(run(b"/foo"), run(b"/foo/bar"), run(b"/foo/bar/x"), run(b"/foo/barx")))
    router.deliver("foobar", blocks(run(b"/foobar"), first_id=9))
    assert top.ids == [1, 2, 3, 4]
    assert below.ids == [2, 3]


def test_each_consumer_gets_a_message_once(router: Router) -> None:
    consumer, _ = subscribe(router, b"/a")
    subscribe(router, b"/a/b", consumer)
    subscribe(router, b"/a/b", consumer)
    subscribe(router, b"/a/b/c", consumer, {"user_id": "m"})
    router.deliver("a", blocks(run(b"/a/b/c", 3)))
    assert consumer.ids == [1, 2, 3]


def test_filters_choose_among_the_routes(router: Router) -> None:
    mine, _ = subscribe(router, b"/a", params={"user_id": "m", "device": "x"})
    other_device, _ = subscribe(router, b"/a", params={"user_id": "m", "device": "y"})
    nobody, _ = subscribe(router, b"/a")
    router.deliver(
        "a",
        blocks(
            run(b"/a"),
            run(b"/a", user_id="m"),
            run(b"/a", user_id="m", device="x"),
            run(b"/a", user_id="M"),
            run(b"/a", connector="fcm"),
        ),
    )
    assert mine.ids == [1, 2, 3]
    assert other_device.ids == [1, 2]
    assert nobody.ids == [1]


def test_neighbours_for_the_same_consumers_come_as_one_chunk(router: Router) -> None:
    everything, _ = subscribe(router, b"/a")
    one, _ = subscribe(router, b"/a/x")
    (block,) = blocks(run(b"/a/x", 2), run(b"/a/x", 3), run(b"/a/y"), run(b"/a/z"), run(b"/a/x"))
    router.deliver("a", [block])
    assert [(chunk.first_id, chunk.number) for chunk in one.chunks] == [(1, 5), (8, 1)]
    assert [(chunk.first_id, chunk.number) for chunk in everything.chunks] == [(1, 5), (6, 2), (8, 1)]
    assert b"".join(chunk.frames for chunk in everything.chunks) == block.frames


def test_all_consumers_are_handed_the_same_bytes(router: Router) -> None:
    first, _ = subscribe(router, b"/a")
    second, _ = subscribe(router, b"/a/x")
    (block,) = blocks(run(b"/a/x", 2))
    router.deliver("a", [block])
    assert first.chunks[0].frames is second.chunks[0].frames is block.frames


def test_a_new_subscription_and_an_ended_one_count_from_the_next_commit_on(router: Router) -> None:
    steady, _ = subscribe(router, b"/a")
    router.deliver("a", blocks(run(b"/a/x")))
    other, route = subscribe(router, b"/a/x")
    router.deliver("a", blocks(run(b"/a/x"), first_id=2))
    router.unsubscribe(route)
    router.deliver("a", blocks(run(b"/a/x"), first_id=3))
    assert steady.ids == [1, 2, 3]
    assert other.ids == [2]


def test_changes_during_a_delivery_are_safe(router: Router) -> None:
    late = Consumer()

    def change() -> None:
        router.unsubscribe(ending)
        router.unsubscribe(route)
        subscribe(router, b"/a", late)

    _, route = subscribe(router, b"/a", Consumer(change))
    steady, ending = subscribe(router, b"/a")
    router.deliver("a", blocks(run(b"/a/x"), run(b"/a/y")))
    assert steady.ids == [1, 2]  # what was committed before it ended, is its own
    assert late.ids == []
    router.deliver("a", blocks(run(b"/a/x"), first_id=3))
    assert (steady.ids, late.ids) == ([1, 2], [3])


def test_a_failing_consumer_keeps_nobody_from_theirs(
    router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    subscribe(router, b"/a", Failing())
    steady, _ = subscribe(router, b"/a")
    router.deliver("a", blocks(run(b"/a")))
    assert steady.ids == [1]
    assert [record.exc_text or record.getMessage() for record in caplog.records] != []


def test_subscribing_twice_or_ending_twice_is_passed_over(router: Router) -> None:
    consumer, route = subscribe(router, b"/a")
    router.subscribe(route)
    router.unsubscribe(route)
    router.unsubscribe(route)
    router.deliver("a", blocks(run(b"/a")))
    assert consumer.ids == []
    assert router.describe() == {}
    assert repr(router) == "<Router, 0 paths>"


def test_the_tables_are_bounded_and_go_with_the_last_route(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_TABLE_LIMIT", 10)
    consumer, route = subscribe(router, b"/a")
    for id in range(1, 101):
        router.deliver("a", blocks(run(b"/a/%d" % id), first_id=id))
        assert len(router._tables["a"]) <= 10
    assert consumer.ids == list(range(1, 101))
    router.unsubscribe(route)
    router.deliver("a", blocks(run(b"/a/x"), first_id=101))
    assert not router._tables
    assert not router._partitions
    assert not router._routes


def test_deliveries_are_counted(router: Router) -> None:
    subscribe(router, b"/a")
    subscribe(router, b"/a")
    subscribe(router, b"/a/x")
    (block,) = blocks(run(b"/a", 2), run(b"/a/x"), run(b"/ab", 5))
    router.deliver("a", [block])
    page = router._metrics.render()[0].decode()
    assert "gobbler_messages_delivered_total 7.0" in page
    delivered = 2 * sum(block.sizes[:2]) + 3 * block.sizes[2]
    assert f"gobbler_delivered_bytes_total {float(delivered)}" in page


def test_subscribers_of_a_path(router: Router) -> None:
    subscribe(router, b"/a", params={"user_id": "top"})
    subscribe(router, b"/a/b", params={"user_id": "below"})
    subscribe(router, b"/ab", params={"user_id": "beside"})
    assert router.subscribers(b"/a") == [{"user_id": "top"}]
    assert router.subscribers(b"/a/b/c") == [{"user_id": "below"}, {"user_id": "top"}]
    assert router.subscribers(b"/x") == []
    assert router.describe() == {
        "/a": [{"user_id": "top"}],
        "/a/b": [{"user_id": "below"}],
        "/ab": [{"user_id": "beside"}],
    }


def test_what_a_route_shows(router: Router) -> None:
    _, route = subscribe(router, b"/a/\xff", params={"user_id": "m"})
    assert repr(route) == "<Route /a/\N{REPLACEMENT CHARACTER} {'user_id': 'm'}>"


class Shelf:
    """A directory that remembers what it is told."""

    def __init__(self, *subscribed: str) -> None:
        self.told: list[tuple[str, int, int]] = []
        self._subscribed = subscribed

    def committed(self, partition: str, committed: Sequence[Block]) -> None:
        self.told.append((partition, committed[0].first_id, committed[-1].last_id))

    def subscribers(self, path: bytes) -> list[Mapping[str, str]]:
        return [{"topic": topic} for topic in self._subscribed if path.decode().startswith(topic)]

    def describe(self) -> dict[str, list[Mapping[str, str]]]:
        return {topic: [{"topic": topic}] for topic in self._subscribed}


class Broken(Shelf):
    def committed(self, partition: str, committed: Sequence[Block]) -> None:
        raise RuntimeError("a bug")


def test_directories_are_told_of_every_commit_whoever_is_subscribed(
    router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    consumer, _ = subscribe(router, b"/foo")
    first, second = Shelf(), Shelf()
    for directory in (first, Broken(), second):
        router.join(directory)
    router.deliver("foo", blocks(run(b"/foo", 3)))
    router.deliver("nobody", blocks(run(b"/nobody")))
    assert first.told == second.told == [("foo", 1, 3), ("nobody", 1, 1)]
    assert consumer.ids == [1, 2, 3]
    assert len(caplog.records) == 2


def test_directories_are_asked_who_is_subscribed(router: Router) -> None:
    subscribe(router, b"/foo", params={"user_id": "u"})
    router.join(Shelf("/foo", "/bar"))
    assert router.subscribers(b"/foo") == [{"user_id": "u"}, {"topic": "/foo"}]
    assert router.subscribers(b"/bar") == [{"topic": "/bar"}]
    assert router.describe() == {"/bar": [{"topic": "/bar"}], "/foo": [{"user_id": "u"}, {"topic": "/foo"}]}
