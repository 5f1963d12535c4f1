"""Going through a lot without keeping others waiting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import gevent

T = TypeVar("T")

_A_TURN: Final = 500  # less than a millisecond of what is done with each here


def in_turns(items: Iterable[T], a_turn: int = _A_TURN) -> Iterator[T]:
    """Yield items; others have their turn of the event loop after `a_turn` of them each."""
    for number, item in enumerate(items, 1):
        yield item
        if number % a_turn == 0:
            gevent.sleep(0)
