"""`gobbler-cli` on a pseudo-terminal, with an emulator that knows what a person would see."""

import errno
import fcntl
import os
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Self

import pyte

from tests.cli.client.command import COMMAND, environment

SECONDS = 20.0
COLUMNS, LINES = 80, 24
ENTER, UP, LEFT, CTRL_C, CTRL_D = "\r", "\x1b[A", "\x1b[D", "\x03", "\x04"

# Makes the terminal the controlling one, so that Ctrl+C is a signal to what reads it as none.
_WRAPPER = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class _Screen(pyte.Screen):
    """Answers when it is asked where the cursor is."""

    answer: Callable[[bytes], object]

    def write_process_input(self, data: str) -> None:
        self.answer(data.encode())


class Terminal:
    """A terminal in which the command runs; a context manager that ends it."""

    columns = COLUMNS

    def __init__(self, *args: str, url: str, **variables: str) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, self.columns, 0, 0))
        self._screen = _Screen(self.columns, LINES)
        self._screen.answer = self._write
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        """All bytes that the command has written."""
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRAPPER, *COMMAND, *args],
            env=environment(GOBBLER_CLI_URL=url, **variables),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        os.close(self._master)

    def type(self, text: str) -> None:
        """Type something."""
        self._write(text.encode())

    @property
    def lines(self) -> list[str]:
        """The lines on the screen that are not empty."""
        with self._changed:
            return self._lines()

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and line of the cursor, from 0 on."""
        with self._changed:
            return self._screen.cursor.x, self._screen.cursor.y

    def until(self, right: Callable[[list[str]], bool]) -> list[str]:
        """Wait until the lines on the screen are right; return them."""
        end = time.monotonic() + SECONDS
        with self._changed:
            while not right(self._lines()):
                assert self._changed.wait(end - time.monotonic()), self._lines()
                assert not self._ended or right(self._lines()), self._lines()
            return self._lines()

    def last(self, *lines: str) -> None:
        """Wait until the screen ends with these lines."""
        self.until(lambda shown: shown[-len(lines) :] == [*lines])

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return status

    def _lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display if line.strip()]

    def _write(self, data: bytes) -> None:
        os.write(self._master, data)

    def _read(self) -> None:
        while data := self._more():
            with self._changed:
                self.written += data
                self._stream.feed(data)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _more(self) -> bytes:
        try:
            return os.read(self._master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has the other side open any more
                raise
            return b""
