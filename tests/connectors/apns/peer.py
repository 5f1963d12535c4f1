"""The other side of a connection, without a socket: h2's server, fed with bytes."""

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

from gobbler.connectors.apns.answers import Answer
from gobbler.connectors.apns.streams import Exchange, Fields, Result, Streams

HEADERS: Fields = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/3/device/aa"),
    (b"apns-topic", b"com.example.app"),
    (b"apns-id", b"00000000-0000-0000-0000-000000000001"),
]
DEADLINE = 100.0


class Peer:
    """A server that does what a test says, to one client."""

    def __init__(self, streams: Streams, **settings: int) -> None:
        self.streams = streams
        self.h2 = H2Connection(H2Configuration(client_side=False))
        chosen = {SettingCodes[name.upper()]: value for name, value in settings.items()}
        self.h2.local_settings = Settings(client=False, initial_values=chosen)
        self.h2.initiate_connection()
        self.events: list[Event] = []
        self.headers: dict[int, dict[bytes, bytes]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: list[int] = []
        self.resets: list[tuple[int, int]] = []
        self.turn()

    def turn(self) -> None:
        """Have both sides say what they have to, until nothing is left."""
        while (to_server := self.streams.outgoing()) or self.h2._data_to_send:
            if to_server:
                for event in self.h2.receive_data(to_server):
                    self._happened(event)
            if to_client := self.h2.data_to_send():
                self.streams.receive(to_client)

    def _happened(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, RequestReceived):
            headers: Any = event.headers
            self.headers[event.stream_id] = dict(headers)
            self.bodies[event.stream_id] = b""
        elif isinstance(event, DataReceived):
            self.bodies[event.stream_id] += event.data
        elif isinstance(event, StreamEnded):
            self.ended.append(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets.append((event.stream_id, int(event.error_code or 0)))

    def answer(self, stream_id: int, status: int = 200, body: bytes = b"", **headers: str) -> None:
        more = [(name.replace("_", "-"), value) for name, value in headers.items()]
        fields = [(":status", str(status)), *more]
        self.h2.send_headers(stream_id, fields, end_stream=not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)
        self.turn()

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        self.h2.reset_stream(stream_id, code)
        self.turn()

    def update(self, **settings: int) -> None:
        self.h2.update_settings({SettingCodes[name.upper()]: value for name, value in settings.items()})
        self.turn()

    def open_windows(self, *stream_ids: int, size: int = 1_000_000) -> None:
        """Let the client send more: on the connection, and on streams."""
        self.h2.increment_flow_control_window(size)
        for stream_id in stream_ids:
            self.h2.increment_flow_control_window(size, stream_id)
        self.turn()

    def frame(self, frame: Frame) -> None:
        """Send a frame that h2 would not send, or after which it would do nothing more."""
        self.streams.receive(frame.serialize())

    def go_away(self, last_id: int, code: int = 0, text: bytes = b"") -> None:
        self.frame(GoAwayFrame(0, last_stream_id=last_id, error_code=code, additional_data=text))


class Caller:
    """Whoever waits for what becomes of a request."""

    def __init__(self, streams: Streams, payload: bytes = b"{}", deadline: float = DEADLINE) -> None:
        self.results: list[Result] = []
        self.exchange = Exchange(HEADERS, payload, deadline, self.results.append)
        streams.submit(self.exchange)

    @property
    def waits(self) -> bool:
        return not self.results

    @property
    def result(self) -> Result:
        (only,) = self.results
        return only

    @property
    def status(self) -> int:
        assert isinstance(self.result, Answer)
        return self.result.status

    @property
    def handed_back(self) -> bool:
        return self.results == [None]
