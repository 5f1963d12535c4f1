"""The command itself: options, verbs, and how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from gobbler.cli.client import administer, bench, completion, publish, push, receive
from gobbler.cli.client.console import is_command
from gobbler.cli.client.failure import BROKEN_PIPE, INTERRUPTED, Failure, explain, is_interrupt
from gobbler.cli.client.output import NAME, tell
from gobbler.cli.client.setup import Setup, shared
from gobbler.errors import GobblerError

SECTIONS: Final = {
    "Messages": (publish.command, receive.subscribe, receive.fetch),
    "The server": (
        administer.topics,
        administer.subscribers,
        push.command,
        administer.toggles,
        administer.health,
        bench.command,
    ),
    "The shell": (completion.command,),
}

HELP: Final = """\
Talk to a Gobbler: publish, subscribe, fetch, and look after it.

Without a verb it is interactive: type commands of the protocol, or ? for help.
Commands can be arguments, too:

\b
  gobbler-cli
  gobbler-cli --exit '+ /foo 0 10'
  gobbler-cli publish /foo 'hello'
  gobbler-cli subscribe /foo --from -20
"""

EPILOG: Final = (
    f"{NAME} VERB --help tells more of a verb. These options can stand behind a verb, too. Exit status: "
    "0 done, 1 refused by the server or a failed check, 2 wrong usage, 3 no connection, 4 not in time."
)


class Root(click.Group):
    """A group whose first argument is a verb, or a command of the protocol; then all are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Have a command that begins with a dash not be taken for an option."""
        valued = {name for param in self.params if not getattr(param, "is_flag", True) for name in param.opts}
        for position, argument in enumerate(args):
            if is_command(argument) and (not position or args[position - 1] not in valued):
                return super().parse_args(ctx, [*args[:position], "--", *args[position:]])
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; commands of the protocol are for one that has no name."""
        if is_command(args[0]):
            return "", _interactive, ["--", *args]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs in groups."""
        for heading, members in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(str(verb.name), verb.get_short_help_str(60)) for verb in members])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; end quietly when Ctrl+C is typed, or nobody reads the output."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return BROKEN_PIPE
        except BaseException as error:
            if not is_interrupt(error):
                raise
            if sys.stderr.isatty():
                click.echo(err=True)  # behind the ^C that the terminal shows
            return INTERRUPTED


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{NAME} {version('gobbler')}")
        ctx.exit()


@click.argument("commands", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def _run_commands(ctx: click.Context, commands: tuple[str, ...]) -> int:
    return _interact(commands, bool(ctx.find_root().params["leave"]))


_interactive = click.command("", hidden=True)(_run_commands)


def _interact(commands: Sequence[str], leave: bool) -> int:
    from gobbler.cli.client import interactive

    return interactive.run(Setup.current(), commands, leave)


@click.pass_context
def _root(ctx: click.Context, /, leave: bool) -> int | None:
    return _interact((), leave) if ctx.invoked_subcommand is None else None


root = Root(
    NAME,
    commands={str(verb.name): verb for verbs in SECTIONS.values() for verb in verbs},
    callback=_root,
    invoke_without_command=True,
    params=[
        *shared(first=True),
        click.Option(
            ["--exit", "leave"],
            is_flag=True,
            help="End when the commands given as arguments are carried out.",
        ),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Show the version, and end.",
        ),
    ],
    help=HELP,
    epilog=EPILOG,
    subcommand_metavar="[VERB ... | COMMANDS...]",
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command on `argv` (default: the process's) and exit."""
    status = _run(argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer has nowhere to go, and Python would try once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = BROKEN_PIPE
    sys.exit(status)


def _run(argv: Sequence[str] | None) -> int:
    try:
        status = root.main(argv, prog_name=NAME, complete_var=completion.VARIABLE, standalone_mode=False)
        return int(status or 0)
    except click.ClickException as error:
        return _complain(_misuse(error))
    except Failure as error:
        return _complain(error)
    except (GobblerError, OSError) as error:
        return _complain(explain(error))
    except click.Abort:
        return INTERRUPTED


def _complain(failure: Failure) -> int:
    """Say in one line what went wrong; return the exit status."""
    tell(str(failure))
    return failure.status


def _misuse(error: click.ClickException) -> Failure:
    """Return what to tell of options and arguments that cannot be used."""
    text = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text += f" (see {error.ctx.command_path.strip()} --help)"
    return Failure(text, error.exit_code)
