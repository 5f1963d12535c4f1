"""`--profile`: where processor time goes, who holds memory, what blocks the event loop.

Each profiler is a service. Its report is a text file in the storage path,
`profile-<kind>-<process id>.txt`, written when it stops; `mem` and `block` also
write one on SIGUSR2. Profilers cost speed: they are for looking, not for always.
"""

import logging
import os
import signal
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
import greenlet
from gevent.monkey import get_original

from gobbler.service import Service

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 0.005
BLOCK_SECONDS = 0.010
TOP_LINES = 50
MAX_STACKS = 20_000
"""Different stacks that are kept apart; further ones are counted together, so memory stays bounded."""

OTHER = "(other stacks)"


def profiler(kind: str, folder: Path) -> Service:
    """Return the profiler that `--profile <kind>` asks for; its report goes to `folder`."""
    file = folder / f"profile-{kind}-{os.getpid()}.txt"
    makers: dict[str, Callable[[Path], Service]] = {
        "cpu": CpuProfiler,
        "mem": MemoryProfiler,
        "block": BlockProfiler,
    }
    return makers[kind](file)


def collapse(frame: FrameType | None) -> str:
    """Write a stack in one line, the outermost function first: `module:function;module:function`.

    It is the input of flame graph tools (Gregg, FlameGraph: "collapsed stacks").
    """
    return ";".join(reversed([_name(f) for f in _outwards(frame)]))


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}"


def _write(file: Path, text: str, mode: str = "w") -> None:
    """Write a report; a profiler that cannot is no reason for the server to fail."""
    try:
        with file.open(mode, encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        log.error("profile %s cannot be written: %s", file, error.strerror)
    else:
        log.warning("profile written: %s", file)


def _later(report: Callable[[], None]) -> Callable[[int, FrameType | None], object]:
    """Make a signal handler that reports in a greenlet: it may interrupt whoever holds the log's lock."""
    return lambda number, frame: gevent.spawn(report)


class CpuProfiler:
    """Samples the running code each 5 ms of processor time (setitimer(2), ITIMER_PROF).

    A sample is the stack of the greenlet that runs; native threads count for whoever runs beside them.
    """

    def __init__(self, file: Path) -> None:
        """Keep where the report goes."""
        self._file = file
        self._stacks: Counter[str] = Counter()
        self._before: Any = None
        self._running = False

    def start(self) -> None:
        """Begin to sample; from the main thread."""
        if not self._running:
            self._running = True
            self._before = signal.signal(signal.SIGPROF, self._sample)
            signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    def stop(self, timeout: float) -> None:
        """End and write the collapsed stacks with their samples, the most frequent first."""
        if self._running:
            self._running = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, self._before)
            _write(self._file, "".join(f"{stack} {n}\n" for stack, n in self._stacks.most_common()))

    def _sample(self, number: int, frame: FrameType | None) -> None:
        stack = collapse(frame)
        known = stack in self._stacks or len(self._stacks) < MAX_STACKS
        self._stacks[stack if known else OTHER] += 1


class MemoryProfiler:
    """Counts what Python allocates, by source line (tracemalloc)."""

    FRAMES = 5

    def __init__(self, file: Path) -> None:
        """Keep where the reports go; each is appended, so that they can be compared."""
        self._file = file
        self._before: Any = None
        self._running = False

    def start(self) -> None:
        """Begin to count; from the main thread."""
        if not self._running:
            self._running = True
            tracemalloc.start(self.FRAMES)
            self._before = signal.signal(signal.SIGUSR2, _later(self._report))

    def stop(self, timeout: float) -> None:
        """Write a last report and end."""
        if self._running:
            self._running = False
            signal.signal(signal.SIGUSR2, self._before)
            self._report()
            tracemalloc.stop()

    def _report(self) -> None:
        now, peak = tracemalloc.get_traced_memory()
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        lines = [f"{when}: {now:,} bytes in Python objects, {peak:,} at most"]
        top = tracemalloc.take_snapshot().statistics("traceback")[:TOP_LINES]
        for entry in top:
            lines.append(f"{entry.size:,} bytes in {entry.count:,} objects")
            lines.extend(entry.traceback.format())
        _write(self._file, "\n".join(lines) + "\n\n", mode="a")


@dataclass(slots=True)
class Blocked:
    """How often and how long, in seconds, one place kept the event loop waiting."""

    times: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.times += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)


class BlockProfiler:
    """Finds greenlets that run for more than 10 ms without giving the event loop its turn.

    A trace function notes each switch between greenlets; a native thread looks at who has been
    running for too long and takes the stack while it is at it. Where the thread could not look (C code
    that holds the interpreter), the stack is the one of the next switch. The loop's own greenlet
    is left out: it runs while it waits.
    """

    def __init__(self, file: Path) -> None:
        """Keep where the report goes."""
        self._file = file
        self._places: dict[str, Blocked] = {}
        self._since = 0.0
        self._in_hub = True
        self._seen = (0.0, "")  # the begin of a turn that took too long, and its stack
        self._hub: object = None
        self._thread = 0
        self._end: Any = None
        self._before: tuple[Any, Any] = (None, None)

    def start(self) -> None:
        """Begin to watch the thread that calls this, which has to be the main thread."""
        if self._end is None:
            self._hub = gevent.get_hub()
            self._thread = get_original("_thread", "get_ident")()
            self._switched_at(time.perf_counter(), greenlet.getcurrent())
            self._before = (
                signal.signal(signal.SIGUSR2, _later(self._report)),
                greenlet.settrace(self._switch),
            )
            # A lock that nobody gives back before `stop`: waiting for it is a sleep that can be ended.
            self._end = get_original("_thread", "allocate_lock")()
            self._end.acquire()
            get_original("_thread", "start_new_thread")(self._watch, (self._end,))

    def stop(self, timeout: float) -> None:
        """End and write the report."""
        if self._end is not None:
            self._end.release()
            self._end = None
            signal.signal(signal.SIGUSR2, self._before[0])
            greenlet.settrace(self._before[1])
            self._report()

    def _switch(self, event: str, switched: tuple[Any, Any]) -> None:
        """Note that one greenlet ends its turn and another begins; called by greenlet itself."""
        now = time.perf_counter()
        seconds = now - self._since
        if seconds > BLOCK_SECONDS and not self._in_hub:
            begun, stack = self._seen
            if begun != self._since:
                stack = collapse(switched[0].gr_frame) or "(a greenlet that has ended)"
            self._note(stack, seconds)
        self._switched_at(now, switched[1])
        if self._before[1] is not None:
            self._before[1](event, switched)

    def _switched_at(self, now: float, to: object) -> None:
        self._in_hub = to is self._hub
        self._since = now

    def _note(self, stack: str, seconds: float) -> None:
        known = stack in self._places or len(self._places) < MAX_STACKS
        self._places.setdefault(stack if known else OTHER, Blocked()).add(seconds)

    def _watch(self, end: Any) -> None:
        """Take the stack of who has been running for too long; in a native thread."""
        while not end.acquire(timeout=BLOCK_SECONDS / 2):
            since = self._since
            seen = self._in_hub or self._seen[0] == since
            if not seen and time.perf_counter() - since > BLOCK_SECONDS:
                stack = collapse(sys._current_frames().get(self._thread))
                if self._since == since:  # nobody has switched in between: it is this turn's stack
                    self._seen = (since, stack)

    def _report(self) -> None:
        worst = sorted(self._places.items(), key=lambda place: -place[1].total)[:TOP_LINES]
        lines = ["total ms, times, longest ms, stack"]
        for stack, b in worst:
            lines.append(f"{b.total * 1000:.1f} {b.times} {b.longest * 1000:.1f} {stack}")
        _write(self._file, "\n".join(lines) + "\n")
