"""kafka-python's producer, made fit for a server: it can be given up at any time, and it is quiet.

kafka-python does its work in threads of `threading`. In the server, whose process is patched, they
are greenlets; what they compute between two waits (a batch of 16 KiB at a time) holds up the event loop.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kafka import KafkaProducer
from kafka.errors import KafkaError

from gobbler.errors import ConfigError
from gobbler.reporting.network import Client

CLOSE_SECONDS: Final = 1.0
"""What the producer's own thread takes, at most, to see that it has been given up."""

CONFIGURATION: Final[Mapping[str, Any]] = {
    "client_id": "gobbler",
    "acks": "all",
    # A broker that comes back without its memory refuses everything of an idempotent producer, and
    # many clusters allow idempotence to nobody. So a lost answer can make an event come twice.
    "enable_idempotence": False,
    # One request at a time keeps the order when one has to be sent again.
    "max_in_flight_requests_per_connection": 1,
    "bootstrap_timeout_ms": 5_000,
    "max_block_ms": 5_000,
    "request_timeout_ms": 10_000,
    "reconnect_backoff_max_ms": 1_000,
    "metrics_enabled": False,
}


@dataclass(frozen=True, slots=True)
class Access:
    """Where the brokers are (`host:port`), and how to talk to them: the options `--kafka-...`."""

    brokers: tuple[str, ...]
    security: str = "plaintext"
    ca_file: Path | None = None
    mechanism: str = "PLAIN"
    user: str = ""
    password: str = field(default="", repr=False)

    def configuration(self) -> dict[str, Any]:
        """Return it in kafka-python's words. Raises: ConfigError when the certificates cannot be used."""
        words: dict[str, Any] = {
            "bootstrap_servers": ",".join(self.brokers),
            "security_protocol": self.security.upper(),
        }
        if self.security.endswith("ssl"):
            words["ssl_context"] = self._context()
        if self.security.startswith("sasl"):
            words |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return words

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # an SSLError is one too: the file holds no certificate
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"--kafka-ca-file: {str(self.ca_file)!r} cannot be used: {reason}") from error


class Producer(KafkaProducer):  # type: ignore[misc]
    """A producer that closes at once; `connect` makes it."""

    def __init__(self, client: Callable[..., Client], configuration: Mapping[str, Any]) -> None:
        """Find the brokers, which may take five seconds, with the client that `client` makes.

        Raises: KafkaError, OSError or ValueError when that fails; then the client has to be closed.
        """
        super().__init__(kafka_client=client, **CONFIGURATION, **configuration)

    def __del__(self) -> None:
        """Do nothing: the original waits, raises, and turns off logging for all producers."""

    def abort(self) -> None:
        """Close without sending what is left: its futures fail, but for those that are done."""
        self._sender.force_close()
        self._sender.join(CLOSE_SECONDS)
        with suppress(KafkaError):  # the thread hangs, and so its futures are not done
            self.close(timeout=0)


def connect(configuration: Mapping[str, Any], notice: Callable[[Client], None]) -> Producer:
    """Return a producer that has found its brokers; `notice` learns of the client before the search.

    Raises: KafkaError, OSError or ValueError when they are not found, or do not let us in.
    """
    clients: list[Client] = []

    def client(**words: Any) -> Client:
        clients.append(Client(**words))
        notice(clients[0])
        return clients[0]

    try:
        return Producer(client, configuration)
    except BaseException:
        for made in clients:
            made.close()
        raise
