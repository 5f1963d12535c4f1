"""`gobbler-cli push`: of which topics a device gets notifications."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gobbler.cli.client.failure import Failure, missing
from gobbler.cli.client.output import Output, as_json, form_of
from gobbler.cli.client.setup import Setup, Verb

if TYPE_CHECKING:
    from gobbler.client import Push


@click.group("push", subcommand_metavar="VERB ...", short_help="Subscribe devices, through FCM or APNs.")
def command() -> None:
    """Subscribe devices to topics: they get notifications through a CONNECTOR, fcm or apns.

    A device is named by its token, and belongs to a user.
    """


@contextmanager
def _asking(connector: str) -> Iterator[Push]:
    """Give what asks the server.

    Raises:
        Failure: the server has no such connector.
    """
    with missing(f"the server has no connector {connector} with subscriptions"):
        yield Setup.current().rest().push(connector)


def _check(right: object, error: Exception) -> None:
    # Not in the commands themselves: their docstrings, where `Raises:` belongs, are the help.
    if not right:
        raise error


@command.command(
    "add",
    cls=Verb,
    short_help="Subscribe a device to a topic.",
    examples=("gobbler-cli push add fcm the-device-token zaphod /news",),
)
@click.argument("connector")
@click.argument("token")
@click.argument("user")
@click.argument("topic")
@as_json
def add(connector: str, token: str, user: str, topic: str, json: bool) -> None:
    """Subscribe the device with TOKEN, which USER has, to TOPIC and all below it."""
    with _asking(connector) as push:
        new = push.subscribe(token, user, topic)
    output = Output(form_of(json=json))
    output.record({"topic": topic, "new": new}, f"{'subscribed' if new else 'already subscribed'} to {topic}")


@command.command("remove", cls=Verb, short_help="End a subscription.")
@click.argument("connector")
@click.argument("token")
@click.argument("user")
@click.argument("topic")
@as_json
def remove(connector: str, token: str, user: str, topic: str, json: bool) -> None:
    """End the subscription of the device with TOKEN, which USER has, to TOPIC.

    The exit status is 1 if there is none.
    """
    with _asking(connector) as push:
        _check(push.unsubscribe(token, user, topic), Failure(f"not subscribed to {topic}"))
    Output(form_of(json=json)).record({"topic": topic}, f"unsubscribed from {topic}")


@command.command(
    "list",
    cls=Verb,
    short_help="Show what a device or a user is subscribed to.",
    examples=(
        "gobbler-cli push list fcm --user zaphod",
        "gobbler-cli push list fcm --token the-device-token",
    ),
)
@click.argument("connector")
@click.option("--token", metavar="TOKEN", help="Of this device.")
@click.option("--user", metavar="ID", help="Of the devices of this user.")
@as_json
def list_(connector: str, token: str | None, user: str | None, json: bool) -> None:
    """Show the topics that a device or a user is subscribed to."""
    _check(token or user, click.UsageError("say whose: with --token, --user or both"))
    with _asking(connector) as push:
        topics = push.topics(user_id=user, device_token=token)
    output = Output(form_of(json=json))
    for topic in topics:
        output.record({"topic": topic}, topic)


@command.command(
    "substitute",
    cls=Verb,
    short_help="Replace a token, or a user, everywhere.",
    examples=("gobbler-cli push substitute fcm token the-old-token the-new-token",),
)
@click.argument("connector")
@click.argument("field", type=click.Choice(["token", "user"]), metavar="token|user")
@click.argument("old")
@click.argument("new")
@as_json
def substitute(connector: str, field: str, old: str, new: str, json: bool) -> None:
    """Replace OLD by NEW in all subscriptions: when a device has another token, or a user another id."""
    with _asking(connector) as push:
        changed = push.substitute({"token": "device_token", "user": "user_id"}[field], old, new)
    Output(form_of(json=json)).record({"changed": changed}, f"changed: {changed}")
