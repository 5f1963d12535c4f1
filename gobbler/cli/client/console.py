"""Whom an interactive session talks with: lines that come in, and texts that are shown."""

from __future__ import annotations

import re
import sys
from typing import Final, Protocol

HELP = """\
+ /foo            subscribe: show what is published to /foo and below it
+ /foo 0          the same, after all that is stored
+ /foo 42         the same, after what is stored from the id 42 on
+ /foo -20        the same, after the newest 20
+ /foo 0 20       show the oldest 20 and no more (+ /foo -20 20: the newest)
- /foo            end the subscription to /foo
> /foo [id]       publish; header lines (Name: value), an empty line, the body
?                 this help
quit              end; Ctrl+D does, too"""

_COMMAND: Final = re.compile(r"[+>-]\s|\?$")


def is_command(argument: str) -> bool:
    """Say whether an argument is a command of the protocol rather than a verb or an option."""
    return _COMMAND.match(argument) is not None


class Console(Protocol):
    """Somebody at a terminal, or a pipe."""

    interactive: bool
    """Whether it is a person, who sees what is asked and can answer again."""

    def ask(self, prompt: str, command: bool = False) -> bytes | None:
        """Return the next line without its end, a `command` or something else; None when there is none."""

    def show(self, text: str) -> None:
        """Show a text, whatever is being typed. For any thread."""


class Pipe:
    """Plain lines from standard input, and to standard output."""

    interactive = False

    def ask(self, prompt: str, command: bool = False) -> bytes | None:
        """Return the next line; the prompt is not for a pipe."""
        line = sys.stdin.buffer.readline()
        return line.removesuffix(b"\n").removesuffix(b"\r") if line else None

    def show(self, text: str) -> None:
        """Write a line at once: whoever reads the pipe wants to see it now."""
        # One write, so that lines of two threads do not mix.
        sys.stdout.buffer.write(text.encode(errors="backslashreplace") + b"\n")
        sys.stdout.buffer.flush()
