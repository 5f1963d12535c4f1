"""One WebSocket connection: a socket, frames, an outbox, and the closing handshake.

A connection has no greenlet. The event loop calls it when there is something
to read or room to write, so that an idle one costs almost nothing, and
everything that is read in one turn is answered with one `send`.
"""

from __future__ import annotations

import logging
import socket
import time
from enum import IntEnum
from itertools import groupby
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event

from gobbler.errors import FrameError
from gobbler.websocket.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    CloseCode,
    Parser,
    close_payload,
    encode,
    parse_close,
)
from gobbler.websocket.frames import Event as FrameEvent

log = logging.getLogger(__name__)

READ_BYTES: Final = 256 * 1024
"""One read takes a burst of frames; after it, others have their turn."""

SEND_BYTES: Final = 256 * 1024
QUEUE_LIMIT: Final = 1024 * 1024
"""With more than this unsent, a client is given no live messages and is not read from."""

ROOM_BYTES: Final = 256 * 1024
"""A fetch goes on when less than this is unsent."""

LINGER_SECONDS: Final = 5.0
"""How long a peer may take to answer a close frame (RFC 6455, section 7.1.1)."""

_READ, _WRITE = 1, 2
_BURST: Final = memoryview(bytearray(READ_BYTES))  # one for all: a burst is parsed before the next is read


class Handler(Protocol):
    """What is behind a connection. All calls come from the event loop and must not wait."""

    def received(self, messages: list[FrameEvent]) -> None:
        """Take the data messages of a burst: (TEXT or BINARY, payload)."""

    def finishing(self, code: int, reason: str = "") -> None:
        """The peer wants to close, or has to be: `Connection.close`, now or after the last answers."""

    def lost(self) -> None:
        """The connection is gone; nothing can be sent any more."""


class State(IntEnum):
    """How far a connection is on its way out."""

    OPEN = 0
    CLOSING = 1  # a close frame is queued or sent
    GONE = 2


class Flusher:
    """Sends what connections have queued, once at the end of a turn of the event loop."""

    def __init__(self, loop: Any) -> None:
        """Use gevent's event loop."""
        self._loop = loop
        self._dirty: list[Connection] = []

    def add(self, connection: Connection) -> None:
        """Have a connection flushed in this turn."""
        if not self._dirty:
            self._loop.run_callback(self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            try:
                connection.flush()
            except Exception:  # the top of what the event loop calls: the others must be sent theirs
                log.exception("sending to %r failed", connection)
                connection.drop()


class Connection:
    """A socket that has been upgraded. Closed only by `close`, the peer, or silence."""

    __slots__ = (
        "_busy",
        "_dirty",
        "_flusher",
        "_handler",
        "_linger",
        "_out",
        "_parser",
        "_peer_closed",
        "_reader",
        "_room",
        "_sock",
        "_stopped",
        "_writer",
        "full_since",
        "queued",
        "silent",
        "state",
    )

    def __init__(self, sock: socket.socket, flusher: Flusher, max_size: int) -> None:
        """Own a native, non-blocking socket; messages of more than `max_size` bytes are refused (1009)."""
        self._sock = sock
        self._flusher = flusher
        self._parser = Parser(max_size)
        self._handler: Handler
        self._out: list[bytes | memoryview] = []
        self._room: Event | None = None
        self._reader: Any = None
        self._writer: Any = None
        self._linger: Any = None
        self._dirty = False
        self._stopped = False
        self._busy = False
        self._peer_closed = False
        self.full_since = 0.0  # since when the socket has taken less than there is, monotonic; 0: it has not
        self.queued = 0
        self.silent = 0
        self.state = State.OPEN

    def __repr__(self) -> str:
        """Show the descriptor, the state, and what is queued."""
        return f"<Connection {self._sock.fileno()} {self.state.name} queued={self.queued}>"

    def start(self, handler: Handler, already_read: bytes = b"") -> None:
        """Begin to read; `already_read` came in with the handshake."""
        self._handler = handler
        loop = gevent.get_hub().loop
        self._reader = loop.io(self._sock.fileno(), _READ)
        self._reader.start(self._readable)
        if already_read:
            loop.run_callback(self._feed, already_read)

    # Reading

    def _readable(self) -> None:
        if self._busy or self.queued > QUEUE_LIMIT:
            # Whoever does not read answers is not read from. Stopping only now saves the common case a call.
            self._stopped = True
            self._reader.stop()
            return
        try:
            size = self._sock.recv_into(_BURST)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.drop()
            return
        self.silent = 0
        self._feed(bytes(_BURST[:size]))

    def _feed(self, data: bytes) -> None:
        if self.state is State.GONE:
            return
        try:
            events = self._parser.feed(data)
            if [True for event in events if event[0] > BINARY]:
                for control, together in groupby(events, key=_is_control):
                    (self._control if control else self._messages)(list(together))
            elif events:
                self._messages(events)
            error = self._parser.error
            if error is not None:
                self._handler.finishing(error.close_code, error.reason)
        except Exception:  # the top of what the event loop calls: one connection must not end the others
            log.exception("connection %d failed", self._sock.fileno())
            self.close(CloseCode.INTERNAL_ERROR, "internal error")

    def _messages(self, events: list[FrameEvent]) -> None:
        if self.state is State.OPEN:
            self._handler.received(events)

    def _control(self, events: list[FrameEvent]) -> None:
        # Together: thousands of tiny ones would take much more memory than the queue counts.
        pongs = b"".join([encode(payload, PONG) for opcode, payload in events if opcode == PING])
        if pongs:
            self.push(pongs)
        if events[-1][0] == CLOSE:
            self._closed_by_peer(events[-1][1])

    def _closed_by_peer(self, payload: bytes) -> None:
        """Answer a close frame with its own code, or end a handshake that began here (section 5.5.1)."""
        self._peer_closed = True
        if self.state is State.CLOSING:
            if not self._out:
                self.drop()
            return
        try:
            code, _ = parse_close(payload)
        except FrameError as error:
            self._handler.finishing(error.close_code, error.reason)
            return
        self._handler.finishing(code)

    def busy(self, busy: bool) -> None:
        """Have the peer read from only while the handler is not busy."""
        self._busy = busy
        if self._stopped:
            self._resume()

    def _resume(self) -> None:
        if not self._busy and self.queued <= QUEUE_LIMIT // 2 and self.state is not State.GONE:
            self._stopped = False
            self._reader.start(self._readable)

    # Writing

    def push(self, frames: bytes) -> None:
        """Queue whole frames; they are sent at the end of this turn. Nothing is sent after a close frame."""
        if self.state is not State.OPEN:
            return
        self._enqueue(frames)

    def _enqueue(self, frames: bytes) -> None:
        self._out.append(frames)
        self.queued += len(frames)
        if not self._dirty:
            self._dirty = True
            self._flusher.add(self)

    def flush(self) -> None:
        """Send what is queued, as much as the socket takes."""
        while self._out:
            data = self._take()
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.drop()
                return
            self.queued -= sent
            if sent and self._writer is not None:  # slow, but it does read
                self.silent = 0
            if sent < len(data):
                self._out.insert(0, memoryview(data)[sent:])
                self._wait_until_writable()
                break
        else:
            self._all_sent()
        if self._stopped:
            self._resume()
        if self._room is not None and self.queued < ROOM_BYTES:
            self._room.set()

    def _take(self) -> bytes | memoryview:
        """Take from the queue what one call of `send` gets."""
        out = self._out
        if len(out) == 1:
            return out.pop()
        if self.queued <= SEND_BYTES:
            data = b"".join(out)
            out.clear()
            return data
        size = number = 0
        while number < len(out) and size < SEND_BYTES:
            size += len(out[number])
            number += 1
        data = b"".join(out[:number])
        del out[:number]
        return data

    def _wait_until_writable(self) -> None:
        """Stay dirty, so that nobody else flushes, until the event loop says that there is room."""
        self._dirty = True
        if self._writer is None:
            self._writer = gevent.get_hub().loop.io(self._sock.fileno(), _WRITE)
            self.full_since = time.monotonic()
        if not self._writer.active:
            self._writer.start(self.flush)

    def _all_sent(self) -> None:
        self._dirty = False
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None
            self.full_since = 0.0
        if self.state is State.CLOSING:
            self._close_sent()

    def wait_for_room(self) -> bool:
        """Wait until little is queued; say whether the connection is still open. For greenlets."""
        while self.queued >= ROOM_BYTES and self.state is State.OPEN:
            if self._room is None:
                self._room = Event()
            self._room.clear()
            self._room.wait()
        return self.state is State.OPEN

    # Closing

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame behind what is queued and end the connection when the peer has answered it."""
        if self.state is not State.OPEN:
            return
        self.state = State.CLOSING
        self._enqueue(encode(close_payload(code, reason), CLOSE))
        self._busy = False
        if self._stopped:
            self._resume()
        if self._room is not None:
            self._room.set()
        self._linger = gevent.get_hub().loop.timer(LINGER_SECONDS)
        self._linger.start(self.drop)

    def _close_sent(self) -> None:
        if self._peer_closed:
            self.drop()
            return
        try:
            # The peer reads the close frame and then the end; what it still sends is read and ignored,
            # because closing over unread bytes would reset the connection and could destroy the frame.
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop()

    def drop(self) -> None:
        """End the connection at once; again: do nothing."""
        if self.state is State.GONE:
            return
        self.state = State.GONE
        for watcher in (self._reader, self._writer, self._linger):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reader = self._writer = self._linger = None
        self._sock.close()
        self._out.clear()
        self.queued = 0
        if self._room is not None:
            self._room.set()
        self._handler.lost()

    def tick(self, patience: int) -> None:
        """Count a tick of silence: ping after two, and give up after `patience` ticks."""
        if self._busy and not self._out:  # it has read everything: the silence is ours
            return
        self.silent += 1
        if self.silent > patience:
            log.info("connection %d does not answer", self._sock.fileno())
            self.drop()
        elif self.silent >= 2:
            self.push(_PING_FRAME)


_PING_FRAME: Final = encode(b"", PING)


def _is_control(event: FrameEvent) -> bool:
    return event[0] > BINARY
