"""`gobbler`: the server's command.

Exit status: 0 after a graceful stop (SIGTERM or SIGINT), 1 when the server
cannot start or stop as it should, 2 for an option that cannot be used. A second
signal ends the process at once with 128 + its number, as shells count: 143 for
SIGTERM, 130 for SIGINT.
"""

# Before any other import, as is said there.
from gobbler.patching import patch

patch()

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from types import FrameType
from typing import NoReturn

import click
from gevent.event import Event

from gobbler import logs
from gobbler.config import CONFIG_VARIABLE, OPTIONS, Config, load, version
from gobbler.errors import ConfigError, GobblerError
from gobbler.options import Option
from gobbler.service import Service
from gobbler.text import one_line

STOP_SECONDS = 8.0
"""How long a graceful stop may take: `docker stop` kills after 10."""

COLUMN = 30
"""Width of the first column of the help; what is longer has a line to itself."""

EPILOG = (
    "Every option can also be given in the environment, or in the file of --config without the dashes: "
    'storage-path = "/data". The command line wins over the environment, that over the file.'
)


class GroupedCommand(click.Command):
    """A command whose help lists the options by group, with their variables and defaults."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the groups in the order of the table, then what the command line alone has."""
        for group, options in groupby(OPTIONS, key=lambda option: option.group):
            with formatter.section(group):
                formatter.write_dl([row for option in options for row in _rows(option)], col_max=COLUMN)
        table = {option.name for option in OPTIONS}
        rest = [param.get_help_record(ctx) for param in self.get_params(ctx) if param.name not in table]
        with formatter.section("Other"):
            formatter.write_dl([(f"{row[0]:{COLUMN}}", row[1]) for row in rest if row], col_max=COLUMN)


def command() -> GroupedCommand:
    """Build the command from the table of options; it returns the exit status of `run`."""
    file = click.Option(
        ["--config"], metavar="FILE", help=f"Read options from a TOML file.  [env: {CONFIG_VARIABLE}]"
    )
    made = GroupedCommand(
        "gobbler",
        callback=_run,
        params=[*(_parameter(option) for option in OPTIONS), file],
        help="Run the Gobbler messaging server.",
        epilog=EPILOG,
        context_settings={"max_content_width": 100},
    )
    return click.version_option(version(), prog_name="gobbler", message="%(prog)s %(version)s")(made)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command on `argv` (default: the process's) and exit."""
    try:
        status = command().main(argv, prog_name="gobbler", standalone_mode=False)
    except click.ClickException as error:
        status = _complain(error.format_message(), error.exit_code)
    except click.Abort:
        status = 128 + signal.SIGINT
    sys.exit(status)


def run(settings: Config) -> int:
    """Run a server until a signal asks it to stop; return the exit status."""
    logs.setup(settings.log, settings.env)
    for secret in settings.secrets():
        logs.hide(secret)
    asked = _stop_on_signals()
    # Only now: `--help` and a bad option have no use for Flask and all that the server needs.
    from gobbler.server import Server

    return serve(Server(settings), asked)


def serve(server: Service, asked: Event) -> int:
    """Start a server, wait until `asked` is set, stop it; return the exit status."""
    try:
        server.start()
        # Every second: the loop would not notice a signal between its last look at signals and a long wait.
        while not asked.wait(timeout=1):
            pass
        server.stop(STOP_SECONDS)
    except ConfigError as error:  # what an option names cannot be used
        return _complain(str(error), 2)
    except GobblerError as error:
        return _complain(str(error), 1)
    except OSError as error:
        return _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    return 0


def _run(config: str | None, **argv: object) -> int:
    try:
        settings = load(argv, os.environ, config)
    except ConfigError as error:
        return _complain(str(error), 2)
    return run(settings)


def _stop_on_signals() -> Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second ends the process."""
    asked = Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            # Not sys.exit: whatever hangs in the stop must not hold up the exit too.
            os._exit(128 + number)
        asked.set()

    # The interpreter's handlers, not gevent's: they run even when a greenlet keeps the loop busy.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return asked


def _complain(text: str, status: int) -> int:
    """Say in one line on standard error why the server does not run."""
    click.echo(f"gobbler: {one_line(logs.redact(text))}", err=True)
    return status


def _parameter(option: Option) -> click.Option:
    """Make the command line's form of an option. All of them are text: `config.load` checks them."""
    if option.is_switch:
        return click.Option([f"{option.flag}/--no-{option.key}"], default=None)
    return click.Option([option.flag], type=click.UNPROCESSED, metavar=option.kind.metavar)


def _rows(option: Option) -> Iterator[tuple[str, str]]:
    """Yield the two rows of an option in the help: what it is, and where else it can be given."""
    value = f"/ --no-{option.key}" if option.is_switch else option.kind.metavar
    usage = f"{option.flag} {value}"
    default = f"; default: {option.default}" if option.default and not option.secret else ""
    yield f"{usage:{COLUMN}}", option.help
    yield "", f"[env: {option.env}{default}]"
