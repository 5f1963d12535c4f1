"""Traffic: what a server sends on one connection, and whose it is."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from gobbler.client.errors import BadAnswer
from gobbler.client.fetches import Fetches
from gobbler.client.inbox import Inbox
from gobbler.client.message import Message
from gobbler.client.publishing import Publisher
from gobbler.client.routes import Routes
from gobbler.client.waiting import Waker
from gobbler.errors import GobblerError
from gobbler.protocol.notification import Notification, parse

log = logging.getLogger(__name__)

_MESSAGE: Final = ord("/")
_ANSWERS: Final = (b"#send ", b"!error-send ")


class Traffic:
    """Hands what comes to the routes, the fetches and the publisher of a connection."""

    def __init__(
        self, lock: threading.Condition, publisher: Publisher | None, delays: tuple[float, float]
    ) -> None:
        """`lock` guards routes and fetches, and tells whoever waits for them that something has changed."""
        self.publisher = publisher
        self.routes = Routes(delays)
        self.fetches = Fetches()
        self.application_id = ""
        """Empty until the server has greeted us."""
        self.commands: list[bytes] = []
        """What is to be sent on this connection, beside what is published."""
        self._lock = lock
        self._known: dict[str, Callable[[bytes], None]] = {
            "fetch-start": self._fetch_start,
            "fetch-done": self._fetch_done,
            "canceled": self._canceled,
            "error-gap": self._gap,
            "error-subscribed-to": self._not_subscribed,
            "error-server-internal": self._failed,
            "error-bad-request": self._bad_request,
        }

    def lost(self) -> None:
        """The connection has gone; the caller holds the lock."""
        self.application_id = ""
        self.commands.clear()
        self.routes.lost()
        self.fetches.lost()
        self._lock.notify_all()

    def take_commands(self, now: float) -> tuple[list[bytes], float]:
        """Return what is to be sent now, and when to ask again if nothing else happens."""
        with self._lock:
            commands = [*self.commands, *self.routes.retries(now)]
            self.commands.clear()
            return commands, self.routes.retry_at()

    def take(self, payloads: list[bytes], waker: Waker) -> set[Inbox]:
        """Hand out a burst; return the inboxes that are full. They set `waker` when they have room.

        Raises:
            BadAnswer: something is not what a Gobbler says.
        """
        answers = [payload for payload in payloads if payload.startswith(_ANSWERS)]
        if answers and self.publisher is not None:
            self.publisher.answered(answers)
        if len(answers) == len(payloads):
            return set()
        with self._lock:
            for payload in payloads:
                if payload[:1] == b"/":
                    self._message(payload)
                elif not payload.startswith(_ANSWERS):
                    self._notification(payload)
            return self.routes.give(waker)

    def _message(self, payload: bytes) -> None:
        message = Message.decode(payload)
        if len(self.fetches) and self.fetches.message(message.topic.split("/", 2)[1], message):
            return
        self.routes.message(message, len(payload))

    def _notification(self, payload: bytes) -> None:
        try:
            notification = parse(payload)
        except GobblerError:
            raise BadAnswer("the server sent something that is no message and no notification") from None
        if notification.kind == "connected":
            self._connected(notification)
        elif notification.kind in self._known:
            self._known[notification.kind](notification.text)
            self._lock.notify_all()
        # What else there may be once, `#subscribed-to` included, changes nothing here.

    def _connected(self, notification: Notification) -> None:
        try:
            self.application_id = json.loads(notification.json)["ApplicationId"]
        except (ValueError, KeyError, TypeError):
            raise BadAnswer("the server's greeting is not understood") from None
        # At once: whoever subscribes from now on queues a command of their own.
        self.commands = [*self.routes.begin(), *self.fetches.begin()]
        self._lock.notify_all()

    def _fetch_start(self, text: bytes) -> None:
        self.routes.started(text.partition(b" ")[0])

    def _fetch_done(self, text: bytes) -> None:
        self.fetches.ended(text)

    def _canceled(self, text: bytes) -> None:
        self.fetches.ended(text)
        self.routes.canceled(text)

    def _gap(self, text: bytes) -> None:
        try:
            path, first, last = text.split(b" ")
            gap = path, int(first), int(last)
        except ValueError:
            raise BadAnswer("the server told of a gap that is none") from None
        if not self.fetches.gap(*gap):
            self.routes.gap(*gap)

    def _not_subscribed(self, text: bytes) -> None:
        path, _, reason = text.partition(b" ")
        log.warning("subscription to %s: %s", path.decode(errors="replace"), reason.decode(errors="replace"))
        self.routes.failed(path, reason.decode(errors="replace"), monotonic())

    def _failed(self, text: bytes) -> None:
        path, _, reason = text.partition(b": ")  # a topic holds no white space
        if path.startswith(b"/"):
            self.fetches.ended(path, reason.decode(errors="replace") or "internal error")
        else:
            log.warning("the server reports an error: %s", text.decode(errors="replace"))

    def _bad_request(self, text: bytes) -> None:
        # What we send is checked before, so that this is a cancel that crossed with an end.
        log.debug("the server did not understand: %s", text.decode(errors="replace"))
