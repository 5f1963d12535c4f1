"""The health checks: each can fail, none can hang or talk too much."""

import errno
import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import gevent
import pytest
from gevent.event import Event

from gobbler import logs
from gobbler.errors import StoreUnavailable, Unhealthy
from gobbler.health import MIB, Health, HubLag, InThread, storage_space, storage_writable
from tests.clock import Clock

GIB = 1 << 30


def fail(error: Exception) -> NoReturn:
    raise error


def meet(here: Event, there: Event) -> None:
    """Say that this one is here and wait for the other."""
    here.set()
    there.wait()


def well() -> None:
    """Nothing is wrong."""


def test_no_checks_and_good_checks_find_nothing() -> None:
    health = Health()
    assert health.run() == {}
    health.add("a", well)
    assert health.run() == {}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unhealthy("too slow"), "too slow"),
        (StoreUnavailable("disk full\nreally"), "disk full\\nreally"),
        (StoreUnavailable(), "store-unavailable"),
        (OSError(errno.ENOSPC, "No space left on device", "/secret/path"), "No space left on device"),
        (OSError("odd"), "OSError"),
        (ValueError("postgres://u:p@h"), "the check itself failed; the log says more"),
    ],
)
def test_says_what_is_wrong_and_no_more(error: Exception, text: str) -> None:
    health = Health()
    health.add("good", well)
    health.add("bad", lambda: fail(error))
    assert health.run() == {"bad": text}


def test_hidden_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_secrets", logs.Secrets())
    logs.hide("hunter2")
    health = Health()
    health.add("kvs", lambda: fail(StoreUnavailable("no access with hunter2")))
    assert health.run() == {"kvs": "no access with ***"}


def test_a_broken_check_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()
    health.add("bad", lambda: fail(ZeroDivisionError("bug")))
    health.run()
    assert "the check bad is broken" in caplog.text
    assert "ZeroDivisionError: bug" in caplog.text


def test_a_check_that_hangs_is_given_up_and_the_others_are_not() -> None:
    health = Health()
    health.add("hangs", lambda: meet(Event(), Event()), timeout=0.02)
    health.add("good", well)
    assert health.run() == {"hangs": "no answer within 0.02 s"}


def test_checks_run_at_the_same_time() -> None:
    one, other = Event(), Event()
    health = Health()
    health.add("one", lambda: meet(one, other), timeout=5)
    health.add("other", lambda: meet(other, one), timeout=5)
    assert health.run() == {}, "each waits for the other"


def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    problems: list[Exception] = [Unhealthy("full")]
    health = Health()
    health.add("disk", lambda: fail(problems[0]) if problems else None)
    with caplog.at_level(logging.INFO):
        health.run()
        health.run()
        problems.clear()
        health.run()
        health.run()
    assert caplog.messages == ["health: disk: full", "health: disk is well again"]


def test_storage_is_writable_and_left_as_it_was(tmp_path: Path) -> None:
    storage_writable(tmp_path)()
    assert list(tmp_path.iterdir()) == []


def test_storage_is_not_writable(tmp_path: Path) -> None:
    with pytest.raises(Unhealthy, match=r"^the storage path is not writable: No such file or directory$"):
        storage_writable(tmp_path / "gone")()
    (tmp_path / "file").touch()
    with pytest.raises(Unhealthy, match=r"^the storage path is not writable: Not a directory$"):
        storage_writable(tmp_path / "file")()


def test_a_write_that_fails_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> object:
        return open("/dev/full", "r+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(Unhealthy, match="not writable: No space left on device"):
        storage_writable(tmp_path)()


def disk(monkeypatch: pytest.MonkeyPatch, size: int, free: int, files: int, files_free: int) -> None:
    """Let every path be on a disk of so many bytes and files."""
    answer = SimpleNamespace(
        f_frsize=4096, f_blocks=size // 4096, f_bavail=free // 4096, f_files=files, f_favail=files_free
    )
    monkeypatch.setattr(os, "statvfs", lambda path: answer)


@pytest.mark.parametrize(
    ("size", "free", "files", "files_free"),
    [
        (10 * GIB, 513 * MIB, 1000, 51),
        (10_000 * GIB, GIB, 10**9, 10_000),
        (64 * MIB, 4 * MIB, 0, 0),
    ],
)
def test_enough_space(
    monkeypatch: pytest.MonkeyPatch, size: int, free: int, files: int, files_free: int
) -> None:
    disk(monkeypatch, size, free, files, files_free)
    storage_space(Path("/"))()


@pytest.mark.parametrize(
    ("size", "free", "files", "files_free", "text"),
    [
        (10 * GIB, 511 * MIB, 1000, 1000, "the disk is nearly full: 511 of 10240 MiB are free"),
        (10_000 * GIB, GIB - 4096, 1000, 1000, "the disk is nearly full: 1023 of 10240000 MiB are free"),
        (GIB, GIB, 1000, 49, "the disk is nearly out of files: 49 of 1000 are free"),
        (GIB, GIB, 10**9, 9999, "the disk is nearly out of files: 9999 of 1000000000 are free"),
    ],
)
def test_nearly_full(
    monkeypatch: pytest.MonkeyPatch, size: int, free: int, files: int, files_free: int, text: str
) -> None:
    disk(monkeypatch, size, free, files, files_free)
    with pytest.raises(Unhealthy, match=f"^{text}$"):
        storage_space(Path("/"))()


def test_space_of_a_path_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Unhealthy, match=r"^the storage path cannot be looked at: No such file or directory$"):
        storage_space(tmp_path / "gone")()


def test_a_disk_that_hangs_occupies_one_thread_only() -> None:
    go, runs = threading.Event(), list[int]()

    def hang() -> None:
        runs.append(threading.get_ident())
        assert go.wait(timeout=30)

    check = InThread(hang)
    health = Health()
    health.add("disk", check, timeout=0.02)
    for _ in range(3):
        assert health.run() == {"disk": "no answer within 0.02 s"}
    with gevent.Timeout(10):
        while not runs:  # a thread may take its time to begin
            gevent.sleep(0.001)
    assert len(runs) == 1
    assert runs[0] != threading.get_ident(), "the event loop does not wait"
    go.set()
    check()
    check()
    assert len(runs) == 2


def lag_after(*wakes: float) -> tuple[HubLag, Clock]:
    """Return a started measurement after wake-ups so many seconds apart."""
    clock = Clock()
    lag = HubLag(clock=clock)
    lag.start()
    for seconds in wakes:
        clock.now += seconds
        lag.woke()
    return lag, clock


@pytest.mark.parametrize(
    ("wakes", "worst"),
    [((), 0), ((0.25, 0.25), 0), ((0.25, 0.75, 0.25), 0.5), ((0.5, 3.25, 1.25), 3), ((1.25, 0.25, 2.25), 2)],
)
def test_lag_is_what_a_wake_up_is_late(wakes: tuple[float, ...], worst: float) -> None:
    lag, _ = lag_after(*wakes)
    assert lag.worst() == worst
    lag.stop(1)


def test_a_blocked_loop_is_reported_for_a_minute() -> None:
    lag, clock = lag_after(0.25, 2.75, 0.25)
    with pytest.raises(Unhealthy, match=r"^the event loop was blocked for 2\.5 s within the last 60 s$"):
        lag.check()
    for _ in range(241):
        clock.now += 0.25
        lag.woke()
    lag.check()
    lag.stop(1)


def test_a_lag_of_one_second_is_still_well() -> None:
    lag, _ = lag_after(1.25)
    lag.check()
    lag.stop(1)


def test_a_lag_that_still_lasts_counts() -> None:
    lag, clock = lag_after(0.25)
    clock.now += 5
    assert lag.worst() == 4.75
    lag.stop(1)
    assert lag.worst() == 0, "nobody is late who is not measuring"


def test_a_real_block_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HubLag, "INTERVAL_SECONDS", 0.001)
    lag = HubLag(limit=0.02)
    lag.start()
    lag.start()
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass  # what a greenlet must not do
    with gevent.Timeout(5):
        while lag.worst() < 0.04:
            gevent.sleep(0.001)
    with pytest.raises(Unhealthy, match="the event loop was blocked"):
        lag.check()
    lag.stop(1)
    lag.stop(1)
