"""`gobbler-cli subscribe` and `gobbler-cli fetch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from gobbler.cli.client.failure import LATE, REFUSED, Failure
from gobbler.cli.client.kinds import COUNT, ID, positive
from gobbler.cli.client.output import Output, form_of, forms
from gobbler.cli.client.pages import pages
from gobbler.cli.client.setup import Setup, Verb, tell_of_connection
from gobbler.protocol.message import MAX_ID

if TYPE_CHECKING:
    from gobbler.client import Subscription
    from gobbler.client.waiting import Deadline

FETCHED: Final = 100


@click.command(
    "subscribe",
    cls=Verb,
    messages=True,
    short_help="Show messages as they come.",
    examples=(
        "gobbler-cli subscribe /foo",
        "gobbler-cli subscribe /foo --from -20 --json",
    ),
)
@click.argument("topic")
@click.option(
    "--from",
    "start",
    type=ID,
    metavar="ID",
    help="Begin with this id; 0: the oldest that is kept; -20: the newest 20. Without it: from now on.",
)
@click.option("--count", type=COUNT, metavar="N", help="End after so many messages.")
@click.option(
    "--timeout", type=positive, metavar="SECONDS", help="End after so long; with --count, that is a failure."
)
@forms
def subscribe(topic: str, start: int | None, count: int | None, timeout: float | None, **form: bool) -> None:
    """Show the messages of TOPIC and all below it, each once and in order, until Ctrl+C.

    When the connection is lost, it goes on behind the last message as soon as the server is back.
    """
    setup = Setup.current()
    output = Output(form_of(**form), setup.verbose)
    with setup.connected(on_connection=tell_of_connection) as client:
        from gobbler.client.waiting import Deadline

        deadline = Deadline(timeout)
        with client.subscribe(topic, start, on_gap=output.gap) as subscription:
            complete = _follow(subscription, output, count, deadline)
    _check_gaps(output)
    if count is not None:
        _check_count(complete, count)


def _check_count(complete: bool, count: int) -> None:
    if not complete:
        raise Failure(f"fewer than {count} messages came in time", LATE)


def _follow(subscription: Subscription, output: Output, count: int | None, deadline: Deadline) -> bool:
    """Write messages until there are `count`, or the time is up; say whether there are."""
    from gobbler.client import Timeout

    written = 0
    while written != count:
        try:
            message = subscription.get(0)
        except Timeout:
            output.flush()  # only now: with many messages, a write for each would take most of the time
            try:
                message = subscription.get(deadline.left)
            except Timeout:
                return False
        if message is None or deadline.passed:
            return False
        output.message(message)
        written += 1
    return True


@click.command(
    "fetch",
    cls=Verb,
    messages=True,
    short_help="Show stored messages.",
    examples=(
        "gobbler-cli fetch /foo --count 10",
        "gobbler-cli fetch /foo --from 42 --count 100 --json",
        "gobbler-cli fetch /foo/picture --count 1 --raw > picture.png",
    ),
)
@click.argument("topic")
@click.option(
    "--from",
    "start",
    type=ID,
    metavar="ID",
    help="Begin with this id; 0: the oldest that is kept; -20: the newest 20. Without it: the newest.",
)
@click.option(
    "--count", type=COUNT, metavar="N", help=f"At most so many.  [default: {FETCHED}; with --all, no limit]"
)
@click.option("--all", "everything", is_flag=True, help="All that are stored, from --from or the oldest on.")
@forms
def fetch(topic: str, start: int | None, count: int | None, everything: bool, **form: bool) -> None:
    """Show stored messages of TOPIC and all below it, oldest first, and end."""
    setup = Setup.current()
    output = Output(form_of(**form), setup.verbose)
    count = count or (MAX_ID if everything else FETCHED)
    if start is None:
        start = 0 if everything else -count
    with setup.connected() as client:
        for page in pages(client, topic, start, count, output.gap):
            for message in page:
                output.message(message)
    _check_gaps(output)


def _check_gaps(output: Output) -> None:
    """Have the exit status say that something is missing.

    Raises:
        Exit: there was a gap. What is missing was told in its place.
    """
    if output.gaps:
        output.flush()
        raise click.exceptions.Exit(REFUSED)
