"""How messages look: a line to be read, the form of the wire, or an object of JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import click

from gobbler.text import shown, shown_line

if TYPE_CHECKING:
    from gobbler.client import Gap, Message, Receipt

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Renderer:
    """Makes text of what comes; with colours where they can be seen."""

    def __init__(self, colour: bool, verbose: bool = False) -> None:
        """`verbose`: messages whole, as on the wire (docs/protocol.md, Messages)."""
        self._colour = colour
        self._verbose = verbose

    def message(self, message: Message) -> str:
        """Return a message, without the end of its last line."""
        return self._whole(message) if self._verbose else self._line(message)

    def _line(self, message: Message) -> str:
        user = f" {shown_line(message.user_id)}" if message.user_id else ""
        head = self._style(f"{shown_line(message.topic)} {message.id}{user}:", fg="cyan")
        return f"{head} {shown(message.body)}"

    def _whole(self, message: Message) -> str:
        fields = (
            message.topic,
            message.id,
            message.user_id,
            message.application_id,
            message.message_id,
            message.time,
        )
        head = self._style(shown_line(",".join(map(str, fields))), fg="cyan")
        return f"{head}\n{shown(message.raw_headers)}\n{shown(message.body)}"

    def notification(self, text: str) -> str:
        """Return a notification of the protocol, of one line or with JSON in a second."""
        first, end, rest = text.partition("\n")
        head = self._style(shown_line(first), fg="red" if first.startswith("!") else "green")
        return f"{head}{end}{shown_line(rest)}"

    def problem(self, text: str) -> str:
        """Return a text that tells of a failure."""
        return self._style(shown_line(text), fg="red")

    def heading(self, text: str) -> str:
        """Return the head of a table."""
        return self._style(text, bold=True)

    def _style(self, text: str, **how: Any) -> str:
        return click.style(text, **how) if self._colour else text


def message_json(message: Message) -> str:
    """Return a message as one line, like `GET /api/message/<topic>` (docs/rest.md, Messages as JSON)."""
    facts: dict[str, Any] = {
        "id": message.id,
        "path": message.topic,
        "userId": message.user_id,
        "applicationId": message.application_id,
        "messageId": message.message_id,
        "time": message.time,
        "headers": message.headers,
    }
    try:
        facts["body"] = message.body.decode()
    except UnicodeDecodeError:
        facts["bodyBase64"] = b64encode(message.body).decode()
    return _to_json(facts)


def gap_json(gap: Gap) -> str:
    """Return ids that cannot be had any more as one line, like REST."""
    return _to_json({"gap": {"first": gap.first, "last": gap.last}})


def receipt_json(receipt: Receipt) -> str:
    """Return a receipt as one line, with the names that messages have."""
    return _to_json(
        {"id": receipt.id, "path": receipt.topic, "messageId": receipt.message_id, "time": receipt.time}
    )


def record_json(record: object) -> str:
    """Return anything else as one line."""
    return _to_json(record)
