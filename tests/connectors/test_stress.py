"""Everything at once, at random, beside an oracle: who was subscribed when what was published."""

import random
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from gobbler.connectors.base import Delivery
from gobbler.connectors.outcome import Gone, Outage, Outcome, Retry, Sent
from gobbler.connectors.subscription import Device
from tests.connectors.rig import Rig

TOPICS = ["/a", "/a/x", "/a/x/y", "/a/z", "/b", "/b/x", "/c/deep/down"]
STEPS = 250
USER = "everybody"


def covers(topic: str, path: str) -> bool:
    return path == topic or path.startswith(f"{topic}/")


class Chaos:
    """Does things at random, and keeps what has to come of them.

    A person keeps its name while its token changes. `owed` is what a person must get: messages that were
    published while it was subscribed, until it unsubscribes or its token dies. Two people become one where
    a token is replaced by another's; `merged` has the newest id of each partition when they did.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance = chance
        self.rig = Rig(folder, self._answer, workers=1)
        self.tokens: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.topics: dict[str, set[str]] = {}
        self.owed: dict[str, dict[str, list[int]]] = {}
        self.got: dict[str, list[tuple[str, int]]] = {}
        self.people = self.crashes = self.moves = 0
        self.dying: set[str] = set()
        self.merged: dict[str, dict[str, int]] = {}

    def _answer(self, delivery: Delivery) -> Outcome:
        gevent.sleep(self.chance.choice((0, 0, 0.001)))
        token, message = delivery.device_token, delivery.message
        if token in self.dying:
            return Gone("dead")
        if self.chance.random() < 0.2:
            return self.chance.choice((Retry("busy"), Outage("down"), Retry("busy", after=0.02)))
        path = message.path.decode()
        self.got.setdefault(self.owner[token], []).append((path.split("/")[1], message.id))
        return Sent()

    # What may happen

    def join(self) -> None:
        name = f"person{self.people}"
        self.people += 1
        token = f"token-{name}"
        self.tokens[name], self.owner[token] = token, name
        self.topics[name], self.owed[name] = set(), {}
        for topic in self.chance.sample(TOPICS, self.chance.randint(1, 3)):
            self.rig.subscribe(token, topic, USER)
            self.topics[name].add(topic)

    def publish(self) -> None:
        path = self.chance.choice(TOPICS)
        ids = self.rig.publish(path, *["body"] * self.chance.randint(1, 25))
        for name, topics in self.topics.items():
            if any(covers(topic, path) for topic in topics):
                self.owed[name].setdefault(path.split("/")[1], []).extend(ids)

    def leave(self) -> None:
        if not self.tokens:
            return
        name = self.chance.choice(list(self.tokens))
        for topic in self.topics[name]:
            assert self.rig.subscriptions.delete(Device(self.tokens[name], USER), topic.encode())
        self._forget(name)

    def move(self) -> None:
        if not self.tokens:
            return
        name = self.chance.choice(list(self.tokens))
        old = self.tokens[name]
        self.moves += 1
        new = f"{name}-{self.moves}"
        self.owner[new] = name
        self.tokens[name] = new
        assert self.rig.subscriptions.substitute("device_token", old, new) == len(self.topics[name])

    def merge(self) -> None:
        """Two people turn out to be one."""
        if len(self.tokens) < 2:
            return
        gone, name = self.chance.sample(list(self.tokens), 2)
        old, new = self.tokens[gone], self.tokens[name]
        self.moves += 1
        assert self.rig.subscriptions.substitute("device_token", old, new) == len(self.topics[gone])
        for token, owner in self.owner.items():
            if owner == gone:
                self.owner[token] = name
        self.topics[name] |= self.topics[gone]
        self.got[name] = self.got.get(name, []) + self.got.get(gone, [])
        for partition, ids in self.owed[gone].items():
            mine = self.owed[name].get(partition, [])
            self.owed[name][partition] = sorted({*ids, *mine})
        self.merged[name] = {partition: self.rig.newest(partition) for partition in ("a", "b", "c")}
        self._forget(gone)

    def die(self) -> None:
        """The token dies: whatever comes, the device must not be subscribed in the end."""
        if self.tokens and self.chance.random() < 0.3:
            name = self.chance.choice(list(self.tokens))
            self.dying.add(self.tokens[name])
            self._forget(name)

    def toggle(self) -> None:
        self.rig.connector.turn_off(self.chance.choice((0, 1)))
        for deed in (self.publish, self.move, self.merge):
            if self.chance.random() < 0.5:
                deed()
        self.rig.connector.turn_on()

    def crash(self) -> None:
        if self.chance.random() < 0.3:
            self.crashes += 1
            self.rig.crash()

    def rest(self) -> None:
        gevent.sleep(self.chance.choice((0, 0.002, 0.01)))

    def _forget(self, name: str) -> None:
        del self.tokens[name], self.topics[name], self.owed[name]

    # The end

    def run(self) -> None:
        deeds: list[Callable[[], None]] = [self.publish, self.rest, self.join, self.leave, self.move]
        deeds += [self.die, self.toggle, self.crash, self.merge]
        for _ in range(5):
            self.join()
        for deed in self.chance.choices(deeds, [40, 30, 8, 3, 4, 3, 3, 3, 3], k=STEPS):
            deed()
        self.rig.wait_until_idle()
        for name, partitions in self.owed.items():
            for partition, ids in partitions.items():
                got = [id for where, id in self.got.get(name, []) if where == partition]
                assert set(got) == set(ids), "lost, or not its own"
                since = self.merged.get(name, {}).get(partition, 0)
                each = dict.fromkeys(id for id in got if id > since)
                assert list(each) == [id for id in ids if id > since], "out of order"
                assert len(got) == len(ids) or self.crashes or self.moves, "repeated without need"


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a hand-out be interrupted after every second device."""
    monkeypatch.setattr("gobbler.connectors.engine.TURN_DEVICES", 2)


@pytest.mark.parametrize("seed", range(4))
def test_at_random(tmp_path: Path, seed: int) -> None:
    chaos = Chaos(tmp_path, random.Random(seed))
    with chaos.rig:
        chaos.run()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 200))
def test_at_random_for_long(tmp_path: Path, seed: int) -> None:
    chaos = Chaos(tmp_path, random.Random(seed))
    with chaos.rig:
        chaos.run()
