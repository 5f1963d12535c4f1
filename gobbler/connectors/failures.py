"""What failed last in a connector, for people to look at. Pure but for its clock.

A provider that is down says the same thing thousands of times: what is the same is kept once, with
how often and when. Texts are those of outcomes, which hold no secret and no device's token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gobbler.connectors.outcome import Gone, Outage, Pause, Refused, Retry

KEPT: Final = 20
"""So many different failures are kept; the one that was seen last longest ago goes first."""

TEXT_CHARACTERS: Final = 300


@dataclass(slots=True)
class Failure:
    """One kind of failure: an outcome's (`retry`, `gone`, ...), with its reason and text; unix seconds."""

    kind: str
    reason: str
    text: str
    first: float
    last: float
    times: int = 1


class Failures:
    """The last failures of one connector, over stops and starts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none; `clock` gives unix seconds."""
        self._clock = clock
        self._kept: dict[tuple[str, str, str], Failure] = {}

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<Failures, {len(self._kept)}>"

    def note(self, outcome: Refused | Gone | Retry | Outage | Pause) -> None:
        """Remember an outcome."""
        now, text = self._clock(), outcome.text[:TEXT_CHARACTERS]
        key = type(outcome).__name__.lower(), outcome.reason[:TEXT_CHARACTERS], text
        known = self._kept.pop(key, None)
        if known is None:
            known = Failure(*key, now, now)
        else:
            known.last, known.times = now, known.times + 1
        self._kept[key] = known
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    def latest(self) -> list[Failure]:
        """Return them, the newest first."""
        return list(reversed(self._kept.values()))
