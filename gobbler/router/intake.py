"""The way in: what is published in one turn of the event loop is committed together."""

from __future__ import annotations

import logging
import time
from typing import Protocol

import gevent
from gevent.event import Event

from gobbler.errors import GobblerError, Stopping, StoreError
from gobbler.metrics import Metrics
from gobbler.protocol.run import Run
from gobbler.protocol.topic import partition_of
from gobbler.store.base import Committed, Group, MessageStore

log = logging.getLogger(__name__)


class Reply(Protocol):
    """Whoever waits for a run to be stored. One of the two is called, once."""

    def stored(self, run: Run, first_id: int, time: int) -> None:
        """Learn the ids: the run's messages are in the log as `first_id` and on, at `time` (unix seconds)."""

    def failed(self, run: Run, error: GobblerError) -> None:
        """Learn that nothing of the run was stored, and why."""


Waiting = list[tuple[Run, Reply]]


class Intake:
    """Collects runs by partition and appends them to the store as soon as the event loop has a turn.

    While the store waits for the disk, what is published meanwhile gathers for
    the next commit: the busier, the larger the groups. Publishers are not read
    from before their last burst is answered, and so bound what can gather.
    """

    def __init__(self, store: MessageStore, metrics: Metrics) -> None:
        """Append to `store`, which is started and stopped by others."""
        self._store = store
        self._metrics = metrics
        self._pending: dict[str, Waiting] = {}
        self._begun = 0.0
        self._parked = False
        self._stopping = True
        self._idle = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._hub = gevent.get_hub()

    def start(self) -> None:
        """Begin to take runs."""
        self._hub = gevent.get_hub()
        self._stopping = False
        self._idle.clear()
        self._greenlet = gevent.spawn(self._work)

    def stop(self, timeout: float) -> None:
        """Take no more runs, and wait until what was taken is answered; after `timeout`, refuse it."""
        if self._greenlet is None:
            return
        self._stopping = True
        self._wake()
        self._idle.wait(timeout)
        self._greenlet.kill()
        self._greenlet = None
        pending, self._pending = self._pending, {}
        for waiting in pending.values():  # what there was no time for
            _answer(waiting, Stopping("the server is stopping"))

    def submit(self, run: Run, reply: Reply) -> None:
        """Have a run stored; never waits. Replies come in another turn of the event loop.

        Raises:
            Stopping: the server takes nothing new.
        """
        if self._stopping:
            raise Stopping("the server is stopping")
        if not self._pending:
            self._begun = time.perf_counter()
        self._pending.setdefault(partition_of(run.path), []).append((run, reply))
        self._wake()

    def _wake(self) -> None:
        if self._parked and self._greenlet is not None:
            self._parked = False
            self._hub.loop.run_callback(self._greenlet.switch)

    def _work(self) -> None:
        while True:
            while self._pending:
                self._commit()
            if self._stopping:
                self._idle.set()
                return
            self._parked = True
            self._hub.switch()  # until `_wake`

    def _commit(self) -> None:
        pending, self._pending = self._pending, {}
        begun, written = self._begun, time.perf_counter()
        groups = [Group(partition, [run for run, _ in waiting]) for partition, waiting in pending.items()]
        try:
            results = self._store.append(groups)
        except Exception:  # the top of this greenlet: it must go on, and everyone must be answered
            log.exception("committing failed")
            results = [StoreError("the message store failed")] * len(groups)
        self._observe(groups, results, time.perf_counter() - written, time.perf_counter() - begun)
        for waiting, result in zip(pending.values(), results, strict=True):
            _answer(waiting, result)

    def _observe(
        self, groups: list[Group], results: list[Committed | StoreError], commit: float, publish: float
    ) -> None:
        metrics = self._metrics
        for group, result in zip(groups, results, strict=True):
            messages = sum(map(len, group.runs))
            if isinstance(result, StoreError):
                metrics.count_error(result.code, messages)
                continue
            metrics.messages_stored_total.inc(messages)
            metrics.commits_total.inc()
            metrics.commit_messages.observe(messages)
            metrics.publish_seconds.observe(publish, messages)
        metrics.commit_seconds.observe(commit)


def _answer(waiting: Waiting, result: Committed | GobblerError) -> None:
    first_id = result.first_id if isinstance(result, Committed) else 0
    for run, reply in waiting:
        try:
            if isinstance(result, Committed):
                reply.stored(run, first_id, result.time)
            else:
                reply.failed(run, result)
        except Exception:  # as at the top of a greenlet: one client's trouble must not become another's
            log.exception("answering a publisher failed")
        first_id += len(run)
