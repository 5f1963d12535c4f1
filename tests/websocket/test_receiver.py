"""A receiver: replay, then live, without a gap, a repeat, or a wrong word."""

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import gevent
import pytest

from gobbler.errors import StoreUnavailable
from gobbler.protocol import filters
from gobbler.protocol.selector import Selector
from gobbler.store.base import Bounds, MessageStore, Page
from gobbler.store.memory import MemoryStore
from gobbler.websocket import connection, fetch, receiver, session
from gobbler.websocket.session import Session
from tests.websocket.oracle import Model, SpiedReceiver, Spy
from tests.websocket.rig import (
    Client,
    World,
    file_store,
    memory_store,
    message,
    socket_pair,
    wait_until,
    world,
)


@pytest.fixture
def client(there: World) -> Client:
    return there.connect("u")[0]


def publish(there: World, path: bytes, first: int, last: int) -> list[bytes]:
    """Publish messages with these ids; return them as clients get them."""
    bodies = [b"%d" % id for id in range(first, last + 1)]
    for start in range(0, len(bodies), 10):  # in blocks of 10: a block is never torn apart
        there.store_messages(path, *bodies[start : start + 10])
    return [message(path, id, body) for id, body in enumerate(bodies, first)]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all queues and pages so small that everything has to wait."""
    monkeypatch.setattr(connection, "QUEUE_LIMIT", 900)
    monkeypatch.setattr(receiver, "QUEUE_LIMIT", 900)
    monkeypatch.setattr(connection, "ROOM_BYTES", 400)
    monkeypatch.setattr(receiver, "PAGE_BYTES", 300)
    monkeypatch.setattr(fetch, "PAGE_BYTES", 300)


# Replay, then live


@pytest.mark.parametrize(
    ("start", "first"),
    [(b"0", 1), (b"1", 1), (b"4", 4), (b"5", 5), (b"6", 6), (b"-1", 5), (b"-2", 4), (b"-99", 1), (b"99", 6)],
)
def test_a_start_id_and_then_live(there: World, client: Client, start: bytes, first: int) -> None:
    stored = publish(there, b"/a", 1, 5)
    client.send(b"+ /a " + start)
    client.expect(
        b"#fetch-start /a %d" % len(stored[first - 1 :]),
        *stored[first - 1 :],
        b"#fetch-done /a",
        b"#subscribed-to /a",
    )
    client.expect(*publish(there, b"/a/x", 6, 7))


def test_a_partition_without_messages(there: World, client: Client) -> None:
    client.send(b"+ /new/x 0")
    client.expect(b"#fetch-start /new/x 0", b"#fetch-done /new/x", b"#subscribed-to /new/x")
    client.expect(*publish(there, b"/new/x", 1, 1))
    publish(there, b"/new/y", 2, 2)
    client.expect_nothing()


def test_only_what_is_below_the_path_and_passes_the_filters(there: World, client: Client) -> None:
    publish(there, b"/a/x", 1, 1)
    publish(there, b"/a/xy", 2, 2)
    there.store_messages(b"/a/x/y", b"mine", filters=filters.encode({"user_id": "u"}))
    there.store_messages(b"/a/x/y", b"theirs", filters=filters.encode({"user_id": "v"}))
    client.send(b"+ /a/x 0")
    client.expect(
        b"#fetch-start /a/x 2",
        message(b"/a/x", 1, b"1"),
        message(b"/a/x/y", 3, b"mine"),
        b"#fetch-done /a/x",
        b"#subscribed-to /a/x",
    )
    there.store_messages(b"/a/x", b"theirs", filters=filters.encode({"user_id": "v"}))
    client.expect(*publish(there, b"/a/x", 6, 6))


def replaying(there: World, path: bytes, number: int) -> tuple[Client, list[bytes]]:
    """Store messages and begin to replay them; return a client that has got ten, and all that it will get."""
    client, _ = there.connect(send_buffer=4096)
    stored = publish(there, path, 1, number)
    client.send(b"+ %b 0" % path)
    client.expect(b"#fetch-start %b %d" % (path, number), *stored[:10])
    return client, stored


@pytest.mark.usefixtures("narrow")
def test_what_is_published_during_the_replay_comes_after_it_once(there: World) -> None:
    client, stored = replaying(there, b"/a", 2_000)
    later = publish(there, b"/a", 2_001, 2_010)
    client.expect(*stored[10:], b"#fetch-done /a", b"#fetch-start /a 10", *later)
    client.expect(b"#fetch-done /a", b"#subscribed-to /a")
    client.expect(*publish(there, b"/a", 2_011, 2_011))


def test_a_restart_gives_again_from_there_and_leaves_others_alone(there: World, client: Client) -> None:
    client.send(b"+ /a/x", b"+ /a/y")
    client.expect(b"#subscribed-to /a/x", b"#subscribed-to /a/y")
    x = publish(there, b"/a/x", 1, 3)
    y = publish(there, b"/a/y", 4, 4)
    client.expect(*x, *y)
    client.send(b"+ /a/x 2")
    client.expect(b"#fetch-start /a/x 2", *x[1:], b"#fetch-done /a/x", b"#subscribed-to /a/x")
    client.expect(*publish(there, b"/a/y", 5, 5), *publish(there, b"/a/x", 6, 6))


@pytest.mark.usefixtures("narrow")
def test_a_new_replay_during_another_one_repeats_nothing_of_that(there: World) -> None:
    client, _ = there.connect(send_buffer=4096)
    a = publish(there, b"/p/a", 1, 1_000)
    b = publish(there, b"/p/b", 1_001, 1_002)
    client.send(b"+ /p/a 0")
    client.expect(b"#fetch-start /p/a 1000", *a[:10])
    client.send(b"+ /p/b 0")
    client.expect(*a[10:], b"#fetch-done /p/a", b"#fetch-start /p/b 2", *b, b"#fetch-done /p/b")
    client.expect(b"#subscribed-to /p/a", b"#subscribed-to /p/b")


def test_nested_paths_are_given_once_and_counted_each(there: World, client: Client) -> None:
    top = publish(there, b"/p", 1, 2)
    below = publish(there, b"/p/x", 3, 4)
    client.send(b"+ /p 2", b"+ /p/x 0")
    client.expect(b"#fetch-start /p 3", b"#fetch-start /p/x 2", top[1], *below)
    client.expect(b"#fetch-done /p", b"#fetch-done /p/x", b"#subscribed-to /p", b"#subscribed-to /p/x")
    client.expect(*publish(there, b"/p/x", 5, 5))
    client.send(b"- /p")
    client.expect(b"#canceled /p")
    publish(there, b"/p", 6, 6)
    client.expect(*publish(there, b"/p/x/y", 7, 7))


@pytest.mark.usefixtures("narrow")
def test_a_subscription_while_catching_up_counts_from_its_command_on(there: World) -> None:
    """Nothing from before it, and nothing from behind it is missing, however long the catching up takes."""
    client, a = replaying(there, b"/p/a", 1_000)
    publish(there, b"/p/b", 1_001, 1_001)
    client.send(b"+ /p/b", b"> /p/b\n\nmine")
    wait_until(lambda: there.store.bounds("p").last == 1_002)
    more = publish(there, b"/p/a", 1_003, 1_003)
    got = client.until(b"#subscribed-to /p/a")
    messages = [each for each in got if each.startswith(b"/")]
    assert messages == [*a[10:], message(b"/p/b", 1_002, b"mine", b"", b"app"), *more]
    notifications = [each for each in got if each.startswith(b"#") and not each.startswith(b"#send")]
    assert notifications == [
        b"#subscribed-to /p/b",
        b"#fetch-done /p/a",
        b"#fetch-start /p/a 1",
        b"#fetch-start /p/b 1",
        b"#fetch-done /p/a",
        b"#fetch-done /p/b",
        b"#subscribed-to /p/a",
    ]


def test_repeating_a_subscription_is_confirmed_and_changes_nothing(there: World, client: Client) -> None:
    stored = publish(there, b"/a", 1, 3)
    client.send(b"+ /a 0", b"+ /a", b"+ /a 3")
    client.expect(b"#fetch-start /a 3", *stored, b"#fetch-done /a")
    client.expect(
        b"#subscribed-to /a", b"#fetch-start /a 1", stored[2], b"#fetch-done /a", b"#subscribed-to /a"
    )
    client.send(b"+ /a")
    client.expect(b"#subscribed-to /a")
    client.expect(*publish(there, b"/a", 4, 4))
    client.expect_nothing()


def test_very_many_replays_at_once(there: World, client: Client) -> None:
    stored = [publish(there, b"/p/%d" % id, id, id)[0] for id in range(1, 301)]
    client.send(*(b"+ /p/%d 0" % id for id in range(1, 301)), b"> /q\n\nlast")
    got = [client.receive() for _ in range(4 * 300 + 1)]
    assert sorted(got) == sorted(
        [
            *stored,
            *(b"#fetch-start /p/%d 1" % id for id in range(1, 301)),
            *(b"#fetch-done /p/%d" % id for id in range(1, 301)),
            *(b"#subscribed-to /p/%d" % id for id in range(1, 301)),
            next(each for each in got if each.startswith(b"#send")),
        ]
    )


# Slow readers


def test_a_slow_reader_is_turned_into_a_fetch_and_back(there: World) -> None:
    slow, session = there.connect("slow", send_buffer=4096)
    slow.send(b"+ /a")
    slow.expect(b"#subscribed-to /a")
    body = bytes(10_000)
    for _ in range(500):
        there.store_messages(b"/a", body)
        gevent.sleep(0)
    assert session.connection.queued < 2 * connection.QUEUE_LIMIT
    assert there.metric("slow_reader_turns_total") == 1
    got = slow.until(b"#subscribed-to /a")
    ids = [int(each.split(b",")[1]) for each in got if each.startswith(b"/")]
    assert ids == list(range(1, 501))
    announced = [each.split() for each in got if each.startswith(b"#fetch-start")]
    before = next(place for place, each in enumerate(got) if each.startswith(b"#fetch-start"))
    assert sum(int(count) for _, _, count in announced) == 500 - before
    assert got.count(b"#fetch-done /a") == len(announced)
    slow.expect(*publish(there, b"/a", 501, 501))


def test_a_slow_reader_whose_messages_are_gone_is_told(tmp_path: Path) -> None:
    with world(memory_store(2_000_000)) as there:
        slow, _ = there.connect("slow", send_buffer=4096)
        slow.send(b"+ /a", b"+ /a/x", b"+ /b")
        slow.expect(b"#subscribed-to /a", b"#subscribed-to /a/x", b"#subscribed-to /b")
        for _ in range(600):
            there.store_messages(b"/a", bytes(10_000))
        first = there.store.bounds("a").first
        got = slow.until(b"#subscribed-to /a")
        ids = [int(each.split(b",")[1]) for each in got if each.startswith(b"/")]
        gone = next(place for place, id in enumerate(ids, 1) if place != id)
        assert ids == [*range(1, gone), *range(first, 601)]
        gaps = [each for each in got if each.startswith(b"!")]
        assert gaps == [b"!error-gap %b %d %d" % (path, gone, first - 1) for path in (b"/a", b"/a/x")]
        slow.expect(*publish(there, b"/b", 1, 1))


def test_a_replay_of_what_is_gone(tmp_path: Path) -> None:
    with world(memory_store(64_000)) as there:
        for _ in range(100):
            there.store_messages(b"/a", bytes(1000))
        first, last = there.store.bounds("a")
        stored = [message(b"/a", id, bytes(1000)) for id in range(first, last + 1)]
        client, _ = there.connect()
        client.send(b"+ /a 3")
        client.expect(b"#fetch-start /a %d" % len(stored), b"!error-gap /a 3 %d" % (first - 1), *stored)
        client.expect(b"#fetch-done /a", b"#subscribed-to /a")
        client.send(b"+ /a 0")
        client.expect(b"#fetch-start /a %d" % len(stored), *stored, b"#fetch-done /a", b"#subscribed-to /a")


# Cancel


@pytest.mark.usefixtures("narrow")
def test_canceling_during_a_replay(there: World) -> None:
    client, _ = there.connect(send_buffer=4096)
    x = publish(there, b"/p/x", 1, 1_000)
    y = publish(there, b"/p/y", 1_001, 1_003)
    client.send(b"+ /p/x 0", b"+ /p/y 0")
    client.expect(b"#fetch-start /p/x 1000", b"#fetch-start /p/y 3", *x[:10])
    client.send(b"- /p/x")
    got = client.until(b"#subscribed-to /p/y")
    at = got.index(b"#canceled /p/x")
    assert got[:at] == x[10 : 10 + at]
    assert got[at + 1 :] == [*y, b"#fetch-done /p/y", b"#subscribed-to /p/y"]
    publish(there, b"/p/x", 1_004, 1_004)
    client.expect_nothing()


@pytest.mark.usefixtures("narrow")
def test_canceling_a_path_above_leaves_the_count_of_one_below_exact(there: World) -> None:
    client, _ = there.connect(send_buffer=4096)
    x = publish(there, b"/p/x", 1, 900)
    publish(there, b"/p/y", 901, 1_000)
    client.send(b"+ /p 0", b"+ /p/x 0")
    client.expect(b"#fetch-start /p 1000", b"#fetch-start /p/x 900", *x[:10])
    client.send(b"- /p")
    got = client.until(b"#subscribed-to /p/x")
    got.remove(b"#canceled /p")
    assert got == [*x[10:], b"#fetch-done /p/x", b"#subscribed-to /p/x"]


@pytest.mark.usefixtures("narrow")
def test_canceling_and_subscribing_again_during_a_replay(there: World) -> None:
    client, _ = there.connect(send_buffer=4096)
    x = publish(there, b"/p/x", 1, 1_000)
    client.send(b"+ /p/x 0", b"+ /p/y 0")
    client.expect(b"#fetch-start /p/x 1000", b"#fetch-start /p/y 0", *x[:10])
    client.send(b"- /p/x", b"+ /p/x")
    got = client.until(b"#subscribed-to /p/y")
    at = got.index(b"#canceled /p/x")
    assert got[at:] == [
        b"#canceled /p/x",
        b"#subscribed-to /p/x",
        b"#fetch-done /p/y",
        b"#subscribed-to /p/y",
    ]
    client.expect(*publish(there, b"/p/x", 1_001, 1_001))


def test_canceling_what_has_not_begun(there: World, client: Client) -> None:
    publish(there, b"/p/x", 1, 3)
    client.send(b"+ /p/y", b"+ /p/x 0", b"- /p/x", b"- /p/x")
    client.expect(b"#subscribed-to /p/y", b"#canceled /p/x", b"!error-bad-request not subscribed to /p/x")
    client.expect(*publish(there, b"/p/y", 4, 4))
    client.expect_nothing()


# Failures


def test_a_store_that_fails_during_the_replay(
    there: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, session = there.connect("u")
    publish(there, b"/p/x", 1, 3)

    def fail(*_: object) -> Iterator[Page]:
        raise StoreUnavailable("/var/secret: input/output error")

    client.send(b"+ /p/z", b"+ /q")
    client.expect(b"#subscribed-to /p/z", b"#subscribed-to /q")
    with monkeypatch.context() as patch:
        patch.setattr(there.store, "scan", fail)
        client.send(b"+ /p/x 0", b"+ /p/y 0")
        text = b"the message store cannot be read now"
        client.expect(
            b"#fetch-start /p/x 3",
            b"#fetch-start /p/y 0",
            *(b"!error-subscribed-to %b %b" % (path, text) for path in (b"/p/x", b"/p/y", b"/p/z")),
        )
    assert "secret" in caplog.text
    assert session.subscriptions == 1
    client.send(b"- /p/x", b"+ /p/x 3", b"+ /p/x/y")
    got = [client.receive() for _ in range(6)]
    assert sorted(got) == sorted(
        [
            b"!error-bad-request not subscribed to /p/x",
            b"#subscribed-to /p/x/y",
            b"#fetch-start /p/x 1",
            message(b"/p/x", 3, b"3"),
            b"#fetch-done /p/x",
            b"#subscribed-to /p/x",
        ]
    )
    client.expect(*publish(there, b"/q", 1, 1), *publish(there, b"/p/x", 4, 4))


# Any order of things

PATHS = [b"/p", b"/p/a", b"/p/a/x", b"/p/b"]
TOPICS = [*PATHS, b"/p/ab", b"/p/b/y/z"]


class SlowStore(MemoryStore):
    """Lets others run before and after everything it is asked, as a store across a network does."""

    def __init__(self, chance: random.Random) -> None:
        made = memory_store()
        super().__init__(1 << 30, made._kvstore, made._clock)
        self._chance = chance

    def _wait(self) -> None:
        for _ in range(self._chance.choice((0, 0, 1, 3))):
            gevent.sleep(0)

    def bounds(self, partition: str) -> Bounds:
        self._wait()
        found = super().bounds(partition)
        self._wait()
        return found

    def count(self, partition: str, selector: Selector, first_id: int, last_id: int) -> int:
        self._wait()
        found = super().count(partition, selector, first_id, last_id)
        self._wait()
        return found

    def newest(self, partition: str, selector: Selector, number: int, last_id: int) -> int:
        self._wait()
        found = super().newest(partition, selector, number, last_id)
        self._wait()
        return found

    def scan(
        self,
        partition: str,
        selector: Selector,
        first_id: int,
        last_id: int,
        page_bytes: int,
        *,
        keyed: bool = False,
    ) -> Iterator[Page]:
        for page in super().scan(partition, selector, first_id, last_id, page_bytes, keyed=keyed):
            self._wait()
            yield page
        self._wait()


class Story:
    """A client and a publisher who do anything in any order."""

    def __init__(self, there: World, chance: random.Random) -> None:
        self.there = there
        self.chance = chance
        self.published = 0
        self.log: list[tuple[bytes, bool]] = []
        self.spy = Spy(lambda: self.published)
        ours, theirs = socket_pair(4096)
        self.session: Session = self.spy.session(self.spy.connection(ours, there.flusher), there.services)
        self.session.connection.start(self.session)
        there.metrics.sessions.inc()
        self.client = Client(theirs)
        there.clients.append(self.client)
        self.received: list[bytes] = []

    def run(self, steps: int) -> None:
        actions = [self.publish] * 6 + [self.command] * 4 + [self.read] * 4 + [self.others] * 3
        for _ in range(steps):
            self.chance.choice(actions)()

    def publish(self) -> None:
        mine = self.chance.random() < 0.9
        path, number = self.chance.choice(TOPICS), self.chance.choice((1, 1, 2, 5, 30))
        self.log += [(path, mine)] * number
        self.published += number
        bodies = [bytes(self.chance.randrange(60))] * number
        self.there.store_messages(
            path, *bodies, filters=b"" if mine else filters.encode({"user_id": "somebody else"})
        )

    def command(self) -> None:
        path = self.chance.choice(PATHS)
        id = self.chance.randrange(-8, 8)
        near = max(0, self.published + self.chance.randrange(-20, 4))
        self.client.send(
            *self.chance.choices(
                [
                    b"+ " + path,
                    b"+ %b %d" % (path, self.chance.choice((0, id, near))),
                    b"+ %b %d %d" % (path, self.chance.choice((0, id, near)), self.chance.randrange(1, 30)),
                    b"- " + path,
                ],
                (3, 4, 2, 2),
                k=self.chance.choice((1, 1, 2, 3)),
            )
        )

    def read(self) -> None:
        for _ in range(self.chance.choice((1, 5, 20))):
            with suppress(TimeoutError), gevent.Timeout(0, TimeoutError()):
                self.received.append(self.client.receive())

    def others(self) -> None:
        for _ in range(self.chance.randrange(1, 6)):
            gevent.sleep(0)

    def finish(self) -> None:
        self.received += self.client.until_pong()  # all commands have been read
        wait_until(self._quiet)
        self.received += self.client.until_pong()

    def _quiet(self) -> bool:
        """Whether nothing is under way any more; what is sent is read meanwhile."""
        with suppress(TimeoutError), gevent.Timeout(0, TimeoutError()):
            self.received.append(self.client.receive())
        session = self.session
        return not (session._held or session.requests or self.there.metric("fetches"))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("kind", ["memory", "slow", "file"])
@pytest.mark.parametrize("seed", range(30))
def test_stories(kind: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "Receiver", SpiedReceiver)
    chance = random.Random(seed)
    store: MessageStore
    if kind == "file":
        store = file_store(tmp_path / "log")
    else:
        store = memory_store() if kind == "memory" else SlowStore(chance)
    with world(store) as there:
        story = Story(there, chance)
        story.run(150)
        story.finish()
        sent = [step.payload for step in story.spy.steps if step.payload]
        assert story.received == sent
        Model(story.log).check(story.spy.steps)
