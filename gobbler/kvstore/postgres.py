"""A key-value store in PostgreSQL.

Two tables in the first schema of the user's search path:

    gobbler_entries (schema, key, value)    the entries
    gobbler_layout (version)                one row: the layout of the tables

Every operation but a batch is one statement, which is a transaction of its own, on a
connection of the pool. A batch is one transaction and, unless it is large, one message.
"""

from __future__ import annotations

import logging
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Concatenate, Final, ParamSpec, TypeVar

from gobbler.errors import KVError
from gobbler.kvstore.base import PAGE_ENTRIES, Entry, KVStore
from gobbler.kvstore.postgres_connection import Address, Connection, Limits, Unanswered, be_cooperative
from gobbler.kvstore.postgres_pool import Pool

log = logging.getLogger(__name__)

LAYOUT: Final = 1
"""The version of the tables, kept in `gobbler_layout`."""

POOL_SIZE: Final = 8
"""How many connections a store opens, at most."""

PAGE_BYTES: Final = 1 << 20
"""A page of `items` ends with the value that reaches this many bytes."""

CHUNK_ENTRIES: Final = 1000
"""How many entries of a batch a statement writes, at most."""

CHUNK_BYTES: Final = 1 << 20
"""A statement of a batch ends with the value that reaches this many bytes."""

MESSAGE_BYTES: Final = 1 << 20
"""A message of a batch ends with the statement that reaches this many bytes."""

LOCK: Final = int.from_bytes(b"gobb")
"""The first number of the advisory locks; the second is 0 for the tables, else that of a schema."""

# Only the collation "C" orders text by its bytes.
_CREATE = """SELECT pg_advisory_xact_lock(%s, 0);
CREATE TABLE IF NOT EXISTS gobbler_entries (
    schema text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, value bytea NOT NULL,
    PRIMARY KEY (schema, key)
);
CREATE TABLE IF NOT EXISTS gobbler_layout (version integer PRIMARY KEY);
INSERT INTO gobbler_layout VALUES (%s) ON CONFLICT DO NOTHING"""
_HAS_LAYOUT = "SELECT to_regclass('gobbler_layout') IS NOT NULL"
_READ_LAYOUT = "SELECT max(version) FROM gobbler_layout"
# The first statement touches no row, but fails when the table cannot be written.
_PROBE = "DELETE FROM gobbler_entries WHERE false; UPDATE gobbler_layout SET version = version"

_SELECT = "SELECT value FROM gobbler_entries WHERE schema = %s AND key = %s"
# The values before each one are added up at the server, so that no page is read that is too large.
_PAGE = """SELECT key, value FROM (
    SELECT key, value, sum(length(value)) OVER (ORDER BY key) - length(value) AS before FROM (
        SELECT key, value FROM gobbler_entries
        WHERE schema = %s AND key >= %s AND (%s IS NULL OR key < %s) ORDER BY key LIMIT %s
    ) AS entries
) AS measured WHERE before < %s ORDER BY key"""
_INSERT = "INSERT INTO gobbler_entries (schema, key, value) VALUES (%s, %s, %s) ON CONFLICT (schema, key) "
_PUT = _INSERT + "DO UPDATE SET value = excluded.value"
_PUT_NEW = _INSERT + "DO NOTHING"
_PUT_OVER = "UPDATE gobbler_entries SET value = %s WHERE schema = %s AND key = %s AND value = %s"
_PUT_MANY = """INSERT INTO gobbler_entries (schema, key, value)
SELECT %s, * FROM unnest(%s::text[], %s::bytea[])
ON CONFLICT (schema, key) DO UPDATE SET value = excluded.value"""
_DELETE = "DELETE FROM gobbler_entries WHERE schema = %s AND key = %s"
_DELETE_EQUAL = _DELETE + " AND value = %s"
_DELETE_MANY = "DELETE FROM gobbler_entries WHERE schema = %s AND key = ANY(%s::text[])"
_LOCK_SCHEMA = "SELECT pg_advisory_xact_lock(%s, %s)"

P = ParamSpec("P")
T = TypeVar("T")


class PostgresKVStore(KVStore):
    """Keeps the entries in a database.

    A write that returned is as durable as the database's `synchronous_commit` makes it. When
    a connection breaks, reads and writes that can be done twice (`put`, `write_batch`) run
    again on a new one. The others (`delete` and the comparisons, whose answer would be another
    the second time) do not: their error says that it is not known whether they were done.
    """

    def __init__(
        self,
        address: Address,
        *,
        pool_size: int = POOL_SIZE,
        connect_timeout: float = 5.0,
        statement_timeout: float = 10.0,
        wait_timeout: float = 5.0,
    ) -> None:
        """Take the address and the limits: seconds to connect, for a statement, to wait for a connection.

        A statement that has to wait for others' locks needs its time for that too.
        """
        self._address = address
        self._limits = Limits(connect_timeout, statement_timeout)
        self._pool_size = pool_size
        self._wait_timeout = wait_timeout
        self._pool: Pool | None = None

    def __repr__(self) -> str:
        """Name the server, the database and the state."""
        return f"PostgresKVStore({self._address}, {self._address.dbname!r}, {self._pool or 'stopped'})"

    def start(self) -> None:
        """Connect, and create the tables where they are missing; when running: do nothing.

        Raises: KVError when the server cannot be reached or lets nobody in, the tables cannot
        be created or written, or were written by a newer version.
        """
        if self._pool is None:
            be_cooperative()
            pool = Pool(self._connect, self._pool_size, self._wait_timeout)
            try:
                pool.run(self._settle, repeat=True)
            except BaseException:
                pool.close(0)
                raise
            self._pool = pool

    def stop(self, timeout: float) -> None:
        """Finish what was begun and disconnect.

        What is not done after `timeout` seconds ends in the background, by its own time limit.
        """
        pool, self._pool = self._pool, None
        if pool is not None and not pool.close(timeout):
            log.warning("%s: the key-value store is still busy %.1f s after its stop", self._address, timeout)

    def check(self) -> None:
        """Write to the database and leave the entries alone. Raises: KVError that says what is wrong."""
        self._write(self._probe, repeat=True)

    def _page(self, schema: str, prefix: str, after: str | None) -> list[Entry]:
        return self._read(_page, schema, prefix, after)

    def _get(self, schema: str, key: str) -> bytes | None:
        return self._read(_get, schema, key)

    def _put(self, schema: str, key: str, value: bytes) -> None:
        self._change(_PUT, schema, key, value, repeat=True)

    def _delete(self, schema: str, key: str) -> bool:
        return self._change(_DELETE, schema, key)

    def _write_batch(self, schema: str, puts: dict[str, bytes], deletes: list[str]) -> None:
        self._write(lambda connection: _write_batch(connection, schema, puts, deletes), repeat=True)

    def _compare_and_put(self, schema: str, key: str, expected: bytes | None, value: bytes) -> bool:
        if expected is None:
            return self._change(_PUT_NEW, schema, key, value)
        return self._change(_PUT_OVER, value, schema, key, expected)

    def _compare_and_delete(self, schema: str, key: str, expected: bytes) -> bool:
        return self._change(_DELETE_EQUAL, schema, key, expected)

    def _read(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._running().run(lambda connection: operation(connection, *args, **kwargs), repeat=True)

    def _change(self, sql: str, *parameters: str | bytes, repeat: bool = False) -> bool:
        """Run a statement that changes one entry or none; return whether it did."""
        return self._write(lambda connection: connection.change(sql, *parameters), repeat=repeat) == 1

    def _write(self, operation: Callable[[Connection], T], *, repeat: bool) -> T:
        try:
            return self._running().run(operation, repeat=repeat)
        except Unanswered as error:
            raise KVError(f"{error}; it is not known whether it was written") from error

    def _running(self) -> Pool:
        if self._pool is None:
            raise KVError("the key-value store is not running")
        return self._pool

    def _connect(self) -> Connection:
        return Connection(self._address, self._limits)

    def _settle(self, connection: Connection) -> None:
        """Create what is missing, and refuse what cannot be used."""
        if connection.encoding != "UTF8":
            raise KVError(
                f"{self._address}: the database {self._address.dbname!r} has the encoding "
                f"{connection.encoding}; it must be UTF8"
            )
        version = _layout(connection)
        if version is None:
            connection.change(_CREATE, LOCK, LAYOUT)
            version = _layout(connection)
        if version is not None and version > LAYOUT:
            raise KVError(
                f"{self._address}: the tables were written by a newer version of Gobbler "
                f"(their layout has version {version}, this one knows {LAYOUT})"
            )
        self._probe(connection)

    def _probe(self, connection: Connection) -> None:
        if connection.change(_PROBE) != 1:
            raise KVError(f"{self._address}: the table gobbler_layout does not have its one row")


def _layout(connection: Connection) -> int | None:
    """Return the version of the tables, None when there are none."""
    ((exists,),) = connection.fetch(_HAS_LAYOUT)
    version: int | None = connection.fetch(_READ_LAYOUT)[0][0] if exists else None
    return version


def _get(connection: Connection, schema: str, key: str) -> bytes | None:
    rows = connection.fetch(_SELECT, schema, key)
    return bytes(rows[0][0]) if rows else None


def _page(connection: Connection, schema: str, prefix: str, after: str | None) -> list[Entry]:
    # No key has NUL, so none comes between `after` and this one.
    first = prefix if after is None else after + "\x01"
    end = _end_of(prefix)
    rows = connection.fetch(_PAGE, schema, first, end, end, PAGE_ENTRIES, PAGE_BYTES)
    return [(key, bytes(value)) for key, value in rows]


def _end_of(prefix: str) -> str | None:
    """Return the first text after all that begin with `prefix`, None when nothing comes after them."""
    rest = prefix.rstrip(chr(sys.maxunicode))
    if not rest:
        return None
    following = ord(rest[-1]) + 1
    # Surrogates are no characters.
    return rest[:-1] + chr(0xE000 if following == 0xD800 else following)


def _write_batch(connection: Connection, schema: str, puts: dict[str, bytes], deletes: list[str]) -> None:
    message: list[bytes] = []
    for sql, *parameters in _statements(schema, puts, deletes):
        message.append(connection.bind(sql, *parameters))
        if sum(map(len, message)) >= MESSAGE_BYTES:
            connection.send(message)
            message.clear()
    connection.send([*message, b"COMMIT"])


def _statements(
    schema: str, puts: dict[str, bytes], deletes: list[str]
) -> Iterator[tuple[str, *tuple[object, ...]]]:
    """The statements of a batch and their parameters, all but the commit."""
    yield ("BEGIN",)
    # Batches of a schema take turns: two that lock the same keys in different orders would wait
    # for each other. Single writes hold one lock only and cannot.
    yield _LOCK_SCHEMA, LOCK, zlib.crc32(schema.encode()) - (1 << 31)
    for first in range(0, len(deletes), CHUNK_ENTRIES):
        yield _DELETE_MANY, schema, deletes[first : first + CHUNK_ENTRIES]
    for chunk in _chunks(puts):
        yield _PUT_MANY, schema, [key for key, _ in chunk], [value for _, value in chunk]


def _chunks(puts: dict[str, bytes]) -> Iterator[list[Entry]]:
    entries = iter(puts.items())
    while chunk := list(_up_to(CHUNK_BYTES, islice(entries, CHUNK_ENTRIES))):
        yield chunk


def _up_to(limit: int, entries: Iterator[Entry]) -> Iterator[Entry]:
    size = 0
    for entry in entries:
        yield entry
        size += len(entry[1])
        if size >= limit:
            return
