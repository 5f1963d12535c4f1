"""The options that all verbs share, before the verb or behind it, and the client that they make."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from gobbler.cli.client import place
from gobbler.cli.client.kinds import positive
from gobbler.cli.client.output import tell
from gobbler.errors import BadRequest, InvalidMessage

if TYPE_CHECKING:
    from gobbler.client import Client, Rest
    from gobbler.client.errors import ClientError

LEVELS: Final = {
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

TIMEOUT: Final = 10.0
"""Seconds to wait for the server."""

_SHARED: Final = "shared_"  # so that they have names of their own beside a verb's


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Remember an option for all contexts of the command: what stands behind the verb comes last and wins."""
    if value is not None and value is not False:
        ctx.meta[str(param.name)] = value


def shared(first: bool = False, messages: bool = False) -> list[click.Option]:
    """Return the options: for the group (`first`), or for a verb, which may show `messages`.

    Only the first look into the environment: what is there must not win over what stands before a verb.
    """

    def option(name: str, help: str, env: str | None = None, **how: Any) -> click.Option:
        return click.Option(
            [name, f"{_SHARED}{name[2:]}"],
            callback=_keep,
            expose_value=False,
            envvar=env if first else None,
            help=help + (f"  [env: {env}]" if env else ""),
            **how,
        )

    whole = option("--verbose", "Show messages whole: all ids, the time, the headers.", is_flag=True)
    return [
        option("--url", f"The server.  [default: {place.DEFAULT}]", "GOBBLER_CLI_URL", metavar="URL"),
        option("--user", "The user id to be.", "GOBBLER_CLI_USER", metavar="ID"),
        option(
            "--timeout",
            f"How long to wait for the server.  [default: {TIMEOUT:g}]",
            type=positive,
            metavar="SECONDS",
        ),
        option(
            "--log",
            "Log what the client does, on standard error: panic, fatal, error, warn, info or debug.  "
            "[default: error]",
            type=click.Choice(list(LEVELS)),
            metavar="LEVEL",
        ),
        *([whole] if first or messages else []),
    ]


class Documented(click.Command):
    """A command with examples at the end of its help."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        """`examples` are lines."""
        super().__init__(*args, **kwargs)
        self._examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are."""
        if self._examples:
            with formatter.section("Examples"):
                for line in self._examples:
                    formatter.write(f"  {line}\n")


class Verb(Documented):
    """A command that takes the shared options too, and lists them below its own."""

    def __init__(self, *args: Any, messages: bool = False, **kwargs: Any) -> None:
        """Add the options, but for those that the command has in another meaning.

        `messages` says whether it shows some.
        """
        super().__init__(*args, **kwargs)
        own = {param.opts[0] for param in self.params}
        self._shared = [option for option in shared(messages=messages) if option.opts[0] not in own]
        self.params += self._shared

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the two lists."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        own = [option for option in options if option not in self._shared]
        for heading, members in (("Options", own), ("Shared options", self._shared)):
            with formatter.section(heading):
                formatter.write_dl([row for option in members if (row := option.get_help_record(ctx))])


@dataclass(frozen=True, slots=True)
class Setup:
    """What the shared options say."""

    url: str = place.DEFAULT
    user: str = ""
    timeout: float = TIMEOUT
    verbose: bool = False
    log: str = "error"

    @classmethod
    def current(cls) -> Setup:
        """Return that of the command that runs, and begin to log as it says."""
        meta: dict[str, Any] = click.get_current_context().meta
        given = {name: value for name, value in meta.items() if name.startswith(_SHARED)}
        setup = cls(**{name.removeprefix(_SHARED): value for name, value in given.items()})
        logging.basicConfig(level=LEVELS[setup.log], format=LOG_FORMAT)
        return setup

    def client(self, **how: Any) -> Client:
        """Return a client that has not connected. `how` are further arguments of `Client`.

        Raises:
            UsageError: the URL or the user id cannot be used.
        """
        from gobbler.client import Client, Settings

        found = place.find(self.url, self.user)
        settings = Settings(ws_prefix=found.ws_prefix, connect_timeout=self.timeout)
        try:
            return Client(found.url, found.user, timeout=self.timeout, settings=settings, **how)
        except InvalidMessage as error:
            raise click.UsageError(f"--user: {error}") from None
        except BadRequest:
            # The URL itself is not repeated: it may hold a password.
            raise click.UsageError(f"--url: expected something like {place.DEFAULT}") from None

    @contextmanager
    def connected(self, **how: Any) -> Iterator[Client]:
        """Connect, and close the client at the end; after an error without waiting for anything.

        Raises:
            UsageError: the URL or the user id cannot be used.
        """
        client = self.client(**how)
        try:
            client.connect()
            yield client
        except BaseException:
            client.close(0)
            raise
        client.close()

    def rest(self) -> Rest:
        """Return the server's REST side."""
        return self.client().rest


def tell_of_connection(error: ClientError | None) -> None:
    """Say that the connection is lost."""
    if error is not None:
        tell(f"{error}; connecting again")
