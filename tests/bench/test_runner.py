"""Servers take turns, and medians meet targets or do not."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import pytest

from bench.runner import Outcome, measure
from bench.servers import Server
from bench.shapes import Figure, Shape, Values


class Here(Server):
    """A server that needs no process."""

    name = "gobbler"
    started: ClassVar[list[str]] = []

    def command(self, folder: Path) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.started.append(self.name)
        return self

    def __exit__(self, *exception: object) -> None:
        self.started.append("end")


class There(Here):
    name = "nats"


@dataclass(frozen=True)
class Counted(Shape):
    """Its values are how many servers have been started so far."""

    def scaled(self, scale: float) -> Self:
        raise NotImplementedError

    def measure(self, server: Server) -> Values:
        return {"count": float(len(Here.started) - Here.started.count("end"))}


COUNT = Figure("count", "servers")


@pytest.fixture(autouse=True)
def nothing_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Here, "started", [])


def test_servers_take_turns_and_each_run_has_its_own() -> None:
    told: list[str] = []
    outcomes = measure(Counted("c", "counted", (COUNT,)), [Here, There], 2, told.append)
    assert Here.started == ["gobbler", "end", "nats", "end", "gobbler", "end", "nats", "end"]
    assert [(outcome.gobbler, outcome.peer) for outcome in outcomes] == [((1, 3), (2, 4))]
    assert told[1] == "c: nats, run 1 of 2"


def test_a_shape_without_a_peer_runs_on_gobbler_only() -> None:
    shape = Counted("c", "counted", (COUNT,), has_peer=False)
    (outcome,) = measure(shape, [Here, There], 2, lambda line: None)
    assert (outcome.gobbler, outcome.peer, outcome.ratio) == ((1, 2), (), None)


@pytest.mark.parametrize(
    ("figure", "peer", "met"),
    [
        (Figure("f", "u"), (2.0,), None),
        (Figure("f", "u", least_ratio=1.5), (2.0,), True),
        (Figure("f", "u", least_ratio=1.6), (2.0,), False),
        (Figure("f", "u", least_ratio=1.5), (), None),
        (Figure("f", "u", most=3), (), True),
        (Figure("f", "u", most=2.9), (2.0,), False),
    ],
)
def test_the_median_is_what_a_target_is_compared_with(
    figure: Figure, peer: tuple[float, ...], met: bool | None
) -> None:
    outcome = Outcome(Counted("c", "counted", (figure,)), figure, (1.0, 100.0, 3.0), peer)
    assert outcome.met is met
