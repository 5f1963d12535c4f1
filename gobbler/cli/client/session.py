"""Carries out commands of the protocol with a client, and shows what a server would say.

The client hides the notifications, because it connects, and begins its subscriptions, again by itself. So
they are written anew here, in the words of docs/protocol.md, for what a person has asked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gobbler.cli.client.failure import explain
from gobbler.cli.client.once import Once
from gobbler.cli.client.pages import pages
from gobbler.cli.client.render import Renderer
from gobbler.errors import GobblerError
from gobbler.protocol import notification
from gobbler.protocol.command import Cancel, Receive, Send, SendRefused, parse
from gobbler.protocol.topic import covers

if TYPE_CHECKING:
    from gobbler.client import Client, Gap, Message, Receipt, Subscription
    from gobbler.client.errors import ClientError


class Watch:
    """A subscription of the session."""

    def __init__(self, path: str, last: int, session: Session) -> None:
        """What is stored up to the id `last` comes first; 0: nothing."""
        self.path = path
        self.subscription: Subscription | None = None
        self._session = session
        self._last = self._due = last
        self._passed = 0
        self._live = self._ended = False
        self._changed = threading.Condition()

    def begin(self) -> None:
        """The server has confirmed it."""
        with self._changed:
            if not self._last:
                self._begin_live()

    def message(self, message: Message) -> None:
        """Show a message, if no other subscription has; for the thread of the callbacks."""
        with self._changed:
            if not self._ended:
                self._session.show_message(message)
                self._pass(message.id)

    def gap(self, gap: Gap) -> None:
        """Tell what cannot be had any more."""
        with self._changed:
            if not self._ended:
                self._session.tell_gap(gap)
                self._pass(gap.last)

    def expect(self, id: int) -> None:
        """Note that the message with this id is still to come, if it has not."""
        with self._changed:
            self._due = max(self._due, id)

    def settle(self, patience: float) -> None:
        """Wait until what is to come has come, as long as anything comes within `patience` seconds."""
        with self._changed:
            passed = -1
            while passed != self._passed and not self._is_settled():
                passed = self._passed
                self._changed.wait_for(self._is_settled, patience)

    def end(self) -> None:
        """Show nothing more, not even what has come already."""
        with self._changed:
            self._ended = True
        if self.subscription is not None:
            self.subscription.close()

    def _is_settled(self) -> bool:
        return self._passed >= self._due

    def _pass(self, id: int) -> None:
        self._passed = id
        if not self._live and id >= self._last:
            self._begin_live()
        if self._is_settled():
            self._changed.notify()

    def _begin_live(self) -> None:
        self._live = True
        self._session.tell(notification.subscribed_to(self.path.encode()))


class Session:
    """The commands of one person, or one pipe."""

    def __init__(self, show: Callable[[str], None], renderer: Renderer, patience: float = 0) -> None:
        """`show` shows a text; it is called by several threads.

        With `patience` (seconds in which nothing may come), a subscription does not end before it has shown
        what is stored, and what the session itself has published: a pipe cannot look and wait.
        """
        self.client: Client
        self.status = 0
        """The exit status: that of the first failure."""
        self._show = show
        self._renderer = renderer
        self._watches: dict[str, Watch] = {}
        self._once = Once()
        self._lost = False
        self._patience = patience

    def welcome(self) -> None:
        """Tell a person where they are."""
        self.notify(f"#connected to {self.client.address.websocket}; ? is for help, Ctrl+D ends")

    def connection_changed(self, error: ClientError | None) -> None:
        """Tell that the connection is lost, and that there is one again; `on_connection` of the client."""
        if error is not None:
            self._lost = True
            self.notify(f"!disconnected {error}; connecting again")
        elif self._lost:
            self._lost = False
            self.notify("#connected again; subscriptions go on where they were")

    def notify(self, text: str) -> None:
        """Show a notification."""
        self._show(self._renderer.notification(text))

    def tell(self, payload: bytes) -> None:
        """Show a notification of the protocol."""
        self.notify(payload.decode())

    def show_message(self, message: Message) -> None:
        """Show a message that came by a subscription, once: several may match it."""
        if self._once.is_new(message.topic, message.id):
            self._show(self._renderer.message(message))

    def tell_gap(self, gap: Gap) -> None:
        """Tell what cannot be had any more."""
        self.tell(notification.error_gap(gap.topic.encode(), gap.first, gap.last))

    def fail(self, text: str, status: int) -> None:
        """Show a notification of an error, which the exit status will tell too."""
        self.status = self.status or status
        self.notify(text)

    def run(self, payload: bytes) -> None:
        """Carry out a command, and show what comes of it."""
        try:
            command = parse(payload)
            if isinstance(command, Send):
                self._send(command)
            elif isinstance(command, Receive):
                self._receive(command)
            else:
                self._cancel(command)
        except SendRefused as error:
            self._fail(f"!error-send {_words(error.message_id.decode())}", error)
        except GobblerError as error:
            self._fail(f"!{_KINDS.get(error.code, 'error')} ", error)

    def _fail(self, head: str, error: GobblerError) -> None:
        failure = explain(error)
        self.fail(f"{head}{failure}", failure.status)

    def settle(self) -> None:
        """Wait until the subscriptions have shown what they have to."""
        if self._patience:
            for watch in self._watches.values():
                watch.settle(self._patience)

    def _send(self, command: Send) -> None:
        headers = json.loads(command.headers) if command.headers else None
        message_id = command.message_id.decode()
        try:
            receipt = self.client.publish(
                command.path.decode(), command.body, headers=headers, message_id=message_id or None
            )
        except GobblerError as error:
            self._fail(f"!error-send {_words(message_id)}", error)
        else:
            ids = receipt.message_id.encode(), receipt.topic.encode()
            self.tell(notification.send_ok(*ids, receipt.id, receipt.time))
            self._expect(receipt)

    def _expect(self, receipt: Receipt) -> None:
        for path, watch in self._watches.items():
            if covers(path.encode(), receipt.topic.encode()):
                watch.expect(receipt.id)

    def _receive(self, command: Receive) -> None:
        path = command.path.decode()
        if command.count is not None:
            self._fetch(command.path, command.start or 0, command.count)
        elif path in self._watches and command.start is None:
            self.tell(notification.subscribed_to(command.path))
        else:
            self._subscribe(path, command.start)

    def _fetch(self, path: bytes, start: int, count: int) -> None:
        found = False
        for page in pages(self.client, path.decode(), start, count, self.tell_gap):
            found = True
            self._show_fetched(path, page)
        if not found:
            self._show_fetched(path, [])

    def _show_fetched(self, path: bytes, page: list[Message]) -> None:
        self.tell(notification.fetch_start(path, len(page)))
        for message in page:
            self._show(self._renderer.message(message))
        self.tell(notification.fetch_done(path))

    def _subscribe(self, path: str, start: int | None) -> None:
        self._end(path)
        watch = Watch(path, self._last_of(path, start), self)
        self._once.add(path)
        self._watches[path] = watch
        try:
            watch.subscription = self.client.subscribe(path, start, callback=watch.message, on_gap=watch.gap)
        except GobblerError:
            self._end(path)
            raise
        watch.begin()

    def _last_of(self, path: str, start: int | None) -> int:
        """Return the id of the newest stored message that a replay will show; 0 if it shows none."""
        if start is None:
            return 0
        newest = self.client.fetch(path, -1, 1, on_gap=lambda gap: None)
        return newest[0].id if newest and newest[0].id >= start else 0

    def _cancel(self, command: Cancel) -> None:
        path = command.path.decode()
        if self._patience and path in self._watches:
            self._watches[path].settle(self._patience)
        if self._end(path):
            self.tell(notification.canceled(command.path))
        else:
            self.fail(f"!error-bad-request not subscribed to {path}", 1)

    def _end(self, path: str) -> bool:
        watch = self._watches.pop(path, None)
        if watch is None:
            return False
        self._once.remove(path)
        watch.end()
        return True


_KINDS: Final = {
    "subscribe-failed": "error-subscribed-to",
    "fetch-failed": "error-server-internal",
    "invalid-command": "error-bad-request",
    "bad-request": "error-bad-request",
}


def _words(message_id: str) -> str:
    return f"{message_id} " if message_id else ""
