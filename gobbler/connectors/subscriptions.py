"""The subscriptions of a push connector: kept in the key-value store, looked up in memory.

The key-value store is written first, then memory. Whoever changes anything of a device token
holds the token's lock meanwhile, and a change that has begun is made to its end, so that the two
never disagree.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Final, ParamSpec, Protocol, TypeVar

import gevent
from gevent.lock import RLock
from gevent.util import wrap_errors

from gobbler.connectors.registry import Registry
from gobbler.connectors.subscription import Device, Subscription
from gobbler.errors import BadRequest
from gobbler.kvstore.base import KVStore
from gobbler.protocol import filters
from gobbler.protocol.message import Message
from gobbler.protocol.selector import Selector
from gobbler.protocol.topic import partition_of
from gobbler.reporting import events
from gobbler.reporting.base import Reporter

log = logging.getLogger(__name__)

TOKEN: Final = "device_token"  # noqa: S105 - the name of a field
USER: Final = "user_id"
_LOCKS: Final = 64

P = ParamSpec("P")
T = TypeVar("T")


def to_its_end(change: Callable[P, T]) -> Callable[P, T]:
    """Make a change in a greenlet of its own: who asks for it may be killed, as a connector is turned off."""

    @wraps(change)
    def ask(*args: P.args, **kwargs: P.kwargs) -> T:
        made = gevent.spawn(wrap_errors((Exception,), change), *args, **kwargs).get()
        if isinstance(made, Exception):
            raise made
        return made

    return ask


class Watcher(Protocol):
    """Whoever sends to the devices."""

    def began(self, partition: str, from_id: int) -> None:
        """Learn that there is a subscription in a partition, to messages after `from_id`."""

    def renaming(self, old: Device, new: Device, joins: Mapping[str, bool]) -> AbstractContextManager[None]:
        """Learn that a device is given another token or user meanwhile, in all its subscriptions.

        `joins`: partition -> whether the other has a subscription there already.
        """


class Subscriptions:
    """The subscriptions of one connector; an `Audience`."""

    def __init__(
        self,
        name: str,
        kvstore: KVStore,
        last_id: Callable[[str], int],
        reporter: Reporter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`last_id` tells the newest id of a partition; `clock` gives unix seconds."""
        self.name = name
        self.schema = f"{name}.subscriptions"
        self.registry = Registry()
        self._kvstore = kvstore
        self._last_id = last_id
        self._reporter = reporter
        self._clock = clock
        self._watcher: Watcher | None = None
        self._locks = [RLock() for _ in range(_LOCKS)]

    def __repr__(self) -> str:
        """Show the connector and how many there are."""
        return f"<Subscriptions of {self.name}, {len(self.registry)}>"

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.registry)

    def watch(self, watcher: Watcher) -> None:
        """Have somebody told of changes."""
        self._watcher = watcher

    # What the subscription interface calls

    @to_its_end
    def create(self, device: Device, topic: bytes) -> bool:
        """Subscribe a device to a topic; return False where it is subscribed already.

        Asking again tells that the token is alive: a provider's word that it had died before
        that does not count any more.

        Raises: KVError, StoreUnavailable.
        """
        with self._locked(device.token):
            found = self.registry.find(device, topic)
            if found is not None:
                found.registered = self._clock()
                self._kvstore.put(self.schema, found.key, found.encode())
                return False
            partition = partition_of(topic)
            made = Subscription(device, topic, self._last_id(partition), self._clock())
            self._kvstore.put(self.schema, made.key, made.encode())
            self._enter(made)
        return True

    @to_its_end
    def delete(self, device: Device, topic: bytes) -> bool:
        """Unsubscribe a device from a topic; return whether it was subscribed. Raises: KVError."""
        with self._locked(device.token):
            found = self.registry.find(device, topic)
            if found is None:
                return False
            self._kvstore.delete(self.schema, found.key)
            self._remove(found)
        return True

    def topics(self, user_id: str | None, token: str | None) -> list[str]:
        """Return the topics of a user, a token or both, sorted, each once."""
        return sorted({found.topic.decode() for found in self.registry.of(user_id, token)})

    def substitute(self, field: str, old: str, new: str) -> int:
        """Replace a device token or a user id in all subscriptions; return in how many.

        Raises: BadRequest: `field` is neither; KVError: then some may be replaced already.
        """
        if field not in (TOKEN, USER):
            raise BadRequest(f"field must be {TOKEN} or {USER}")
        by_token = field == TOKEN
        found = self.registry.of(None, old) if by_token else self.registry.of(old, None)
        if old == new:
            return len(found)
        devices = dict.fromkeys(one.device for one in found)
        return sum(
            self._move(device, device._replace(token=new) if by_token else device._replace(user_id=new))
            for device in devices
        )

    # The audience

    def load(self) -> None:
        """Read everything from the key-value store. Raises: KVError."""
        registry = Registry()
        with _without_garbage_collection():
            for _, value in self._kvstore.items(self.schema):
                registry.add(Subscription.decode(value))
        self.registry = registry

    def starts(self) -> Mapping[str, int | None]:
        """Return the partitions that anybody is subscribed in, and the last id before the first of them."""
        found: dict[str, int | None] = {}
        for one in self.registry:
            known = found.setdefault(one.partition, one.from_id)
            if known is not None and one.from_id < known:
                found[one.partition] = one.from_id
        return found

    def covered(self, path: bytes) -> bool:
        """Say whether anybody is subscribed to a path or to one above it."""
        return self.registry.covered(path)

    def reached(self, message: Message, wanted: Mapping[str, str]) -> Iterable[Device]:
        """Yield the devices that a message with these filters is for, each once."""
        seen: set[Device] = set()
        for one in self.registry.covering(message.path):
            device = one.device
            if one.from_id >= message.id or device in seen:
                continue
            if not wanted or filters.matches(wanted, self._params(device)):
                seen.add(device)
                yield device

    def wants(self, device: Device, message: Message) -> bool:
        """Say whether a message that was for a device still is."""
        return self.registry.wants(device, message.path, message.id)

    def selector(self, partition: str, device: Device) -> Selector | None:
        """Return what of a partition is for a device; None where it has no subscription there."""
        paths = [one.topic for one in self.registry.of_device(device) if one.partition == partition]
        return Selector(tuple(paths), self._params(device)) if paths else None

    @to_its_end
    def gone(self, token: str, since: float | None, sent_at: float) -> int:
        """Forget a dead token, but for what was registered after both times. Raises: KVError."""
        limit = sent_at if since is None else min(since, sent_at)
        with self._locked(token):
            dead = [one for one in self.registry.of(None, token) if one.registered <= limit]
            # Compared, so that a registration by another server on the same store is not undone.
            removed = [
                one for one in dead if self._kvstore.compare_and_delete(self.schema, one.key, one.encode())
            ]
            for one in removed:
                self._remove(one)
        return len(removed)

    def replace(self, token: str, new_token: str) -> None:
        """Use a device's new token from now on. Raises: KVError."""
        self.substitute(TOKEN, token, new_token)

    def subscribers(self, path: bytes) -> list[Mapping[str, str]]:
        """Return the route parameters of every subscription that covers a path."""
        return [self._params(one.device) for one in self.registry.covering(path)]

    def describe(self) -> dict[str, list[Mapping[str, str]]]:
        """Return path -> route parameters of its subscriptions."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for one in self.registry:
            found.setdefault(one.topic.decode(), []).append(self._params(one.device))
        return found

    def numbers(self) -> Iterator[tuple[bytes, int]]:
        """Yield each topic with how many subscriptions it has; they may change meanwhile."""
        return self.registry.numbers()

    def at(self, path: bytes) -> Iterator[Mapping[str, str]]:
        """Yield the route parameters of the subscriptions to this very topic; they may change meanwhile."""
        return (self._params(one.device) for one in self.registry.at(path))

    def _params(self, device: Device) -> dict[str, str]:
        return {"connector": self.name, TOKEN: device.token, USER: device.user_id}

    # Changes

    @to_its_end
    def _move(self, old: Device, new: Device) -> int:
        """Give all subscriptions of a device to another, in one write; return how many."""
        with self._locked(old.token, new.token):
            found = list(self.registry.of_device(old))
            had = {one.topic: one for one in self.registry.of_device(new)}
            there = {one.partition for one in had.values()}
            joins = {one.partition: one.partition in there for one in found}
            now = self._clock()
            moved = [
                Subscription(new, one.topic, min(one.from_id, had.get(one.topic, one).from_id), now)
                for one in found
            ]
            puts = {one.key: one.encode() for one in moved}
            with self._renaming(old, new, joins):
                self._kvstore.write_batch(self.schema, puts, [one.key for one in found])
                for one in found:
                    self._remove(one)
                for one in moved:
                    same = had.get(one.topic)
                    if same is None:
                        self._enter(one)
                    else:
                        same.from_id, same.registered = one.from_id, one.registered
        return len(found)

    def _renaming(self, old: Device, new: Device, joins: Mapping[str, bool]) -> AbstractContextManager[None]:
        return nullcontext() if self._watcher is None else self._watcher.renaming(old, new, joins)

    def _enter(self, subscription: Subscription) -> None:
        self.registry.add(subscription)
        self._report(subscription, "subscribe")
        if self._watcher is not None:
            self._watcher.began(subscription.partition, subscription.from_id)

    def _remove(self, subscription: Subscription) -> None:
        self.registry.remove(subscription)
        self._report(subscription, "unsubscribe")

    def _report(self, subscription: Subscription, action: str) -> None:
        device = subscription.device
        self._reporter.report(
            events.subscription(
                service=self.name,
                topic=subscription.topic.decode(),
                device_id=device.token,
                user_id=device.user_id,
                action=action,
            )
        )

    @contextmanager
    def _locked(self, *tokens: str) -> Iterator[None]:
        """Hold the locks of tokens, always in the same order."""
        with ExitStack() as held:
            for number in sorted({hash(token) % _LOCKS for token in tokens}):
                held.enter_context(self._locks[number])
            yield


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Make many objects that stay, none of which is part of a cycle.

    The collector would look at all of them again and again, here and later: a million
    subscriptions took 9 s to load instead of 6, and each full collection stopped the event loop
    for half a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
