"""kafka-python's connections, made fit for a server that lives through long outages.

What stands here takes the place of parts of kafka-python 3.0 that, while a broker is away, leave
sockets open, wait for ever, or run in circles. Each says what the original does.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from socket import socket as Socket
from typing import Any, Final

from kafka.errors import KafkaConnectionError, KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket, create_connection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

CLOSING: Final = "closing"
"""The scheme under which kafka-python finds `ClosingSocket`: it knows its kinds of sockets by URLs."""


class ClosingSocket(KafkaNetSocket):  # type: ignore[misc]
    """Opens connections; closes the socket of one that fails, which the original leaves to the collector."""

    SCHEMES = (CLOSING,)

    def socket(self, *args: Any, **kwargs: Any) -> Socket:
        """Make a socket."""
        made: Socket = super().socket(*args, **kwargs)
        self._socket = made
        return made

    async def connect(self, *args: Any, **kwargs: Any) -> Socket:
        """Connect. Raises: KafkaError or OSError when that fails."""
        try:
            connected: Socket = await super().connect(*args, **kwargs)
        except BaseException:
            self._socket.close()
            raise
        return connected


class TLSTransport(KafkaSSLTransport):  # type: ignore[misc]
    """TLS whose handshake ends some time; the original waits for ever for a peer that says nothing."""

    timeout_at: float | None = None

    async def handshake(self) -> None:
        """Agree with the peer. Raises: OSError when that fails, KafkaTimeoutError when it takes too long."""
        while True:
            try:
                self._sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                await self._net.wait_read(self._sock, timeout_at=self.timeout_at)
            except ssl.SSLWantWriteError:
                await self._net.wait_write(self._sock, timeout_at=self.timeout_at)


class Manager(KafkaConnectionManager):  # type: ignore[misc]
    """Keeps the connections, and the times at which a broker is left alone."""

    def reset_backoff(self, node_id: object) -> None:
        """Forget that a broker (or the search for one, `metadata`) has failed.

        The original calls this, too, after a broker has closed a new connection at once (a load balancer
        without a backend does) or has refused a login, and then connects a thousand times a second.
        """
        connection = self._conns.get(node_id)
        if node_id == "metadata" or (connection is not None and connection.connected):
            super().reset_backoff(node_id)
        else:
            self.update_backoff(node_id)

    def close(self, node_id: object = None, timeout_ms: float | None = None) -> None:
        """Close the connection to one broker, or all.

        The original leaves a socket open whose connection has something to send: nobody sends it any more.
        """
        connections = self._conns.values() if node_id is None else (self._conns.get(node_id),)
        transports = [connection.transport for connection in connections if connection is not None]
        super().close(node_id, timeout_ms)
        for transport in transports:
            if transport is not None:  # it has connected
                transport._close()

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> KafkaTCPTransport:
        """Connect to a broker; the original leaves the socket open when the handshake fails."""
        sock = await create_connection(
            self._net,
            node.host,
            node.port,
            self.config["socket_options"],
            proxy_url=f"{CLOSING}://",
            timeout_at=timeout_at,
        )
        transport = self._transport(sock, node.host, timeout_at)
        try:
            await transport.handshake()
        except (KafkaError, OSError) as error:
            transport.close()
            raise KafkaConnectionError(f"Handshake failed: {error}") from error
        except BaseException:  # given up
            transport.close()
            raise
        return transport

    def _transport(self, sock: Socket, host: str, timeout_at: float | None) -> KafkaTCPTransport:
        if not self.ssl_enabled:
            return KafkaTCPTransport(self._net, sock, host=host)
        transport = TLSTransport(self._net, sock, host=host, ssl_context=self.config["ssl_context"])
        transport.timeout_at = timeout_at
        return transport


class Client(KafkaNetClient):  # type: ignore[misc]
    """The network client that a producer uses."""

    def __init__(self, **configuration: Any) -> None:
        """Connect to nobody yet."""
        net = NetworkSelector(**configuration)
        super().__init__(net=net, manager=Manager(net, **configuration), **configuration)

    def connection_delay(self, node_id: object) -> float:
        """Return how long a broker is left alone, in milliseconds, as the producer takes it.

        The original returns seconds, and the producer then asks a thousand times a second.
        """
        return float(super().connection_delay(node_id) * 1000)

    def maybe_connect(self, node_id: object, **kwargs: object) -> None:
        """Begin to connect to a broker that is not left alone.

        Where the original raises (the broker is not known any more), the producer's thread would try
        again at once, for ever, without giving anyone else a turn.
        """
        try:
            super().maybe_connect(node_id, **kwargs)
        except KafkaError:
            self._manager.update_backoff(node_id)

    def give_up(self) -> None:
        """End a search for brokers that goes on in another thread: it fails there."""
        with suppress(RuntimeError):  # it is closed already
            self._net.call_soon_threadsafe(self._manager.close)
