"""What can go wrong between a client and its server, as one branch of Gobbler's tree of errors.

`gobbler.errors.BadRequest` and what is below it (`InvalidTopic`, `InvalidMessage`, `MessageTooLarge`)
are raised too, for what the caller asks: sending that again cannot help.
"""

from __future__ import annotations

from typing import Final

from gobbler.errors import GobblerError

_MAY_PASS: Final = (404, 408, 425, 429)
"""Statuses below 500 that say something about this moment rather than about the request."""


class ClientError(GobblerError):
    """The root of what a client raises; never raised itself."""

    code = "client"


class NotConnected(ClientError):
    """There is no connection. What was asked has not happened."""

    code = "not-connected"
    retry = True


class ConnectionLost(ClientError):
    """The connection broke; `close_code` is the server's (RFC 6455, 7.4), 1006 where it sent none."""

    code = "connection-lost"
    retry = True

    def __init__(self, text: str, close_code: int = 1006) -> None:
        """`text` says how."""
        super().__init__(text)
        self.close_code = close_code


class Refused(ClientError):
    """The server answered with an HTTP `status` that is no success; `reason` is what it said."""

    code = "refused"

    def __init__(self, status: int, reason: str) -> None:
        """Keep both. A retry may help where the status speaks of the moment (RFC 9110, section 15)."""
        super().__init__(f"{status} {reason}".rstrip())
        self.status = status
        self.reason = reason
        self.retry = status >= 500 or status in _MAY_PASS


class Timeout(ClientError, TimeoutError):
    """Something did not come, or could not begin, in time."""

    code = "timeout"
    retry = True


class PublishFailed(ClientError):
    """The server did not store a message. It may be sent again, unless the text names its fault."""

    code = "publish-failed"


class PublishUnknown(ClientError):
    """A message was sent and not answered: it may be in the log or not.

    Publishing it again may store it twice; with the same message id, readers can tell.
    """

    code = "publish-unknown"
    retry = True


class SubscribeFailed(ClientError):
    """The server did not take a subscription."""

    code = "subscribe-failed"


class FetchFailed(ClientError):
    """The server could not read what was asked for."""

    code = "fetch-failed"
    retry = True


class MessagesLost(ClientError):
    """The messages of a topic with the ids `first` to `last` cannot be had any more.

    They are ids of the partition: not all of them need to have been messages of the topic.
    """

    code = "messages-lost"

    def __init__(self, topic: str, first: int, last: int) -> None:
        """Name what is lost."""
        super().__init__(f"messages {first} to {last} of {topic} are lost")
        self.topic = topic
        self.first = first
        self.last = last


class BadAnswer(ClientError):
    """What the server said is not understood: it may be no Gobbler, or a newer one."""

    code = "bad-answer"


class Closed(ClientError):
    """The client has been closed."""

    code = "closed"
