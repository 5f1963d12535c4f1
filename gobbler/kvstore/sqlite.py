"""A key-value store in a SQLite file.

One native thread owns the connection, so that the event loop never waits for the
disk or for a lock. Greenlets hand it operations and wait; what arrives while the
thread is busy forms the next group, and the writes of a group share one commit:

    greenlets --_Job--> queue --group--> native thread --outcomes--> greenlets

SQLite errors become KVError where the caller waits.
"""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

import gevent
from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from gobbler.errors import KVError
from gobbler.kvstore.base import PAGE_ENTRIES, Entry, KVStore

log = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
"""The layout of the tables, kept in `PRAGMA user_version`; 0 is a new file."""

MAX_GROUP: Final = 500
"""How many operations share a commit, at most: nobody waits long behind a crowd."""

PAGE_BYTES: Final = 1 << 20
"""A page of `items` ends with the value that reaches this many bytes."""

CLOSE_SECONDS: Final = 1.0
"""What `stop` takes to close the file, even when it is given less time."""

# The text collates BINARY, that is by memcmp of the UTF-8 bytes: the order `KVStore` promises.
_CREATE = """CREATE TABLE IF NOT EXISTS entries (
    schema TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (schema, key)
) WITHOUT ROWID"""
_SELECT = "SELECT value FROM entries WHERE schema = ? AND key = ?"
_FIRST_PAGE = "SELECT key, value FROM entries WHERE schema = ? AND key >= ? ORDER BY key LIMIT ?"
_NEXT_PAGE = "SELECT key, value FROM entries WHERE schema = ? AND key > ? ORDER BY key LIMIT ?"
_INSERT = "INSERT INTO entries (schema, key, value) VALUES (?, ?, ?) ON CONFLICT (schema, key) "
_PUT = _INSERT + "DO UPDATE SET value = excluded.value"
_PUT_NEW = _INSERT + "DO NOTHING"
_PUT_OVER = "UPDATE entries SET value = ? WHERE schema = ? AND key = ? AND value = ?"
_DELETE = "DELETE FROM entries WHERE schema = ? AND key = ?"
_DELETE_EQUAL = _DELETE + " AND value = ?"

_REASONS = {
    sqlite3.SQLITE_BUSY: "another process has locked it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_NOTADB: "the file is damaged or something else",
    sqlite3.SQLITE_READONLY: "it cannot be written",
}

P = ParamSpec("P")
T = TypeVar("T")


class SQLiteKVStore(KVStore):
    """Keeps the entries in a file with a write-ahead log (WAL).

    A write that returned survives `kill -9` in either mode: its bytes are with the
    operating system. With `sync` it survives a power loss too, for one fsync a
    commit (synchronous=FULL). Without (NORMAL) the newest commits may be lost with
    the power, back to the last checkpoint, but the file is never damaged by it.
    """

    def __init__(self, path: str | Path, *, sync: bool = False, busy_timeout: float = 5.0) -> None:
        """Take the file's path and how many seconds to wait for a lock of another process."""
        self._path = Path(path)
        self._sync = sync
        self._busy_timeout = busy_timeout
        self._thread: _DatabaseThread | None = None

    def __repr__(self) -> str:
        """Name the file, the mode and the state."""
        state = "running" if self._thread else "stopped"
        return f"SQLiteKVStore({str(self._path)!r}, sync={self._sync}, {state})"

    def start(self) -> None:
        """Open or create the file and check it whole; when running: do nothing.

        Raises: KVError when the file cannot be opened or written, is damaged, locked by
        another process, or was written by a newer version.
        """
        if self._thread is None:
            self._thread = _DatabaseThread(self._connect)

    def stop(self, timeout: float) -> None:
        """Finish what was begun and close the file.

        What is not done after `timeout` seconds (at least CLOSE_SECONDS) is finished in the background.
        """
        thread, self._thread = self._thread, None
        if thread is not None and not thread.close(max(timeout, CLOSE_SECONDS)):
            log.warning("key-value store %s is still busy %.1f s after its stop", self._path, timeout)

    def check(self) -> None:
        """Write to the file and leave the entries alone. Raises: KVError that says what is wrong."""
        self._write(_probe)

    def _page(self, schema: str, prefix: str, after: str | None) -> list[Entry]:
        return self._read(_page, schema, prefix, after)

    def _get(self, schema: str, key: str) -> bytes | None:
        return self._read(_get, schema, key)

    def _put(self, schema: str, key: str, value: bytes) -> None:
        self._write(_change, _PUT, schema, key, value)

    def _delete(self, schema: str, key: str) -> bool:
        return self._write(_change, _DELETE, schema, key)

    def _write_batch(self, schema: str, puts: dict[str, bytes], deletes: list[str]) -> None:
        self._write(_write_batch, schema, puts, deletes)

    def _compare_and_put(self, schema: str, key: str, expected: bytes | None, value: bytes) -> bool:
        if expected is None:
            return self._write(_change, _PUT_NEW, schema, key, value)
        return self._write(_change, _PUT_OVER, value, schema, key, expected)

    def _compare_and_delete(self, schema: str, key: str, expected: bytes) -> bool:
        return self._write(_change, _DELETE_EQUAL, schema, key, expected)

    def _read(
        self, operation: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._call(lambda connection: operation(connection, *args, **kwargs), writes=False)

    def _write(
        self, operation: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._call(lambda connection: operation(connection, *args, **kwargs), writes=True)

    def _call(self, operation: Callable[[sqlite3.Connection], T], writes: bool) -> T:
        if self._thread is None:
            raise KVError("the key-value store is not running")
        try:
            return self._thread.call(operation, writes)
        except sqlite3.Error as error:
            raise _explain(self._path, error) from error

    def _connect(self) -> sqlite3.Connection | KVError:
        """Open the file (in the native thread); return what went wrong, as gevent prints what is raised."""
        try:
            return _open(self._path, self._sync, self._busy_timeout)
        except sqlite3.Error as error:
            return _explain(self._path, error)
        except KVError as error:
            return error


class _Job:
    """An operation on its way, and where its caller waits for the result."""

    def __init__(self, operation: Callable[[sqlite3.Connection], Any], writes: bool) -> None:
        self.operation = operation
        self.writes = writes
        self.result: AsyncResult[Any] = AsyncResult()

    def finish(self, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            self.result.set_exception(outcome)
        else:
            self.result.set(outcome)


class _DatabaseThread:
    """The native thread that owns the connection, and the greenlet that feeds it groups of jobs.

    The thread must not touch what gevent may have patched (locks, logging): it returns
    outcomes, and the greenlet wakes the callers. What waits is bounded by the callers: a
    greenlet waits for its job before it can bring another.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection | KVError]) -> None:
        self._pool = ThreadPool(1)
        self._jobs: list[_Job] = []
        self._closing = False
        self._awake = Event()  # set while there are jobs, and when closing
        try:
            connection = self._pool.apply(connect)
            if isinstance(connection, KVError):
                raise connection
        except BaseException:
            self._pool.kill()
            raise
        self._connection = connection
        self._feeder = gevent.spawn(self._feed)

    def call(self, operation: Callable[[sqlite3.Connection], T], writes: bool) -> T:
        """Run an operation in the thread and wait for it. Raises: sqlite3.Error, KVError."""
        job = _Job(operation, writes)
        self._jobs.append(job)
        self._awake.set()
        return cast(T, job.result.get())

    def close(self, timeout: float) -> bool:
        """Finish the jobs that wait, take no more, close the file; return whether that is done in time."""
        self._closing = True
        self._awake.set()
        self._feeder.join(timeout)
        return self._feeder.ready()

    def _feed(self) -> None:
        while group := self._next_group():
            for job, outcome in self._run(group):
                job.finish(outcome)
        self._pool.apply(self._connection.close)
        self._pool.kill()

    def _next_group(self) -> list[_Job]:
        """Wait for jobs and take those that have gathered; none when closing and all are done."""
        self._awake.wait()
        group, self._jobs = self._jobs[:MAX_GROUP], self._jobs[MAX_GROUP:]
        if not self._jobs and not self._closing:
            self._awake.clear()
        return group

    def _run(self, group: list[_Job]) -> list[tuple[_Job, Any]]:
        try:
            return self._pool.apply(_run_group, (self._connection, group))
        except Exception:  # the top of this greenlet: whatever it was, the next group has its turn
            log.exception("the key-value store's thread failed")
            return [(job, KVError("the key-value store failed; see the log")) for job in group]


# Everything below runs in the native thread.


def _run_group(connection: sqlite3.Connection, group: list[_Job]) -> list[tuple[_Job, Any]]:
    """Run the reads of a group, then its writes. An outcome that is an exception is a failure.

    They were asked for at the same time, so any order is right. Reads apart from
    writes go on when another process holds the write lock, or the disk is full.
    """
    reads = [job for job in group if not job.writes]
    writes = [job for job in group if job.writes]
    outcomes = _settle(connection, "BEGIN", reads) + _settle(connection, "BEGIN IMMEDIATE", writes)
    return list(zip(reads + writes, outcomes, strict=True))


def _settle(connection: sqlite3.Connection, begin: str, jobs: list[_Job]) -> list[Any]:
    """Run jobs in one transaction, or, when one of them fails, each in its own; return their outcomes."""
    if not jobs:
        return []
    try:
        connection.execute(begin)
    except sqlite3.Error as error:
        # None of them is at fault, so trying each alone would only multiply the wait for the lock.
        return [error] * len(jobs)
    try:
        return _commit(connection, jobs)
    except sqlite3.Error as error:
        if len(jobs) == 1:
            return [error]
    return [outcome for job in jobs for outcome in _settle(connection, begin, [job])]


def _commit(connection: sqlite3.Connection, jobs: list[_Job]) -> list[Any]:
    try:
        outcomes = [job.operation(connection) for job in jobs]
        connection.execute("COMMIT")
        return outcomes
    finally:
        # Something failed; some failures (a full disk) have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _open(path: Path, sync: bool, busy_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        _refuse_newer(connection, path)
        _configure(connection, path, sync)
        _refuse_damaged(connection, path)
        _settle_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise KVError(
            f"key-value store {path}: it was written by a newer version of Gobbler "
            f"(its layout has version {version}, this one knows {SCHEMA_VERSION})"
        )


def _configure(connection: sqlite3.Connection, path: Path, sync: bool) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise KVError(f"key-value store {path}: its file system does not support SQLite's write-ahead log")
    connection.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")


def _refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    """Look at every page (some 0.1 s for 100 MB in the page cache): better found now than by a request."""
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise KVError(f"key-value store {path}: the file is damaged ({finding})")


def _settle_schema(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_CREATE)
    _probe(connection)
    connection.execute("COMMIT")


def _probe(connection: sqlite3.Connection) -> None:
    """Write the version that is there already: SQLite writes the page all the same, or fails to."""
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _page(connection: sqlite3.Connection, schema: str, prefix: str, after: str | None) -> list[Entry]:
    sql, begin = (_FIRST_PAGE, prefix) if after is None else (_NEXT_PAGE, after)
    page: list[Entry] = []
    size = 0
    with closing(connection.execute(sql, (schema, begin, PAGE_ENTRIES))) as rows:
        for key, value in rows:
            if not key.startswith(prefix):
                break
            page.append((key, value))
            size += len(value)
            if size >= PAGE_BYTES:
                break
    return page


def _get(connection: sqlite3.Connection, schema: str, key: str) -> bytes | None:
    row = connection.execute(_SELECT, (schema, key)).fetchone()
    return None if row is None else row[0]


def _change(connection: sqlite3.Connection, sql: str, *parameters: str | bytes) -> bool:
    """Run a statement that changes one entry or none; return whether it did."""
    return connection.execute(sql, parameters).rowcount == 1


def _write_batch(
    connection: sqlite3.Connection, schema: str, puts: dict[str, bytes], deletes: list[str]
) -> None:
    connection.executemany(_DELETE, ((schema, key) for key in deletes))
    connection.executemany(_PUT, ((schema, key, value) for key, value in puts.items()))


def _explain(path: Path, error: sqlite3.Error) -> KVError:
    """Translate an error of SQLite. Its text names no value, so it may be shown."""
    # The low byte is the primary code (https://www.sqlite.org/rescode.html).
    # Errors of Python's own module have no code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return KVError(f"key-value store {path}: {_REASONS.get(code, 'it failed')} ({error})")
