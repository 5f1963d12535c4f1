"""A connector: an audience, a sender, and an engine that runs while the connector is turned on.

It is a service of the server, can be turned off and on meanwhile, is told of commits by the
router, and answers for its subscribers and its health.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from gevent.lock import RLock

from gobbler.connectors.attempt import Attempts, Parts
from gobbler.connectors.audience import Audience
from gobbler.connectors.backoff import Backoff
from gobbler.connectors.base import Sender
from gobbler.connectors.breaker import CLOSED, HALF_OPEN, OPEN, Breaker
from gobbler.connectors.engine import Engine
from gobbler.connectors.failures import Failures
from gobbler.connectors.feeds import Feeds
from gobbler.connectors.metrics import ConnectorMetrics
from gobbler.connectors.outcome import Pause, told
from gobbler.connectors.reader import Reader
from gobbler.connectors.subscription import Device
from gobbler.errors import Unhealthy
from gobbler.kvstore.base import KVStore
from gobbler.protocol.block import Block
from gobbler.protocol.selector import split_key
from gobbler.reporting.base import Reporter
from gobbler.store.base import MessageStore

log = logging.getLogger(__name__)

ATTEMPTS_A_WORKER: Final = 50
"""How many notifications a worker has on their way at a time."""


_STATES: Final = (CLOSED, HALF_OPEN, OPEN)


class Stores(NamedTuple):
    """Where messages are read from, and where it is kept how far."""

    messages: MessageStore
    keys: KVStore


class Connector:
    """Sends what is published to those who are not connected, through one provider."""

    def __init__(
        self,
        sender: Sender,
        audience: Audience,
        stores: Stores,
        metrics: ConnectorMetrics,
        reporter: Reporter,
        *,
        workers: int,
        retry_delay: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`retry_delay`: seconds before the first retry, None for the sender's own choice."""
        self.name = sender.name
        self.audience = audience
        self._sender = sender
        self._kvstore = stores.keys
        self._clock = clock
        self._workers = workers * ATTEMPTS_A_WORKER
        self._reader = Reader(stores.messages, audience, metrics)
        self.breaker = Breaker(time.monotonic)
        self.failures = Failures(clock)
        backoff = Backoff(sender.retry_delay if retry_delay is None else retry_delay)
        self._parts = Parts(sender, audience, self.breaker, backoff, metrics, reporter, self.failures)
        self._engine: Engine | None = None
        self._running = False
        self._lock = RLock()
        self._show(metrics)

    def __repr__(self) -> str:
        """Show the name and what it does."""
        return f"<Connector {self.name}: {self._engine!r}>"

    @property
    def on(self) -> bool:
        """Whether it is sending, or would if there were anything to send."""
        return self._engine is not None

    # The service

    def start(self) -> None:
        """Read the subscriptions and begin to send.

        Raises: ConfigError: the credentials cannot be used; KVError, StoreUnavailable.
        """
        with self._lock:
            self.audience.load()
            self._running = True
            self.turn_on()

    def stop(self, timeout: float) -> None:
        """Finish the attempts that are under way, within `timeout` seconds; again: do nothing."""
        with self._lock:
            self._running = False
            self.turn_off(timeout)

    def turn_on(self) -> bool:
        """Begin to send, with what came while it was off; return whether it was off.

        Raises: ConfigError, KVError, StoreUnavailable: then it stays off.
        """
        with self._lock:
            if self._engine is not None or not self._running:
                return False
            self._sender.start()
            self.breaker.reset()
            feeds = Feeds(self.name, self._kvstore)
            attempts = Attempts(self._parts, feeds.record, self._clock)
            engine = Engine(self.audience, feeds, self._reader, attempts, self._workers, self._clock)
            # Known before it runs: a subscription that is made while it loads must not be missed.
            self._engine = engine
            try:
                engine.start()
            except BaseException:
                self._engine = None
                self._sender.stop(0)
                raise
            return True

    def turn_off(self, timeout: float) -> bool:
        """Send nothing more once the attempts under way are finished; return whether it was on."""
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is None:
                return False
            engine.stop(timeout)
            self._sender.stop(timeout)
            return True

    def check(self) -> None:
        """Raise: Unhealthy where it cannot send, with the reason; being turned off is no illness."""
        cause = self.breaker.cause
        if self._engine is None or cause is None or self.breaker.state == CLOSED:
            return
        if isinstance(cause, Pause) and not cause.alert:
            return
        what = "is paused" if isinstance(cause, Pause) else "cannot reach its provider"
        raise Unhealthy(f"{self.name} {what}: {told(cause)}")

    def _show(self, metrics: ConnectorMetrics) -> None:
        """Have the gauges ask when they are looked at."""
        metrics.queue.set_function(lambda: self._engine.workload.lanes if self._engine else 0)
        metrics.delayed.set_function(lambda: self._engine.workload.delayed if self._engine else 0)
        metrics.subscriptions.set_function(lambda: len(self.audience))
        metrics.breaker.set_function(lambda: _STATES.index(self.breaker.state))

    # What the router calls

    def committed(self, partition: str, blocks: Sequence[Block]) -> None:
        """Learn of a commit."""
        feed = self._engine.feeds.get(partition) if self._engine is not None else None
        if feed is None or self._engine is None:
            return
        covered = self.audience.covered
        wanted = any(covered(split_key(key)[0]) for block in blocks for key, _ in block.runs)
        self._engine.committed(feed, blocks[0].first_id, blocks[-1].last_id, wanted)

    def subscribers(self, path: bytes) -> list[Mapping[str, str]]:
        """Return the route parameters of everybody who gets messages to a path."""
        return self.audience.subscribers(path)

    def describe(self) -> dict[str, list[Mapping[str, str]]]:
        """Return path -> route parameters of everybody who is subscribed."""
        return self.audience.describe()

    # What the subscriptions call

    def began(self, partition: str, from_id: int) -> None:
        """Learn of a new subscription."""
        if self._engine is not None:
            self._engine.began(partition, from_id)

    @contextmanager
    def renaming(self, old: Device, new: Device, joins: Mapping[str, bool]) -> Iterator[None]:
        """Have a device be another once this ends well, also while it is turned off. Raises: KVError."""
        feeds = self._engine.feeds if self._engine is not None else Feeds(self.name, self._kvstore)
        with feeds.handing_over(old, new, joins):
            yield
            if self._engine is not None:
                self._engine.renamed(old, new, joins)
