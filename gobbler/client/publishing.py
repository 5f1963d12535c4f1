"""Publishing: what waits to be sent, what waits for its answer, and who waits for that.

    publish --> queued --take--> sent --answered--> done

All together they are the window, which has a limit in messages and in bytes. Answers come in the order of
the sends, so that `sent` is a queue, too. When the connection is lost, what is queued waits for the next one.
What is sent and not answered may be in the log or not: either its publisher is told so, or, with `resend`,
it is sent again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Final

from gobbler.client.errors import (
    BadAnswer,
    ClientError,
    Closed,
    ConnectionLost,
    PublishFailed,
    PublishUnknown,
)
from gobbler.client.errors import Timeout as TimedOut
from gobbler.client.message import Receipt
from gobbler.client.waiting import Deadline
from gobbler.errors import GobblerError, MessageTooLarge

_TOO_BIG: Final = 1009
_STORED: Final = b"#send "
_FAILED: Final = b"!error-send "


class Publication:
    """A message on its way into the log: what `publish_nowait` returns."""

    __slots__ = ("_answer", "_error", "_event", "_lock", "given_up", "message_id", "payload", "watched")

    def __init__(self, payload: bytes, message_id: str, watched: bool, lock: threading.Condition) -> None:
        """`lock` is the publisher's; whoever publishes a `watched` one learns the outcome at once."""
        self.payload = payload
        self.message_id = message_id
        self.watched = watched
        self.given_up = False
        self._lock = lock
        self._answer: bytes | None = None
        self._error: GobblerError | None = None
        self._event: threading.Event | None = None  # made only where somebody waits

    def __repr__(self) -> str:
        """Show the message id, and how far it is."""
        state = "waiting" if not self.done else "failed" if self._error else "stored"
        return f"<Publication {self.message_id} {state}>"

    @property
    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._answer is not None or self._error is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the outcome, at most `timeout` seconds; say whether it is known."""
        with self._lock:
            if self.done:
                return True
            if self._event is None:
                self._event = threading.Event()
        return self._event.wait(timeout)

    def result(self, timeout: float | None = None) -> Receipt:
        """Wait for the outcome, and return the receipt.

        Raises:
            PublishFailed: the server did not store it.
            MessageTooLarge: it is larger than the server allows.
            PublishUnknown: the connection was lost before the answer came.
            Timeout: the outcome is not known after `timeout` seconds. It can be asked for again.
        """
        if not self.wait(timeout):
            raise TimedOut(f"no answer within {timeout:g} s")
        if self._error is not None:
            raise self._error
        return Receipt.decode((self._answer or b"").partition(b"\n")[2])

    def settle(self, answer: bytes | None, error: GobblerError | None) -> None:
        """Set the outcome; the caller holds the lock."""
        self._answer = answer
        self._error = error
        self.payload = b""
        if self._event is not None:
            self._event.set()


class Publisher:
    """The messages of one client that are not done. For any thread."""

    def __init__(self, window: int, window_bytes: int, resend: bool) -> None:
        """Hold at most `window` messages, and about `window_bytes`."""
        self._lock = threading.Condition()
        self._window = window
        self._window_bytes = window_bytes
        self._resend = resend
        self._queued: deque[Publication] = deque()
        self._sent: deque[Publication] = deque()
        self._held = 0
        self._failures = 0  # since the last flush
        self._first_failure: GobblerError | None = None
        self._closed = False

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._queued)

    @property
    def pending(self) -> bool:
        """Whether anything is not done."""
        return bool(self._queued or self._sent)

    def submit(self, payload: bytes, message_id: str, watched: bool, deadline: Deadline) -> Publication:
        """Queue a send command, when there is room in the window.

        `flush` does not report the failure of a `watched` one.

        Raises:
            Timeout: there was no room in time.
            Closed: the client is closed.
        """
        publication = Publication(payload, message_id, watched, self._lock)
        size = len(payload)
        with self._lock:
            while not (self._closed or self._has_room(size)):
                if not self._lock.wait(deadline.left):
                    raise TimedOut(
                        "the window is full: the server has not answered what was published before"
                    )
            if self._closed:
                raise Closed("the client is closed")
            self._queued.append(publication)
            self._held += size
        return publication

    def _has_room(self, size: int) -> bool:
        number = len(self._queued) + len(self._sent)
        return not number or (number < self._window and self._held + size <= self._window_bytes)

    def withdraw(self, publication: Publication) -> bool:
        """Give up on a publication; say whether it has not been sent, and so never will be."""
        with self._lock:
            publication.given_up = True
            if publication not in self._queued:
                return False
            self._queued.remove(publication)
            self._held -= len(publication.payload)
            self._lock.notify_all()
            publication.settle(None, Closed("it was withdrawn"))
            return True

    def wait(self, deadline: Deadline) -> bool:
        """Wait until all that is published now is done; say whether it is."""
        with self._lock:
            last = [*self._sent, *self._queued][-1:]
        return not last or last[0].wait(deadline.left)

    def flush(self, deadline: Deadline) -> None:
        """Wait until all that is published now is done.

        Raises:
            Timeout: it is not, in time.
            PublishFailed, PublishUnknown, MessageTooLarge: the first failure since the last flush.
        """
        if not self.wait(deadline):
            raise TimedOut(f"{len(self._queued) + len(self._sent)} messages are not answered in time")
        with self._lock:
            first, self._first_failure = self._first_failure, None
            failures, self._failures = self._failures, 0
        if first is not None:
            raise type(first)(f"{failures} of the messages: {first}")

    def close(self) -> None:
        """Take nothing more, and end what is not done."""
        with self._lock:
            self._closed = True
            for publication in self._sent:
                publication.settle(None, PublishUnknown("the client was closed before the answer came"))
            for publication in self._queued:
                publication.settle(None, Closed("the client was closed before the message was sent"))
            self._sent.clear()
            self._queued.clear()
            self._lock.notify_all()

    # What the connection's thread calls

    def take(self, size: int) -> list[bytes]:
        """Return commands of about `size` bytes; they count as sent."""
        payloads: list[bytes] = []
        with self._lock:
            while self._queued and size > 0:
                publication = self._queued.popleft()
                self._sent.append(publication)
                payloads.append(publication.payload)
                size -= len(publication.payload)
        return payloads

    def answered(self, answers: Iterable[bytes]) -> None:
        """Take answers to the sends, in their order.

        Raises:
            BadAnswer: one does not fit.
        """
        with self._lock:
            try:
                for answer in answers:
                    publication = self._sent[0] if self._sent else None
                    if publication is None or not _fits(answer, publication.message_id.encode()):
                        raise BadAnswer("the server sent an answer that fits no message")
                    self._sent.popleft()
                    self._held -= len(publication.payload)
                    self._settle(publication, answer)
            finally:
                self._lock.notify_all()

    def _settle(self, publication: Publication, answer: bytes) -> None:
        if answer.startswith(_STORED):
            publication.settle(answer, None)
            return
        line = answer.partition(b"\n")[0]
        text = line[len(_FAILED) :].decode(errors="replace").removeprefix(publication.message_id)
        self._fail(publication, PublishFailed(text.strip() or "the message was not stored"))

    def _fail(self, publication: Publication, error: GobblerError) -> None:
        if not publication.watched:
            self._first_failure = self._first_failure or error
            self._failures += 1
        publication.settle(None, error)

    def lost(self, error: ClientError) -> None:
        """The connection is gone: nothing that was sent will be answered."""
        with self._lock:
            sent, self._sent = self._sent, deque()
            if isinstance(error, ConnectionLost) and error.close_code == _TOO_BIG and sent:
                # One of them was, and so was the largest. Sent again, it would end each connection anew.
                largest = max(sent, key=lambda each: len(each.payload))
                sent.remove(largest)
                self._drop(largest, MessageTooLarge("message is larger than the server allows"))
            again = [each for each in sent if self._resend and not each.given_up]
            for publication in sent:
                if publication.given_up or not self._resend:
                    self._drop(publication, PublishUnknown(f"not answered: {error}"))
            self._queued.extendleft(reversed(again))
            self._lock.notify_all()

    def _drop(self, publication: Publication, error: GobblerError) -> None:
        self._held -= len(publication.payload)
        self._fail(publication, error)


def _fits(answer: bytes, message_id: bytes) -> bool:
    """Say whether an answer names a message id, as both kinds do behind their first word."""
    start = len(_STORED) if answer.startswith(_STORED) else len(_FAILED)
    end = start + len(message_id)
    return answer[start:end] == message_id and answer[end : end + 1] in (b"\n", b" ", b"")
