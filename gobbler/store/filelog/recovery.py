"""Reading a segment's bytes block by block, over whatever damage there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gobbler.errors import StoreCorrupt
from gobbler.protocol.block import MAGIC, Block, decode


class Found(NamedTuple):
    """A sound block, where it begins, and how many bytes it has."""

    block: Block
    offset: int
    size: int


class Damage(NamedTuple):
    """Bytes [offset, offset + size) that are no sound block; `tail`: nothing sound follows."""

    offset: int
    size: int
    tail: bool


def walk(raw: bytes, salt: int, next_id: int) -> Iterator[Found | Damage]:
    """Yield what `raw` holds, in order; ids below `next_id` cannot be right."""
    view = memoryview(raw)
    position = 0
    while position < len(raw):
        found = _at(view, position, salt, next_id)
        if found is None:
            found = _after(raw, view, position + 1, salt, next_id)
            end = found.offset if found else len(raw)
            yield Damage(position, end - position, tail=found is None)
        if found is None:
            return
        yield found
        next_id = found.block.last_id + 1
        position = found.offset + found.size


def _after(raw: bytes, view: memoryview, position: int, salt: int, next_id: int) -> Found | None:
    """Find the first sound block that begins at `position` or later."""
    while (position := raw.find(MAGIC, position)) >= 0:
        found = _at(view, position, salt, next_id)
        if found is not None:
            return found
        position += 1
    return None


def _at(view: memoryview, position: int, salt: int, next_id: int) -> Found | None:
    try:
        block, end = decode(view, position, salt)
    except StoreCorrupt:
        return None
    return Found(block, position, end - position) if block.first_id >= next_id else None
