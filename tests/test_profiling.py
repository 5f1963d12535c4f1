"""Each profiler finds what it is for, and leaves the process as it was."""

import os
import re
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gevent
import greenlet
import pytest

from gobbler import profiling
from gobbler.profiling import BlockProfiler, CpuProfiler, MemoryProfiler, collapse, profiler

PID = os.getpid()


def burn(done: Callable[[], bool]) -> None:
    """Use the processor until something has happened."""
    end = time.monotonic() + 30
    while not done() and time.monotonic() < end:
        sum(range(100))


def until(done: Callable[[], bool]) -> None:
    """Give the event loop its turn until something has happened."""
    with gevent.Timeout(10):
        while not done():
            gevent.sleep(0)


@pytest.mark.parametrize(
    ("kind", "made"), [("cpu", CpuProfiler), ("mem", MemoryProfiler), ("block", BlockProfiler)]
)
def test_a_profiler_by_its_name(kind: str, made: type, tmp_path: Path) -> None:
    profile = profiler(kind, tmp_path)
    assert type(profile) is made
    profile.stop(1)
    assert list(tmp_path.iterdir()) == [], "nothing was started, so there is nothing to write"


def test_collapse_writes_the_outermost_function_first() -> None:
    def inner() -> str:
        return collapse(sys._getframe())

    names = inner().split(";")
    here = f"{__name__}:test_collapse_writes_the_outermost_function_first"
    assert names[-2:] == [here, f"{here}.<locals>.inner"]
    assert collapse(None) == ""


def test_cpu_finds_the_function_that_burns(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGPROF)
    profile = CpuProfiler(tmp_path / "profile.txt")
    profile.start()
    profile.start()
    gevent.spawn(burn, lambda: sum(profile._stacks.values()) >= 5).join()
    profile.stop(1)
    lines = (tmp_path / "profile.txt").read_text().splitlines()
    counts = [int(line.rsplit(" ", 1)[1]) for line in lines]
    assert sum(counts) >= 5
    assert counts == sorted(counts, reverse=True)
    assert f"{__name__}:burn" in lines[0].rsplit(" ", 1)[0].split(";")
    assert (signal.getsignal(signal.SIGPROF), signal.getitimer(signal.ITIMER_PROF)[0]) == (before, 0)


def test_cpu_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "MAX_STACKS", 1)
    profile = CpuProfiler(tmp_path / "profile.txt")
    for _ in range(2):
        profile._sample(0, None)
    profile._sample(0, sys._getframe())
    assert dict(profile._stacks) == {"": 2, profiling.OTHER: 1}


def test_mem_finds_the_line_that_holds(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR2)
    profile = MemoryProfiler(tmp_path / "profile.txt")
    profile.start()
    held = [bytes(1000) for _ in range(5000)]
    profile.stop(1)
    report = (tmp_path / "profile.txt").read_text()
    assert "bytes in Python objects" in report.splitlines()[0]
    assert f'File "{__file__}"' in report
    assert "held = [bytes(1000)" in report
    assert len(held) == 5000
    assert signal.getsignal(signal.SIGUSR2) == before
    assert not tracemalloc.is_tracing()


def test_mem_reports_on_a_signal_too(tmp_path: Path) -> None:
    file = tmp_path / "profile.txt"
    profile = MemoryProfiler(file)
    profile.start()
    os.kill(PID, signal.SIGUSR2)
    until(lambda: file.exists() and file.stat().st_size > 0)
    profile.stop(1)
    profile.stop(1)
    heads = re.findall(r"^[-\d]+ [:\d]+: [,\d]+ bytes in Python objects", file.read_text(), re.M)
    assert len(heads) == 2


def test_block_finds_who_holds_the_loop(tmp_path: Path) -> None:
    before = (signal.getsignal(signal.SIGUSR2), greenlet.gettrace())
    profile = BlockProfiler(tmp_path / "profile.txt")
    profile.start()
    profile.start()
    gevent.spawn(burn, lambda: profile._seen[0] == profile._since).join()  # until it has been seen
    for _ in range(3):
        gevent.spawn(sum, range(100)).join()
    profile.stop(1)
    head, *lines = (tmp_path / "profile.txt").read_text().splitlines()
    assert head == "total ms, times, longest ms, stack"
    (found,) = [line for line in lines if f"{__name__}:burn" in line]
    total, times, longest, _ = found.split(" ", 3)
    assert (float(total) > 10, times, total == longest) == (True, "1", True)
    assert (signal.getsignal(signal.SIGUSR2), greenlet.gettrace()) == before


def test_block_does_not_count_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "BLOCK_SECONDS", 0.1)
    file = tmp_path / "profile.txt"
    profile = BlockProfiler(file)
    profile.start()
    gevent.sleep(0.3)  # what is tested: a wait, not a wait for something
    profile.stop(1)
    assert "sleep" not in file.read_text()


def test_block_without_the_watcher_names_where_the_turn_ended(tmp_path: Path) -> None:
    file = tmp_path / "profile.txt"
    profile = BlockProfiler(file)

    def ends_its_turn() -> None:
        profile._since -= 0.5  # as C code does that holds the interpreter: nobody could look
        gevent.sleep(0)

    profile.start()
    gevent.spawn(ends_its_turn).join()
    profile.stop(1)
    (line,) = [line for line in file.read_text().splitlines() if "ends_its_turn" in line]
    assert line.split(" ")[1] == "1"


def test_block_reports_on_a_signal_too(tmp_path: Path) -> None:
    file = tmp_path / "profile.txt"
    profile = BlockProfiler(file)
    profile.start()
    os.kill(PID, signal.SIGUSR2)
    until(file.exists)
    profile.stop(1)
    assert file.read_text().startswith("total ms")


def test_block_keeps_another_trace_function_going(tmp_path: Path) -> None:
    seen: list[str] = []
    before = greenlet.settrace(lambda event, switched: seen.append(event))
    profile = BlockProfiler(tmp_path / "profile.txt")
    profile.start()
    seen.clear()
    gevent.sleep(0)
    profile.stop(1)
    greenlet.settrace(before)
    assert "switch" in seen


def test_block_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "MAX_STACKS", 1)
    profile = BlockProfiler(tmp_path / "profile.txt")
    for stack in "aabc":
        profile._note(stack, 0.5)
    assert {stack: (b.times, b.total) for stack, b in profile._places.items()} == {
        "a": (2, 1.0),
        profiling.OTHER: (2, 1.0),
    }


def test_a_report_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    profile = CpuProfiler(tmp_path / "gone" / "profile.txt")
    profile.start()
    profile.stop(1)
    assert "cannot be written: No such file or directory" in caplog.text
