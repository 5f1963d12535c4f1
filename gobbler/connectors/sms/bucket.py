"""A token bucket: how many requests a second the account allows, in the order of asking.

Whoever asks takes the next turn that is free, and waits for it in `SmsSender.admit`. That is not the
sleep that senders may not do. A backoff waits because an attempt has failed, for seconds to minutes,
and belongs into the queue of what is delayed. A turn is at most MAX_WAIT away, nothing has failed, and
the waiting is what holds the workers back to the account's rate: they take no more messages than can
be sent. Answering `Retry` in its place would write every message of a busy minute into the delayed
queue several times, mix up their order, and leave tokens unused while everybody backs off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MAX_WAIT: Final = 10.0
"""Seconds: who would wait longer takes no turn, and is told when to ask again."""


class Bucket:
    """Turns that are `1 / rate` seconds apart; it never holds more than one token.

    So no second has more than `rate` of them, also after a pause: a bucket that could fill up
    would let twice as many go.
    """

    def __init__(self, rate: float, clock: Callable[[], float], max_wait: float = MAX_WAIT) -> None:
        """Take the turns a second, a clock that never goes back (seconds), and the longest wait."""
        self._interval = 1.0 / rate
        self._clock = clock
        self._max_wait = max_wait
        self._next = clock()

    def take(self) -> float | None:
        """Take the next free turn and return when it is, by the clock; None when it is too far away."""
        turn = max(self._next, self._clock())
        if turn - self._clock() > self._max_wait:
            return None
        self._next = turn + self._interval
        return turn

    def delay(self) -> float:
        """Return in how many seconds a turn is free."""
        return max(0.0, self._next - self._clock())
