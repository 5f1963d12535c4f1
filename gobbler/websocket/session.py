"""A session: what one WebSocket client says, and what it is answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from gobbler.errors import GobblerError, InvalidCommand, MessageTooLarge, StoreError, StoreUnavailable
from gobbler.protocol import notification
from gobbler.protocol.command import Receive, Send, SendRefused, parse
from gobbler.protocol.run import Run
from gobbler.protocol.topic import partition_of
from gobbler.websocket.batch import Batch
from gobbler.websocket.connection import Connection
from gobbler.websocket.fetch import Fetch
from gobbler.websocket.frames import Event, encode
from gobbler.websocket.peer import Services
from gobbler.websocket.receiver import Receiver

MAX_FETCHES: Final = 32
"""How many fetches of one client run at once; with more, it is not read from until one is done.

Subscriptions that wait to begin count as fetches.
"""

MAX_SUBSCRIPTIONS: Final = 10_000
"""How many paths one client may subscribe to."""

_NO_BATCH: Final = Batch()  # of whoever has sent nothing yet


class _Answer:
    """A place in the line of answers, which come in the order of the sends."""

    __slots__ = ("frames", "session")

    def __init__(self, session: Session, frames: bytes | None = None) -> None:
        self.session = session
        self.frames = frames

    def stored(self, run: Run, first_id: int, time: int) -> None:
        """Acknowledge all messages of a run."""
        self.frames = run.answers(first_id, time)
        self.session.answered()

    def failed(self, run: Run, error: GobblerError) -> None:
        """Tell for each message of a run that it was not stored."""
        self.refuse(run, error)
        self.session.answered()

    def refuse(self, run: Run, error: GobblerError) -> None:
        """Answer each message of a run with an error."""
        now = int(self.session.services.clock())
        names = run.message_ids or [b""] * len(run)
        # What is wrong with the store is not the client's business.
        text = "the message could not be stored" if isinstance(error, StoreError) else str(error)
        self.frames = b"".join(encode(notification.send_error(name, run.path, text, now)) for name in names)


class Session:
    """Reads the commands of one client and runs them in their order.

    What follows a send waits until that is stored, unless it is another send:
    a client that publishes and then fetches finds its own message.
    """

    __slots__ = (
        "_answers",
        "_batch",
        "_fetches",
        "_goodbye",
        "_held",
        "_receivers",
        "application_id",
        "connection",
        "params",
        "requests",
        "services",
        "since",
        "subscriptions",
        "user_id",
    )

    def __init__(self, connection: Connection, services: Services, user_id: str, application_id: str) -> None:
        """Begin a session on a connection that has not been started; ids are valid message fields."""
        self.connection = connection
        self.services = services
        self.user_id = user_id.encode()
        self.application_id = application_id.encode()
        self.params: Mapping[str, str] = {"user_id": user_id, "application_id": application_id}
        self.since = int(services.clock())  # unix seconds
        self.subscriptions = 0
        self.requests = 0
        self._receivers: dict[str, Receiver] = {}
        self._fetches: set[Fetch] | None = None
        self._answers: deque[_Answer] | None = None
        self._held: list[Event] | None = None
        self._batch = _NO_BATCH
        self._goodbye: tuple[int, str] | None = None

    def __repr__(self) -> str:
        """Show who it is."""
        return f"<Session {self.user_id.decode()} {self.application_id.decode()} {self.connection}>"

    @property
    def paths(self) -> Iterator[bytes]:
        """Yield the paths that are subscribed."""
        return (path for receiver in self._receivers.values() for path in receiver)

    @property
    def catching_up(self) -> int:
        """Return in how many partitions stored messages are being sent, before it is live there."""
        return sum(not receiver.live for receiver in self._receivers.values())

    def greet(self) -> None:
        """Tell the client who it is."""
        self.tell(notification.connected(self.application_id, self.user_id, self.since))
        self.services.metrics.sessions.inc()
        self.services.metrics.sessions_opened_total.inc()

    def tell(self, payload: bytes) -> None:
        """Send a notification."""
        self.connection.push(encode(payload))

    # What the connection calls

    def received(self, messages: list[Event]) -> None:
        """Run a burst of commands; none any more once the session is finishing."""
        if self._goodbye is not None:
            return
        if self._held is not None:
            self._held += messages
            return
        self._run_or_hold(messages)

    def finishing(self, code: int, reason: str = "") -> None:
        """Close when what the client sent before has been answered."""
        if self._answers or self._held:
            self._goodbye = code, reason
        else:
            self.connection.close(code, reason)

    def lost(self) -> None:
        """End all subscriptions and fetches."""
        for receiver in self._receivers.values():
            receiver.end()
        for fetch in self._fetches or ():
            fetch.end()
        self._receivers = {}
        self._held = None
        self.services.metrics.sessions.dec()

    # Commands

    def _run_or_hold(self, messages: list[Event]) -> bool:
        """Run commands, hold those that have to wait, and say whether the client has to wait, too."""
        position = self._run(messages)
        if position < len(messages):
            self._held = messages[position:]
        busy = bool(self._answers) or self._held is not None
        self.connection.busy(busy)
        return busy

    def _run(self, messages: list[Event]) -> int:
        """Run commands until one has to wait; return how many were run."""
        batch = self._batch
        head, tails, cut = batch.head, batch.tails, len(batch.head) - 1
        for position, (_, payload) in enumerate(messages):
            if payload.startswith(head):  # the hot path; see `Batch`
                tails.append(payload[cut:])
            elif not batch.take(payload):
                if not self._command(payload):
                    return position
                batch = self._batch
                head, tails, cut = batch.head, batch.tails, len(batch.head) - 1
        self._publish_batch()
        return len(messages)

    def _command(self, payload: bytes) -> bool:
        """Run one command; False when it has to wait for the answers of sends before it."""
        try:
            command = parse(payload)
        except SendRefused as error:
            self._publish_batch()
            self._refuse(error)
            return True
        except InvalidCommand as error:
            return self._alone(partial(self._bad_request, error))
        if isinstance(command, Send):
            self._send(command)
            return True
        if isinstance(command, Receive):
            crowded = len(self._fetches or ()) + self.requests >= MAX_FETCHES
            return self._alone(partial(self._receive, command), crowded)
        return self._alone(partial(self._cancel, command.path))

    def _alone(self, run: Callable[[], None], wait: bool = False) -> bool:
        """Run what is no send when all sends before it are answered and it need not `wait` for more."""
        self._publish_batch()
        if self._answers or wait:
            return False
        run()
        return True

    def _send(self, command: Send) -> None:
        if not self._batch.add(command):
            self._publish_batch()
            self._batch = Batch(command.path)
            self._batch.add(command)

    def _publish_batch(self) -> None:
        run = self._batch.run(self.user_id, self.application_id)
        if run is None:
            return
        limit = self.services.max_message_size + 1  # a tail has a line feed of ours
        if max(map(len, run.tails)) <= limit:
            self._publish(run)
            return
        for single in run.singles():
            if len(single.tails[0]) <= limit:
                self._publish(single)
            else:
                self._too_large(single)

    def _publish(self, run: Run) -> None:
        metrics = self.services.metrics
        metrics.messages_received_websocket.inc(len(run))
        metrics.received_bytes_total.inc(sum(map(len, run.tails)) - len(run))
        answer = self._line_up(_Answer(self))
        try:
            self.services.intake.submit(run, answer)
        except GobblerError as error:
            answer.refuse(run, error)
            self._give_answers()

    def _too_large(self, run: Run) -> None:
        text = f"message is larger than {self.services.max_message_size} bytes"
        self.services.metrics.count_error(MessageTooLarge.code, len(run))
        self._line_up(_Answer(self)).refuse(run, MessageTooLarge(text))
        self._give_answers()

    def _refuse(self, error: SendRefused) -> None:
        self.services.metrics.count_error(error.code)
        payload = notification.send_error(
            error.message_id, error.path, str(error), int(self.services.clock())
        )
        self._line_up(_Answer(self, encode(payload)))
        self._give_answers()

    def _line_up(self, answer: _Answer) -> _Answer:
        if self._answers is None:
            self._answers = deque()
        self._answers.append(answer)
        return answer

    def answered(self) -> None:
        """Send the answers whose turn it is; when all are sent, go on with what has waited."""
        self._give_answers()
        if self._answers is None:
            self._go_on()

    def _give_answers(self) -> None:
        answers = self._answers
        while answers and answers[0].frames is not None:
            self.connection.push(answers.popleft().frames or b"")
        if not answers:
            self._answers = None

    def _go_on(self) -> None:
        held, self._held = self._held, None
        if not self._run_or_hold(held or []) and self._goodbye is not None:
            self.connection.close(*self._goodbye)

    def _bad_request(self, error: GobblerError) -> None:
        self.services.metrics.count_error(error.code)
        self.tell(notification.error_bad_request(str(error)))

    def _receive(self, command: Receive) -> None:
        if command.count is not None and command.start is not None:
            self._fetch(command.path, command.start, command.count)
            return
        partition = partition_of(command.path)
        receiver = self._receivers.get(partition)
        known = receiver is not None and command.path in receiver
        if not known and self.subscriptions + self.requests >= MAX_SUBSCRIPTIONS:
            text = f"more than {MAX_SUBSCRIPTIONS} subscriptions"
            self.tell(notification.error_subscribed_to(command.path, text))
            return
        if receiver is None:
            receiver = self._receivers[partition] = Receiver(self, partition)
        receiver.subscribe(command.path, command.start)

    def _fetch(self, path: bytes, start: int, count: int) -> None:
        fetch = Fetch(self, path, start, count, self._fetched)
        if self._fetches is None:
            self._fetches = set()
        self._fetches.add(fetch)
        fetch.start()

    def _fetched(self, fetch: Fetch) -> None:
        """Forget a fetch that has ended; a command may have waited for that."""
        if self._fetches:
            self._fetches.discard(fetch)
        self.proceed()

    def proceed(self) -> None:
        """Run commands that have waited for a fetch or a request to be done."""
        if self._held and not self._answers:
            self._go_on()

    def _cancel(self, path: bytes) -> None:
        fetches = [fetch for fetch in self._fetches or () if fetch.path == path and not fetch.ended]
        for fetch in fetches:
            fetch.end()
        partition = partition_of(path)
        receiver = self._receivers.get(partition)
        subscribed = receiver is not None and receiver.unsubscribe(path)
        if receiver is not None and receiver.empty:
            del self._receivers[partition]
        if subscribed or fetches:
            self.tell(notification.canceled(path))
        else:
            self._bad_request(InvalidCommand(f"not subscribed to {path.decode()}"))

    def gone_wrong(self, error: Exception) -> str:
        """Count an error of the server and return what the client may know of it."""
        kind = error.code if isinstance(error, GobblerError) else GobblerError.code
        self.services.metrics.count_error(kind)
        return (
            "the message store cannot be read now"
            if isinstance(error, StoreUnavailable)
            else "internal error"
        )
