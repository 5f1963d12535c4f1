"""`gobbler-cli` without a verb: commands of the protocol, given as arguments, typed, or from a pipe."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Final

import click

from gobbler.cli.client.console import HELP, Console, Pipe, is_command
from gobbler.cli.client.failure import USAGE
from gobbler.cli.client.output import colours
from gobbler.cli.client.render import Renderer
from gobbler.cli.client.session import Session
from gobbler.cli.client.setup import LOG_FORMAT, Setup
from gobbler.cli.client.typed import commands

_HELP: Final = (b"?", b"help")


def run(setup: Setup, given: Sequence[str], leave: bool) -> int:
    """Carry out commands, then, unless told to `leave`, those that are typed; return the exit status.

    Raises:
        UsageError: an argument is no command.
        GobblerError: there is no connection.
    """
    for argument in given:
        if not is_command(argument):
            raise click.UsageError(f"not a command: {argument!r} (options come before commands)")
    console = Pipe() if leave or not _on_terminal() else _terminal()
    patience = 0 if console.interactive else setup.timeout
    session = Session(console.show, Renderer(colours(sys.stdout), setup.verbose), patience)
    with setup.connected(on_connection=session.connection_changed) as client:
        session.client = client
        if console.interactive:
            session.welcome()
        for argument in given:
            _carry_out(argument.encode(errors="surrogateescape"), console, session)
        if not leave:
            _converse(console, session)
        if console.interactive:
            return 0
        session.settle()
    return session.status


def _converse(console: Console, session: Session) -> None:
    for command in commands(console, lambda text: session.fail(f"!error {text}", USAGE)):
        _carry_out(command, console, session)


def _carry_out(command: bytes, console: Console, session: Session) -> None:
    if command in _HELP:
        console.show(HELP)
    elif command:
        session.run(command)


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _terminal() -> Console:
    from gobbler.cli.client.terminal import Terminal

    terminal = Terminal()
    # Log lines are shown like everything else: written to the terminal, they would destroy what is typed.
    handler = ShowHandler(terminal)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.getLogger().handlers[:] = [handler]
    return terminal


class ShowHandler(logging.Handler):
    """Shows log records on a console."""

    def __init__(self, console: Console) -> None:
        """Take records of all levels."""
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        self._console.show(self.format(record))
