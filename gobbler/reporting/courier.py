"""Carries the events of one topic to Kafka, and starts again as often as it takes.

A thread takes them from the backlog and hands them to a producer, some ahead of their
confirmation. What Kafka has confirmed is settled. When the producer fails for a reason that may
pass, or nothing is confirmed for a while, it is given up, what it had goes back to the head of the
backlog, and a new one is made:

    backlog --record--> producer --future--> settled, or back to the backlog

The thread is one of `threading`, as kafka-python's own are: a greenlet where the process is patched.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from kafka import errors
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.future import Future

from gobbler.reporting.backlog import Backlog, Record
from gobbler.reporting.metrics import REFUSED, ReportingMetrics
from gobbler.reporting.network import Client
from gobbler.reporting.producer import CLOSE_SECONDS
from gobbler.reporting.quiet import last_words

log = logging.getLogger(__name__)

AHEAD_BYTES: Final = 128 << 10
"""What is with the producer and not confirmed: enough to keep it busy, and little enough, because it may
compute the checksums of all that in one go (some 12 ms, where the package crc32c is not installed)."""

BURST: Final = 50
"""Records that are handed over before others have their turn."""

GATHER_SECONDS: Final = 0.05
"""How long an event waits for others: alone it would cost five times as much."""

TURN_SECONDS: Final = 0.01
"""How long the next hand-over waits while as much is with the producer as may be: others have their turn."""

SILENT_SECONDS: Final = 5.0
"""Without a confirmation for so long, Kafka is said to be away."""

STALL_SECONDS: Final = 30.0
"""Without a confirmation for so long, the producer is given up: brokers may have moved, for example."""

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
"""Between two producers; it doubles until something is delivered."""

LOOK_SECONDS: Final = 1.0
"""How often to look at the clock while something is with the producer."""

GRACE_SECONDS: Final = 1.0
"""What a stop waits for Kafka that was away until now."""

REFUSALS: Final = (
    errors.InvalidRecordError,
    errors.InvalidTimestampError,
    errors.MessageSizeTooLargeError,
    errors.PolicyViolationError,
    errors.RecordListTooLargeError,
    errors.UnsupportedForMessageFormatError,
)
"""Errors about the event itself: sending it again cannot help. All others can pass or be mended."""


class Line(Protocol):
    """What a courier needs of a producer (`gobbler.reporting.producer.Producer`)."""

    def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, *, timestamp_ms: int | None
    ) -> Future:
        """Begin to send; return the future of the confirmation. Raises: KafkaError when it cannot."""

    def abort(self) -> None:
        """Close at once."""


Connect = Callable[[Callable[[Client], None]], Line]
"""`gobbler.reporting.producer.connect`, given the configuration."""


class Courier:
    """Empties a backlog between `start` and `finish`; used once."""

    def __init__(self, topic: str, backlog: Backlog, connect: Connect, metrics: ReportingMetrics) -> None:
        """Begin nothing; `connect` makes a producer."""
        self._topic = topic
        self._backlog = backlog
        self._connect = connect
        self._metrics = metrics
        self._flying: dict[Future, Record] = {}
        self._flying_bytes = 0
        self._progress = 0.0
        self._away_since: float | None = None
        self._pause = FIRST_PAUSE_SECONDS
        self._client: Client | None = None
        self._abandoned = False
        self._deadline = 0.0
        self._awake = threading.Event()  # set when there may be something to do
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"kafka-{topic}", daemon=True)

    def start(self) -> None:
        """Begin; returns before anybody is connected to."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something in the backlog."""
        if not self._awake.is_set():
            self._awake.set()

    def finish(self, deadline: float) -> None:
        """End when the backlog is empty, with the first failure, or at `deadline` (`time.monotonic`).

        A Kafka that is away already is not waited for.
        """
        if self._away_since is not None:
            deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
        self._deadline = deadline
        self._finishing.set()
        self._awake.set()

    def join(self) -> None:
        """Wait until it has finished."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))

    def abandon(self) -> None:
        """End now."""
        self._abandoned = True
        self._awake.set()
        client = self._client
        if client is not None:
            client.give_up()
        self._deadline = time.monotonic() + CLOSE_SECONDS

    # Everything below runs in the thread.

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._work()
            except (KafkaError, OSError, ValueError) as error:
                self._fail(error)
            except Exception as error:  # the top of this thread: whatever it was, the next try has its turn
                log.exception("reporting to the Kafka topic %s failed", self._topic)
                self._fail(error)

    def _is_over(self) -> bool:
        return self._abandoned or (self._finishing.is_set() and not len(self._backlog))

    def _fail(self, error: Exception) -> None:
        self._say_away(last_words.explain(error))
        if self._finishing.wait(self._pause):
            self._abandoned = True
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def _work(self) -> None:
        """Deliver until all is over. Raises: what ended the producer."""
        producer = self._open()
        try:
            self._deliver(producer)
        finally:
            producer.abort()
            self._settle()
            self._backlog.give_back(self._flying.values())
            self._flying.clear()
            self._flying_bytes = 0

    def _open(self) -> Line:
        try:
            return self._connect(self._notice)
        finally:
            self._client = None

    def _notice(self, client: Client) -> None:
        self._client = client
        if self._abandoned:
            client.give_up()

    def _deliver(self, producer: Line) -> None:
        while True:
            self._awake.clear()
            self._check()
            if self._is_over():
                return
            if self._hand_over(producer):
                time.sleep(0)  # in a patched process, others have their turn
            else:
                # When something has come up since the clear, this does not wait.
                self._awake.wait(LOOK_SECONDS if self._flying else None)
                self._finishing.wait(TURN_SECONDS if self._flying_bytes >= AHEAD_BYTES else GATHER_SECONDS)

    def _check(self) -> None:
        """Settle what is confirmed. Raises: KafkaError when the producer is of no more use."""
        failure = self._settle()
        if failure is not None:
            raise failure
        silent = time.monotonic() - self._progress
        if self._flying and silent > SILENT_SECONDS:
            self._say_away(f"no answer for {silent:.0f} s")
        if self._flying and silent > STALL_SECONDS:
            raise KafkaTimeoutError(f"no answer for {silent:.0f} s")

    def _hand_over(self, producer: Line) -> bool:
        """Hand over a burst; return whether it was a whole one, so that there may be more."""
        if self._flying_bytes >= AHEAD_BYTES:
            return False
        for _ in range(BURST):
            record = self._backlog.next
            if record is None:
                return False
            self._send(producer, record)
        return True

    def _send(self, producer: Line, record: Record) -> None:
        if not self._flying:
            self._progress = time.monotonic()
        try:
            future = producer.send(self._topic, record.value, record.key, timestamp_ms=record.milliseconds)
        except REFUSALS as error:
            self._refused([self._backlog.take()], error)
        else:
            self._flying[future] = self._backlog.take()
            self._flying_bytes += record.size
            future.add_both(self._landed)

    def _landed(self, _: object) -> None:
        """A confirmation or a failure has come, in the producer's thread."""
        self._awake.set()

    def _settle(self) -> KafkaError | None:
        """Settle what has come to its end; return an error that ended something and may pass."""
        landed = [future for future in self._flying if future.is_done]
        delivered = [self._land(future) for future in landed if future.exception is None]
        if delivered:
            self._delivered(delivered)
        failed = [future for future in landed if future.exception is not None]
        refused = [future for future in failed if isinstance(future.exception, REFUSALS)]
        if refused:
            self._refused([self._land(future) for future in refused], refused[0].exception)
        return next((future.exception for future in failed if future in self._flying), None)

    def _land(self, future: Future) -> Record:
        record = self._flying.pop(future)
        self._flying_bytes -= record.size
        return record

    def _delivered(self, records: list[Record]) -> None:
        for record in records:
            self._backlog.settle(record)
        self._metrics.reported.inc(len(records))
        self._progress = time.monotonic()
        self._pause = FIRST_PAUSE_SECONDS
        if self._away_since is not None:
            seconds = time.monotonic() - self._away_since
            log.info("the Kafka topic %s takes events again, after %.0f s", self._topic, seconds)
            self._away_since = None

    def _refused(self, records: list[Record], error: KafkaError) -> None:
        for record in records:
            self._backlog.settle(record)
        self._metrics.dropped[REFUSED].inc(len(records))
        log.error("the Kafka topic %s refuses %d events: %s", self._topic, len(records), error)

    def _say_away(self, why: str) -> None:
        """Log that Kafka is away, when it was not before."""
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.error("the Kafka topic %s takes no events, they are kept for now: %s", self._topic, why)
