"""Making the index of a segment from its bytes: after a crash, and wherever an index is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import gevent

from gobbler.store.filelog.recovery import Damage, walk
from gobbler.store.live_index import LiveIndex

log = logging.getLogger(__name__)

PIECE: Final = 4 * 1024 * 1024
"""How many bytes are read at a time."""


def extend(
    index: LiveIndex,
    read: Callable[[int, int], bytes],
    end: Callable[[], int],
    salt: int,
    path: str,
    piece: int = PIECE,
) -> None:
    """Enter what the file at `path` holds from the index's end up to `end()`, which may grow meanwhile.

    `read` takes a size and an offset. Between the last look at `end()` and the
    return nothing else can run.

    Raises:
        StoreUnavailable: what `read` raises.
    """
    size = piece
    while index.end < end():
        wanted = min(size, end() - index.end)
        raw = read(wanted, index.end)
        last = index.end + wanted >= end()
        if _enter(index, raw, salt, path):
            size = piece
            gevent.sleep(0)
        elif last:
            return
        else:
            size *= 2  # a block, or what is damaged, is larger than the piece


def _enter(index: LiveIndex, raw: bytes, salt: int, path: str) -> bool:
    """Enter the blocks of a piece of the file; say whether there was one.

    What looks torn at the end of a piece is only torn at the end of the file.
    """
    start, blocks = index.end, len(index)
    damage: Damage | None = None
    for item in walk(raw, salt, index.next_id):
        if isinstance(item, Damage):
            damage = item
            continue
        if damage:
            log.error(
                "%s: %d damaged bytes at %d: the messages %d to %d are lost",
                path,
                damage.size,
                start + damage.offset,
                index.next_id,
                item.block.first_id - 1,
            )
            damage = None
        index.add(item.block, start + item.offset, item.size)
    return len(index) > blocks
