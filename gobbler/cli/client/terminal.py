"""A terminal: lines are edited, have a history, and stay whole while messages are shown above them.

The standard library's readline cannot do the last: it does not tell where the cursor is, and cannot be told
to draw a line again that something else has been written over.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.history import InMemoryHistory

LIMIT: Final = 256 * 1024
"""Characters that may wait to be shown; then whoever shows more waits, too."""


class Terminal:
    """Asks for lines in the main thread, and shows what other threads have."""

    interactive = True

    def __init__(self) -> None:
        """Take standard input and output for a terminal."""
        # What is typed as a header or a body is no command to come back to.
        self._sessions = {
            True: PromptSession[str](history=InMemoryHistory()),
            False: PromptSession[str](history=InMemoryHistory()),
        }
        self._lock = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        """That of the prompt, while there is one."""
        self._pending: list[str] = []
        self._held = 0

    def ask(self, prompt: str, command: bool = False) -> bytes | None:
        """Return the line that is typed; None after Ctrl+D. Raises: KeyboardInterrupt: Ctrl+C was typed."""
        try:
            line = self._sessions[command].prompt(prompt, pre_run=self._begin)
        except EOFError:
            return None
        finally:
            self._end()
        return line.encode(errors="surrogateescape")

    def show(self, text: str) -> None:
        """Show a text above the line that is being typed, if there is one."""
        with self._lock:
            if self._loop is None:
                self._write([text])
                return
            self._pending.append(text)
            self._held += len(text)
            if len(self._pending) == 1:
                # The prompt may just be ending: then its end shows what is pending.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._wake)
            self._lock.wait_for(lambda: self._held < LIMIT)

    def _begin(self) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()

    def _end(self) -> None:
        with self._lock:
            self._loop = None
            self._flush()

    def _wake(self) -> None:
        # It takes what is pending when it comes to write, not before: where the prompt ends first, the
        # texts are still there.
        run_in_terminal(self._show_pending)

    def _show_pending(self) -> None:
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        pending, self._pending, self._held = self._pending, [], 0
        self._write(pending)
        self._lock.notify_all()

    def _write(self, texts: list[str]) -> None:
        sys.stdout.write("".join(f"{text}\n" for text in texts))
        sys.stdout.flush()
