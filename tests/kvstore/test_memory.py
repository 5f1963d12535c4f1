"""What is special about the store in memory; the rest is the contract in test_base.py."""

from gobbler.kvstore.memory import MemoryKVStore


def test_it_forgets_when_it_stops() -> None:
    store = MemoryKVStore()
    store.start()
    store.put("s", "k", b"v")
    assert repr(store) == "MemoryKVStore(1 entries)"
    store.stop(0)
    store.start()
    assert store.get("s", "k") is None
