"""A key-value store in memory: for development, tests, and servers that need not remember."""

from collections import defaultdict
from itertools import islice, takewhile

from sortedcontainers import SortedDict

from gobbler.errors import KVError
from gobbler.kvstore.base import PAGE_ENTRIES, Entry, KVStore


class MemoryKVStore(KVStore):
    """Keeps everything in memory and forgets it at `stop`.

    No method switches to another greenlet, which makes each of them atomic.
    """

    def __init__(self) -> None:
        """Make an empty store, not running yet."""
        self._running: defaultdict[str, SortedDict] | None = None

    def __repr__(self) -> str:
        """Say whether it is running, and how many entries it has."""
        if self._running is None:
            return "MemoryKVStore(stopped)"
        return f"MemoryKVStore({sum(map(len, self._running.values()))} entries)"

    def start(self) -> None:
        """Begin, empty; when running: do nothing."""
        if self._running is None:
            self._running = defaultdict(SortedDict)

    def stop(self, timeout: float) -> None:
        """Forget everything; takes no time."""
        self._running = None

    def check(self) -> None:
        """Do nothing. Raises: KVError when the store is not running."""
        self._entries("")

    def _entries(self, schema: str) -> SortedDict:
        if self._running is None:
            raise KVError("the key-value store is not running")
        return self._running[schema]

    def _page(self, schema: str, prefix: str, after: str | None) -> list[Entry]:
        entries = self._entries(schema)
        keys = entries.irange(prefix) if after is None else entries.irange(after, inclusive=(False, True))
        found = takewhile(lambda key: key.startswith(prefix), keys)
        return [(key, entries[key]) for key in islice(found, PAGE_ENTRIES)]

    def _get(self, schema: str, key: str) -> bytes | None:
        value: bytes | None = self._entries(schema).get(key)
        return value

    def _put(self, schema: str, key: str, value: bytes) -> None:
        self._entries(schema)[key] = value

    def _delete(self, schema: str, key: str) -> bool:
        return self._entries(schema).pop(key, None) is not None

    def _write_batch(self, schema: str, puts: dict[str, bytes], deletes: list[str]) -> None:
        entries = self._entries(schema)
        for key in deletes:
            entries.pop(key, None)
        entries.update(puts)

    def _compare_and_put(self, schema: str, key: str, expected: bytes | None, value: bytes) -> bool:
        entries = self._entries(schema)
        equal: bool = entries.get(key) == expected
        if equal:
            entries[key] = value
        return equal

    def _compare_and_delete(self, schema: str, key: str, expected: bytes) -> bool:
        entries = self._entries(schema)
        equal: bool = entries.get(key) == expected
        if equal:
            del entries[key]
        return equal
