"""Shows what was measured: a table for people, in plain text or Markdown, and JSON for programs."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.runner import Outcome

HEADINGS = ("shape", "figure", "gobbler", "peer", "ratio", "target")
TEXT_COLUMNS = 2  # these are set flush left; numbers flush right


def number(value: float) -> str:
    """A value with about three digits that matter: `312,000`, `1.64`, `21.3`.

    >>> number(312345.6), number(1.6449), number(21.34)
    ('312,000', '1.64', '21.3')
    """
    if value >= 1000:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _target(outcome: Outcome) -> str:
    figure = outcome.figure
    if figure.most is not None:
        promise = f"<= {figure.most:g} {figure.unit}"
    elif figure.least_ratio is not None:
        promise = f">= {figure.least_ratio:g} x peer"
    else:
        return ""
    verdict = {True: ": met", False: ": MISSED", None: ""}[outcome.met]
    return promise + verdict


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """One row an outcome, in the order of `HEADINGS`."""
    return [
        (
            outcome.shape.title,
            f"{outcome.figure.key}, {outcome.figure.unit}",
            number(median(outcome.gobbler)),
            number(median(outcome.peer)) if outcome.peer else "",
            "" if outcome.ratio is None else f"{outcome.ratio:.2f}",
            _target(outcome),
        )
        for outcome in outcomes
    ]


def text(outcomes: Sequence[Outcome]) -> str:
    """The table for a terminal."""
    table = [HEADINGS, *rows(outcomes)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            cell.ljust(width) if i < TEXT_COLUMNS or i == len(row) - 1 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(outcomes: Sequence[Outcome], machine: Mapping[str, str]) -> str:
    """The table for a README, and the machine below it."""
    lines = [f"| {' | '.join(row)} |" for row in [HEADINGS, *rows(outcomes)]]
    lines.insert(1, "| --- | --- | ---: | ---: | ---: | --- |")
    return "\n".join([*lines, "", summary(machine)])


def summary(machine: Mapping[str, str]) -> str:
    """The machine in one line."""
    return ", ".join(f"{key}: {value}" for key, value in machine.items())


def _side(values: Sequence[float]) -> dict[str, Any] | None:
    return {"median": median(values), "runs": list(values)} if values else None


def document(outcomes: Sequence[Outcome], machine: Mapping[str, str], runs: int) -> dict[str, Any]:
    """Everything measured, for `results.json`; `met` is null where nothing is promised."""
    figures = [
        {
            "shape": outcome.shape.name,
            "title": outcome.shape.title,
            "figure": outcome.figure.key,
            "unit": outcome.figure.unit,
            "gobbler": _side(outcome.gobbler),
            "peer": _side(outcome.peer),
            "ratio": outcome.ratio,
            "met": outcome.met,
        }
        for outcome in outcomes
    ]
    return {"machine": dict(machine), "runs": runs, "figures": figures}
