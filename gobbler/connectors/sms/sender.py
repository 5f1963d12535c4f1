"""Sends SMS through Vonage's SMS API (https://developer.vonage.com/en/api/sms).

    body -> payload -> encoding (length) -> bucket (a turn) -> form, signed -> transport -> answer

An SMS costs money, and the provider cannot recognise a repetition: what may have been sent is never
sent again by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from gevent.event import Event as Signal

from gobbler.config import Config
from gobbler.connectors.base import Delivery
from gobbler.connectors.outcome import Outage, Outcome, Refused, Retry, Sent
from gobbler.connectors.sms import payload
from gobbler.connectors.sms.answer import UNKNOWN, Verdict, judge
from gobbler.connectors.sms.bucket import Bucket
from gobbler.connectors.sms.encoding import check_length, encoding_of
from gobbler.connectors.sms.payload import Sms
from gobbler.connectors.sms.recent import Recent
from gobbler.connectors.sms.signature import Signer
from gobbler.connectors.sms.transport import Failure, Timeouts, Transport
from gobbler.errors import BadRequest, ConfigError
from gobbler.reporting import events
from gobbler.reporting.events import Event, rfc3339
from gobbler.text import one_line

SHOWN_CHARACTERS: Final = 200
"""No text of the provider's is passed on beyond this."""

REMEMBERED: Final = 1_000
"""Of so many settled deliveries the facts are kept until `event` asks for them, which is at once."""

_HIDDEN: Final = ("api_key", "api_secret", "sig", "to")

_STOPPED: Final = Retry("stopped", "the sender is not running")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What an event tells of a request besides its outcome; times as RFC 3339 has them."""

    message_ids: str = ""
    request_time: str = ""
    response_time: str = ""


class SmsSender:
    """The `Sender` of SMS; `Config` says with which account, and how."""

    name = "sms"
    retry_delay = 2.0

    def __init__(
        self,
        config: Config,
        connections: int,
        *,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare for up to `connections` calls of `send` at once; `clock` gives unix seconds."""
        self._config = config
        self._connections = connections
        self._timeouts = timeouts or Timeouts()
        self._clock = clock
        self._signer = (
            Signer(config.sms_signature_secret, config.sms_signature_method)
            if config.sms_signature_secret
            else None
        )
        self._bucket = Bucket(config.sms_rate, time.monotonic)
        self._transport: Transport | None = None
        self._stopping = Signal()
        self._under_way = 0
        self._idle = Signal()
        self._idle.set()
        self._admitted: Recent[bool] = Recent(connections)
        self._facts: Recent[_Facts] = Recent(REMEMBERED)

    def __repr__(self) -> str:
        """Show the state, and nothing of the account."""
        state = "running" if self._transport else "stopped"
        return f"SmsSender({state}, under_way={self._under_way})"

    def start(self) -> None:
        """Check the options and get ready; when running: do nothing.

        Raises: ConfigError: an option cannot be used.
        """
        if self._transport is not None:
            return
        config = self._config
        if config.sms_from:
            _check_sender(config.sms_from)
        self._transport = Transport(
            config.sms_endpoint, config.sms_ca_file, self._connections, self._timeouts
        )
        self._stopping.clear()

    def stop(self, timeout: float) -> None:
        """Send home who waits for a turn, wait up to `timeout` seconds for requests under way, close.

        A request that takes longer ends by its own time-outs: to break it off would leave its
        outcome unknown.
        """
        transport, self._transport = self._transport, None
        if transport is not None:
            self._stopping.set()
            self._idle.wait(timeout)
            transport.close()

    def admit(self, delivery: Delivery) -> Outcome | None:
        """Do what comes before an SMS is sent: check it, and wait for its turn, in the order of calling.

        Nothing is written yet: who wants to note, before, that it may have been sent, does so between
        this and `send`, which otherwise does this itself. Returns None when it may be sent now.
        """
        with self._counted():
            outcome = self._admit(delivery)
        if outcome is None:
            self._admitted.put(delivery.id, True)
        return outcome

    def send(self, delivery: Delivery) -> Outcome:
        """Send one SMS, once."""
        with self._counted():
            outcome = None if self._admitted.take(delivery.id) else self._admit(delivery)
            transport = self._transport
            if outcome is not None:
                return outcome
            return _STOPPED if transport is None else self._send(delivery, transport)

    def event(self, delivery: Delivery, outcome: Outcome) -> Event:
        """Return the event of a settled delivery; of an unusable body it tells what can be read."""
        facts = self._facts.take(delivery.id) or _Facts()
        try:
            sms = self._read(delivery)
        except BadRequest:
            sms = payload.excerpt(delivery.message.body)
        return events.sms(
            order_id=sms.reference,
            message_id=facts.message_ids,
            text=sms.text,
            request_time=facts.request_time,
            response_time=facts.response_time,
            mobile_number=sms.to,
            delivery_status=_status(outcome),
        )

    def _read(self, delivery: Delivery) -> Sms:
        message = delivery.message
        return payload.parse(
            message.body, message.headers, sender=self._config.sms_from, reference=str(delivery.id)
        )

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Have a stop wait for what is done meanwhile."""
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def _admit(self, delivery: Delivery) -> Outcome | None:
        if self._transport is None:
            return _STOPPED
        try:
            check_length(self._read(delivery).text, self._config.sms_max_parts)
        except BadRequest as error:
            return Refused(error.code, str(error))
        return self._wait_for_turn()

    def _send(self, delivery: Delivery, transport: Transport) -> Outcome:
        sms = self._read(delivery)
        begun = self._clock()
        fields = self._fields({**sms.fields(), "type": encoding_of(sms.text).type}, begun)
        result = transport.post(urlencode(fields).encode("ascii"))
        ended = self._clock()
        if isinstance(result, Failure):
            verdict = Verdict(_failed(result))
        else:
            verdict = judge(result, delivery.attempt, ended, lambda text: _clean(text, fields))
        if isinstance(verdict.outcome, Sent | Refused):
            facts = _Facts(",".join(verdict.message_ids), rfc3339(begun), rfc3339(ended))
            self._facts.put(delivery.id, facts)
        return verdict.outcome

    def _wait_for_turn(self) -> Retry | None:
        """Wait until it is this call's turn; return what comes of it when it is too far away."""
        turn = self._bucket.take()
        if turn is None:
            return Retry("rate", "the account's rate is used up", self._bucket.delay())
        while (left := turn - time.monotonic()) > 0:
            if self._stopping.wait(left):
                return _STOPPED
        return None

    def _fields(self, fields: dict[str, str], now: float) -> dict[str, str]:
        """Return a whole form: signed, or else with the account's secret; never both."""
        config = self._config
        fields["api_key"] = config.sms_api_key
        if config.sms_receipt_url:
            fields["callback"] = config.sms_receipt_url
        if self._signer is not None:
            return self._signer.sign(fields, now)
        return {**fields, "api_secret": config.sms_api_secret}


def _clean(text: str, fields: Mapping[str, str]) -> str:
    """Take out of a text of the provider's what it may repeat of a form and nobody may see."""
    for name in _HIDDEN:
        if fields.get(name):
            text = text.replace(fields[name], "***")
    return one_line(text)[:SHOWN_CHARACTERS]


def _check_sender(sender: str) -> None:
    if not payload.is_sender(sender):
        raise ConfigError("--sms-from: is neither up to 11 letters and digits nor up to 15 digits")


def _failed(failure: Failure) -> Outcome:
    if failure.written:
        return Refused(UNKNOWN, f"{failure.text}; the message may have been sent")
    return Outage("no-connection", failure.text)


def _status(outcome: Outcome) -> str:
    """Return the `delivery_status` of an event: a word, and for what was not sent, why."""
    if isinstance(outcome, Sent):
        return "sent"
    word = UNKNOWN if outcome.reason == UNKNOWN else f"failed: {outcome.reason}"
    return f"{word}: {outcome.text}" if outcome.text else word
