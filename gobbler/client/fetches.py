"""Fetches: stored messages, asked for once.

What a fetch sends cannot be told from what subscriptions send, and the server may mix them. So a connection
runs one fetch of a partition at a time, and none where it has a subscription: `Lanes` chooses another one.
"""

from __future__ import annotations

from gobbler.client.errors import ClientError, FetchFailed
from gobbler.client.message import Gap, Message
from gobbler.protocol.topic import partition_of


class Fetch:
    """A fetch of at most `count` messages from `start` on, as in the receive command."""

    def __init__(self, path: bytes, start: int, count: int) -> None:
        """It has not been asked for."""
        self.path = path
        self.partition = partition_of(path)
        self.start = start
        self.count = count
        self.messages: list[Message] = []
        self.gaps: list[Gap] = []
        self.error: ClientError | None = None
        self.done = False
        self.given_up = False
        """Nobody waits for it; it only has to end."""

    @property
    def command(self) -> bytes:
        """What asks for it."""
        return b"+ %b %d %d" % (self.path, self.start, self.count)


class Fetches:
    """The fetches of one connection. Every call is made under the lock of the client's connections."""

    def __init__(self) -> None:
        """Begin without any."""
        self._running: dict[str, Fetch] = {}

    def __len__(self) -> int:
        """Return how many run."""
        return len(self._running)

    def uses(self, partition: str) -> bool:
        """Say whether one runs in a partition."""
        return partition in self._running

    def add(self, fetch: Fetch) -> bytes:
        """Add a fetch in a partition that has none; return its command."""
        self._running[fetch.partition] = fetch
        return fetch.command

    def give_up(self, fetch: Fetch, connected: bool) -> bytes | None:
        """Nobody waits for a fetch any more; return the command that ends it, if it needs one."""
        if self._running.get(fetch.partition) is not fetch:
            return None
        fetch.given_up = True
        fetch.messages.clear()
        if not connected:
            del self._running[fetch.partition]
            return None
        return b"- " + fetch.path

    def begin(self) -> list[bytes]:
        """Return the commands for a new connection: each fetch begins again."""
        for fetch in self._running.values():
            fetch.messages.clear()
            fetch.gaps.clear()
        return [fetch.command for fetch in self._running.values()]

    def lost(self) -> None:
        """The connection has gone."""
        self._running = {name: fetch for name, fetch in self._running.items() if not fetch.given_up}

    def message(self, partition: str, message: Message) -> bool:
        """Take a message; say whether it belongs to a fetch."""
        fetch = self._running.get(partition)
        if fetch is None:
            return False
        if not fetch.given_up:
            fetch.messages.append(message)
        return True

    def gap(self, path: bytes, first: int, last: int) -> bool:
        """Take a gap; say whether it belongs to a fetch."""
        fetch = self._running.get(partition_of(path))
        if fetch is None or fetch.path != path:
            return False
        fetch.gaps.append(Gap(path.decode(), first, last))
        return True

    def ended(self, path: bytes, text: str = "") -> None:
        """A fetch has ended, or failed for the reason `text`."""
        partition = partition_of(path)
        fetch = self._running.get(partition)
        if fetch is None or fetch.path != path:
            return
        del self._running[partition]
        fetch.done = True
        if text:
            fetch.error = FetchFailed(f"cannot fetch from {path.decode()}: {text}")
