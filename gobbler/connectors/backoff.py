"""When to try again, and when to give up. Pure: chance is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONGEST_SECONDS: Final = 600.0
"""No backoff is longer; what a provider asks for may be."""

GIVE_UP_SECONDS: Final = 3600.0
"""A notification that has failed for so long, while others went through, is given up (Google's advice)."""

_ASKED_JITTER: Final = 0.1
_OWN_JITTER: Final = 0.5
_MOST_DOUBLINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits `delay` seconds after the first failure, and twice as long after each further one."""

    delay: float
    longest: float = LONGEST_SECONDS

    def wait(self, attempt: int, after: float | None, chance: float) -> float:
        """Return how many seconds to wait after the failure of an attempt, which are counted from 0.

        `after` is what the provider asked for, and is never undercut. `chance` in [0, 1) spreads
        the attempts that have failed together.
        """
        if after is not None:
            return after * (1 + _ASKED_JITTER * chance)
        doubled = self.delay * 2 ** min(attempt, _MOST_DOUBLINGS)
        return float(min(doubled, self.longest) * (1 + _OWN_JITTER * chance))
