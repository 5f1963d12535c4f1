"""What is special about the store in PostgreSQL; the rest is the contract in test_base.py."""

import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import gevent
import pytest
from gevent.event import Event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gobbler.errors import KVError
from gobbler.kvstore import postgres as module
from gobbler.kvstore import postgres_connection
from gobbler.kvstore.postgres import LAYOUT, POOL_SIZE, PostgresKVStore
from gobbler.kvstore.postgres_connection import Address
from tests.kvstore.greenlets import outcome, spawn_and_settle
from tests.kvstore.sessions import (
    end_sessions,
    number_of_sessions,
    wait_for_locks,
)
from tests.postgres.proxy import Proxy
from tests.postgres.server import PASSWORD, PostgresServer

ROOT = Path(__file__).parents[2]
SECONDS = 30.0

# Runs tests in a process where gevent has replaced sockets, threads and the rest, as in the server.
PATCHED = """
from gevent import monkey; monkey.patch_all()
import sys, pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "postgres and not sqlite", *sys.argv[1:]]))
"""

# Starts a store when it is told to.
STARTER = """
from gevent import monkey; monkey.patch_all()
import sys
from gobbler.kvstore.postgres import PostgresKVStore
from gobbler.kvstore.postgres_connection import Address

host, port, user, password, dbname = sys.argv[1:]
store = PostgresKVStore(Address(host, int(port), user, password, dbname))
print("ready", flush=True)
sys.stdin.readline()
store.start()
store.put("s", "k", b"v")
store.stop(5)
"""

# Every operation: whether it is done again when its connection breaks, and what it does to the
# entries {"k": b"old"}.
OPERATIONS: dict[str, tuple[bool, Callable[[PostgresKVStore], object], dict[str, bytes]]] = {
    "get": (True, lambda store: store.get("s", "k"), {"k": b"old"}),
    "items": (True, lambda store: list(store.items("s")), {"k": b"old"}),
    "check": (True, lambda store: store.check(), {"k": b"old"}),
    "put": (True, lambda store: store.put("s", "k", b"new"), {"k": b"new"}),
    "batch": (True, lambda store: store.write_batch("s", {"n": b"new"}, ["k"]), {"n": b"new"}),
    "delete": (False, lambda store: store.delete("s", "k"), {}),
    "put new": (
        False,
        lambda store: store.compare_and_put("s", "n", None, b"new"),
        {"k": b"old", "n": b"new"},
    ),
    "put over": (False, lambda store: store.compare_and_put("s", "k", b"old", b"new"), {"k": b"new"}),
    "delete equal": (False, lambda store: store.compare_and_delete("s", "k", b"old"), {}),
}
READS = {"get", "items"}

T = TypeVar("T")

operations = pytest.mark.parametrize("name", OPERATIONS)


@pytest.fixture
def store(address: Address) -> Iterator[PostgresKVStore]:
    with running(address) as store:
        yield store


@pytest.fixture(scope="module")
def restarted() -> Iterator[PostgresServer]:
    """A server of this module's own, for tests that stop it."""
    with PostgresServer() as server:
        yield server


@contextmanager
def running(
    address: Address, statement_timeout: float = SECONDS, wait_timeout: float = SECONDS, **options: int
) -> Iterator[PostgresKVStore]:
    store = PostgresKVStore(
        address, statement_timeout=statement_timeout, wait_timeout=wait_timeout, **options
    )
    store.start()
    yield store
    store.stop(5)


@contextmanager
def locked(postgres: PostgresServer) -> Iterator[None]:
    """Let nobody write entries."""
    with postgres.connection() as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE gobbler_entries IN EXCLUSIVE MODE")
        yield


def contents(store: PostgresKVStore) -> dict[str, bytes]:
    return dict(store.items("s"))


def refusal(address: Address) -> str:
    """The message of the error with which a store does not start."""
    store = PostgresKVStore(address)
    with pytest.raises(KVError) as caught:
        store.start()
    assert "stopped" in repr(store)
    return str(caught.value)


# The database


def test_the_entries_are_there_after_a_restart(store: PostgresKVStore, address: Address) -> None:
    store.put("s", "é", b"\0\xff")
    store.stop(5)
    store.start()
    assert store.get("s", "é") == b"\0\xff"
    with running(address) as again:
        assert list(again.items("s")) == [("é", b"\0\xff")]


def test_keys_are_ordered_by_their_bytes_whatever_the_databases_order(
    store: PostgresKVStore, postgres: PostgresServer
) -> None:
    columns = "SELECT column_name, collation_name FROM information_schema.columns WHERE table_name = %s"
    assert dict(postgres.sql(columns, "gobbler_entries")) == {"schema": "C", "key": "C", "value": None}


def test_pages_are_read_in_the_order_of_the_index(postgres: PostgresServer, store: PostgresKVStore) -> None:
    """In new tables, of which the planner knows nothing, it would sort all that follows for each page."""
    fill = (
        "INSERT INTO gobbler_entries SELECT 's', lpad(n::text, 100, 'p'), '' FROM generate_series(1, %s) AS n"
    )
    postgres.sql(fill, 100_000)
    explain = f"EXPLAIN {module._PAGE}"
    plan = store._read(lambda connection: connection.fetch(explain, "s", "p", "q", "q", 500, 1))
    lines = "\n".join(line for (line,) in plan)
    assert "Index Scan using gobbler_entries_pkey" in lines
    assert "Sort" not in lines


def test_a_page_of_items_is_bounded_in_bytes(store: PostgresKVStore) -> None:
    keys = list("abcde")
    store.write_batch("s", dict.fromkeys(keys, bytes(module.PAGE_BYTES)), [])
    items = store.items("s")
    assert next(items)[0] == "a"
    store.write_batch("s", {}, keys[:4])
    # Had the page held more than the first value, another of those would come now.
    assert [key for key, _ in items] == ["e"]


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", "b"),
        ("ab", "ac"),
        ("a\ud7ff", "a\ue000"),
        ("a\U0010ffff\U0010ffff", "b"),
        ("\U0010ffff", None),
    ],
)
def test_a_prefix_ends_before_the_next_text(prefix: str, end: str | None) -> None:
    assert module._end_of(prefix) == end


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=texts, entries=st.dictionaries(texts, st.binary(max_size=8), min_size=1))
def test_nothing_in_a_key_or_value_is_special(
    store: PostgresKVStore, schema: str, entries: dict[str, bytes]
) -> None:
    store.write_batch(schema, entries, [key for key, _ in store.items(schema)])
    assert list(store.items(schema)) == sorted(entries.items())
    for key, value in entries.items():
        assert store.compare_and_put(schema, key, value, value + b"'\\")
        assert store.compare_and_delete(schema, key, value + b"'\\")


# The start


def test_stores_that_start_together_create_the_tables_once(
    postgres: PostgresServer, address: Address
) -> None:
    for _ in range(5):
        postgres.sql("DROP TABLE IF EXISTS gobbler_entries, gobbler_layout")
        stores = [PostgresKVStore(address) for _ in range(8)]
        gevent.joinall([gevent.spawn(store.start) for store in stores], raise_error=True)
        for store in stores:
            store.stop(5)
    assert postgres.sql("SELECT version FROM gobbler_layout") == [(LAYOUT,)]


def test_servers_that_start_together_create_the_tables_once(
    postgres: PostgresServer, address: Address
) -> None:
    target = [address.host, str(address.port), address.user, address.password, address.dbname]
    command = [sys.executable, "-c", STARTER, *target]
    starters = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("\n")
        starter.stdin.flush()
    for starter in starters:
        starter.communicate()
    assert [starter.returncode for starter in starters] == [0, 0]
    assert postgres.sql("SELECT key FROM gobbler_entries") == [("k",)]


def test_a_newer_layout_is_refused_and_left_alone(
    postgres: PostgresServer, store: PostgresKVStore, address: Address
) -> None:
    store.put("s", "k", b"v")
    store.stop(5)
    postgres.sql("UPDATE gobbler_layout SET version = version + 1")
    assert refusal(address) == (
        f"{address}: the tables were written by a newer version of Gobbler "
        f"(their layout has version {LAYOUT + 1}, this one knows {LAYOUT})"
    )
    assert postgres.sql("SELECT version FROM gobbler_layout") == [(LAYOUT + 1,)]
    assert postgres.sql("SELECT key FROM gobbler_entries") == [("k",)]


def test_a_database_that_cannot_hold_every_key_is_refused(postgres: PostgresServer) -> None:
    postgres.sql("DROP DATABASE IF EXISTS latin")
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    address = postgres.address(dbname="latin")
    assert refusal(address) == f"{address}: the database 'latin' has the encoding LATIN1; it must be UTF8"


def test_a_user_needs_to_create_the_tables_only_once(postgres: PostgresServer, address: Address) -> None:
    postgres.sql("DROP ROLE IF EXISTS limited; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    postgres.sql("CREATE ROLE limited LOGIN PASSWORD %s", PASSWORD)
    limited = postgres.address(user="limited")
    reason = "the user lacks a privilege (permission denied for schema public)"
    assert refusal(limited) == f"{limited}: {reason}"
    with running(address):
        postgres.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON gobbler_entries, gobbler_layout TO limited")
    with running(limited) as store:
        for _, operation, expected in OPERATIONS.values():
            store.write_batch("s", {"k": b"old"}, ["n"])
            operation(store)
            assert contents(store) == expected
    postgres.sql(
        "REVOKE INSERT ON gobbler_entries FROM limited; REVOKE DELETE ON gobbler_entries FROM limited"
    )
    reason = "the user lacks a privilege (permission denied for table gobbler_entries)"
    assert refusal(limited) == f"{limited}: {reason}"
    postgres.sql("DROP OWNED BY limited; DROP ROLE limited")


def test_the_database_of_the_documentation_is_all_it_needs(postgres: PostgresServer) -> None:
    page = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
    statements = [line.strip() for line in page.splitlines() if line.startswith("    CREATE ")]
    # The server of the tests has a `gobbler` already, who may do anything.
    create_role, create_database = (line.replace("gobbler", "documented") for line in statements)
    for name in "DATABASE", "ROLE":
        postgres.sql(f"DROP {name} IF EXISTS documented")
    postgres.sql(create_role.replace("a long one", PASSWORD))
    postgres.sql(create_database)
    with running(postgres.address(user="documented", dbname="documented")) as store:
        for _, operation, expected in OPERATIONS.values():
            store.write_batch("s", {"k": b"old"}, ["n"])
            operation(store)
            assert contents(store) == expected


def test_a_store_that_was_refused_starts_when_the_cause_is_gone(
    restarted: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    address = restarted.address()
    store = PostgresKVStore(address)
    restarted.stop()
    with pytest.raises(KVError) as caught:
        store.start()
    assert str(caught.value) == f"{address}: cannot connect (Connection refused)"
    restarted.start()
    store.start()
    store.put("s", "k", b"v")
    store.stop(5)


def test_no_password_is_shown(postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = PostgresKVStore(postgres.address(user="somebody"))
    with pytest.raises(KVError) as caught:
        store.start()
    shown = [repr(store), caplog.text, *traceback.format_exception(caught.value)]
    assert PASSWORD not in "".join(shown)


# The check


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            "ALTER DATABASE gobbler SET default_transaction_read_only = on",
            "it cannot be written (cannot execute DELETE in a read-only transaction)",
        ),
        (
            "DROP TABLE gobbler_entries",
            'a table is missing (relation "gobbler_entries" does not exist)',
        ),
        ("DROP TABLE gobbler_layout", 'a table is missing (relation "gobbler_layout" does not exist)'),
        ("DELETE FROM gobbler_layout", "the table gobbler_layout does not have its one row"),
    ],
    ids=["read-only", "no entries", "no layout", "no version"],
)
def test_the_check_finds_what_is_wrong(
    postgres: PostgresServer, store: PostgresKVStore, address: Address, damage: str, reason: str
) -> None:
    postgres.sql(damage)
    end_sessions(postgres)
    try:
        with pytest.raises(KVError) as caught:
            store.check()
        assert str(caught.value) == f"{address}: {reason}"
    finally:
        # From another database: this one may be read-only.
        postgres.sql("ALTER DATABASE gobbler RESET default_transaction_read_only", dbname="postgres")


def test_the_check_finds_a_server_that_is_down(restarted: PostgresServer) -> None:
    with running(restarted.address()) as store:
        store.check()
        restarted.stop()
        with pytest.raises(KVError, match="cannot connect"):
            store.check()
        restarted.start()
        store.check()


# Batches


def test_a_large_batch_is_one_transaction(
    postgres: PostgresServer, store: PostgresKVStore, address: Address
) -> None:
    before = {"k": b"v"}
    store.write_batch("s", before, [])
    postgres.sql("ALTER TABLE gobbler_entries ADD CHECK (key <> 'device token')")
    # Each value is more than a message; the one that is refused comes in the last.
    large = {str(n): bytes(module.MESSAGE_BYTES) for n in range(4)}
    with pytest.raises(KVError) as caught:
        store.write_batch("s", large | {"device token": b"v"}, ["k"])
    reason = 'new row for relation "gobbler_entries" violates check constraint "gobbler_entries_key_check"'
    assert str(caught.value) == f"{address}: it failed ({reason})"
    assert contents(store) == before
    store.write_batch("s", large, ["k"])
    assert contents(store) == large


def test_nobody_sees_half_a_large_batch(store: PostgresKVStore) -> None:
    keys = [f"{n:05}" for n in range(2 * module.CHUNK_ENTRIES)]
    writer = gevent.spawn(store.write_batch, "s", dict.fromkeys(keys, bytes(1000)), [])
    seen = set()
    while not writer.ready():
        seen.add((store.get("s", keys[0]), store.get("s", keys[-1])))
    writer.get()
    assert seen <= {(None, None), (None, bytes(1000)), (bytes(1000), bytes(1000))}
    assert len(contents(store)) == len(keys)


def test_batches_with_the_same_keys_do_not_wait_for_each_other_in_a_circle(
    store: PostgresKVStore, address: Address
) -> None:
    keys = [str(n) for n in range(20)]

    def write(store: PostgresKVStore, keys: list[str]) -> None:
        for n in range(25):
            half = n % 2 * 10
            store.write_batch("s", dict.fromkeys(keys[half : half + 10], b"v"), keys[10 - half : 20 - half])

    with running(address) as other:
        orders = [keys, keys[::-1], keys[5:] + keys[:5], keys[::3] + keys[1::3] + keys[2::3]]
        writers = [gevent.spawn(write, which, order) for which in (store, other) for order in orders]
        # The server would find a circle, after a second, and fail one of its batches.
        gevent.joinall(writers, raise_error=True)


# Connections that break


@operations
def test_an_operation_whose_session_is_ended_before_it_writes(
    postgres: PostgresServer, store: PostgresKVStore, name: str
) -> None:
    is_repeated, operation, expected = OPERATIONS[name]
    store.put("s", "k", b"old")
    with postgres.connection() as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE gobbler_entries")
        (greenlet,) = spawn_and_settle(outcome(lambda: operation(store)))
        wait_for_locks(postgres, 1)
        end_sessions(postgres, "wait_event_type = 'Lock'")
        cursor.execute("COMMIT")
    got = greenlet.get()
    if is_repeated:
        assert not isinstance(got, KVError)
        assert contents(store) == expected
    else:
        assert str(got).endswith("; it is not known whether it was written")
        assert contents(store) == {"k": b"old"}


@operations
def test_an_operation_whose_answer_is_lost(postgres: PostgresServer, address: Address, name: str) -> None:
    is_repeated, operation, expected = OPERATIONS[name]
    with Proxy(postgres.port) as proxy, running(postgres.address(port=proxy.port)) as store:
        store.put("s", "k", b"old")
        proxy.lose_answers(1)
        got = outcome(lambda: operation(store))()
        assert isinstance(got, KVError) is not is_repeated
        if not is_repeated:
            assert str(got).endswith("; it is not known whether it was written")
        # It was, all the same.
        assert contents(store) == expected


@operations
def test_an_operation_whose_answer_is_lost_twice_has_failed(
    postgres: PostgresServer, address: Address, name: str
) -> None:
    _, operation, expected = OPERATIONS[name]
    with Proxy(postgres.port) as proxy, running(postgres.address(port=proxy.port)) as store:
        store.put("s", "k", b"old")
        proxy.lose_answers(2)  # the second is the first that the server gives to a new connection
        with pytest.raises(KVError, match="the connection broke") as caught:
            operation(store)
        assert ("it is not known whether it was written" in str(caught.value)) is (name not in READS)
        proxy.lose_answers(0)
        assert contents(store) == expected


@operations
def test_an_operation_whose_server_falls_silent_has_an_end(
    postgres: PostgresServer, address: Address, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, operation, _ = OPERATIONS[name]
    with Proxy(postgres.port) as proxy, running(postgres.address(port=proxy.port)) as store:
        proxy.hold()
        # The start had all the time that it needed.
        monkeypatch.setattr(postgres_connection, "GRACE_SECONDS", 0.1 - SECONDS)
        with pytest.raises(KVError, match=r"no answer within 0\.1 s"):
            operation(store)


class Worker:
    """Writes without a pause, and keeps what it was told; KVErrors do not stop it."""

    def __init__(self, store: PostgresKVStore, name: str) -> None:
        self.acknowledged: list[str] = []
        self.unknown = 0
        self.slowest = 0.0
        self.stopping = False
        self._store = store
        self._name = name
        self._progress = Event()

    def put(self) -> None:
        """Put entries, each once."""
        for n in count():
            key = f"{self._name}/{n}"
            if self._told(self._store.put, "puts", key, key.encode()) is None:
                self.acknowledged.append(key)
            if self._ends():
                return

    def increment(self) -> None:
        """Count with comparisons, each once."""
        while not self._ends():
            old = self._told(self._store.get, "count", "n")
            if isinstance(old, KVError):
                continue
            new = b"%d" % (int(old or b"0") + 1)
            told = self._told(self._store.compare_and_put, "count", "n", old, new)
            self.unknown += isinstance(told, KVError)
            self.acknowledged += [""] if told is True else []

    def goes_on(self) -> None:
        """Wait until it is told of another write."""
        before = len(self.acknowledged)
        while len(self.acknowledged) == before:
            self._progress.clear()
            assert self._progress.wait(SECONDS)

    def _ends(self) -> bool:
        self._progress.set()
        gevent.sleep(0)  # a connection that is refused at once does not wait
        return self.stopping

    def _told(self, operation: Callable[..., T], *arguments: Any) -> T | KVError:
        begun = time.monotonic()
        try:
            return operation(*arguments)
        except KVError as error:
            return error
        finally:
            self.slowest = max(self.slowest, time.monotonic() - begun)


def test_a_server_that_is_killed_and_comes_back(restarted: PostgresServer) -> None:
    threads = gevent.get_hub().threadpool
    with running(restarted.address(), statement_timeout=5) as store:
        putters = [Worker(store, str(name)) for name in range(10)]
        counters = [Worker(store, "") for _ in range(3)]
        greenlets = [gevent.spawn(worker.put) for worker in putters]
        greenlets += [gevent.spawn(worker.increment) for worker in counters]
        for _ in range(3):
            for worker in putters + counters:
                worker.goes_on()
            # In a thread: the greenlets have to go on meanwhile.
            threads.apply(restarted.stop)
            threads.apply(restarted.start)
        for worker in putters + counters:
            worker.goes_on()
            worker.stopping = True
        gevent.joinall(greenlets, raise_error=True)
        # What was acknowledged is there.
        found = dict(store.items("puts"))
        acknowledged = {key for worker in putters for key in worker.acknowledged}
        assert {key for key in acknowledged if found.get(key) != key.encode()} == set()
        # What was counted was counted once.
        total = int(store.get("count", "n") or b"0")
        counted = sum(len(worker.acknowledged) for worker in counters)
        assert counted <= total <= counted + sum(worker.unknown for worker in counters)
    assert max(worker.slowest for worker in putters + counters) < SECONDS


# Limits


def test_the_others_go_on_while_one_waits_for_a_lock(
    postgres: PostgresServer, store: PostgresKVStore
) -> None:
    store.put("s", "other", b"v")
    with locked(postgres):
        (writer,) = spawn_and_settle(lambda: store.put("s", "k", b"v"))
        for _ in range(100):
            assert store.get("s", "other") == b"v"
        assert not writer.ready()
    writer.get()
    assert store.get("s", "k") == b"v"


def test_a_statement_that_takes_too_long_fails_and_is_not_done(
    postgres: PostgresServer, store: PostgresKVStore, address: Address
) -> None:
    with running(address, statement_timeout=0.5) as hasty:  # `store` has created the tables
        with locked(postgres):
            got = outcome(lambda: hasty.put("s", "k", b"v"))()
            assert str(got) == f"{address}: it took too long (canceling statement due to statement timeout)"
        assert contents(store) == {}
        hasty.put("s", "k", b"v")
        assert contents(store) == {"k": b"v"}


def test_waiting_for_a_connection_has_an_end(postgres: PostgresServer, address: Address) -> None:
    with running(address, wait_timeout=0.05) as store:
        with locked(postgres):
            writers = spawn_and_settle(*(lambda n=n: store.put("s", str(n), b"v") for n in range(POOL_SIZE)))
            with pytest.raises(KVError) as caught:
                store.get("s", "k")
        reason = f"no connection to PostgreSQL was free within 0.05 s ({POOL_SIZE} are in use)"
        assert str(caught.value) == reason
        gevent.joinall(writers, raise_error=True)
        assert number_of_sessions(postgres, at_most=POOL_SIZE) == POOL_SIZE


def test_a_caller_that_gives_up_disturbs_nobody(postgres: PostgresServer, address: Address) -> None:
    with running(address, pool_size=1) as store:
        with locked(postgres):
            impatient, patient = spawn_and_settle(
                lambda: store.put("s", "impatient", b"v"), lambda: store.put("s", "patient", b"v")
            )
            wait_for_locks(postgres, 1)
            impatient.kill()
        patient.get()
        assert store.get("s", "patient") == b"v"
        assert number_of_sessions(postgres, at_most=1) == 1


# The stop


def test_stop_finishes_what_was_begun(postgres: PostgresServer, store: PostgresKVStore) -> None:
    with locked(postgres):
        writers = spawn_and_settle(*(lambda n=n: store.put("s", str(n), b"v") for n in range(3 * POOL_SIZE)))
        wait_for_locks(postgres, POOL_SIZE)
        stopper = gevent.spawn(store.stop, SECONDS)
    stopper.get()
    assert all(writer.successful() for writer in writers)
    assert number_of_sessions(postgres, at_most=0) == 0
    store.start()
    assert len(contents(store)) == 3 * POOL_SIZE


def test_stop_does_not_wait_for_a_lock_for_ever(
    postgres: PostgresServer, store: PostgresKVStore, address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(postgres):
        (writer,) = spawn_and_settle(lambda: store.put("s", "k", b"v"))
        store.stop(0)
        assert not writer.ready()
        message = f"{address}: the key-value store is still busy 0.0 s after its stop"
        assert caplog.record_tuples == [(module.__name__, logging.WARNING, message)]
        with pytest.raises(KVError, match="not running"):
            store.get("s", "k")
    # In the background the write still comes to its end, and its connection too.
    writer.get()
    assert number_of_sessions(postgres, at_most=0) == 0
    store.start()
    assert store.get("s", "k") == b"v"


@pytest.mark.timeout(600)
def test_it_works_when_everything_is_patched(tmp_path: Path) -> None:
    tests = [Path(__file__).with_name(name) for name in ("test_base.py", "test_postgres_pool.py")]
    # A folder of its own: pytest's shared one is tidied by every run that goes on at the same time.
    command = [sys.executable, "-c", PATCHED, f"--basetemp={tmp_path / 'nested'}", *map(str, tests)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
