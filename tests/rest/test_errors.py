"""Which status an error has, and what of it a client may know; the answers are in tests/test_app.py."""

import pytest

from gobbler import errors
from gobbler.errors import GobblerError
from gobbler.rest.errors import status_of, text_of


def kinds(of: type[GobblerError] = GobblerError) -> list[type[GobblerError]]:
    return [of, *(kind for below in of.__subclasses__() for kind in kinds(below))]


@pytest.mark.parametrize("kind", [kind for kind in kinds() if "__init__" not in vars(kind)])
def test_every_error_has_a_status_and_a_text(kind: type[GobblerError]) -> None:
    error = kind("/var/lib/gobbler")
    blamed = isinstance(error, errors.BadRequest)
    expected = 413 if kind is errors.MessageTooLarge else 400 if blamed else 503 if kind.retry else 500
    assert status_of(error) == expected
    shown = blamed or kind is errors.Stopping
    assert (text_of(error) == "/var/lib/gobbler") == shown
