"""What a client is given: messages, receipts and gaps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from gobbler.client.errors import BadAnswer

_SHOWN: Final = 40


@dataclass(slots=True, repr=False)
class Message:
    """A published message.

    `id` grows in a partition; user id, application id and message id are the publisher's; `time` is that
    of publishing, in unix seconds; `raw_headers` is a JSON object or empty.
    """

    topic: str
    id: int
    user_id: str
    application_id: str
    message_id: str
    time: int
    raw_headers: bytes
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        """The application's headers; decoded anew each time."""
        headers: dict[str, Any] = json.loads(self.raw_headers) if self.raw_headers else {}
        return headers

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 become replacement characters."""
        return self.body.decode(errors="replace")

    def __repr__(self) -> str:
        """Show the topic, the id, and how the body begins."""
        body = self.body if len(self.body) <= _SHOWN else self.body[:_SHOWN] + b"..."
        return f"<Message {self.topic} {self.id} {body!r}>"

    @classmethod
    def decode(cls, payload: bytes) -> Message:
        """Decode a message from the wire (docs/protocol.md, Messages).

        Raises:
            BadAnswer: these bytes are none.
        """
        # Once for every message that is received: only what tells a message from something else is
        # checked, the rest the server has checked at its door.
        try:
            head, raw_headers, body = payload.split(b"\n", 2)
            topic, id, user_id, application_id, message_id, time = head.decode().split(",")
            return cls(topic, int(id), user_id, application_id, message_id, int(time), raw_headers, body)
        except ValueError:
            raise BadAnswer("the server sent a message that is none") from None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A published message is in the log. `time` is in unix seconds."""

    id: int
    topic: str
    message_id: str
    time: int

    @classmethod
    def decode(cls, raw: bytes) -> Receipt:
        """Decode the object of an answer to a send (docs/protocol.md, Send).

        Raises:
            BadAnswer: these bytes are none.
        """
        try:
            facts = json.loads(raw)
            return cls(
                int(facts["sequenceId"]),
                facts["path"],
                facts["publisherMessageId"],
                int(facts["messagePublishingTime"]),
            )
        except (ValueError, KeyError, TypeError):
            raise BadAnswer("the server sent a receipt that is none") from None


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a topic, with the ids `first` to `last`, that cannot be had any more.

    They are ids of the partition: not all of them need to have been messages of the topic.
    """

    topic: str
    first: int
    last: int

    @property
    def id(self) -> int:
        """The last id: a gap has its place among messages."""
        return self.last
