"""The contract of key-value stores, run against every one of them (conftest.py)."""

from collections.abc import Callable, Iterator
from itertools import count, islice

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gobbler.errors import BadRequest, KVError
from gobbler.kvstore.base import MAX_KEY_BYTES, MAX_VALUE_BYTES, PAGE_ENTRIES, KVStore

GREENLETS = 200

# In the order of their UTF-8 bytes. UTF-16 would order the last two the other way round,
# a locale's collation would mix the cases.
ORDERED_KEYS = ["", "\x01", " ", "%", "A", "Z", "_", "a", "ab", "b", "é", "\ufffd", "😀"]

OPERATIONS: dict[str, Callable[[KVStore, str, str], object]] = {
    "get": lambda store, schema, key: store.get(schema, key),
    "put": lambda store, schema, key: store.put(schema, key, b"v"),
    "delete": lambda store, schema, key: store.delete(schema, key),
    "items": lambda store, schema, key: list(store.items(schema, key)),
    "batch put": lambda store, schema, key: store.write_batch(schema, {key: b"v"}, []),
    "batch delete": lambda store, schema, key: store.write_batch(schema, {}, [key]),
    "compare and put": lambda store, schema, key: store.compare_and_put(schema, key, None, b"v"),
    "compare and delete": lambda store, schema, key: store.compare_and_delete(schema, key, b"v"),
}

# What writes a value under key "k" of schema "s".
WRITES: dict[str, Callable[[KVStore, bytes], object]] = {
    "put": lambda store, value: store.put("s", "k", value),
    "batch": lambda store, value: store.write_batch("s", {"other": b"v", "k": value}, []),
    "compare and put": lambda store, value: store.compare_and_put("s", "k", None, value),
}

operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
writes = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


def run_all(*calls: Callable[[], object]) -> list[object]:
    """Run each call in a greenlet of its own; return their results, raise their first error."""
    greenlets = [gevent.spawn(call) for call in calls]
    gevent.joinall(greenlets, raise_error=True)
    return [greenlet.value for greenlet in greenlets]


def contents(store: KVStore, schema: str = "s") -> dict[str, bytes]:
    return dict(store.items(schema))


def numbered(number: int) -> str:
    return f"{number:06}"


def test_an_entry_can_be_read_replaced_and_deleted(store: KVStore) -> None:
    assert store.get("s", "k") is None
    store.put("s", "k", b"first")
    assert store.get("s", "k") == b"first"
    store.put("s", "k", b"second")
    assert contents(store) == {"k": b"second"}
    assert store.delete("s", "k")
    assert not store.delete("s", "k")
    assert store.get("s", "k") is None
    assert contents(store) == {}


def test_schemas_are_apart(store: KVStore) -> None:
    store.put("a", "k", b"in a")
    store.put("ab", "k", b"in ab")
    assert not store.delete("b", "k")
    assert not store.compare_and_delete("b", "k", b"in a")
    assert (contents(store, "a"), contents(store, "ab"), contents(store, "b")) == (
        {"k": b"in a"},
        {"k": b"in ab"},
        {},
    )
    assert store.delete("a", "k")
    assert store.get("ab", "k") == b"in ab"


@writes
@pytest.mark.parametrize(
    "value", [b"", b"\0", bytes(range(256)), "é".encode(), b"\xff" * MAX_VALUE_BYTES], ids=len
)
def test_a_value_is_any_bytes(
    store: KVStore, write: Callable[[KVStore, bytes], object], value: bytes
) -> None:
    write(store, value)
    assert store.get("s", "k") == value
    assert contents(store)["k"] == value


@writes
def test_a_value_that_is_too_long_is_refused(
    store: KVStore, write: Callable[[KVStore, bytes], object]
) -> None:
    with pytest.raises(BadRequest, match="longer than 1048576 bytes"):
        write(store, bytes(MAX_VALUE_BYTES + 1))
    assert contents(store) == {}


@pytest.mark.parametrize(
    "key", [*ORDERED_KEYS, "x" * MAX_KEY_BYTES, "é" * (MAX_KEY_BYTES // 2), "e\u0301", "\ufeff", "\uffff"]
)
def test_a_key_and_a_schema_are_any_text(store: KVStore, key: str) -> None:
    store.put(key, key, b"v")
    assert store.get(key, key) == b"v"
    assert list(store.items(key)) == list(store.items(key, key)) == [(key, b"v")]
    assert store.compare_and_put(key, key, b"v", b"w")
    assert store.delete(key, key)


@operations
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("secret\0", "must not contain NUL"),
        ("\ud800secret", "not valid Unicode"),
        ("secret" + "x" * MAX_KEY_BYTES, "longer than 1024 bytes"),
        ("secret" + "é" * (MAX_KEY_BYTES // 2), "longer than 1024 bytes"),
    ],
    ids=["NUL", "surrogate", "long", "long in UTF-8"],
)
def test_a_bad_key_or_schema_is_refused(
    store: KVStore, operation: Callable[[KVStore, str, str], object], bad: str, reason: str
) -> None:
    for schema, key in ("s", bad), (bad, "k"):
        with pytest.raises(BadRequest, match=reason) as caught:
            operation(store, schema, key)
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert contents(store) == {}


def test_items_refuses_a_bad_prefix_at_the_call(store: KVStore) -> None:
    with pytest.raises(BadRequest):
        store.items("s", "\0")


def test_items_come_in_the_order_of_their_utf8(store: KVStore) -> None:
    assert [key.encode() for key in ORDERED_KEYS] == sorted(key.encode() for key in ORDERED_KEYS)
    for key in reversed(ORDERED_KEYS):
        store.put("s", key, key.encode())
    assert list(store.items("s")) == [(key, key.encode()) for key in ORDERED_KEYS]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["%", "%x", "A", "\\", "\\x", "_", "_x", "a", "a%b", "a_b", "aXb", "é", "éx", "\U0010ffffx"]),
        ("%", ["%", "%x"]),
        ("_", ["_", "_x"]),
        ("\\", ["\\", "\\x"]),
        ("a", ["a", "a%b", "a_b", "aXb"]),
        ("a%", ["a%b"]),
        ("a_", ["a_b"]),
        ("A", ["A"]),
        ("é", ["é", "éx"]),
        ("\U0010ffff", ["\U0010ffffx"]),
        ("b", []),
        ("a%bb", []),
    ],
)
def test_a_prefix_is_taken_as_it_is(store: KVStore, prefix: str, expected: list[str]) -> None:
    for key in ["%", "%x", "A", "\\", "\\x", "_", "_x", "a", "a%b", "a_b", "aXb", "é", "éx", "\U0010ffffx"]:
        store.put("s", key, b"v")
    assert [key for key, _ in store.items("s", prefix)] == sorted(expected)


@pytest.mark.parametrize("entries", [PAGE_ENTRIES - 1, PAGE_ENTRIES, PAGE_ENTRIES + 1, 3 * PAGE_ENTRIES])
def test_items_joins_its_pages(store: KVStore, entries: int) -> None:
    store.write_batch("s", {f"p{numbered(n)}": b"v" for n in range(entries)} | {"o": b"v", "q": b"v"}, [])
    assert [key for key, _ in store.items("s", "p")] == [f"p{numbered(n)}" for n in range(entries)]


def test_items_streams(store: KVStore) -> None:
    keys = [numbered(n) for n in range(100_000)]
    store.write_batch("s", dict.fromkeys(keys, b"v"), [])
    items = store.items("s")
    assert [key for key, _ in islice(items, 60_000)] == keys[:60_000]
    store.write_batch("s", {}, keys)
    # What still comes was read before the deletes: no more than one page.
    assert len(list(items)) < PAGE_ENTRIES


def test_items_is_consistent_while_others_write(store: KVStore) -> None:
    stable = {numbered(n): b"stable" for n in range(0, 3 * PAGE_ENTRIES, 2)}
    store.write_batch("s", stable, [])
    done = False

    def churn() -> None:
        for n in count(1, 2):
            if done:
                return
            key = numbered(n % (3 * PAGE_ENTRIES))
            store.put("s", key, b"restless")
            store.put("s", numbered(n % (3 * PAGE_ENTRIES) - 1), b"stable")
            store.delete("s", numbered((7 * n) % (3 * PAGE_ENTRIES) | 1))
            gevent.sleep(0)

    def read() -> list[str]:
        nonlocal done
        keys = []
        for key, _ in store.items("s"):
            keys.append(key)
            gevent.sleep(0)
        done = True
        return keys

    reader = gevent.spawn(read)
    run_all(churn, churn, churn)
    keys = reader.get()
    assert keys == sorted(set(keys))
    assert set(stable) <= set(keys)


def test_a_batch_writes_and_deletes(store: KVStore) -> None:
    store.write_batch("s", {"a": b"1", "b": b"1", "c": b"1"}, [])
    store.write_batch("other", {"a": b"1"}, [])
    store.write_batch("s", {"a": b"2", "d": b"2", "both": b"2"}, iter(["b", "missing", "both", "b"]))
    assert contents(store) == {"a": b"2", "both": b"2", "c": b"1", "d": b"2"}
    assert contents(store, "other") == {"a": b"1"}
    store.write_batch("s", {}, [])
    assert len(contents(store)) == 4


def test_a_refused_batch_changes_nothing(store: KVStore) -> None:
    store.put("s", "a", b"1")
    for puts, deletes in (
        ({"a": b"2", "b": bytes(MAX_VALUE_BYTES + 1)}, []),
        ({"a": b"2", "\0": b"2"}, []),
        ({"b": b"2"}, ["a", "\0"]),
    ):
        with pytest.raises(BadRequest):
            store.write_batch("s", puts, deletes)
    assert contents(store) == {"a": b"1"}


def test_a_batch_is_written_as_it_was_at_the_call(store: KVStore) -> None:
    puts, deletes = {"a": b"1"}, ["b"]
    store.put("s", "b", b"1")
    writer = gevent.spawn(store.write_batch, "s", puts, deletes)
    gevent.sleep(0)  # the writer calls, and waits where a store waits
    puts["c"] = b"1"
    deletes.clear()
    writer.get()
    assert contents(store) == {"a": b"1"}


def test_nobody_sees_half_a_batch(store: KVStore) -> None:
    keys = [str(n) for n in range(10)]
    store.write_batch("s", dict.fromkeys(keys, b"0"), [])

    def write(name: bytes) -> None:
        for _ in range(20):
            store.write_batch("s", dict.fromkeys(keys, name), [])

    def read() -> None:
        for _ in range(20):
            # Ten entries are one page, which is one read.
            assert len({value for _, value in store.items("s")}) == 1
            gevent.sleep(0)

    run_all(lambda: write(b"1"), lambda: write(b"2"), read, read)


def test_compare_and_put(store: KVStore) -> None:
    assert not store.compare_and_put("s", "k", b"", b"1")
    assert contents(store) == {}
    assert store.compare_and_put("s", "k", None, b"")
    assert not store.compare_and_put("s", "k", None, b"1")
    assert store.get("s", "k") == b""
    assert store.compare_and_put("s", "k", b"", b"1")
    assert not store.compare_and_put("s", "k", b"2", b"3")
    assert store.compare_and_put("s", "k", b"1", b"1")
    assert contents(store) == {"k": b"1"}


def test_compare_and_delete(store: KVStore) -> None:
    assert not store.compare_and_delete("s", "k", b"")
    store.put("s", "k", b"1")
    assert not store.compare_and_delete("s", "k", b"2")
    assert not store.compare_and_delete("s", "k", b"")
    assert contents(store) == {"k": b"1"}
    assert store.compare_and_delete("s", "k", b"1")
    assert contents(store) == {}


def test_many_greenlets_lose_no_write(store: KVStore) -> None:
    def work(name: int) -> None:
        for step in range(5):
            key, value = f"{name}/{step}", b"%d" % (name * step)
            store.put("s", key, value)
            assert store.get("s", key) == value
            if step % 2:
                assert store.delete("s", key)

    run_all(*(lambda name=name: work(name) for name in range(GREENLETS)))
    expected = {f"{name}/{step}": b"%d" % (name * step) for name in range(GREENLETS) for step in (0, 2, 4)}
    assert contents(store) == expected


def test_many_greenlets_count_with_compare_and_put(store: KVStore) -> None:
    def increment() -> None:
        while True:
            old = store.get("s", "n")
            if store.compare_and_put("s", "n", old, b"%d" % (int(old or b"0") + 1)):
                return

    run_all(*[increment] * GREENLETS)
    assert store.get("s", "n") == b"%d" % GREENLETS


def test_one_of_many_greenlets_wins(store: KVStore) -> None:
    assert sum(map(bool, run_all(*[lambda: store.compare_and_put("s", "k", None, b"v")] * GREENLETS))) == 1
    assert sum(map(bool, run_all(*[lambda: store.compare_and_delete("s", "k", b"v")] * GREENLETS))) == 1
    store.put("s", "k", b"v")
    assert sum(map(bool, run_all(*[lambda: store.delete("s", "k")] * GREENLETS))) == 1


def test_a_healthy_store_passes_its_check(store: KVStore) -> None:
    store.put("s", "k", b"v")
    store.check()
    assert contents(store) == {"k": b"v"}


@operations
def test_a_store_that_is_not_running_says_so(
    new_store: KVStore, operation: Callable[[KVStore, str, str], object]
) -> None:
    def refused() -> None:
        with pytest.raises(KVError, match="not running"):
            operation(new_store, "s", "k")

    refused()
    new_store.start()
    operation(new_store, "s", "k")
    new_store.stop(5)
    refused()


def test_the_check_fails_when_the_store_is_not_running(new_store: KVStore) -> None:
    with pytest.raises(KVError, match="not running"):
        new_store.check()
    new_store.start()
    new_store.stop(5)
    with pytest.raises(KVError, match="not running"):
        new_store.check()


def test_an_iteration_ends_with_the_store(store: KVStore) -> None:
    store.write_batch("s", {numbered(n): b"v" for n in range(PAGE_ENTRIES + 1)}, [])
    items = store.items("s")
    next(items)
    store.stop(5)
    with pytest.raises(KVError, match="not running"):
        list(items)


def test_start_and_stop_can_be_repeated(new_store: KVStore) -> None:
    new_store.stop(5)
    new_store.start()
    new_store.put("s", "k", b"v")
    new_store.start()
    assert new_store.get("s", "k") == b"v"
    new_store.stop(5)
    new_store.stop(5)
    new_store.start()
    new_store.put("s", "k", b"w")
    assert contents(new_store) == {"k": b"w"}


def test_the_state_shows(new_store: KVStore) -> None:
    stopped = repr(new_store)
    new_store.start()
    assert type(new_store).__name__ in stopped
    assert "stopped" in stopped
    assert "stopped" not in repr(new_store)


keys = st.text(st.sampled_from("ab%_\\é😀"), max_size=3)
values = st.binary(max_size=2)
steps = st.one_of(
    st.tuples(st.just("put"), keys, values),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("batch"), st.dictionaries(keys, values, max_size=4), st.lists(keys, max_size=4)),
    st.tuples(st.just("compare_and_put"), keys, st.none() | values, values),
    st.tuples(st.just("compare_and_delete"), keys, values),
    st.tuples(st.just("items"), keys),
)


@pytest.fixture
def fresh_schemas() -> Iterator[str]:
    """A new name a turn: hypothesis runs its examples on one store."""
    return map(str, count())


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, max_size=20))
def test_it_does_what_a_dictionary_does(
    store: KVStore, fresh_schemas: Iterator[str], script: list[tuple[str, *tuple[object, ...]]]
) -> None:
    schema = next(fresh_schemas)
    model: dict[str, bytes] = {}
    for step in script:
        assert on_store(store, schema, *step) == on_dictionary(model, *step)
        assert contents(store, schema) == model


def on_store(store: KVStore, schema: str, name: str, *arguments: object) -> object:
    method = {"batch": "write_batch"}.get(name, name)
    result = getattr(store, method)(schema, *arguments)
    return list(result) if name == "items" else result


def on_dictionary(model: dict[str, bytes], name: str, key: object, *arguments: object) -> object:
    match name, key, arguments:
        case "put", str(), (bytes(value),):
            model[key] = value
            return None
        case "delete", str(), ():
            return model.pop(key, None) is not None
        case "batch", dict(), (list(deletes),):
            for deleted in deletes:
                model.pop(deleted, None)
            model.update(key)
            return None
        case "compare_and_put", str(), (expected, bytes(value)):
            equal = model.get(key) == expected
            model.update({key: value} if equal else {})
            return equal
        case "compare_and_delete", str(), (expected,):
            return model.get(key) == expected and model.pop(key, None) is not None
        case "items", str(), ():
            return sorted((found, value) for found, value in model.items() if found.startswith(key))
    raise AssertionError(name)
