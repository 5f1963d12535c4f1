"""Requests with a gap for the device's token: all else is the same for all who get a message. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from gobbler.connectors.fcm.payload import Facts, to_json
from gobbler.errors import BadRequest
from gobbler.protocol.message import Message

CACHED: Final = 128
"""How many of the newest templates are kept."""

CACHED_BODY: Final = 8192
"""Those of larger bodies are not, so that the cache stays below a few MiB."""


class Template(NamedTuple):
    """The JSON before and after the token, and what is reported of the notification."""

    before: bytes
    after: bytes
    facts: Facts


class Templates:
    """The templates of messages: each is made once, and not again for each subscriber of its topic.

    `make` returns the template for a message's body and the unix second of its publishing; it
    raises InvalidMessage and MessageTooLarge for what cannot be sent.
    """

    def __init__(self, make: Callable[[bytes, int], Template]) -> None:
        """Begin with none."""
        self._make = make
        self._make_once = lru_cache(CACHED)(make)

    def request(self, message: Message, token: str) -> bytes:
        """Return the body of the request that sends a message to the device with this token.

        Raises: InvalidMessage, MessageTooLarge: it cannot be sent; the text says why.
        """
        before, after, _ = self._template(message)
        return b"%b%b%b" % (before, to_json(token).encode("utf-8", "replace"), after)

    def facts(self, message: Message) -> Facts:
        """Return what is reported of a message; nothing where it cannot be sent."""
        try:
            return self._template(message).facts
        except BadRequest:
            return Facts()

    def _template(self, message: Message) -> Template:
        make = self._make_once if len(message.body) <= CACHED_BODY else self._make
        return make(message.body, message.time)
