"""A connection to PostgreSQL: psycopg2, but cooperative, with time limits and with errors of ours.

libpq waits in C, where gevent cannot look: without more, one query would stop every greenlet
of the process. psycopg2's answer is the wait callback (its documentation: "Support for
coroutine libraries"): libpq then never blocks, and the callback waits for the socket in its
place. psycopg2 knows one callback for the whole process, so `be_cooperative` sets it when a
store starts, not at import: who imports this module and uses PostgreSQL in another way keeps
the blocking one. The callback waits with gevent itself, so it does not matter whether the
standard library is patched.

A greenlet that is killed or times out while it waits leaves its connection in the middle of
something; psycopg2 closes it then. No error shows a statement, a value or a password.
"""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import gevent
import psycopg2
import psycopg2.extensions
from gevent.monkey import get_original
from gevent.socket import getaddrinfo, wait_read, wait_write
from psycopg2 import errorcodes

from gobbler.errors import KVError

GRACE_SECONDS: Final = 2.0
"""How much longer than the server's own limit to wait for its answer: that it took too long."""

# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_SETTINGS: Final = {
    "application_name": "gobbler",
    "client_encoding": "UTF8",
    # libpq would look for a Kerberos ticket first, and block meanwhile.
    "gssencmode": "disable",
    # A server that vanishes without a word is found out: idle within a minute, in use within 10 s.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

# The statements count on this isolation, whatever the database's default. The time-outs also end
# at the server what nobody here waits for any more. A page of entries is read in the order of the
# index; without statistics (in new tables) the planner would rather read all that follow and sort them.
_SESSION: Final = (
    "SET default_transaction_isolation = 'read committed'; "
    "SET statement_timeout = %s; SET idle_in_transaction_session_timeout = %s; "
    "SET enable_bitmapscan = off"
)

_REASONS: Final = {
    errorcodes.QUERY_CANCELED: "it took too long",
    errorcodes.DISK_FULL: "the server's disk is full",
    errorcodes.READ_ONLY_SQL_TRANSACTION: "it cannot be written",
    errorcodes.INSUFFICIENT_PRIVILEGE: "the user lacks a privilege",
    errorcodes.UNDEFINED_TABLE: "a table is missing",
}


class Unanswered(KVError):
    """What was sent got no answer: a write may have been done or not."""


class ConnectionLost(Unanswered):
    """The connection broke before the answer came."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, how to log in and how to encrypt; "" leaves a part to libpq.

    A host that begins with `/` is the folder of a socket. `ca_file` is the file of certificates
    that `sslmode` verify-ca and verify-full trust.
    """

    host: str = "localhost"
    port: int = 5432
    user: str = "gobbler"
    password: str = field(default="", repr=False)
    dbname: str = "gobbler"
    sslmode: str = "prefer"
    ca_file: Path | None = None

    def __str__(self) -> str:
        """Say where the server is, for error texts."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"PostgreSQL at {host}:{self.port}"

    def resolve(self) -> str:
        """Look the host up without blocking, as libpq cannot; return its addresses as libpq wants them.

        Raises: KVError: there is no such host.
        """
        try:
            # Here, because gevent's resolver prints an error of its thread before it raises it.
            self.host.encode("idna")
            found = getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "this is no name of a host"
            raise KVError(f"{self}: cannot connect (the host is not known: {reason})") from error
        return ",".join(str(address[0]) for *_, address in found)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for libpq. Raises: KVError: there is no such host."""
        parameters = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.dbname,
            "sslmode": self.sslmode,
        }
        if self.ca_file is not None:
            parameters["sslrootcert"] = str(self.ca_file)
        # What is no host name is the folder or the name of a socket.
        if self.host and self.host[0] not in "/@":
            addresses = self.resolve()
            # One host an address; libpq needs the name too, to compare it with the certificate's.
            parameters["host"] = ",".join([self.host] * (addresses.count(",") + 1))
            parameters["hostaddr"] = addresses
        return parameters | _SETTINGS


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds."""

    connect: float
    statement: float


class Connection:
    """An open connection, for one greenlet at a time. Each statement is a transaction of its own."""

    def __init__(self, address: Address, limits: Limits) -> None:
        """Connect and log in. Raises: KVError that says why it cannot."""
        self._address = address
        self._limits = limits
        late = KVError(f"{address}: cannot connect (no answer within {limits.connect:g} s)")
        try:
            with gevent.Timeout(limits.connect, late):
                self._raw: psycopg2.extensions.connection = psycopg2.connect(**address.parameters())
                self._prepare()
        except (psycopg2.ProgrammingError, ValueError):
            # `from None`: the original may show the password.
            raise KVError(f"{address}: an option holds a character that libpq does not take") from None
        except psycopg2.Error as error:
            raise KVError(f"{address}: cannot connect ({_reasons(error)})") from error

    def __repr__(self) -> str:
        """Say where it leads, and whether it is closed."""
        return f"Connection({self._address}{', closed' if self._raw.closed else ''})"

    @property
    def encoding(self) -> str | None:
        """The encoding of the database, as the server names it."""
        encoding: str | None = self._raw.info.parameter_status("server_encoding")
        return encoding

    @property
    def usable(self) -> bool:
        """Whether the next statement can be sent, as far as can be known without sending anything.

        The server sends nothing unasked but its farewell, and the end of the stream.
        """
        return not self._raw.closed and not _has_input(self._raw.fileno())

    def fetch(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows. Raises: KVError; Unanswered when its end is not known."""
        return self._execute(self.bind(sql, *parameters)).fetchall()

    def change(self, sql: str, *parameters: object) -> int:
        """Run statements that change rows; return how many the last one changed.

        Raises: KVError; Unanswered when its end is not known.
        """
        return self._execute(self.bind(sql, *parameters)).rowcount

    def bind(self, sql: str, *parameters: object) -> bytes:
        """Return a statement with its parameters in it, to be sent."""
        bound: bytes = self._raw.cursor().mogrify(sql, parameters)
        return bound

    def send(self, statements: list[bytes]) -> None:
        """Run bound statements: one message, one answer.

        Raises: KVError; Unanswered when its end is not known.
        """
        self._execute(b";".join(statements))

    def close(self) -> None:
        """Close it; again: do nothing. What the server still does for it ends with its time-out."""
        self._raw.close()

    def _prepare(self) -> None:
        try:
            self._raw.autocommit = True
            milliseconds = max(1, int(self._limits.statement * 1000))
            self._raw.cursor().execute(_SESSION, (milliseconds, milliseconds))
        except BaseException:
            self.close()
            raise

    def _execute(self, statements: bytes) -> psycopg2.extensions.cursor:
        seconds = self._limits.statement + GRACE_SECONDS
        cursor = self._raw.cursor()
        try:
            with gevent.Timeout(seconds, Unanswered(f"{self._address}: no answer within {seconds:g} s")):
                cursor.execute(statements)
        except psycopg2.Error as error:
            # `from None`: the original shows the statement, keys and values.
            raise self._explain(error) from None
        return cursor

    def _explain(self, error: psycopg2.Error) -> KVError:
        if self._raw.closed:
            return ConnectionLost(f"{self._address}: the connection broke ({_lines(error)[0]})")
        reason = _REASONS.get(error.pgcode or "", "it failed")
        # Only this line: what else the server says may quote a row.
        return KVError(f"{self._address}: {reason} ({error.diag.message_primary})")


def be_cooperative() -> None:
    """Have all psycopg2 connections of the process wait in gevent; again: do nothing."""
    psycopg2.extensions.set_wait_callback(_wait)


def _wait(connection: psycopg2.extensions.connection) -> None:
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        # While connecting, the socket changes with each address that is tried.
        wait = wait_read if state == psycopg2.extensions.POLL_READ else wait_write
        wait(connection.fileno())


def _has_input(descriptor: int) -> bool:
    # The unpatched one: gevent's would switch to other greenlets. Not `select`, which ends at 1,024.
    poll = get_original("select", "poll")()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _reasons(error: psycopg2.Error) -> str:
    """Say why there is no connection: once, however many addresses and modes were tried."""
    return "; ".join(dict.fromkeys(line.rpartition(" failed: ")[2] for line in _lines(error)))


def _lines(error: psycopg2.Error) -> list[str]:
    """The lines of an error of libpq but its hints, which are indented; at least one."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith("\t")]
    return [" ".join(line.split()) for line in lines] or ["no reason given"]
