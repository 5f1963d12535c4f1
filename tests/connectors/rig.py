"""A connector on real stores, with a sender at the seam that does what a test tells it to."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import gevent
from gevent.event import Event
from prometheus_client import CollectorRegistry

from gobbler.connectors.audience import Audience, Everybody
from gobbler.connectors.base import Delivery
from gobbler.connectors.connector import Connector, Stores
from gobbler.connectors.metrics import PushMetrics
from gobbler.connectors.outcome import Outcome, Sent
from gobbler.connectors.subscription import Device
from gobbler.connectors.subscriptions import Subscriptions
from gobbler.kvstore.base import KVStore
from gobbler.kvstore.sqlite import SQLiteKVStore
from gobbler.metrics import Metrics
from gobbler.protocol import filters
from gobbler.protocol.run import Run
from gobbler.protocol.topic import partition_of
from gobbler.reporting import events
from gobbler.reporting.events import Event as Reported
from gobbler.router.routes import Router
from gobbler.store.base import Committed, Group
from gobbler.store.filelog.store import FileStore

SECONDS = 20.0

Answer = Callable[[Delivery], Outcome]


def accept(delivery: Delivery) -> Outcome:
    return Sent()


class ScriptedSender:
    """A sender that asks a function of the test, and remembers every attempt."""

    name = "fcm"
    retry_delay = 0.01

    def __init__(self, answer: Answer = accept) -> None:
        self.answer = answer
        self.attempts: list[tuple[str, int]] = []
        self.deliveries: list[Delivery] = []
        self.sent: list[tuple[str, int]] = []
        self.running = False
        self._changed = Event()

    def start(self) -> None:
        self.running = True

    def stop(self, timeout: float) -> None:
        self.running = False

    def send(self, delivery: Delivery) -> Outcome:
        assert self.running
        who = (delivery.device_token, delivery.message.id)
        self.attempts.append(who)
        self.deliveries.append(delivery)
        outcome = self.answer(delivery)
        if isinstance(outcome, Sent):
            self.sent.append(who)
        self._changed.set()
        return outcome

    def event(self, delivery: Delivery, outcome: Outcome) -> Reported | None:
        status = events.SUCCESS if isinstance(outcome, Sent) else events.FAIL
        return events.push(
            topic=delivery.message.path.decode(),
            status=status,
            error_text="",
            user_id=delivery.user_id,
            device_id=delivery.device_token,
            notification_body=delivery.message.body.decode(),
            notification_title="",
            deep_link="",
        )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true that attempts bring about; fail when it takes too long."""
        with gevent.Timeout(SECONDS, AssertionError(f"after {len(self.attempts)} attempts")):
            while not condition():
                self._changed.clear()
                self._changed.wait(0.01)


class CautiousScriptedSender(ScriptedSender):
    """The same for what must not be repeated; `admitted` are asked first."""

    admit_answer: Callable[[Delivery], Outcome | None] = staticmethod(lambda delivery: None)

    def admit(self, delivery: Delivery) -> Outcome | None:
        return self.admit_answer(delivery)


class Reports:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.events: list[Reported] = []

    def report(self, event: Reported) -> None:
        self.events.append(event)


class Rig:
    """A connector with a message store and a key-value store in a folder; a context manager.

    `crash` leaves everything as `kill -9` would, and begins anew on the same folder.
    """

    def __init__(
        self,
        folder: Path,
        answer: Answer = accept,
        *,
        everybody: bytes = b"",
        workers: int = 1,
        clock: Callable[[], float] = time.time,
        kvstore: KVStore | None = None,
    ) -> None:
        self.sender = CautiousScriptedSender(answer) if everybody else ScriptedSender(answer)
        self.reports = Reports()
        self._folder = folder
        self._everybody = everybody
        self._workers = workers
        self._clock = clock
        self.kvstore: KVStore = kvstore or SQLiteKVStore(folder / "kv.sqlite")
        self.store = FileStore(str(folder / "messages"), sync_seconds=None, segment_bytes=1 << 20)
        self._make()

    def _make(self) -> None:
        self.router = Router(Metrics("test"))
        self.store.listen(self.router.deliver)
        self.registry = CollectorRegistry()
        metrics = PushMetrics(self.registry).for_connector("fcm")
        self.subscriptions = Subscriptions("fcm", self.kvstore, self.newest, self.reports)
        audience: Audience = Everybody("fcm", self._everybody) if self._everybody else self.subscriptions
        self.connector = Connector(
            self.sender,
            audience,
            Stores(self.store, self.kvstore),
            metrics,
            self.reports,
            workers=self._workers,
            clock=self._clock,
        )
        self.subscriptions.watch(self.connector)
        self.router.join(self.connector)

    def __enter__(self) -> "Rig":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        self.kvstore.start()
        self.store.start()
        self.connector.start()

    def stop(self) -> None:
        self.connector.stop(5)
        self.store.stop(5)
        self.kvstore.stop(5)

    def crash(self) -> None:
        """End everything that runs without a word, and start again."""
        engine = self.connector._engine
        assert engine is not None
        timer, writer = engine.workload._timer, engine.feeds.positions._greenlet
        assert timer is not None
        assert writer is not None
        gevent.killall([*engine._greenlets, timer, writer])
        self.store.stop(5)
        self.kvstore.stop(5)
        self.kvstore = SQLiteKVStore(self._folder / "kv.sqlite")
        self.store = FileStore(str(self._folder / "messages"), sync_seconds=None, segment_bytes=1 << 20)
        self._make()
        self.start()

    def newest(self, partition: str) -> int:
        return self.store.bounds(partition).last

    def subscribe(self, token: str, topic: str, user: str = "marvin") -> bool:
        return self.subscriptions.create(Device(token, user), topic.encode())

    def publish(self, path: str, *bodies: str, wanted: Mapping[str, str] | None = None) -> range:
        """Publish messages with these bodies; return their ids."""
        raw = path.encode()
        tails = [b"\n" + body.encode() for body in bodies]
        run = Run(raw, b"", b"app", tails, filters=filters.encode(wanted or {}))
        (committed,) = self.store.append([Group(partition_of(raw), [run])])
        assert isinstance(committed, Committed)
        return range(committed.first_id, committed.first_id + len(bodies))

    def sent(self, token: str) -> list[int]:
        """Return the ids that a device has got, in the order of getting them."""
        return [id for to, id in self.sender.sent if to == token]

    def has_sent(self, number: int) -> bool:
        return len(self.sender.sent) >= number

    def has_got(self, token: str, ids: Iterable[int]) -> bool:
        return set(ids) <= set(self.sent(token))

    def wait_for(self, token: str, ids: Iterable[int]) -> None:
        """Wait until a device has got just these, in this order."""
        expected = list(ids)
        self.sender.wait_until(lambda: len(self.sent(token)) >= len(expected))
        assert self.sent(token) == expected

    def wait_until_idle(self) -> None:
        """Wait until everything is read and nothing is unfinished."""
        engine = self.connector._engine
        assert engine is not None
        self.sender.wait_until(
            lambda: (
                all(feed.cursor > self.newest(feed.partition) for feed in engine.feeds)
                and self.metric("queue") == 0
            )
        )

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"gobbler_push_{name}", {"connector": "fcm"} | labels) or 0.0
