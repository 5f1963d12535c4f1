"""Posting to one address, through urllib3's pool of connections that stay open.

A connection that the server closed while it was idle is found out before it is used again. One that
breaks later may have delivered the request: that is not tried again here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import gevent
from urllib3 import HTTPConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ClosedPoolError,
    HTTPError,
    NewConnectionError,
    SSLError,
    TimeoutError,
)
from urllib3.response import BaseHTTPResponse
from urllib3.util import parse_url

from gobbler.connectors.fcm.reply import Reply
from gobbler.connectors.outcome import Outage
from gobbler.errors import ConfigError

ANSWER_BYTES: Final = 64 << 10
"""No answer is read beyond this; FCM's have a few hundred bytes."""

# So that an idle connection that a router has forgotten is found out before it is used again.
_SOCKET_OPTIONS: Final = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds to connect, to wait for the next byte of an answer, and for all of it.

    Google asks for at least 10. The last one counts only where the process is patched by gevent.
    """

    connect: float = 10.0
    read: float = 20.0
    total: float = 40.0


LIMITS: Final = Limits()


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return what connections trust: the certificates of a file, or those of the system.

    Raises:
        ConfigError: the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        raise ConfigError(
            f"--fcm-ca-file: {ca_file} has no certificates to trust ({error.strerror or 'not PEM'})"
        ) from None


class _Late(gevent.Timeout):
    """`Limits.total` is over; a class of its own, as the caller may have a time-out too."""


class Transport:
    """Posts to `url` for at most `connections` greenlets at once; `name` is what errors call it."""

    def __init__(
        self, name: str, url: str, context: ssl.SSLContext, connections: int, limits: Limits
    ) -> None:
        """Connect to nobody yet."""
        self._name = name
        self._target = parse_url(url).request_uri
        self._limits = limits
        manager = PoolManager(
            maxsize=connections,
            block=True,
            retries=False,
            timeout=Timeout(connect=limits.connect, read=limits.read),
            ssl_context=context,
            socket_options=_SOCKET_OPTIONS,
        )
        self._pool: HTTPConnectionPool = manager.connection_from_url(url)

    def close(self) -> None:
        """Close the connections: those in use when their requests are done."""
        self._pool.close()

    def post(self, headers: Mapping[str, str], body: bytes) -> Reply | Outage:
        """Post once, and return the answer or why there is none."""
        try:
            with _Late(self._limits.total):
                return self._post(headers, body)
        except HTTPError as error:
            return self._failure(error)
        except _Late:
            return Outage("TIMEOUT", f"{self._name} did not answer within {self._limits.total:g} s")

    def _post(self, headers: Mapping[str, str], body: bytes) -> Reply:
        response = self._pool.urlopen(
            "POST",
            self._target,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            answer = response.read(ANSWER_BYTES)
            if len(answer) < ANSWER_BYTES and not response.closed:
                response.read(1)  # it raises an error if the answer was cut off
        finally:
            _release(response)
        return Reply(response.status, answer, response.headers.get("Retry-After", ""))

    def _failure(self, error: HTTPError) -> Outage:
        """Say why there is no answer, in words that repeat nothing of what was sent or came."""
        name = self._name
        if isinstance(error, SSLError):
            return Outage("TLS", f"{name}: {error}")
        if isinstance(error, NewConnectionError):
            return Outage("CONNECTION", f"{name} cannot be reached: {error.__cause__}")
        if isinstance(error, TimeoutError):
            return Outage("TIMEOUT", f"{name} did not answer in time")
        if isinstance(error, ClosedPoolError):
            return Outage("STOPPED", "the connector is stopping")
        return Outage("CONNECTION", f"{name} broke the connection off")


def _release(response: BaseHTTPResponse) -> None:
    """Give the connection back; close it first unless the answer was read to its end."""
    if not response.closed:
        response.close()
    response.release_conn()
