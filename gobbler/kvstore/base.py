"""What a key-value store is: small durable facts by (schema, key).

A schema groups the entries of one owner (`fcm`: its subscriptions). A key is any
text without NUL of at most `MAX_KEY_BYTES` in UTF-8, a value at most
`MAX_VALUE_BYTES` of anything. Keys are ordered by their UTF-8 bytes, which is
also the order of their code points.

The public methods of `KVStore` check what they are given, in one place for every
store, and hand it to the methods with an underscore, which a store implements.
A bad schema, key or value is the caller's mistake and raises `BadRequest`: trying
again cannot help, and REST answers it with 400. Whatever a store itself cannot do
raises `KVError`. No error names a key or a value: they may hold device tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

from gobbler.errors import BadRequest

MAX_KEY_BYTES = 1024
"""The longest schema and the longest key, in bytes of UTF-8."""

MAX_VALUE_BYTES = 1 << 20
"""The longest value, in bytes."""

PAGE_ENTRIES = 500
"""How many entries `items` holds at a time, at most."""

Entry = tuple[str, bytes]
"""One key and its value."""


class KVStore(ABC):
    """A store of values by (schema, key), shared by all greenlets of the process.

    Every method blocks the calling greenlet only. When a write returns, it is as
    durable as the store can make it, and every later read sees it. A write whose
    caller is killed or times out while it waits may or may not happen.
    All methods but `start` and `stop` raise KVError when the store is not running.
    """

    @abstractmethod
    def start(self) -> None:
        """Open the store; when it is running: do nothing. A stopped store can be started again.

        Raises: KVError when it cannot be opened; then nothing of it is left open.
        """

    @abstractmethod
    def stop(self, timeout: float) -> None:
        """Finish the operations that were begun and close, within `timeout` seconds; again: do nothing."""

    @abstractmethod
    def check(self) -> None:
        """Do nothing when the store can be read and written. Raises: KVError that says what is wrong."""

    def get(self, schema: str, key: str) -> bytes | None:
        """Return the value, None when there is none. Raises: BadRequest, KVError."""
        _require_keys(schema, key)
        return self._get(schema, key)

    def put(self, schema: str, key: str, value: bytes) -> None:
        """Write one entry, in place of an earlier one. Raises: BadRequest, KVError."""
        _require_keys(schema, key)
        _require_value(value)
        self._put(schema, key, value)

    def delete(self, schema: str, key: str) -> bool:
        """Delete one entry and return whether it was there. Raises: BadRequest, KVError."""
        _require_keys(schema, key)
        return self._delete(schema, key)

    def items(self, schema: str, prefix: str = "") -> Iterator[Entry]:
        """Yield the entries whose keys begin with `prefix`, in the order of the keys.

        Reads a page at a time, so the schema may be larger than memory. Entries may be
        written and deleted meanwhile: each key comes at most once, an entry that is
        there all the time comes exactly once, one that is written or deleted meanwhile
        may or may not come. Raises: BadRequest at the call, KVError while reading.
        """
        _require_keys(schema, prefix)
        return self._stream(schema, prefix)

    def write_batch(self, schema: str, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        """Write and delete many entries, all or none of them; a key in both is there afterwards.

        All keys are checked at once, on the event loop: some 1 ms for 1,000 entries.
        Raises: BadRequest, KVError; then nothing was changed, unless the error says that it is not known.
        """
        # Copies: the caller's collections may change while the write waits for its turn.
        puts, deletes = dict(puts), list(deletes)
        _require_keys(schema, *puts, *deletes)
        for value in puts.values():
            _require_value(value)
        self._write_batch(schema, puts, deletes)

    def compare_and_put(self, schema: str, key: str, expected: bytes | None, value: bytes) -> bool:
        """Write the entry if its value is `expected` (None: if it is not there); return whether it was.

        Raises: BadRequest, KVError.
        """
        _require_keys(schema, key)
        _require_value(value)
        return self._compare_and_put(schema, key, expected, value)

    def compare_and_delete(self, schema: str, key: str, expected: bytes) -> bool:
        """Delete the entry if its value is `expected`; return whether it was. Raises: BadRequest, KVError."""
        _require_keys(schema, key)
        return self._compare_and_delete(schema, key, expected)

    def _stream(self, schema: str, prefix: str) -> Iterator[Entry]:
        after = None
        while page := self._page(schema, prefix, after):
            yield from page
            after = page[-1][0]

    @abstractmethod
    def _page(self, schema: str, prefix: str, after: str | None) -> list[Entry]:
        """Return the next entries of `items`: the keys greater than `after` (None: from the first).

        At most PAGE_ENTRIES, fewer when the values are long; none only when there are no more.
        """

    @abstractmethod
    def _get(self, schema: str, key: str) -> bytes | None: ...

    @abstractmethod
    def _put(self, schema: str, key: str, value: bytes) -> None: ...

    @abstractmethod
    def _delete(self, schema: str, key: str) -> bool: ...

    @abstractmethod
    def _write_batch(self, schema: str, puts: dict[str, bytes], deletes: list[str]) -> None: ...

    @abstractmethod
    def _compare_and_put(self, schema: str, key: str, expected: bytes | None, value: bytes) -> bool: ...

    @abstractmethod
    def _compare_and_delete(self, schema: str, key: str, expected: bytes) -> bool: ...


def _require_keys(*keys: str) -> None:
    for key in keys:
        if "\0" in key:
            raise BadRequest("a key of the key-value store must not contain NUL")
        if _utf8_length(key) > MAX_KEY_BYTES:
            raise BadRequest(f"a key of the key-value store is longer than {MAX_KEY_BYTES} bytes")


def _utf8_length(key: str) -> int:
    try:
        return len(key.encode())
    except UnicodeEncodeError:
        # `from None`: the original error carries the key.
        raise BadRequest("a key of the key-value store is not valid Unicode") from None


def _require_value(value: bytes) -> None:
    if len(value) > MAX_VALUE_BYTES:
        raise BadRequest(f"a value of the key-value store is longer than {MAX_VALUE_BYTES} bytes")
