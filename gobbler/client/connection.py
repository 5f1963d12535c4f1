"""One connection to the server: a socket, and WebSocket frames on it.

`websockets` has opened it (see `opening`). The frames are read and written by the codec that the server has,
`gobbler.websocket.frames`: it takes a burst at a time. With the frames of `websockets`, each of which is an
object, has a generator run for it and asks the system for four random bytes, a client published at half the
rate, and received at less.

One thread moves the bytes, and waits for reading and writing in the same selector. So nothing is locked,
and a TLS connection, which two threads must not use at once, never is. Under gevent's monkey patching the
selector and the thread are gevent's.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
from collections.abc import Sequence
from time import monotonic
from typing import Final

from gobbler.client.errors import ConnectionLost
from gobbler.client.waiting import Deadline, Waker
from gobbler.errors import FrameError
from gobbler.websocket.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    CloseCode,
    Event,
    Parser,
    close_payload,
    encode_masked,
    parse_close,
)

READ_BYTES: Final = 256 * 1024
"""One read takes a burst of frames."""

SEND_BYTES: Final = 256 * 1024
"""With more than this unsent, a connection is given nothing else to send."""

CLOSE_SECONDS: Final = 1.0
"""How long the server may take to answer a close frame."""

MAX_BYTES: Final = 1 << 40
"""The largest message. The server has a limit; one of the client could only make a log unreadable."""

_MASK_BYTES: Final = 4
_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Connection:
    """An open connection. All but `Waker.set` is for one thread."""

    def __init__(self, sock: socket.socket, already_read: bytes, waker: Waker) -> None:
        """Own a socket behind its handshake. Who waits in `poll` is woken by `waker`."""
        sock.setblocking(False)
        self._sock = sock
        self._parser = Parser(MAX_BYTES, masked=False)
        self._waker = waker
        self._selector = selectors.DefaultSelector()
        self._selector.register(waker, selectors.EVENT_READ)
        self._interest = 0
        self._out: list[bytes] = []
        self._sending = memoryview(b"")
        self._closing = False
        self._lost: ConnectionLost | None = None
        self.unsent = 0
        self.heard = monotonic()
        """When something came last."""
        self._early = self._feed(already_read)

    def send(self, payloads: Sequence[bytes], opcode: int = BINARY) -> None:
        """Queue frames.

        Raises:
            ConnectionLost: the connection has ended.
        """
        self._check()
        # Random bytes for all masks in one call, which besides lets go of the interpreter's lock.
        masks = os.urandom(_MASK_BYTES * len(payloads))
        for start, payload in zip(range(0, len(masks), _MASK_BYTES), payloads, strict=True):
            frame = encode_masked(payload, masks[start : start + _MASK_BYTES], opcode)
            self._out.append(frame)
            self.unsent += len(frame)

    def ping(self) -> None:
        """Queue a ping."""
        self.send([b""], PING)

    def poll(self, timeout: float, *, reading: bool = True, more: bool = False) -> list[bytes]:
        """Send what is queued, wait for something to happen, and return the messages that have come.

        It returns no messages where it was woken, where there is room to send more, after `timeout`
        seconds, and where not `reading`: then the messages are left with the server. Where there is
        `more` to send, it does not wait once all that is queued is sent.

        Raises:
            ConnectionLost: the connection has ended; all that came before was returned.
        """
        self._check()
        self._flush()
        if self._early:
            early, self._early = self._early, []
            return early
        wanted = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if self.unsent else 0)
        decrypted = reading and isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()
        readable = self._wait(wanted, 0 if decrypted or (more and not self.unsent) else timeout)
        return self._receive() if readable or decrypted else []

    def close(self) -> None:
        """End the connection: say so, wait a moment for the answer, and close the socket."""
        try:
            self.send([close_payload(CloseCode.NORMAL)], CLOSE)
            self._closing = True
            deadline = Deadline(CLOSE_SECONDS)
            while not deadline.passed:
                self.poll(deadline.left or 0)
        except ConnectionLost:
            pass  # that is what was wanted
        finally:
            self._selector.close()  # first: a selector must not watch a closed socket
            self._sock.close()

    def drop(self) -> None:
        """Close the socket at once."""
        self._selector.close()
        self._sock.close()

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _flush(self) -> None:
        """Send as much as the socket takes."""
        while self.unsent:
            if not self._sending:
                # One buffer, kept until it is sent: TLS wants to be given the same bytes again.
                self._sending = memoryview(b"".join(self._out))
                self._out.clear()
            try:
                sent = self._sock.send(self._sending)
            except _NOT_NOW:
                return
            except OSError as error:
                raise ConnectionLost(f"the connection is lost: {error}") from error
            self._sending = self._sending[sent:]
            self.unsent -= sent

    def _wait(self, wanted: int, timeout: float) -> bool:
        """Wait for the socket or the waker; say whether there is something to read."""
        if wanted != self._interest:
            self._watch(wanted)
        readable = False
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._waker:
                self._waker.clear()
            elif events & selectors.EVENT_READ:
                readable = True
        return readable

    def _watch(self, wanted: int) -> None:
        if not wanted:
            self._selector.unregister(self._sock)
        elif self._interest:
            self._selector.modify(self._sock, wanted)
        else:
            self._selector.register(self._sock, wanted)
        self._interest = wanted

    def _receive(self) -> list[bytes]:
        try:
            data = self._sock.recv(READ_BYTES)
        except _NOT_NOW:
            return []
        except OSError as error:
            raise ConnectionLost(f"the connection is lost: {error}") from error
        self.heard = monotonic()
        if not data:
            raise ConnectionLost("the connection is lost: the server has gone")
        return self._feed(data)

    def _feed(self, data: bytes) -> list[bytes]:
        """Return the messages of a burst; answer pings, and a close frame."""
        events = self._parser.feed(data)
        messages = [payload for opcode, payload in events if opcode <= BINARY]
        if len(messages) < len(events):
            self._control([event for event in events if event[0] > BINARY])
        if self._parser.error is not None:
            self._end(self._parser.error.close_code, "the server breaks the WebSocket protocol")
        return messages

    def _control(self, events: list[Event]) -> None:
        self.send([payload for opcode, payload in events if opcode == PING], PONG)
        opcode, payload = events[-1]
        if opcode != CLOSE:
            return
        try:
            code, reason = parse_close(payload)
        except FrameError as error:
            self._end(error.close_code, "the server breaks the WebSocket protocol")
        else:
            self._end(code, f"the server closed the connection: {code} {reason}".rstrip(), code)

    def _end(self, code: int, text: str, close_code: int = CloseCode.ABNORMAL) -> None:
        """Have the next call tell that the connection has ended; answer the server (section 5.5.1)."""
        with contextlib.suppress(ConnectionLost):
            if not self._closing:
                self.send([close_payload(code)], CLOSE)
            self._flush()
        self._lost = ConnectionLost(text, close_code)
