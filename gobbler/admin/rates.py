"""What has been counted, sampled each second: so that a page that is opened now can show the past.

Samples hold counters as they were, not rates: whoever reads them takes differences, and a sample
that came late or is missing falsifies nothing.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import gevent

SECONDS: Final = 1.0
SAMPLES: Final = 301
"""Five minutes, and the sample before them."""

Sample = tuple[float, ...]


class Rates:
    """A ring of samples; a service."""

    def __init__(
        self, sources: Mapping[str, Callable[[], float]], clock: Callable[[], float] = time.time
    ) -> None:
        """Sample `sources` by their names; each is called every second. `clock` gives unix seconds."""
        self.fields = ("number", "time", *sources)
        self.server = ""
        """Another text after each start: the counters have begun again."""
        self._sources = tuple(sources.values())
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._number = 0
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def __repr__(self) -> str:
        """Show how many samples there are."""
        return f"<Rates, {len(self._samples)} samples>"

    def start(self) -> None:
        """Begin anew to sample."""
        self.server = secrets.token_hex(8)
        self._samples.clear()
        self._number = 0
        self.sample()
        self._greenlet = gevent.spawn(self._sample_often)

    def stop(self, timeout: float) -> None:
        """Sample no more."""
        if self._greenlet is not None:
            self._greenlet.kill(timeout=timeout)
            self._greenlet = None

    def sample(self) -> None:
        """Take a sample now."""
        self._number += 1
        values = (source() for source in self._sources)
        self._samples.append((self._number, round(self._clock(), 3), *values))

    def after(self, number: int) -> list[Sample]:
        """Return the samples behind a number; all, where there never was such a number."""
        seen = number if number <= self._number else 0
        return [sample for sample in self._samples if sample[0] > seen]

    def _sample_often(self) -> None:
        while True:
            gevent.sleep(SECONDS)
            self.sample()
