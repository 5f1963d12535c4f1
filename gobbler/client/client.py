"""The client: publish, subscribe, fetch."""

from __future__ import annotations

import logging
import secrets
import ssl
from collections.abc import Mapping
from functools import partial
from itertools import count
from types import TracebackType
from typing import Final, Self

from gobbler.client import address, commands
from gobbler.client.errors import ClientError, MessagesLost, PublishUnknown
from gobbler.client.fetches import Fetch
from gobbler.client.inbox import Inbox
from gobbler.client.lane import Target
from gobbler.client.lanes import Lanes, OnConnection
from gobbler.client.message import Message, Receipt
from gobbler.client.publishing import Publication, Publisher
from gobbler.client.rest import Rest
from gobbler.client.settings import Settings
from gobbler.client.subscription import Callbacks, OnGap, OnMessage, Subscription
from gobbler.client.waiting import Deadline
from gobbler.errors import GobblerError
from gobbler.protocol.topic import partition_of

log = logging.getLogger(__name__)

FETCHED: Final = 1000
"""How many messages a fetch returns, if nothing else is said."""


class Client:
    """A client of one server, for any number of threads; a context manager.

    It connects by itself where it is used, and again whenever the connection is lost: subscriptions then
    go on from the last message that they were given.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        user: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 10.0,
        resend: bool = False,
        on_connection: OnConnection | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Connect to nobody yet.

        `url` is the server's, http or https (or ws, wss); credentials in it, and `headers`, are for a
        proxy in front of it. `user` is the user id to be. `tls` replaces the default context.
        `timeout` in seconds is that of every call that waits, where that call says nothing else.

        With `resend`, messages that were sent and not answered when a connection was lost are sent again:
        they are stored at least once. Without, their publishers get `PublishUnknown`: at most once.

        `on_connection` is called by the callbacks' thread: with None when there is a connection, with an
        error when it is lost.

        Raises:
            BadRequest: the URL or the user id cannot be used.
        """
        settings = settings or Settings()
        self.address = address.parse(url, user, settings.ws_prefix)
        self.user = user
        self._timeout = timeout
        self._settings = settings
        all_headers = dict(headers or {})
        if self.address.authorization:
            all_headers.setdefault("Authorization", self.address.authorization)
        self.rest = Rest(self.address.rest, user, all_headers, tls, timeout)
        """The server's REST side."""
        self._publisher = Publisher(settings.window, settings.window_bytes, resend)
        self._callbacks = Callbacks(settings.inbox_bytes)
        self._on_connection = on_connection
        target = Target(self.address.websocket, all_headers, tls, settings)
        self._lanes = Lanes(target, self._publisher, self._connection_changed)
        self._prefix = secrets.token_hex(6)  # of the message ids that are made
        self._numbers = count(1)

    def __repr__(self) -> str:
        """Show where to, and whether it is connected."""
        return f"<Client {self.address.websocket} {'connected' if self.connected else 'not connected'}>"

    def __enter__(self) -> Self:
        """Connect; leaving closes the client.

        Raises:
            NotConnected, Refused: see `connect`.
        """
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._lanes.connected

    @property
    def application_id(self) -> str:
        """What the server calls this connection, and so what this client publishes; empty without one."""
        return self._lanes.application_id

    def connect(self, timeout: float | None = None, *, retry: bool = False) -> None:
        """Connect, if there is no connection; with `retry`, try until the time is up.

        Raises:
            NotConnected, ConnectionLost: it did not work.
            Refused: the server, or a proxy in front of it, does not want us.
        """
        self._lanes.open(self._deadline(timeout), retry)

    def close(self, timeout: float = 5.0) -> None:
        """Wait until what was published is answered, and end everything; again: do nothing."""
        deadline = Deadline(timeout)
        if self._lanes.forked:
            return
        if self._lanes.opened:
            try:
                self._publisher.flush(deadline)
            except GobblerError as error:
                log.warning("when the client was closed: %s", error)
        for subscription in self._lanes.close():
            subscription.ended()
        self._lanes.join(deadline)
        self._publisher.close()
        self._callbacks.close(deadline)
        self.rest.close()

    # Publishing

    def publish(
        self,
        topic: str,
        body: bytes | str,
        *,
        headers: Mapping[str, object] | None = None,
        message_id: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Publish a message and wait until it is in the log. A message id is made where none is given.

        Raises:
            InvalidTopic, InvalidMessage, MessageTooLarge: there is something wrong with it.
            PublishFailed: the server did not store it.
            PublishUnknown: it was sent, but not answered in time, or before the connection was lost.
            NotConnected, Timeout: it was not sent in time, and will not be.
        """
        deadline = self._deadline(timeout)
        publication = self._submit(topic, body, headers, message_id, True, deadline)
        if not publication.wait(deadline.left):
            if self._publisher.withdraw(publication):
                raise self._lanes.late()
            if not publication.done:
                raise PublishUnknown("the server has not answered in time") from self._lanes.late()
        return publication.result()

    def publish_nowait(
        self,
        topic: str,
        body: bytes | str,
        *,
        headers: Mapping[str, object] | None = None,
        message_id: str | None = None,
        timeout: float | None = None,
    ) -> Publication:
        """Publish a message and return what can be asked for the receipt.

        It waits only where the window (`Settings`) is full. While there is no connection, messages wait
        for one.

        Raises:
            InvalidTopic, InvalidMessage: there is something wrong with it.
            Timeout: the window was full all the time.
        """
        return self._submit(topic, body, headers, message_id, False, self._deadline(timeout))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all that was published with `publish_nowait` is in the log.

        Raises:
            PublishFailed, PublishUnknown, MessageTooLarge: the first failure since the last flush.
            Timeout: there is no answer to all of it yet.
        """
        self._publisher.flush(self._deadline(timeout))

    def _submit(
        self,
        topic: str,
        body: bytes | str,
        headers: Mapping[str, object] | None,
        message_id: str | None,
        watched: bool,
        deadline: Deadline,
    ) -> Publication:
        if message_id is None:
            message_id = f"{self._prefix}-{next(self._numbers)}"
        command = commands.send(topic, message_id, headers, body)
        self._ready(deadline)
        publication = self._publisher.submit(command, message_id, watched, deadline)
        self._lanes.wake()
        return publication

    # Receiving

    def subscribe(
        self,
        topic: str,
        from_: int | None = None,
        *,
        callback: OnMessage | None = None,
        on_gap: OnGap | None = None,
        timeout: float | None = None,
    ) -> Subscription:
        """Subscribe to a topic and all below it; returns when the server has confirmed it.

        `from_` is the id to begin with, 0 for the oldest that is kept; negative for so many of the newest;
        None, or an id in the future, for what is published from now on. The messages are for `callback`,
        which one thread of the client calls, or else for who iterates over the subscription. `on_gap` is
        told what cannot be had any more (see `MessagesLost`).

        Raises:
            BadRequest: the topic (InvalidTopic) or the id is not allowed.
            SubscribeFailed: the server did not take it.
            NotConnected, Timeout: the server has not answered in time.
        """
        deadline = self._deadline(timeout)
        path = commands.path_of(topic)
        commands.check_id(from_ or 0)
        self._ready(deadline)
        inbox = self._callbacks.inbox if callback else Inbox(self._settings.inbox_bytes)
        subscription = Subscription(path, inbox, callback, on_gap, self._lanes.unsubscribe)
        subscription.next_id, subscription.live = self._beginning(path, from_, deadline)
        if callback:
            self._callbacks.start()
        self._lanes.subscribe(subscription, deadline)
        return subscription

    def fetch(
        self,
        topic: str,
        start: int = 0,
        count: int = FETCHED,
        *,
        on_gap: OnGap | None = None,
        timeout: float | None = None,
    ) -> list[Message]:
        """Return stored messages of a topic and all below it: at most `count`, from the id `start` on.

        `start` is 0 for the oldest that is kept; negative for so many of the newest. What this client has
        published before is stored by then.

        Raises:
            BadRequest: the topic (InvalidTopic) or a number is not allowed.
            MessagesLost: some of what was asked for cannot be had any more, and there is no `on_gap` to
                tell that.
            FetchFailed: the server could not read it.
            NotConnected, Timeout: the server has not sent it in time.
        """
        path = commands.path_of(topic)
        fetch = Fetch(path, commands.check_id(start), commands.check_count(count))
        deadline = self._deadline(timeout)
        if not self._publisher.wait(deadline):
            raise self._lanes.late()
        self._run(fetch, deadline)
        for gap in fetch.gaps:
            if on_gap is None:
                raise MessagesLost(gap.topic, gap.first, gap.last)
            on_gap(gap)
        return fetch.messages

    def _run(self, fetch: Fetch, deadline: Deadline) -> list[Message]:
        self._ready(deadline)
        self._lanes.fetch(fetch, deadline)
        return fetch.messages

    def _beginning(self, path: bytes, from_: int | None, deadline: Deadline) -> tuple[int, bool]:
        """Return the id to begin with, and whether a later one would do.

        "From now on" has to be an id, so that a connection that is lost before the first message loses no
        message. It is that behind the newest of the partition: the newest of the path could be an old one,
        and what is not kept any more of the ids between would look like a gap.
        """
        if from_ == 0:
            return 0, False
        root = b"/" + partition_of(path).encode()
        newest = self._run(Fetch(root, -1, 1), deadline)
        end = newest[0].id + 1 if newest else 0
        if from_ is None:
            return end, True
        if from_ > 0:
            return (end, True) if from_ > end else (from_, False)
        first = self._run(Fetch(path, from_, 1), deadline)
        return (first[0].id, False) if first else (end, True)

    def _ready(self, deadline: Deadline) -> None:
        if not self._lanes.opened:
            self._lanes.open(deadline, retry=False)

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _connection_changed(self, error: ClientError | None) -> None:
        if self._on_connection is not None:
            self._callbacks.call(partial(self._on_connection, error))
