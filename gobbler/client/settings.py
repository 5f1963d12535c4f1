"""What can be set of a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Rarely changed; all times in seconds."""

    connect_timeout: float = 10.0
    """For one attempt to connect, handshakes included."""
    ping_interval: float = 20.0
    """A server from which nothing came for so long is pinged; 0 turns that off."""
    ping_timeout: float = 20.0
    """A server that has been silent for so much longer is given up."""
    first_delay: float = 0.1
    """The wait before the first attempt to connect again; it doubles with each."""
    longest_delay: float = 30.0
    """No wait is longer."""
    window: int = 4096
    """How many messages may be published and not answered."""
    window_bytes: int = 8 * 1024 * 1024
    """How many bytes these may have."""
    inbox_bytes: int = 8 * 1024 * 1024
    """How much a subscription holds that has not been read; more stays with the server."""
    ws_prefix: str = "/stream/"
    """Where the server has its WebSockets (`--ws-prefix`)."""
