"""Runs a shape: the servers take turns, and the median of the runs is what counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.servers import Server
from bench.shapes import Figure, Shape


@dataclass(frozen=True)
class Outcome:
    """One figure of one shape, as measured: the values of all runs, of Gobbler and of the peer."""

    shape: Shape
    figure: Figure
    gobbler: tuple[float, ...]
    peer: tuple[float, ...]
    """Empty where there is no peer."""

    @property
    def ratio(self) -> float | None:
        """Gobbler's median as a multiple of the peer's."""
        return median(self.gobbler) / median(self.peer) if self.peer else None

    @property
    def met(self) -> bool | None:
        """Whether the figure's target is met; None without a target, or without the peer it needs."""
        if self.figure.most is not None:
            return median(self.gobbler) <= self.figure.most
        if self.figure.least_ratio is None or self.ratio is None:
            return None
        return self.ratio >= self.figure.least_ratio


def measure(
    shape: Shape, servers: Sequence[type[Server]], runs: int, tell: Callable[[str], None]
) -> list[Outcome]:
    """Measure `shape` so many times on each of the servers, Gobbler first, in turns.

    Every run has a server of its own, so that no run pays for what another one has stored.
    `tell` is given a line before each run.

    Raises:
        BenchError: a run failed.
    """
    sides = servers if shape.has_peer else servers[:1]
    measured: dict[str, list[dict[str, float]]] = {kind.name: [] for kind in sides}
    for run in range(1, runs + 1):
        for kind in sides:
            tell(f"{shape.name}: {kind.name}, run {run} of {runs}")
            with shape.server(kind) as server:
                measured[kind.name].append(shape.measure(server))

    def values(name: str, key: str) -> tuple[float, ...]:
        return tuple(run[key] for run in measured.get(name, []))

    return [
        Outcome(shape, figure, values("gobbler", figure.key), values("nats", figure.key))
        for figure in shape.figures
    ]
