"""What fetches and receivers know of the session that they send to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from gobbler.metrics import Metrics
from gobbler.router.intake import Intake
from gobbler.router.routes import Router
from gobbler.store.base import MessageStore
from gobbler.websocket.connection import Connection


class Services:
    """What sessions share."""

    __slots__ = ("clock", "intake", "max_message_size", "metrics", "router", "store")

    def __init__(
        self,
        intake: Intake,
        router: Router,
        store: MessageStore,
        metrics: Metrics,
        max_message_size: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`max_message_size`: bytes of a message's body with its headers."""
        self.intake = intake
        self.router = router
        self.store = store
        self.metrics = metrics
        self.max_message_size = max_message_size
        self.clock = clock


class Peer(Protocol):
    """The client of a fetch or a receiver, and what the server offers to serve it."""

    connection: Connection
    services: Services
    params: Mapping[str, str]
    subscriptions: int
    requests: int
    """How many subscriptions wait to begin."""

    def proceed(self) -> None:
        """Run commands that have waited for a fetch or a request to be done."""

    def tell(self, payload: bytes) -> None:
        """Send a notification."""

    def gone_wrong(self, error: Exception) -> str:
        """Count an error of the server and return what the client may know of it."""
