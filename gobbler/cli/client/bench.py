"""`gobbler-cli bench`: what a server does under load, and whether it does it right."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from gobbler.cli.client.failure import REFUSED
from gobbler.cli.client.kinds import positive, whole
from gobbler.cli.client.output import F, Output, as_json, form_of
from gobbler.cli.client.setup import Setup, Verb

if TYPE_CHECKING:
    from gobbler.cli.client.load import Plan, Report

PERCENTS: Final = (50.0, 90.0, 99.0, 99.9)

_CLIENTS: Final = 64
_MESSAGES: Final = 1_000_000
_BYTES: Final = 64 * 1024 * 1024
_ERASE: Final = "\r\x1b[K"


def _number(
    name: str, kind: Callable[[str], int], default: int, help: str, metavar: str = "N"
) -> Callable[[F], F]:
    return click.option(name, type=kind, default=default, show_default=True, metavar=metavar, help=help)


@click.command(
    "bench",
    cls=Verb,
    short_help="Put a load on the server, and check what it does.",
    examples=(
        "gobbler-cli bench",
        "gobbler-cli bench --messages 20000 --rate 2000 --subscribers 10",
    ),
)
@click.option("--topic", default="/bench", show_default=True, metavar="TOPIC", help="Publish below this one.")
@_number("--messages", whole(1, _MESSAGES), 10_000, "Messages of each publisher.")
@_number("--size", whole(0, _BYTES), 100, "Size of a body; what tells them apart takes up to 30.", "BYTES")
@_number("--publishers", whole(1, _CLIENTS), 1, "Each has a connection of its own.")
@_number("--subscribers", whole(0, _CLIENTS), 1, "Each gets every message.")
@click.option(
    "--rate",
    type=positive,
    metavar="N",
    help="Messages a second of all publishers; without it, as fast as it goes.",
)
@as_json
def command(json: bool, **given: Any) -> int:
    """Publish and subscribe as fast as it goes, or at a --rate, and check what arrives.

    If anything is lost, repeated or out of order, the exit status is 1.

    Latencies, from when a message was due to when its subscriber has it, tell little without --rate:
    messages then wait for each other. The load is made by this one process, which has as much work with it
    as the server. What was published stays in the server's log.
    """
    from gobbler.cli.client.load import Load, Plan

    setup = Setup.current()
    topic = f"{given.pop('topic').rstrip('/')}/{secrets.token_hex(6)}"
    plan = Plan(topic, patience=setup.timeout, **given)
    report = Load(plan, lambda told: setup.client(on_connection=told), _progress(plan)).run()
    if sys.stderr.isatty():
        click.echo(_ERASE, err=True, nl=False)
    output = Output(form_of(json=json))
    if json:
        output.record(facts(report), "")
    else:
        for line in text(plan, report):
            output.line(line)
    return REFUSED if report.faults else 0


def _progress(plan: Plan) -> Any:
    """Return what shows the progress, to somebody who looks."""
    if not sys.stderr.isatty():
        return lambda published, delivered: None
    total = plan.messages * plan.publishers

    def show(published: int, delivered: int) -> None:
        line = f"{published:,} of {total:,} published, {delivered:,} delivered"
        click.echo(f"{_ERASE}{line}", err=True, nl=False)

    return show


def facts(report: Report) -> dict[str, Any]:
    """Return the report for `--json`; times in seconds, latencies in milliseconds."""
    percentiles = {
        f"p{percent:g}": round(report.latencies.percentile(percent) / 1e6, 3) for percent in PERCENTS
    }
    return {
        "ok": not report.faults,
        "published": report.published,
        "publishedIn": round(report.published_in, 3),
        "publishedPerSecond": _rate(report.published, report.published_in),
        "delivered": report.delivered,
        "deliveredIn": round(report.delivered_in, 3),
        "deliveredPerSecond": _rate(report.delivered, report.delivered_in),
        "latencyMilliseconds": percentiles | {"max": round(report.latencies.most / 1e6, 3)},
        "faults": dict(report.faults),
    }


def text(plan: Plan, report: Report) -> list[str]:
    """Return the report to be read."""
    lines = [_done("published", report.published, report.published_in)]
    if plan.subscribers:
        lines.append(_done("delivered", report.delivered, report.delivered_in))
        shown = [f"{percent:g} % {report.latencies.percentile(percent) / 1e6:.1f}" for percent in PERCENTS]
        lines.append(f"latency    in ms: {', '.join(shown)}, most {report.latencies.most / 1e6:.1f}")
    faults = ", ".join(f"{number} {fault}" for fault, number in report.faults.items())
    fine = "nothing lost, repeated or out of order" if plan.subscribers else "everything answered"
    lines.append(f"checked    {f'WRONG: {faults}' if faults else fine}")
    return lines


def _done(what: str, number: int, seconds: float) -> str:
    return f"{what}  {number:,} messages in {seconds:.2f} s: {_rate(number, seconds):,} a second"


def _rate(number: int, seconds: float) -> int:
    return round(number / seconds) if seconds else 0
