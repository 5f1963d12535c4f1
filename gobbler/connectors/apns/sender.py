"""The sender of APNs: a delivery becomes a request, an answer becomes an outcome."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from gobbler.connectors.apns.answers import EXPIRED, SHUTDOWN, WRONG_DEVICE, Answer, outcome_of
from gobbler.connectors.apns.connection import Connection, Timing
from gobbler.connectors.apns.credential import Credential
from gobbler.connectors.apns.dial import Peer, address_of, client_context, dial
from gobbler.connectors.apns.line import STOPPED, Line
from gobbler.connectors.apns.payload import Notification, build
from gobbler.connectors.apns.streams import Fields, Result
from gobbler.connectors.base import Delivery
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Sent
from gobbler.reporting import events
from gobbler.reporting.events import Event

log = logging.getLogger(__name__)

PRODUCTION: Final = "https://api.push.apple.com"
SANDBOX: Final = "https://api.sandbox.push.apple.com"

TRIES: Final = 8
"""How often a request goes out at once that APNs has not looked at: it ends connections as it likes."""

BURST: Final = 20
"""So many devices of another environment or app, with no success between, are worth an alert."""

_DEVICE: Final = re.compile(r"[\w.~:+=-]{1,512}", re.ASCII)
"""What may stand in a path. Apple's tokens are hexadecimal digits, and may become longer."""


def endpoint_of(*, production: bool) -> str:
    """Return the address of Apple's production service, or of its sandbox."""
    return PRODUCTION if production else SANDBOX


class ApnsSender:
    """Sends over one connection that all greenlets share; `Sender` describes the methods."""

    name = "apns"
    retry_delay = 2.0
    safe_to_repeat = True  # apns-id is the delivery's id

    def __init__(
        self,
        credential: Credential,
        app_topic: str,
        *,
        endpoint: str = SANDBOX,
        ca_file: Path | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the app's bundle id, and a file of certificates to trust in place of the public ones."""
        self._credential = credential
        self._app_topic = app_topic
        self._endpoint = endpoint
        self._ca_file = ca_file
        self._timing = timing or Timing()
        self._clock = clock
        self._line: Line | None = None
        self._fields: Fields = []
        self._wrong_devices = 0

    def __repr__(self) -> str:
        """Show where it sends to, and no secret."""
        return f"<ApnsSender {self._app_topic} {self._endpoint} {self._credential!r} {self._line}>"

    def start(self) -> None:
        """Read the credentials. Raises: ConfigError: they cannot be used; it says why."""
        if self._line is not None:
            return
        host, port = address_of(self._endpoint)
        context = client_context(self._ca_file)
        self._credential.load(context)
        authority = self._endpoint.removeprefix("https://").rstrip("/")
        self._fields = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", authority.encode())]
        self._line = Line(partial(dial, Peer(host, port, context, self._credential.cautious), self._timing))

    def stop(self, timeout: float) -> None:
        """Await what is under way for `timeout` seconds and end the connections; again: do nothing."""
        line, self._line = self._line, None
        if line is not None:
            line.stop(timeout)

    def send(self, delivery: Delivery) -> Outcome:
        """Push to a device; at once again where APNs has not looked at it, all else is an outcome."""
        notification = self._notification(delivery)
        if isinstance(notification, Refused):
            return notification
        if not _DEVICE.fullmatch(delivery.device_token):
            return Gone("BadDeviceToken", "the device's token cannot be one of APNs'")
        line = self._line
        if line is None:
            return STOPPED
        result = self._push(line, delivery, notification)
        outcome = outcome_of(result, self._clock()) if isinstance(result, Answer) else result
        self._watch(outcome)
        return outcome

    def event(self, delivery: Delivery, outcome: Outcome) -> Event | None:
        """Return what is reported of an outcome that settles a delivery."""
        if not isinstance(outcome, Sent | Refused | Gone):
            return None
        shown = self._notification(delivery)
        if isinstance(shown, Refused):
            shown = Notification(b"", (), "", "", "")
        return events.push(
            topic=delivery.message.path.decode("utf-8", "replace"),
            status=events.SUCCESS if isinstance(outcome, Sent) else events.FAIL,
            error_text="" if isinstance(outcome, Sent) else f"{outcome.reason}: {outcome.text}",
            user_id=delivery.user_id,
            device_id=delivery.device_token,
            notification_body=shown.body,
            notification_title=shown.title,
            deep_link=shown.deep_link,
        )

    def _notification(self, delivery: Delivery) -> Notification | Refused:
        return build(delivery.message.headers, delivery.message.body, self._app_topic)

    def _push(self, line: Line, delivery: Delivery, notification: Notification) -> Answer | Outage | Pause:
        """Send a request, and again with a new provider token if APNs finds the last one too old."""
        used = self._credential.authorization()
        result = self._exchange(line, self._headers(delivery, notification, used), notification.payload)
        if _is(result, 403, EXPIRED) and self._credential.renew(used):
            headers = self._headers(delivery, notification, self._credential.authorization())
            return self._exchange(line, headers, notification.payload)
        return result

    def _headers(self, delivery: Delivery, notification: Notification, authorization: bytes | None) -> Fields:
        headers = [*self._fields, (b":path", b"/3/device/" + delivery.device_token.encode())]
        if authorization is not None:
            headers.append((b"authorization", authorization))
        headers += notification.headers
        headers.append((b"apns-id", str(delivery.id).encode()))
        return headers

    def _exchange(self, line: Line, headers: Fields, payload: bytes) -> Answer | Outage | Pause:
        deadline = time.monotonic() + self._timing.answer
        for _ in range(TRIES):
            connection = line.connection()
            if not isinstance(connection, Connection):
                return connection
            result = connection.request(headers, payload, deadline)
            if _is(result, 503, SHUTDOWN):
                connection.finish()  # the next request finds another server
            if result is not None:
                return result
        return Outage("unprocessed", f"APNs did not look at the request {TRIES} times in a row")

    def _watch(self, outcome: Outcome) -> None:
        """Alert when device after device is none of ours: each is forgotten, and all may be by mistake."""
        if isinstance(outcome, Sent):
            self._wrong_devices = 0
        elif isinstance(outcome, Gone) and outcome.reason in WRONG_DEVICE:
            self._wrong_devices += 1
            if self._wrong_devices == BURST:
                log.error(
                    "APNs knows none of %d devices in a row (%s): are --apns-production and "
                    "--apns-app-topic right? Their subscriptions are removed",
                    BURST,
                    outcome.reason,
                )


def _is(result: Result, status: int, reason: str) -> bool:
    return isinstance(result, Answer) and result.status == status and result.reason == reason
