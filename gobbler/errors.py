"""Every error that Gobbler raises on purpose, in one tree.

Each class carries a `code` (the word that the wire, the logs and the metrics
use for it) and `retry`: whether the same request may succeed later.
This module imports nothing, so that every other module may import it.
"""


class GobblerError(Exception):
    """The root of all errors; never raised itself."""

    code = "internal"
    retry = False


class BadRequest(GobblerError):
    """What the client sent cannot be understood or is not allowed; sending it again cannot help."""

    code = "bad-request"


class InvalidTopic(BadRequest):
    """A path breaks the rules for topics (spec: Topics)."""

    code = "invalid-topic"


class InvalidMessage(BadRequest):
    """A message's id, headers or filters break the rules."""

    code = "invalid-message"


class InvalidCommand(BadRequest):
    """A WebSocket command cannot be parsed."""

    code = "invalid-command"


class MessageTooLarge(BadRequest):
    """A message is larger than `--max-message-size`."""

    code = "too-large"


class FrameError(GobblerError):
    """A peer broke RFC 6455; the connection is closed with `close_code` (section 7.4.1)."""

    code = "frame"

    def __init__(self, close_code: int, reason: str) -> None:
        """Keep the close code and the reason (UTF-8, at most 123 bytes on the wire)."""
        super().__init__(f"{close_code} {reason}")
        self.close_code = close_code
        self.reason = reason


class StoreError(GobblerError):
    """The message store could not do what it was asked."""

    code = "store"


class StoreUnavailable(StoreError):
    """The store cannot write or read now (disk full, stopping, a failing disk)."""

    code = "store-unavailable"
    retry = True


class StoreLocked(StoreError):
    """Another server uses the storage path."""

    code = "store-locked"


class StoreCorrupt(StoreError):
    """Stored bytes fail their checksum or cannot be parsed."""

    code = "store-corrupt"


class KVError(GobblerError):
    """The key-value store could not do what it was asked."""

    code = "kvstore"
    retry = True


class ConfigError(GobblerError):
    """An option has a value that cannot be used; the server does not start."""

    code = "config"


class Stopping(GobblerError):
    """The server is shutting down and takes nothing new."""

    code = "stopping"
    retry = True


class Unhealthy(GobblerError):
    """A health check found something wrong; its text may be shown to anyone."""

    code = "unhealthy"
    retry = True


class ListenError(GobblerError):
    """The address to listen on cannot be had."""

    code = "listen"
