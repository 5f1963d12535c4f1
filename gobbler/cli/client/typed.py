"""Commands as they are typed: most are a line; a publish is its line, headers, an empty line and a body."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from gobbler.cli.client.console import Console
from gobbler.protocol.command import SendRefused, parse

PROMPT: Final = "gobbler> "
HEADER: Final = "header (or nothing)> "
BODY: Final = "body> "

_ENDS: Final = (b"quit", b"exit")


def commands(console: Console, complain: Callable[[str], None]) -> Iterator[bytes]:
    """Yield commands until the input ends, or somebody has had enough.

    `complain` is told of a publish that is not complete, or that cannot become one.

    Raises:
        KeyboardInterrupt: Ctrl+C, but while a message is written, which only gives that up.
    """
    while (line := console.ask(PROMPT, True)) is not None:
        line = line.strip(b" \t\r\n") if b"\n" not in line else line
        if line in _ENDS:
            return
        if not line.startswith(b">"):
            yield from (part.strip() for part in line.splitlines())  # several can be pasted
        elif b"\n" in line:
            yield line
        else:
            yield from _composed(console, line, complain)


def _composed(console: Console, head: bytes, complain: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the command whose first line is `head`, unless it is given up."""
    try:
        command = _compose(console, head, complain)
    except KeyboardInterrupt:
        if not console.interactive:
            raise
        return
    if command is None:
        complain("the input ended before the body; nothing was published")
    else:
        yield command


def _compose(console: Console, head: bytes, complain: Callable[[str], None]) -> bytes | None:
    """Ask for headers and the body; None where the input ends too early."""
    if console.interactive and _fault(head):
        return head  # there is no use in asking on
    headers: list[bytes] = []
    while line := console.ask(HEADER):
        fault = console.interactive and _fault(b"> /x\n%b\n\n" % line)
        if fault:
            complain(fault)
        else:
            headers.append(line)
    body = None if line is None else console.ask(BODY)
    if line is None or (body is None and console.interactive):
        return None
    return b"\n".join([head, *headers, b"", body or b""])


def _fault(command: bytes) -> str:
    """Return what is wrong with a send; empty when nothing is."""
    try:
        parse(command)
    except SendRefused as error:
        return str(error)
    return ""
