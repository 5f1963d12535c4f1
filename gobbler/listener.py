"""The HTTP listener: gevent's WSGI server, with limits on how long a client may take."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import gevent
from gevent.pywsgi import WSGIServer
from geventwebsocket.handler import WebSocketHandler

from gobbler.app import App
from gobbler.errors import ListenError
from gobbler.kinds import Address

log = logging.getLogger(__name__)

HEADER_SECONDS: Final = 10.0
"""How long a client may take to send the head of a request."""

IDLE_SECONDS: Final = 75.0
"""How long a connection is kept open for the next request."""

RECEIVE_BYTES: Final = 4 * 1024 * 1024
"""Room in the kernel for the bursts of a publisher that pipelines, so that it need not stop and go."""

_BACKLOG: Final = 2048
_TIMEOUT: Final = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Handler(WebSocketHandler):  # type: ignore[misc]
    """One HTTP connection."""

    def handle(self) -> None:
        """Serve requests until the client, or the server, has had enough."""
        self.server.handlers[self] = gevent.getcurrent()
        try:
            super().handle()
        finally:
            del self.server.handlers[self]

    def read_requestline(self) -> str:
        """Wait for the next request; nobody minds when the connection ends here."""
        self.idle = True
        line = ""
        with suppress(TimeoutError), gevent.Timeout(IDLE_SECONDS, TimeoutError()):
            line = str(super().read_requestline())
        self.idle = False
        return line

    def read_request(self, raw_requestline: str) -> Any:
        """Read the head of a request."""
        with gevent.Timeout(HEADER_SECONDS, TimeoutError("the head of the request did not arrive")):
            return super().read_request(raw_requestline)

    def _handle_client_error(self, ex: Exception) -> Any:
        if isinstance(ex, TimeoutError):
            return "408", _TIMEOUT
        return super()._handle_client_error(ex)

    def log_request(self) -> None:
        """Leave requests out of the log; they are counted."""


class _Server(WSGIServer):
    """pywsgi's server, which knows its handlers."""

    def __init__(self, listener: socket.socket, app: App) -> None:
        super().__init__(listener, app, handler_class=Handler, log=None, error_log=log)
        self.pre_start_hook = app.pre_start_hook
        self.logger = log  # gevent-websocket would make one of its own, with a handler
        self.handlers: dict[Handler, gevent.Greenlet[..., Any]] = {}


class Listener:
    """Accepts connections and serves the application on them."""

    def __init__(self, app: App, address: Address) -> None:
        """Nothing is bound before `start`."""
        self._app = app
        self._address = address
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """Return the port; the one that the system chose where 0 was asked for."""
        return self._server.server_port or 0 if self._server is not None else self._address.port

    def start(self) -> None:
        """Bind and begin to accept.

        Raises:
            ListenError: the address cannot be had.
        """
        self._server = _Server(_listen(self._address), self._app)
        self._server.start()
        log.info("listening on %s, port %d", self._address.host or "all interfaces", self.port)

    def stop(self, timeout: float) -> None:
        """Accept nothing more; let running requests finish, and end who waits between two."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        idle = [greenlet for handler, greenlet in server.handlers.items() if handler.idle]
        busy = [greenlet for handler, greenlet in server.handlers.items() if not handler.idle]
        for handler in server.handlers:
            handler.close_connection = True
        gevent.killall(idle, block=False)
        gevent.joinall(busy, timeout)
        gevent.killall([greenlet for greenlet in busy if not greenlet.dead], timeout=1)


def _listen(address: Address) -> socket.socket:
    """Open the listening socket: on both IPv4 and IPv6 where no host is named.

    Raises:
        ListenError: the address cannot be had.
    """
    host = address.host
    try:
        if not host and socket.has_dualstack_ipv6():
            listener = socket.create_server(
                ("::", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
    # Accepted sockets inherit it; without it, headers and body, sent apart, wait 40 ms for each other.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _allowed_buffer() >= RECEIVE_BYTES:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    return listener


def _allowed_buffer() -> int:
    """Return the largest receive buffer that the kernel grants.

    A smaller one than wanted is not asked for: it would only turn off the
    kernel's own tuning, which goes further.
    """
    try:
        return int(Path("/proc/sys/net/core/rmem_max").read_text())
    except (OSError, ValueError):
        return 0
