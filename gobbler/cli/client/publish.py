"""`gobbler-cli publish`: one message, or a message a line."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from gobbler.cli.client.failure import Failure, explain
from gobbler.cli.client.output import Output, as_json, form_of, tell
from gobbler.cli.client.render import receipt_json
from gobbler.cli.client.setup import Setup, Verb
from gobbler.errors import GobblerError

if TYPE_CHECKING:
    from gobbler.client import Client, Publication, Receipt


def _pairs(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Read `Name=value` options; values of a repeated name are joined, as the server does it."""
    pairs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not like Name=value")
        pairs[name] = f"{pairs[name]}, {value}" if name in pairs else value
    return pairs


@dataclass(slots=True)
class Order:
    """What is to be published, and how."""

    topic: str
    text: str | None
    file: BinaryIO | None
    headers: dict[str, str]
    filters: dict[str, str]
    message_id: str | None
    lines: bool
    resend: bool
    setup: Setup = field(default_factory=Setup.current)

    def bodies(self) -> Iterator[bytes]:
        """Yield the body of each message, without the line feed that ends a line."""
        if self.text is not None:
            yield os.fsencode(self.text)
        elif self.lines:
            yield from (line.removesuffix(b"\n") for line in self._input())
        else:
            yield self._input().read()

    def _input(self) -> BinaryIO:
        file = self.file or sys.stdin.buffer
        if file.isatty():
            tell("reading from the terminal, until Ctrl+D")
        return file

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: options that exclude each other.
        """
        if self.text is not None and self.file:
            raise click.UsageError("TEXT and --file exclude each other")
        if self.lines and self.text is not None:
            raise click.UsageError("TEXT and --lines exclude each other")
        if self.lines and self.message_id is not None:
            raise click.UsageError("--id is for one message, --lines for many")


@click.command(
    "publish",
    cls=Verb,
    short_help="Publish a message, or one for each line.",
    examples=(
        "gobbler-cli publish /foo 'hello' --header Color=blue",
        "gobbler-cli publish /foo/picture --file picture.png",
        "seq 1000 | gobbler-cli publish /numbers --lines",
    ),
)
@click.argument("topic")
@click.argument("text", required=False)
@click.option("--file", type=click.File("rb"), metavar="FILE", help="Read it from a file; - is the input.")
@click.option("--lines", is_flag=True, help="Publish each line as a message of its own.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=_pairs,
    metavar="NAME=VALUE",
    help="A header of the message; may be repeated.",
)
@click.option("--id", "message_id", metavar="ID", help="The message's id; one is made where you give none.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    callback=_pairs,
    metavar="NAME=VALUE",
    help="Only for those with this value, such as user_id=zaphod or connector=fcm; may be repeated. "
    "Such messages go over REST, which capitalises the words of headers' names.",
)
@click.option(
    "--resend",
    is_flag=True,
    help="After a lost connection, send again what was not answered. It may then be stored twice.",
)
@as_json
def command(json: bool, **given: Any) -> None:
    """Publish TEXT to TOPIC; without TEXT, what is read from --file or from the input.

    Returns when the message is in the server's log, and says as what: its topic and id.
    """
    order = Order(**given)
    order.check()
    output = Output(form_of(json=json))
    if order.lines:
        _publish_lines(order, output, json)
    else:
        receipt = _publish_one(order, next(order.bodies()))
        output.line(receipt_json(receipt) if json else f"{receipt.topic} {receipt.id}")


def _publish_one(order: Order, body: bytes) -> Receipt:
    if order.filters:
        return _over_rest(order, body)
    with order.setup.connected(resend=order.resend) as client:
        return client.publish(order.topic, body, headers=order.headers, message_id=order.message_id)


def _over_rest(order: Order, body: bytes) -> Receipt:
    return order.setup.rest().publish(
        order.topic, body, headers=order.headers, message_id=order.message_id, filters=order.filters
    )


def _publish_lines(order: Order, output: Output, json: bool) -> None:
    outcome = Outcome((lambda receipt: output.line(receipt_json(receipt))) if json else None)
    if order.filters:
        rest = order.setup.rest()
        for body in order.bodies():
            outcome.settle(
                partial(rest.publish, order.topic, body, headers=order.headers, filters=order.filters)
            )
            if outcome.failure:
                break
    else:
        with order.setup.connected(resend=order.resend) as client:
            _pipeline(client, order, outcome)
    output.flush()
    outcome.check()
    if not json:
        output.line(f"{order.topic} {outcome}")


def _pipeline(client: Client, order: Order, outcome: Outcome) -> None:
    """Publish without waiting for each answer; with the first failure, nothing more is published."""
    sent: deque[Publication] = deque()
    for body in order.bodies():
        try:
            sent.append(client.publish_nowait(order.topic, body, headers=order.headers))
        except GobblerError as error:
            outcome.fail(outcome.settled + len(sent) + 1, error)
        while sent and sent[0].done and not outcome.failure:
            outcome.settle(sent.popleft().result)
        if outcome.failure:
            break
    while sent and not outcome.failure:
        outcome.settle(partial(sent.popleft().result, order.setup.timeout))
    if outcome.failure:
        client.close(0)  # before there is another connection, on which the rest would be published
        for publication in sent:
            outcome.settle(partial(publication.result, 0))


class Outcome:
    """What has become of lines, in their order."""

    def __init__(self, report: Callable[[Receipt], object] | None) -> None:
        """`report` is given each receipt."""
        self.settled = 0
        self.failure: tuple[int, GobblerError] | None = None
        """The line that failed first."""
        self._report = report
        self._stored = 0
        self._ids = (0, 0)

    def __str__(self) -> str:
        """Say how many are stored, and as what."""
        number = f"{self._stored} message{'' if self._stored == 1 else 's'}"
        return f"{number}: {self._ids[0]} to {self._ids[1]}" if self._stored else number

    def settle(self, result: Callable[[], Receipt]) -> None:
        """Take the result of the next line."""
        self.settled += 1
        try:
            receipt = result()
        except GobblerError as error:
            self.fail(self.settled, error)
            return
        self._stored += 1
        self._ids = self._ids[0] or receipt.id, receipt.id
        if self._report is not None:
            self._report(receipt)

    def fail(self, number: int, error: GobblerError) -> None:
        """A line has failed."""
        if self.failure is None or number < self.failure[0]:
            self.failure = number, error

    def check(self) -> None:
        """Tell of the failure.

        Raises:
            Failure: there is one.
        """
        if self.failure is not None:
            number, error = self.failure
            why = explain(error)
            raise Failure(f"line {number}: {why} (stored: {self})", why.status)
