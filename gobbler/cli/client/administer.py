"""`gobbler-cli subscribers`, `health`, `toggles` and `topics`: looking after a server, over REST."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from gobbler.cli.client.failure import REFUSED, missing
from gobbler.cli.client.output import Output, as_json, form_of, tell
from gobbler.cli.client.setup import Setup, Verb

if TYPE_CHECKING:
    from gobbler.client import Rest

CONNECTORS: Final = "/admin/api/connectors"
HEALTH: Final = "/admin/healthcheck"
TOGGLES: Final = "/admin/toggles"

_SAYS_OK: Final = "ok"
_COLUMNS: Final = ("TOPIC", "MESSAGES", "FIRST", "LAST", "BYTES", "NEWEST")
_NOTHING: Final = "-"


@click.command("subscribers", cls=Verb, short_help="Show who gets what is published to a topic.")
@click.argument("topic")
@as_json
def subscribers(topic: str, json: bool) -> None:
    """Show who would get a message to TOPIC: connected clients, and devices of connectors."""
    output = Output(form_of(json=json))
    for params in Setup.current().rest().subscribers(topic):
        output.record(params, " ".join(f"{name}={value}" for name, value in params.items()))


@click.command("health", cls=Verb, short_help="Say whether the server is well.")
@click.option("--endpoint", default=HEALTH, metavar="PATH", help=f"The server's page.  [default: {HEALTH}]")
@as_json
def health(endpoint: str, json: bool) -> int:
    """Say whether the server is well, and what is wrong with it; then the exit status is 1."""
    with missing(f"the server has no page {_path(endpoint)} that tells its health"):
        problems = Setup.current().rest().health(_path(endpoint))
    output = Output(form_of(json=json))
    texts = [f"{check}: {problem}" for check, problem in problems.items()] or [_SAYS_OK]
    if json:
        output.record(problems, "")
    else:
        for text in texts:
            output.record({}, text)
    return REFUSED if problems else 0


def _path(endpoint: str) -> str:
    return "/" + endpoint.lstrip("/")


@click.command("toggles", cls=Verb, short_help="Show connectors, or turn one on or off.")
@click.argument("name", required=False)
@click.argument("switch", required=False, type=click.Choice(["on", "off"]), metavar="[on|off]")
@click.option("--endpoint", default=TOGGLES, metavar="PATH", help=f"The server's page.  [default: {TOGGLES}]")
@as_json
def toggles(name: str | None, switch: str | None, endpoint: str, json: bool) -> None:
    """Turn the connector NAME on or off; without arguments, show which there are, and what they do.

    What is published while a connector is off is sent when it is on again.
    """
    rest = Setup.current().rest()
    output = Output(form_of(json=json))
    if name is None:
        connectors = _connectors(rest)
        for connector in connectors:
            _show_connector(output, connector)
        if not connectors:
            tell("the server has no connectors")
        return
    on = _is_on(switch)
    with missing(f"the server has no page {_path(endpoint)} that toggles"):
        lines = rest.toggle({name: on}, _path(endpoint))
    for line in lines:
        output.record({"name": name, "on": on, "text": line}, line)


def _is_on(switch: str | None) -> bool:
    if switch is None:
        raise click.UsageError("say whether to turn it on or off")
    return switch == "on"


def _connectors(rest: Rest) -> list[dict[str, Any]]:
    from gobbler.client import BadAnswer

    with missing("the server does not list its connectors"):
        answer = rest.json("GET", CONNECTORS)
    try:
        return list(answer["connectors"])
    except (KeyError, TypeError):
        raise BadAnswer("the server's list of connectors is not understood") from None


def _show_connector(output: Output, connector: dict[str, Any]) -> None:
    state, cause = connector["state"], connector.get("cause")
    known = {name: connector.get(name) for name in ("name", "on", "state", "cause")}
    switch = "on" if connector["on"] else "off"
    doing = f", {state}{f': {cause}' if cause else ''}" if connector["on"] else ""
    output.record(known, f"{connector['name']} {switch}{doing}")


@click.command("topics", cls=Verb, short_help="Show what the server keeps.")
@click.argument("prefix", required=False, default="")
@as_json
def topics(prefix: str, json: bool) -> None:
    """Show the first segments of topics, each with its messages; with PREFIX, those that begin so."""
    output = Output(form_of(json=json))
    found = Setup.current().rest().topics(prefix)
    if json:
        for topic in found:
            output.record(topic, "")
    elif rows := [_row(topic) for topic in found]:
        output.table(_COLUMNS, rows)


def _row(topic: dict[str, Any]) -> tuple[str, ...]:
    names = ("count", "firstId", "lastId", "bytes")
    numbers = (_NOTHING if topic.get(name) is None else str(topic[name]) for name in names)
    last = topic["error"] if "error" in topic else _time(topic.get("lastTime"))
    return topic["topic"], *numbers, last


def _time(seconds: int | None) -> str:
    if seconds is None:
        return _NOTHING
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
