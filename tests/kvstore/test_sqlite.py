"""What is special about the store in a SQLite file; the rest is the contract in test_base.py."""

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import gevent
import pytest

from gobbler.errors import KVError
from gobbler.kvstore import sqlite
from gobbler.kvstore.sqlite import MAX_GROUP, SCHEMA_VERSION, SQLiteKVStore
from tests.kvstore.greenlets import outcome, spawn_and_settle

ROOT = Path(__file__).parents[2]

# Writes from many greenlets and says what is acknowledged, until it is killed.
WRITER = """
from gevent import monkey; monkey.patch_all()
import os, sys, gevent
from gobbler.kvstore.sqlite import SQLiteKVStore

def put(name):
    n = 0
    while True:
        key = f"{name}-{n}"
        store.put("puts", key, key.encode() * 50)
        os.write(1, f"{key}\\n".encode())
        n += 1

def batch():
    n = 0
    while True:
        store.write_batch("batch", dict.fromkeys(map(str, range(50)), b"%d" % n), [])
        n += 1

store = SQLiteKVStore(sys.argv[1])
store.start()
gevent.joinall([gevent.spawn(put, n) for n in range(20)] + [gevent.spawn(batch)])
"""

# Runs the contract in a process where gevent has replaced threads, locks and the rest, as in the server.
PATCHED = """
from gevent import monkey; monkey.patch_all()
import sys, pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "sqlite and not sync", *sys.argv[1:]]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kv.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteKVStore]:
    store = SQLiteKVStore(path, busy_timeout=30)
    store.start()
    yield store
    store.stop(5)


@pytest.fixture
def other(store: SQLiteKVStore, path: Path) -> Iterator[sqlite3.Connection]:
    """A second connection to the store's file, as another process would have it."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        yield connection


def pragma(store: SQLiteKVStore, name: str) -> object:
    (value,) = store._call(lambda connection: connection.execute(f"PRAGMA {name}").fetchone(), writes=False)
    return value


def poison(connection: sqlite3.Connection, action: str) -> None:
    """Make the write of the key `poison` fail inside SQLite, by RAISE(action)."""
    connection.execute(
        "CREATE TRIGGER poison BEFORE INSERT ON entries WHEN new.key = 'poison' "
        f"BEGIN SELECT RAISE({action}, 'poisoned'); END"
    )


def refusal(store: SQLiteKVStore) -> str:
    """The message of the error with which the store does not start."""
    with pytest.raises(KVError) as caught:
        store.start()
    assert "stopped" in repr(store)
    return str(caught.value)


def test_the_entries_are_there_after_a_restart(store: SQLiteKVStore, path: Path) -> None:
    store.put("s", "é", b"\0\xff")
    store.stop(5)
    store.start()
    assert store.get("s", "é") == b"\0\xff"
    store.stop(5)
    again = SQLiteKVStore(str(path))
    again.start()
    assert list(again.items("s")) == [("é", b"\0\xff")]
    again.stop(5)
    # A clean stop leaves one whole file, without a log beside it.
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("acknowledged", [1, 500, 3000])
def test_what_was_acknowledged_survives_kill_9(path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        lines = list(islice(writer.stdout, acknowledged))
        writer.kill()
        lines += writer.stdout.readlines()
    assert len(lines) >= acknowledged
    store = SQLiteKVStore(path)
    store.start()
    found = dict(store.items("puts"))
    batch = dict(store.items("batch"))
    store.stop(5)
    keys = [line.decode().rstrip("\n") for line in lines if line.endswith(b"\n")]
    assert [key for key in keys if found.get(key) != key.encode() * 50] == []
    # All of a batch or nothing.
    assert len(batch) in {0, 50}
    assert len(set(batch.values())) <= 1


@pytest.mark.parametrize(("sync", "mode"), [(False, 1), (True, 2)], ids=["NORMAL", "FULL"])
def test_sync_chooses_how_durable_a_commit_is(path: Path, sync: bool, mode: int) -> None:
    store = SQLiteKVStore(path, sync=sync)
    store.start()
    assert pragma(store, "synchronous") == mode
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "user_version") == SCHEMA_VERSION
    store.stop(5)


@pytest.mark.timeout(600)
def test_the_contract_holds_when_everything_is_patched(tmp_path: Path) -> None:
    contract = Path(__file__).with_name("test_base.py")
    # A folder of its own: pytest's shared one is tidied by every run that goes on at the same time.
    command = [sys.executable, "-c", PATCHED, f"--basetemp={tmp_path / 'nested'}", str(contract)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_the_event_loop_does_not_wait_for_the_file(store: SQLiteKVStore, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    (writer,) = spawn_and_settle(lambda: store.put("s", "k", b"v"))
    # Every turn of the loop happens while the thread waits for the lock, else the put would be over.
    for _ in range(1000):
        gevent.sleep(0)
        assert not writer.ready()
    other.execute("COMMIT")
    writer.get()
    assert store.get("s", "k") == b"v"


def test_writes_that_gather_share_a_commit(store: SQLiteKVStore, other: sqlite3.Connection) -> None:
    statements: list[str] = []
    store._call(lambda connection: connection.set_trace_callback(statements.append), writes=False)
    other.execute("BEGIN IMMEDIATE")
    (first,) = spawn_and_settle(lambda: store.put("s", "first", b"v"))
    rest = spawn_and_settle(*(lambda n=n: store.put("s", str(n), b"v") for n in range(MAX_GROUP + 1)))
    other.execute("COMMIT")
    gevent.joinall([first, *rest], raise_error=True)
    # The first alone, then a full group, then what was left.
    assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") - 1 == 3
    assert len(list(store.items("s"))) == MAX_GROUP + 2


@pytest.mark.parametrize("action", ["ABORT", "FAIL", "ROLLBACK"])
def test_a_write_that_fails_does_not_fail_its_group(
    store: SQLiteKVStore, other: sqlite3.Connection, path: Path, action: str
) -> None:
    poison(other, action)
    store.put("s", "old", b"1")
    other.execute("BEGIN IMMEDIATE")
    first = spawn_and_settle(lambda: store.put("s", "first", b"v"))
    calls: list[Callable[[], object]] = [
        lambda: store.put("s", "a", b"v"),
        lambda: store.delete("s", "old"),
        lambda: store.write_batch("s", {"batch": b"v", "poison": b"v", "more": b"v"}, ["a"]),
        lambda: store.put("s", "poison", b"v"),
        lambda: store.delete("s", "old"),
        lambda: store.compare_and_put("s", "b", None, b"v"),
        lambda: store.get("s", "first"),
    ]
    group = spawn_and_settle(*map(outcome, calls))
    other.execute("COMMIT")
    gevent.joinall(first + group, raise_error=True)
    outcomes = [greenlet.value for greenlet in group]
    failures = [str(outcomes.pop(2)), str(outcomes.pop(2))]
    assert failures == [f"key-value store {path}: it failed (poisoned)"] * 2
    assert outcomes == [None, True, False, True, b"v"]
    assert dict(store.items("s")) == {"a": b"v", "b": b"v", "first": b"v"}


def test_a_bug_in_an_operation_does_not_end_the_store(
    store: SQLiteKVStore, caplog: pytest.LogCaptureFixture, greenlet_errors: list[BaseException]
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM entries")
        raise ZeroDivisionError

    store.put("s", "k", b"v")
    with pytest.raises(KVError, match="see the log"):
        store._call(fail, writes=True)
    assert "ZeroDivisionError" in caplog.text
    assert isinstance(greenlet_errors.pop(), ZeroDivisionError)  # gevent prints what the thread raises
    assert store.get("s", "k") == b"v"


def test_a_caller_that_gives_up_disturbs_nobody(store: SQLiteKVStore, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    impatient, patient = spawn_and_settle(
        lambda: store.put("s", "impatient", b"v"), lambda: store.put("s", "patient", b"v")
    )
    impatient.kill()
    other.execute("COMMIT")
    patient.get()
    assert store.get("s", "patient") == b"v"


def test_a_locked_file_fails_writes_and_not_reads(path: Path) -> None:
    store = SQLiteKVStore(path, busy_timeout=0.01)
    store.start()
    store.put("s", "k", b"v")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        calls: list[Callable[[], object]] = [
            lambda: store.put("s", "k", b"w"),
            store.check,
            lambda: store.get("s", "k"),
        ]
        greenlets = spawn_and_settle(*map(outcome, calls))
        gevent.joinall(greenlets, raise_error=True)
    put, check, get = (greenlet.value for greenlet in greenlets)
    assert (
        str(put)
        == str(check)
        == (f"key-value store {path}: another process has locked it (database is locked)")
    )
    assert get == b"v"
    store.check()
    store.put("s", "k", b"w")
    store.stop(5)


def test_a_locked_file_is_refused_at_the_start(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        message = refusal(SQLiteKVStore(path, busy_timeout=0.01))
    assert message == f"key-value store {path}: another process has locked it (database is locked)"


def test_a_full_disk_fails_what_does_not_fit(store: SQLiteKVStore, path: Path) -> None:
    store.put("s", "small", b"v")
    pages = pragma(store, "page_count")
    pragma(store, f"max_page_count = {pages}")
    large, small = spawn_and_settle(
        outcome(lambda: store.put("s", "large", bytes(100_000))),
        outcome(lambda: store.put("s", "small", b"w")),
    )
    assert str(large.get()) == f"key-value store {path}: the disk is full (database or disk is full)"
    assert small.get() is None
    assert dict(store.items("s")) == {"small": b"w"}
    pragma(store, "max_page_count = 1000000")
    store.put("s", "large", bytes(100_000))


def test_a_page_of_items_is_bounded_in_bytes(store: SQLiteKVStore) -> None:
    keys = list("abcde")
    store.write_batch("s", dict.fromkeys(keys, bytes(sqlite.PAGE_BYTES)), [])
    items = store.items("s")
    assert next(items)[0] == "a"
    store.write_batch("s", {}, keys[:4])
    # Had the page held more than the first value, another of those would come now.
    assert [key for key, _ in items] == ["e"]


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 100, b"xx", b"\0" * 8192])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = refusal(SQLiteKVStore(path))
    assert (
        message == f"key-value store {path}: the file is damaged or something else (file is not a database)"
    )
    assert path.read_bytes() == content


@pytest.mark.parametrize("damage", ["page", "end"])
def test_a_damaged_file_is_refused(store: SQLiteKVStore, path: Path, damage: str) -> None:
    store.write_batch("s", {str(n): bytes(1000) for n in range(1000)}, [])
    store.stop(5)
    with path.open("r+b") as file:
        if damage == "end":
            file.truncate(path.stat().st_size // 2)
        else:
            file.seek(path.stat().st_size // 2 // 4096 * 4096)
            file.write(b"\xaa" * 4096)
    message = refusal(store)
    assert message.startswith(f"key-value store {path}: the file is damaged")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "kv.db"
    message = refusal(SQLiteKVStore(path))
    assert message == f"key-value store {path}: it cannot be opened (unable to open database file)"


def test_a_newer_layout_is_refused_and_left_alone(store: SQLiteKVStore, path: Path) -> None:
    store.put("s", "k", b"v")
    store.stop(5)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    message = refusal(store)
    assert message == (
        f"key-value store {path}: it was written by a newer version of Gobbler "
        f"(its layout has version {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION})"
    )
    assert path.read_bytes() == before


def test_a_store_that_was_refused_starts_when_the_cause_is_gone(path: Path) -> None:
    path.write_bytes(b"xx")
    store = SQLiteKVStore(path)
    refusal(store)
    path.unlink()
    store.start()
    store.put("s", "k", b"v")
    store.stop(5)


def test_stop_finishes_what_was_begun(store: SQLiteKVStore) -> None:
    greenlets = spawn_and_settle(*(lambda n=n: store.put("s", str(n), b"v") for n in range(2 * MAX_GROUP)))
    store.stop(5)
    gevent.joinall(greenlets, raise_error=True)
    store.start()
    assert len(list(store.items("s"))) == 2 * MAX_GROUP


def test_stop_closes_the_file_even_without_time(
    store: SQLiteKVStore, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CLOSE_SECONDS", 30.0)  # the disk may be busy
    store.put("s", "k", b"v")
    store.stop(0)
    assert os.listdir(path.parent) == [path.name]
    assert caplog.records == []


def test_stop_does_not_wait_for_a_lock_for_ever(
    store: SQLiteKVStore,
    other: sqlite3.Connection,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite, "CLOSE_SECONDS", 0.01)
    other.execute("BEGIN IMMEDIATE")
    (writer,) = spawn_and_settle(lambda: store.put("s", "k", b"v"))
    store.stop(0)
    assert not writer.ready()
    assert caplog.record_tuples == [
        (sqlite.__name__, logging.WARNING, f"key-value store {path} is still busy 0.0 s after its stop")
    ]
    with pytest.raises(KVError, match="not running"):
        store.get("s", "k")
    # In the background the write still comes to its end.
    other.execute("COMMIT")
    writer.get()
    store.start()
    assert store.get("s", "k") == b"v"
