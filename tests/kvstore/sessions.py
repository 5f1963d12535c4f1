"""The store's sessions as the server sees them."""

from gobbler.kvstore.postgres_connection import Connection, Limits
from tests.postgres.server import PostgresServer
from tests.system.server import eventually

LIMITS = Limits(connect=30, statement=30)

_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'gobbler'"


def session(connection: Connection) -> int:
    """The number of a connection's session."""
    ((number,),) = connection.fetch("SELECT pg_backend_pid()")
    assert isinstance(number, int)
    return number


def number_of_sessions(postgres: PostgresServer, at_most: int) -> int:
    """How many sessions there are, as soon as it is not more than `at_most`: they end a little later."""
    deadline = eventually()
    while (number := len(postgres.sql(_SESSIONS))) > at_most:
        deadline.again()
    return number


def end_sessions(postgres: PostgresServer, which: str = "true") -> None:
    """End sessions at the server, and wait until they are gone."""
    ended = postgres.sql(f"SELECT pid, pg_terminate_backend(pid) FROM ({_SESSIONS} AND {which}) AS sessions")
    assert ended
    deadline = eventually()
    while {pid for pid, _ in ended} & {pid for (pid,) in postgres.sql(_SESSIONS)}:
        deadline.again()


def wait_for_locks(postgres: PostgresServer, number: int) -> None:
    """Wait until so many sessions wait for a lock."""
    deadline = eventually()
    while len(postgres.sql(f"{_SESSIONS} AND wait_event_type = 'Lock'")) < number:
        deadline.again()
