"""One HTTP connection: gevent's WSGI handler, with limits on what a client may send and how slowly."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Final, cast

import gevent
from gevent.pywsgi import Input
from geventwebsocket.handler import WebSocketHandler

from gobbler.service import end

log = logging.getLogger(__name__)

HEADER_SECONDS: Final = 10.0
"""How long a client may take to send the head of a request."""

IDLE_SECONDS: Final = 75.0
"""How long a connection is kept open for the next request."""

DISCARD_SECONDS: Final = 2.0
DISCARD_BYTES: Final = 16 * 1024 * 1024
"""How long, and how much, is read of a body that was refused, so that its sender gets to see why."""

END_SECONDS: Final = 1.0
"""How long the end of a server waits for connections that have been told to end."""

_PIECE: Final = 64 * 1024


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
        self._greenlets[handler] = cast("gevent.Greenlet[..., Any]", gevent.getcurrent())

    def leave(self, handler: Handler) -> None:
        """Forget a connection."""
        del self._greenlets[handler]

    def end(self, timeout: float) -> None:
        """End who waits between two requests at once, the others with their answer or after `timeout` s."""
        self.ending = True
        gevent.killall(
            [greenlet for handler, greenlet in self._greenlets.items() if handler.idle], block=False
        )
        greenlets = list(self._greenlets.values())
        gevent.joinall(greenlets, timeout)
        end(greenlets, END_SECONDS)


class Handler(WebSocketHandler):  # type: ignore[misc]
    """Serves one connection of a server that has `connections`."""

    idle = False
    close_connection: bool
    rfile: Any
    socket: Any
    wsgi_input: Input

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
        except gevent.GreenletExit:  # the server ends: nobody waits for the rest of a body
            self.wsgi_input = Input(self.rfile, None)
            self.close_connection = True
            raise
        finally:
            self._discard_body()

    def _discard_body(self) -> None:
        """Read what the application left of the body; where that is too much, the connection ends.

        Closed before, the connection would be reset and the answer could be lost. pywsgi would
        read without a limit, and take what it could not read for the next request.
        """
        body, self.wsgi_input = self.wsgi_input, Input(self.rfile, None)
        if body.position >= (body.content_length or 0) and not body.chunked_input:
            return
        # A socket here: the client waits for `100 Continue`, which it will never see.
        if body.socket is not None or not _read_out(body.read):
            self.close_connection = True

    def _connection_upgrade_requested(self) -> bool:
        """Say that a body has its usual end: pywsgi would let the application read beyond it."""
        return False

    def _handle_client_error(self, ex: Exception) -> None:
        """Refuse a head: answer, and read on for a moment, so that closing does not destroy the answer."""
        if isinstance(ex, OSError) and not isinstance(ex, TimeoutError):
            return  # the connection is gone
        log.info("bad request from %s: %s", self.client_address, ex)
        with suppress(OSError):
            self.socket.sendall(
                b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % _refusal(ex)
            )
            self.socket.shutdown(socket.SHUT_WR)
            _read_out(self.rfile.read1)

    def _log_error(self, t: Any, v: Any, tb: Any) -> None:
        if not issubclass(t, gevent.GreenletExit):
            log.error("a request failed", exc_info=(t, v, tb))

    def log_request(self) -> None:
        """Leave requests out of the log; they are counted."""


def _refusal(error: Exception) -> bytes:
    """Return the status of a head that is refused (RFC 9110, section 15.5; RFC 6585, section 5)."""
    if isinstance(error, TimeoutError):
        return b"408 Request Timeout"
    too_many = isinstance(error, HTTPException)  # headers: more than 100
    return b"431 Request Header Fields Too Large" if too_many else b"400 Bad Request"


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
