"""The HTTP listener: gevent's WSGI server on a socket of ours."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Final

import gevent.socket
from gevent.pywsgi import WSGIServer

from gobbler.app import App
from gobbler.errors import ListenError
from gobbler.handler import Connections, Handler
from gobbler.kinds import Address

log = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 4 * 1024 * 1024
"""Room in the kernel for the bursts of a publisher that pipelines, so that it need not stop and go."""

_BACKLOG: Final = 2048


class _Server(WSGIServer):
    """pywsgi's server, which knows its connections."""

    def __init__(self, listener: gevent.socket.socket, app: App) -> None:
        # With a name in the environment, pywsgi does not ask the DNS for one.
        name = {"SERVER_NAME": listener.getsockname()[0]}
        super().__init__(listener, app, handler_class=Handler, log=None, error_log=log, environ=name)
        self.pre_start_hook = app.pre_start_hook
        self.logger = log  # gevent-websocket would make one of its own, with a handler
        self.connections = Connections()


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
        """Accept nothing more, end who waits between two requests, and let the others have their answers.

        Who is still sending after half of the time is ended too: those behind us need theirs.
        """
        server, self._server = self._server, None
        if server is not None:
            server.close()
            server.connections.end(timeout / 2)


def _listen(address: Address) -> gevent.socket.socket:
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
    except socket.gaierror as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
    except OSError as error:  # whose text repeats the address
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ListenError(f"cannot listen on {address}: {reason}") from error
    # Accepted sockets inherit it; without it, headers and body, sent apart, wait 40 ms for each other.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _allowed_buffer() >= RECEIVE_BYTES:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    # The same descriptor as a socket of gevent, also where nothing is patched.
    return gevent.socket.socket(fileno=listener.detach())


def _allowed_buffer() -> int:
    """Return the largest receive buffer that the kernel grants.

    A smaller one than wanted is not asked for: it would only turn off the
    kernel's own tuning, which goes further.
    """
    try:
        return int(Path("/proc/sys/net/core/rmem_max").read_text())
    except (OSError, ValueError):
        return 0
