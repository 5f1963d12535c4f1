"""A load on a server: publishers and subscribers in threads, and what came of it.

Each body begins with the number of its publisher, that of the message, and when it was due to be published.
So a subscriber can tell what is lost, repeated or out of order, and how long it took. A last message, which
is published when all others are answered, tells the subscribers that nothing can follow.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Final

from gobbler.cli.client.latency import Latencies
from gobbler.errors import GobblerError

if TYPE_CHECKING:
    from gobbler.client import Client, Message, Subscription
    from gobbler.client.lanes import OnConnection

END: Final = b"end"
_FIELDS: Final = 3
_PROGRESS_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `rate` is in messages a second, of all publishers together; None: as fast as it goes."""

    topic: str
    publishers: int
    subscribers: int
    messages: int
    """Of each publisher."""
    size: int
    """Bytes of a body, at least; some 30 are needed."""
    rate: float | None
    patience: float
    """Seconds without any progress, after which it is given up."""


class Publisher:
    """Publishes its share."""

    def __init__(self, plan: Plan, number: int) -> None:
        """It needs a client of its own: its answers must not wait behind those of others."""
        self.client: Client
        self.sent = 0
        self.error: GobblerError | None = None
        self._plan = plan
        self._number = number
        self._stop = threading.Event()

    def connection_changed(self, error: GobblerError | None) -> None:
        """End it when the connection is lost: what was not answered by then is not known."""
        if error is not None:
            self.error = error
            self.stop()

    def run(self) -> None:
        """Publish, and wait until everything is answered."""
        try:
            self._publish()
            if not self._stop.is_set():
                self.client.flush(self._plan.patience)
        except GobblerError as error:
            self.error = self.error or error

    def stop(self) -> None:
        """Publish nothing more."""
        self._stop.set()

    def _publish(self) -> None:
        plan = self._plan
        interval = plan.publishers / plan.rate * 1e9 if plan.rate else 0
        begin = monotonic_ns() + int(interval * self._number / plan.publishers)
        for number in range(plan.messages):
            due = begin + int(number * interval) if interval else monotonic_ns()
            wait = (due - monotonic_ns()) / 1e9
            if self._stop.is_set() or (wait > 0 and self._stop.wait(wait)):
                return
            # Latency counts from when it was due: whatever holds up the publisher is charged, too.
            body = b"%d %d %d " % (self._number, number, due)
            self.client.publish_nowait(plan.topic, body.ljust(plan.size, b"."), timeout=plan.patience)
            self.sent += 1


class Subscriber:
    """Takes everything, and checks it."""

    def __init__(self, subscription: Subscription, plan: Plan) -> None:
        """Begin to count."""
        self.received = 0
        self.faults: Counter[str] = Counter()
        """What was not right, in words, and how often."""
        self.latencies = Latencies()
        self._subscription = subscription
        self._patience = plan.patience
        self._next = [0] * plan.publishers
        self._missing: set[tuple[int, int]] = set()

    def run(self) -> None:
        """Take messages until the last."""
        try:
            while (message := self._subscription.get(self._patience)) and message.body != END:
                self._take(message)
        except GobblerError as error:  # nothing came, or something cannot be had any more
            self.faults[str(error)] += 1

    def stop(self) -> None:
        """Wait for nothing more."""
        self._subscription.close()

    def lost(self, sent: Sequence[int]) -> int:
        """Return how many have not come, of those that each publisher has sent."""
        return len(self._missing) + sum(
            max(0, number - next) for number, next in zip(sent, self._next, strict=True)
        )

    def _take(self, message: Message) -> None:
        now = monotonic_ns()
        self.received += 1
        try:
            publisher, number, due = map(int, message.body.split(b" ", _FIELDS)[:_FIELDS])
            expected = self._next[publisher]
        except (ValueError, IndexError):
            self.faults["of somebody else"] += 1
            return
        if number < expected:
            self._late(publisher, number)
            return
        self._missing.update((publisher, skipped) for skipped in range(expected, number))
        self._next[publisher] = number + 1
        self.latencies.add(now - due)

    def _late(self, publisher: int, number: int) -> None:
        missed = (publisher, number) in self._missing
        self._missing.discard((publisher, number))
        self.faults["out of order" if missed else "repeated"] += 1


@dataclass(slots=True)
class Report:
    """What came of it. Times are in seconds since the first message."""

    published: int = 0
    published_in: float = 0.0
    delivered: int = 0
    delivered_in: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)
    faults: Counter[str] = field(default_factory=Counter)
    """What was not right, in words, and how often; empty when all is well."""


class Load:
    """Runs a plan."""

    def __init__(
        self,
        plan: Plan,
        connect: Callable[[OnConnection | None], Client],
        progress: Callable[[int, int], None],
    ) -> None:
        """`connect` makes a client, with what is to be told of its connection.

        `progress` is told how many were published, and delivered, by now.
        """
        self._plan = plan
        self._connect = connect
        self._progress = progress
        self._publishers: list[Publisher] = []
        self._subscribers: list[Subscriber] = []

    def run(self) -> Report:
        """Publish and receive everything, or as much as is possible.

        Raises:
            GobblerError: it could not begin.
        """
        plan, report = self._plan, Report()
        with ExitStack() as stack:
            control = self._open(stack)
            for _ in range(plan.subscribers):
                self._subscribers.append(Subscriber(self._open(stack).subscribe(plan.topic), plan))
            for number in range(plan.publishers):
                self._publishers.append(publisher := Publisher(plan, number))
                publisher.client = self._open(stack, publisher.connection_changed)
            receiving = [_thread(subscriber.run) for subscriber in self._subscribers]
            begun = monotonic()
            self._wait([_thread(publisher.run) for publisher in self._publishers])
            report.published_in = monotonic() - begun
            self._end(control, report)
            self._wait(receiving)
            report.delivered_in = monotonic() - begun
        self._count(report)
        return report

    def _open(self, stack: ExitStack, on_connection: OnConnection | None = None) -> Client:
        client = self._connect(on_connection)
        stack.callback(client.close, 0)  # everything is answered by then, or given up
        client.connect()
        return client

    def _end(self, control: Client, report: Report) -> None:
        """Have the subscribers end: behind the last message, or at once where there are no more to be had."""
        try:
            if not self._failed:
                control.publish(self._plan.topic, END)
                return
        except GobblerError as error:
            report.faults[str(error)] += 1
        for subscriber in self._subscribers:
            subscriber.stop()

    @property
    def _failed(self) -> bool:
        return any(publisher.error for publisher in self._publishers)

    def _wait(self, threads: list[threading.Thread]) -> None:
        """Wait for threads, and tell of the progress; one publisher that fails ends the others."""
        for thread in threads:
            while thread.is_alive():
                thread.join(_PROGRESS_SECONDS)
                self._tell()
                if self._failed:
                    for publisher in self._publishers:
                        publisher.stop()
        self._tell()

    def _tell(self) -> None:
        self._progress(
            sum(publisher.sent for publisher in self._publishers),
            sum(subscriber.received for subscriber in self._subscribers),
        )

    def _count(self, report: Report) -> None:
        sent = [publisher.sent for publisher in self._publishers]
        report.published = sum(sent)
        report.faults.update(str(publisher.error) for publisher in self._publishers if publisher.error)
        for subscriber in self._subscribers:
            report.delivered += subscriber.received
            report.latencies.merge(subscriber.latencies)
            report.faults.update(subscriber.faults)
            if not report.faults:  # else nobody has waited for the rest
                report.faults["lost"] += subscriber.lost(sent)
        report.faults = +report.faults  # without what has not happened


def _thread(run: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
