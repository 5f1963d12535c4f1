"""What is measured: every shape takes a fresh server and returns one value for each of its figures."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Self

from bench import driver, push, rest
from bench.servers import Server

Values = dict[str, float]


@dataclass(frozen=True)
class Figure:
    """One line of the report: a quantity, its unit, and what the project promises for it."""

    key: str
    unit: str
    least_ratio: float | None = None
    """The least that Gobbler's median must be as a multiple of the peer's."""
    most: float | None = None
    """The most that Gobbler's median may be, in `unit`."""


@dataclass(frozen=True)
class Shape(ABC):
    """One experiment."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    has_peer: bool = field(default=True, kw_only=True)

    @abstractmethod
    def scaled(self, scale: float) -> Self:
        """The same experiment with `scale` times as much work; below 1 it is shorter and rougher."""

    def server(self, kind: type[Server]) -> Server:
        """The server that a run is made on, of a kind; not started."""
        return kind()

    @abstractmethod
    def measure(self, server: Server) -> Values:
        """One run: the value of each figure by its key.

        Raises:
            BenchError: the run could not be finished, or a message was not where it belongs.
        """


def _some(count: int, scale: float) -> int:
    return max(1, round(count * scale))


@dataclass(frozen=True)
class Load(Shape):
    """Publishers and subscribers at once; `messages`, `window` and `rate` (0: no limit) are a publisher's.

    With `ids`, every publish to Gobbler carries a message id. The peer's publishes stay as they are:
    its nearest thing, `Nats-Msg-Id`, makes it look for repeats as well, which Gobbler does not do.
    """

    messages: int
    publishers: int = 1
    subscribers: int = 1
    topics: int = 1
    window: int = 1000
    body: int = 44
    rate: float = 0
    ids: bool = False

    def scaled(self, scale: float) -> Self:
        """Fewer or more messages."""
        return replace(self, messages=_some(self.messages, scale))

    def measure(self, server: Server) -> Values:
        """A tenth of the load, so that code, connections and topics are warm; then all of it."""
        self._run(server, _some(self.messages, 0.1))
        result = self._run(server, self.messages)
        latency = result["latency_us"]
        return {
            "published": result["published_per_s"],
            "delivered": result["delivered_per_s"],
            "p50": latency["p50"],
            "p99": latency["p99"],
            "p99.9": latency["p999"],
        }

    def _run(self, server: Server, messages: int) -> driver.Result:
        return driver.run(
            "e2e",
            server.name,
            server.port,
            messages=messages,
            publishers=self.publishers,
            subscribers=self.subscribers,
            topics=self.topics,
            window=self.window,
            body=self.body,
            rate=self.rate,
            ids=int(self.ids),
        )


@dataclass(frozen=True)
class Replay(Shape):
    """One subscriber that asks for everything from the first message on."""

    messages: int
    body: int = 44
    ids: bool = False

    def scaled(self, scale: float) -> Self:
        """Fewer or more messages."""
        return replace(self, messages=_some(self.messages, scale))

    def measure(self, server: Server) -> Values:
        """Store the messages with nobody listening, then replay them."""
        stored = {"messages": self.messages, "body": self.body, "ids": int(self.ids)}
        driver.run("e2e", server.name, server.port, subscribers=0, **stored)
        return {"replayed": driver.run("fetch", server.name, server.port, **stored)["delivered_per_s"]}


@dataclass(frozen=True)
class Rest(Shape):
    """Publishing over HTTP with keep-alive."""

    connections: int
    seconds: int

    def scaled(self, scale: float) -> Self:
        """Fewer or more seconds."""
        return replace(self, seconds=_some(self.seconds, scale))

    def measure(self, server: Server) -> Values:
        """Requests that were answered with 200, a second."""
        return {"answered": rest.publishes_per_second(server.port, self.connections, self.seconds)}


@dataclass(frozen=True)
class Idle(Shape):
    """A server with nothing to do: its start, its memory, and what a waiting subscriber adds to that."""

    connections: int

    def scaled(self, scale: float) -> Self:
        """Fewer or more connections."""
        return replace(self, connections=_some(self.connections, scale))

    def measure(self, server: Server) -> Values:
        """Memory before, and then with the connections open and subscribed."""
        before = server.resident_bytes()
        with driver.idle_connections(server.name, server.port, self.connections):
            grown = server.resident_bytes() - before
        return {
            "start-up": server.start_seconds * 1e3,
            "memory": before / 2**20,
            "memory a connection": grown / 2**10 / self.connections,
        }


@dataclass(frozen=True)
class Push(Shape):
    """Notifications through one connector, whose fake provider answers over TLS after a delay."""

    connector: str
    delay_ms: float
    messages: int
    topics: int = 100

    def scaled(self, scale: float) -> Self:
        """Fewer or more messages."""
        return replace(self, messages=_some(self.messages, scale))

    def server(self, kind: type[Server]) -> push.ConnectedGobbler:
        """A server with the connector, and devices that are subscribed."""
        devices = 0 if self.connector == "sms" else self.topics * push.DEVICES_A_TOPIC
        return push.ConnectedGobbler(push.KINDS[self.connector], self.delay_ms, devices)

    def measure(self, server: Server) -> Values:
        """A tenth of the load, so that connections and code are warm; then all of it."""
        assert isinstance(server, push.ConnectedGobbler)
        warm = push.publish(server, _some(self.messages, 0.1), self.topics)
        push.wait(server.fake, warm)
        begun, used = time.monotonic(), server.cpu_seconds()
        number = push.publish(server, self.messages, self.topics)
        push.wait(server.fake, warm + number)
        seconds, cpu = time.monotonic() - begun, server.cpu_seconds() - used
        return {"sent": number / seconds, "processor time a push": cpu / number * 1e6}


@dataclass(frozen=True)
class Subscriptions(Shape):
    """What subscriptions of devices cost a server that has nothing else to do."""

    number: int

    def scaled(self, scale: float) -> Self:
        """Fewer or more subscriptions."""
        return replace(self, number=_some(self.number, scale))

    def server(self, kind: type[Server]) -> push.ConnectedGobbler:
        """A server that has them."""
        return push.ConnectedGobbler(push.KINDS["fcm"], 0, self.number)

    def measure(self, server: Server) -> Values:
        """Memory, beside a server with the connector and one subscription."""
        with push.ConnectedGobbler(push.KINDS["fcm"], 0, 1) as small:
            before = small.resident_bytes()
        grown = server.resident_bytes() - before
        return {
            "start-up": server.start_seconds * 1e3,
            "memory": grown / 2**20,
            "memory a subscription": grown / self.number,
        }


_DELIVERED = Figure("delivered", "messages/s")
_REPLAYED = Figure("replayed", "messages/s")
_PUBLISHED = Figure("published", "messages/s")
_P50, _P99, _P999 = (Figure(key, "us") for key in ("p50", "p99", "p99.9"))
_ONE_TO_ONE = Figure("delivered", "messages/s", least_ratio=1.4)
_ONE_TO_TEN = Figure("delivered", "messages/s", least_ratio=2.2)
_MEMORY = Figure("memory", "MiB", most=60)
_CONNECTION = Figure("memory a connection", "KiB", most=10)

# Large enough that a run takes a second or more.
SHAPES: tuple[Shape, ...] = (
    Load("one-to-one-44", "1 publisher, 1 subscriber, 44 bytes, no message ids", (_ONE_TO_ONE,), 400_000),
    Load(
        "one-to-one-1k", "1 publisher, 1 subscriber, 1 KB, no message ids", (_ONE_TO_ONE,), 150_000, body=1000
    ),
    Load(
        "one-to-ten-44",
        "1 publisher, 10 subscribers, 44 bytes, no message ids",
        (_ONE_TO_TEN,),
        200_000,
        subscribers=10,
    ),
    Load(
        "one-to-ten-1k",
        "1 publisher, 10 subscribers, 1 KB, no message ids",
        (_ONE_TO_TEN,),
        50_000,
        subscribers=10,
        body=1000,
    ),
    # Bursts of bare messages to one path can be treated as a whole; with ids each message stands alone.
    # These two, and `replay-ids`, are to be read beside the same shapes without ids.
    Load(
        "one-to-one-ids",
        "1 publisher, 1 subscriber, 44 bytes, with message ids",
        (_DELIVERED,),
        150_000,
        ids=True,
    ),
    Load(
        "one-to-ten-ids",
        "1 publisher, 10 subscribers, 44 bytes, with message ids",
        (_DELIVERED,),
        100_000,
        subscribers=10,
        ids=True,
    ),
    Load(
        "closed-loop",
        "50 publishers, 50 topics, 50 subscribers, each waits for its answer",
        (_PUBLISHED, _P50, _P99),
        1_500,
        publishers=50,
        subscribers=50,
        topics=50,
        window=1,
    ),
    Load(
        "latency-1",
        "1 publisher at 1,000 messages/s, 1 subscriber",
        (_P50, _P99, _P999),
        5_000,
        rate=1000,
    ),
    Load(
        "latency-20",
        "20 publishers at 50 messages/s, 20 topics, 20 subscribers",
        (_P50, _P99, _P999),
        250,
        publishers=20,
        subscribers=20,
        topics=20,
        rate=50,
    ),
    Replay("replay", "replay, 44 bytes, no message ids", (_REPLAYED,), 1_000_000),
    Replay("replay-ids", "replay, 44 bytes, with message ids", (_REPLAYED,), 300_000, ids=True),
    Rest("rest", "POST, 32 connections", (Figure("answered", "requests/s"),), 32, 5, has_peer=False),
    *(
        Push(
            f"push-{connector}-{delay}",
            f"notifications through {connector}, answers after {delay} ms",
            (Figure("sent", "pushes/s"), Figure("processor time a push", "us")),
            connector,
            delay,
            messages=messages,
            has_peer=False,
        )
        for connector, messages in (("fcm", 2_000), ("apns", 2_000), ("sms", 10_000))
        for delay in (1, 50)
    ),
    Subscriptions(
        "subscriptions",
        "1,000,000 subscriptions of devices, each to a token and user of its own",
        (
            Figure("start-up", "ms"),
            Figure("memory", "MiB"),
            Figure("memory a subscription", "bytes"),
        ),
        1_000_000,
        has_peer=False,
    ),
    Idle(
        "idle",
        "idle server, and 5,000 idle subscribers",
        (Figure("start-up", "ms"), _MEMORY, _CONNECTION),
        5_000,
        has_peer=False,
    ),
)
