"""Reports events to Kafka (`docs/kafka.md`).

Whoever reports is never held up: an event goes into the backlog of its topic, and a thread for each
topic (`courier`) carries it on. Topics have nothing in common but the brokers: one that
does not exist, or that we may not write to, does not hold up the others.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

from gobbler.reporting.backlog import Backlog, Record
from gobbler.reporting.base import Nobody, Reporter
from gobbler.reporting.courier import Connect, Courier
from gobbler.reporting.events import Event
from gobbler.reporting.metrics import FULL, INVALID, STOPPED, ReportingMetrics
from gobbler.reporting.producer import Access, connect
from gobbler.reporting.quiet import quieten

log = logging.getLogger(__name__)

BACKLOG_BYTES: Final = 32 << 20
"""What the events of one topic may take; some 40,000 notifications."""


class KafkaReporting:
    """The reporters of some topics: a service whose `start` waits for nobody.

    Without brokers there is nobody to report to, and nothing to start.
    """

    def __init__(
        self,
        brokers: tuple[str, ...],
        metrics: ReportingMetrics,
        *,
        security: str = "plaintext",
        ca_file: Path | None = None,
        mechanism: str = "PLAIN",
        user: str = "",
        password: str = "",
        backlog_bytes: int = BACKLOG_BYTES,
    ) -> None:
        """Take the brokers (`host:port`) and the options `--kafka-...` of the same names.

        `backlog_bytes`: what the events of one topic may take while they wait.
        """
        self._access = Access(brokers, security, ca_file, mechanism, user, password)
        self._metrics = metrics
        self._backlog_bytes = backlog_bytes
        self._topics: dict[str, TopicReporter] = {}
        self._couriers: list[Courier] = []
        metrics.watch(lambda: sum(len(topic) for topic in self._topics.values()))

    def __repr__(self) -> str:
        """Name the brokers and the topics."""
        return f"KafkaReporting({','.join(self._access.brokers)!r}, topics={list(self._topics)})"

    def topic(self, name: str) -> Reporter:
        """Return the reporter of a topic, to be asked for before `start`; a name of "" is nobody's.

        What is reported before `start` waits for it.
        """
        if not name or not self._access.brokers:
            return Nobody()
        if name not in self._topics:
            self._topics[name] = TopicReporter(name, self._metrics, self._backlog_bytes)
        return self._topics[name]

    def start(self) -> None:
        """Begin to deliver; brokers that are away are waited for in the background.

        Raises: ConfigError when the certificates cannot be used.
        """
        if self._couriers:
            return
        quieten()
        connect_there = partial(connect, self._access.configuration())
        for topic in self._topics.values():
            courier = topic.open(connect_there)
            courier.start()
            self._couriers.append(courier)

    def stop(self, timeout: float) -> None:
        """Deliver what waits within `timeout` seconds, drop the rest and what comes from now on.

        Brokers that are away already are not waited for.
        """
        deadline = time.monotonic() + timeout
        couriers, self._couriers = self._couriers, []
        for topic in self._topics.values():
            topic.close()
        for courier in couriers:
            courier.finish(deadline)
        for courier in couriers:
            courier.join()
        for courier in couriers:
            courier.abandon()
        for courier in couriers:
            courier.join()
        for topic in self._topics.values():
            topic.drop_rest()


class TopicReporter:
    """Reports to one topic; `KafkaReporting.topic` makes it."""

    def __init__(self, name: str, metrics: ReportingMetrics, backlog_bytes: int) -> None:
        """Take the topic's name, and how many bytes its events may take."""
        self._name = name
        self._metrics = metrics
        self._backlog_bytes = backlog_bytes
        self._backlog = Backlog(backlog_bytes)
        self._courier: Courier | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many events wait."""
        return len(self._backlog)

    def report(self, event: Event) -> None:
        """Take an event; never waits and never raises. What cannot be kept is dropped, and counted."""
        if self._closed:
            self._drop(STOPPED)
        # Asked first: while the backlog is full, an event should cost next to nothing.
        elif self._backlog.is_full:
            self._drop(FULL)
        else:
            self._take(event)

    def open(self, connect: Connect) -> Courier:
        """Take events; return what delivers them."""
        self._closed = False
        self._courier = Courier(self._name, self._backlog, connect, self._metrics)
        return self._courier

    def close(self) -> None:
        """Take no more events."""
        self._closed = True

    def drop_rest(self) -> None:
        """Give up what was not delivered."""
        lost = len(self._backlog)
        if lost:
            self._drop(STOPPED, lost)
            log.error("%d events for the Kafka topic %s were not delivered", lost, self._name)
        # A new one: a courier that hangs may still put back what it has taken.
        self._backlog = Backlog(self._backlog_bytes)
        self._courier = None

    def _take(self, event: Event) -> None:
        id, now = uuid4(), time.time()
        try:
            value = event.encode(id, now)
        except (TypeError, ValueError) as error:
            log.error("an event %s cannot be written as JSON: %s", event.type, error)
            self._drop(INVALID)
            return
        if not self._backlog.add(Record(str(id).encode(), value, int(now * 1000))):
            self._drop(FULL)
        elif self._courier is not None:
            self._courier.wake()

    def _drop(self, reason: str, events: int = 1) -> None:
        self._metrics.dropped[reason].inc(events)
