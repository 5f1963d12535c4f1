"""HTTP/2 as a client of APNs needs it, without a socket: exchanges go in, bytes come out and go in.

Built on h2, which knows the frames and the windows; here are the slots, what waits
for one, and what becomes of whom when a stream or the connection ends (RFC 9113).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from h2 import events
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from gobbler.connectors.apns.answers import Answer, pause_of, reason_of
from gobbler.connectors.apns.client import ClientConnection
from gobbler.connectors.outcome import Outage, Pause

log = logging.getLogger(__name__)

MAX_STREAMS: Final = 1000
"""How many requests are under way on one connection, where the peer allows as many or more."""

ANSWER_BYTES: Final = 64 * 1024
"""How much of an answer's body is kept; APNs' have some 100 bytes."""

_PING: Final = b"gobbler."
_LAST_STREAM_ID: Final = 2**31 - 1

Result = Answer | Outage | Pause | None
"""What becomes of an exchange. None: the peer has not looked at the request; it can be sent again at once."""

Fields = list[tuple[bytes, bytes]]


class Exchange:
    """A request and what becomes of it; `done` is called once, and may not wait."""

    __slots__ = ("body", "deadline", "done", "headers", "left", "retry_after", "status", "stream_id")

    def __init__(
        self, headers: Fields, payload: bytes, deadline: float, done: Callable[[Result], object]
    ) -> None:
        """Take the request, and until when somebody waits for the answer (by the connection's clock)."""
        self.headers = headers
        self.deadline = deadline
        self.done = done
        self.stream_id = 0
        self.left = payload
        self.status = 0
        self.retry_after = b""
        self.body = b""


class Streams:
    """The client's side of one connection. Whoever calls it takes `outgoing` and sends it."""

    def __init__(self, *, cautious: bool) -> None:
        """Begin; `cautious`: with one stream, until a push succeeds or the peer allows more."""
        self._h2 = ClientConnection()
        self._h2.initiate_connection()
        self._waiting: deque[Exchange] = deque()
        self._open: dict[int, Exchange] = {}
        self._blocked: deque[Exchange] = deque()
        self._next_id = 1
        self._cautious = cautious
        self.ready = False
        """Whether the peer's first SETTINGS are there."""
        self.accepting = True
        """Whether there may be new exchanges."""
        self._handlers: Mapping[type[events.Event], Callable[[Any], None]] = {
            events.ResponseReceived: self._answered,
            events.DataReceived: self._received,
            events.StreamEnded: self._ended,
            events.StreamReset: self._reset,
            events.RemoteSettingsChanged: self._settings,
            events.ConnectionTerminated: self._going_away,
        }

    def __repr__(self) -> str:
        """Show how many exchanges there are."""
        state = "accepting" if self.accepting else "ending"
        return f"<Streams {state} open={len(self._open)} waiting={len(self._waiting)} slots={self.slots}>"

    @property
    def slots(self) -> int:
        """How many streams may be open."""
        return min(self._h2.remote_settings.max_concurrent_streams, 1 if self._cautious else MAX_STREAMS)

    @property
    def finished(self) -> bool:
        """Whether nothing is under way, and nothing will be."""
        return not self.accepting and not self._open

    def submit(self, exchange: Exchange) -> None:
        """Have a request sent as soon as there is a slot. Only while `accepting`."""
        self._waiting.append(exchange)

    def outgoing(self) -> bytes:
        """Open streams for what waits, as many as may be, and return all that has to be sent now."""
        for _ in range(len(self._blocked)):
            self._send(self._blocked.popleft())
        room = self.slots - len(self._open)
        # While something waits for a window, more streams would only wait with it.
        while room > 0 and self._waiting and not self._blocked:
            self._begin(self._waiting.popleft())
            room -= 1
        return self._h2.data_to_send()

    def receive(self, data: bytes) -> None:
        """Take what the peer has sent. Raises: h2.exceptions.ProtocolError: it breaks the protocol."""
        for event in self._h2.receive_data(data):
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event)

    def ping(self) -> None:
        """Have the peer say something."""
        self._h2.ping(_PING)

    def cancel(self, exchange: Exchange) -> None:
        """Forget an exchange that nobody waits for any more; it is not done."""
        if exchange.stream_id in self._open:
            self._close([exchange])
        elif exchange in self._waiting:
            self._waiting.remove(exchange)

    def expire(self, now: float) -> None:
        """End the exchanges whose deadline is over."""
        for exchange in [each for each in self._waiting if each.deadline <= now]:
            self._waiting.remove(exchange)
            exchange.done(Outage("timeout", "there was no free stream in time"))
        late = [each for each in self._open.values() if each.deadline <= now]
        self._close(late)
        for exchange in late:
            exchange.done(Outage("timeout", "APNs did not answer in time"))

    def finish(self) -> None:
        """Take no more; what is under way goes on, what waits does not."""
        self.accepting = False
        self._hand_back(self._waiting)

    def goodbye(self) -> bytes:
        """Return what says to the peer that the connection ends."""
        self._h2.close_connection()
        return self._h2.data_to_send()

    def end(self, result: Outage | Pause) -> None:
        """The connection is gone: nobody knows what became of what is under way."""
        self.finish()
        lost, self._open = self._open, {}
        self._blocked.clear()
        for exchange in lost.values():
            exchange.done(result)

    # Requests

    def _begin(self, exchange: Exchange) -> None:
        exchange.stream_id = self._next_id
        self._next_id += 2
        self._open[exchange.stream_id] = exchange
        self._h2.send_headers(exchange.stream_id, exchange.headers)
        self._send(exchange)
        if self._next_id > _LAST_STREAM_ID:
            self.finish()

    def _send(self, exchange: Exchange) -> None:
        """Send of a payload what the windows of the stream and of the connection allow."""
        h2, stream_id = self._h2, exchange.stream_id
        while True:
            size = min(h2.local_flow_control_window(stream_id), h2.max_outbound_frame_size)
            if size >= len(exchange.left):
                h2.send_data(stream_id, exchange.left, end_stream=True)
                exchange.left = b""
                return
            if size <= 0:  # less than nothing: the peer may shrink windows
                self._blocked.append(exchange)
                return
            h2.send_data(stream_id, exchange.left[:size])
            exchange.left = exchange.left[size:]

    def _close(self, exchanges: Iterable[Exchange]) -> None:
        """Reset streams that are not over, and give their slots to others."""
        for exchange in exchanges:
            del self._open[exchange.stream_id]
            self._unblock(exchange)
            self._h2.reset_stream(exchange.stream_id, ErrorCodes.CANCEL)
        self._h2.forget_closed()

    def _unblock(self, exchange: Exchange) -> None:
        if exchange in self._blocked:
            self._blocked.remove(exchange)

    def _hand_back(self, exchanges: deque[Exchange]) -> None:
        while exchanges:
            exchanges.popleft().done(None)

    # Events. Streams that nobody waits for any more are unknown here.

    def _answered(self, event: events.ResponseReceived) -> None:
        exchange = self._open.get(event.stream_id)
        if exchange is None:
            return
        for name, value in event.headers:
            if name == b":status" and value.isdigit():
                exchange.status = int(value)
            elif name == b"retry-after":
                exchange.retry_after = value
        if exchange.status == 200:
            self._cautious = False

    def _received(self, event: events.DataReceived) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        exchange = self._open.get(event.stream_id)
        if exchange is not None and len(exchange.body) < ANSWER_BYTES:
            exchange.body += event.data

    def _ended(self, event: events.StreamEnded) -> None:
        exchange = self._open.get(event.stream_id)
        if exchange is None:
            return
        if exchange.left:  # answered before the request was whole
            self._close([exchange])
        else:
            del self._open[event.stream_id]
            del self._h2.streams[event.stream_id]
        exchange.done(Answer(exchange.status, exchange.body, exchange.retry_after))

    def _reset(self, event: events.StreamReset) -> None:
        exchange = self._open.pop(event.stream_id, None)
        if exchange is None:
            return
        self._unblock(exchange)
        del self._h2.streams[event.stream_id]
        if event.error_code == ErrorCodes.REFUSED_STREAM:
            exchange.done(None)
        else:
            exchange.done(Outage("stream-reset", f"APNs ended the stream with {_name(event.error_code)}"))

    def _settings(self, event: events.RemoteSettingsChanged) -> None:
        if self.ready and SettingCodes.MAX_CONCURRENT_STREAMS in event.changed_settings:
            self._cautious = False
        self.ready = True

    def _going_away(self, event: events.ConnectionTerminated) -> None:
        """Hand back what the peer will not look at. It may come again, with a smaller last id."""
        reason = reason_of(event.additional_data or b"")
        last = event.last_stream_id or 0
        unseen = [exchange for stream_id, exchange in self._open.items() if stream_id > last]
        log.info(
            "APNs ends a connection: %s, %d requests under way, %d of them unseen",
            reason or _name(event.error_code),
            len(self._open),
            len(unseen),
        )
        for exchange in unseen:
            del self._open[exchange.stream_id]
            self._unblock(exchange)
        pause = pause_of(reason)
        for exchange in [*unseen, *self._waiting]:
            exchange.done(pause)
        self._waiting.clear()
        self.accepting = False


def _name(code: ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else f"error {code}"
