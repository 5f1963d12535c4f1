"""What a client must be given: a model of the protocol's page, and a spy that writes down what happens.

The spy sees, in one order, which commands a session runs and what it sends. The model goes through that
and finds whatever is missing, repeated, out of order, announced wrongly, or not asked for.
"""

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
from gobbler.websocket.session import Session


@dataclass
class Step:
    """One thing that happened, when the log ended with the id `end`."""

    end: int
    command: Receive | bytes | None = None
    """A receive command, or the path of a cancel command."""
    payload: bytes = b""
    fetch: Fetch | None = None
    """Which fetch has sent the payload; None for what belongs to a subscription, or to none."""


class Spy:
    """Has a session write down what it does."""

    def __init__(self, world: Any, partition: str) -> None:
        self.steps: list[Step] = []
        self._end = lambda: world.published

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
                spy.steps.append(Step(spy._end(), command))
                super()._receive(command)

            def _cancel(self, path: bytes) -> None:
                spy.steps.append(Step(spy._end(), path))
                super()._cancel(path)

        return SpiedSession(connection, services, "u", "app")

    def sent(self, frames: bytes) -> None:
        runs = getattr(getattr(gevent.getcurrent(), "_run", None), "__self__", None)
        fetch = runs if isinstance(runs, Fetch) else None
        for opcode, payload in Parser(1 << 30, masked=False).feed(frames):
            if opcode == BINARY:
                self.steps.append(Step(self._end(), None, payload, fetch))


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
    """Goes through the steps; `log` holds the published messages (path, whether for this user) from id 1 on."""

    log: list[tuple[bytes, bool]]
    active: dict[bytes, _Subscription] = field(default_factory=dict)
    begins: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    repeats: dict[bytes, int] = field(default_factory=dict)
    fetches: list[tuple[Receive, int]] = field(default_factory=list)
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
        assert not self.fetches
        assert not self.running

    def _step(self, step: Step) -> None:
        if isinstance(step.command, Receive):
            self._receive(step.command, step.end)
        elif step.command is not None:
            self._cancel(step.command)
        elif step.payload.startswith(b"/"):
            message = Message.decode(step.payload)
            self._message(message, step.fetch)
        else:
            self._notification(parse(step.payload), step)

    def _receive(self, command: Receive, end: int) -> None:
        path = command.path
        if command.count is not None:
            self.fetches.append((command, end))
        elif command.start is not None:
            self.begins.setdefault(path, []).append((command.start, end))
        else:
            self.repeats[path] = self.repeats.get(path, 0) + 1
            if path not in self.active and not self.begins.get(path):
                self.active[path] = _Subscription(end + 1)

    def _cancel(self, path: bytes) -> None:
        self.active.pop(path, None)
        self.begins.pop(path, None)
        self.repeats.pop(path, None)
        self.fetches = [each for each in self.fetches if each[0].path != path]
        for fetch in [fetch for fetch in self.running if fetch.path == path]:
            del self.running[fetch]

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
        if self.begins.get(path):
            start, end = self.begins[path].pop(0)
            first = self._first(path, start, end, count, step.end)
            self.active.setdefault(path, _Subscription(first)).next_id = first
            self.last_id = min(self.last_id, first - 1)
            least = len(self.matching(path, first, end))
        known = self.active[path]
        assert known.fetching is None
        # The store was asked a little before, and perhaps waited; the end of the fetch tells the rest.
        largest = len(self.matching(path, known.next_id, step.end))
        assert least <= count <= largest, f"announces {count}, not {least} to {largest}"
        known.fetching = count
        known.unconfirmed = True

    def _first(self, path: bytes, start: int, end: int, count: int, now: int) -> int:
        """Return from which id a receive command counts that was run at `end` and is announced at `now`."""
        if 0 <= start <= end + 1:
            return max(start, 1)
        # It depends on what was stored when the store was asked: not before `end`, nor after `now`.
        first = self.matching(path, 1, now)[-count] if count else now + 1
        before = self.matching(path, 1, end)[start:] if start < 0 else []
        assert count >= len(before), f"announces {count}, not the {len(before)} newest"
        assert first >= (before[0] if before else 1 if start < 0 else end + 1), "begins too early"
        return first

    def _fetch_of_its_own(self, fetch: Fetch, count: int, now: int) -> None:
        at = next(n for n, (each, _) in enumerate(self.fetches) if each.path == fetch.path)
        command, end = self.fetches.pop(at)
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
