"""What a client must be given: a model of the protocol's page, and a spy that writes down what happens.

The spy sees, in one order, which commands a session runs and what it sends. The model goes through that
and finds whatever is missing, repeated, out of order, announced wrongly, or not asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gevent

from gobbler.protocol.command import Receive
from gobbler.protocol.message import Message
from gobbler.protocol.notification import Notification, parse
from gobbler.protocol.topic import covers
from gobbler.websocket.connection import Connection
from gobbler.websocket.fetch import Fetch
from gobbler.websocket.frames import BINARY, Parser
from gobbler.websocket.receiver import Receiver
from gobbler.websocket.session import Session


@dataclass
class Step:
    """One thing that happened, when the log ended with the id `end`."""

    end: int
    command: Receive | bytes | None = None
    """A receive command, or the path of a cancel command."""
    begins: bytes = b""
    """A path that has its turn to begin."""
    first: int = 0
    """The id from which on it counts."""
    payload: bytes = b""
    fetch: Fetch | None = None
    """Which fetch has sent the payload, or was begun; None for what belongs to a subscription, or to none."""


class Spy:
    """Has a session write down what it does."""

    def __init__(self, end: Callable[[], int]) -> None:
        self.steps: list[Step] = []
        self._end = end

    def connection(self, sock: Any, flusher: Any) -> Connection:
        spy = self

        class SpiedConnection(Connection):
            def push(self, frames: bytes) -> None:
                spy.sent(frames)
                super().push(frames)

        return SpiedConnection(sock, flusher, 1 << 20)

    def session(self, connection: Connection, services: Any) -> Session:
        spy = self

        class SpiedSession(Session):
            def _receive(self, command: Receive) -> None:
                before = set(self._fetches or ())
                step = Step(spy._end(), command)
                spy.steps.append(step)
                super()._receive(command)
                step.fetch = next(iter((self._fetches or before) - before), None)

            def _cancel(self, path: bytes) -> None:
                spy.steps.append(Step(spy._end(), path))
                super()._cancel(path)

            def begins(self, path: bytes, first: int) -> None:
                spy.steps.append(Step(spy._end(), begins=path, first=first))

        return SpiedSession(connection, services, "u", "app")

    def sent(self, frames: bytes) -> None:
        # Who sends can be seen by whose greenlet runs.
        runs = getattr(getattr(gevent.getcurrent(), "_run", None), "__self__", None)
        fetch = runs if isinstance(runs, Fetch) else None
        for opcode, payload in Parser(1 << 30, masked=False).feed(frames):
            if opcode == BINARY:
                self.steps.append(Step(self._end(), payload=payload, fetch=fetch))


class SpiedReceiver(Receiver):
    """A receiver that has its session write down whose turn it is to begin."""

    _added_by: Any = None

    def _add(self, path: bytes) -> Any:
        self._added_by = gevent.getcurrent()
        return super()._add(path)

    def _admit(self, path: bytes, start: int | None) -> None:
        self._added_by = None
        super()._admit(path, start)
        # Meanwhile the event loop may have added a path that nobody had to wait for.
        if self._added_by is gevent.getcurrent():
            self._session.begins(path, self._subscriptions[path].from_id)  # type: ignore[attr-defined]


@dataclass
class _Subscription:
    next_id: int
    fetching: int | None = None
    """How many messages of the announced ones are still to come."""
    unconfirmed: bool = False


@dataclass
class _Running:
    """A fetch: how many messages it has announced, which it may give, and has given."""

    count: int
    ids: list[int]
    given: list[int] = field(default_factory=list)


@dataclass
class Model:
    """Goes through the steps; `log` holds what was published (path, whether for this user) from id 1 on."""

    log: list[tuple[bytes, bool]]
    active: dict[bytes, _Subscription] = field(default_factory=dict)
    begins: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    begun: dict[bytes, int] = field(default_factory=dict)
    repeats: dict[bytes, int] = field(default_factory=dict)
    fetches: dict[Fetch, tuple[Receive, int]] = field(default_factory=dict)
    running: dict[Fetch, _Running] = field(default_factory=dict)
    last_id: int = 0

    def matching(self, path: bytes, first: int, last: int) -> list[int]:
        """Return the ids that a subscription to a path is given in [first, last]."""
        return [
            id
            for id, (topic, wanted) in enumerate(self.log, 1)
            if first <= id <= last and wanted and covers(path, topic)
        ]

    def check(self, steps: list[Step]) -> None:
        for number, step in enumerate(steps):
            try:
                self._step(step)
            except AssertionError as error:
                before = "\n".join(map(repr, steps[max(0, number - 40) : number + 1]))
                raise AssertionError(f"{error} at\n{before}\n{self.active}") from error
        assert not any(self.begins.values()), self.begins
        assert not any(self.repeats.values()), self.repeats
        for path, known in self.active.items():
            assert not self.matching(path, known.next_id, len(self.log)), f"{path!r} misses messages"
            assert known.fetching is None
            assert not known.unconfirmed, f"{path!r} is never confirmed"
        assert not self.begun
        assert not self.fetches
        assert not self.running

    def _step(self, step: Step) -> None:
        if isinstance(step.command, Receive):
            self._receive(step.command, step.end, step.fetch)
        elif step.command is not None:
            self._cancel(step.command)
        elif step.begins:
            self._begin(step.begins, step.first, step.end)
        elif step.payload.startswith(b"/"):
            message = Message.decode(step.payload)
            self._message(message, step.fetch)
        else:
            self._notification(parse(step.payload), step)

    def _receive(self, command: Receive, end: int, fetch: Fetch | None) -> None:
        path = command.path
        if fetch is not None:
            self.fetches[fetch] = command, end
        elif command.start is not None:
            self.begins.setdefault(path, []).append((command.start, end))
        else:
            self.repeats[path] = self.repeats.get(path, 0) + 1
            if path not in self.active | self.begun and not self.begins.get(path):
                self.active[path] = _Subscription(end + 1)

    def _cancel(self, path: bytes) -> None:
        self.active.pop(path, None)
        self.begins.pop(path, None)
        self.begun.pop(path, None)
        self.repeats.pop(path, None)
        for fetch in [fetch for fetch in {**self.fetches, **self.running} if fetch.path == path]:
            self.fetches.pop(fetch, None)
            self.running.pop(fetch, None)

    def _message(self, message: Message, fetch: Fetch | None) -> None:
        id = message.id
        if fetch is not None:
            assert fetch in self.running, "canceled"
            self.running[fetch].given.append(id)
            return
        assert id > self.last_id, "out of order, or twice"
        self.last_id = id
        wanted = False
        for path, known in self.active.items():
            if self.matching(path, id, id) and id >= known.next_id:
                wanted = True
                missing = self.matching(path, known.next_id, id - 1)
                assert not missing, f"{path!r} misses {missing}"
                known.next_id = id + 1
                if known.fetching is not None:
                    known.fetching -= 1
        assert wanted, "nobody wants it"

    def _notification(self, told: Notification, step: Step) -> None:
        assert not told.error or told.kind == "error-bad-request", told
        words = told.text.split()
        if told.kind == "fetch-start":
            self._fetch_start(words[0], int(words[1]), step)
        elif told.kind == "fetch-done" and step.fetch is not None:
            self._fetch_done(step.fetch)
        elif told.kind == "fetch-done":
            left = self.active[words[0]].fetching
            assert left == 0, f"{left} announced messages are left at the end of a fetch"
            self.active[words[0]].fetching = None
        elif told.kind == "subscribed-to":
            self._confirmed(words[0], step.end)

    def _confirmed(self, path: bytes, end: int) -> None:
        known = self.active[path]
        assert known.fetching is None
        if self.repeats.get(path):
            self.repeats[path] -= 1
            return
        assert known.unconfirmed, "confirmed without being asked"
        assert not self.matching(path, known.next_id, end), "confirmed before all is given"
        known.unconfirmed = False

    def _fetch_start(self, path: bytes, count: int, step: Step) -> None:
        if step.fetch is not None:
            self._fetch_of_its_own(step.fetch, count, step.end)
            return
        least = 1
        if path in self.begun:
            first = self.begun.pop(path)
            self.active.setdefault(path, _Subscription(first)).next_id = first
            self.last_id = min(self.last_id, first - 1)
            least = 0
        known = self.active[path]
        assert known.fetching is None
        # The store was asked a little before, and perhaps waited; the end of the fetch tells the rest.
        largest = len(self.matching(path, known.next_id, step.end))
        assert least <= count <= largest, f"announces {count}, not {least} to {largest}"
        known.fetching = count
        known.unconfirmed = True

    def _begin(self, path: bytes, first: int, now: int) -> None:
        """Check from which id on a path counts of which the command was run some time before."""
        start, end = self.begins[path].pop(0)
        if start > 0:
            assert first == start or end < first < start, f"begins with {first}"
        elif start == 0:
            assert first == 1
        else:  # which ones were the newest when the store was asked
            earliest, latest = (
                (self.matching(path, 1, last)[start:] or [last + 1])[0] for last in (end, now)
            )
            assert earliest <= first <= latest, f"begins with {first}, not {earliest} to {latest}"
        self.begun[path] = first

    def _fetch_of_its_own(self, fetch: Fetch, count: int, now: int) -> None:
        command, end = self.fetches.pop(fetch)
        start, most = command.start or 0, command.count or 0
        before, until_now = (self.matching(fetch.path, max(start, 1), last) for last in (end, now))
        if start < 0:
            # Which ones are the newest depends on when the store was asked: not before `end`.
            before = before[start:]
            until_now = [id for id in until_now if id >= (before or [1])[0]]
        least, largest = min(most, len(before)), min(most, len(until_now))
        assert least <= count <= largest, f"a fetch announces {count}, not {least} to {largest}"
        self.running[fetch] = _Running(count, until_now)

    def _fetch_done(self, fetch: Fetch) -> None:
        running = self.running.pop(fetch)
        ids, given = running.ids, running.given
        assert len(given) == running.count, "a fetch gives another number than it has announced"
        first = ids.index(given[0]) if given else 0
        assert ids[first : first + len(given)] == given, "a fetch gives something else than is stored"
        assert fetch._start < 0 or first == 0, "a fetch begins with a wrong message"
