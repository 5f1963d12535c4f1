"""Lanes against a real server: what shares a connection, and what gets one of its own."""

import threading
from collections.abc import Iterator

import pytest

from gobbler.client import Client, Closed, Message, NotConnected, Settings, commands
from gobbler.client.connection import READ_BYTES
from gobbler.client.fetches import Fetch
from gobbler.client.inbox import MESSAGE_BYTES
from gobbler.client.waiting import Deadline
from tests.client.proxy import Proxy
from tests.client.scripted import SECONDS, Background
from tests.system.server import ServerProcess, eventually

BODY = b"x" * 1000
SMALL = Settings(inbox_bytes=100_000)


def lanes(client: Client) -> int:
    return len(client._lanes._lanes)


def fill(client: Client, topic: str, count: int) -> None:
    for _ in range(count):
        client.publish_nowait(topic, BODY)
    client.flush()


def ids(messages: Iterator[Message], count: int) -> list[int]:
    return [message.id for _, message in zip(range(count), messages, strict=False)]


@pytest.fixture
def other(url: str) -> Iterator[Client]:
    """A second client, to publish."""
    with Client(url) as made:
        yield made


@pytest.fixture
def small(url: str) -> Iterator[Client]:
    """A client whose readers hold little."""
    with Client(url, settings=SMALL) as made:
        yield made


class TestSharing:
    def test_subscriptions_and_publishing_share_one(self, client: Client, topic: str) -> None:
        client.publish(topic, "x")
        for path in (topic, f"{topic}/a", f"{topic}x", f"{topic}/b"):
            client.subscribe(path, 0)
        assert client.fetch(f"{topic}y") == []
        assert lanes(client) == 1

    def test_live_subscriptions_to_one_path_share_it_with_each_other(
        self, client: Client, other: Client, topic: str
    ) -> None:
        first = client.subscribe(topic)
        other.publish(topic, "1")
        more = [client.subscribe(topic) for _ in range(5)]
        other.publish(topic, "2")
        assert ids(first, 2) == [1, 2]
        assert [ids(each, 1) for each in more] == [[2]] * 5
        assert lanes(client) == 2, "one more, which knows what is the newest"
        assert len(client.rest.subscribers(topic)) == 1

    def test_a_replay_beside_a_subscription_to_the_same_path_gets_its_own(
        self, client: Client, topic: str
    ) -> None:
        fill(client, topic, 10)
        live = client.subscribe(topic)
        replay = client.subscribe(topic, 0)
        client.publish(topic, "last")
        assert ids(live, 1) == [11]
        assert ids(replay, 11) == list(range(1, 12))

    def test_a_fetch_beside_a_subscription_gets_its_own_for_a_while(
        self, client: Client, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gobbler.client.lane.IDLE_SECONDS", 0.05)
        fill(client, topic, 10)
        reading = client.subscribe(topic, 0)
        assert [len(client.fetch(topic)) for _ in range(3)] == [10] * 3
        deadline = eventually()
        while lanes(client) > 1:
            deadline.again()
        assert ids(reading, 10) == list(range(1, 11))
        assert len(client.fetch(topic)) == 10

    def test_fetches_of_a_partition_take_turns(self, client: Client, topic: str) -> None:
        fill(client, topic, 100)
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.append(len(client.fetch(topic)))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert found == [100] * 8
        assert lanes(client) == 1


class TestSlowReaders:
    COUNT = 3000

    def held(self) -> int:
        """The most that an inbox may hold: its limit, and one burst of messages."""
        return SMALL.inbox_bytes + READ_BYTES + (READ_BYTES // len(BODY)) * MESSAGE_BYTES

    def test_what_is_not_read_stays_with_the_server(self, small: Client, other: Client, topic: str) -> None:
        reading = small.subscribe(topic, 0)
        fill(other, topic, self.COUNT)
        deadline = eventually()
        while not reading.inbox.full:
            deadline.again()
        assert reading.inbox.held <= self.held()
        assert lanes(small) == 1
        assert ids(reading, self.COUNT) == list(range(1, self.COUNT + 1))
        assert reading.inbox.held <= self.held()

    def test_one_does_not_hold_up_another(self, small: Client, other: Client, topic: str) -> None:
        slow, quick = small.subscribe(topic, 0), small.subscribe(f"{topic}/quick")
        fill(other, topic, self.COUNT)
        other.publish(f"{topic}/quick", "x")
        assert ids(quick, 1) == [self.COUNT + 1]
        assert slow.inbox.held <= self.held()
        assert ids(slow, self.COUNT + 1) == list(range(1, self.COUNT + 2))

    def test_one_that_publishes_gets_its_answers(self, small: Client, other: Client, topic: str) -> None:
        fill(other, topic, self.COUNT)
        answered = 0
        for message in small.subscribe(topic, 0):
            if message.id % 500 == 0:
                answered += small.publish(f"{topic}-answers", str(message.id)).id
            if message.id == self.COUNT:
                break
        assert answered == sum(range(1, self.COUNT // 500 + 1))
        texts = [message.text for message in small.fetch(f"{topic}-answers")]
        assert texts == [str(id) for id in range(500, self.COUNT + 1, 500)]

    def test_callbacks_that_use_the_client_get_their_answers(
        self, small: Client, other: Client, topic: str
    ) -> None:
        seen: list[int] = []
        beside: list[int] = []

        def callback(message: Message) -> None:
            seen.append(message.id)
            if message.id == 100:
                fill(other, topic, self.COUNT)
                small.publish(f"{topic}-answers", "x")
                beside.append(len(small.fetch(topic, 0, 5)))
                small.subscribe(f"{topic}/sub", callback=lambda each: None).close()
                small.subscribe(f"{topic}-answers", 0, callback=lambda each: beside.append(each.id))

        small.subscribe(topic, 0, callback=callback)
        fill(other, topic, 100)
        deadline = eventually()
        while len(seen) < self.COUNT + 100 or len(beside) < 2:
            deadline.again()
        assert seen == list(range(1, self.COUNT + 101))
        assert beside == [5, 1]

    def test_one_that_never_reads_can_be_closed(self, small: Client, other: Client, topic: str) -> None:
        slow = small.subscribe(topic, 0)
        fill(other, topic, self.COUNT)
        deadline = eventually()
        while not slow.inbox.full:
            deadline.again()
        slow.close()
        assert small.publish(topic, "x").id == self.COUNT + 1

    def test_lost_connections_bring_no_more_than_fits(
        self, server: ServerProcess, other: Client, topic: str
    ) -> None:
        settings = Settings(inbox_bytes=100_000, first_delay=0.001, ping_interval=0.02)
        with Proxy(server.port) as proxy, Client(proxy.url, settings=settings) as client:
            reading = client.subscribe(topic, 0)
            fill(other, topic, self.COUNT)
            wait = eventually()
            while not reading.inbox.full:
                wait.again()
            for turn in range(2, 12):
                proxy.cut()
                while proxy.accepted < turn or not client.connected:
                    wait.again()
            assert reading.inbox.held <= self.held()
            assert ids(reading, self.COUNT) == list(range(1, self.COUNT + 1))

    def test_moved_ones_survive_a_lost_connection(
        self, server: ServerProcess, other: Client, topic: str
    ) -> None:
        settings = Settings(inbox_bytes=100_000, first_delay=0.001)
        with Proxy(server.port) as proxy, Client(proxy.url, settings=settings) as client:
            slow, quick = client.subscribe(topic, 0), client.subscribe(f"{topic}/quick")
            fill(other, topic, self.COUNT)
            other.publish(f"{topic}/quick", "x")
            assert ids(quick, 1) == [self.COUNT + 1]
            assert proxy.cut() >= 2
            other.publish(f"{topic}/quick", "x")
            assert ids(quick, 1) == [self.COUNT + 2]
            assert ids(slow, self.COUNT + 2) == list(range(1, self.COUNT + 3))


class TestInTime:
    @pytest.fixture
    def apart(self, server: ServerProcess, topic: str) -> Iterator[tuple[Proxy, Client]]:
        """A client whose server cannot be reached any more."""
        with Proxy(server.port) as proxy, Client(proxy.url) as client:
            client.publish(topic, "x")
            proxy.open = False
            proxy.cut()
            deadline = eventually()
            while client.connected or not isinstance(client._lanes._lanes[0].error, NotConnected):
                deadline.again()
            yield proxy, client

    def test_without_a_connection(self, apart: tuple[Proxy, Client], topic: str) -> None:
        proxy, client = apart
        with pytest.raises(NotConnected, match=rf"not connected to ws://127.0.0.1:{proxy.port}/"):
            client.subscribe(topic, 0, timeout=0.05)
        with pytest.raises(NotConnected):
            client.fetch(topic, timeout=0.05)
        with pytest.raises(NotConnected):
            client.connect(0.05, retry=True)
        proxy.open = True
        assert len(client.fetch(topic, timeout=20)) == 1


class TestNobodyAnswers:
    """The first attempt to connect fails while several threads have something to do."""

    @pytest.fixture
    def apart(self, server: ServerProcess) -> Iterator[tuple[Proxy, Client]]:
        with Proxy(server.port) as proxy:
            proxy.open = False
            client = Client(proxy.url, settings=Settings(first_delay=0.05, longest_delay=0.05))
            yield proxy, client
            client.close()

    def test_who_waits_for_a_connection_gets_it(self, apart: tuple[Proxy, Client], topic: str) -> None:
        """Another thread that does not wait must not take it away."""
        proxy, client = apart
        connecting = Background(lambda: client.connect(SECONDS, retry=True))
        deadline = eventually()
        for _ in range(20):
            while not client._lanes.opened:
                deadline.again()
            with pytest.raises(NotConnected):
                client.connect()
        proxy.open = True
        connecting.result()
        assert client.publish(topic, "x").id == 1

    def test_what_waits_for_a_connection_is_published(self, apart: tuple[Proxy, Client], topic: str) -> None:
        """Another thread that does not wait for the connection must not take it away."""
        proxy, client = apart
        command = commands.send(topic, "m", None, b"x")
        publication = client._publisher.submit(command, "m", False, Deadline(SECONDS))
        with pytest.raises(NotConnected):
            client.connect()
        client._lanes.wake()
        proxy.open = True
        assert publication.result(SECONDS).id == 1

    def test_whoever_opens_the_first_can_publish(self, apart: tuple[Proxy, Client], topic: str) -> None:
        """A fetch that comes when another thread has just given up."""
        proxy, client = apart
        proxy.open = True
        fetch = Fetch(topic.encode(), 0, 1)
        client._lanes.fetch(fetch, Deadline(SECONDS))
        assert client.publish(topic, "x", timeout=SECONDS).id == 1


def test_after_the_end_nothing_begins(url: str, topic: str) -> None:
    client = Client(url)
    client.connect()
    reading = client.subscribe(topic)
    client.close()
    client.close()
    assert list(reading) == []
    for call in (client.connect, lambda: client.publish(topic, "x"), lambda: client.fetch(topic)):
        with pytest.raises(Closed):
            call()
    with pytest.raises(Closed):
        client.subscribe(topic)
