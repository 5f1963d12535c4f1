"""Disks that are full or fail, at every call: what was acknowledged is kept, and nothing else."""

import logging
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import gevent
import gevent.event
import pytest

from gobbler.errors import StoreUnavailable
from gobbler.protocol.block import Chunk
from gobbler.store.base import Bounds, Committed, Group
from gobbler.store.filelog.partition import Partition
from gobbler.store.filelog.store import FileStore
from tests.store.filelog.conftest import Open
from tests.store.filelog.faulty import BadSectors, FaultyFiles, open_descriptors
from tests.store.model import (
    Model,
    append,
    bulk,
    check_all,
    gaps,
    joined,
    publish,
    run,
    scanned,
    selector,
)

APPENDS = 9


def groups(number: int) -> list[Group]:
    """One partition gets all, a second every third; with segments of 600 bytes, they roll often."""
    found = [Group("foo", [bulk("/foo", 1 + number % 3, 80), run("/foo/a", f"a{number}")])]
    if number % 3 == 0:
        found.append(Group("bar", [run("/bar", f"bar {number}")]))
    return found


def work(store: FileStore, model: Model, after: Callable[[], None] = lambda: None) -> int:
    """Append everything; return how many groups failed."""
    failed = 0
    for number in range(APPENDS):
        failed += append(store, model, *groups(number)).count(False)
        after()
    return failed


def calls_of(folder: Path, operation: str) -> int:
    """How often an operation is called when nothing fails."""
    files = FaultyFiles()
    store = FileStore(str(folder), sync_seconds=0, segment_bytes=600, files=files)
    store.start()
    assert work(store, Model()) == 0
    store.stop(5)
    return files.calls[operation]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("operation", "share"),
    [("write", 0.0), ("write", 0.5), ("write", 1.0), ("create", 0.0), ("sync", 0.0), ("sync_folder", 0.0)],
)
def test_a_failure_at_any_call_loses_nothing_and_invents_nothing(
    tmp_path: Path, open_store: Open, operation: str, share: float, times: int
) -> None:
    for at in range(1, calls_of(tmp_path / "plain", operation) + 1):
        files = FaultyFiles(operation, at, times=times, share=share)
        folder, model = tmp_path / f"{at}", Model()
        store = open_store(folder=folder, sync_seconds=0, files=files)

        def crash(folder: Path = folder, model: Model = model, at: int = at) -> None:
            """What a server finds that starts after a kill -9 at this instant."""
            copy = tmp_path / f"crashed-{at}"
            shutil.copytree(folder, copy)
            check_all(open_store(folder=copy), model)
            shutil.rmtree(copy)

        assert work(store, model, crash) >= 1
        assert files.failed
        files.mend()
        assert append(store, model, *groups(0)) == [True, True]  # it goes on, with dense ids
        check_all(store, model)
        store.stop(5)
        check_all(open_store(folder=folder), model)


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_file_that_cannot_be_cut_back_takes_nothing_until_it_can(open_store: Open, operation: str) -> None:
    files, model = FaultyFiles(share=1.0), Model()
    store = open_store(sync_seconds=0, segment_bytes=10_000, files=files)
    publish(store, model, "/foo", "1")
    files.break_("truncate", operation)
    assert append(store, model, Group("foo", [run("/foo", "written, but refused")])) == [False]
    files.mend()
    files.break_("truncate")
    assert append(store, model, Group("foo", [run("/foo", "refused")])) == [False]
    assert store.partition("foo").pinned
    check_all(store, model)
    files.mend()
    publish(store, model, "/foo", "2")
    assert not store.partition("foo").pinned
    check_all(store, model)
    check_all(open_store(), model)


def test_a_failed_sync_begins_a_new_segment_and_is_told_by_the_check(open_store: Open) -> None:
    files, model = FaultyFiles(), Model()
    store = open_store(sync_seconds=0, segment_bytes=10_000, files=files)
    publish(store, model, "/foo", "1")
    store.check()
    files.break_("sync", times=1)
    assert append(store, model, Group("foo", [run("/foo", "lost")])) == [False]
    with pytest.raises(StoreUnavailable, match="could not sync"):
        store.check()
    publish(store, model, "/foo", "2")
    assert [segment.base for segment in store._partitions["foo"].segments] == [1, 2]
    check_all(store, model)


def test_an_empty_segment_that_could_not_be_synced_is_replaced(open_store: Open, folder: Path) -> None:
    files, model = FaultyFiles("sync", 1), Model()
    store = open_store(sync_seconds=0, files=files)
    assert append(store, model, Group("foo", [run("/foo", "lost")])) == [False]
    log = folder / "foo" / "00000000000000000001.log"
    distrusted = log.stat().st_ino, log.read_bytes()
    publish(store, model, "/foo", "1")
    assert log.read_bytes()[:30] != distrusted[1][:30]  # another salt
    assert len(list((folder / "foo").iterdir())) == 1
    check_all(store, model)
    check_all(open_store(), model)


def test_a_full_disk_leaves_a_full_segment_usable(open_store: Open) -> None:
    files, model = FaultyFiles(), Model()
    store = open_store(files=files)
    publish(store, model, "/foo", "x" * 700)
    files.break_("create")
    for _ in range(3):
        assert append(store, model, Group("foo", [run("/foo", "refused")])) == [False]
        check_all(store, model)
    files.mend()
    publish(store, model, "/foo", "y")
    check_all(store, model)
    check_all(open_store(), model)


def test_one_partition_that_fails_does_not_harm_the_others(open_store: Open) -> None:
    files, model = FaultyFiles("sync", 2), Model()
    store = open_store(sync_seconds=0, files=files)
    names = ["a", "b", "c", "d"]
    results = append(store, model, *[Group(name, [run(f"/{name}", "x")]) for name in names])
    assert sorted(results) == [False, True, True, True]
    assert append(store, model, *[Group(name, [run(f"/{name}", "y")]) for name in names]) == [True] * 4
    check_all(store, model)
    check_all(open_store(), model)


def test_what_is_being_synced_is_not_visible_and_stays_open(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a sync waits, other partitions are opened and let go, and readers see only what is committed."""
    monkeypatch.setattr("gobbler.store.filelog.store.OPEN_PARTITIONS", 2)
    model = Model()
    setup = open_store()
    for name in ("foo", "a", "b", "c"):
        publish(setup, model, f"/{name}", "1")
    setup.stop(5)
    entered, go_on = gevent.event.Event(), gevent.event.Event()

    class Slow(FaultyFiles):
        def sync(self, path: str) -> None:
            entered.set()
            go_on.wait(10)
            super().sync(path)

    store = open_store(sync_seconds=0, files=Slow())
    publishing = gevent.spawn(append, store, model, Group("foo", [run("/foo", "2")]))
    assert entered.wait(10)
    pinned = store._partitions["foo"]
    for name in ("a", "b", "c"):
        assert store.bounds(name) == Bounds(1, 1)
    assert store.bounds("foo") == Bounds(1, 1)
    assert store._partitions["foo"] is pinned
    assert len(store._partitions) <= 3
    check_all(store, model)
    go_on.set()
    assert publishing.get(timeout=10) == [True]
    check_all(store, model)


def test_two_greenlets_open_a_partition_once(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(open_store(), Model(), "/foo", "1")
    opened = []
    really = Partition.open

    def slowly(partition: Partition) -> None:
        opened.append(partition)
        gevent.sleep(0)
        really(partition)

    monkeypatch.setattr(Partition, "open", slowly)
    store = open_store()
    greenlets = [gevent.spawn(store.partition, "foo") for _ in range(5)]
    gevent.joinall(greenlets, raise_error=True)
    assert {greenlet.value for greenlet in greenlets} == set(opened)
    assert len(opened) == 1


# Damage


def damage(path: Path, offset: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 0x40
    path.write_bytes(raw)


def fill(store: FileStore, model: Model, appends: int = 12) -> None:
    for number in range(appends):
        publish(store, model, "/foo", f"message {number} " + "x" * 100)


@pytest.mark.parametrize("which", ["sealed", "active"])
@pytest.mark.parametrize("when", ["now", "indexed", "made again"])
def test_a_damaged_block_is_never_served_and_is_reported_once(
    open_store: Open, folder: Path, which: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model()
    store = open_store(segment_bytes=1000)
    fill(store, model)
    segments = store.partition("foo").segments
    segment = segments[0] if which == "sealed" else segments[-1]
    index = segment.index()
    assert len(index) >= 2 or which == "active"
    publish(store, model, "/foo", "behind it" * 20)
    number = 1 if which == "sealed" else 0
    offset, bad = index.offsets[number], (index.first_id(number), index.last_id(number))
    if when == "indexed":
        for known in segments[:-1]:
            known.save_index()
            store._memory.drop(known)
    damage(Path(segment.path), offset + 60)
    if when == "made again":
        store = open_store(segment_bytes=1000)
    caplog.clear()
    last = model.next_id("foo") - 1
    for _ in range(3):
        pages = scanned(store, "foo", selector("/foo"), 1, last)
        assert gaps(pages) == [bad]
        kept = [message for message in model.messages["foo"] if not bad[0] <= message.id <= bad[1]]
        assert b"".join(page.frames for page in pages) == joined(kept)
        narrow = scanned(store, "foo", selector("/foo"), bad[0], bad[1], 1)
        assert gaps(narrow) == [bad]
        assert not b"".join(page.frames for page in narrow)
        behind = scanned(store, "foo", selector("/foo"), bad[1] + 1, last)
        assert gaps(behind) == []
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert f"the messages {bad[0]} to {bad[1]}" in errors[0].getMessage()
    assert Path(segment.path).name in errors[0].getMessage()
    publish(store, model, "/foo", "it goes on")


def test_a_block_that_cannot_be_read_costs_only_itself(open_store: Open) -> None:
    model = Model()
    store = open_store(segment_bytes=100_000)
    fill(store, model)
    index = store.partition("foo").segments[0].index()
    files = BadSectors(index.offsets[5] + 10, 1)
    store = open_store(segment_bytes=100_000, files=files)
    check_all(store, model)
    files.on = True
    pages = scanned(store, "foo", selector("/foo"), 1, 12)
    assert gaps(pages) == [(6, 6)]
    assert b"".join(page.frames for page in pages) == joined(
        model.messages["foo"][:5] + model.messages["foo"][6:]
    )
    files.on = False
    check_all(store, model)


def test_a_damaged_head_of_a_sealed_segment_is_a_gap(
    open_store: Open, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model()
    store = open_store(segment_bytes=500)
    fill(store, model)
    segment, following = store.partition("foo").segments[1:3]
    damage(Path(segment.path), 14)
    store = open_store(segment_bytes=500)
    caplog.clear()
    for _ in range(2):
        pages = scanned(store, "foo", selector("/foo"), 1, 12)
        assert gaps(pages) == [(segment.base, following.base - 1)]
        assert sum(page.number for page in pages) == 12 - (following.base - segment.base)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"all messages from {segment.base} on are lost" in caplog.text
    assert store.count("foo", selector("/foo"), 1, 12) == 12 - (following.base - segment.base)


@pytest.mark.parametrize("others", [True, False])
def test_a_damaged_head_of_the_newest_segment_never_uses_its_ids_again(
    open_store: Open, others: bool
) -> None:
    model = Model()
    size = 500 if others else 100_000
    store = open_store(segment_bytes=size)
    fill(store, model)
    newest = store.partition("foo").segments[-1]
    damage(Path(newest.path), 14)
    for _ in range(2):  # nothing is written in between
        store = open_store(segment_bytes=size)
        last = store.bounds("foo").last
        assert last >= 12
        assert gaps(scanned(store, "foo", selector("/foo"), 1, last)) == [(newest.base, last)]
        assert store.newest("foo", selector("/foo"), 1, last) == (newest.base - 1 if others else last + 1)
    [result] = store.append([Group("foo", [run("/foo", "new")])])
    assert isinstance(result, Committed)
    assert result.first_id == last + 1
    pages = scanned(open_store(segment_bytes=size), "foo", selector("/foo"), newest.base, last + 1)
    assert (gaps(pages), sum(page.number for page in pages)) == ([(newest.base, last)], 1)


@pytest.mark.parametrize("keep", [0, 5, 25, -1])
def test_a_segment_that_a_crash_left_half_made_is_set_aside(
    open_store: Open, folder: Path, keep: int
) -> None:
    model = Model()
    store = open_store(segment_bytes=500)
    fill(store, model)
    partition = store.partition("foo")
    partition.distrust()
    new = Path(partition.roll().path)
    raw = new.read_bytes()
    new.write_bytes(raw[:keep] if keep >= 0 else bytes(len(raw)))
    store = open_store(segment_bytes=500)
    check_all(store, model)
    publish(store, model, "/foo", "goes on")
    check_all(store, model)
    assert new.with_name(new.name + ".damaged").exists()


def test_a_segment_of_a_newer_version_is_left_alone(open_store: Open, folder: Path) -> None:
    model = Model()
    store = open_store()
    publish(store, model, "/foo", "1")
    log = Path(store.partition("foo").segments[0].path)
    raw = bytearray(log.read_bytes())
    raw[4] = 2
    head = len(raw[:22]) + 3
    raw[head : head + 4] = crc32(raw[:head]).to_bytes(4, "little")
    log.write_bytes(raw)
    store = open_store()
    [result] = store.append([Group("foo", [run("/foo", "2")])])
    assert isinstance(result, StoreUnavailable)
    assert "version 2" in str(result)
    assert log.read_bytes() == raw
    assert len(list(log.parent.iterdir())) == 1


@pytest.mark.parametrize("at", range(0, 200, 7))
def test_a_torn_tail_is_cut_off_and_said(open_store: Open, at: int, caplog: pytest.LogCaptureFixture) -> None:
    model = Model()
    store = open_store(segment_bytes=100_000)
    fill(store, model, 3)
    segment = store.partition("foo").segments[0]
    whole = segment.end
    store.append([Group("foo", [run("/foo", "y" * 100)])])
    torn = segment.end - 1 - at
    if torn <= whole:
        return
    with Path(segment.path).open("r+b") as file:
        file.truncate(torn)
    caplog.clear()
    store = open_store(segment_bytes=100_000)
    check_all(store, model)
    assert "torn tail" in caplog.text
    assert Path(segment.path).stat().st_size == whole
    publish(store, model, "/foo", "goes on")
    check_all(open_store(segment_bytes=100_000), model)


def test_descriptors_are_closed_by_stop(tmp_path: Path) -> None:
    with open_descriptors() as more:
        store = FileStore(str(tmp_path / "m"), sync_seconds=0, segment_bytes=300)
        store.start()
        model = Model()
        for number in range(20):
            publish(store, model, f"/p{number}", "x")
        check_all(store, model)
        store.stop(5)
    assert more == [0]


# Runs in a process of its own: publishes until the disk is full, frees some of it, goes on, and reports.
FULL_DISK = """
import os, resource, sys
from gobbler.store.base import Committed, Group
from gobbler.store.filelog.store import FileStore
from gobbler.protocol.run import Run

folder, limited = sys.argv[1], sys.argv[2] == "limited"
store = FileStore(folder + "/messages", sync_seconds=0, segment_bytes=100_000)
store.start()

def publish(size):
    [result] = store.append([Group("foo", [Run(b"/foo", b"", b"", [b"\\n" + b"x" * size])])])
    if isinstance(result, Committed):
        print("stored", result.first_id, size)
    else:
        print("refused", result)
    return isinstance(result, Committed)

if limited:
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
else:
    with open(folder + "/ballast", "wb") as ballast:
        ballast.write(bytes(300_000))
assert publish(10)
while publish(9_000):
    pass
assert not publish(9_000)
store.bounds("foo")
if limited:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    os.unlink(folder + "/ballast")
for _ in range(3):
    assert publish(5_000)
os.system("cp -r " + folder + "/messages " + sys.argv[3])
sys.stdout.flush()
os._exit(0)  # as by kill -9
"""


def full_disk(how: str, folder: Path, copy: Path) -> subprocess.CompletedProcess[str]:
    """Run FULL_DISK below a limit of the file's size, or on a small disk of its own."""
    command = [sys.executable, "-c", FULL_DISK, str(folder), how, str(copy)]
    if how == "small":
        mount = f"mount -t tmpfs -o size=600k tmpfs {folder} && exec"
        command = ["unshare", "--mount", "sh", "-c", f"{mount} {shlex.join(command)}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def can_mount() -> bool:
    """Whether a disk of its own can be had: as root, outside of most containers."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


@pytest.mark.parametrize("how", ["limited", "small"])
def test_a_disk_that_is_really_full(tmp_path: Path, open_store: Open, how: str) -> None:
    if how == "small" and not can_mount():
        pytest.skip("needs root and a mount namespace")
    folder, copy = tmp_path / "disk", tmp_path / "copy"
    folder.mkdir()
    done = full_disk(how, folder, copy)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    stored = [(int(line[1]), int(line[2])) for line in lines if line[0] == "stored"]
    refused = " ".join(line[2] for line in lines if line[0] == "refused")
    assert ("File too large" if how == "limited" else "No space left on device") in refused
    assert [id for id, _ in stored] == list(range(1, len(stored) + 1))
    assert [size for _, size in stored[-3:]] == [5_000] * 3
    store = open_store(folder=copy)
    assert store.bounds("foo") == Bounds(1, len(stored))
    frames = b"".join(page.frames for page in scanned(store, "foo", selector("/foo"), 1, len(stored)))
    bodies = [len(message.body) for message in Chunk(1, len(stored), frames).messages()]
    assert bodies == [size for _, size in stored]
