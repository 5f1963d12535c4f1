"""Fetching any number of messages with little memory: page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gobbler.client import Client, Gap, Message

FIRST: Final = 100
"""Messages of the first page, when nothing is known of their sizes."""

MOST: Final = 5000
PAGE_BYTES: Final = 4 * 1024 * 1024
"""About what the bodies of a later page have."""


def pages(
    client: Client, topic: str, start: int, count: int, on_gap: Callable[[Gap], object]
) -> Iterator[list[Message]]:
    """Yield at most `count` stored messages from `start` on (as in the receive command) in pages.

    Raises:
        GobblerError: see `Client.fetch`.
    """
    size = FIRST
    while count > 0:
        gaps: list[Gap] = []
        size = min(size, count)
        page = client.fetch(topic, start, size, on_gap=gaps.append)
        for gap in gaps:
            on_gap(gap)
        if page:
            yield page
        if len(page) < size and not gaps:
            return
        count -= len(page)
        start = max([message.id for message in page[-1:]] + [gap.id for gap in gaps]) + 1
        size = _next_size(page)


def _next_size(page: list[Message]) -> int:
    bytes_of = sum(len(message.body) for message in page)
    return max(1, min(MOST, PAGE_BYTES * len(page) // max(1, bytes_of))) if page else FIRST
