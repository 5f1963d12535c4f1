"""One attempt: wait until the breaker lets it pass, send, and do what the outcome asks for."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID, uuid5

import gevent
from gevent.event import Event
from greenlet import greenlet

from gobbler.connectors.audience import Audience
from gobbler.connectors.backoff import GIVE_UP_SECONDS, Backoff
from gobbler.connectors.base import CautiousSender, Delivery, Sender
from gobbler.connectors.breaker import Breaker, Pass
from gobbler.connectors.failures import Failures
from gobbler.connectors.lane import Lane
from gobbler.connectors.metrics import ConnectorMetrics
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.connectors.position import Position
from gobbler.connectors.subscription import Device
from gobbler.errors import KVError
from gobbler.protocol.message import Message
from gobbler.reporting.base import Reporter

log = logging.getLogger(__name__)

# Chosen once: it makes ids the same for ever.
_NAMESPACE: Final = UUID("8d3e0f5a-2f5e-4a57-9c0b-6b6f62626c65")

UNKNOWN: Final = Refused("unknown", "the server failed while it was sent: whether it arrived is not known")
"""What becomes of what may have been sent and must not be sent twice."""


class Parts(NamedTuple):
    """What attempts are made with."""

    sender: Sender
    audience: Audience
    breaker: Breaker
    backoff: Backoff
    metrics: ConnectorMetrics
    reporter: Reporter
    failures: Failures


class Attempts:
    """Makes the attempts of one connector."""

    def __init__(self, parts: Parts, record: Callable[[Position], None], clock: Callable[[], float]) -> None:
        """`record` returns when a position is durable; `clock` gives unix seconds."""
        self._sender, self._audience, self.breaker, self._backoff = parts[:4]
        self._metrics, self._reporter, self._failures = parts[4:]
        self._cautious = self._sender if isinstance(self._sender, CautiousSender) else None
        self._record = record
        self._clock = clock
        self._passed = Event()
        self.under_way: set[greenlet] = set()
        """The greenlets that are sending, or keeping what came of it."""
        self._succeeded = 0.0

    def make(self, lane: Lane, message: Message) -> bool:
        """Try to send a lane's first message; return whether that settled it.

        Otherwise the lane is to be served again when it is due.
        """
        if not self._audience.wants(lane.device, message):
            lane.finish(message.id)
            return True
        if lane.sending:
            self._settle(lane, self._delivery(lane, message), UNKNOWN)
            return True
        passed = self._pass_breaker()
        me = gevent.getcurrent()
        self.under_way.add(me)
        try:
            return self._make(lane, self._delivery(lane, message), passed)
        finally:
            self.under_way.discard(me)
            self.breaker.abandoned(passed)
            self._passed.set()

    def _make(self, lane: Lane, delivery: Delivery, passed: Pass) -> bool:
        outcome = self._admit(lane, delivery)
        begun = self._clock()
        if outcome is None:
            outcome = self._send(delivery)
            self._metrics.seconds.observe(max(0.0, self._clock() - begun))
            self._tell_breaker(passed, outcome)
        if delivery.device_token != lane.device.token and not isinstance(outcome, Sent | Refused):
            outcome = Retry("renamed", after=0.0)  # what it says is about a token that nobody has now
        if isinstance(outcome, Gone):
            outcome = self._bury(delivery, outcome, begun)
        if isinstance(outcome, Sent | Refused | Gone):
            self._settle(lane, delivery, outcome)
            return True
        return self._postpone(lane, delivery, outcome)

    def _delivery(self, lane: Lane, message: Message) -> Delivery:
        device, partition = lane.device, lane.feed.partition
        name = "\0".join([self._sender.name, partition, str(message.id), *device])
        return Delivery(message, device.token, device.user_id, uuid5(_NAMESPACE, name), lane.attempts)

    def _admit(self, lane: Lane, delivery: Delivery) -> Outcome | None:
        """Do what comes before sending; return what speaks against that, if anything."""
        if self._cautious is None:
            return None
        try:
            outcome = self._cautious.admit(delivery)
        except Exception:  # as below
            log.exception("%s: admitting %s failed", self._sender.name, delivery.id)
            return Retry("internal", "the server failed")
        if outcome is None:
            self._record(lane.position(sending=True))
        return outcome

    def _send(self, delivery: Delivery) -> Outcome:
        try:
            return self._sender.send(delivery)
        except Exception:  # the top of an attempt: one notification's defect must not stop the others
            log.exception("%s: sending %s failed", self._sender.name, delivery.id)
            return UNKNOWN if self._cautious else Retry("internal", "the server failed")

    # The breaker

    def _pass_breaker(self) -> Pass:
        while (wait := self.breaker.delay()) > 0:
            self._passed.clear()
            self._passed.wait(timeout=min(wait, 3600.0))
        return self.breaker.enter()

    def _tell_breaker(self, passed: Pass, outcome: Outcome) -> None:
        name, breaker = self._sender.name, self.breaker
        match outcome:
            case Pause() if breaker.pause(passed, outcome) and outcome.alert:
                log.error("%s is paused: %s %s", name, outcome.reason, outcome.text)
            case Pause():
                pass
            case Outage() if breaker.failed(passed, outcome):
                log.warning("%s: the provider fails: %s %s", name, outcome.reason, outcome.text)
            case Outage() | Refused():  # many a refusal is the sender's own, and says nothing of the provider
                pass
            case _ if breaker.succeeded(passed):
                log.warning("%s sends again", name)

    # Outcomes

    def _bury(self, delivery: Delivery, gone: Gone, sent_at: float) -> Outcome:
        """Forget a dead token; where it was registered again meanwhile, it gets another attempt."""
        try:
            removed = self._audience.gone(delivery.device_token, gone.since, sent_at)
        except KVError as error:
            log.error("%s: a dead token cannot be removed: %s", self._sender.name, error)
            return Retry("kvstore", "the key-value store failed")
        self._metrics.removed.inc(removed)
        device = Device(delivery.device_token, delivery.user_id)
        again = not removed and self._audience.wants(device, delivery.message)
        return Retry(gone.reason, gone.text) if again else gone

    def _settle(self, lane: Lane, delivery: Delivery, outcome: Sent | Refused | Gone) -> None:
        lane.finish(delivery.message.id)
        self._record(lane.position())
        if isinstance(outcome, Sent):
            self._succeeded = self._clock()
            self._metrics.sent.inc()
            if outcome.token:
                self._replace(delivery.device_token, outcome.token)
        else:
            self._metrics.failed(outcome.reason)
            self._failures.note(outcome)
        event = self._sender.event(delivery, outcome)
        if event is not None:
            self._reporter.report(event)

    def _replace(self, token: str, new_token: str) -> None:
        try:
            self._audience.replace(token, new_token)
        except KVError as error:  # the provider will say it again
            log.error("%s: a token cannot be replaced: %s", self._sender.name, error)

    def _postpone(self, lane: Lane, delivery: Delivery, outcome: Retry | Outage | Pause) -> bool:
        """Have the lane wait, or give the message up; return whether it was given up."""
        now = self._clock()
        self._failures.note(outcome)
        if isinstance(outcome, Pause):  # nothing was said about this message
            lane.due = now
            self._record(lane.position())
            return False
        lane.since = lane.since or now
        if now - lane.since >= GIVE_UP_SECONDS and self._succeeded > lane.since:
            self._settle(lane, delivery, Refused("gave-up", f"{outcome.reason} {outcome.text}".strip()))
            return True
        lane.due = now + self._backoff.wait(lane.attempts, outcome.after, random.random())  # noqa: S311
        lane.attempts += 1
        self._record(lane.position())
        self._metrics.retried(outcome.reason)
        return False
