"""All subscriptions of a connector in memory, by topic, device token and user. Pure.

Compact: a million of them are normal, and most keys have one subscription, which then stands in
the table by itself instead of in a collection of one.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

from gobbler.connectors.subscription import Device, Subscription
from gobbler.protocol.topic import ancestors, covers

K = TypeVar("K", bound=Hashable)

_Held = Subscription | dict[Subscription, None]


class _Groups(Generic[K]):
    """key -> subscriptions, in the order of entering."""

    def __init__(self) -> None:
        self.held: dict[K, _Held] = {}

    def add(self, key: K, subscription: Subscription) -> None:
        held = self.held.get(key)
        if held is None:
            self.held[key] = subscription
        elif isinstance(held, dict):
            held[subscription] = None
        else:
            self.held[key] = {held: None, subscription: None}

    def remove(self, key: K, subscription: Subscription) -> None:
        held = self.held.get(key)
        if held is subscription:
            del self.held[key]
        elif isinstance(held, dict):
            held.pop(subscription, None)
            if not held:
                del self.held[key]

    def get(self, key: K) -> Collection[Subscription]:
        held = self.held.get(key)
        if held is None:
            return ()
        return held if isinstance(held, dict) else (held,)


class Registry:
    """The subscriptions of one connector."""

    def __init__(self) -> None:
        """Begin without any."""
        self._topics: _Groups[bytes] = _Groups()
        self._tokens: _Groups[str] = _Groups()
        self._users: _Groups[str] = _Groups()
        self._number = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return self._number

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<Registry of {self._number}>"

    def add(self, subscription: Subscription) -> None:
        """Enter a subscription, which must not be there yet."""
        self._topics.add(subscription.topic, subscription)
        self._tokens.add(subscription.device.token, subscription)
        self._users.add(subscription.device.user_id, subscription)
        self._number += 1

    def remove(self, subscription: Subscription) -> None:
        """Take out a subscription that is there."""
        self._topics.remove(subscription.topic, subscription)
        self._tokens.remove(subscription.device.token, subscription)
        self._users.remove(subscription.device.user_id, subscription)
        self._number -= 1

    def find(self, device: Device, topic: bytes) -> Subscription | None:
        """Return the subscription of a device to this very topic."""
        return next((found for found in self.of_device(device) if found.topic == topic), None)

    def of_device(self, device: Device) -> Iterator[Subscription]:
        """Yield the subscriptions of a device and its user."""
        return (found for found in self._tokens.get(device.token) if found.device == device)

    def of(self, user_id: str | None, token: str | None) -> list[Subscription]:
        """Return the subscriptions of a user, of a token, or of both together."""
        if token is None:
            return list(self._users.get(user_id or ""))
        found = self._tokens.get(token)
        return [one for one in found if user_id is None or one.device.user_id == user_id]

    def covering(self, path: bytes) -> list[Subscription]:
        """Return the subscriptions to a path and to all paths above it."""
        return [found for above in ancestors(path) for found in self._topics.get(above)]

    def covered(self, path: bytes) -> bool:
        """Say whether anybody is subscribed to a path or to one above it."""
        return any(above in self._topics.held for above in ancestors(path))

    def numbers(self) -> Iterator[tuple[bytes, int]]:
        """Yield each topic with how many subscriptions it has; they may change meanwhile."""
        return ((topic, len(self._topics.get(topic))) for topic in list(self._topics.held))

    def at(self, topic: bytes) -> Iterator[Subscription]:
        """Yield the subscriptions to this very topic; they may change meanwhile."""
        return iter(list(self._topics.get(topic)))

    def wants(self, device: Device, path: bytes, id: int) -> bool:
        """Say whether a message is for a device: one of its subscriptions covers it, and is older."""
        return any(found.from_id < id and covers(found.topic, path) for found in self.of_device(device))

    def __iter__(self) -> Iterator[Subscription]:
        """Yield every subscription, those to one topic together."""
        for topic in list(self._topics.held):
            yield from list(self._topics.get(topic))
