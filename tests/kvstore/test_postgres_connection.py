"""Connecting, waiting and failing, against a real server."""

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import psycopg2.extensions
import pytest
from gevent import socket
from gevent.server import StreamServer

from gobbler.errors import KVError
from gobbler.kvstore import postgres_connection
from gobbler.kvstore.postgres_connection import (
    Address,
    Connection,
    ConnectionLost,
    Limits,
    Unanswered,
)
from tests.kvstore.sessions import LIMITS, end_sessions, number_of_sessions
from tests.postgres.proxy import Proxy
from tests.postgres.server import PASSWORD, PostgresServer
from tests.providers.certificates import Authority
from tests.system.server import eventually

TOKEN = "token of a device"
SESSION = "SELECT {} FROM pg_stat_activity WHERE pid = pg_backend_pid()"
IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


pytestmark = pytest.mark.usefixtures("cooperative")


@pytest.fixture
def connection(address: Address) -> Iterator[Connection]:
    connection = Connection(address, LIMITS)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def encrypted(authority: Authority) -> Iterator[PostgresServer]:
    """A server with TLS, also on an address that its certificate does not name."""
    with PostgresServer("listen_addresses=127.0.0.1,127.0.0.2", pair=authority.pair()) as server:
        yield server


def value(connection: Connection, sql: str, *parameters: object) -> Any:
    """The one value that a statement returns."""
    ((found,),) = connection.fetch(sql, *parameters)
    return found


def connected(address: Address, sql: str) -> Any:
    """The value that a statement returns on a connection of its own."""
    connection = Connection(address, LIMITS)
    try:
        return value(connection, sql)
    finally:
        connection.close()


def shown(error: BaseException) -> str:
    """All that a log would show of an error."""
    return "".join(traceback.format_exception(error))


def refusal(address: Address, limits: Limits = LIMITS) -> str:
    """Why there is no connection; what nobody may see is not in it."""
    with pytest.raises(KVError) as caught:
        Connection(address, limits)
    assert PASSWORD not in shown(caught.value)
    start, _, reason = str(caught.value).partition(": ")
    assert start == str(address)
    return reason


def test_an_address_hides_its_password() -> None:
    address = Address("db.example", password=PASSWORD)
    assert PASSWORD not in repr(address)
    assert str(address) == "PostgreSQL at db.example:5432"
    assert str(Address("::1")) == "PostgreSQL at [::1]:5432"


def test_the_name_of_the_host_stands_beside_each_of_its_addresses() -> None:
    """libpq compares the name with the certificate's; where to connect to, it is told."""
    parameters = Address("localhost").parameters()
    hosts, addresses = parameters["host"].split(","), parameters["hostaddr"].split(",")
    assert len(hosts) == len(addresses)
    assert set(hosts) == {"localhost"}
    assert set(addresses) <= {"127.0.0.1", "::1"}


def test_the_server_sees_who_is_there(connection: Connection) -> None:
    assert value(connection, SESSION.format("application_name")) == "gobbler"
    assert connection.encoding == "UTF8"


def test_a_session_does_not_depend_on_the_servers_defaults(
    postgres: PostgresServer, address: Address
) -> None:
    postgres.sql("ALTER ROLE gobbler SET default_transaction_isolation = 'serializable'")
    try:
        connection = Connection(address, Limits(connect=30, statement=1.5))
    finally:
        postgres.sql("ALTER ROLE gobbler RESET default_transaction_isolation")
    assert value(connection, "SHOW transaction_isolation") == "read committed"
    assert value(connection, "SHOW statement_timeout") == "1500ms"
    assert value(connection, "SHOW idle_in_transaction_session_timeout") == "1500ms"
    connection.close()


def test_each_statement_is_a_transaction(connection: Connection) -> None:
    connection.change("CREATE TEMPORARY TABLE numbers (n integer)")
    assert connection.change("INSERT INTO numbers VALUES (%s), (%s)", 1, 2) == 2
    with pytest.raises(KVError):
        connection.change("INSERT INTO numbers VALUES (3); SELECT 1 / 0")
    assert connection.fetch("SELECT n FROM numbers ORDER BY n") == [(1,), (2,)]
    connection.send([connection.bind("DELETE FROM numbers WHERE n = %s", n) for n in (1, 2)])
    assert connection.fetch("SELECT n FROM numbers") == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "folder"])
def test_a_host_may_be_an_address_a_name_or_a_folder(postgres: PostgresServer, host: str) -> None:
    host = str(postgres.folder) if host == "folder" else host
    assert connected(postgres.address(host=host), "SELECT 1") == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong"}, 'cannot connect (FATAL: password authentication failed for user "gobbler")'),
        (
            {"user": "nobody"},
            'cannot connect (FATAL: password authentication failed for user "nobody")',
        ),
        ({"dbname": "nowhere"}, 'cannot connect (FATAL: database "nowhere" does not exist)'),
        ({"port": 1}, "cannot connect (Connection refused)"),
        ({"host": "/nowhere"}, "cannot connect (No such file or directory)"),
        # A host that no resolver asks the network for.
        (
            {"host": "fe80::1%nowhere"},
            "cannot connect (the host is not known: Name or service not known)",
        ),
        ({"host": "x" * 64}, "cannot connect (the host is not known: this is no name of a host)"),
        ({"sslmode": "require"}, "cannot connect (server does not support SSL, but SSL was required)"),
        ({"password": "nul\0"}, "an option holds a character that libpq does not take"),
        ({"password": PASSWORD + "\0"}, "an option holds a character that libpq does not take"),
        ({"password": PASSWORD + "\udc80"}, "an option holds a character that libpq does not take"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_refusal_says_why(postgres: PostgresServer, changes: dict[str, Any], reason: str) -> None:
    assert refusal(postgres.address(**changes)) == reason


def test_a_server_that_does_not_answer_is_not_waited_for_long(postgres: PostgresServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = postgres.address(port=silent.getsockname()[1])
        assert refusal(address, Limits(0.05, 30)) == "cannot connect (no answer within 0.05 s)"


def test_a_server_of_another_kind_is_refused(postgres: PostgresServer) -> None:
    def serve(client: socket.socket, peer: object) -> None:
        client.recv(1 << 16)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        client.close()

    with_http = StreamServer(("127.0.0.1", 0), serve)
    with_http.start()
    reason = refusal(postgres.address(port=with_http.server_port))
    assert reason == "cannot connect (received invalid response to SSL negotiation: H)"
    with_http.stop()


@pytest.mark.parametrize(
    ("sslmode", "is_encrypted"),
    [("disable", False), ("prefer", True), ("require", True), ("verify-ca", True), ("verify-full", True)],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_mode_decides_about_encryption(
    encrypted: PostgresServer, authority: Authority, host: str, sslmode: str, is_encrypted: bool
) -> None:
    ca_file = authority.file if sslmode.startswith("verify") else None
    address = encrypted.address(host=host, sslmode=sslmode, ca_file=ca_file)
    assert connected(address, IS_ENCRYPTED) is is_encrypted


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_a_certificate_of_another_authority_is_refused(
    encrypted: PostgresServer, tmp_path: Path, sslmode: str
) -> None:
    other = Authority(tmp_path).file
    reason = refusal(encrypted.address(sslmode=sslmode, ca_file=other))
    assert reason == "cannot connect (SSL error: certificate verify failed)"


def test_a_certificate_for_another_host_is_refused(encrypted: PostgresServer, authority: Authority) -> None:
    reason = refusal(encrypted.address(host="127.0.0.2", sslmode="verify-full", ca_file=authority.file))
    assert 'does not match host name "127.0.0.2"' in reason


def test_a_file_of_certificates_that_is_missing_is_named(encrypted: PostgresServer, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    reason = refusal(encrypted.address(sslmode="verify-ca", ca_file=missing))
    assert f'root certificate file "{missing}" does not exist' in reason


def test_one_greenlet_waits_and_the_others_go_on(connection: Connection, address: Address) -> None:
    assert psycopg2.extensions.get_wait_callback() is not None
    other = Connection(address, LIMITS)
    other.change("SELECT pg_advisory_lock(1)")
    waiting = gevent.spawn(value, connection, "SELECT 'done' FROM pg_advisory_lock(1)")
    deadline = eventually()
    while value(other, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0:
        deadline.again()
    assert not waiting.ready()
    other.close()
    assert waiting.get() == "done"


def test_a_statement_has_a_time_limit(address: Address) -> None:
    connection = Connection(address, Limits(connect=30, statement=0.2))
    with pytest.raises(KVError) as caught:
        connection.fetch("SELECT pg_sleep(60)")
    reason = "it took too long (canceling statement due to statement timeout)"
    assert str(caught.value) == f"{address}: {reason}"
    assert not isinstance(caught.value, Unanswered)
    assert value(connection, "SELECT 1") == 1
    connection.close()


def test_a_server_that_falls_silent_is_not_waited_for_long(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "GRACE_SECONDS", 0.05)
    with Proxy(postgres.port) as proxy:
        address = postgres.address(port=proxy.port)
        connection = Connection(address, Limits(connect=30, statement=0.1))
        proxy.hold()
        with pytest.raises(Unanswered) as caught:
            connection.fetch("SELECT 1")
    assert str(caught.value) == f"{address}: no answer within 0.15 s"
    assert repr(connection) == f"Connection({address}, closed)"


@pytest.mark.parametrize("patience", [60, 0.05], ids=["killed", "timed out"])
def test_who_gives_up_leaves_a_closed_connection(
    postgres: PostgresServer, address: Address, patience: float
) -> None:
    connection = Connection(address, Limits(connect=30, statement=0.5))

    def wait() -> None:
        with pytest.raises(TimeoutError), gevent.Timeout(patience, TimeoutError):
            connection.fetch("SELECT pg_sleep(60)")

    greenlet = gevent.spawn(wait)
    gevent.sleep(0)
    if patience == 60:
        greenlet.kill()
    greenlet.join()
    assert repr(connection) == f"Connection({address}, closed)"
    # The statement ends as well, by its own limit.
    assert number_of_sessions(postgres, at_most=0) == 0


def test_a_connection_that_breaks_says_so(
    postgres: PostgresServer, connection: Connection, address: Address
) -> None:
    waiting = gevent.spawn(raised, ConnectionLost, connection, "SELECT pg_sleep(60)")
    gevent.sleep(0)
    end_sessions(postgres)
    reason = "FATAL: terminating connection due to administrator command"
    assert str(waiting.get()) == f"{address}: the connection broke ({reason})"
    assert repr(connection) == f"Connection({address}, closed)"


def raised(kind: type[KVError], connection: Connection, sql: str) -> KVError:
    """The error that a statement raises: gevent prints what a greenlet dies of."""
    with pytest.raises(kind) as caught:
        connection.fetch(sql)
    return caught.value


def test_a_connection_that_broke_unnoticed_is_not_usable(
    postgres: PostgresServer, connection: Connection
) -> None:
    assert connection.usable
    end_sessions(postgres)
    assert not connection.usable


def test_a_connection_that_was_closed_is_not_usable(connection: Connection) -> None:
    connection.close()
    connection.close()
    assert not connection.usable


def test_no_error_shows_keys_or_values(connection: Connection) -> None:
    connection.change("CREATE TEMPORARY TABLE unique_texts (t text PRIMARY KEY)")
    insert = "INSERT INTO unique_texts VALUES (%s)"
    connection.change(insert, TOKEN)
    for sql, reason in (
        (insert, "it failed (duplicate key value violates unique constraint"),
        ("SELECT FROM nowhere WHERE t = %s", 'a table is missing (relation "nowhere" does not exist)'),
    ):
        with pytest.raises(KVError) as caught:
            connection.change(sql, TOKEN)
        assert reason in str(caught.value)
        assert TOKEN not in shown(caught.value)
