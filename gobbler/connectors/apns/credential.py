"""What lets the server push: the seam between a sender and its credentials."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol

from gobbler.errors import ConfigError


class Credential(Protocol):
    """A certificate or a provider token."""

    cautious: bool
    """Whether a connection allows only one stream until a push on it succeeds."""

    def load(self, context: ssl.SSLContext) -> None:
        """Read what is needed, and put what belongs to TLS into `context`.

        Raises: ConfigError that says why it cannot be used; nothing of a secret is in it.
        """

    def authorization(self) -> bytes | None:
        """Return the value of the request's header, where it has one."""

    def renew(self, used: bytes | None) -> bool:
        """Have another `authorization` than the one that was `used` and is too old; say if there is one."""


def read(path: Path, what: str) -> bytes:
    """Return what is in a credential's file. Raises: ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror or 'cannot be read'}") from None
