"""Nothing lost, nothing twice: connections cut at random, servers that stop and are killed."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gobbler.client import Client, ClientError, Message, PublishUnknown, Settings, Subscription
from tests.client.proxy import Proxy
from tests.system.server import Deadline, ServerProcess, eventually

CUTS = 200
MESSAGES = 50_000
TOPICS = ("/r", "/r/a", "/r/b", "/r/a/x")
QUICK = Settings(first_delay=0.001, longest_delay=0.02)


class Reader:
    """Reads a subscription in a thread of its own, or with a callback."""

    def __init__(self, subscription: Subscription | None = None) -> None:
        self.messages: list[Message] = []
        if subscription is not None:
            self.thread = threading.Thread(target=self._read, args=(subscription,))
            self.thread.start()

    def _read(self, subscription: Subscription) -> None:
        for message in subscription:
            self.messages.append(message)

    @property
    def ids(self) -> list[int]:
        return [message.id for message in self.messages]

    def expect(self, expected: list[int]) -> None:
        """Wait until so many messages are there; they must be these."""
        deadline = eventually(60)
        while len(self.messages) < len(expected):
            deadline.again()
        assert self.ids == expected


class Chaos:
    """Cuts connections after a random number of bytes, until there have been enough cuts."""

    def __init__(self, seed: int, most: int) -> None:
        self.proxy: Proxy
        self._random = random.Random(seed)
        self._most = most

    def budget(self) -> float:
        return self._random.randrange(200, self._most) if self.proxy.cuts < CUTS else float("inf")


@pytest.fixture
def seed() -> int:
    chosen = random.randrange(1 << 32)
    print(f"seed {chosen}")  # noqa: T201 - pytest shows it when the test fails
    return chosen


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as server:
        yield server


def chaotic(server: ServerProcess, seed: int, most: int) -> Proxy:
    chaos = Chaos(seed, most)
    chaos.proxy = Proxy(server.port, chaos.budget)
    return chaos.proxy


def below(path: str, topics: list[str], first: int = 1) -> list[int]:
    """The ids from `first` on whose topics a path contains; ids count from 1."""
    return [id for id, topic in enumerate(topics, 1) if f"{topic}/".startswith(f"{path}/") and id >= first]


def test_a_client_whose_connections_are_cut_gets_all_once_and_in_order(
    running: ServerProcess, seed: int
) -> None:
    """Stored and live, from the beginning, from the middle and from now on, over paths that contain each
    other, with iterators and with callbacks."""
    topics = random.Random(seed).choices(TOPICS, k=MESSAGES)
    with (
        chaotic(running, seed, 30_000) as proxy,
        Client(f"http://127.0.0.1:{running.port}") as publisher,
        closing(Client(proxy.url, settings=QUICK, timeout=60)) as client,
    ):
        client.connect(60, retry=True)
        readers = {
            "whole": Reader(client.subscribe("/r", 0)),
            "live": Reader(client.subscribe("/r/a")),
            "callback": Reader(),
            "deep": Reader(client.subscribe("/r/a/x")),
        }
        client.subscribe("/r", 0, callback=readers["callback"].messages.append)

        def publish(first: int, last: int) -> None:
            """Publish with some cuts between, rather than all behind the last message."""
            for number in range(first, last):
                publisher.publish_nowait(topics[number], f"{number}:{'x' * (number % 60)}")
                if number % 250 == 0:
                    publisher.flush(60)
                    deadline = eventually(60)
                    while len(readers["whole"].messages) < number - 3000:
                        deadline.again()
            publisher.flush(60)

        publish(0, 20_000)
        readers["middle"] = Reader(client.subscribe("/r/b"))
        publish(20_000, 30_000)
        readers["newest"] = Reader(client.subscribe("/r", -500))
        readers["stored"] = Reader(client.subscribe("/r/a", 1234))
        publish(30_000, MESSAGES)

        readers["whole"].expect(below("/r", topics))
        readers["live"].expect(below("/r/a", topics))
        readers["callback"].expect(below("/r", topics))
        readers["deep"].expect(below("/r/a/x", topics))
        readers["middle"].expect(below("/r/b", topics, 20_001))
        readers["newest"].expect(below("/r", topics, 29_501))
        readers["stored"].expect(below("/r/a", topics, 1234))
        bodies = [message.text.partition(":")[0] for message in readers["whole"].messages]
        assert bodies == [str(number) for number in range(MESSAGES)]
        assert proxy.cuts >= CUTS


@pytest.mark.long
@pytest.mark.parametrize("most", [2_000, 20_000, 200_000])
@pytest.mark.parametrize("_turn", range(20))
def test_again_and_again(running: ServerProcess, seed: int, most: int, _turn: int) -> None:
    """A log that is read with more and fewer cuts, small readers and large ones."""
    rng = random.Random(seed)
    topics = rng.choices(TOPICS, k=10_000)
    settings = Settings(first_delay=0.001, longest_delay=0.02, inbox_bytes=rng.choice([10_000, 1 << 20]))
    with Client(f"http://127.0.0.1:{running.port}") as publisher:
        for topic in topics:
            publisher.publish_nowait(topic, "x" * rng.randrange(200))
        publisher.flush(60)
    with chaotic(running, seed, most) as proxy:
        client = Client(proxy.url, settings=settings, timeout=60)
        client.connect(60, retry=True)
        begins = {path: rng.randrange(1, 10_000) for path in rng.sample(TOPICS, 3)}
        readers = {path: Reader(client.subscribe(path, first)) for path, first in begins.items()}
        for path, reader in readers.items():
            reader.expect(below(path, topics, begins[path]))
        client.close()


class TestPublishing:
    """Publishers whose connections are cut."""

    COUNT = 5_000
    WAITING = 100
    """How many messages may wait for an answer: were it all, the first cut could lose them all."""

    @staticmethod
    def stored(server: ServerProcess) -> list[Message]:
        with Client(f"http://127.0.0.1:{server.port}") as client:
            return client.fetch("/p", 0, 1_000_000, timeout=60)

    def test_at_most_once(self, running: ServerProcess, seed: int) -> None:
        """What has a receipt is stored once; what is unknown is stored once or not at all."""
        with chaotic(running, seed, 40_000) as proxy:
            client = Client(proxy.url, settings=QUICK, timeout=60)
            client.connect(60, retry=True)
            receipts, unknown = dict[str, int](), set[str]()
            for first in range(0, self.COUNT, self.WAITING):
                texts = [str(number) for number in range(first, first + self.WAITING)]
                sent = [client.publish_nowait("/p", text) for text in texts]
                for text, publication in zip(texts, sent, strict=True):
                    try:
                        receipts[text] = publication.result(60).id
                    except PublishUnknown:
                        unknown.add(text)
            client.close()
            assert proxy.cuts > 1
        stored = self.stored(running)
        found = {message.text: message.id for message in stored}
        assert len(found) == len(stored), "nothing is stored twice"
        assert receipts.items() <= found.items()
        assert found.keys() <= receipts.keys() | unknown
        assert unknown

    def test_at_least_once(self, running: ServerProcess, seed: int) -> None:
        """Everything is stored; what is stored twice has the same message id."""
        with chaotic(running, seed, 40_000) as proxy:
            client = Client(proxy.url, resend=True, settings=QUICK, timeout=60)
            client.connect(60, retry=True)
            sent = [client.publish_nowait("/p", str(number)) for number in range(self.COUNT)]
            client.flush(60)
            receipts = {each.message_id: each.result(0).id for each in sent}
            client.close()
            assert proxy.cuts > 1
        found = self.stored(running)
        assert {message.text for message in found} == {str(number) for number in range(self.COUNT)}
        assert {message.message_id for message in found} == receipts.keys()
        assert receipts.items() <= {(message.message_id, message.id) for message in found}


class TestRestart:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[ServerProcess]:
        """A server that comes back where it was."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with ServerProcess(tmp_path / "data", "--http", f"127.0.0.1:{port}") as running:
            yield running

    @pytest.mark.parametrize("end", [ServerProcess.stop, ServerProcess.kill])
    def test_everything_goes_on(self, server: ServerProcess, end: Callable[[ServerProcess], object]) -> None:
        told: list[ClientError | None] = []
        client = Client(
            f"http://127.0.0.1:{server.port}", settings=QUICK, timeout=60, on_connection=told.append
        )
        client.publish("/foo", "old")
        live, stored = client.subscribe("/foo"), client.subscribe("/foo/bar", 0)
        client.publish("/foo/bar", "1")
        assert client.application_id
        for turn in range(2, 5):
            end(server)
            deadline = eventually()
            wait(deadline, lambda: not client.connected)
            queued = client.publish_nowait("/foo/bar", str(turn))
            server.start()
            assert queued.result(60).id == turn + 1
        assert [next(live).text for _ in range(4)] == ["1", "2", "3", "4"]
        assert [next(stored).text for _ in range(4)] == ["1", "2", "3", "4"]
        assert [message.text for message in client.fetch("/foo")] == ["old", "1", "2", "3", "4"]
        wait(eventually(), lambda: len(told) >= 7)
        assert [error is None for error in told] == [True, False, True, False, True, False, True]
        client.close()

    def test_what_is_published_while_nobody_is_connected_is_not_missed(self, server: ServerProcess) -> None:
        """A live subscription that has not had a message yet."""
        with Proxy(server.port) as proxy, Client(proxy.url, settings=QUICK) as client:
            with Client(f"http://127.0.0.1:{server.port}") as other:
                other.publish("/foo/noise", "before")
                live, fresh = client.subscribe("/foo"), client.subscribe("/fresh")
                proxy.open = False
                proxy.cut()
                wait(eventually(), lambda: not client.connected)
                for number in range(100):
                    other.publish("/foo", str(number))
                    other.publish("/fresh/below", str(number))
            proxy.open = True
            assert [next(live).text for _ in range(100)] == [str(number) for number in range(100)]
            assert [next(fresh).text for _ in range(100)] == [str(number) for number in range(100)]


def wait(deadline: Deadline, condition: Callable[[], bool]) -> None:
    while not condition():
        deadline.again()
