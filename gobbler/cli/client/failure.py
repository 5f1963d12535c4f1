"""What went wrong, as one line and an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from gobbler.errors import GobblerError
from gobbler.text import shown_line

REFUSED: Final = 1
USAGE: Final = 2
NOT_CONNECTED: Final = 3
LATE: Final = 4
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

# By the codes of the errors: their classes belong to the client library, which is loaded by then or is not
# needed at all.
_STATUS: Final = {
    "invalid-topic": USAGE,
    "invalid-message": USAGE,
    "invalid-command": USAGE,
    "send-refused": USAGE,
    "not-connected": NOT_CONNECTED,
    "connection-lost": NOT_CONNECTED,
    "publish-unknown": NOT_CONNECTED,
    "timeout": LATE,
}


class Failure(Exception):
    """Ends the command with a line on standard error and an exit status."""

    def __init__(self, text: str, status: int = REFUSED) -> None:
        """`text` says what went wrong."""
        super().__init__(text)
        self.status = status


def explain(error: GobblerError | OSError) -> Failure:
    """Return what to tell of an error."""
    if isinstance(error, GobblerError):
        return Failure(shown_line(_text(error)), _status(error))
    name = f": {error.filename}" if error.filename else ""
    return Failure(shown_line(f"{error.strerror or error}{name}"))


@contextmanager
def missing(text: str) -> Iterator[None]:
    """Say what it is that the server does not have, where it answers 404.

    Raises:
        Failure: that text.
    """
    try:
        yield
    except GobblerError as error:
        if getattr(error, "status", 0) != HTTPStatus.NOT_FOUND:
            raise
        raise Failure(f"{text} (404 Not Found)") from error


def is_interrupt(error: BaseException) -> bool:
    """Say whether Ctrl+C is what has happened.

    It comes at any place, also into the middle of what a lock or a condition does: leaving that is then
    another error, about a lock that is not held, and the Ctrl+C is its context.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__context__
    return found is not None


def _status(error: GobblerError) -> int:
    # A message that was not answered in time has that as its cause.
    late = any(getattr(cause, "code", "") == "timeout" for cause in _causes(error))
    return LATE if late else _STATUS.get(error.code, REFUSED)


def _text(error: GobblerError) -> str:
    """Return the error's text; of a server that cannot be reached, ask the question that helps."""
    if error.code == "not-connected":
        import ssl

        for cause in _causes(error):
            # What goes wrong with TLS is an OSError, too, but then somebody has answered.
            if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
                head = str(error).partition(": ")[0]
                return f"{head}: is the server running? ({cause.strerror})"
    return str(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
