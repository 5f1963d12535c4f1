"""Who has a connection when, and what becomes of it, against a real server."""

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from gobbler.errors import KVError
from gobbler.kvstore.postgres_connection import Address, Connection, ConnectionLost, Unanswered
from gobbler.kvstore.postgres_pool import Pool
from tests.kvstore.greenlets import outcome, spawn_and_settle
from tests.kvstore.sessions import (
    LIMITS,
    end_sessions,
    number_of_sessions,
    session,
)
from tests.postgres.server import PostgresServer

SIZE = 3

NewPool = Callable[..., Pool]


@pytest.fixture
def new_pool(cooperative: None, address: Address) -> Iterator[NewPool]:
    """Makes pools of connections to the server."""
    made = []

    def make(size: int = SIZE, wait_seconds: float = 30) -> Pool:
        made.append(Pool(lambda: Connection(address, LIMITS), size, wait_seconds))
        return made[-1]

    yield make
    for pool in made:
        pool.close(5)


@pytest.fixture
def pool(new_pool: NewPool) -> Pool:
    return new_pool()


def once(pool: Pool, operation: Callable[[Connection], object]) -> object:
    return pool.run(operation, repeat=False)


class Operation:
    """An operation that stays on its connection until it is let go; `results` has the sessions it was on."""

    def __init__(self) -> None:
        self.sessions: list[int] = []
        self.begun = Event()
        self.go_on = Event()

    def __call__(self, connection: Connection) -> str:
        self.sessions.append(session(connection))
        self.begun.set()
        self.go_on.wait()
        return "done"


class Breaking:
    """An operation whose connection the server ends the first `times` that it runs."""

    def __init__(self, postgres: PostgresServer, times: int) -> None:
        self.calls = 0
        self._postgres = postgres
        self._times = times

    def __call__(self, connection: Connection) -> str:
        self.calls += 1
        if self.calls <= self._times:
            end_sessions(self._postgres)
        connection.fetch("SELECT 1")
        return "done"


def test_a_connection_is_used_again(pool: Pool) -> None:
    assert once(pool, session) == once(pool, session)


def test_as_many_operations_run_at_a_time_as_there_are_connections(
    postgres: PostgresServer, pool: Pool
) -> None:
    operations = [Operation() for _ in range(2 * SIZE)]
    greenlets = [gevent.spawn(once, pool, operation) for operation in operations]
    for operation in operations[:SIZE]:
        operation.begun.wait()
    assert repr(pool) == f"Pool({2 * SIZE} operations, at most {SIZE} at a time)"
    assert number_of_sessions(postgres, at_most=SIZE) == SIZE
    assert not any(operation.begun.is_set() for operation in operations[SIZE:])
    for operation in operations:
        operation.go_on.set()
    gevent.joinall(greenlets, raise_error=True)
    assert len({operation.sessions[0] for operation in operations}) == SIZE


def test_operations_have_their_turns_in_order(new_pool: NewPool) -> None:
    pool = new_pool(size=1)
    turns: list[int] = []

    def work(name: int) -> None:
        def take_turn(connection: Connection) -> None:
            session(connection)
            turns.append(name)

        for _ in range(4):
            # Whoever comes back at once stands behind those who wait.
            once(pool, take_turn)

    gevent.joinall([gevent.spawn(work, name) for name in range(5)], raise_error=True)
    assert turns == [0, 1, 2, 3, 4] * 4


def test_waiting_for_a_connection_has_an_end(new_pool: NewPool) -> None:
    pool = new_pool(size=1, wait_seconds=0.05)
    operation = Operation()
    greenlet = gevent.spawn(once, pool, operation)
    operation.begun.wait()
    with pytest.raises(KVError) as caught:
        once(pool, session)
    assert str(caught.value) == "no connection to PostgreSQL was free within 0.05 s (1 are in use)"
    operation.go_on.set()
    assert greenlet.get() == "done"
    once(pool, session)


def test_who_is_killed_while_waiting_takes_no_connection(new_pool: NewPool) -> None:
    pool = new_pool(size=1, wait_seconds=5)
    operation = Operation()
    (greenlet,) = spawn_and_settle(lambda: once(pool, operation))
    waiting = [gevent.spawn(once, pool, session) for _ in range(3)]
    operation.begun.wait()
    waiting[1].kill()
    operation.go_on.set()
    assert greenlet.get() == "done"
    gevent.joinall(waiting, raise_error=True)
    assert waiting[0].value == waiting[2].value == operation.sessions[0]


def test_who_is_killed_at_its_turn_hands_it_on(new_pool: NewPool) -> None:
    pool = new_pool(size=1, wait_seconds=5)

    def spawn_and_kill(connection: Connection) -> None:
        (greenlet,) = spawn_and_settle(lambda: once(pool, session))
        # It dies in the next turn of the event loop; its own turn comes before, when this returns.
        greenlet.kill(block=False)

    once(pool, spawn_and_kill)
    once(pool, session)


def test_who_is_killed_in_the_middle_takes_its_connection_along(
    postgres: PostgresServer, new_pool: NewPool
) -> None:
    pool = new_pool(size=1)
    operation = Operation()
    greenlet = gevent.spawn(once, pool, operation)
    operation.begun.wait()
    greenlet.kill()
    assert once(pool, session) not in operation.sessions
    assert number_of_sessions(postgres, at_most=1) == 1


def test_a_transaction_that_fails_is_not_left_to_the_next(new_pool: NewPool) -> None:
    pool = new_pool(size=1)
    with pytest.raises(KVError, match="division by zero"):
        once(pool, lambda connection: connection.change("BEGIN; SELECT 1 / 0"))
    once(pool, lambda connection: connection.change("SELECT 1"))


def test_a_connection_that_ended_unnoticed_is_replaced(postgres: PostgresServer, pool: Pool) -> None:
    before = once(pool, session)
    end_sessions(postgres)
    assert once(pool, session) != before


@pytest.mark.parametrize("repeat", [True, False])
def test_only_what_may_be_repeated_is_repeated(
    postgres: PostgresServer, pool: Pool, repeat: bool, caplog: pytest.LogCaptureFixture
) -> None:
    operation = Breaking(postgres, times=1)
    got = outcome(lambda: pool.run(operation, repeat=repeat))()
    assert operation.calls == (2 if repeat else 1)
    assert got == "done" if repeat else isinstance(got, ConnectionLost)
    assert [record.message.partition("; ")[2] for record in caplog.records] == (
        ["trying again on a new one"] if repeat else []
    )


def test_nothing_is_repeated_twice(postgres: PostgresServer, pool: Pool, address: Address) -> None:
    operation = Breaking(postgres, times=3)
    with pytest.raises(Unanswered) as caught:
        pool.run(operation, repeat=True)
    assert operation.calls == 2
    reason = f"{address}: the connection broke (FATAL: terminating connection due to administrator command)"
    assert str(caught.value) == f"{reason}; again: {reason}"


def test_it_is_not_known_what_was_done_when_there_is_no_second_connection(
    cooperative: None, postgres: PostgresServer, address: Address
) -> None:
    addresses = iter([address, postgres.address(port=1)])
    pool = Pool(lambda: Connection(next(addresses), LIMITS), 1, 5)
    with pytest.raises(
        Unanswered, match=r"the connection broke .*; again: .*: cannot connect \(Connection refused\)"
    ):
        pool.run(Breaking(postgres, times=1), repeat=True)
    pool.close(5)


def test_a_closed_pool_has_no_connections_and_takes_no_operations(
    postgres: PostgresServer, pool: Pool
) -> None:
    operations = [Operation() for _ in range(SIZE)]
    greenlets = [gevent.spawn(once, pool, operation) for operation in operations]
    for operation in operations:
        operation.begun.wait()
        operation.go_on.set()
    gevent.joinall(greenlets, raise_error=True)
    assert pool.close(0)
    assert number_of_sessions(postgres, at_most=0) == 0
    with pytest.raises(KVError, match="not running"):
        once(pool, session)
    assert pool.close(0)


def test_closing_waits_for_what_was_begun(postgres: PostgresServer, new_pool: NewPool) -> None:
    pool = new_pool(size=1)
    operations = [Operation(), Operation()]
    greenlets = [gevent.spawn(once, pool, operation) for operation in operations]
    operations[0].begun.wait()
    assert not pool.close(0)
    closing = gevent.spawn(pool.close, 30)
    for operation in operations:
        operation.go_on.set()
    assert closing.get()
    assert [greenlet.value for greenlet in greenlets] == ["done", "done"]
    assert number_of_sessions(postgres, at_most=0) == 0
