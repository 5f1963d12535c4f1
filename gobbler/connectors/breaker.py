"""A circuit breaker: one dead provider costs no attempts but a probe now and then. Pure but for its clock.

    closed --(failures in a row, or a pause)--> open --(time)--> half-open --(probe fails)--> open
       ^                                                             |
       +------------------------(probe succeeds)---------------------+

Attempts that were under way when the breaker changed say nothing about what
comes after the change. And of attempts that were under way together only one
failure counts: a connection that breaks may have had a hundred on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from gobbler.connectors.outcome import Outage, Pause

FAILURES: Final = 10
"""So many failures in a row open the breaker."""

FAILING_SECONDS: Final = 30.0
"""So do fewer, when nothing else has happened for so long."""

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0
"""How long it stays open: twice as long after each probe that failed."""

PAUSE_SECONDS: Final = 60.0
"""How long a pause lasts where nobody says: then one attempt is made to see whether it was mended."""

CLOSED, HALF_OPEN, OPEN = "closed", "half-open", "open"


class Pass(NamedTuple):
    """The permission for one attempt: the state it began in, and a number that rises."""

    epoch: int
    number: int


class Breaker:
    """Decides whether an attempt may be made now."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin closed; `clock` gives seconds that never go back."""
        self._clock = clock
        self._open_until = -math.inf
        self._open_seconds = 0.0
        self._failures = 0
        self._failing_since = 0.0
        self._epoch = 0
        self._passes = 0
        self._counted = 0  # the newest pass when the last failure was counted
        self._probing = False
        self._broken = False
        self.cause: Outage | Pause | None = None
        """Why it is not closed."""

    def __repr__(self) -> str:
        """Show the state."""
        return f"<Breaker {self.state}>"

    @property
    def state(self) -> str:
        """Return CLOSED, HALF_OPEN (it is time for a probe, or one is under way) or OPEN."""
        if not self._broken:
            return CLOSED
        return HALF_OPEN if self._clock() >= self._open_until else OPEN

    def delay(self) -> float:
        """Return the seconds until an attempt may be made: 0 for now, infinite while a probe is under way."""
        if not self._broken:
            return 0.0
        if self._probing:
            return math.inf
        return max(0.0, self._open_until - self._clock())

    def enter(self) -> Pass:
        """Begin an attempt, for which `delay` must be 0; return what is to be given back with its outcome."""
        if self._broken:
            self._probing = True
        self._passes += 1
        return Pass(self._epoch, self._passes)

    def reset(self) -> None:
        """Begin again, closed: somebody says that it is worth a try."""
        self._broken, self._probing, self.cause, self._open_seconds = False, False, None, 0.0
        self._change()

    def succeeded(self, passed: Pass) -> bool:
        """Learn that the provider is well; return whether that closes the breaker."""
        if passed.epoch != self._epoch:
            return False
        self._failures = 0
        closes, self._broken, self._probing = self._broken, False, False
        if closes:
            self._change()
            self._open_seconds, self.cause = 0.0, None
        return closes

    def failed(self, passed: Pass, outage: Outage) -> bool:
        """Learn that the provider is not well; return whether that opens the breaker."""
        if passed.epoch != self._epoch or (passed.number <= self._counted and not self._broken):
            return False
        self._count()
        failing = self._clock() - self._failing_since
        if not self._broken and self._failures < FAILURES and failing < FAILING_SECONDS:
            return False
        self._open_seconds = min(max(FIRST_SECONDS, 2 * self._open_seconds), LONGEST_SECONDS)
        self._open(self._open_seconds, outage)
        return True

    def _count(self) -> None:
        if not self._failures:
            self._failing_since = self._clock()
        self._failures += 1
        self._counted = self._passes

    def pause(self, passed: Pass, pause: Pause) -> bool:
        """Learn that nobody can be served now; return whether that opens the breaker."""
        if passed.epoch != self._epoch:
            return False
        self._open(PAUSE_SECONDS if pause.after is None else pause.after, pause)
        return True

    def abandoned(self, passed: Pass) -> None:
        """Learn that an attempt ended without a word about the provider: another may be the probe."""
        if passed.epoch == self._epoch:
            self._probing = False

    def _open(self, seconds: float, cause: Outage | Pause) -> None:
        self._broken, self._probing, self.cause = True, False, cause
        self._open_until = self._clock() + seconds
        self._change()

    def _change(self) -> None:
        self._epoch += 1
        self._failures = 0
