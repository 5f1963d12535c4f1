"""Measures what is ours alone: the tests of others run on the same processors at the same time."""

import time
from contextlib import suppress
from pathlib import Path


class Stopwatch:
    """Counts from its making on, in one thread, and stands still while others have the processor.

    What the thread computes counts, and what it waits for. A kernel that does not tell how long the thread
    waited for a processor makes it a plain clock.
    """

    def __init__(self) -> None:
        self._preempted = _preempted()
        self._begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        elapsed = time.perf_counter() - self._begun
        return elapsed - (_preempted() - self._preempted)


def _preempted() -> float:
    """For how long, altogether, this thread could have run, but others had the processor."""
    with suppress(FileNotFoundError):
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return 0.0
