"""A session of `gobbler-cli` on a terminal, as a page shows it."""

from collections.abc import Callable
from typing import Final, Self

from tests.cli.client.terminal import ENTER, Terminal

PROMPTS: Final = ("gobbler>", "header (or nothing)>", "body>")


class WideTerminal(Terminal):
    """One that breaks no line of a page."""

    columns = 160


class Prompt:
    """Types what a page says, and compares what the whole screen shows since the beginning."""

    def __init__(self, args: list[str], url: str, matches: Callable[[str, str], bool]) -> None:
        """`matches` compares the page's text with the screen's."""
        self._terminal = WideTerminal(*args, url=url)
        self._matches = matches
        self._expected: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._terminal.__exit__(*error)

    def type(self, prompt: str, text: str) -> None:
        """Type a line behind a prompt."""
        self._terminal.until(lambda lines: lines[-1:] == [prompt])
        self._terminal.type(text + ENTER)
        self._expected.append(f"{prompt} {text}".rstrip())

    def expect(self, text: str) -> None:
        """Wait until the screen shows this behind what it has shown, and then a prompt and nothing else."""
        self._expected += [line for line in text.splitlines() if line]
        self._terminal.until(self._is_right)

    def _is_right(self, lines: list[str]) -> bool:
        *shown, last = lines or [""]
        return last in PROMPTS and self._matches("\n".join(self._expected), "\n".join(shown))
