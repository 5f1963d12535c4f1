"""One HTTP connection: gevent's WSGI handler, with limits on what a client may send and how slowly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import gevent
from gevent.pywsgi import Input
from geventwebsocket.handler import WebSocketHandler

log = logging.getLogger(__name__)

HEADER_SECONDS: Final = 10.0
"""How long a client may take to send the head of a request."""

IDLE_SECONDS: Final = 75.0
"""How long a connection is kept open for the next request."""

DISCARD_SECONDS: Final = 2.0
DISCARD_BYTES: Final = 16 * 1024 * 1024
"""How long, and how much, is read of a body that was refused, so that its sender gets to see why."""

_PIECE: Final = 64 * 1024
_TIMEOUT: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_BAD: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Connections:
    """The HTTP connections of a server, so that it can end them."""

    def __init__(self) -> None:
        """Begin without any."""
        self._greenlets: dict[Handler, gevent.Greenlet[..., Any]] = {}
        self.ending = False

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<Connections {len(self._greenlets)}{' ending' if self.ending else ''}>"

    def enter(self, handler: Handler) -> None:
        """Have the current greenlet known as the one that serves a connection."""
        self._greenlets[handler] = gevent.getcurrent()

    def leave(self, handler: Handler) -> None:
        """Forget a connection."""
        del self._greenlets[handler]

    def end(self, timeout: float) -> None:
        """End who waits between two requests at once, and the others with their answer or in `timeout` seconds."""
        self.ending = True
        gevent.killall([greenlet for handler, greenlet in self._greenlets.items() if handler.idle], block=False)
        greenlets = list(self._greenlets.values())
        gevent.joinall(greenlets, timeout)
        gevent.killall(greenlets, timeout=1)


class Handler(WebSocketHandler):  # type: ignore[misc]
    """Serves one connection of a server that has `connections`."""

    idle = False

    def handle(self) -> None:
        """Serve requests until the client, or the server, has had enough."""
        connections: Connections = self.server.connections
        connections.enter(self)
        try:
            super().handle()
        finally:
            connections.leave(self)

    def read_requestline(self) -> str:
        """Wait for the next request; nobody minds when the connection ends here."""
        if self.server.connections.ending:
            return ""
        self.idle = True
        line = ""
        with suppress(TimeoutError), gevent.Timeout(IDLE_SECONDS, TimeoutError()):
            line = str(super().read_requestline())
        self.idle = False
        return line

    def read_request(self, raw_requestline: str) -> Any:
        """Read the head of a request. Raises: ValueError: it is none; TimeoutError: it takes too long."""
        with gevent.Timeout(HEADER_SECONDS, TimeoutError("the head of the request did not arrive")):
            read = super().read_request(raw_requestline)
        _check_framing(self.headers)
        return read

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Begin an answer; the last one of a connection says so (RFC 9112, section 9.6)."""
        if self.server.connections.ending and not status.startswith("101"):
            headers = [*headers, ("Connection", "close")]
        return super().start_response(status, headers, exc_info)

    def run_application(self) -> None:
        """Answer a request, and be done with its body."""
        try:
            super().run_application()
        finally:
            self._discard_body()

    def _discard_body(self) -> None:
        """Read what the application left of the body; where that is too much, the connection ends.

        pywsgi would do it without a limit, and take what it could not read for the next request.
        """
        body, self.wsgi_input = self.wsgi_input, Input(self.rfile, None)
        if body.position >= (body.content_length or 0) and not body.chunked_input:
            return
        waits = body.socket is not None  # for `100 Continue`, which it will never see
        self.close_connection = self.close_connection or waits or not _read_out(body.read)

    def _connection_upgrade_requested(self) -> bool:
        """Say that a body has its usual end: pywsgi would let the application read beyond it."""
        return False

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes] | None:
        if isinstance(ex, TimeoutError):
            return "408", _TIMEOUT
        if isinstance(ex, OSError):  # the connection is gone
            return None
        log.info("bad request from %s: %s", self.client_address, ex)
        return "400", _BAD

    def _log_error(self, t: Any, v: Any, tb: Any) -> None:
        if not issubclass(t, gevent.GreenletExit):
            log.error("a request failed", exc_info=(t, v, tb))

    def log_request(self) -> None:
        """Leave requests out of the log; they are counted."""


def _check_framing(headers: Any) -> None:
    """Refuse a head that others might read with another end of the body (RFC 9112, section 6.3).

    Raises:
        ValueError: it is such a head.
    """
    codings = headers.get_all("transfer-encoding", [])
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        raise ValueError("a transfer coding other than chunked")
    lengths = set(headers.get_all("content-length", []))
    if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
        raise ValueError("an unclear length")


def _read_out(read: Callable[[int], bytes]) -> bool:
    """Read to the end, within limits; say whether it was reached."""
    with suppress(OSError), gevent.Timeout(DISCARD_SECONDS, TimeoutError()):
        for _ in range(DISCARD_BYTES // _PIECE):
            if not read(_PIECE):
                return True
    return False
