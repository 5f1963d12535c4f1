"""Whom a connector's messages are for: the seam between its machinery and its subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from gobbler.connectors.subscription import Device
from gobbler.protocol import filters, topic
from gobbler.protocol.message import Message
from gobbler.protocol.selector import Selector


class Audience(Protocol):
    """Knows which devices get a message. All but `load` and `gone` answer at once, from memory."""

    def load(self) -> None:
        """Read everything from the key-value store. Raises: KVError: it cannot be read."""

    def __len__(self) -> int:
        """Return how many subscriptions there are."""

    def starts(self) -> Mapping[str, int | None]:
        """Return partition -> the last id before anything wanted from it; None: the newest."""

    def covered(self, path: bytes) -> bool:
        """Say whether anybody wants messages to a path, filters aside."""

    def reached(self, message: Message, wanted: Mapping[str, str]) -> Iterable[Device]:
        """Return the devices that a message with these filters is for, each once."""

    def wants(self, device: Device, message: Message) -> bool:
        """Say whether a message that was for a device still is."""

    def selector(self, partition: str, device: Device) -> Selector | None:
        """Return what of a partition is for a device, in any of its messages; None where nothing is."""

    def gone(self, token: str, since: float | None, sent_at: float) -> int:
        """Forget a dead token, but for what was registered after both times; return how much that was.

        Raises: KVError: it cannot be written.
        """

    def replace(self, token: str, new_token: str) -> None:
        """Use a device's new token from now on. Raises: KVError: it cannot be written."""

    def subscribers(self, path: bytes) -> list[Mapping[str, str]]:
        """Return the route parameters of everybody who gets messages to a path (those without filters)."""

    def describe(self) -> dict[str, list[Mapping[str, str]]]:
        """Return path -> route parameters of everybody who is subscribed."""

    def numbers(self) -> Iterator[tuple[bytes, int]]:
        """Yield each subscribed path with how many subscriptions it has; they may change meanwhile."""

    def at(self, path: bytes) -> Iterator[Mapping[str, str]]:
        """Yield the route parameters of the subscriptions to this very path; they may change meanwhile."""


class Everybody:
    """The audience of a connector without subscriptions: a message itself says who gets it (SMS).

    Messages are independent of each other, so each is a device of its own.
    """

    def __init__(self, name: str, path: bytes) -> None:
        """Take the connector's name, and the canonical topic that it serves with all below it."""
        self._path = path
        self._params: dict[str, str] = {"connector": name}

    def load(self) -> None:
        """Do nothing."""

    def __len__(self) -> int:
        """Return 1: the connector itself."""
        return 1

    def starts(self) -> Mapping[str, int | None]:
        """Return the one partition; what was published there before anybody served it is history."""
        return {topic.partition_of(self._path): None}

    def covered(self, path: bytes) -> bool:
        """Say whether a path is served."""
        return topic.covers(self._path, path)

    def reached(self, message: Message, wanted: Mapping[str, str]) -> Iterable[Device]:
        """Return the message's own device, unless its filters are for others."""
        served = self.covered(message.path) and filters.matches(wanted, self._params)
        return (Device("", str(message.id)),) if served else ()

    def wants(self, device: Device, message: Message) -> bool:
        """Say whether this is the device's message."""
        return device.user_id == str(message.id)

    def selector(self, partition: str, device: Device) -> Selector | None:
        """Return the selector of all that is served."""
        return Selector((self._path,), self._params)

    def gone(self, token: str, since: float | None, sent_at: float) -> int:
        """Do nothing: there are no tokens."""
        return 0

    def replace(self, token: str, new_token: str) -> None:
        """Do nothing: there are no tokens."""

    def subscribers(self, path: bytes) -> list[Mapping[str, str]]:
        """Return the connector itself for what it serves."""
        return [self._params] if self.covered(path) else []

    def describe(self) -> dict[str, list[Mapping[str, str]]]:
        """Return the topic, with the connector itself."""
        return {self._path.decode(): [self._params]}

    def numbers(self) -> Iterator[tuple[bytes, int]]:
        """Yield the topic, once."""
        yield self._path, 1

    def at(self, path: bytes) -> Iterator[Mapping[str, str]]:
        """Yield the connector itself for its topic."""
        if path == self._path:
            yield self._params
