"""A run: consecutive messages of one publisher to one path.

Publishers send bursts, and what a burst's messages have in common (path,
publisher, filters) is kept once. Everything downstream (the log, the routing,
the answers) then costs per run, and only the bytes themselves per message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gobbler.protocol.message import PLAIN
from gobbler.protocol.notification import send_ok, send_ok_template
from gobbler.websocket.frames import HEADERS, encode, header


class Run:
    r"""Messages that wait for their ids.

    `tails` holds what follows the first line on the wire, one a message:
    `<headers JSON or empty>\n<body>`. `message_ids` holds the publisher's ids,
    one a message, or is None where no message of the run has one.
    `filters` is canonical JSON (`protocol.filters.encode`) or empty.
    """

    __slots__ = ("application_id", "filters", "message_ids", "path", "tails", "user_id")

    def __init__(
        self,
        path: bytes,
        user_id: bytes,
        application_id: bytes,
        tails: list[bytes],
        message_ids: list[bytes] | None = None,
        filters: bytes = b"",
    ) -> None:
        """Take the lists as they are; the caller no longer changes them once the run is submitted."""
        self.path = path
        self.user_id = user_id
        self.application_id = application_id
        self.tails = tails
        self.message_ids = message_ids
        self.filters = filters

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.tails)

    @property
    def key(self) -> bytes:
        """Return what routing and indexes distinguish: the path, with the filters where there are any."""
        return b"%b\0%b" % (self.path, self.filters) if self.filters else self.path

    def frames(self, first_id: int, time: int) -> list[bytes]:
        """Return each message as the WebSocket frame that every reader is sent, numbered from `first_id`.

        `time` is the publishing time in unix seconds.
        """
        frames: list[bytes] = []
        tails = self.tails
        for start, stop in _equal_digits(first_id, len(tails)):
            part = tails if stop - start == len(tails) else tails[start:stop]
            if self.message_ids is None:
                frames += self._anonymous_frames(part, first_id + start, time)
            else:
                frames += self._named_frames(part, self.message_ids[start:stop], first_id + start, time)
        return frames

    def _anonymous_frames(self, tails: list[bytes], first_id: int, time: int) -> list[bytes]:
        """Frame messages without a publisher's id: their first lines differ only in the id."""
        prefix = b"%b," % self.path
        suffix = b",%b,%b,,%d\n" % (self.user_id, self.application_id, time)
        fixed = len(prefix) + len(str(first_id)) + len(suffix)
        ids = range(first_id, first_id + len(tails))
        try:
            # One formatting call a message: this line is what publishing costs.
            return [
                b"%b%b%d%b%b" % (HEADERS[fixed + len(tail)], prefix, id, suffix, tail)
                for id, tail in zip(ids, tails, strict=True)
            ]
        except IndexError:  # a tail is too long for the table of headers
            return [
                b"%b%b%d%b%b" % (header(fixed + len(tail)), prefix, id, suffix, tail)
                for id, tail in zip(ids, tails, strict=True)
            ]

    def _named_frames(
        self, tails: list[bytes], message_ids: list[bytes], first_id: int, time: int
    ) -> list[bytes]:
        """Frame messages that carry their publisher's ids."""
        prefix = b"%b," % self.path
        middle = b",%b,%b," % (self.user_id, self.application_id)
        suffix = b",%d\n" % time
        fixed = len(prefix) + len(str(first_id)) + len(middle) + len(suffix)
        items = enumerate(zip(message_ids, tails, strict=True), first_id)
        return [
            b"%b%b%d%b%b%b%b"
            % (_header(fixed + len(name) + len(tail)), prefix, id, middle, name, suffix, tail)
            for id, (name, tail) in items
        ]

    def answers(self, first_id: int, time: int) -> bytes:
        """Return the framed `#send` notifications of the whole run, in order."""
        if self.message_ids is not None:
            return self._named_answers(self.message_ids, first_id, time)
        template = send_ok_template(self.path, b"")
        # The template takes (id, time); with the time filled in, only the ids differ.
        head, _, tail = (template % (_PLACEHOLDER, time)).partition(b"%d" % _PLACEHOLDER)
        return b"".join(
            _answers(head, tail, first_id + start, first_id + stop)
            for start, stop in _equal_digits(first_id, len(self.tails))
        )

    def _named_answers(self, names: list[bytes], first_id: int, time: int) -> bytes:
        if b"".join(names).translate(None, PLAIN):  # some need escapes in JSON
            return b"".join(
                encode(send_ok(name, self.path, id, time)) for id, name in enumerate(names, first_id)
            )
        # Plain names stand in JSON as they are, so that one pattern serves all; its mark is as plain.
        mark = b"%d" % _PLACEHOLDER
        before, between, after = send_ok_template(self.path, mark).split(mark)
        pattern = before + b"%b" + between + b"%b" + (after % time).replace(b"%", b"%%")
        payloads = [pattern % (name, id, name) for id, name in enumerate(names, first_id)]
        return b"".join([part for payload in payloads for part in (_header(len(payload)), payload)])

    def singles(self) -> list[Run]:
        """Return each message as a run of its own."""
        names = self.message_ids or [b""] * len(self)
        return [
            Run(self.path, self.user_id, self.application_id, [tail], [name] if name else None, self.filters)
            for name, tail in zip(names, self.tails, strict=True)
        ]


_TABLE: Final = len(HEADERS)
_PLACEHOLDER: Final = 98765432109876543210  # a number that no time and no valid id can contain


def _header(length: int) -> bytes:
    """Return a frame's header, from the table where it can be."""
    return HEADERS[length] if length < _TABLE else header(length)


def _answers(head: bytes, tail: bytes, first_id: int, end_id: int) -> bytes:
    """Frame one answer for each id of [first_id, end_id), all of which have equally many digits."""
    frame = header(len(head) + len(str(first_id)) + len(tail)) + head
    # Formatting with one long tuple keeps the loop over the ids in C.
    pattern = frame.replace(b"%", b"%%") + b"%d" + tail.replace(b"%", b"%%")
    return (pattern * (end_id - first_id)) % tuple(range(first_id, end_id))


def _equal_digits(first_id: int, count: int) -> Iterator[tuple[int, int]]:
    """Split [0, count) where the ids from `first_id` on gain a decimal digit."""
    if len(str(first_id)) == len(str(first_id + count - 1)):  # nearly always
        yield 0, count
        return
    start = 0
    while start < count:
        limit: int = 10 ** len(str(first_id + start)) - first_id
        stop = min(count, limit)
        yield start, stop
        start = stop
