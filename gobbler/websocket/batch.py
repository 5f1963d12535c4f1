"""Sends of one client to one path, gathered into a run.

Whoever publishes much sends bursts to one path. A send like the ones before it
is taken by looking at its beginning; only the first one, and unusual ones, are
parsed.
"""

from __future__ import annotations

from typing import Final

from gobbler.protocol.command import Send
from gobbler.protocol.message import MAX_FIELD_BYTES, PLAIN
from gobbler.protocol.run import Run

_NO_HEAD: Final = b"\xff"  # begins no command


class Batch:
    """Consecutive sends to `path`, until something else comes.

    `head` is how a send without message id and headers begins, up to its body.
    What follows the head's first line feed is already the end of the message
    as subscribers get it (`Run.tails`), so that for such a send nothing is
    left to do but to append to `tails`.
    """

    __slots__ = ("_named", "_names", "head", "path", "tails")

    def __init__(self, path: bytes = b"") -> None:
        """Begin to gather sends to a canonical path; without one, no send is like it."""
        self.path = path
        self.head = b"> %b\n\n" % path if path else _NO_HEAD
        self._named = b"> %b " % path if path else _NO_HEAD
        self._names: list[bytes] = []
        self.tails: list[bytes] = []

    def take(self, payload: bytes) -> bool:
        """Take a send with a message id and without headers; say whether it was one, to this path."""
        if not payload.startswith(self._named):
            return False
        name, _, tail = payload[len(self._named) :].partition(b"\n")
        if tail[:1] != b"\n" or not name or name.translate(None, PLAIN) or len(name) > MAX_FIELD_BYTES:
            return False  # for the parser to look at
        self._append(name, tail)
        return True

    def add(self, send: Send) -> bool:
        """Take a parsed send; say whether it was one to this path."""
        if send.path != self.path:
            return False
        tail = b"%b\n%b" % (send.headers, send.body)
        if send.message_id:
            self._append(send.message_id, tail)
        else:
            self.tails.append(tail)
        return True

    def _append(self, name: bytes, tail: bytes) -> None:
        self._align()
        self._names.append(name)
        self.tails.append(tail)

    def _align(self) -> None:
        """Give the sends without id an empty one."""
        missing = len(self.tails) - len(self._names)
        if missing:
            self._names += [b""] * missing

    def run(self, user_id: bytes, application_id: bytes) -> Run | None:
        """Hand over what was gathered, and begin again; None where that is nothing."""
        if not self.tails:
            return None
        names = None
        if self._names:
            self._align()
            names, self._names = self._names, []
        tails, self.tails = self.tails, []
        return Run(self.path, user_id, application_id, tails, names)
