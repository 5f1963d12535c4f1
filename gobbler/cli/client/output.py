"""Standard output: what a verb has found, in the form that was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

import click

from gobbler.cli.client.render import Renderer, gap_json, message_json, record_json
from gobbler.text import shown_line

if TYPE_CHECKING:
    from gobbler.client import Gap, Message

NAME: Final = "gobbler-cli"

F = TypeVar("F", bound=Callable[..., Any])


def colours(stream: TextIO) -> bool:
    """Say whether a stream shows colours, and they are wanted (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def tell(text: str) -> None:
    """Say something on standard error: what happens, in contrast to what was asked for."""
    click.echo(f"{NAME}: {shown_line(text)}", err=True)


def as_json(command: F) -> F:
    """Give a command the option `--json`."""
    return click.option("--json", "json", is_flag=True, help="Write a JSON object a line.")(command)


def forms(command: F) -> F:
    """Give a command the options that choose how messages are written."""
    options = (
        ("--json", "Write a JSON object a line, as the REST interface does."),
        ("--raw", "Write only the bodies, byte for byte, with nothing between them."),
        ("--lines", "Write only the bodies, byte for byte, each with a line feed behind it."),
    )
    for name, text in reversed(options):
        command = click.option(name, name[2:], is_flag=True, help=text)(command)
    return command


class Output:
    """Writes to standard output. What is shorter than a buffer stays there until `flush`."""

    def __init__(self, form: str = "text", verbose: bool = False) -> None:
        """`form` is text, json, raw or lines."""
        self._write = {
            "text": self._text,
            "json": self._json,
            "raw": self._raw,
            "lines": self._lines,
        }[form]
        self._as_json = form == "json"
        self._stream = sys.stdout.buffer
        self._renderer = Renderer(colours(sys.stdout), verbose)
        self.gaps = 0
        """How often something could not be had any more."""

    def message(self, message: Message) -> None:
        """Write a message."""
        self._write(message)

    def gap(self, gap: Gap) -> None:
        """Tell what cannot be had any more; with JSON, in its place among the messages."""
        self.gaps += 1
        if self._as_json:
            self.line(gap_json(gap))
        else:
            self.flush()
            tell(f"messages {gap.first} to {gap.last} of {gap.topic} cannot be had any more")

    def record(self, record: Mapping[str, Any], text: str) -> None:
        """Write something else: as JSON, or as the text."""
        self.line(record_json(record) if self._as_json else shown_line(text))

    def table(self, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Write a table; the first column is text, the others are numbers and times."""
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        for number, row in enumerate([head, *rows]):
            first, *others = zip(row, widths, strict=True)
            cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
            line = shown_line("  ".join(cells))
            self.line(line if number else self._renderer.heading(line))

    def line(self, text: str) -> None:
        """Write a line of text."""
        self._stream.write(text.encode(errors="backslashreplace") + b"\n")

    def flush(self) -> None:
        """Have everything that was written be seen."""
        self._stream.flush()

    def _text(self, message: Message) -> None:
        self.line(self._renderer.message(message))

    def _json(self, message: Message) -> None:
        self.line(message_json(message))

    def _raw(self, message: Message) -> None:
        self._stream.write(message.body)

    def _lines(self, message: Message) -> None:
        self._stream.write(message.body + b"\n")


def form_of(json: bool = False, raw: bool = False, lines: bool = False) -> str:
    """Return the form that options choose.

    Raises:
        UsageError: they choose more than one.
    """
    chosen = [name for name, given in (("json", json), ("raw", raw), ("lines", lines)) if given]
    if len(chosen) > 1:
        raise click.UsageError("--json, --raw and --lines exclude each other")
    return chosen[0] if chosen else "text"
